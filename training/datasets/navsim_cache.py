"""Scenes out of the official devkit's metric cache: ``<cache>/<log>/<type>/<token>/metric_cache.pkl``.

The files are pickles of the devkit's classes, compressed with LZMA, and come from strangers. Every class name that a
genuine cache holds (v1.1 and v2.2 were looked at) is replaced by one stand-in that only remembers what it was given;
any other name is refused. Nothing of the devkit is needed or run. The cache brings its own reference plan.
"""

from __future__ import annotations

import lzma
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import shapely

from autovla_core import restricted_pickle
from autovla_core.geometry import relative
from autovla_core.restricted_pickle import PickleRefused
from autovla_core.scoring.pdm_types import (
    AreaKind,
    EgoState,
    MapArea,
    PdmScene,
    PosePlan,
    Track,
    TrackKind,
    VehicleShape,
)
from training.datasets.sample import DatasetError

MAX_BYTES = 1 << 29  # of one cache, unpacked; genuine ones have a few MB
PER_STATE = 5  # steps of 0.1 s between two states of a track
RED_LIGHT = "red_light_"  # + lane connector: how occupancy maps name the polygon of a red light
LAYERS = {  # nuPlan's SemanticMapLayer
    0: AreaKind.LANE,
    1: AreaKind.INTERSECTION,
    5: AreaKind.DRIVABLE_AREA,
    11: AreaKind.LANE_CONNECTOR,
    15: AreaKind.CARPARK_AREA,
    17: AreaKind.ROADBLOCK,
}
OBJECTS = {  # nuPlan's TrackedObjectType
    0: TrackKind.VEHICLE,
    1: TrackKind.PEDESTRIAN,
    2: TrackKind.BICYCLE,
    3: TrackKind.TRAFFIC_CONE,
    4: TrackKind.BARRIER,
    5: TrackKind.CZONE_SIGN,
    6: TrackKind.GENERIC_OBJECT,
}


class Memory:
    """Stands for any class of the devkit: what its pickle was made with (``args``) and its attributes (``state``)."""

    args: tuple
    state: dict

    def __new__(cls, *args: object) -> Memory:
        memory = object.__new__(cls)
        memory.args, memory.state = args, {}
        return memory

    def __init__(self, *args: object) -> None:
        pass  # a pickle calls ``__new__`` alone or both

    def __setstate__(self, state: object) -> None:
        """A dict of attributes, or that and one of slots."""
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, dict):
                self.state.update(part)

    def __getitem__(self, name: str) -> object:
        return self.state[name]


class _ObjectDtype:
    """The dtype of an array of objects."""

    def __setstate__(self, state: object) -> None:
        pass


class _Array:
    """An array being unpickled: numbers become a numpy array, objects a list."""

    value: object = ()

    def __setstate__(self, state: object) -> None:
        if isinstance(state, tuple) and len(state) == 5 and isinstance(state[2], _ObjectDtype):
            self.value = list(state[4]) if isinstance(state[4], list | tuple) else ()
            return
        numbers = restricted_pickle.NUMPY["numpy.core.multiarray._reconstruct"](None, None, None)
        numbers.__setstate__(state)
        self.value = numbers


def _dtype(spec: object, *flags: object) -> object:
    return _ObjectDtype() if spec in ("O8", "O") else restricted_pickle.NUMPY["numpy.dtype"](spec)


def _shape(wkb: object) -> object:
    if not isinstance(wkb, bytes):
        raise TypeError("a shape is not given as WKB")
    return shapely.from_wkb(wkb)


ACTORS, MAPS, PLANNING = "nuplan.common.actor_state", "nuplan.common.maps", "nuplan.planning.simulation"
PDM = "navsim.planning.simulation.planner.pdm_planner"
CLASSES = (
    "navsim.common.dataclasses.Trajectory",
    "navsim.common.enums.SceneFrameType",
    "navsim.planning.metric_caching.metric_cache.MapParameters",
    "navsim.planning.metric_caching.metric_cache.MetricCache",
    f"{PDM}.observation.pdm_observation.PDMObservation",
    f"{PDM}.observation.pdm_occupancy_map.PDMDrivableMap",
    f"{PDM}.observation.pdm_occupancy_map.PDMOccupancyMap",
    f"{PDM}.utils.pdm_path.PDMPath",
    f"{ACTORS}.agent.Agent",
    f"{ACTORS}.car_footprint.CarFootprint",
    f"{ACTORS}.dynamic_car_state.DynamicCarState",
    f"{ACTORS}.ego_state.EgoState",
    f"{ACTORS}.oriented_box.OrientedBox",
    f"{ACTORS}.scene_object.SceneObjectMetadata",
    f"{ACTORS}.state_representation.Point2D",
    f"{ACTORS}.state_representation.StateSE2",
    f"{ACTORS}.state_representation.StateVector2D",
    f"{ACTORS}.state_representation.TimePoint",
    f"{ACTORS}.static_object.StaticObject",
    f"{ACTORS}.tracked_objects.TrackedObjects",
    f"{ACTORS}.tracked_objects_types.TrackedObjectType",
    f"{ACTORS}.vehicle_parameters.VehicleParameters",
    f"{MAPS}.maps_datatypes.SemanticMapLayer",
    f"{PLANNING}.observation.observation_type.DetectionsTracks",
    f"{PLANNING}.trajectory.interpolated_trajectory.InterpolatedTrajectory",
    f"{PLANNING}.trajectory.trajectory_sampling.TrajectorySampling",
    "pathlib.PosixPath",
    "pathlib._local.PosixPath",
)
ALLOWED = {
    **restricted_pickle.NUMPY,
    **{f"numpy.{core}.multiarray._reconstruct": lambda *ignored: _Array() for core in ("core", "_core")},
    "numpy.dtype": _dtype,
    **{name: type(name.rpartition(".")[2], (Memory,), {}) for name in CLASSES},
    "shapely.io.from_wkb": _shape,
}


def cache_paths(cache: Path) -> dict[str, Path]:
    """The file of each token. The cache's own table of paths is not used: it names places of another machine.

    Raises:
        DatasetError: no such folder, or no cache in it.
    """
    paths = {path.parent.name: path for path in sorted(Path(cache).glob("*/*/*/metric_cache.pkl"))}
    if not paths:
        raise DatasetError(f"no metric cache <log>/<type>/<token>/metric_cache.pkl below {cache}")
    return paths


def read_cache(path: Path) -> PdmScene:
    """The scene of one moment.

    Raises:
        DatasetError: no file, broken data, a class that no genuine cache has, or one of its fields is missing.
    """
    what = f"metric cache {path}"
    try:
        with lzma.open(path) as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise DatasetError(f"cannot read the {what}: {error}") from None
    if len(data) > MAX_BYTES:
        raise DatasetError(f"{what} unpacks to more than {MAX_BYTES >> 20} MiB")
    try:
        return _scene(restricted_pickle.load(data, ALLOWED, what))
    except PickleRefused as error:
        raise DatasetError(str(error)) from None
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise DatasetError(f"{what} is not laid out as the devkit's: {type(error).__name__}: {error}") from None


def _scene(cache: Memory) -> PdmScene:
    ego = _ego(cache["ego_state"])
    shape = _vehicle(cache["ego_state"])
    observation = cache["observation"]
    frames = observation["_occupancy_maps"][::PER_STATE]
    human, past = cache.state.get("human_trajectory"), cache.state.get("past_human_trajectory")
    return PdmScene(
        ego=ego,
        areas=tuple(_areas(cache["drivable_area_map"])),
        route_lane_ids=frozenset(map(str, cache["route_lane_ids"])),
        centerline=np.array([_pose(state) for state in cache["centerline"].args[0]]),
        tracks=tuple(_tracks(frames, observation["_unique_objects"])),
        red_lights=_red_lights(frames),
        vehicle=shape,
        reference=_reference(cache["trajectory"], ego),
        history=None if past is None else _history(past.args[0], ego),
        human=None if human is None else PosePlan(np.asarray(_plain(human["poses"]), float)),
    )


def _plain(value: object) -> object:
    return value.value if isinstance(value, _Array) else value


def plain(value: object) -> object:
    """A value out of a pickle read with ``ALLOWED``: arrays and paths at any depth as arrays and text."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(plain, value))
    if isinstance(value, Memory) and type(value).__name__ == "PosixPath":
        return str(PurePosixPath(*map(str, value.args)))
    return _plain(value)


def _pose(state: Memory) -> np.ndarray:
    return np.array([state["x"], state["y"], state["heading"]], float)


def _vector(vector: Memory) -> tuple[float, float]:
    return float(vector["_x"]), float(vector["_y"])


def _vehicle(ego: Memory) -> VehicleShape:
    """VehicleParameters is pickled by (width, front, rear, centre of gravity, wheel base, ...)."""
    width, front, rear, _, wheel_base, *_ = ego["_car_footprint"]["_vehicle_parameters"].args
    return VehicleShape(width / 2.0, front, rear, wheel_base)


def _rear_axle(ego: Memory) -> np.ndarray:
    """(3,) world; the footprint keeps its centre."""
    pose = _pose(ego["_car_footprint"]["_center"])
    ahead = _vehicle(ego).rear_axle_to_center
    return pose - [ahead * np.cos(pose[2]), ahead * np.sin(pose[2]), 0.0]


def _ego(ego: Memory) -> EgoState:
    motion = ego["_dynamic_car_state"]
    vx, vy = _vector(motion["_rear_axle_velocity_2d"])
    ax, ay = _vector(motion["_rear_axle_acceleration_2d"])
    turn = float(motion["_angular_velocity"])
    return EgoState(_rear_axle(ego), vx, vy, ax, ay, float(ego["_tire_steering_angle"]), turn)


def _time_s(ego: Memory) -> float:
    return float(ego["_time_point"]["time_us"]) / 1e6


def _reference(trajectory: Memory, ego: EgoState) -> PosePlan:
    """What the PDM-Closed planner drives; the first state is now."""
    states = trajectory.args[0]
    period = (_time_s(states[-1]) - _time_s(states[0])) / (len(states) - 1)
    poses = np.array([_rear_axle(state) for state in states])
    return PosePlan(relative(ego.pose, poses)[1:], round(period, 6))


def _history(states: Sequence[Memory], ego: EgoState) -> np.ndarray:
    """(H, 8) t, x, y, yaw, vx, vy, ax, ay before now."""
    rows = []
    for state in states:
        past = _ego(state)
        rows.append([_time_s(state) - _time_s(states[-1]), *past.pose, past.vx, past.vy, past.ax, past.ay])
    return np.array(rows[:-1]).reshape(-1, 8)


def _areas(drivable: Memory) -> list[MapArea]:
    tokens, layers, shapes, *_ = drivable.args
    areas = []
    for token, layer, shape in zip(tokens, layers, _plain(shapes)):
        kind = LAYERS[layer.args[0]]
        for polygon in getattr(shape, "geoms", [shape]):
            holes = tuple(shapely.get_coordinates(ring) for ring in polygon.interiors)
            areas.append(MapArea(str(token), kind, shapely.get_coordinates(polygon.exterior), holes=holes))
    return areas


def _tracks(frames: Sequence[Memory], objects: dict[str, Memory]) -> list[Track]:
    """Where each object's box is every 0.5 s, out of its corners (front left, rear left, rear right, front right)."""
    states = {id: np.full((len(frames), 5), np.nan) for id in objects}
    for step, frame in enumerate(frames):
        tokens, shapes, *_ = frame.args
        for id, shape in zip(tokens, _plain(shapes)):
            if not str(id).startswith(RED_LIGHT):
                states[id][step, :3] = _box_pose(shape)
                states[id][step, 3:] = _velocity(objects[id])
    return [_track(id, object_, states[id]) for id, object_ in objects.items()]


def _box_pose(shape: object) -> np.ndarray:
    corners = shapely.get_coordinates(shape)[:4]
    ahead = corners[[0, 3]].mean(0) - corners[[1, 2]].mean(0)
    return np.array([*corners.mean(0), np.arctan2(ahead[1], ahead[0])])


def _velocity(object_: Memory) -> tuple[float, float]:
    """Static objects have none."""
    velocity = object_.state.get("_velocity")
    return (0.0, 0.0) if velocity is None else _vector(velocity)


def _track(id: str, object_: Memory, states: np.ndarray) -> Track:
    box = object_["_box"]
    kind = OBJECTS[object_["_tracked_object_type"].args[0]]
    return Track(str(id), kind, float(box["_length"]), float(box["_width"]), states)


def _red_lights(frames: Sequence[Memory]) -> dict[str, np.ndarray]:
    """Which lane connectors are red, per 0.5 s; the first score's caches know none."""
    red: dict[str, np.ndarray] = {}
    for step, frame in enumerate(frames):
        for token in frame.args[0]:
            if str(token).startswith(RED_LIGHT):
                red.setdefault(str(token).removeprefix(RED_LIGHT), np.zeros(len(frames), bool))[step] = True
    return red
