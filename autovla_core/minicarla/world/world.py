"""The simulated world: who lives in it, and what one tick does to them. CARLA's convention throughout."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from autovla_core.minicarla.blueprints import BLUEPRINTS, Blueprint
from autovla_core.minicarla.world import ackermann, acts, collision, pedestrians, pose, spawning, walker
from autovla_core.minicarla.world.actor import (
    Actor,
    LightColor,
    TrafficLight,
    TrafficSign,
    Vehicle,
    Walker,
)
from autovla_core.minicarla.world.collision import Contact
from autovla_core.minicarla.world.debug_shapes import MOST_SHAPES, DebugShape, lasting
from autovla_core.minicarla.world.fleet import Fleet
from autovla_core.minicarla.world.spawning import ActorNotFound, SpawnError
from autovla_core.minicarla.world.street_lights import StreetLights, is_dark
from autovla_core.minicarla.world.town import Town
from autovla_core.minicarla.world.traffic import Traffic
from autovla_core.minicarla.world.traffic_light import LightControl
from autovla_core.minicarla.world.weather import Weather

__all__ = ["ActorNotFound", "Contact", "SpawnError", "TRAFFIC_ROLE", "World", "default_settings"]

TRAFFIC_ROLE = "minicarla_traffic"  # a vehicle of this role_name is driven by the server
TRAFFIC_APART_M = 12.0
TRAFFIC_WIDEST_M = 1.2  # half width of what fits into a lane
TRAFFIC_LONGEST_M = 3.2  # wheel base of what turns at a corner without swinging into the next lane
TRAFFIC_TYPES = ("car", "van", "truck")
SPEED_LIMIT_EVERY = 10  # ticks between two looks at the lane under a vehicle
FIRST_SENSOR_STREAM = 2  # 1 carries the world's own state
SILENT_SENSORS = ("sensor.other.lane_invasion", "sensor.other.rss")  # the client computes them itself
DEBUG_LATE_S = 1e-4  # ticks are sums of float deltas: a life of one tick must not end before it
SPECTATOR_START = ((0.0, 0.0, 50.0), (-90.0, 0.0, 0.0))


def default_settings() -> dict:
    """CARLA's EpisodeSettings by field name."""
    return {
        "synchronous_mode": False,
        "no_rendering_mode": False,
        "fixed_delta_seconds": None,
        "substepping": True,
        "max_substep_delta_time": 0.01,
        "max_substeps": 10,
        "max_culling_distance": 0.0,
        "deterministic_ragdolls": True,
        "tile_stream_distance": 3000.0,
        "actor_active_distance": 2000.0,
        "spectator_as_ego": True,
    }


class World:
    """One town and its actors. Ids are never used twice, frame numbers only grow, also across towns."""

    def __init__(self, town: Town, seed: int = 0) -> None:
        self.seed = seed
        self.episode_id, self.frame, self.time, self.gravity = 0, 0, 0.0, 9.81
        self.settings, self.weather = default_settings(), Weather()
        self._next_id = 1
        self._next_stream = FIRST_SENSOR_STREAM
        self.load(town, reset_settings=True)
        self._warm_up()

    # ---- life and death

    def load(self, town: Town, reset_settings: bool) -> None:
        """Start a new episode in a town: only the spectator and the town's signals live."""
        self.town = town
        self.episode_id += 1
        self.first_frame = self.frame  # of this episode
        self.actors: dict[int, Actor] = {}
        self.contacts: list[Contact] = []
        self.debug_shapes: list[DebugShape] = []
        self.map_changed, self._loaded, self.lights_changed = True, True, False
        self._departed: dict[int, Actor] = {}  # since the last tick
        self.destroyed_since_tick = False
        if reset_settings:
            self.settings = default_settings()
        self.weather = Weather()
        self.street_lights, self._lights_shown = StreetLights(), (StreetLights(), False)
        self.spectator_id = self._add(Actor(self._new_id(), "spectator")).id
        self.set_transform(self.spectator_id, *map(np.array, SPECTATOR_START))
        lights = 0
        for signal in town.signals:
            made = self._add(spawning.make_sign(self._new_id(), signal, lights))
            lights += isinstance(made, TrafficLight)
        self._light_control = LightControl(self.lights())
        self._light_boxes = _trigger_boxes(self.lights())
        self._fleet = Fleet(town)
        self._traffic = Traffic(town, self.lights(), self.seed, self.spectator_id)
        self._crowd = pedestrians.Crowd(town, self.seed)
        self._stale = True

    def lights(self) -> list[TrafficLight]:
        """The traffic lights in order of their ids."""
        return [actor for actor in self.actors.values() if isinstance(actor, TrafficLight)]

    def spawn(
        self,
        type_id: str,
        attributes: Mapping[str, str],
        location: Sequence[float],
        rotation: Sequence[float],
        parent_id: int = 0,
        attachment: int = 0,
        blueprint_uid: int = 0,
        attribute_types: Mapping[str, int] | None = None,
    ) -> Actor:
        """Bring an actor to life; with a parent, location and rotation are relative to it.

        Raises:
            SpawnError: unknown blueprint, place taken, or no such parent; with CARLA's text.
        """
        blueprint = spawning.blueprint_of(type_id)
        if len(self.actors) >= spawning.MOST_ACTORS:
            raise SpawnError(spawning.TOO_MANY)
        if parent_id and parent_id not in self.actors:
            raise SpawnError(spawning.PARENT_MISSING)
        actor = spawning.make_actor(self._next_id, blueprint, attributes)
        actor.attribute_types.update(attribute_types or {})
        actor.blueprint_uid = blueprint_uid or actor.blueprint_uid
        actor.location, actor.rotation = location, rotation
        if parent_id:
            actor.parent_id, actor.attachment = parent_id, attachment
            actor.relative = actor.location.copy(), actor.rotation.copy()
            self._follow_parent(actor)
        elif isinstance(actor, (Vehicle, Walker)) and not self._is_free(actor):
            raise SpawnError(spawning.PLACE_TAKEN)
        if isinstance(actor, Vehicle):
            self._look_up_limit(actor)
            actor.autopilot = actor.attributes.get("role_name") == TRAFFIC_ROLE
        if actor.kind == "sensor" and type_id not in SILENT_SENSORS:
            actor.stream_id = self._next_stream
            self._next_stream += 1
        self._new_id()
        self._stale = True
        return self._add(actor)

    def destroy(self, actor_id: int) -> None:
        """Remove an actor; what is attached to it stays where it is.

        Raises:
            ActorNotFound: if it does not live.
        """
        if actor_id not in self.actors or actor_id == self.spectator_id:
            raise ActorNotFound("unable to destroy actor: not found")
        self._departed[actor_id] = self.actors.pop(actor_id)
        self._stale = self.destroyed_since_tick = True

    def actor(self, actor_id: int) -> Actor:
        """Return a living actor.

        Raises:
            ActorNotFound: if there is none of this id.
        """
        try:
            return self.actors[actor_id]
        except KeyError:
            raise ActorNotFound(f"unable to find actor {actor_id}: actor not found") from None

    def actor_seen(self, actor_id: int) -> Actor:
        """Return an actor that lives, or lived at the last tick: clients list it, and ask about it, until the next.

        Raises:
            ActorNotFound: if there is none of this id.
        """
        return self._departed[actor_id] if actor_id in self._departed else self.actor(actor_id)

    def vehicle(self, actor_id: int) -> Vehicle:
        """Return a living vehicle.

        Raises:
            ActorNotFound: if there is none of this id.
        """
        found = self.actor(actor_id)
        if not isinstance(found, Vehicle):
            raise ActorNotFound(f"unable to use actor {actor_id} as a vehicle: it is {found.type_id}")
        return found

    def spawn_traffic(self, vehicles: int, seed: int) -> list[int]:
        """Spawn up to this many server-driven vehicles at spawn points; return their ids.

        Every vehicle is at least 12 m from all others; fewer are spawned when the town has no more room.
        """
        rng = np.random.default_rng(seed)
        kinds = sorted(b.id for b in BLUEPRINTS.values() if _suits_traffic(b))
        places = [self.town.spawn_points[i] for i in rng.permutation(len(self.town.spawn_points))]
        made: list[int] = []
        for x, y, z, pitch, yaw, roll in places:
            if len(made) >= vehicles:
                break
            if self._nearest_vehicle_m(x, y) < TRAFFIC_APART_M:
                continue
            type_id = kinds[int(rng.integers(len(kinds)))]
            colors = next(a for a in BLUEPRINTS[type_id].attributes if a.id == "color").recommended
            attributes = {"role_name": TRAFFIC_ROLE, "color": colors[int(rng.integers(len(colors)))]}
            try:
                made.append(self.spawn(type_id, attributes, (x, y, z), (pitch, yaw, roll)).id)
            except SpawnError:
                continue  # a walker or a prop stands there
        return made

    def spawn_walkers(self, walkers: int, seed: int) -> list[int]:
        """Spawn up to this many walkers on sidewalks, whom the server leads; return their ids."""
        rng = np.random.default_rng([abs(seed), walkers])
        kinds = sorted(name for name in BLUEPRINTS if name.startswith("walker."))
        made: list[int] = []
        for x, y in pedestrians.places_to_stand(self.town, walkers, rng):
            type_id = kinds[int(rng.integers(len(kinds)))]
            place = x, y, self.town.height(x, y) + BLUEPRINTS[type_id].extent[2]
            try:
                attributes = {"role_name": pedestrians.ROLE}
                made.append(self.spawn(type_id, attributes, place, (0.0, float(rng.uniform(-180, 180)), 0.0)).id)
            except SpawnError:
                continue  # a car or a prop stands there
        return made

    # ---- time

    def step(self, dt: float) -> None:
        """Let ``dt`` seconds pass: lights, traffic, motion, blows, then what follows from the new places."""
        self.map_changed, self._loaded = self._loaded, False
        shown = self.street_lights, is_dark(self.weather)
        self.lights_changed, self._lights_shown = shown != self._lights_shown, shown
        self._departed.clear()
        self.destroyed_since_tick = False
        self.frame += 1
        self.time += dt
        if self.debug_shapes:
            self.debug_shapes = [shape for shape in self.debug_shapes if shape.until > self.time - DEBUG_LATE_S]
        self._refresh()
        self._light_control.step(dt)
        self._drive_ackermann(dt)
        self._crowd.step(self._fleet.vehicles, dt)
        self._fleet.gather()
        self._traffic.step(self._fleet, dt)
        self.contacts = self._fleet.move(self.gravity, dt)
        self._notice_lights()
        for actor in self._attached:
            self._follow_parent(actor)
        ticks = self.frame - self.first_frame
        for vehicle in self._fleet.vehicles:
            if (ticks + vehicle.id) % SPEED_LIMIT_EVERY == 0 and abs(vehicle.forward_speed) > 0.1:
                self._look_up_limit(vehicle)

    # ---- what a client changes beyond one actor's own state; the rest is in acts.py

    def set_transform(self, actor_id: int, location: Sequence[float], rotation: Sequence[float]) -> None:
        """Put an actor somewhere; an attached one then keeps its new place relative to its parent."""
        actor = self.actor(actor_id)
        actor.location[:], actor.rotation[:] = location, rotation
        parent = self.actors.get(actor.parent_id)
        if actor.relative is not None and parent is not None:
            actor.relative = pose.relative((parent.location, parent.rotation), (actor.location, actor.rotation))
        if isinstance(actor, Vehicle):
            actor.airborne = True
            acts.roll(actor)

    def place_walker(self, actor_id: int, x: float, y: float, yaw_deg: float) -> None:
        """Put a walker, on its feet, where the crowd that leads it says; its velocity follows at the next tick."""
        placed = self.actor(actor_id)
        if not isinstance(placed, Walker):
            raise ActorNotFound(f"unable to use actor {actor_id} as a walker: it is {placed.type_id}")
        walker.place(placed, x, y, yaw_deg, self.town.height(x, y))

    def set_simulate_physics(self, actor_id: int, enabled: bool) -> None:
        """Without physics an actor moves only by ``set_transform`` and nothing pushes it: it stands from now on."""
        actor = self.actor(actor_id)
        actor.simulate_physics = enabled
        if not enabled:
            acts.halt(actor)
        self._stale = True

    def set_collisions(self, actor_id: int, enabled: bool) -> None:
        """Let others pass through an actor, or no longer."""
        self.actor(actor_id).collides = enabled
        self._stale = True

    def set_physics(self, actor_id: int, control: Mapping) -> None:
        """Replace a vehicle's physics control (all fields by name, wheel positions in local centimetres).

        Raises:
            ValueError: fields missing or unknown.
        """
        vehicle = self.vehicle(actor_id)
        if set(control) != set(vehicle.physics):
            raise ValueError(f"physics control has {sorted(control)}; expected {sorted(vehicle.physics)}")
        vehicle.physics = copy.deepcopy(dict(control))
        self._stale = True

    def draw(self, shape: DebugShape, life_time: float) -> None:
        """Add a shape that RGB cameras see for ``life_time`` seconds, for ever if that is not positive."""
        self.debug_shapes.append(lasting(shape, self.time, life_time))
        del self.debug_shapes[:-MOST_SHAPES]

    def erase(self, words_only: bool = False) -> None:
        """Take all drawn shapes away, or all words."""
        self.debug_shapes = [shape for shape in self.debug_shapes if words_only and not shape.text]

    def reset_lights(self, group: int | None = None) -> None:
        """Start the cycle of one junction again, or of all as after loading."""
        if group is None:
            self._light_control.reset_all()
        else:
            self._light_control.reset(group)

    def unchanging(self) -> list[object]:
        """Large parts that a tick reads but never changes; a saved state shares them."""
        return [self.town, self._light_boxes, *self._fleet.unchanging(), *self._traffic.unchanging()]

    # ---- inside

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    def _add(self, actor: Actor) -> Actor:
        self.actors[actor.id] = actor
        return actor

    def _refresh(self) -> None:
        """Tell fleet and traffic who lives, after something was born, died or changed its nature."""
        if not self._stale:
            self._traffic.set_members(self._fleet.vehicles)
            return
        free = [actor for actor in self.actors.values() if actor.parent_id == 0]
        vehicles = [actor for actor in free if isinstance(actor, Vehicle)]
        walkers = [actor for actor in free if isinstance(actor, Walker)]
        props = [actor for actor in free if actor.type_id.startswith("static.")]
        for prop in props:
            prop.simulate_physics = False
        self._attached = [actor for actor in self.actors.values() if actor.parent_id]
        self._fleet.set_members(vehicles, walkers, props, {v.id: spawning.parameters_of(v) for v in vehicles})
        self._traffic.set_members(vehicles)
        self._crowd.set_members(walkers)
        self._stale = False

    def _drive_ackermann(self, dt: float) -> None:
        for vehicle, row in zip(self._fleet.vehicles, self._fleet.rows):
            if vehicle.ackermann is not None and not vehicle.autopilot:
                vehicle.ackermann, vehicle.control = ackermann.step(vehicle, row, dt)

    def _warm_up(self) -> None:
        """Let numba compile, or load, all that a tick calls, so that the first tick takes no longer than others."""
        self._refresh()
        self._fleet.gather()
        self._traffic.step(self._fleet, 0.05)
        self._fleet.move(self.gravity, 0.05)
        self._notice_lights()
        self._fleet.is_free(np.zeros(collision.BODY_COLUMNS))

    def _is_free(self, actor: Actor) -> bool:
        self._refresh()
        self._fleet.gather()
        return self._fleet.is_free(self._fleet.body_of(actor, actor.location, float(actor.rotation[1])))

    def _nearest_vehicle_m(self, x: float, y: float) -> float:
        others = [v for v in self.actors.values() if isinstance(v, Vehicle)]
        return min((math.dist((x, y), v.location[:2].tolist()) for v in others), default=math.inf)

    def _follow_parent(self, actor: Actor) -> None:
        parent = self.actors.get(actor.parent_id)
        if parent is None:
            return
        place = pose.compose((parent.location, parent.rotation), actor.relative)
        actor.location[:], actor.rotation[:] = place
        actor.velocity[:], actor.acceleration[:] = parent.velocity, parent.acceleration
        actor.angular_velocity[:] = parent.angular_velocity

    def _notice_lights(self) -> None:
        """Tell every vehicle which light's trigger box it stands in."""
        vehicles = self._fleet.vehicles
        if not vehicles:
            return
        found = np.empty(len(vehicles), np.int64)
        collision.first_overlaps(self._fleet.bodies[: len(vehicles)], self._light_boxes, found)
        lights = self._light_control.lights
        for vehicle, number in zip(vehicles, found.tolist()):
            vehicle.at_light_id = lights[number].id if number >= 0 else 0
            vehicle.at_light_state = lights[number].state if number >= 0 else LightColor.GREEN

    def _look_up_limit(self, vehicle: Vehicle) -> None:
        lane = self.town.lane_grid.nearest_lane(*vehicle.location[:2].tolist())
        vehicle.speed_limit_kmh = self.town.lanes[lane].speed_limit_kmh


def _suits_traffic(blueprint: Blueprint) -> bool:
    return (
        blueprint.base_type in TRAFFIC_TYPES
        and blueprint.extent[1] <= TRAFFIC_WIDEST_M
        and blueprint.wheel_base <= TRAFFIC_LONGEST_M
    )


def _trigger_boxes(signs: Iterable[TrafficSign]) -> np.ndarray:
    """Trigger volumes as body rows (n, BODY_COLUMNS)."""
    signs = list(signs)
    boxes = np.zeros((len(signs), collision.BODY_COLUMNS))
    for box, sign in zip(boxes, signs):
        turn = pose.rotation_matrix(sign.rotation)
        box[collision.CX : collision.CZ + 1] = sign.location + turn @ sign.trigger_center
        box[collision.HX : collision.HZ + 1] = sign.trigger_extent
        box[collision.HEADING] = math.radians(float(sign.rotation[1]))
    return boxes
