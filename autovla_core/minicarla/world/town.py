"""Towns: OpenDRIVE text in, lanes, signals, solids, ground and mesh out. CARLA's frame.

The only file of minicarla that imports carla, for its offline map geometry.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path

import carla
import numpy as np

from autovla_core.minicarla.world import crosswalks, furniture, markings, road_mesh, scenery, signals, survey
from autovla_core.minicarla.world import mesh as meshes
from autovla_core.minicarla.world.areas import survey_areas
from autovla_core.minicarla.world.ground import Ground, LaneGrid, build_ground
from autovla_core.minicarla.world.layout import Lane, Signal, Solid, TownError
from autovla_core.minicarla.world.mesh import Mesh
from autovla_core.minicarla.world.scenery import SceneryStyle

__all__ = ["TOWNS", "Lane", "Signal", "Solid", "Town", "TownError", "load_opendrive", "load_town"]

SCENERY = {
    "Havenbrook": SceneryStyle(seed=7),
    "Pennyfield": SceneryStyle(seed=11, grove_trees=60),
    "Ironmere": SceneryStyle(seed=12, storeys=(3, 4, 5, 5, 6, 7, 8), house_gap_m=(0.5, 3.0), empty_share=0.05),
    "Rowanfold": SceneryStyle(seed=13, storeys=(1, 1, 2, 2, 2, 3), house_gap_m=(4.0, 12.0)),
    "Kestrelway": SceneryStyle(seed=14, storeys=(1, 2, 3), grove_trees=500),
    "Fellside": SceneryStyle(seed=15, storeys=(1, 2, 2), grove_trees=900),
}
TOWNS = tuple(SCENERY)
TOWNS_FOLDER = Path(__file__).parent.parent / "towns"

SPAWN_EVERY_M = 20.0
SPAWN_FROM_ENDS_M = 8.0
SPAWN_ABOVE_M = 0.5

SpawnPoint = tuple[float, float, float, float, float, float]


@dataclass(frozen=True, eq=False)
class Town:
    """Everything that stands still."""

    name: str
    xodr: str
    spawn_points: tuple[SpawnPoint, ...]  # x, y, z, pitch, yaw, roll
    lanes: tuple[Lane, ...]
    signals: tuple[Signal, ...]
    solids: tuple[Solid, ...]
    mesh: Mesh  # right-handed, without the lamps of the traffic lights
    ground: Ground
    lane_grid: LaneGrid
    lamps: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))  # where street lamps shine from

    def height(self, x: float, y: float) -> float:
        """Return the ground's z in metres; on roads exact within a centimetre."""
        return self.ground.height(x, y)

    def nearest_lane(self, x: float, y: float) -> tuple[int, float, float]:
        """Return (lane index, s along it, lateral offset to the right of its centre line), in metres."""
        return self.lane_grid.nearest(x, y)


def load_town(name: str) -> Town:
    """Load a shipped town with its scenery.

    Raises:
        TownError: if the name is not in TOWNS.
    """
    if name not in TOWNS:
        raise TownError(f"no town {name!r}; known: {', '.join(TOWNS)}")
    return _load(name, (TOWNS_FOLDER / f"{name}.xodr").read_text(encoding="utf-8"), SCENERY[name])


def load_opendrive(name: str, xodr_text: str) -> Town:
    """Load any OpenDRIVE text: roads, signals and grass, no buildings.

    Raises:
        TownError: if the text is not OpenDRIVE that carla.Map reads, or a lane has no valid waypoint.
    """
    return _load(name, xodr_text, None)


def _load(name: str, xodr: str, style: SceneryStyle | None) -> Town:
    try:
        root = ET.fromstring(xodr)
        carla_map = carla.Map(name, crosswalks.closed(xodr))
    except (ET.ParseError, RuntimeError) as error:
        raise TownError(f"town {name!r}: not an OpenDRIVE map: {error}") from error
    strips = survey.survey(carla_map, root)
    lanes = survey.build_lanes(carla_map, strips)
    if not lanes:
        raise TownError(f"town {name!r}: no driving lane")
    placed = signals.build_signals(root, lanes, strips)
    lanes = signals.with_signals(lanes, placed)
    ground = build_ground(lanes)
    areas = survey_areas(strips)
    parts = [road_mesh.build_roads(strips, areas, ground), markings.build_markings(strips, placed, _zebras(carla_map))]
    parts.append(furniture.build_signals_mesh(placed))
    things = scenery.build_scenery(strips, areas, ground, style)
    solids = furniture.signal_solids(placed) + things.solids
    return Town(
        name=name,
        xodr=xodr,
        spawn_points=_spawn_points(lanes),
        lanes=tuple(lanes),
        signals=tuple(placed),
        solids=solids,
        mesh=meshes.join([*parts, things.mesh]),
        ground=ground,
        lane_grid=LaneGrid(lanes),
        lamps=things.lamps,
    )


def _zebras(carla_map: carla.Map) -> list[np.ndarray]:
    """Return the crosswalks as rings of corners (n, 3)."""
    corners = np.array([(p.x, p.y, p.z) for p in carla_map.get_crosswalks()], float)
    return crosswalks.rings(corners.reshape(-1, 3))


def _spawn_points(lanes: list[Lane]) -> tuple[SpawnPoint, ...]:
    return tuple(point for lane in lanes if lane.junction_id < 0 for point in _lane_spawn_points(lane))


def _lane_spawn_points(lane: Lane) -> list[SpawnPoint]:
    found = []
    for s in np.arange(SPAWN_FROM_ENDS_M, lane.s[-1] - SPAWN_FROM_ENDS_M, SPAWN_EVERY_M):
        i = int(np.searchsorted(lane.s, s))
        x, y, z = lane.points[i].tolist()
        run = lane.s[i + 1] - lane.s[i - 1]
        pitch = float(np.degrees(np.arctan2(lane.points[i + 1, 2] - lane.points[i - 1, 2], run)))
        found.append((x, y, z + SPAWN_ABOVE_M, pitch, float(lane.yaw_deg[i]), 0.0))
    return found
