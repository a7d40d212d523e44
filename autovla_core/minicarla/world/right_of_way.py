"""Who of the server-driven cars may enter a junction: lights, stop signs, priority, one reservation a conflict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from autovla_core.minicarla.world.actor import LightColor, TrafficLight
from autovla_core.minicarla.world.layout import Lane

STOP_WAIT_S = 1.0
NEAR_LINE_M = 4.0
INSIDE_M = 2.0  # beyond its line a car is in the junction and had better leave it
CAN_STOP = 3.0  # m/s2: a yellow light is obeyed if this braking suffices
CROSSING_S = 3.0  # a car with priority that needs longer to its line does not count
CLEARS_AFTER_S = 3.0
IMPATIENT_AFTER_S = 12.0  # without a red light; then others wait, whatever their priority
EXIT_ROOM_M = 8.0
EXIT_SPEED = 1.5  # m/s: whoever drives faster makes room
DESPERATE_AFTER_S = 40.0  # without a red light and without room beyond the junction
FOLLOWING_GAP_M = 2.5
QUEUED_SPEED = 0.5  # m/s


@dataclass(eq=False)
class Crossing:
    """One driver's way through one junction."""

    approach: int  # lane
    lanes: tuple[int, ...]  # of the junction, in order
    exit: int  # lane, -1 beyond the window
    line_at: float  # offsets along the driver's window
    end_at: float
    granted: bool = False
    waited_s: float = 0.0
    stopped_s: float = 0.0


class Car(NamedTuple):
    """What right of way needs to know of a car at this moment."""

    id: int
    lane: int
    s: float  # m along the lane, of the car's centre
    speed: float
    half_length: float


class Cars:
    """All cars of a moment, and those on each lane."""

    def __init__(self, cars: Iterable[Car]) -> None:
        self.all = list(cars)
        self._by_lane: dict[int, list[Car]] = {}
        for car in self.all:
            self._by_lane.setdefault(car.lane, []).append(car)

    def on(self, lane: int) -> Sequence[Car]:
        """Those whose centre is on a lane."""
        return self._by_lane.get(lane, ())


@dataclass
class RightOfWay:
    """The junctions' books."""

    lanes: Sequence[Lane]
    lights: Mapping[str, TrafficLight]  # by OpenDRIVE signal id
    stop_signs: frozenset[str]  # ids of signs that ask for a full stop, not only to yield
    holders: dict[int, set[int]] = field(default_factory=dict)  # junction lane -> drivers under way
    claims: dict[int, frozenset[int]] = field(default_factory=dict)  # impatient driver -> lanes that it needs empty
    conflicts: dict[tuple[int, ...], frozenset[int]] = field(default_factory=dict)  # way through a junction -> lanes

    def release(self, driver: int, crossing: Crossing) -> None:
        """Give a crossing's lanes back."""
        crossing.granted = False
        for lane in crossing.lanes:
            self.holders.get(lane, set()).discard(driver)

    def release_all(self, driver: int) -> None:
        """Forget a driver."""
        self.claims.pop(driver, None)
        for waiting in self.holders.values():
            waiting.discard(driver)

    def review(self, me: Car, crossing: Crossing, to_line: float, others: Cars, dt: float) -> bool:
        """Decide, every tick, whether a driver ``to_line`` metres before its line may go; keep the books."""
        if to_line < 0.0 and (crossing.granted or to_line < -INSIDE_M):
            self._grant(me.id, crossing)
            return True
        must_stop = self._light_forbids(me, crossing, to_line)
        if crossing.granted and (must_stop or self._had_better_wait(me, crossing, to_line, others)):
            self.release(me.id, crossing)
        if crossing.granted:
            return True
        near = to_line < NEAR_LINE_M and me.speed < 0.2
        crossing.stopped_s = crossing.stopped_s + dt if near else crossing.stopped_s
        self.claims.pop(me.id, None)
        if must_stop:
            return False
        crossing.waited_s += dt if near else 0.0
        if self._needs_stop(crossing) or not self._is_free(me, crossing, others):
            return False
        self._grant(me.id, crossing)
        return True

    def queue(self, driver: int, crossing: Crossing) -> None:
        """Note that a driver stands behind others before its line: it holds nothing, or those would wait for it."""
        self.claims.pop(driver, None)
        if crossing.granted:
            self.release(driver, crossing)

    def _grant(self, driver: int, crossing: Crossing) -> None:
        crossing.granted = True
        self.claims.pop(driver, None)
        for lane in crossing.lanes:
            self.holders.setdefault(lane, set()).add(driver)

    def _light_forbids(self, me: Car, crossing: Crossing, to_line: float) -> bool:
        light = self.lights.get(self.lanes[crossing.approach].light_id)
        if light is None or light.state in (LightColor.GREEN, LightColor.OFF):
            return False
        if light.state == LightColor.YELLOW and crossing.waited_s > CLEARS_AFTER_S:
            return False  # it had green but no gap; now that the oncoming cars stop it may clear the junction
        return light.state == LightColor.RED or to_line > me.speed**2 / (2.0 * CAN_STOP)

    def _needs_stop(self, crossing: Crossing) -> bool:
        return self.lanes[crossing.approach].stop_id in self.stop_signs and crossing.stopped_s < STOP_WAIT_S

    def _is_free(self, me: Car, crossing: Crossing, others: Cars) -> bool:
        conflicts = self._conflicts(crossing.lanes)
        impatient = crossing.waited_s > IMPATIENT_AFTER_S
        if impatient:
            self.claims[me.id] = conflicts
        elif any(not claim.isdisjoint(crossing.lanes) for claim in self.claims.values()):
            return False
        if any(self.holders.get(lane, set()) - {me.id} for lane in conflicts):
            return False
        if any(car.id != me.id for lane in conflicts for car in others.on(lane)):
            return False
        if not self._exit_has_room(me, crossing, others):
            return False
        return impatient or not self._must_yield(me, crossing, conflicts, others)

    def _conflicts(self, ways: tuple[int, ...]) -> frozenset[int]:
        """Lanes that cross or join a way through a junction, without its own."""
        if ways not in self.conflicts:
            self.conflicts[ways] = frozenset(c for lane in ways for c in self.lanes[lane].conflicts) - set(ways)
        return self.conflicts[ways]

    def _had_better_wait(self, me: Car, crossing: Crossing, to_line: float, others: Cars) -> bool:
        """Whether room beyond the junction has been lost since the grant, and the car can still stop."""
        return to_line > me.speed**2 / (2.0 * CAN_STOP) and not self._exit_has_room(me, crossing, others)

    def _exit_has_room(self, me: Car, crossing: Crossing, others: Cars) -> bool:
        """Whether this car, and those before it in the junction, fit behind the last one that stands beyond."""
        if crossing.waited_s > DESPERATE_AFTER_S:
            return True
        standing = [
            car.s - car.half_length for car in others.on(crossing.exit) if car.id != me.id and car.speed < EXIT_SPEED
        ]
        if not standing:
            return True
        before = [car for car in others.all if car.lane in crossing.lanes and car.id != me.id]
        taken = sum(2.0 * car.half_length + FOLLOWING_GAP_M for car in before)
        return min(standing) >= EXIT_ROOM_M + me.half_length + taken

    def _must_yield(self, me: Car, crossing: Crossing, conflicts: frozenset[int], others: Cars) -> bool:
        """Whether a moving car with priority will need a conflicting lane soon."""
        mine = self._rank(self.lanes[crossing.approach], self.lanes[crossing.lanes[0]].turn)
        for car in others.all:
            lane = self.lanes[car.lane]
            if car.id == me.id or car.speed < 1.0 or lane.junction_id >= 0:
                continue
            if float(lane.s[-1]) - car.s - car.half_length > 5.0 + CROSSING_S * car.speed:
                continue
            light = self.lights.get(lane.light_id)
            if light is not None and light.state == LightColor.RED:
                continue
            if any(n in conflicts and self._rank(lane, self.lanes[n].turn) < mine for n in lane.successors):
                return True
        return False

    def _rank(self, approach: Lane, turn: str) -> int:
        """Lower goes first: priority road before signs, straight before turning left."""
        return 2 * (approach.stop_id != "") + (turn == "left")
