"""A town small enough to think about: a figure of eight with one signalised crossing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from autovla_core.minicarla.blueprints import BLUEPRINTS
from autovla_core.minicarla.world import mesh, physics, spawning
from autovla_core.minicarla.world.ground import Ground, LaneGrid
from autovla_core.minicarla.world.layout import Lane, Signal, Solid
from autovla_core.minicarla.world.town import Town

EAST_APPROACH, EAST_CROSSING, NORTH_LOOP, NORTH_CROSSING, SOUTH_LOOP = range(5)
JUNCTION = 7
WALL_X = -200.0
MKZ = "vehicle.lincoln.mkz_2020"


def _line(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    count = int(np.hypot(x1 - x0, y1 - y0)) + 2
    return np.stack([np.linspace(x0, x1, count), np.linspace(y0, y1, count)], axis=1)


def _arc(cx: float, cy: float, radius: float, start_deg: float, end_deg: float) -> np.ndarray:
    count = int(abs(np.radians(end_deg - start_deg)) * radius) + 2
    angle = np.radians(np.linspace(start_deg, end_deg, count))
    return np.stack([cx + radius * np.cos(angle), cy + radius * np.sin(angle)], axis=1)


def _lane(index: int, pieces: list[np.ndarray], successor: int, **other: object) -> Lane:
    xy = np.concatenate([pieces[0], *(piece[1:] for piece in pieces[1:])])
    steps = np.diff(xy, axis=0)
    yaw = np.degrees(np.arctan2(steps[:, 1], steps[:, 0]))
    return Lane(
        index=index,
        road_id=index,
        section_id=0,
        lane_id=-1,
        points=np.column_stack([xy, np.zeros(len(xy))]),
        yaw_deg=np.append(yaw, yaw[-1]),
        s=np.concatenate([[0.0], np.cumsum(np.linalg.norm(steps, axis=1))]),
        width=3.5,
        speed_limit_kmh=40.0,
        **{
            "junction_id": -1,
            "turn": "",
            "left": -1,
            "right": -1,
            "light_id": "",
            "stop_id": "",
            "conflicts": (),
            **other,
        },
        successors=(successor,),
    )


def figure_of_eight(stop_signs: bool = False) -> Town:
    """East along y = 0, through the crossing, round to the north, south along x = 0 (CARLA: y down) and back.

    The crossing is the square |x|, |y| < 8; both ways through it are straight.
    """
    governed = ("stop_id", ("east sign", "north sign")) if stop_signs else ("light_id", ("east light", "north light"))
    lanes = (
        _lane(EAST_APPROACH, [_line(-48, 0, -8, 0)], EAST_CROSSING, **{governed[0]: governed[1][0]}),
        _lane(
            EAST_CROSSING,
            [_line(-8, 0, 8, 0)],
            NORTH_LOOP,
            junction_id=JUNCTION,
            turn="straight",
            conflicts=(NORTH_CROSSING,),
        ),
        _lane(
            NORTH_LOOP,
            [_line(8, 0, 48, 0), _arc(48, 48, 48, -90, 180), _line(0, 48, 0, 8)],
            NORTH_CROSSING,
            **{governed[0]: governed[1][1]},
        ),
        _lane(
            NORTH_CROSSING,
            [_line(0, 8, 0, -8)],
            SOUTH_LOOP,
            junction_id=JUNCTION,
            turn="straight",
            conflicts=(EAST_CROSSING,),
        ),
        _lane(SOUTH_LOOP, [_line(0, -8, 0, -48), _arc(-48, -48, 48, 0, -270)], EAST_APPROACH),
    )
    kind = "stop" if stop_signs else "traffic_light"
    signals = (
        _signal(governed[1][0], kind, (-8.0, 3.0, 0.0), 90.0, EAST_APPROACH, 0),
        _signal(governed[1][1], kind, (3.0, 8.0, 0.0), 0.0, NORTH_LOOP, 1),
    )
    wall = Solid(np.array([WALL_X, 0.0, 2.0]), np.array([0.5, 40.0, 2.0]), 0.0, int(mesh.Tag.WALL), "static.wall")
    spawn_points = tuple(
        (*lane.points[i, :2].tolist(), 0.5, 0.0, float(lane.yaw_deg[i]), 0.0)
        for lane in lanes
        if lane.junction_id < 0
        for i in range(15, len(lane.points) - 10, 20)
    )
    return Town(
        name="Eight",
        xodr="",
        spawn_points=spawn_points,
        lanes=lanes,
        signals=signals,
        solids=(wall,),
        mesh=mesh.from_quads(np.zeros((0, 4, 3)), (0.0, 0.0, 0.0), mesh.Material.GRASS, mesh.Tag.TERRAIN),
        ground=flat_ground(),
        lane_grid=LaneGrid(lanes),
    )


def two_lanes(left_ends_at: float = 420.0) -> Town:
    """Two lanes eastwards side by side, 420 m from x = 0, lane 0 left (y = 0) of lane 1 (y = 3.5), then one on.

    The left lane goes on as lane 2 and the right one as lane 3, unless the left one ends earlier.
    """
    whole = left_ends_at >= 420.0
    plain = [
        _lane(0, [_line(0, 0, left_ends_at, 0)], 2, right=1),
        _lane(1, [_line(0, 3.5, 420, 3.5)], 3, left=0 if whole else -1),
        _lane(2, [_line(420, 0, 700, 0)], 2),
        _lane(3, [_line(420, 3.5, 700, 3.5)], 3),
    ]
    lanes = [dataclasses.replace(lane, successors=()) if lane.index > 1 else lane for lane in plain]
    if not whole:
        lanes[0] = dataclasses.replace(lanes[0], successors=())
    return straight_town(lanes)


def straight_town(lanes: list[Lane]) -> Town:
    """A plain with these lanes and nothing else."""
    wide = dataclasses.replace(flat_ground(), origin=np.array([-50.0, -400.0]))
    return dataclasses.replace(
        figure_of_eight(),
        name="Straight",
        lanes=tuple(lanes),
        signals=(),
        solids=(),
        spawn_points=(),
        ground=wide,
        lane_grid=LaneGrid(lanes),
    )


@pytest.fixture(scope="session")
def straight_road() -> Town:
    """Two lanes side by side."""
    return two_lanes()


@pytest.fixture(scope="session")
def three_lanes() -> Town:
    """Three lanes eastwards side by side, 420 m from x = 0 on, lane 0 at y = 0, lane 2 at y = 7; lanes 3 to 5 go on."""
    beside = ({"right": 1}, {"left": 0, "right": 2}, {"left": 1})
    lanes = [_lane(i, [_line(0, 3.5 * i, 420, 3.5 * i)], i + 3, **links) for i, links in enumerate(beside)]
    further = [_lane(i + 3, [_line(420, 3.5 * i, 700, 3.5 * i)], i + 3) for i in range(3)]
    return straight_town([*lanes, *(dataclasses.replace(lane, successors=()) for lane in further)])


@pytest.fixture(scope="session")
def lane_drop() -> Town:
    """Two lanes side by side, the left one of which ends after 120 m."""
    return two_lanes(120.0)


def _signal(name: str, kind: str, location: tuple, yaw_deg: float, lane: int, phase: int) -> Signal:
    """Three metres right of the lane; the trigger box covers the lane's last three metres."""
    return Signal(
        id=name,
        kind=kind,
        value=0.0,
        location=np.array(location),
        yaw_deg=yaw_deg,
        trigger_center=np.array([-3.0, 1.5, 1.0]),
        trigger_extent=np.array([1.75, 1.5, 1.0]),
        heads=(),
        lanes=(lane,),
        junction_id=JUNCTION,
        phase=phase,
    )


def flat_ground(slope: float = 0.0) -> Ground:
    """Ground that rises by ``slope`` metres per metre of x."""
    heights = np.zeros((400, 400)) + slope * (np.arange(400) * 2.0 - 400.0)[:, None]
    return Ground(np.array([-400.0, -400.0]), heights, np.ones(heights.shape, bool))


@pytest.fixture(scope="session")
def eight() -> Town:
    """The figure of eight with lights."""
    return figure_of_eight()


@pytest.fixture(scope="session")
def eight_with_stops() -> Town:
    """The figure of eight with stop signs."""
    return figure_of_eight(stop_signs=True)


@pytest.fixture(scope="session")
def on_slope() -> Callable[[Town, float], Town]:
    """The same town on a hillside that rises by ``slope`` metres per metre of x."""
    return lambda town, slope: dataclasses.replace(town, ground=flat_ground(slope))


@pytest.fixture(scope="session")
def mkz_row() -> np.ndarray:
    """The dynamics' parameters of CARLA's usual ego."""
    blueprint = BLUEPRINTS[MKZ]
    return physics.parameters(
        spawning.physics_of(blueprint),
        blueprint.base_type,
        blueprint.mass,
        blueprint.wheel_base,
        blueprint.extent[1],
    )
