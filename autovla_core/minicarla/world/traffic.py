"""Cars that the server drives: along lanes, behind each other, past lights and signs.

Not the client's Traffic Manager: these cars are as deterministic as the rest of the world.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from autovla_core.minicarla.world import lane_change
from autovla_core.minicarla.world import traffic_control as t
from autovla_core.minicarla.world.actor import TrafficLight, Vehicle, VehicleControl
from autovla_core.minicarla.world.fleet import Fleet
from autovla_core.minicarla.world.ground import project
from autovla_core.minicarla.world.lane_change import Change
from autovla_core.minicarla.world.layout import Lane
from autovla_core.minicarla.world.right_of_way import QUEUED_SPEED, Car, Crossing, RightOfWay
from autovla_core.minicarla.world.town import Town
from autovla_core.minicarla.world.traffic_path import POINTS, RENEW_BEFORE_END_M, Path, build_path

SLOWEST, FASTEST = 0.70, 0.85  # of the speed limit
LOST_M = 3.0  # off the path: look for a lane again
LINE_MARGIN_M = 0.5  # stop this far before the end of the approach lane
LOOK_AT_JUNCTION_M, LOOK_AT_JUNCTION_S = 12.0, 3.0
LOOK_UP_EVERY_M = 0.5
BRAKE_LIGHT, RIGHT_BLINKER, LEFT_BLINKER = 0x8, 0x10, 0x20
BLINKERS = {"left": LEFT_BLINKER, "right": RIGHT_BLINKER}


class Driver:
    """One car's intentions."""

    def __init__(self, vehicle: Vehicle, seed: int, number: int) -> None:
        self.vehicle = vehicle
        self.rng = np.random.default_rng((seed, number))
        self.factor = float(self.rng.uniform(SLOWEST, FASTEST))
        self.path: Path | None = None
        self.crossings: list[Crossing] = []
        self.patience_s = float(np.random.default_rng((seed, number, 1)).uniform(*lane_change.PATIENCE_S))
        self.held_up_s = 0.0
        self.rest_s = 0.0  # until it may think of a change again
        self.change: Change | None = None


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What one driver sees of the others."""

    cars: list[Car]
    bodies: np.ndarray  # (n, BODY_COLUMNS), vehicles first
    me: int  # own row of it
    vehicles: int


class Traffic:
    """All drivers and the rules between them."""

    def __init__(self, town: Town, lights: Iterable[TrafficLight], seed: int, first_id: int = 0) -> None:
        # Ids are never used twice; counted from the episode's first, an episode does not depend on those before it.
        self._town, self._seed, self._first_id = town, seed, first_id
        stops = frozenset(signal.id for signal in town.signals if signal.kind == "stop")
        self._rules = RightOfWay(town.lanes, {light.sign_id: light for light in lights}, stops)
        self._drivers: dict[int, Driver] = {}
        self._before = _predecessors(town.lanes)
        self._looked_up: dict[int, tuple[float, float, int, float]] = {}  # x, y, lane, s of other cars
        self._make_room(0)

    def set_members(self, vehicles: Iterable[Vehicle]) -> None:
        """Drive exactly the vehicles whose autopilot is on."""
        wanted = {v.id: v for v in vehicles if v.autopilot}
        if wanted.keys() == self._drivers.keys():
            return
        for gone in [i for i in self._drivers if i not in wanted]:
            self._rules.release_all(gone)
        before = {i: (self._drivers[i], number) for number, i in enumerate(self._drivers) if i in wanted}
        old = self._rows, self._paths, self._speeds
        self._make_room(len(wanted))
        self._drivers = {}
        for number, (i, vehicle) in enumerate(sorted(wanted.items())):
            if i in before:
                self._drivers[i], was = before[i]
                self._rows[number], self._paths[number], self._speeds[number] = (a[was] for a in old)
            else:
                self._drivers[i] = Driver(vehicle, self._seed, vehicle.id - self._first_id)
                self._start(number, self._drivers[i])

    def unchanging(self) -> list[object]:
        """Parts that a tick only reads."""
        paths = [driver.path for driver in self._drivers.values()]
        return [self._town, self._rules.lanes, self._rules.stop_signs, self._before, *paths]

    def step(self, fleet: Fleet, dt: float) -> None:
        """Set the controls of all drivers from the gathered state of the world."""
        members = np.array([fleet.row_of[i] for i in self._drivers], np.int64)
        t.locate(self._rows, members, self._paths, fleet.states)
        for number, driver in enumerate(self._drivers.values()):
            self._keep_path(number, driver)
        cars, bodies = self._cars(fleet) if self._drivers else [], fleet.seen()
        driven = np.zeros(len(fleet.vehicles), np.bool_)
        driven[members] = True
        for number, driver in enumerate(self._drivers.values()):
            around = Surroundings(cars, bodies, int(members[number]), len(driven))
            if self._think_of_a_change(number, driver, around, dt):
                cars = self._cars(fleet)  # who thinks next must see it in its new lane
            self._rows[number, t.STOP_AT] = self._stop_at(number, driver, cars, dt)
        t.drive(self._rows, members, self._paths, self._speeds, fleet.states, fleet.rows, bodies, driven)
        for number, driver in enumerate(self._drivers.values()):
            self._actuate(number, driver)

    def _make_room(self, count: int) -> None:
        self._rows = np.zeros((count, t.DRIVER_COLUMNS))
        self._paths, self._speeds = np.zeros((count, POINTS, 2)), np.zeros((count, POINTS))

    def _start(self, number: int, driver: Driver) -> None:
        """Find the lane under a car anew; its chosen way and reservations are forgotten."""
        self._rules.release_all(driver.vehicle.id)
        x, y = driver.vehicle.location[:2].tolist()
        lane, s, _ = self._town.nearest_lane(x, y)
        self._lay(number, driver, build_path(self._town.lanes, lane, s, (), driver.factor, driver.rng), [])
        start = driver.path.spans[0].start
        self._rows[number, t.AT] = s + start

    def _lay(self, number: int, driver: Driver, path: Path, under_way: list[Crossing]) -> None:
        driver.path = path
        self._paths[number], self._speeds[number] = path.xy, path.speed
        self._rows[number, t.LENGTH] = path.length
        driver.change = None
        driver.crossings = _crossings(self._town.lanes, path)
        for crossing in under_way:
            self._carry_over(driver, crossing)

    def _carry_over(self, driver: Driver, known: Crossing) -> None:
        """Let a crossing under way live on in the new window, or give its lanes back."""
        for fresh in driver.crossings:
            if set(fresh.lanes) & set(known.lanes):
                fresh.lanes = known.lanes + tuple(lane for lane in fresh.lanes if lane not in known.lanes)
                fresh.granted, fresh.waited_s, fresh.stopped_s = known.granted, known.waited_s, known.stopped_s
                fresh.approach = known.approach
                return
        self._rules.release(driver.vehicle.id, known)

    def _keep_path(self, number: int, driver: Driver) -> None:
        """Renew the window when it runs out, and find back after having been pushed off the lane."""
        at, path = float(self._rows[number, t.AT]), driver.path
        if self._rows[number, t.OFF_PATH] > LOST_M:
            self._start(number, driver)
        elif not path.ends and at > path.length - RENEW_BEFORE_END_M:
            index = path.span_at(at)
            span, planned = path.spans[index], [later.lane for later in path.spans[index + 1 :]]
            s = at - span.start
            self._start_from(number, driver, span.lane, s, planned)

    def _start_from(self, number: int, driver: Driver, lane: int, s: float, planned: list[int]) -> None:
        fresh = build_path(self._town.lanes, lane, s, planned, driver.factor, driver.rng)
        self._lay(number, driver, fresh, driver.crossings)
        self._rows[number, t.AT] = s + fresh.spans[0].start

    def _cars(self, fleet: Fleet) -> list[Car]:
        """Every vehicle with the lane that it is on."""
        numbers = {vehicle_id: number for number, vehicle_id in enumerate(self._drivers)}
        found = []
        for v in fleet.vehicles:
            if v.id in numbers:
                at = float(self._rows[numbers[v.id], t.AT])
                path = self._drivers[v.id].path
                span = path.spans[path.span_at(at)]
                lane, s = span.lane, at - span.start
            else:
                lane, s = self._lane_under(v)
            found.append(Car(v.id, lane, s, v.forward_speed, float(v.box_extent[0])))
        return found

    def _lane_under(self, vehicle: Vehicle) -> tuple[int, float]:
        """Lane and place along it of a car that somebody else drives, looked up again after half a metre."""
        x, y = vehicle.location[:2].tolist()
        known = self._looked_up.get(vehicle.id)
        if known is None or math.hypot(x - known[0], y - known[1]) > LOOK_UP_EVERY_M:
            known = self._looked_up[vehicle.id] = (x, y, *self._town.nearest_lane(x, y)[:2])
        return known[2:]

    def _stop_at(self, number: int, driver: Driver, cars: list[Car], dt: float) -> float:
        """Offset at which the car must stop, infinity for none."""
        at, half = float(self._rows[number, t.AT]), float(driver.vehicle.box_extent[0])
        me = Car(driver.vehicle.id, -1, 0.0, driver.vehicle.forward_speed, half)
        while driver.crossings and at > driver.crossings[0].end_at + half:
            self._rules.release(me.id, driver.crossings.pop(0))
        for crossing in driver.crossings:
            to_line = crossing.line_at - at - half
            if to_line > LOOK_AT_JUNCTION_M + LOOK_AT_JUNCTION_S * me.speed:
                self._rules.queue(me, crossing)
                break
            if me.speed < QUEUED_SPEED and float(self._rows[number, t.GAP]) < to_line:
                self._rules.queue(me, crossing)
                return crossing.line_at
            if not self._rules.review(me, crossing, to_line, cars, dt):
                return crossing.line_at
        return driver.path.length if driver.path.ends else math.inf

    # ---- lane changes

    def _think_of_a_change(self, number: int, driver: Driver, around: Surroundings, dt: float) -> bool:
        """Change lanes if the car is held up, or its lane ends, and nobody is cut off; say whether."""
        row, path = self._rows[number], driver.path
        at, lead = float(row[t.AT]), float(row[t.LEAD])
        if driver.change is not None:
            driver.change = None if at > driver.change.until else driver.change
            return False
        wanted = float(self._speeds[number, min(int(at + 0.5), POINTS - 1)])
        held_up = lane_change.is_held_up(float(row[t.GAP]), lead, driver.vehicle.forward_speed, wanted)
        driver.held_up_s = driver.held_up_s + dt if held_up else 0.0
        driver.rest_s = max(0.0, driver.rest_s - dt)
        index = path.span_at(at)
        lane = self._town.lanes[path.spans[index].lane]
        must = not lane.successors and index == len(path.spans) - 1
        patience_s = driver.patience_s if lead > lane_change.STANDING_SPEED else lane_change.STANDING_PATIENCE_S
        if driver.rest_s > 0.0 or not (must or driver.held_up_s > patience_s):
            return False
        driver.rest_s = lane_change.RETRY_S
        if not (must or self._has_time(driver, path.spans[index].end - at, at)):
            return False
        for side, target in (("left", lane.left), ("right", lane.right)):
            leads_on = target >= 0 and (not must or self._town.lanes[target].successors)
            if leads_on and self._change(number, driver, side, target, around, must):
                driver.held_up_s, driver.rest_s = 0.0, lane_change.REST_S
                return True
        return False

    @staticmethod
    def _has_time(driver: Driver, lane_left: float, at: float) -> bool:
        """Whether enough of the lane is left before its end, and before the next junction."""
        to_line = driver.crossings[0].line_at - at if driver.crossings else math.inf
        return lane_left > lane_change.LANE_LEFT_M and to_line > lane_change.CALM_M

    def _change(self, number: int, driver: Driver, side: str, target: int, around: Surroundings, urgent: bool) -> bool:
        """Take the way into the lane beside if there is a gap; say whether."""
        lane, vehicle = self._town.lanes[target], driver.vehicle
        x, y = vehicle.location[:2].tolist()
        s, offset = project(lane, int(((lane.points[:, :2] - (x, y)) ** 2).sum(1).argmin()), x, y)
        me = Car(vehicle.id, target, s, max(vehicle.forward_speed, 0.0), float(vehicle.box_extent[0]))
        before = [self._town.lanes[i] for i in self._before[target]]
        if not lane_change.is_free_behind(me, s, lane, before, around.cars, urgent):
            return False
        fresh = build_path(self._town.lanes, target, s, (), driver.factor, driver.rng)
        at, length = s + fresh.spans[0].start, lane_change.length_across(me.speed)
        fresh = lane_change.slanted(fresh, at, offset, length)
        gap, lead = t.leader(fresh.xy, at, fresh.length, me.speed, around.me, around.bodies, around.vehicles)
        gains = urgent or gap > self._rows[number, t.GAP] + lane_change.GAIN_M
        if not gains or gap < lane_change.gap_ahead_needed(me.speed, lead, urgent):
            return False
        self._lay(number, driver, fresh, driver.crossings)
        self._rows[number, t.AT] = at
        driver.change = Change(side, at + length)
        return True

    def _actuate(self, number: int, driver: Driver) -> None:
        row = self._rows[number].tolist()
        throttle, brake, steer = row[t.THROTTLE], row[t.BRAKE], row[t.STEER]
        gear = driver.vehicle.control.gear
        driver.vehicle.control = VehicleControl(throttle=throttle, steer=steer, brake=brake, gear=gear)
        lights = BRAKE_LIGHT if brake > 0.05 else 0
        if driver.crossings and driver.crossings[0].line_at - row[t.AT] < 30.0:
            lights |= BLINKERS.get(self._town.lanes[driver.crossings[0].lanes[0]].turn, 0)
        if driver.change is not None:
            lights |= BLINKERS[driver.change.side]
        driver.vehicle.light_state = lights


def _predecessors(lanes: Sequence[Lane]) -> dict[int, tuple[int, ...]]:
    """For each lane those that lead into it."""
    found: dict[int, list[int]] = {lane.index: [] for lane in lanes}
    for lane in lanes:
        for following in lane.successors:
            found[following].append(lane.index)
    return {index: tuple(before) for index, before in found.items()}


def _crossings(lanes: Sequence[Lane], path: Path) -> list[Crossing]:
    """The junctions along a window, in order; one that the car is already in has its line behind."""
    found, index = [], 0
    while index < len(path.spans):
        if lanes[path.spans[index].lane].junction_id < 0:
            index += 1
            continue
        first = index
        while index < len(path.spans) and lanes[path.spans[index].lane].junction_id >= 0:
            index += 1
        spans = path.spans[first:index]
        approach = path.spans[first - 1].lane if first > 0 else spans[0].lane
        leaving = path.spans[index].lane if index < len(path.spans) else -1
        line = spans[0].start - LINE_MARGIN_M
        found.append(Crossing(approach, tuple(s.lane for s in spans), leaving, line, spans[-1].end))
    return found
