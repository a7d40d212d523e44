"""What a town has for scenarios: stretches without a junction, approaches to junctions, ramps; from its map alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from autovla_core.carla_bridge.wheel import carla
from autovla_core.evaluation.bench2drive.map_walks import (
    STEP_M,
    Abreast,
    abreast,
    ahead,
    back,
    first_behind_junction,
    is_driving,
    lane_of,
    turn_of,
    turned_deg,
    yaw_deg,
)

EVERY_M = 10.0  # between the places looked at along a lane
LONGEST_M = 360.0  # how far a stretch is followed
STRAIGHT_DEG = 6.0
JUST_BEFORE_M = 2.5  # a lane's sampled points may end up to their spacing before its junction
RAMP_DEG = 35.0  # ways of a ramp's junction turn by less
LONGEST_RAMP_M = 80.0  # inside a junction
TRAFFIC_LIGHT, STOP_SIGN, YIELD_SIGN = "1000001", "206", "205"  # OpenDRIVE's types


@dataclass(frozen=True)
class Stretch:
    """Road ahead of a place, up to the next junction or fork."""

    at: carla.Waypoint
    length_m: float
    straight_m: float  # of it turns less than ``STRAIGHT_DEG``
    bend_deg: float  # most that it turns
    behind_m: float  # to the last junction, 150 at most
    beside: Abreast


@dataclass(frozen=True)
class Approach:
    """The end of a lane at a junction."""

    at: carla.Waypoint
    ways: Mapping[str, carla.Waypoint]  # left, straight, right: where each begins inside
    arms: Mapping[str, tuple[carla.Waypoint, ...]]  # left, right, opposite, same: ends of the other lanes into it
    junction: carla.Junction
    length_m: float  # of the lane, 200 at most
    beside: Abreast
    signs: frozenset[str]

    @property
    def has_light(self) -> bool:
        return TRAFFIC_LIGHT in self.signs

    @property
    def has_stop(self) -> bool:
        return STOP_SIGN in self.signs

    @property
    def is_plain(self) -> bool:
        """No light and no sign."""
        return not self.signs & {TRAFFIC_LIGHT, STOP_SIGN, YIELD_SIGN}


@dataclass(frozen=True)
class Survey:
    """All places of a town."""

    town: str
    stretches: Sequence[Stretch]
    approaches: Sequence[Approach]
    joins: Sequence[Approach]  # two roads run together into one, side by side
    leaves: Sequence[Approach]  # one road splits into two at small angles


def survey(town: str, opendrive: str) -> Survey:
    """Look at a whole map.

    Raises:
        RuntimeError: the client cannot read it.
    """
    carla_map = carla.Map(town, opendrive)
    approaches = list(_approaches(carla_map))
    flat = [a for a in approaches if all(abs(_turned(way, a.at)) < RAMP_DEG for way in _inside(a.at))]
    shapes = {a.at.id: _roads_through(a) for a in flat}
    joins = [a for a in flat if shapes[a.at.id] == (2, 1)]
    leaves = [a for a in flat if shapes[a.at.id] == (1, 2)]
    return Survey(town, list(_stretches(carla_map)), approaches, joins, leaves)


def _stretches(carla_map: carla.Map) -> Iterator[Stretch]:
    for at in carla_map.generate_waypoints(EVERY_M):
        if is_driving(at) and not at.is_junction:
            run, bends = _run(at)
            straight = sum(bend < STRAIGHT_DEG for bend in bends) * STEP_M
            behind = len(back(at, 150.0)) * STEP_M
            yield Stretch(at, (len(run) - 1) * STEP_M, straight, max(bends, default=0.0), behind, abreast(at))


def _run(at: carla.Waypoint) -> tuple[list[carla.Waypoint], list[float]]:
    """Waypoints to the next junction or fork, and how far the road has turned at most up to each, degrees."""
    run, bends = [at], []
    while len(run) * STEP_M < LONGEST_M:
        following = run[-1].next(STEP_M)
        if len(following) != 1 or following[0].is_junction:
            break
        run.append(following[0])
        turned = abs(turned_deg(yaw_deg(following[0]), yaw_deg(at)))
        bends.append(max(turned, bends[-1] if bends else 0.0))
    return run, bends


def _approaches(carla_map: carla.Map) -> Iterator[Approach]:
    signs, seen = _signs(carla_map), set()
    for at in carla_map.generate_waypoints(STEP_M):
        inside = _inside(at) if is_driving(at) and not at.is_junction and lane_of(at) not in seen else []
        if not inside:
            continue
        seen.add(lane_of(at))
        ways = {turn_of(way, at): way for way in inside}
        junction = inside[0].get_junction()
        arms = _arms(junction, at, {way.road_id for way in inside})
        length = len(back(at, 200.0)) * STEP_M
        yield Approach(at, ways, arms, junction, length, abreast(at), signs.get((at.road_id, at.lane_id), frozenset()))


def _inside(at: carla.Waypoint) -> list[carla.Waypoint]:
    """The beginnings of the ways through the junction just ahead; none if there is no junction."""
    following = at.next(JUST_BEFORE_M)
    return following if following and following[0].is_junction else []


def _signs(carla_map: carla.Map) -> dict[tuple[int, int], frozenset[str]]:
    """OpenDRIVE types of the signals by (road, lane)."""
    found: dict[tuple[int, int], set[str]] = defaultdict(set)
    for landmark in carla_map.get_all_landmarks():
        for one, other in landmark.get_lane_validities() or [(0, 0)]:
            for lane in range(min(one, other), max(one, other) + 1):
                found[landmark.road_id, lane].add(landmark.type)
    return {key: frozenset(types) for key, types in found.items()}


def _arms(junction: carla.Junction, at: carla.Waypoint, own_roads: set[int]) -> dict[str, tuple[carla.Waypoint, ...]]:
    """The ends of the other lanes that lead into a junction, by where they lie as seen from ``at``."""
    arms: dict[str, tuple[carla.Waypoint, ...]] = {}
    for entry, _ in junction.get_waypoints(carla.LaneType.Driving):
        before = (entry.previous(1.0) or [entry])[0]
        if entry.road_id in own_roads or lane_of(before) == lane_of(at):
            continue
        side = _side(turned_deg(yaw_deg(entry), yaw_deg(at)))
        arms[side] = (*arms.get(side, ()), before)
    return arms


def _side(turned: float) -> str:
    """Where somebody comes from whose heading is turned by so much: who drives to my left comes from my right."""
    if abs(turned) > 135.0:
        return "opposite"
    return "right" if turned < -45.0 else "left" if turned > 45.0 else "same"


def _turned(inside: carla.Waypoint, at: carla.Waypoint) -> float:
    way = ahead(inside, LONGEST_RAMP_M, step=1.0)
    index = first_behind_junction(way)
    return turned_deg(yaw_deg(way[-1] if index is None else way[index]), yaw_deg(at))


def _roads_through(approach: Approach) -> tuple[int, int]:
    """How many roads lead into a junction, and out of it."""
    entries, exits = set(), set()
    for entry, leaving in approach.junction.get_waypoints(carla.LaneType.Driving):
        entries.add((entry.previous(1.0) or [entry])[0].road_id)
        while leaving.is_junction and leaving.next(1.0):
            leaving = leaving.next(1.0)[0]
        exits.add(leaving.road_id)
    return len(entries), len(exits)
