"""Who a scenario has put into the world, and how they are taken out again."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence

import numpy as np

from autovla_core.carla_bridge.wheel import carla
from autovla_core.evaluation.map_facts import position_of
from autovla_core.evaluation.scenarios.movers import Body, Flow, LineFollower, Mover, Walk
from autovla_core.evaluation.scenarios.road import Line, Spot

logger = logging.getLogger(__name__)

ROLE = "scenario"  # as scenario_runner's: privileged experts know its actors by it
RAISED_M = {"vehicle": 0.2, "walker": 1.0, "static": 0.0}  # CARLA refuses what it would put into the ground
BACKGROUND_M = 2.5  # from a line that must be clear
CLEAR_EVERY = 5  # ticks

KINDS = {
    "car": {"base_type": ("car",), "special_type": ("", "electric", "taxi")},
    "police": {"ids": ("vehicle.dodge.charger_police_2020", "vehicle.dodge.charger_police")},
    "emergency": {"base_type": ("van", "car"), "special_type": ("emergency",)},
    "bicycle": {"base_type": ("bicycle",)},
}


class Stage:
    """The actors of one scenario and what moves them."""

    def __init__(
        self, client: carla.Client, world: carla.World, background: Sequence[carla.Actor], rng: np.random.Generator
    ) -> None:
        self._client, self.world, self.rng = client, world, rng
        self._library = world.get_blueprint_library()
        self._background = {actor.id: actor for actor in background}
        self._made: dict[int, carla.Actor] = {}
        self._movers: list[Mover] = []
        self._clear: list[np.ndarray] = []
        self._ticks = 0

    # ---- who comes

    def vehicle(self, spot: Spot, kind: str = "car", hazard_lights: bool = False) -> carla.Vehicle | None:
        """A vehicle of a kind of ``KINDS``, drawn; None where something stands already."""
        candidates = self._of_kind(kind)
        blueprint = candidates[int(self.rng.integers(len(candidates)))]
        if blueprint.has_attribute("color"):
            colors = blueprint.get_attribute("color").recommended_values
            blueprint.set_attribute("color", colors[int(self.rng.integers(len(colors)))])
        made = self._spawn(blueprint, spot, RAISED_M["vehicle"])
        if made is not None and hazard_lights:
            both = carla.VehicleLightState.LeftBlinker | carla.VehicleLightState.RightBlinker
            made.set_light_state(carla.VehicleLightState(both))
        return made

    def parked(self, spot: Spot, kind: str = "car", hazard_lights: bool = False) -> carla.Vehicle | None:
        """A vehicle that stands with its hand brake on."""
        made = self.vehicle(spot, kind, hazard_lights)
        if made is not None:
            made.apply_control(carla.VehicleControl(brake=1.0, hand_brake=True))
        return made

    def prop(self, names: Sequence[str], spot: Spot, solid: bool = True) -> carla.Actor | None:
        """The first of ``static.prop.<names>`` that the simulator has, fixed to the ground."""
        known = [f"static.prop.{name}" for name in names]
        ids = {blueprint.id for blueprint in self._library.filter("static.prop.*")}
        found = next((name for name in known if name in ids), None)
        if found is None:
            logger.warning("the simulator has none of %s", ", ".join(known))
            return None
        made = self._spawn(self._library.find(found), spot, RAISED_M["static"])
        if made is not None:
            made.set_simulate_physics(False)
            made.set_collisions(solid)
        return made

    def walker(self, spot: Spot) -> carla.Walker | None:
        """A pedestrian, drawn."""
        candidates = sorted(self._library.filter("walker.pedestrian.*"), key=lambda b: b.id)
        blueprint = candidates[int(self.rng.integers(len(candidates)))]
        if blueprint.has_attribute("is_invincible"):
            blueprint.set_attribute("is_invincible", "false")
        return self._spawn(blueprint, spot, RAISED_M["walker"])

    # ---- what they do

    def drive(self, vehicle: carla.Vehicle, line: np.ndarray, speed: float, heeds_m: float = 0.0) -> LineFollower:
        """Let a vehicle follow a line (N, 2) of the world at a speed (m/s)."""
        mover = LineFollower(vehicle, line, speed, heeds_m)
        self._movers.append(mover)
        return mover

    def walk(self, walker: carla.Walker, yaw: float, speed: float, distance_m: float) -> Walk:
        """Let a walker go."""
        mover = Walk(walker, yaw, speed, distance_m)
        self._movers.append(mover)
        return mover

    def flow(
        self, line: Line, speed: float, gaps_m: tuple[float, float], kind: str = "car", heeds_m: float = 0.0
    ) -> Flow:
        """A stream of vehicles along a line, which is kept clear."""
        mover = Flow(lambda: self.vehicle(line.start, kind), self.remove, line, speed, gaps_m, self.rng, heeds_m)
        self._movers.append(mover)
        self.keep_clear(line.points)
        return mover

    def keep_clear(self, line: np.ndarray) -> None:
        """Take background cars off a line (N, 2) at once and from now on, as CARLA's benchmark does for its scenarios.

        A script asks for it before it spawns there: what stands on a lane leaves no room.
        """
        self._clear.append(np.asarray(line, float))
        self._clear_background()

    def tick(self, ego: Body) -> None:
        """Move everybody once."""
        if self._ticks % CLEAR_EVERY == 0:
            self._clear_background()
        self._ticks += 1
        for mover in self._movers:
            if not mover.done:
                mover.tick(ego)

    # ---- who goes

    def remove(self, actor: carla.Actor) -> None:
        """Destroy one actor of ours."""
        if self._made.pop(actor.id, None) is not None:
            actor.destroy()

    def clear(self) -> None:
        """Destroy all of ours."""
        self._movers.clear()
        self._clear.clear()
        commands = [carla.command.DestroyActor(actor) for actor in self._made.values()]
        self._made.clear()
        if commands:
            self._client.apply_batch_sync(commands, False)

    def _clear_background(self) -> None:
        if not self._clear or not self._background:
            return
        points = np.concatenate(self._clear)
        for id, actor in list(self._background.items()):
            if not actor.is_alive:
                del self._background[id]
                continue
            position = position_of(actor.get_location())
            if np.hypot(*(points - position[:2]).T).min() < BACKGROUND_M:
                del self._background[id]
                with contextlib.suppress(RuntimeError):  # somebody else was faster
                    actor.destroy()

    def _of_kind(self, kind: str) -> list[carla.ActorBlueprint]:
        wanted = KINDS[kind]
        vehicles = sorted(self._library.filter("vehicle.*"), key=lambda b: b.id)
        if "ids" in wanted:
            return [b for b in vehicles if b.id in wanted["ids"]] or self._of_kind("car")
        found = [b for b in vehicles if all(_says(b, name) in values for name, values in wanted.items())]
        return found or vehicles

    def _spawn(self, blueprint: carla.ActorBlueprint, spot: Spot, raised_m: float) -> carla.Actor | None:
        if blueprint.has_attribute("role_name"):
            blueprint.set_attribute("role_name", ROLE)
        made = self.world.try_spawn_actor(blueprint, spot.carla_transform(raised_m))
        if made is not None:
            self._made[made.id] = made
        return made


def _says(blueprint: carla.ActorBlueprint, name: str) -> str:
    return blueprint.get_attribute(name).as_str() if blueprint.has_attribute(name) else ""
