"""All movers as arrays for the length of one tick: gather, move, collide, settle, write back."""

from __future__ import annotations

import copy
import math
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np

from autovla_core.minicarla.world import collision as c
from autovla_core.minicarla.world import physics, vehicle, walker
from autovla_core.minicarla.world.actor import MOTION_COLUMNS, Actor, Vehicle, Walker
from autovla_core.minicarla.world.collision import Contact
from autovla_core.minicarla.world.ground import CELL_M
from autovla_core.minicarla.world.town import Town

OUT_OF_REACH_M = 1e6  # a body that must not collide is put this far up
FLAT_M = 0.1  # half height of a prop that wheels go over: dirt on the road
WALKER_MASS = 75.0
EDGE_M = 1e6  # of the world
THROWN_FROM = 1.0  # m/s that a blow must give a walker to throw it
GEAR_UP_AT = (5.0, 10.0, 16.0, 23.0)  # m/s, what an automatic gearbox reports


class Fleet:
    """Rows 0..n-1 are the vehicles in order of their ids, then the walkers, then the props."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.statics = c.build_static_grid(town.solids)
        self._hits = np.zeros((c.MAX_HITS, 4))
        self.set_members([], [], [], {})

    def set_members(
        self,
        vehicles: Sequence[Vehicle],
        walkers: Sequence[Walker],
        props: Sequence[Actor],
        rows: dict[int, np.ndarray],
    ) -> None:
        """Take over who lives and what cannot change within a tick; ``rows`` are parameters by vehicle id."""
        self.vehicles, self.walkers, self.props = list(vehicles), list(walkers), list(props)
        self.everybody: list[Actor] = [*vehicles, *walkers, *props]
        self.row_of = {actor.id: row for row, actor in enumerate(self.vehicles)}
        self.half_lengths = [float(actor.box_extent[0]) for actor in self.vehicles]
        count = len(self.vehicles)
        self.rows = np.stack([rows[v.id] for v in vehicles]) if count else np.zeros((0, physics.COLUMNS))
        self.states = np.zeros((count, vehicle.STATE_COLUMNS))
        self.inputs = np.zeros((count, vehicle.INPUT_COLUMNS))
        self.bodies = np.zeros((len(self.everybody), c.BODY_COLUMNS))
        self._lift = np.zeros(len(self.everybody))
        self._wheels = np.zeros((count, vehicle.WHEEL_COLUMNS))
        self._adopt()
        for body, (i, actor) in zip(self.bodies, enumerate(self.everybody)):
            body[c.HX : c.HZ + 1] = actor.box_extent
            self._lift[i] = actor.box_center[2] + (0.0 if _is_solid(actor) else OUT_OF_REACH_M)
        self.bodies[:count, c.INVERSE_MASS] = 1.0 / self.rows[:, physics.MASS]
        self.bodies[count : count + len(self.walkers), c.INVERSE_MASS] = 1.0 / WALKER_MASS
        for i, actor in enumerate(self.everybody):
            if not actor.simulate_physics:
                self.bodies[i, c.INVERSE_MASS] = 0.0
        self._hides = bool((self._lift > OUT_OF_REACH_M / 2).any())

    def _adopt(self) -> None:
        """Let the members' motion rows be rows of one array, so that a tick reads and writes all of them at once."""
        self._motions = np.array([actor.motion for actor in self.everybody]).reshape(-1, MOTION_COLUMNS)
        for actor, row in zip(self.everybody, self._motions):
            actor.motion = row

    def __deepcopy__(self, memo: dict[int, object]) -> Fleet:
        """A fleet whose members are the copies in ``memo``, which again share one array."""
        clone = object.__new__(type(self))
        memo[id(self)] = clone
        clone.__dict__.update({name: copy.deepcopy(value, memo) for name, value in self.__dict__.items()})
        clone._adopt()
        return clone

    def unchanging(self) -> list[object]:
        """Parts that a tick only reads."""
        return [self.town, self.statics, self.rows]

    def gather(self) -> None:
        """Read poses and speeds of all members."""
        if self.vehicles:
            self._wheels[:] = [(v.forward_speed, v.lateral_speed, v.wheel_angle_deg, v.airborne) for v in self.vehicles]
            vehicle.gather(self._motions, self._wheels, self.states)
        self._place_bodies()
        self._place_others(len(self.everybody))

    def seen(self) -> np.ndarray:
        """Bodies (n, BODY_COLUMNS) where eyes see them, also those that nothing collides with; not to be changed."""
        if not self._hides:
            return self.bodies
        seen = self.bodies.copy()
        seen[:, c.CZ] -= np.where(self._lift > OUT_OF_REACH_M / 2, OUT_OF_REACH_M, 0.0)
        return seen

    def move(self, gravity: float, dt: float) -> list[Contact]:
        """Advance all members by one tick and write them back; return who touched whom."""
        count = len(self.vehicles)
        if count:
            self.inputs[:] = [_input(v) for v in self.vehicles]
            vehicle.bound(self.inputs)
        vehicle.advance(self.states, self.inputs, self.rows, gravity, dt)
        for member in self.walkers:
            if member.simulate_physics:
                x, y = member.motion[:2].tolist()
                walker.advance(member, self.town.height(x, y), gravity if member.has_gravity else 0.0, dt)
            else:
                walker.carry(member, dt)
        self._place_others(count + len(self.walkers))
        self._place_bodies()
        contacts = self._collide(dt)
        ground = self.town.ground
        vehicle.settle(self.states, self.inputs, self.rows, ground.heights, ground.origin, CELL_M, gravity, dt)
        mended = vehicle.broken(self.states, EDGE_M)
        if mended:
            self._mend()
        if count:
            self._write_back(dt, moved=mended or bool(contacts))
        return contacts

    def body_of(self, actor: Actor, location: np.ndarray, yaw_deg: float) -> np.ndarray:
        """A body row of an actor that is not (yet) a member."""
        body = np.zeros(c.BODY_COLUMNS)
        body[c.CX : c.CZ + 1] = location
        body[c.CZ] += actor.box_center[2]
        body[c.HX : c.HZ + 1] = actor.box_extent
        body[c.HEADING] = math.radians(yaw_deg)
        return body

    def is_free(self, body: np.ndarray) -> bool:
        """Whether a body overlaps neither a member (as gathered) nor a solid."""
        return not (c.any_overlap(body, self.bodies) or c.any_overlap(body, self.statics.bodies))

    def _place_bodies(self) -> None:
        """Put the vehicles' bodies where their states are."""
        if self.vehicles:
            yaw = np.radians(self.states[:, vehicle.YAW])
            vehicle.place(self.states, self._lift, yaw, np.cos(yaw), np.sin(yaw), self.bodies)

    def _place_others(self, until: int) -> None:
        """Put the bodies of walkers, and of props if ``until`` includes their rows, where they are."""
        rows = slice(len(self.vehicles), until)
        if rows.start < until:
            bodies, motions = self.bodies[rows], self._motions[rows]
            bodies[:, c.CX : c.CZ + 1] = motions[:, vehicle.LOCATION : vehicle.LOCATION + 3]
            bodies[:, c.CZ] += self._lift[rows]
            bodies[:, c.HEADING] = np.radians(motions[:, vehicle.ROTATION + 1])
            bodies[:, c.VX : c.VY + 1] = motions[:, vehicle.VELOCITY : vehicle.VELOCITY + 2]

    def _collide(self, dt: float) -> list[Contact]:
        s = self.statics
        count = c.resolve(self.bodies, s.bodies, s.origin, s.shape, s.first, s.members, dt, self._hits, s.radii)
        if not count:
            return []
        contacts, struck = [], set()
        for first, second, jx, jy in self._hits[:count].tolist():
            one, impulse = self.everybody[int(first)], np.array([jx, jy, 0.0])
            struck.add(int(first))
            if second < 0:
                contacts.append(Contact(one.id, 0, s.type_ids[int(-1 - second)], impulse))
                continue
            other = self.everybody[int(second)]
            struck.add(int(second))
            contacts.append(Contact(one.id, other.id, other.type_id, impulse))
            contacts.append(Contact(other.id, one.id, one.type_id, -impulse))
        for i in sorted(struck):
            self._after_blow(i)
        return contacts

    def _after_blow(self, i: int) -> None:
        """Give a struck member the place and the velocity that the collision left it."""
        body, count = self.bodies[i], len(self.vehicles)
        vx, vy = body[c.VX : c.VY + 1].tolist()
        if i < count:
            cos, sin = math.cos(body[c.HEADING]), math.sin(body[c.HEADING])
            self.states[i, : vehicle.Y + 1] = body[c.CX : c.CY + 1]
            self.states[i, vehicle.FORWARD] = vx * cos + vy * sin
            self.states[i, vehicle.LATERAL] = -vx * sin + vy * cos
        elif i < count + len(self.walkers):
            member = self.everybody[i]
            change = math.hypot(vx - float(member.velocity[0]), vy - float(member.velocity[1]))
            member.location[:2] = body[c.CX : c.CY + 1]
            member.velocity[:2] = vx, vy
            member.thrown = member.thrown or change > THROWN_FROM

    def _mend(self) -> None:
        """A vehicle whose numbers exploded (absurd physics, absurd pushes) stands where it was."""
        for i in np.flatnonzero(~np.isfinite(self.states).all(1) | (np.abs(self.states[:, :3]) > EDGE_M).any(1)):
            self.states[i] = 0.0
            self.states[i, : vehicle.X + 3] = np.clip(self.vehicles[i].location, -EDGE_M, EDGE_M)
            self.states[i, vehicle.YAW] = self.vehicles[i].rotation[1] % 360.0

    def _write_back(self, dt: float, moved: bool) -> None:
        """Give the vehicles their new state; ``moved``: not only as ``advance`` moved them."""
        if moved:
            self._place_bodies()
        else:
            count = len(self.vehicles)
            self.bodies[:count, c.CZ] = self.states[:, vehicle.Z] + self._lift[:count]
        vehicle.write(self.states, self.inputs, self.bodies, dt, self._motions, self._wheels)
        for member, wheels, active in zip(
            self.vehicles, self._wheels.tolist(), self.inputs[:, vehicle.ACTIVE].tolist()
        ):
            if active:
                _write(member, *wheels)


def _is_solid(actor: Actor) -> bool:
    return actor.collides and not (actor.type_id.startswith("static.") and actor.box_extent[2] < FLAT_M)


def _input(v: Vehicle) -> tuple[float, ...]:
    control = v.control
    gear = control.gear if control.manual_gear_shift else 1 - 2 * control.reverse
    direction = (gear > 0) - (gear < 0)
    held = math.nan if v.constant_velocity is None else v.constant_velocity
    throttle = max(control.throttle, 0.0) * direction
    return throttle, control.steer, control.brake, control.hand_brake, held, v.simulate_physics, not v.has_gravity


def _write(v: Vehicle, forward: float, lateral: float, wheel_deg: float, airborne: float) -> None:
    v.forward_speed, v.lateral_speed, v.wheel_angle_deg, v.airborne = forward, lateral, wheel_deg, airborne != 0.0
    control = v.control
    if not control.manual_gear_shift:
        control.gear = -1 if control.reverse else 1 + bisect_left(GEAR_UP_AT, forward)
