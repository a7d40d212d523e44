"""The devkit's metric cache: written here with classes of its names, read back as a scene and scored."""

from __future__ import annotations

import lzma
import pickle
from pathlib import Path

import numpy as np
import pytest
import shapely

from autovla_core.scoring import pdm
from autovla_core.scoring.pdm_types import AreaKind, PdmScene, Version
from tests.open_loop.fixtures.devkit_classes import Made
from training.datasets.navsim_cache import cache_paths, read_cache
from training.datasets.sample import DatasetError

TOKEN = "00ff00ff00ff00ff"
PACIFICA = (2.297, 4.049, 1.127, 1.67, 3.089)  # width, front, rear, centre of gravity, wheel base
CENTRE = 1.461


def ego(make: dict[str, type[Made]], x: float, time_s: float) -> Made:
    """The rear axle at (x, 0), 8 m/s east."""
    pose = make["StateSE2"](x=x + CENTRE, y=0.0, heading=0.0)
    footprint = make["CarFootprint"](_center=pose, _vehicle_parameters=make["VehicleParameters"](*PACIFICA, "v", "p"))
    motion = make["DynamicCarState"](
        _rear_axle_velocity_2d=make["StateVector2D"](_x=8.0, _y=0.0),
        _rear_axle_acceleration_2d=make["StateVector2D"](_x=0.0, _y=0.0),
        _angular_velocity=0.0,
    )
    time = make["TimePoint"](time_us=int(time_s * 1e6))
    return make["EgoState"](
        _car_footprint=footprint, _dynamic_car_state=motion, _tire_steering_angle=0.0, _time_point=time
    )


def shapes(*polygons: shapely.Polygon) -> np.ndarray:
    array = np.empty(len(polygons), object)
    array[:] = polygons
    return array


def box(x: float, y: float) -> shapely.Polygon:
    """4 m by 2 m, facing east: front left, rear left, rear right, front right."""
    return shapely.Polygon([(x + 2, y + 1), (x - 2, y + 1), (x - 2, y - 1), (x + 2, y - 1)])


def cache(make: dict[str, type[Made]], ahead: float) -> Made:
    """A road of 300 m; a car stands ``ahead`` m on; the reference drives straight at 8 m/s; red at the end."""
    road = shapes(shapely.box(-50, -3, 250, 3), shapely.box(-50, -3, 250, 3))
    layers = [make["SemanticMapLayer"](0), make["SemanticMapLayer"](17)]
    other = make["Agent"](
        _box=make["OrientedBox"](_length=4.0, _width=2.0),
        _tracked_object_type=make["TrackedObjectType"](0),
        _velocity=make["StateVector2D"](_x=0.0, _y=0.0),
    )
    red = shapely.box(200, -3, 210, 3)
    frames = [make["PDMOccupancyMap"](["car", "red_light_77"], shapes(box(ahead, 0.0), red)) for _ in range(51)]
    states = [ego(make, 0.8 * i, 0.1 * i) for i in range(51)]
    line = [make["StateSE2"](x=float(x), y=0.0, heading=0.0) for x in range(-50, 250)]
    return make["MetricCache"](
        ego_state=states[0],
        observation=make["PDMObservation"](_occupancy_maps=frames, _unique_objects={"car": other}),
        trajectory=make["InterpolatedTrajectory"](states),
        centerline=make["PDMPath"](line),
        route_lane_ids=["lane"],
        drivable_area_map=make["PDMDrivableMap"](["lane", "block"], layers, road),
    )


def write(root: Path, value: object) -> Path:
    path = root / "log" / "unknown" / TOKEN / "metric_cache.pkl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with lzma.open(path, "wb") as file:
        pickle.dump(value, file)
    return path


@pytest.fixture
def scene(make: dict[str, type[Made]], tmp_path: Path) -> PdmScene:
    write(tmp_path, cache(make, 100.0))
    return read_cache(cache_paths(tmp_path)[TOKEN])


def test_a_cache_becomes_a_scene(scene: PdmScene) -> None:
    np.testing.assert_allclose(scene.ego.pose, [0.0, 0.0, 0.0], atol=1e-12)
    assert (scene.ego.vx, scene.vehicle.wheel_base, scene.route_lane_ids) == (8.0, 3.089, frozenset({"lane"}))
    assert [(area.id, area.kind) for area in scene.areas] == [("lane", AreaKind.LANE), ("block", AreaKind.ROADBLOCK)]
    (track,) = scene.tracks
    assert (track.id, track.length, track.width, track.states.shape) == ("car", 4.0, 2.0, (11, 5))
    np.testing.assert_allclose(track.states[3], [100.0, 0.0, 0.0, 0.0, 0.0], atol=1e-12)
    assert scene.red_lights["77"].all() and scene.reference.period_s == 0.1
    np.testing.assert_allclose(scene.reference.poses[[0, 49], 0], [0.8, 40.0], atol=1e-9)


def test_its_reference_is_the_measure_of_progress(scene: PdmScene) -> None:
    """The reference gets 32 m in 4 s, and so does the same drive as a plan."""
    prepared = pdm.prepare(scene, Version.V1)
    plan = np.column_stack([4.0 * np.arange(1, 9), np.zeros(8), np.zeros(8)])
    found = pdm.score(prepared, plan[None])
    assert prepared.reference_m == pytest.approx(32.0, abs=0.1)
    assert found.ego_progress[0] == pytest.approx(1.0, abs=1e-3) and found.score[0] == pytest.approx(1.0, abs=1e-3)


def test_who_stands_in_the_way_is_hit(make: dict[str, type[Made]], tmp_path: Path) -> None:
    """Its rear is at 23 m, our front starts at 4 m: the same plan hits it after 2.4 s."""
    plan = np.column_stack([4.0 * np.arange(1, 9), np.zeros(8), np.zeros(8)])
    scene = read_cache(write(tmp_path, cache(make, 25.0)))
    assert pdm.score(pdm.prepare(scene, Version.V1), plan[None]).no_at_fault_collisions[0] == 0.0


class _Asks:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("1",)


def test_what_no_genuine_cache_asks_for_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="'builtins.eval', which is refused"):
        read_cache(write(tmp_path, {"x": _Asks()}))


def test_other_layouts_and_files_are_named(make: dict[str, type[Made]], tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="not laid out as the devkit's: KeyError: 'ego_state'"):
        read_cache(write(tmp_path, make["MetricCache"](centerline=1)))
    path = write(tmp_path, 1)
    path.write_bytes(b"no archive")
    with pytest.raises(DatasetError, match="cannot read the metric cache"):
        read_cache(path)
