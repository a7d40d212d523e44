"""The obstacle sensor: a ball rolled ahead from the sensor until it touches something. CARLA's frames and units.

It meets vehicles, walkers, props and the town's solids as boxes, not the ground (in CARLA the ball also meets
a road that rises, or that it is mounted too low for).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from autovla_core.minicarla.wire import values
from autovla_core.minicarla.wire.packing import pack
from autovla_core.minicarla.world.actor import Actor
from autovla_core.minicarla.world.pose import rotation_matrix
from autovla_core.minicarla.world.world import World

TYPE_ID = "sensor.other.obstacle"
MAX_DISTANCE_M = 10_000.0
TOUCHING_M = 1e-4
STEPS = 200  # of advancing to the nearest box; a ball that still only grazes by then has touched nothing

Boxes = tuple[np.ndarray, np.ndarray, np.ndarray]  # centres (n, 3), half sizes (n, 3), world_from_box (n, 3, 3)


@dataclass(frozen=True)
class ObstacleConfig:
    """CARLA's attributes, m."""

    distance: float
    hit_radius: float
    only_dynamics: bool

    def __post_init__(self) -> None:
        if not (0.0 < self.distance <= MAX_DISTANCE_M and 0.0 <= self.hit_radius <= MAX_DISTANCE_M):
            raise ValueError(
                f"distance {self.distance} and hit_radius {self.hit_radius} must lie in 0..{MAX_DISTANCE_M:g} m"
            )


def config_of(sensor: Actor) -> ObstacleConfig:
    """The attributes of an obstacle sensor.

    Raises:
        ValueError: attributes that are none.
    """
    distance, radius = (float(sensor.attributes[name]) for name in ("distance", "hit_radius"))
    return ObstacleConfig(distance, radius, sensor.attributes.get("only_dynamics", "false").lower() in ("true", "1"))


def obstacles(world: World, sensor: Actor, stream_port: int) -> Iterator[bytes]:
    """Yield one payload if something is ahead: the carrier, the other, how far the ball rolled (m)."""
    config = config_of(sensor)
    carrier = world.actors.get(sensor.parent_id, sensor)
    forward = rotation_matrix(sensor.rotation)[:, 0]
    others = [a for a in world.actors.values() if _stands_in_the_way(a) and a is not carrier]
    boxes = [_actor_boxes(others)]
    if not config.only_dynamics:
        boxes.append(_solid_boxes(world))
    together = tuple(np.concatenate(parts) for parts in zip(*boxes, strict=True))
    hit = roll(sensor.location, forward, config.distance, config.hit_radius, together)
    if hit is None:
        return
    number, distance = hit
    if number < len(others):
        other = values.actor(others[number], stream_port)
    else:
        other = values.scenery_actor(world.town.solids[number - len(others)].type_id)
    yield pack([values.actor(carrier, stream_port), other, distance])


def roll(
    start: np.ndarray, forward: np.ndarray, distance: float, radius: float, boxes: Boxes
) -> tuple[int, float] | None:
    """(number of the first box, metres) that a ball touches on its way along a unit vector, or None.

    It advances by the clearance to the nearest box, which cannot jump over one, until that is nothing.
    """
    near = _reachable(start, forward, distance, radius, boxes)
    if not len(near):
        return None
    centers, halves, turns = (part[near] for part in boxes)
    at = 0.0
    for _ in range(STEPS):
        local = np.einsum("nji,nj->ni", turns, start + at * forward - centers)
        clearance = np.linalg.norm(np.maximum(np.abs(local) - halves, 0.0), axis=1) - radius
        first = int(np.argmin(clearance))
        if clearance[first] < TOUCHING_M:
            return int(near[first]), at
        at += float(clearance[first])
        if at > distance:
            return None
    return None


def _reachable(start: np.ndarray, forward: np.ndarray, distance: float, radius: float, boxes: Boxes) -> np.ndarray:
    """Numbers of the boxes whose balls come within the radius of the way."""
    centers, halves, _ = boxes
    along = np.clip((centers - start) @ forward, 0.0, distance)
    gap = np.linalg.norm(centers - start - along[:, None] * forward, axis=1)
    return np.flatnonzero(gap <= np.linalg.norm(halves, axis=1) + radius)


def _stands_in_the_way(actor: Actor) -> bool:
    return actor.collides and (actor.kind in ("vehicle", "walker") or actor.type_id.startswith("static."))


def _actor_boxes(actors: list[Actor]) -> Boxes:
    turns = np.array([rotation_matrix(a.rotation) for a in actors]).reshape(-1, 3, 3)
    centers = np.array([a.location + turn @ a.box_center for a, turn in zip(actors, turns, strict=True)])
    return centers.reshape(-1, 3), np.array([a.box_extent for a in actors]).reshape(-1, 3), turns


def _solid_boxes(world: World) -> Boxes:
    solids = world.town.solids
    yaw = np.array([math.radians(s.yaw_deg) for s in solids])
    turns = np.tile(np.eye(3), (len(solids), 1, 1))
    turns[:, 0, 0], turns[:, 0, 1], turns[:, 1, 0], turns[:, 1, 1] = np.cos(yaw), -np.sin(yaw), np.sin(yaw), np.cos(yaw)
    centers = np.array([s.center for s in solids]).reshape(-1, 3)
    return centers, np.array([s.half_extent for s in solids]).reshape(-1, 3), turns
