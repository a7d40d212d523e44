"""Camera sensors: attributes in, stream payloads out. The pictures come from the renderer."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Protocol

import numpy as np

from autovla_core.minicarla.sensors.events import EventCamera
from autovla_core.minicarla.sensors.flow import Track
from autovla_core.minicarla.sensors.rays import Caster
from autovla_core.minicarla.world.actor import Actor
from autovla_core.minicarla.world.pose import Pose
from autovla_core.minicarla.world.world import World

PREFIX = "sensor.camera."
MAX_SIDE_PX = 4096

_IMAGE = struct.Struct("<IIf")


class Renderer(Protocol):
    """What a camera needs of ``sensors.renderer.Renderer``."""

    def update(self, world: World) -> None: ...

    def caster(self) -> Caster: ...

    def flow(self, width: int, height: int, fov_deg: float, pose: Pose, old_pose: Pose, track: Track) -> np.ndarray: ...

    def render(
        self, kind: str, width: int, height: int, fov_deg: float, location: np.ndarray, rotation: np.ndarray
    ) -> np.ndarray: ...


class Cameras:
    """Takes the pictures of one world; the renderer is built when the first is needed."""

    def __init__(self, make_renderer: Callable[[], Renderer]) -> None:
        self._make_renderer = make_renderer
        self._renderer: Renderer | None = None
        self._ready_frame = -1

    def prepare(self) -> None:
        """Build the renderer now, so that the first picture is not late."""
        if self._renderer is None:
            self._renderer = self._make_renderer()

    def prepare_rays(self) -> None:
        """Build what lidar and radar need, so that the first scan is not late."""
        self.prepare()
        self._renderer.caster()

    def caster(self, world: World) -> Caster:
        """Rays against the present tick."""
        return self._renderer_at(world).caster()

    def picture(self, world: World, camera: Actor) -> bytes:
        """Return the payload of one image: width, height, fov and rows of B, G, R, A."""
        width, height, fov_deg = image_format(camera)
        renderer = self._renderer_at(world)
        kind = camera.type_id.removeprefix(PREFIX)
        image = renderer.render(kind, width, height, fov_deg, camera.location, camera.rotation)
        return _IMAGE.pack(width, height, fov_deg) + image.tobytes()

    def events(self, world: World, camera: Actor, memory: EventCamera) -> bytes:
        """Return the payload of one packet of an event camera: as ``picture``, with events of 13 bytes."""
        width, height, fov_deg = image_format(camera)
        image = self._renderer_at(world).render("rgb", width, height, fov_deg, camera.location, camera.rotation)
        return _IMAGE.pack(width, height, fov_deg) + memory.events(image, world.time).tobytes()

    def flow(self, world: World, camera: Actor, track: Track) -> bytes:
        """Return the payload of one optical flow image: as ``picture``, with pixels of two float32."""
        width, height, fov_deg = image_format(camera)
        pose = camera.location, camera.rotation
        flow = self._renderer_at(world).flow(width, height, fov_deg, pose, track.pose_before(camera), track)
        return _IMAGE.pack(width, height, fov_deg) + flow.astype("<f4").tobytes()

    def _renderer_at(self, world: World) -> Renderer:
        """The renderer, showing the present tick."""
        self.prepare()
        if self._ready_frame != world.frame:
            self._ready_frame = world.frame
            self._renderer.update(world)
        return self._renderer


def image_format(camera: Actor) -> tuple[int, int, float]:
    """Width px, height px and horizontal field of view in degrees of a camera.

    Raises:
        ValueError: attributes that are no picture.
    """
    width, height = (int(camera.attributes[name]) for name in ("image_size_x", "image_size_y"))
    fov_deg = float(camera.attributes["fov"])
    if not (1 <= width <= MAX_SIDE_PX and 1 <= height <= MAX_SIDE_PX and 1.0 <= fov_deg < 180.0):
        raise ValueError(
            f"image_size_x {width} and image_size_y {height} must lie in 1..{MAX_SIDE_PX}, fov {fov_deg} in 1..180"
        )
    return width, height, fov_deg
