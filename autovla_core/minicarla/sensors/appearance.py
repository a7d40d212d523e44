"""Which template, colour and lamps an actor of the world shows. CARLA's convention."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from autovla_core.minicarla.blueprints import BLUEPRINTS
from autovla_core.minicarla.sensors.glow import Glow
from autovla_core.minicarla.sensors.meshes import LAMP_AHEAD_M, LAMP_SPACING_M, templates
from autovla_core.minicarla.sensors.scene import Instance
from autovla_core.minicarla.sensors.sirens import siren_glows, siren_instances
from autovla_core.minicarla.world.actor import Actor, LightColor, TrafficLight, Vehicle, Walker
from autovla_core.minicarla.world.mesh import Tag
from autovla_core.minicarla.world.pose import rotation_matrix

if TYPE_CHECKING:
    from autovla_core.minicarla.world.world import World

# bits of carla.VehicleLightState
POSITION, LOW_BEAM, HIGH_BEAM, BRAKE, RIGHT_BLINKER, LEFT_BLINKER, REVERSE, FOG = (1 << bit for bit in range(8))
BLINK_S = 0.35
LAMP_NAMES = {LightColor.RED: "red", LightColor.YELLOW: "yellow", LightColor.GREEN: "green"}
STRIDE_M = 0.75
JACKETS = ((150, 40, 40), (40, 70, 130), (200, 190, 170), (60, 100, 60), (90, 90, 95), (200, 150, 60), (120, 60, 110))
SIGNAL_GLOW_M, SIGNAL_GLOW = 0.34, 0.75
SIGNAL_COLORS = {LightColor.RED: (255, 40, 28), LightColor.YELLOW: (255, 190, 30), LightColor.GREEN: (30, 240, 120)}
SIGNAL_PLACES = {LightColor.RED: 1, LightColor.YELLOW: 0, LightColor.GREEN: -1}  # above the head's centre
BRAKE_GLOW_M, BRAKE_GLOW, BRAKE_COLOR = 0.16, 0.6, (255, 36, 24)
PEDALS_BRAKE = 0.02  # a pedal pressed more than this lights the brake lamps


def instances_of(world: World) -> list[Instance]:
    """Return everything that is drawn on top of the town, in the order of actor ids."""
    shown = [instance for _, actor in sorted(world.actors.items()) for instance in _instances(actor, world)]
    return shown + list(_traffic_lights(world))


def _instances(actor: Actor, world: World) -> Iterator[Instance]:
    if isinstance(actor, Vehicle):
        if f"vehicle:{actor.type_id}" in templates():
            yield vehicle_instance(actor, world.time)
            yield from siren_instances(actor, world.time)
    elif isinstance(actor, Walker):
        yield _walker(actor)
    elif f"prop:{actor.type_id}" in templates():
        key = f"prop:{actor.type_id}"
        yield Instance(key, actor.location, actor.rotation, actor_id=actor.id, tag=int(Tag.DYNAMIC))


def _walker(walker: Walker) -> Instance:
    """A walker's location is the middle of its body, 0.93 m up for adults."""
    moving = float(np.linalg.norm(walker.velocity[:2])) > 0.05
    pose = ("walker_left", "walker", "walker_right", "walker")[math.floor(2 * walker.walked_m / STRIDE_M) % 4]
    half = float(walker.box_extent[2]) or 0.93
    foot = walker.location - (0.0, 0.0, half)
    tint = _linear(JACKETS[sum(walker.type_id.encode()) % len(JACKETS)])
    return Instance(pose if moving else "walker", foot, walker.rotation, tint, walker.id, int(Tag.PEDESTRIAN))


def vehicle_instance(vehicle: Vehicle, time_s: float) -> Instance:
    """Body in its colour, lamps as its light state, pedals and gear ask for."""
    state, control = vehicle.light_state, vehicle.control
    blink = math.floor(time_s / BLINK_S) % 2 == 0
    beam = state & (LOW_BEAM | HIGH_BEAM)
    braking = is_braking(vehicle)
    lamps = (
        4.0 if beam else (1.2 if state & POSITION else 0.0),
        3.2 if braking else (0.7 if state & POSITION or beam else 0.0),
        2.5 if state & REVERSE or control.reverse else 0.0,
        3.0 if state & LEFT_BLINKER and blink else 0.0,
        3.0 if state & RIGHT_BLINKER and blink else 0.0,
    )
    return Instance(
        f"vehicle:{vehicle.type_id}",
        vehicle.location,
        vehicle.rotation,
        _linear(vehicle.color),
        vehicle.id,
        BLUEPRINTS[vehicle.type_id].semantic_tag,
        lamps,
    )


def is_braking(vehicle: Vehicle) -> bool:
    """Do its brake lamps shine?"""
    return bool(vehicle.light_state & BRAKE) or vehicle.control.brake > PEDALS_BRAKE


def glows_of(world: World) -> list[Glow]:
    """The lamps that are bright enough to glow: those of signals, brake lamps and blue lights."""
    sirens = (glow for _, actor in sorted(world.actors.items()) for glow in siren_glows(actor, world.time))
    return [*_signal_glows(world), *_brake_glows(world), *sirens]


def _signal_glows(world: World) -> Iterator[Glow]:
    lights = {a.sign_id: a for a in world.actors.values() if isinstance(a, TrafficLight)}
    for signal in world.town.signals:
        light = lights.get(signal.id)
        if light is None or light.state not in SIGNAL_COLORS:
            continue
        for location, yaw_deg in signal.heads:
            yaw = math.radians(yaw_deg)
            forward = np.array([math.cos(yaw), math.sin(yaw), 0.0])
            up = np.array([0.0, 0.0, SIGNAL_PLACES[light.state] * LAMP_SPACING_M])
            place = location + LAMP_AHEAD_M * forward + up
            yield Glow(place, forward, SIGNAL_GLOW_M, SIGNAL_GLOW, SIGNAL_COLORS[light.state])


def _brake_glows(world: World) -> Iterator[Glow]:
    for _, actor in sorted(world.actors.items()):
        if not isinstance(actor, Vehicle) or not is_braking(actor):
            continue
        turn, half = rotation_matrix(actor.rotation), actor.box_extent
        for side in (-0.75, 0.75):
            place = actor.location + turn @ np.array([-half[0], side * half[1], 0.95 * half[2]])
            yield Glow(place, -turn[:, 0], BRAKE_GLOW_M, BRAKE_GLOW, BRAKE_COLOR)


def _traffic_lights(world: World) -> Iterator[Instance]:
    """The lamps of every head; posts and back plates belong to the town."""
    lights = {a.sign_id: a for a in world.actors.values() if isinstance(a, TrafficLight)}
    for signal in world.town.signals:
        light = lights.get(signal.id)
        state = light.state if light is not None else LightColor.OFF
        key = f"lamps_{LAMP_NAMES.get(state, 'off')}"
        for location, yaw_deg in signal.heads:
            rotation = np.array([0.0, yaw_deg, 0.0])
            yield Instance(key, location, rotation, actor_id=light.id if light else 0, tag=int(Tag.TRAFFIC_LIGHT))


def _linear(color: tuple[int, int, int]) -> tuple[float, float, float]:
    """Colour 0..255 as on a screen -> linear 0..1."""
    red, green, blue = ((channel / 255.0) ** 2.2 for channel in color)
    return red, green, blue
