"""nuPlan's maps: lanes, roadblocks (all lanes of one direction) and junctions, with the graph that links them.

``maps/<location>/<version>/map.gpkg`` below the data root, the versions in ``maps/nuplan-maps-v1.0.json``. Coordinates
are metres of a UTM zone, the world frame of the logs.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from autovla_core.scoring.pdm_types import AreaKind, MapArea
from training.datasets.navsim_geopackage import Feature, GeoPackage
from training.datasets.sample import DatasetError

VERSIONS = "nuplan-maps-v1.0.json"
LOCATIONS = ("sg-one-north", "us-ma-boston", "us-nv-las-vegas-strip", "us-pa-pittsburgh-hazelwood")
ALIASES = {"las_vegas": "us-nv-las-vegas-strip"}  # some logs say so


@dataclass(frozen=True)
class Lane:
    """A lane, or a lane connector: a lane inside a junction."""

    id: str
    block: str  # id of its roadblock or roadblock connector
    polygon: BaseGeometry
    baseline: np.ndarray  # (M, 3) x, y, yaw of each vertex towards the next
    outgoing: tuple[str, ...]
    speed_limit: float | None  # m/s
    connector: bool

    @property
    def length(self) -> float:
        """Of the baseline, metres."""
        return float(np.linalg.norm(np.diff(self.baseline[:, :2], axis=0), axis=1).sum())


@dataclass(frozen=True)
class Block:
    """A roadblock, or a roadblock connector: a way through a junction."""

    id: str
    polygon: BaseGeometry
    lanes: tuple[str, ...]
    incoming: tuple[str, ...]
    outgoing: tuple[str, ...]
    connector: bool


class NuplanMap:
    """One city. Tables by id, and what lies near a point."""

    def __init__(self, path: Path) -> None:
        package = GeoPackage(path)
        layers = {name: package.layer(name) for name in LAYERS}
        self.path = path
        self.lanes: dict[str, Lane] = _lanes(layers, path)
        self.blocks: dict[str, Block] = _blocks(layers, self.lanes, path)
        self._areas = {kind: _plain_areas(layers[name], kind) for name, kind in PLAIN.items()}
        self._lane_areas = {id: _lane_areas(lane) for id, lane in self.lanes.items()}
        self._block_areas = {id: _areas(id, AreaKind.ROADBLOCK, block.polygon) for id, block in self.blocks.items()}
        self._block_ids = list(self.blocks)
        self._block_tree = shapely.STRtree([block.polygon for block in self.blocks.values()])
        self._area_trees = {
            kind: shapely.STRtree([polygon for polygon, _ in areas]) for kind, areas in self._areas.items()
        }

    def blocks_near(self, point: np.ndarray, radius: float) -> list[Block]:
        """Those that touch the square of ``radius`` around a point (2,); roadblocks first."""
        found = self._block_tree.query(_square(point, radius), predicate="intersects")
        return [self.blocks[self._block_ids[i]] for i in np.sort(found)]

    def nearest_blocks(self, point: np.ndarray) -> list[Block]:
        """The nearest roadblock and the nearest roadblock connector."""
        spot, nearest = shapely.Point(point), []
        for connector in (False, True):
            blocks = [block for block in self.blocks.values() if block.connector is connector]
            if blocks:
                distances = shapely.distance(spot, [block.polygon for block in blocks])
                nearest.append(blocks[int(np.argmin(distances))])
        return nearest

    def areas_near(self, point: np.ndarray, radius: float) -> tuple[MapArea, ...]:
        """What the benchmark's drivable map holds: parts that touch the square of ``radius`` around a point (2,)."""
        blocks = self.blocks_near(point, radius)
        found = [area for block in blocks if not block.connector for area in self._block_areas[block.id]]
        found += [area for block in blocks for lane in block.lanes for area in self._lane_areas[lane]]
        for kind, tree in self._area_trees.items():
            hits = np.sort(tree.query(_square(point, radius), predicate="intersects"))
            found += [area for i in hits for area in self._areas[kind][i][1]]
        return tuple(found)


LAYERS = (
    "lanes_polygons",
    "lane_connectors",
    "gen_lane_connectors_scaled_width_polygons",
    "lane_groups_polygons",
    "lane_group_connectors",
    "baseline_paths",
    "intersections",
    "carpark_areas",
)
PLAIN = {"intersections": AreaKind.INTERSECTION, "carpark_areas": AreaKind.CARPARK_AREA}


def _square(point: np.ndarray, radius: float) -> BaseGeometry:
    return shapely.box(point[0] - radius, point[1] - radius, point[0] + radius, point[1] + radius)


def _reference(feature: Feature, key: str, where: str) -> str:
    """The id that a row refers to."""
    value = feature.fields.get(key)
    if value is None or value != value:
        raise DatasetError(f"{where}, row {feature.id}: {key} is {value!r}, expected an id")
    return str(int(value))


def _lanes(layers: dict[str, list[Feature]], path: Path) -> dict[str, Lane]:
    """Lanes and lane connectors by id."""
    where = f"map {path}"
    leaving = defaultdict(list)
    for connector in layers["lane_connectors"]:
        leaving[_reference(connector, "exit_lane_fid", f"{where}, lane_connectors")].append(connector.id)
    lines = _baselines(layers["baseline_paths"], where)
    shapes = {
        _reference(shape, "lane_connector_fid", f"{where}, lane connector polygons"): shape.geometry
        for shape in layers["gen_lane_connectors_scaled_width_polygons"]
    }
    lanes = {}
    for feature in layers["lanes_polygons"]:
        block = _reference(feature, "lane_group_fid", f"{where}, lanes_polygons")
        lanes[feature.id] = _lane(feature, block, feature.geometry, lines, tuple(leaving[feature.id]), False, where)
    for feature in layers["lane_connectors"]:
        block = _reference(feature, "lane_group_connector_fid", f"{where}, lane_connectors")
        entered = (_reference(feature, "entry_lane_fid", f"{where}, lane_connectors"),)
        if feature.id not in shapes:
            raise DatasetError(f"{where}: lane connector {feature.id} has no polygon")
        lanes[feature.id] = _lane(feature, block, shapes[feature.id], lines, entered, True, where)
    return lanes


def _lane(
    feature: Feature,
    block: str,
    polygon: BaseGeometry,
    lines: dict[tuple[bool, str], np.ndarray],
    outgoing: tuple[str, ...],
    connector: bool,
    where: str,
) -> Lane:
    if (connector, feature.id) not in lines:
        raise DatasetError(f"{where}: lane{' connector' * connector} {feature.id} has no baseline path")
    limit = feature.fields.get("speed_limit_mps")
    speed = None if limit is None or limit != limit else float(limit)
    return Lane(feature.id, block, polygon, lines[connector, feature.id], outgoing, speed, connector)


def _baselines(features: Sequence[Feature], where: str) -> dict[tuple[bool, str], np.ndarray]:
    """(M, 3) by (is a connector, id)."""
    lines: dict[tuple[bool, str], np.ndarray] = {}
    for feature in features:
        for connector, key in ((False, "lane_fid"), (True, "lane_connector_fid")):
            value = feature.fields.get(key)
            if value is not None and value == value:
                lines.setdefault((connector, str(int(value))), _with_yaw(feature, where))
    return lines


def _with_yaw(feature: Feature, where: str) -> np.ndarray:
    line = feature.geometry
    line = line.geoms[0] if line.geom_type == "MultiLineString" else line
    points = shapely.get_coordinates(line)
    if len(points) < 2 or line.geom_type != "LineString":
        raise DatasetError(
            f"{where}, baseline_paths, row {feature.id}: {line.geom_type} of {len(points)} points, no line"
        )
    steps = np.diff(points, axis=0)
    yaw = np.arctan2(steps[:, 1], steps[:, 0])
    return np.column_stack([points, np.append(yaw, yaw[-1])])


def _blocks(layers: dict[str, list[Feature]], lanes: dict[str, Lane], path: Path) -> dict[str, Block]:
    """Roadblocks, then roadblock connectors; where both have an id, the roadblock counts, as in the devkit."""
    where = f"map {path}, lane_group_connectors"
    inside, links = defaultdict(list), defaultdict(lambda: ([], []))
    for lane in lanes.values():
        inside[lane.connector, lane.block].append(lane.id)
    ends = {}
    for feature in layers["lane_group_connectors"]:
        ends[feature.id] = tuple(_reference(feature, f"{end}_lane_group_fid", where) for end in ("from", "to"))
        links[ends[feature.id][0]][1].append(feature.id)
        links[ends[feature.id][1]][0].append(feature.id)
    blocks = {}
    for feature in layers["lane_groups_polygons"]:
        incoming, outgoing = map(tuple, links[feature.id])
        members = tuple(inside[False, feature.id])
        blocks[feature.id] = Block(feature.id, feature.geometry, members, incoming, outgoing, False)
    for feature in layers["lane_group_connectors"]:
        before, after = ends[feature.id]
        block = Block(feature.id, feature.geometry, tuple(inside[True, feature.id]), (before,), (after,), True)
        blocks.setdefault(feature.id, block)
    return blocks


def _areas(id: str, kind: AreaKind, shape: BaseGeometry, **lane: object) -> list[MapArea]:
    """One area per polygon of a shape."""
    polygons = shape.geoms if shape.geom_type == "MultiPolygon" else [shape]
    return [
        MapArea(
            id,
            kind,
            shapely.get_coordinates(polygon.exterior),
            holes=tuple(shapely.get_coordinates(ring) for ring in polygon.interiors),
            **lane,
        )
        for polygon in polygons
        if polygon.geom_type == "Polygon" and not polygon.is_empty
    ]


def _lane_areas(lane: Lane) -> list[MapArea]:
    kind = AreaKind.LANE_CONNECTOR if lane.connector else AreaKind.LANE
    return _areas(lane.id, kind, lane.polygon, baseline=lane.baseline, speed_limit=lane.speed_limit)


def _plain_areas(features: Sequence[Feature], kind: AreaKind) -> list[tuple[BaseGeometry, list[MapArea]]]:
    return [(feature.geometry, _areas(feature.id, kind, feature.geometry)) for feature in features]


class Maps:
    """The maps of a data root, each read when first asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root / "maps"
        self._loaded: dict[str, NuplanMap] = {}

    def __call__(self, location: str) -> NuplanMap:
        """The map that a log names.

        Raises:
            DatasetError: an unknown place, or its file is missing or broken.
        """
        location = ALIASES.get(location, location)
        if location not in LOCATIONS:
            raise DatasetError(f"unknown map {location!r}; nuPlan has {', '.join(LOCATIONS)}")
        if location not in self._loaded:
            self._loaded[location] = NuplanMap(self.root / location / self._version(location) / "map.gpkg")
        return self._loaded[location]

    def _version(self, location: str) -> str:
        path = self.root / VERSIONS
        try:
            return str(json.loads(path.read_text())[location]["version"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DatasetError(
                f"{path} names no version of {location} ({type(error).__name__}: {error}); "
                "unpack nuplan-maps-v1.0 (or v1.1) there"
            ) from None
