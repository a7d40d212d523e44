"""What the PDM score needs of one moment, from NAVSIM's logs and nuPlan's maps.

The benchmark's own way, step by step: the same 100 m of map, the same mended route, tracks by their first box. The
reference planner is left to the score. Official metric caches are read by ``navsim_cache`` instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import shapely

from autovla_core.footprints import corners
from autovla_core.geometry import relative, transform_points
from autovla_core.scoring.pdm_types import AGENTS, PACIFICA, EgoState, PdmScene, PosePlan, Track, TrackKind
from training.datasets import navsim_logs, navsim_synthetic
from training.datasets.navsim_maps import Maps
from training.datasets.navsim_route import route
from training.datasets.navsim_splits import SYNTHETIC, log_path
from training.datasets.sample import DatasetError, Sample

MAP_RADIUS_M = 100.0
SCORED = 8  # records after now that a score needs: 4 s
OBSERVED = 10  # that it can use: the first score looks 1 s further for collisions
PAST = 3
KINDS = {
    "vehicle": TrackKind.VEHICLE,
    "pedestrian": TrackKind.PEDESTRIAN,
    "bicycle": TrackKind.BICYCLE,
    "traffic_cone": TrackKind.TRAFFIC_CONE,
    "barrier": TrackKind.BARRIER,
    "czone_sign": TrackKind.CZONE_SIGN,
    "generic_object": TrackKind.GENERIC_OBJECT,
}
Record = Mapping[str, object]


class Scenes:
    """Scenes of a split. The last log is kept, so ask in the order of the index: log by log."""

    def __init__(self, root: Path, split: str, maps: Maps | None = None) -> None:
        self.root, self.split = Path(root), split
        self.maps = maps or Maps(self.root)
        self._path: Path | None = None
        self._records: list[dict] = []

    def __call__(self, sample: Sample) -> PdmScene:
        """The scene of a sample of this split.

        Raises:
            DatasetError: a record, the map or the route cannot be used; the text names it.
        """
        path, records, index = self._at(sample)
        driven = not str(sample.extra["log"]).startswith(SYNTHETIC)
        return scene_of(records, index, path, self.maps, driven)

    def ego(self, sample: Sample) -> EgoState:
        """The ego alone."""
        path, records, index = self._at(sample)
        return ego_of(records[index], _where(path, records, index))

    def _at(self, sample: Sample) -> tuple[Path, list[dict], int]:
        """The file that a sample is from, its records, and the one that is now."""
        name = str(sample.extra["log"])
        path = log_path(self.root, self.split, name)
        if path != self._path:
            synthetic = name.startswith(SYNTHETIC)
            self._records = navsim_synthetic.read_scene(path).records if synthetic else navsim_logs.read_records(path)
            self._path = path
        return path, self._records, int(sample.extra["record"])


def scene_of(records: Sequence[Record], now: int, path: Path, maps: Maps, driven: bool = True) -> PdmScene:
    """The scene at record ``now`` of a log; the next records are taken as they come, as the benchmark takes them.

    ``driven``: the records after now say where a human drove; those of a synthetic scene do not.

    Raises:
        DatasetError: fewer than 4 s follow, or something is missing or broken.
    """
    record, where = records[now], _where(path, records, now)
    future = range(now, min(now + OBSERVED + 1, len(records)))
    if len(future) <= SCORED:
        raise DatasetError(f"{where}: the log ends {len(future) - 1} records later, a score needs {SCORED}")
    ego = ego_of(record, where)
    city = maps(navsim_logs.text(record, "map_location", where))
    way = route(city, ego.pose, _footprint(ego), navsim_logs.listed(record, "roadblock_ids", where), where)
    wheres = {i: _where(path, records, i) for i in future}
    return PdmScene(
        ego=ego,
        areas=city.areas_near(_center(ego), MAP_RADIUS_M),
        route_lane_ids=frozenset(way.lanes),
        centerline=way.centerline,
        tracks=tracks_of([(records[i], wheres[i]) for i in future]),
        red_lights=_red_lights([(records[i], wheres[i]) for i in future]),
        history=_history(records, now, path),
        human=_human(records, now, path) if driven else None,
    )


def _where(path: Path, records: Sequence[Record], index: int) -> str:
    return f"log {path}, record {index} ({records[index].get('token')!r})"


def ego_of(record: Record, where: str) -> EgoState:
    """The ego; logs have no steering angle and no yaw rate, and the benchmark starts from zeros."""
    vx, vy, ax, ay = map(float, navsim_logs.numbers(record, "ego_dynamic_state", (4,), where))
    return EgoState(navsim_logs.pose(record, where), vx, vy, ax, ay)


def _center(ego: EgoState) -> np.ndarray:
    return transform_points(ego.pose, np.array([PACIFICA.rear_axle_to_center, 0.0]))


def _footprint(ego: EgoState) -> shapely.Polygon:
    length = PACIFICA.rear_axle_to_front + PACIFICA.rear_axle_to_rear
    pose = np.append(_center(ego), ego.pose[2])
    return shapely.Polygon(corners(pose, length, 2.0 * PACIFICA.half_width))


def tracks_of(frames: Sequence[tuple[Record, str]]) -> tuple[Track, ...]:
    """Every road user and object of the frames, 0.5 s apart from time 0; its size is that of its first box."""
    seen: dict[str, tuple[TrackKind, float, float]] = {}
    states: dict[str, np.ndarray] = {}
    for step, (record, where) in enumerate(frames):
        for id, kind, box, velocity in _boxes(record, where):
            if id not in seen:
                seen[id] = (kind, float(box[3]), float(box[4]))
                states[id] = np.full((len(frames), 5), np.nan)
            states[id][step] = [box[0], box[1], box[6], *velocity]
    return tuple(Track(id, *seen[id], states[id]) for id in seen)


def _boxes(record: Record, where: str) -> list[tuple[str, TrackKind, np.ndarray, np.ndarray]]:
    """(track, kind, box (7,), velocity (2,)) in the world, of one frame."""
    annotations = navsim_logs.value(record, "anns", where)
    if not isinstance(annotations, dict):
        raise DatasetError(f"{where}: anns is {type(annotations).__name__}, expected a dict")
    names = navsim_logs.listed(annotations, "gt_names", where)
    ids = navsim_logs.listed(annotations, "track_tokens", where)
    boxes, velocities = _rows(annotations, "gt_boxes", 7, where), _rows(annotations, "gt_velocity_3d", 3, where)
    if not len(names) == len(ids) == len(boxes) == len(velocities):
        counts = f"{len(names)} names, {len(ids)} tracks, {len(boxes)} boxes, {len(velocities)} velocities"
        raise DatasetError(f"{where}: anns has {counts}, expected as many of each")
    pose = navsim_logs.pose(record, where)
    boxes, velocities = boxes.copy(), transform_points(np.array([0.0, 0.0, pose[2]]), velocities[:, :2])
    boxes[:, :2] = transform_points(pose, boxes[:, :2])
    boxes[:, 6] += pose[2]
    rows = zip(map(str, ids), map(str, names), boxes, velocities)
    return [_checked(row, where) for row in rows if row[1] != "ego"]


def _rows(annotations: Record, key: str, width: int, where: str) -> np.ndarray:
    """(N, width) numbers; an empty frame may hold an array of any shape. NaN is judged row by row."""
    try:
        array = np.asarray(navsim_logs.value(annotations, key, where), float)
    except (TypeError, ValueError):
        raise DatasetError(f"{where}: {key} holds no numbers") from None
    array = array.reshape(0, width) if array.size == 0 else array
    if array.ndim != 2 or array.shape[1] != width:
        raise DatasetError(f"{where}: {key} has shape {array.shape}, expected (N, {width})")
    return array


def _checked(row: tuple[str, str, np.ndarray, np.ndarray], where: str) -> tuple[str, TrackKind, np.ndarray, np.ndarray]:
    id, name, box, velocity = row
    if name not in KINDS:
        raise DatasetError(f"{where}: track {id} is a {name!r}; known: {', '.join(KINDS)}")
    kind = KINDS[name]
    if kind not in AGENTS:
        velocity = np.zeros(2)  # what stands has none, and the benchmark never reads it
    if not np.isfinite(box).all() or not np.isfinite(velocity).all():
        raise DatasetError(f"{where}: track {id} is not finite: box {box.tolist()}, velocity {velocity.tolist()}")
    return id, kind, box, velocity


def _red_lights(frames: Sequence[tuple[Record, str]]) -> dict[str, np.ndarray]:
    """Whether each lane connector with a light is red, per frame."""
    red: dict[str, np.ndarray] = {}
    for step, (record, where) in enumerate(frames):
        for entry in navsim_logs.listed(record, "traffic_lights", where):
            if not isinstance(entry, list | tuple) or len(entry) != 2:
                raise DatasetError(f"{where}: a traffic light is {entry!r:.60}, expected (lane connector, is red)")
            id, is_red = str(entry[0]), bool(entry[1])
            red.setdefault(id, np.zeros(len(frames), bool))[step] = is_red
    return red


def _history(records: Sequence[Record], now: int, path: Path) -> np.ndarray | None:
    """(3, 8) of the past 1.5 s, oldest first: t, x, y, yaw, vx, vy, ax, ay."""
    if now < PAST:
        return None
    rows = []
    for index in range(now - PAST, now):
        where = _where(path, records, index)
        dynamics = navsim_logs.numbers(records[index], "ego_dynamic_state", (4,), where)
        rows.append([0.5 * (index - now), *navsim_logs.pose(records[index], where), *dynamics])
    return np.array(rows)


def _human(records: Sequence[Record], now: int, path: Path) -> PosePlan:
    """Where the human drove in the next 4 s."""
    poses = [navsim_logs.pose(records[i], _where(path, records, i)) for i in range(now, now + SCORED + 1)]
    return PosePlan(relative(poses[0], np.array(poses[1:])))
