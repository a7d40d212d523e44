"""All movers as arrays for the length of one tick: gather, move, collide, settle, write back."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from autovla_core.minicarla.world import collision as c
from autovla_core.minicarla.world import physics, vehicle, walker
from autovla_core.minicarla.world.actor import Actor, Vehicle, Walker
from autovla_core.minicarla.world.collision import Contact
from autovla_core.minicarla.world.ground import CELL_M
from autovla_core.minicarla.world.town import Town

OUT_OF_REACH_M = 1e6  # a body that must not collide is put this far up
WALKER_MASS = 75.0
FASTEST = 300.0  # m/s, of vehicles
EDGE_M = 1e6  # of the world
THROWN_FROM = 1.0  # m/s that a blow must give a walker to throw it
INPUT_LOW = np.array([-1.0, -1.0, 0.0, 0.0, -np.inf, 0.0, 0.0])
INPUT_HIGH = np.array([1.0, 1.0, 1.0, 1.0, np.inf, 1.0, 1.0])
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
        count = len(self.vehicles)
        self.rows = np.stack([rows[v.id] for v in vehicles]) if count else np.zeros((0, physics.COLUMNS))
        self.states = np.zeros((count, vehicle.STATE_COLUMNS))
        self.inputs = np.zeros((count, vehicle.INPUT_COLUMNS))
        self.bodies = np.zeros((len(self.everybody), c.BODY_COLUMNS))
        self._lift = np.zeros(len(self.everybody))
        for body, (i, actor) in zip(self.bodies, enumerate(self.everybody)):
            body[c.HX : c.HZ + 1] = actor.box_extent
            self._lift[i] = actor.box_center[2] + (0.0 if actor.collides else OUT_OF_REACH_M)
        self.bodies[:count, c.INVERSE_MASS] = 1.0 / self.rows[:, physics.MASS]
        self.bodies[count : count + len(self.walkers), c.INVERSE_MASS] = 1.0 / WALKER_MASS
        for i, actor in enumerate(self.everybody):
            if not actor.simulate_physics:
                self.bodies[i, c.INVERSE_MASS] = 0.0

    def unchanging(self) -> list[object]:
        """Parts that a tick only reads."""
        return [self.town, self.statics, self.rows]

    def gather(self) -> None:
        """Read poses and speeds of all members."""
        if self.vehicles:
            self.states[:] = [_state(v) for v in self.vehicles]
            speeds = self.states[:, vehicle.FORWARD : vehicle.LATERAL + 1]
            np.clip(speeds, -FASTEST, FASTEST, out=speeds)
        self._place_bodies()
        for i in range(len(self.vehicles), len(self.everybody)):
            self._place_other(i)

    def seen(self) -> np.ndarray:
        """Bodies (n, BODY_COLUMNS) where eyes see them, also those that nothing collides with."""
        seen = self.bodies.copy()
        seen[:, c.CZ] -= np.where(self._lift > OUT_OF_REACH_M / 2, OUT_OF_REACH_M, 0.0)
        return seen

    def move(self, gravity: float, dt: float) -> list[Contact]:
        """Advance all members by one tick and write them back; return who touched whom."""
        count = len(self.vehicles)
        if count:
            self.inputs[:] = [_input(v) for v in self.vehicles]
            np.clip(self.inputs, INPUT_LOW, INPUT_HIGH, out=self.inputs)
        vehicle.advance(self.states, self.inputs, self.rows, gravity, dt)
        for i, member in enumerate(self.walkers, start=count):
            if member.simulate_physics:
                ground = self.town.height(float(member.location[0]), float(member.location[1]))
                walker.advance(member, ground, gravity if member.has_gravity else 0.0, dt)
            else:
                walker.carry(member, dt)
            self._place_other(i)
        self._place_bodies()
        contacts = self._collide(dt)
        ground = self.town.ground
        vehicle.settle(self.states, self.inputs, self.rows, ground.heights, ground.origin, CELL_M, gravity, dt)
        self._mend()
        self._write_back(dt)
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
        states = self.states
        rows = self.bodies[: len(states)]
        rows[:, c.CX : c.CZ + 1] = states[:, :3]
        rows[:, c.CZ] += self._lift[: len(states)]
        yaw = np.radians(states[:, vehicle.YAW])
        cos, sin = np.cos(yaw), np.sin(yaw)
        forward, lateral = states[:, vehicle.FORWARD], states[:, vehicle.LATERAL]
        rows[:, c.HEADING] = yaw
        rows[:, c.VX] = forward * cos - lateral * sin
        rows[:, c.VY] = forward * sin + lateral * cos

    def _place_other(self, i: int) -> None:
        actor, body = self.everybody[i], self.bodies[i]
        body[c.CX : c.CZ + 1] = actor.location
        body[c.CZ] += self._lift[i]
        body[c.HEADING] = math.radians(float(actor.rotation[1]))
        body[c.VX : c.VY + 1] = actor.velocity[:2]

    def _collide(self, dt: float) -> list[Contact]:
        s = self.statics
        count = c.resolve(self.bodies, s.bodies, s.origin, s.shape, s.first, s.members, dt, self._hits)
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

    def _write_back(self, dt: float) -> None:
        self._place_bodies()
        planar = self.bodies[: len(self.vehicles), c.VX : c.VY + 1]
        for member, state, (vx, vy), active in zip(
            self.vehicles, self.states.tolist(), planar.tolist(), self.inputs[:, vehicle.ACTIVE].tolist()
        ):
            if active:
                _write(member, state, vx, vy, dt)


def _state(v: Vehicle) -> tuple[float, ...]:
    return (
        *v.location.tolist(),
        *v.rotation.tolist(),
        v.velocity[2] if v.airborne else 0.0,
        v.forward_speed,
        v.lateral_speed,
        math.radians(v.angular_velocity[2]),
        math.radians(v.wheel_angle_deg),
        float(v.airborne),
    )


def _input(v: Vehicle) -> tuple[float, ...]:
    control = v.control
    gear = control.gear if control.manual_gear_shift else 1 - 2 * control.reverse
    direction = (gear > 0) - (gear < 0)
    held = math.nan if v.constant_velocity is None else v.constant_velocity
    hand = float(control.hand_brake)
    throttle = max(control.throttle, 0.0) * direction
    return throttle, control.steer, control.brake, hand, held, float(v.simulate_physics), float(not v.has_gravity)


def _write(v: Vehicle, state: list[float], vx: float, vy: float, dt: float) -> None:
    climb = (state[vehicle.Z] - float(v.location[2])) / dt
    if state[vehicle.AIRBORNE]:
        climb = state[vehicle.CLIMB]
    velocity = (vx, vy, climb)
    old = v.velocity.tolist()
    v.location[:] = state[:3]
    v.rotation[:] = state[3:6]
    v.velocity[:] = velocity
    v.acceleration[:] = [(new - was) / dt for new, was in zip(velocity, old)]
    v.angular_velocity[:] = (0.0, 0.0, math.degrees(state[vehicle.YAW_RATE]))
    v.forward_speed, v.lateral_speed = state[vehicle.FORWARD], state[vehicle.LATERAL]
    v.wheel_angle_deg = math.degrees(state[vehicle.WHEEL])
    v.airborne = bool(state[vehicle.AIRBORNE])
    if not v.control.manual_gear_shift:
        speed = v.forward_speed
        v.control.gear = -1 if v.control.reverse else 1 + sum(speed > limit for limit in GEAR_UP_AT)
