"""map.npz and tracks.npz of a route: what is written is read back, what does not fit is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from autovla_core.contracts import Actor, LightState
from autovla_core.errors import LogError
from autovla_core.logs import truth
from autovla_core.logs.truth import PolygonKind, RouteMap, TrackRecorder


def route_map() -> RouteMap:
    """One lane of 4 points with a baseline of 2, one junction of 3 points without."""
    return RouteMap(
        xy=np.array([[0, 0], [9, 0], [9, 3], [0, 3], [9, 0], [20, 0], [9, 9]], np.float32),
        offsets=np.array([0, 4, 7], np.int32),
        kind=np.array([PolygonKind.LANE, PolygonKind.JUNCTION], np.uint8),
        lane=np.array([[12, 0, -1], [0, 0, 0]], np.int32),
        on_route=np.array([True, False]),
        speed_limit=np.array([8.0, np.nan], np.float32),
        light_id=np.array([-1, -1], np.int32),
        baseline=np.array([[0, 1.5, 0], [9, 1.5, 0]], np.float32),
        baseline_offsets=np.array([0, 2, 2], np.int32),
        route=np.array([[0.0, 1.5, 0.0], [1.0, 1.5, 0.0]]),
    )


def recorded(frames: int = 3) -> truth.RouteTracks:
    """A car at 5 m/s in every frame, a walker from the second frame on, one light that turns red."""
    recorder = TrackRecorder((1.1, 3.9, 1.0, 2.85))
    for f in range(frames):
        car = Actor(70, "vehicle", np.array([10.0 + 0.5 * f, 3.0, 0.0]), 5.0, 4.5, 2.0, "vehicle.audi.tt")
        walker = Actor(9, "walker", np.array([5.0, 5.0, np.pi / 2]), 1.5, 0.6, 0.6)
        lights = {33: LightState.RED if f else LightState.GREEN}
        recorder.add(0.1 * f, [0.1 * f, 0, 0, 1, 0, 0, 0, 0, 0], [walker, car] if f else [car], lights)
    return recorder.finish()


def same(a, b):
    pairs = zip(dataclasses.astuple(a), dataclasses.astuple(b))
    return all(np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in pairs)


def test_what_is_written_is_read_back(tmp_path):
    truth.write_map(tmp_path, route_map())
    truth.write_tracks(tmp_path, recorded())
    assert same(truth.read_map(tmp_path), route_map())
    assert same(truth.read_tracks(tmp_path), recorded())
    assert sorted(file.name for file in tmp_path.iterdir()) == ["map.npz", "tracks.npz"]


def test_equal_routes_are_equal_bytes(tmp_path):
    files = [
        truth.write_tracks(folder, recorded()) for folder in (tmp_path / "a", tmp_path / "b") if not folder.mkdir()
    ]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_actors_are_numbered_once_and_frames_cut_the_rows():
    tracks = recorded()
    assert tracks.actor_id.tolist() == [70, 9]
    assert tracks.actor_type.tolist() == [b"vehicle.audi.tt", b""]
    assert tracks.offsets.tolist() == [0, 1, 3, 5]
    assert tracks.actor.tolist() == [0, 1, 0, 1, 0]
    assert [truth.ACTOR_KINDS[k] for k in tracks.actor_kind] == ["vehicle", "walker"]
    assert tracks.velocity[1] == pytest.approx([0.0, 1.5], abs=1e-6)  # the walker goes along y
    assert [truth.LIGHT_STATES[k] for k in tracks.light_state[:, 0]] == [
        LightState.GREEN,
        LightState.RED,
        LightState.RED,
    ]


def test_a_light_that_is_not_named_in_a_frame_is_off():
    recorder = TrackRecorder((1.1, 3.9, 1.0, 2.85))
    recorder.add(0.0, np.zeros(9), [], {5: LightState.RED})
    recorder.add(0.1, np.zeros(9), [], {})
    assert recorder.finish().light_state[:, 0].tolist() == [1, 0]


def test_a_frame_out_of_step_and_an_unknown_kind_are_refused():
    recorder = TrackRecorder((1.1, 3.9, 1.0, 2.85))
    recorder.add(0.0, np.zeros(9), [], {})
    with pytest.raises(LogError, match="0.1 s apart"):
        recorder.add(0.15, np.zeros(9), [], {})
    with pytest.raises(LogError, match="'horse'; expected one of vehicle"):
        recorder.add(0.1, np.zeros(9), [Actor(1, "horse", np.zeros(3), 0.0, 2.0, 1.0)], {})


def test_a_route_without_truth_says_so(tmp_path):
    with pytest.raises(LogError, match="logged without truth"):
        truth.read_map(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"offsets": np.array([0, 4, 9], np.int32)}, "does not cut the 7 rows"),
        ({"offsets": np.array([0, 8, 7], np.int32)}, "does not cut"),
        ({"kind": np.array([0], np.uint8)}, "'kind' is"),
        ({"route": np.zeros((4, 2))}, "'route' is"),
    ],
)
def test_a_map_that_does_not_fit_is_never_written(tmp_path, change, message):
    with pytest.raises(LogError, match=message):
        truth.write_map(tmp_path, dataclasses.replace(route_map(), **change))
    assert not list(tmp_path.iterdir())


def test_damage_is_named(tmp_path):
    file = truth.write_tracks(tmp_path, recorded())
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LogError, match="damaged"):
        truth.read_tracks(tmp_path)
    with np.load(truth.write_tracks(tmp_path, recorded())) as archive:
        table = {name: archive[name] for name in archive.files}
    np.savez(file, **{**table, "schema": np.int64(99)})
    with pytest.raises(LogError, match="found schema 99, expected 2"):
        truth.read_tracks(tmp_path)
    np.savez(file, **{name: value for name, value in table.items() if name != "pose"})
    with pytest.raises(LogError, match="found columns"):
        truth.read_tracks(tmp_path)
    np.savez(file, **{**table, "actor": table["actor"] + 1})
    with pytest.raises(LogError, match="refers to actor 2, the file holds 2"):
        truth.read_tracks(tmp_path)
