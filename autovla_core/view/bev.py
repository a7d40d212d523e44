"""The street from above: lanes, route, road users and the plan around the ego, which looks up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from autovla_core import footprints
from autovla_core.contracts import Actor

GROUND, KERB, ROAD, EDGE = (38, 46, 40), (92, 92, 96), (62, 64, 70), (120, 122, 128)
ROUTE, PLAN, EGO, FAN = (52, 120, 220), (90, 235, 140), (250, 205, 60), (190, 160, 70)
ACTORS = {"vehicle": (214, 92, 84), "bicycle": (220, 140, 70), "walker": (240, 110, 220), "static": (150, 150, 150)}
LAMPS = {"red": (255, 60, 50), "yellow": (255, 200, 40), "green": (60, 220, 90)}


@dataclass(frozen=True)
class LaneStrip:
    """One lane to draw."""

    points: np.ndarray  # (N, 2) world, centre line
    width: float  # m
    marked: bool = True  # lines at its edges; lanes inside junctions have none


@dataclass(frozen=True)
class Lamp:
    """One traffic light to draw."""

    position: np.ndarray  # (2,) world
    color: str  # of LAMPS; others are not drawn


class BirdsEye:
    """Paints the town once and cuts the surroundings of the ego out of it at every call.

    Args:
        lanes: every lane of the town.
        size: width and height of the picture in pixels.
        scale_px: pixels a metre.
    """

    def __init__(self, lanes: Sequence[LaneStrip], size: tuple[int, int] = (384, 720), scale_px: float = 6.0) -> None:
        self.size, self.scale = size, scale_px
        self._center = np.array([size[0] / 2, size[1] * 0.68])  # where the ego is
        points = np.concatenate([lane.points for lane in lanes]) if lanes else np.zeros((1, 2))
        self._origin = np.array([points[:, 0].min() - 20.0, points[:, 1].max() + 20.0])  # world, top left
        extent = np.ptp(points, axis=0) + 40.0
        self._town = Image.new("RGB", tuple(int(v) for v in extent * scale_px), GROUND)
        self._paint_lanes(lanes)

    def draw(
        self,
        pose: np.ndarray,
        actors: Iterable[Actor] = (),
        route: np.ndarray | None = None,
        plan: np.ndarray | None = None,
        lamps: Iterable[Lamp] = (),
        ego_size: tuple[float, float] = (4.9, 2.1),
        fan: Iterable[np.ndarray] = (),
    ) -> np.ndarray:
        """Picture (H, W, 3) uint8 RGB.

        Args:
            pose: (3,) of the ego, world.
            actors: other road users.
            route: (N, 2) world, or None.
            plan: (M, 3) world poses to come, or None.
            lamps: traffic lights.
            ego_size: length and width, m.
            fan: plans that were not taken, each (M, 3) world poses.
        """
        image = self._surroundings(pose)
        pen = ImageDraw.Draw(image)
        if route is not None and len(route) > 1:
            pen.line(self._pixels(self._near(route, pose), pose), fill=ROUTE, width=4, joint="curve")
        for lamp in lamps:
            if lamp.color in LAMPS:
                self._dot(pen, lamp.position, pose, 6, LAMPS[lamp.color])
        for actor in actors:
            color = ACTORS.get(actor.kind, ACTORS["static"])
            self._box(pen, actor.pose, actor.length, actor.width, pose, color)
        for other in fan:
            pen.line(self._pixels(other, pose), fill=FAN, width=1)
        self._box(pen, pose, *ego_size, pose, EGO)
        if plan is not None:
            for point in plan[:, :2]:
                self._dot(pen, point, pose, 3, PLAN)
        return np.asarray(image)

    def _paint_lanes(self, lanes: Sequence[LaneStrip]) -> None:
        pen = ImageDraw.Draw(self._town)
        for extra, color in ((1.2, KERB), (0.3, EDGE), (0.0, ROAD)):
            for lane in lanes:
                pixels = (lane.points - self._origin) * [self.scale, -self.scale]
                width = max(1, round((lane.width + extra) * self.scale))
                pen.line([tuple(p) for p in pixels], fill=color, width=width, joint="curve")
        for lane in lanes:
            if lane.marked:
                self._paint_edges(pen, lane)

    def _paint_edges(self, pen: ImageDraw.ImageDraw, lane: LaneStrip) -> None:
        moved = np.linalg.norm(np.diff(lane.points, axis=0), axis=1) > 1e-6  # a point given twice has no direction
        points = lane.points[np.concatenate([[True], moved])]
        if len(points) < 2:
            return
        along = np.gradient(points, axis=0)
        normal = np.stack([-along[:, 1], along[:, 0]], 1) / np.linalg.norm(along, axis=1)[:, None]
        for side in (0.5, -0.5):
            edge = (points + side * lane.width * normal - self._origin) * [self.scale, -self.scale]
            pen.line([tuple(p) for p in edge], fill=EDGE, width=1)

    def _surroundings(self, pose: np.ndarray) -> Image.Image:
        # PIL wants, for every pixel of the result, the place in the source
        cos, sin = np.cos(pose[2]), np.sin(pose[2])
        x_axis, y_axis = np.array([sin, cos]), np.array([-cos, sin])  # source pixels for one right, one down
        start = (pose[:2] - self._origin) * [self.scale, -self.scale]
        corner = start - x_axis * self._center[0] - y_axis * self._center[1]
        matrix = (x_axis[0], y_axis[0], corner[0], x_axis[1], y_axis[1], corner[1])
        return self._town.transform(
            self.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=GROUND
        )

    def _pixels(self, points: np.ndarray, pose: np.ndarray) -> list[tuple[float, float]]:
        cos, sin = np.cos(pose[2]), np.sin(pose[2])
        offset = np.asarray(points)[:, :2] - pose[:2]
        ahead, left = offset @ [cos, sin], offset @ [-sin, cos]
        pixels = np.stack([self._center[0] - left * self.scale, self._center[1] - ahead * self.scale], 1)
        return [tuple(p) for p in pixels]

    def _near(self, route: np.ndarray, pose: np.ndarray) -> np.ndarray:
        near = np.flatnonzero(np.linalg.norm(route - pose[:2], axis=1) < max(self.size) / self.scale)
        return route[near[0] : near[-1] + 1] if len(near) > 1 else route[:2]

    def _box(
        self,
        pen: ImageDraw.ImageDraw,
        box: np.ndarray,
        length: float,
        width: float,
        pose: np.ndarray,
        color: tuple[int, int, int],
    ) -> None:
        corners = footprints.corners(box, length, width)
        pen.polygon(self._pixels(corners, pose), fill=color, outline=(20, 20, 20))
        nose = np.stack([corners[0], (corners[0] + corners[3]) / 2, corners[3]])
        pen.line(self._pixels(nose, pose), fill=(245, 245, 245), width=2)

    def _dot(
        self, pen: ImageDraw.ImageDraw, point: np.ndarray, pose: np.ndarray, radius: int, color: tuple[int, int, int]
    ) -> None:
        ((x, y),) = self._pixels(np.asarray(point)[None], pose)
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)
