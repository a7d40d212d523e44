"""Cars that the server drives: along lanes, behind each other, past lights and signs.

Not the client's Traffic Manager: these cars are as deterministic as the rest of the world.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from autovla_core.minicarla.world import lane_change
from autovla_core.minicarla.world import traffic_control as t
from autovla_core.minicarla.world.actor import TrafficLight, Vehicle, VehicleControl
from autovla_core.minicarla.world.fleet import Fleet
from autovla_core.minicarla.world.ground import project
from autovla_core.minicarla.world.lane_change import Change
from autovla_core.minicarla.world.right_of_way import QUEUED_SPEED, Car, Cars, Crossing, RightOfWay
from autovla_core.minicarla.world.town import Town
from autovla_core.minicarla.world.traffic_driver import Driver, Seats, Surroundings, crossings_along, predecessors_of
from autovla_core.minicarla.world.traffic_path import POINTS, RENEW_BEFORE_END_M, Path, build_path

LOOK_UP_EVERY_M = 0.5
BRAKE_LIGHT, RIGHT_BLINKER, LEFT_BLINKER = 0x8, 0x10, 0x20
NO_CROSSING = Crossing(-1, (), -1, math.inf, math.inf)
BLINKERS = {"left": LEFT_BLINKER, "right": RIGHT_BLINKER}


class Traffic:
    """All drivers and the rules between them."""

    def __init__(self, town: Town, lights: Iterable[TrafficLight], seed: int, first_id: int = 0) -> None:
        # Ids are never used twice; counted from the episode's first, an episode does not depend on those before it.
        self._town, self._seed, self._first_id = town, seed, first_id
        stops = frozenset(signal.id for signal in town.signals if signal.kind == "stop")
        self._rules = RightOfWay(town.lanes, {light.sign_id: light for light in lights}, stops)
        self._drivers: dict[int, Driver] = {}
        self._before = predecessors_of(town.lanes)
        self._looked_up: dict[int, tuple[float, float, int, float]] = {}  # x, y, lane, s of other cars
        self._seats: Seats | None = None
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
        self._drivers, self._seats = {}, None
        for number, (i, vehicle) in enumerate(sorted(wanted.items())):
            if i in before:
                self._drivers[i], was = before[i]
                self._rows[number], self._paths[number], self._speeds[number] = (a[was] for a in old)
            else:
                self._drivers[i] = Driver(vehicle, self._seed, vehicle.id - self._first_id)
                self._rows[number, t.PATIENCE_S] = self._drivers[i].patience_s
                self._start(number, self._drivers[i])

    def unchanging(self) -> list[object]:
        """Parts that a tick only reads."""
        paths = [driver.path for driver in self._drivers.values()]
        return [self._town, self._rules.lanes, self._rules.stop_signs, self._rules.conflicts, self._before, *paths]

    def step(self, fleet: Fleet, dt: float) -> None:
        """Set the controls of all drivers from the gathered state of the world."""
        seats = self._seats_in(fleet)
        t.locate(self._rows, seats.members, self._paths, fleet.states)
        for number, (driver, renews) in enumerate(zip(self._drivers.values(), self._rows[:, t.RENEWS].tolist())):
            if renews:
                self._renew_path(number, driver)
        t.consider(self._rows, seats.members, self._speeds, fleet.states, fleet.bodies, dt)
        bodies = fleet.seen()
        self._decide(fleet, bodies, dt)
        t.drive(self._rows, seats.members, self._paths, self._speeds, fleet.states, fleet.rows, bodies, seats.driven)
        for driver, row in zip(self._drivers.values(), self._rows.tolist()):
            self._actuate(driver, row)

    def _decide(self, fleet: Fleet, bodies: np.ndarray, dt: float) -> None:
        """Let those who have something to decide change lanes, and find out where to stop before junctions."""
        seats, cars = self._seats_in(fleet), self._cars(fleet)
        for number, (driver, row) in enumerate(zip(self._drivers.values(), self._rows.tolist())):
            changed = False
            if row[t.HAS_CHANGED]:
                driver.change = None
            elif row[t.THINKS]:
                around = Surroundings(cars, bodies, int(seats.members[number]), len(seats.driven))
                changed = self._think_of_a_change(number, driver, around)
            if changed:
                cars = self._cars(fleet)  # who thinks next must see it in its new lane
            if changed or row[t.REVIEWS]:
                self._rows[number, t.STOP_AT] = self._stop_at(number, driver, cars, dt)
            elif driver.crossings:
                self._rules.queue(driver.vehicle.id, driver.crossings[0])

    def _seats_in(self, fleet: Fleet) -> Seats:
        if self._seats is None or self._seats.row_of is not fleet.row_of:
            members = np.array([fleet.row_of[i] for i in self._drivers], np.int64)
            driven = np.zeros(len(fleet.vehicles), np.bool_)
            driven[members] = True
            numbers = {i: number for number, i in enumerate(self._drivers)}
            self._seats = Seats(fleet.row_of, members, driven, [numbers.get(v.id, -1) for v in fleet.vehicles])
        return self._seats

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
        row, last = self._rows[number], path.spans[-1]
        row[t.LENGTH] = path.length
        row[t.RENEW_AT] = math.inf if path.ends else path.length - RENEW_BEFORE_END_M
        row[t.FINISH] = path.length if path.ends else math.inf
        row[t.LAST_LANE_AT] = math.inf if self._town.lanes[last.lane].successors else path.last_span_at
        row[t.CHANGES_UNTIL] = -1.0
        driver.change = None
        driver.crossings = crossings_along(self._town.lanes, path)
        self._note_line(number, driver)
        for crossing in under_way:
            self._carry_over(driver, crossing)

    def _note_line(self, number: int, driver: Driver) -> None:
        """Remember where the next junction begins and ends."""
        ahead = driver.crossings[0] if driver.crossings else NO_CROSSING
        self._rows[number, t.LINE_AT], self._rows[number, t.LINE_END] = ahead.line_at, ahead.end_at

    def _carry_over(self, driver: Driver, known: Crossing) -> None:
        """Let a crossing under way live on in the new window, or give its lanes back."""
        for fresh in driver.crossings:
            if set(fresh.lanes) & set(known.lanes):
                fresh.lanes = known.lanes + tuple(lane for lane in fresh.lanes if lane not in known.lanes)
                fresh.granted, fresh.waited_s, fresh.stopped_s = known.granted, known.waited_s, known.stopped_s
                fresh.approach = known.approach
                return
        self._rules.release(driver.vehicle.id, known)

    def _renew_path(self, number: int, driver: Driver) -> None:
        """Renew a window that runs out, or find back after having been pushed off the lane."""
        at, path = float(self._rows[number, t.AT]), driver.path
        if self._rows[number, t.OFF_PATH] > t.LOST_M:
            self._start(number, driver)
            return
        index = path.span_at(at)
        span, planned = path.spans[index], [later.lane for later in path.spans[index + 1 :]]
        self._start_from(number, driver, span.lane, at - span.start, planned)

    def _start_from(self, number: int, driver: Driver, lane: int, s: float, planned: list[int]) -> None:
        fresh = build_path(self._town.lanes, lane, s, planned, driver.factor, driver.rng)
        self._lay(number, driver, fresh, driver.crossings)
        self._rows[number, t.AT] = s + fresh.spans[0].start

    def _cars(self, fleet: Fleet) -> Cars:
        """Every vehicle with the lane that it is on."""
        offsets, drivers = self._rows[:, t.AT].tolist(), list(self._drivers.values())
        found = []
        for v, number, half in zip(fleet.vehicles, self._seats_in(fleet).numbers, fleet.half_lengths):
            if number >= 0:
                at, path = offsets[number], drivers[number].path
                span = path.spans[path.span_at(at)]
                lane, s = span.lane, at - span.start
            else:
                lane, s = self._lane_under(v)
            found.append(Car(v.id, lane, s, v.forward_speed, half))
        return Cars(found)

    def _lane_under(self, vehicle: Vehicle) -> tuple[int, float]:
        """Lane and place along it of a car that somebody else drives, looked up again after half a metre."""
        x, y = vehicle.location[:2].tolist()
        known = self._looked_up.get(vehicle.id)
        if known is None or math.hypot(x - known[0], y - known[1]) > LOOK_UP_EVERY_M:
            known = self._looked_up[vehicle.id] = (x, y, *self._town.nearest_lane(x, y)[:2])
        return known[2:]

    def _stop_at(self, number: int, driver: Driver, cars: Cars, dt: float) -> float:
        """Offset at which the car must stop, infinity for none."""
        at, half = float(self._rows[number, t.AT]), float(driver.vehicle.box_extent[0])
        me = Car(driver.vehicle.id, -1, 0.0, driver.vehicle.forward_speed, half)
        while driver.crossings and at > driver.crossings[0].end_at + half:
            self._rules.release(me.id, driver.crossings.pop(0))
            self._note_line(number, driver)
        for crossing in driver.crossings:
            to_line = crossing.line_at - at - half
            if to_line > t.LOOK_AT_JUNCTION_M + t.LOOK_AT_JUNCTION_S * me.speed:
                self._rules.queue(me.id, crossing)
                break
            if me.speed < QUEUED_SPEED and float(self._rows[number, t.GAP]) < to_line:
                self._rules.queue(me.id, crossing)
                return crossing.line_at
            if not self._rules.review(me, crossing, to_line, cars, dt):
                return crossing.line_at
        return driver.path.length if driver.path.ends else math.inf

    # ---- lane changes

    def _think_of_a_change(self, number: int, driver: Driver, around: Surroundings) -> bool:
        """Leave a lane that holds the car up, or ends, unless somebody is cut off; say whether."""
        row, path = self._rows[number], driver.path
        at, index = float(row[t.AT]), path.span_at(float(row[t.AT]))
        lane = self._town.lanes[path.spans[index].lane]
        must = at >= row[t.LAST_LANE_AT]
        row[t.REST_S] = lane_change.RETRY_S
        if not (must or self._has_time(driver, path.spans[index].end - at, at)):
            return False
        for side, target in (("left", lane.left), ("right", lane.right)):
            leads_on = target >= 0 and (not must or self._town.lanes[target].successors)
            if leads_on and self._change(number, driver, side, target, around, must):
                row[t.HELD_UP_S], row[t.REST_S] = 0.0, lane_change.REST_S
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
        if not lane_change.is_free_behind(me, s, lane, before, around.cars.all, urgent):
            return False
        fresh = build_path(self._town.lanes, target, s, (), driver.factor, driver.rng)
        at, length = s + fresh.spans[0].start, lane_change.length_across(me.speed)
        fresh = lane_change.slanted(fresh, at, offset, length)
        gap, lead = t.leader(fresh.xy, at, fresh.length, me.speed, around.me, around.bodies, around.vehicles)
        gains = urgent or gap > self._rows[number, t.GAP] + lane_change.GAIN_M
        if not gains or gap < lane_change.gap_ahead_needed(me.speed, lead, urgent):
            return False
        self._lay(number, driver, fresh, driver.crossings)
        self._rows[number, t.AT], self._rows[number, t.CHANGES_UNTIL] = at, at + length
        driver.change = Change(side, at + length)
        return True

    def _actuate(self, driver: Driver, row: list[float]) -> None:
        vehicle, brake = driver.vehicle, row[t.BRAKE]
        gear = vehicle.control.gear
        vehicle.control = VehicleControl(row[t.THROTTLE], row[t.STEER], brake, gear=gear)
        lights = BRAKE_LIGHT if brake > 0.05 else 0
        if row[t.LINE_AT] - row[t.AT] < 30.0:
            lights |= BLINKERS.get(self._town.lanes[driver.crossings[0].lanes[0]].turn, 0)
        if driver.change is not None:
            lights |= BLINKERS[driver.change.side]
        vehicle.light_state = lights
