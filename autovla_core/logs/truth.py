"""What a route log must hold besides ``schema.py`` so that plans on it can be scored: the map and everybody's tracks.

    <route>/map.npz      RouteMap: polygons, lanes of the route, speed limits, the dense route
    <route>/tracks.npz   RouteTracks: ego, actors and lights at 10 Hz

World frame right-handed, SI units, radians; a pose is that of the box centre on the ground. The
future of a frame lies in later frames of the same file, so nothing is stored twice. Both files are
plain arrays and are written under a temporary name first.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from pathlib import Path

import numpy as np

from autovla_core.contracts import Actor, LightState
from autovla_core.errors import LogError

MAP_FILE, TRACKS_FILE = "map.npz", "tracks.npz"
TRUTH_SCHEMA = 2
FRAME_S = 0.1
TYPE = np.dtype("S48")  # of a blueprint's name
ACTOR_KINDS = ("vehicle", "walker", "bicycle", "static")  # of contracts.Actor, by number
LIGHT_STATES = (LightState.OFF, LightState.RED, LightState.YELLOW, LightState.GREEN)  # by number
EGO_COLUMNS = ("x", "y", "yaw", "vx", "vy", "ax", "ay", "yaw_rate", "tyre_angle")  # v and a in the ego frame
Column = tuple[type | np.dtype, tuple[str | int, ...]]  # kind of number and shape; a letter is a length


class PolygonKind(IntEnum):
    """What a map polygon is."""

    LANE = 0
    CONNECTOR = 1  # a lane inside a junction
    ROAD = 2  # the surface of all lanes of one direction, outside junctions
    JUNCTION = 3
    PARKING = 4  # parking and shoulder


@dataclass(frozen=True)
class RouteMap:
    """The map around one route: P polygons."""

    xy: np.ndarray  # (V, 2) float32: the rings one after another
    offsets: np.ndarray  # (P + 1,) int32: polygon i is xy[offsets[i]:offsets[i + 1]]
    kind: np.ndarray  # (P,) uint8: PolygonKind
    lane: np.ndarray  # (P, 3) int32: road, section, lane of OpenDRIVE; 0 where it does not apply
    on_route: np.ndarray  # (P,) bool
    speed_limit: np.ndarray  # (P,) float32 m/s, NaN: none
    light_id: np.ndarray  # (P,) int32: the light that controls a connector, -1: none
    baseline: np.ndarray  # (B, 3) float32 x, y, yaw: lane centres one after another
    baseline_offsets: np.ndarray  # (P + 1,) int32; an empty baseline where there is none
    route: np.ndarray  # (R, 3) float64 x, y, yaw of the route's centreline, about 1 m apart


@dataclass(frozen=True)
class RouteTracks:
    """F frames of 0.1 s: the ego, A actors seen S times in all, K lights."""

    time_s: np.ndarray  # (F,) float64 since the start of the episode
    ego: np.ndarray  # (F, 9) float64, EGO_COLUMNS
    vehicle: np.ndarray  # (4,) float64 m: half width, rear axle to front, rear axle to rear, wheel base
    actor_id: np.ndarray  # (A,) int32
    actor_kind: np.ndarray  # (A,) uint8: index into ACTOR_KINDS
    actor_size: np.ndarray  # (A, 2) float32 length, width
    actor_type: np.ndarray  # (A,) bytes: the simulator's name of the blueprint, may be empty
    offsets: np.ndarray  # (F + 1,) int32: frame f saw rows offsets[f]:offsets[f + 1]
    actor: np.ndarray  # (S,) int32: index into actor_id
    pose: np.ndarray  # (S, 3) float32 x, y, yaw
    velocity: np.ndarray  # (S, 2) float32 m/s, world
    light_id: np.ndarray  # (K,) int32
    light_state: np.ndarray  # (F, K) uint8: index into LIGHT_STATES


MAP_COLUMNS: dict[str, Column] = {
    "xy": (np.float32, ("V", 2)),
    "offsets": (np.int32, ("P + 1",)),
    "kind": (np.uint8, ("P",)),
    "lane": (np.int32, ("P", 3)),
    "on_route": (np.bool_, ("P",)),
    "speed_limit": (np.float32, ("P",)),
    "light_id": (np.int32, ("P",)),
    "baseline": (np.float32, ("B", 3)),
    "baseline_offsets": (np.int32, ("P + 1",)),
    "route": (np.float64, ("R", 3)),
}
TRACK_COLUMNS: dict[str, Column] = {
    "time_s": (np.float64, ("F",)),
    "ego": (np.float64, ("F", len(EGO_COLUMNS))),
    "vehicle": (np.float64, (4,)),
    "actor_id": (np.int32, ("A",)),
    "actor_kind": (np.uint8, ("A",)),
    "actor_size": (np.float32, ("A", 2)),
    "actor_type": (TYPE, ("A",)),
    "offsets": (np.int32, ("F + 1",)),
    "actor": (np.int32, ("S",)),
    "pose": (np.float32, ("S", 3)),
    "velocity": (np.float32, ("S", 2)),
    "light_id": (np.int32, ("K",)),
    "light_state": (np.uint8, ("F", "K")),
}
_MAP_SLICES = (("offsets", "xy"), ("baseline_offsets", "baseline"))
_TRACK_SLICES = (("offsets", "actor"),)


class TrackRecorder:
    """Collects frames while a route is driven; ``finish`` gives the ``RouteTracks``."""

    def __init__(self, vehicle: Sequence[float]) -> None:
        self._vehicle = np.asarray(vehicle, float)
        self._numbers: dict[int, int] = {}  # actor id -> index
        self._actors: list[Actor] = []
        self._frames: list[tuple[float, np.ndarray, list[tuple[int, Actor]], dict[int, LightState]]] = []

    def add(
        self, time_s: float, ego: Sequence[float], actors: Sequence[Actor], lights: Mapping[int, LightState]
    ) -> None:
        """Append one frame: ``ego`` by EGO_COLUMNS, everyone who is near, lights by id.

        Raises:
            LogError: a frame that is not 0.1 s after the last one, or an actor of an unknown kind.
        """
        if self._frames and abs(time_s - self._frames[-1][0] - FRAME_S) > FRAME_S / 10:
            raise LogError(f"frame at {time_s} s follows {self._frames[-1][0]} s; frames are {FRAME_S} s apart")
        self._frames.append((time_s, np.asarray(ego, float), [(self._number(a), a) for a in actors], dict(lights)))

    def finish(self) -> RouteTracks:
        """All frames as arrays."""
        frames = self._frames
        rows = [row for frame in frames for row in frame[2]]
        lights = sorted({light for frame in frames for light in frame[3]})
        states = [[LIGHT_STATES.index(frame[3].get(light, LightState.OFF)) for light in lights] for frame in frames]
        values = {
            "time_s": [frame[0] for frame in frames],
            "ego": np.array([frame[1] for frame in frames]).reshape(-1, len(EGO_COLUMNS)),
            "vehicle": self._vehicle,
            "actor_id": [actor.id for actor in self._actors],
            "actor_kind": [ACTOR_KINDS.index(actor.kind) for actor in self._actors],
            "actor_size": np.array([(actor.length, actor.width) for actor in self._actors]).reshape(-1, 2),
            "actor_type": [actor.type_id.encode()[: TYPE.itemsize] for actor in self._actors],
            "offsets": np.cumsum([0, *(len(frame[2]) for frame in frames)]),
            "actor": [number for number, _ in rows],
            "pose": np.array([actor.pose for _, actor in rows]).reshape(-1, 3),
            "velocity": np.array([_velocity(actor) for _, actor in rows]).reshape(-1, 2),
            "light_id": lights,
            "light_state": np.array(states).reshape(len(frames), len(lights)),
        }
        return RouteTracks(**{name: np.asarray(values[name], kind) for name, (kind, _) in TRACK_COLUMNS.items()})

    def _number(self, actor: Actor) -> int:
        if actor.kind not in ACTOR_KINDS:
            raise LogError(f"actor {actor.id} is a {actor.kind!r}; expected one of {', '.join(ACTOR_KINDS)}")
        if actor.id not in self._numbers:
            self._numbers[actor.id] = len(self._actors)
            self._actors.append(actor)
        return self._numbers[actor.id]


def _velocity(actor: Actor) -> tuple[float, float]:
    return actor.speed * float(np.cos(actor.pose[2])), actor.speed * float(np.sin(actor.pose[2]))


def with_accelerations(tracks: RouteTracks) -> RouteTracks:
    """The same tracks with the ego's ax and ay from its own speeds, backwards over 0.2 s, so that no future leaks in.

    A simulator's own accelerations are differences over one tick and shake; a car on a circle pulls inwards by v w.
    """
    ego = tracks.ego.copy()
    if len(ego) > 1:
        back = np.maximum(np.arange(len(ego)) - 2, 0)
        span = np.maximum(np.arange(len(ego)) - back, 1)[:, None] * FRAME_S
        rates = (ego[:, 3:5] - ego[back, 3:5]) / span
        ego[:, 5] = rates[:, 0] - ego[:, 7] * ego[:, 4]
        ego[:, 6] = rates[:, 1] + ego[:, 7] * ego[:, 3]
    return replace(tracks, ego=ego)


def frames_of(tracks: RouteTracks, times_s: np.ndarray) -> np.ndarray:
    """The frame (P,) taken at each of ``times_s`` (P,), -1 where none was: every second plan lies between two."""
    times_s = np.asarray(times_s, float)
    if not len(tracks.time_s):
        return np.full(len(times_s), -1)
    nearest = np.abs(tracks.time_s[None] - times_s[:, None]).argmin(axis=1)
    return np.where(np.abs(tracks.time_s[nearest] - times_s) < FRAME_S / 10, nearest, -1)


def write_map(folder: str | Path, route_map: RouteMap) -> Path:
    """Write ``map.npz`` into a route folder."""
    return _write(Path(folder) / MAP_FILE, route_map, MAP_COLUMNS, _MAP_SLICES)


def read_map(folder: str | Path) -> RouteMap:
    """Read ``map.npz``; ``LogError`` names what is missing or does not fit."""
    return RouteMap(**_read(Path(folder) / MAP_FILE, MAP_COLUMNS, _MAP_SLICES))


def write_tracks(folder: str | Path, tracks: RouteTracks) -> Path:
    """Write ``tracks.npz`` into a route folder."""
    return _write(Path(folder) / TRACKS_FILE, tracks, TRACK_COLUMNS, _TRACK_SLICES)


def read_tracks(folder: str | Path) -> RouteTracks:
    """Read ``tracks.npz``; ``LogError`` names what is missing or does not fit."""
    return RouteTracks(**_read(Path(folder) / TRACKS_FILE, TRACK_COLUMNS, _TRACK_SLICES))


def _write(
    file: Path,
    value: RouteMap | RouteTracks,
    columns: Mapping[str, Column],
    slices: Sequence[tuple[str, str]],
) -> Path:
    table = {f.name: np.asarray(getattr(value, f.name), columns[f.name][0]) for f in fields(value)}
    _check(file, table, columns, slices)
    partial = file.with_name(f".{file.stem}.partial.npz")
    np.savez_compressed(partial, schema=np.int64(TRUTH_SCHEMA), **table)
    partial.rename(file)
    return file


def _read(file: Path, columns: Mapping[str, Column], slices: Sequence[tuple[str, str]]) -> dict[str, np.ndarray]:
    try:
        with np.load(file, allow_pickle=False) as archive:
            table = {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise LogError(f"no {file.name} in {file.parent}: this route was logged without truth for scoring") from None
    except (zipfile.BadZipFile, ValueError, OSError, EOFError) as error:
        raise LogError(f"{file} is damaged: {error}") from None
    found = table.pop("schema", None)
    if found is None or found.shape != () or int(found) != TRUTH_SCHEMA:
        raise LogError(f"{file}: found schema {found}, expected {TRUTH_SCHEMA}")
    _check(file, table, columns, slices)
    return table


def _check(
    file: Path,
    table: Mapping[str, np.ndarray],
    columns: Mapping[str, Column],
    slices: Sequence[tuple[str, str]],
) -> None:
    if set(table) != set(columns):
        raise LogError(f"{file}: found columns {sorted(table)}, expected {sorted(columns)}")
    lengths: dict[str, int] = {}
    for name, (kind, shape) in columns.items():
        array = table[name]
        if array.ndim != len(shape) or array.dtype != np.dtype(kind):
            raise LogError(f"{file}: column {name!r} is {array.shape} {array.dtype}, expected {shape} {np.dtype(kind)}")
        for found, expected in zip(array.shape, shape):
            letter, _, more = str(expected).partition(" + ")
            wanted = lengths.setdefault(letter, found - int(more or 0)) if letter.isalpha() else int(letter)
            if found != wanted + int(more or 0):
                raise LogError(f"{file}: column {name!r} is {array.shape}, expected {shape} with {lengths}")
    for offsets, rows in slices:
        steps = np.diff(table[offsets])
        if table[offsets][0] != 0 or table[offsets][-1] != len(table[rows]) or (steps < 0).any():
            raise LogError(f"{file}: {offsets!r} does not cut the {len(table[rows])} rows of {rows!r} in order")
    if (
        "actor" in table
        and len(table["actor"])
        and not 0 <= table["actor"].min() <= table["actor"].max() < lengths["A"]
    ):
        raise LogError(f"{file}: column 'actor' refers to actor {table['actor'].max()}, the file holds {lengths['A']}")
