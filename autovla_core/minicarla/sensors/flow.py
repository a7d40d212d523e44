"""The optical flow camera: how far every pixel has moved since the last tick.

CARLA's unit: where the surface is seen now minus where it was seen a tick ago, from -1 to 1 over the
picture, x to the right and y UP; so pixels are x * width / 2 and -y * height / 2. Clipped to -2..2.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from autovla_core.minicarla.sensors.raster import NEAR_M, compiled
from autovla_core.minicarla.sensors.scene import MIRROR, turn_from_carla
from autovla_core.minicarla.sensors.shading import Instances
from autovla_core.minicarla.world.actor import Actor
from autovla_core.minicarla.world.pose import Pose
from autovla_core.minicarla.world.world import World

TYPE_ID = "sensor.camera.optical_flow"


class Track:
    """Where things stand in this tick and stood in the last one, for one camera."""

    def __init__(self) -> None:
        self.now: dict[int, Pose] = {}
        self.before: dict[int, Pose] = {}

    def observe(self, world: World, camera: Actor) -> None:
        """Remember a tick; call every tick, measured or not."""
        self.before = self.now
        self.now = {
            actor.id: (actor.location.copy(), actor.rotation.copy())
            for actor in world.actors.values()
            if actor.kind in ("vehicle", "walker") or actor is camera or actor.type_id.startswith("static.")
        }

    def pose_before(self, camera: Actor) -> Pose:
        """The camera's pose a tick ago; its present one if it is new."""
        return self.before.get(camera.id, (camera.location, camera.rotation))


def placed_before(instances: Instances, now: Mapping[int, Pose], before: Mapping[int, Pose]) -> Instances:
    """Instances where their actors were: moved back as their actors have moved since; the new ones stay."""
    turns, places = instances.turns.copy(), instances.places.copy()
    for i, actor_id in enumerate(instances.ids.tolist()):
        if actor_id in now and actor_id in before:
            (location, rotation), (old_location, old_rotation) = now[actor_id], before[actor_id]
            back = turn_from_carla(old_rotation) @ turn_from_carla(rotation).T
            turns[i] = back @ turns[i]
            places[i] = MIRROR @ old_location + back @ (places[i] - MIRROR @ location)
    return instances._replace(turns=turns, places=places)


@compiled
def encode_flow(view, old, instances, old_instances, buffers, flow):
    """Fill flow (height, width, 2) float32 from samples seen through ``view``; ``old`` is the view a tick ago."""
    cx, cy, f = 0.5 * view.width, 0.5 * view.height, view.focal
    for row in range(view.height):
        for column in range(view.width):
            right, up = (column + 0.5 - cx) / f, (cy - row - 0.5) / f
            x = view.forward[0] + right * view.right[0] + up * view.up[0]
            y = view.forward[1] + right * view.right[1] + up * view.up[1]
            z = view.forward[2] + right * view.right[2] + up * view.up[2]
            record = buffers.owner[row, column]
            if record >= 0:  # else the sky, which only turns
                d = 1.0 / np.float64(buffers.depth[row, column])
                x, y, z = view.eye[0] + d * x, view.eye[1] + d * y, view.eye[2] + d * z
                instance = buffers.instance[record]
                if instance >= 0:
                    turn, place = instances.turns[instance], instances.places[instance]
                    x, y, z = x - place[0], y - place[1], z - place[2]
                    a = turn[0, 0] * x + turn[1, 0] * y + turn[2, 0] * z
                    b = turn[0, 1] * x + turn[1, 1] * y + turn[2, 1] * z
                    c = turn[0, 2] * x + turn[1, 2] * y + turn[2, 2] * z
                    turn, place = old_instances.turns[instance], old_instances.places[instance]
                    x = turn[0, 0] * a + turn[0, 1] * b + turn[0, 2] * c + place[0]
                    y = turn[1, 0] * a + turn[1, 1] * b + turn[1, 2] * c + place[1]
                    z = turn[2, 0] * a + turn[2, 1] * b + turn[2, 2] * c + place[2]
                x, y, z = x - old.eye[0], y - old.eye[1], z - old.eye[2]
            w = x * old.forward[0] + y * old.forward[1] + z * old.forward[2]
            flow[row, column, 0], flow[row, column, 1] = 0.0, 0.0
            if w > NEAR_M:
                was_right = (x * old.right[0] + y * old.right[1] + z * old.right[2]) / w
                was_up = (x * old.up[0] + y * old.up[1] + z * old.up[2]) / w
                flow[row, column, 0] = min(2.0, max(-2.0, (right - was_right) * f / cx))
                flow[row, column, 1] = min(2.0, max(-2.0, (up - was_up) * f / cy))
