"""Cameras: a town, its weather and its actors in, CARLA's pictures out.

Pictures depend on the world alone: equal from run to run and for any number of threads.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from autovla_core.minicarla.sensors import glow, overlay, shading, sky
from autovla_core.minicarla.sensors.appearance import glows_of, instances_of
from autovla_core.minicarla.sensors.flow import Track, encode_flow, placed_before
from autovla_core.minicarla.sensors.glow import Glow
from autovla_core.minicarla.sensors.meshes import templates
from autovla_core.minicarla.sensors.raster import Buffers, Spans, View, rasterise
from autovla_core.minicarla.sensors.rays import Caster
from autovla_core.minicarla.sensors.scene import Geometry, Instance, ShadowMap, place, turn_from_carla
from autovla_core.minicarla.sensors.shading import Beams
from autovla_core.minicarla.sensors.street_lamps import StreetLamps
from autovla_core.minicarla.sensors.vehicle_meshes import HEAD
from autovla_core.minicarla.world.debug_shapes import DebugShape
from autovla_core.minicarla.world.mesh import Mesh, Tag
from autovla_core.minicarla.world.pose import Pose
from autovla_core.minicarla.world.weather import Weather

if TYPE_CHECKING:
    from autovla_core.minicarla.world.world import World

__all__ = ["KINDS", "Instance", "Renderer"]

KINDS = ("rgb", "depth", "semantic_segmentation", "instance_segmentation")
FAR_M = 700.0
FIRST_RECORDS = 30_000
BEAMS_MAX, BEAMS_WITHIN_M = 10, 70.0
BEAM_POWER = 2.6
TINY_PX = 0.7  # an instance that is smaller than this is left out
ROWS_PER_BAND_MIN = 16


class Renderer:
    """Draws one town. ``set_weather`` and ``update`` change what is seen; ``render`` only reads."""

    def __init__(self, town_mesh: Mesh, threads: int = 2) -> None:
        self._threads = max(1, threads)
        self._pool = ThreadPoolExecutor(self._threads, "renderer") if self._threads > 1 else None
        self._scratch = threading.local()
        self._geometry = Geometry(town_mesh, templates())
        self._lamps = StreetLamps(self._geometry.surfaces)
        self._noise, self._curve = sky.surface_noise(), sky.tone_curve()
        self._weather: Weather | None = None
        self._frame = 0
        self._shown: tuple[Instance, ...] = ()
        self._caster: Caster | None = None
        self._caster_is_placed = False
        self._overlay: overlay.Overlay | None = None
        self._glows: np.ndarray | None = None
        self._instances, self._spans = place(self._geometry, ())
        self.set_weather(Weather())

    def close(self) -> None:
        """End the worker threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def set_weather(self, weather: Weather) -> None:
        """Change the light; bakes the town's shadows anew when the sun has moved."""
        if weather == self._weather:
            return
        moved = self._weather is None or np.any(sky.sun_direction(weather) != sky.sun_direction(self._weather))
        self._weather = weather
        self._light = sky.light_of(weather)
        if moved:
            self._shadows = ShadowMap(self._geometry, self._light.sun)
        self._draw_shadows()

    def update(self, world: World) -> None:
        """Take over a tick's weather, actors and lights; once per tick, before the cameras."""
        self.set_weather(world.weather)
        self._light = self._lamps.lit(self._light, world)
        self.show(instances_of(world), world.frame - world.first_frame)
        self.shine([*glows_of(world), *self._lamps.glows()])
        self.draw(world.debug_shapes)

    def show(self, instances: Sequence[Instance], frame: int = 0) -> None:
        """Replace everything that moves; ``frame`` seeds the falling rain."""
        self._shown, self._frame = tuple(instances), frame
        self._instances, self._spans = place(self._geometry, self._shown)
        self._caster_is_placed = False
        self._draw_shadows()

    def draw(self, shapes: Sequence[DebugShape]) -> None:
        """Replace the shapes that clients have drawn into the world; only the kind "rgb" shows them."""
        self._overlay = overlay.prepare(shapes)

    def shine(self, glows: Sequence[Glow]) -> None:
        """Replace the lamps that glow; only the kind "rgb" shows them."""
        self._glows = glow.prepare(glows)

    def caster(self) -> Caster:
        """Rays against what the cameras see now; the first call builds the trees (a second for a town)."""
        if self._caster is None:
            self._caster = Caster(self._geometry)
        if not self._caster_is_placed:
            self._caster.place([instance.mesh for instance in self._shown], self._instances)
            self._caster_is_placed = True
        return self._caster

    def _draw_shadows(self) -> None:
        self._shadows.draw([instance.mesh for instance in self._shown], self._instances)

    def render(
        self,
        kind: str,
        width: int,
        height: int,
        fov_deg: float,
        location: np.ndarray,
        rotation: np.ndarray,
        hide_actor: int = 0,
    ) -> np.ndarray:
        """Return a (height, width, 4) uint8 BGRA picture in CARLA's encoding of its kind.

        location (3,) m and rotation (pitch, yaw, roll) in degrees are CARLA's, of the camera in the
        world; fov_deg is horizontal. ``hide_actor`` leaves one actor out, 0 none.

        Raises:
            ValueError: if the kind is not in KINDS.
        """
        if kind not in KINDS:
            raise ValueError(f"no camera kind {kind!r}; known: {', '.join(KINDS)}")
        samples = shading.SAMPLES if kind == "rgb" else 1  # the other kinds must not mix surfaces
        view = _view(width * samples, height * samples, fov_deg, location, rotation)
        spans = self._nearest_first(view, hide_actor)
        beams = self._beams(view.eye) if kind == "rgb" else _NO_BEAMS
        picture = np.empty((height, width, 4), np.uint8)

        def draw(rows: tuple[int, int]) -> None:
            self._draw_band(kind, view, samples, spans, beams, rows, picture)

        bands = _bands(height, self._threads)
        if self._pool is None or len(bands) == 1:
            for rows in bands:
                draw(rows)
        else:
            list(self._pool.map(draw, bands))
        if kind == "rgb" and self._weather.precipitation > 0:
            self._rain(picture)
        return picture

    def flow(self, width: int, height: int, fov_deg: float, pose: Pose, old_pose: Pose, track: Track) -> np.ndarray:
        """Return (height, width, 2) float32: how the picture has moved since ``old_pose``, see sensors.flow."""
        view = _view(width, height, fov_deg, *pose)
        old = _view(width, height, fov_deg, *old_pose)
        buffers = self._fill(view, self._nearest_first(view, 0), 0, height)
        moved = placed_before(self._instances, track.now, track.before)
        flow = np.empty((height, width, 2), np.float32)
        encode_flow(view, old, self._instances, moved, buffers, flow)
        return flow

    def _draw_band(
        self,
        kind: str,
        view: View,
        samples: int,
        spans: Spans,
        beams: Beams,
        rows: tuple[int, int],
        picture: np.ndarray,
    ) -> None:
        row0, row1 = rows
        buffers = self._fill(view, spans, row0 * samples, row1 * samples)
        surfaces, instances = self._geometry.surfaces, self._instances
        if kind == "rgb":
            shading.shade(
                surfaces, instances, self._light, self._shadows.shadow, beams, self._noise, self._curve,
                view, row0, row1, buffers, picture,
            )  # fmt: skip
            if self._glows is not None:
                glow.draw(self._glows, view, row0, row1, buffers, picture)
            if self._overlay is not None:
                overlay.draw(self._overlay, view, row0, row1, buffers, picture)
        elif kind == "depth":
            shading.encode_depth(buffers, row0, row1, picture)
        else:
            with_ids = kind == "instance_segmentation"
            shading.encode_tags(surfaces, instances, int(Tag.SKY), with_ids, buffers, row0, row1, picture)

    def _fill(self, view: View, spans: Spans, row0: int, row1: int) -> Buffers:
        """Rasterise rows [row0, row1) of samples into this thread's buffers, growing them as needed."""
        while True:
            buffers = self._cleared(row1 - row0, view.width)
            surfaces, instances = self._geometry.surfaces, self._instances
            count = rasterise(
                surfaces.corners, spans, instances.turns, instances.places, view, row0, row1, FAR_M, buffers
            )
            if count >= 0:
                return buffers
            self._scratch.records = 2 * len(buffers.triangle)

    def _cleared(self, rows: int, width: int) -> Buffers:
        own = self._scratch.__dict__
        records = own.setdefault("records", FIRST_RECORDS)
        if "buffers" not in own or len(own["buffers"].triangle) < records or own["area"] < rows * width:
            own["area"] = max(rows * width, own.get("area", 0))
            own["depth"], own["owner"] = np.empty(own["area"], np.float32), np.empty(own["area"], np.int32)
            own["buffers"] = Buffers(
                own["depth"],
                own["owner"],
                np.empty(records, np.int32),
                np.empty(records, np.int32),
                np.empty((records, 6)),
            )
        depth = own["depth"][: rows * width].reshape(rows, width)
        owner = own["owner"][: rows * width].reshape(rows, width)
        depth.fill(1.0 / FAR_M)
        owner.fill(-1)
        return own["buffers"]._replace(depth=depth, owner=owner)

    def _nearest_first(self, view: View, hide_actor: int) -> Spans:
        """Cells of the town and visible instances, nearest first: what lies behind is then seldom shaded over."""
        cells, movers = self._geometry.cells, self._spans
        keep = self._in_sight(view, hide_actor)
        parts = [np.concatenate([a, b[keep]]) for a, b in zip(cells, movers, strict=True)]
        boxes = parts[3]
        middle = 0.5 * (boxes[:, :3] + boxes[:, 3:]) - view.eye
        order = np.argsort((middle * middle).sum(1), kind="stable")
        return Spans(*(np.ascontiguousarray(part[order]) for part in parts))

    def _in_sight(self, view: View, hide_actor: int) -> np.ndarray:
        boxes = self._spans.boxes
        radius = 0.5 * (boxes[:, 3] - boxes[:, 0])
        ahead = (0.5 * (boxes[:, :3] + boxes[:, 3:]) - view.eye) @ view.forward
        keep = (ahead > -radius) & (radius * view.focal > TINY_PX * ahead)
        if hide_actor:
            keep &= self._instances.ids[: len(boxes)] != hide_actor
        return keep

    def _beams(self, eye: np.ndarray) -> Beams:
        """Headlight beams that reach what this camera sees; none by day."""
        lit = self._instances.lamps[: len(self._shown), HEAD - shading.FIRST_LAMP]
        if self._light.night < 0.05 or not np.any(lit > 0):
            return _NO_BEAMS
        fronts = self._spans.boxes[:, 3] - self._instances.places[: len(self._shown), 0]
        places, turns = self._instances.places, self._instances.turns
        distance = np.linalg.norm(places[: len(self._shown)] - eye, axis=1)
        chosen = np.flatnonzero((lit > 0) & (distance < BEAMS_WITHIN_M))
        chosen = chosen[np.argsort(distance[chosen], kind="stable")[:BEAMS_MAX]]
        forward = turns[chosen, :, 0]
        origins = places[chosen] + 0.85 * fronts[chosen, None] * forward + (0.0, 0.0, 0.65)
        power = BEAM_POWER * self._light.night * np.minimum(lit[chosen], 4.0) / 4.0
        return Beams(origins, np.ascontiguousarray(forward), power)

    def _rain(self, picture: np.ndarray) -> None:
        strength = self._weather.precipitation / 100.0
        brightness = int(205 - 130 * self._light.night)
        shading.draw_rain(picture, strength, self._frame & 0xFFFFFF, brightness)

    def warm_up(self) -> None:
        """Compile every kernel (seconds, once per installation; then read from the cache)."""
        for kind in KINDS:
            self.render(kind, 32, 32, 90.0, np.zeros(3), np.zeros(3))
        shading.draw_rain(np.zeros((8, 8, 4), np.uint8), 1.0, 1, 200)


_NO_BEAMS = Beams(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0))


def _view(width: int, height: int, fov_deg: float, location: np.ndarray, rotation: np.ndarray) -> View:
    turn = turn_from_carla(rotation)
    eye = np.asarray(location, float) * (1.0, -1.0, 1.0)
    focal = 0.5 * width / math.tan(0.5 * math.radians(fov_deg))
    forward, left, up = (np.ascontiguousarray(turn[:, axis]) for axis in range(3))
    return View(eye, -left, up, forward, focal, width, height)


def _bands(height: int, threads: int) -> list[tuple[int, int]]:
    """Rows of a picture, in as many bands as keep the threads busy: the sky costs less than the street."""
    count = 1 if threads == 1 else max(1, min(2 * threads, height // ROWS_PER_BAND_MIN))
    cuts = [height * i // count for i in range(count + 1)]
    return list(zip(cuts[:-1], cuts[1:], strict=True))
