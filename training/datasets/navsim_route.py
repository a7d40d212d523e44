"""From a log's list of roadblocks to the route that the benchmark scores: mended blocks, lanes and a centreline.

The logs' routes are not always linked and sometimes do not hold the block where the ego is; NAVSIM mends them on the
map before scoring, so the same is done here, rule by rule.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from autovla_core.geometry import wrap_angle
from training.datasets.navsim_maps import Block, Lane, NuplanMap
from training.datasets.sample import DatasetError

NEAR_M = 1.0  # a block this near may be the ego's
SAME_HEADING, SAME_LANE_M = math.pi / 4, 3.0  # ... if one of its baselines runs this near and along the ego
BACKWARD, FORWARD = 15, 30  # blocks searched for a link
TARGETS = 3  # of the route's first blocks, one must be reached
LOOP_M2 = 1.0  # two ways through junctions that overlap by more: the route crosses itself
AHEAD = 30  # blocks that the centreline spans


@dataclass(frozen=True)
class Route:
    """Blocks and lanes of the route, and the line along it."""

    blocks: tuple[str, ...]
    lanes: tuple[str, ...]
    centerline: np.ndarray  # (M, 3) x, y, yaw; baselines in a row, their joints twice


def route(city: NuplanMap, pose: np.ndarray, footprint: BaseGeometry, ids: Sequence[str], where: str) -> Route:
    """The mended route of one moment.

    Args:
        pose: (3,) rear axle, world.
        footprint: the ego's box, world.
        ids: the log's roadblocks.
        where: names the record in errors.

    Raises:
        DatasetError: a roadblock that the map lacks, or a route without lanes.
    """
    known = list(dict.fromkeys(str(id) for id in ids))
    if unknown := [id for id in known if id not in city.blocks]:
        raise DatasetError(f"{where}: map {city.path} has no roadblock {', '.join(unknown[:3])}")
    if not known:
        raise DatasetError(f"{where}: no route (roadblock_ids is empty)")
    blocks = mend(city, pose, known)
    lanes = [lane for block in blocks for lane in city.blocks[block].lanes]
    if not lanes:
        raise DatasetError(f"{where}: the route's {len(blocks)} blocks hold no lane of map {city.path}")
    start = _start_lane(city, pose, footprint, lanes)
    return Route(tuple(blocks), tuple(dict.fromkeys(lanes)), _centerline(city, start, blocks, set(lanes)))


def mend(city: NuplanMap, pose: np.ndarray, ids: Sequence[str]) -> list[str]:
    """Blocks of the route: joined to where the ego is, linked, and cut before it crosses itself."""
    return _without_loop(city, _linked(city, _joined(city, pose, list(ids))))


def _joined(city: NuplanMap, pose: np.ndarray, ids: list[str]) -> list[str]:
    """Put what leads from the ego's block to the route in front of it."""
    start, candidates = _ego_blocks(city, pose, ids)
    if start in ids:
        return ids
    backward = _search(city, ids[0], candidates, BACKWARD, forward=False)
    if backward:
        return backward[::-1][:-1] + ids
    forward = _search(city, start, ids[:TARGETS], FORWARD, forward=True)
    if forward:
        return forward + ids[ids.index(forward[-1]) + 1 :]
    return ids


def _ego_blocks(city: NuplanMap, pose: np.ndarray, ids: Collection[str]) -> tuple[str, list[str]]:
    """The block that the ego is most likely in, and all that it may be in."""
    blocks = city.blocks_near(pose[:2], NEAR_M) or city.nearest_blocks(pose[:2])
    fits = [(block, distance, heading) for block in blocks for distance, heading in _offsets(city, block, pose)]
    good = [(d, block.id) for block, d, h in fits if h < SAME_HEADING and d < SAME_LANE_M]
    chosen = [fit for fit in good if fit[1] in ids] or good or [(d, block.id) for block, d, _ in fits]
    if not chosen:
        return (blocks[0].id if blocks else ""), [block.id for block in blocks]
    every = [id for _, id in chosen] if good else [block.id for block in blocks]
    return min(chosen, key=lambda fit: fit[0])[1], every


def _offsets(city: NuplanMap, block: Block, pose: np.ndarray) -> list[tuple[float, float]]:
    """(distance, heading difference) of the ego to each lane's baseline vertices."""
    return [_offset(city.lanes[lane], pose) for lane in block.lanes]


def _offset(lane: Lane, pose: np.ndarray) -> tuple[float, float]:
    distances = np.linalg.norm(lane.baseline[:, :2] - pose[:2], axis=1)
    nearest = int(distances.argmin())
    return float(distances[nearest]), abs(float(wrap_angle(lane.baseline[nearest, 2] - pose[2])))


def _search(city: NuplanMap, start: str, targets: Collection[str], depth: int, forward: bool) -> list[str]:
    """Blocks from ``start`` to the nearest target, at most ``depth`` in all, or none; breadth first."""
    if start not in city.blocks:
        return []
    parents: dict[str, str | None] = {start: None}
    level = [start]
    for step in range(depth):
        found = next((id for id in level if id in targets), None)
        if found is not None:
            return _trace(parents, found)
        level = _next_level(city, level, parents, forward) if step + 1 < depth else []
    return []


def _next_level(city: NuplanMap, level: Sequence[str], parents: dict[str, str | None], forward: bool) -> list[str]:
    """Unvisited neighbours; of several ways to one, the last counts, as in the benchmark."""
    fresh: dict[str, str] = {}
    for id in level:
        block = city.blocks[id]
        for neighbour in block.outgoing if forward else block.incoming:
            if neighbour in city.blocks and neighbour not in parents:
                fresh[neighbour] = id
    parents.update(fresh)
    return list(fresh)


def _trace(parents: dict[str, str | None], end: str) -> list[str]:
    path, id = [], end
    while id is not None:
        path.append(id)
        id = parents[id]
    return path[::-1]


def _linked(city: NuplanMap, ids: Sequence[str]) -> list[str]:
    """Fill gaps between blocks that do not follow each other."""
    linked = list(ids[:1])
    for before, after in zip(ids, ids[1:]):
        if before not in city.blocks[after].incoming:
            linked += _search(city, before, (after,), FORWARD, forward=True)[1:-1]
        linked.append(after)
    return linked


def _without_loop(city: NuplanMap, ids: list[str]) -> list[str]:
    """Cut at the way through a junction that overlaps an earlier one."""
    earlier: list[BaseGeometry] = []
    for index, id in enumerate(ids):
        block = city.blocks[id]
        if not block.connector:
            continue
        if any(block.polygon.intersection(other).area > LOOP_M2 for other in earlier):
            return ids[:index]
        earlier.append(block.polygon)
    return ids


def _start_lane(city: NuplanMap, pose: np.ndarray, footprint: BaseGeometry, lanes: Sequence[str]) -> Lane:
    """The route's lane at the rear axle that runs most along the ego; else the one at or nearest to its box."""
    spot = shapely.Point(pose[:2])
    here = [city.lanes[id] for id in lanes if city.lanes[id].polygon.intersects(spot)]
    if here:
        return min(here, key=lambda lane: _offset(lane, pose)[1])
    candidates = [city.lanes[id] for id in lanes]
    center = footprint.centroid
    inside = next((lane for lane in candidates if lane.polygon.contains(center)), None)
    return inside or min(candidates, key=lambda lane: lane.polygon.distance(footprint))


def _centerline(city: NuplanMap, start: Lane, blocks: Sequence[str], allowed: Collection[str]) -> np.ndarray:
    first = blocks.index(start.block) if start.block in blocks else 0
    goal = blocks[first : first + AHEAD][-1]
    return np.concatenate([city.lanes[id].baseline for id in _shortest(city, start, goal, allowed)])


def _shortest(city: NuplanMap, start: Lane, goal: str, allowed: Collection[str]) -> list[str]:
    """Lanes from ``start`` to one of block ``goal`` (Dijkstra); else the shortest of the deepest ways."""
    parents: dict[str, str | None] = {start.id: None}
    open_lanes, done = {start.id: (1.0, 1)}, {}  # id -> (metres, lanes)
    while open_lanes:
        id = min(open_lanes, key=lambda id: open_lanes[id][0])
        distance, depth = done[id] = open_lanes.pop(id)
        if city.lanes[id].block == goal:
            return _trace(parents, id)
        for next_id in city.lanes[id].outgoing:
            if next_id not in allowed or next_id in done:
                continue
            length = distance + city.lanes[next_id].length
            if next_id not in open_lanes or length < open_lanes[next_id][0]:
                open_lanes[next_id], parents[next_id] = (length, depth + 1), id
    deepest = max(depth for _, depth in done.values())
    return _trace(parents, min((id for id in done if done[id][1] == deepest), key=lambda id: done[id][0]))
