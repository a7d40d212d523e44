"""Which lane of the route the ego is on now; the reference planner obeys its speed limit."""

from __future__ import annotations

import numpy as np
import shapely

from autovla_core.geometry import YAW, wrap_angle
from autovla_core.scoring.pdm.scene_shapes import ego_box, polygon_of
from autovla_core.scoring.pdm_types import MapArea, PdmScene


def speed_limit(scene: PdmScene) -> float | None:
    """Limit in m/s of the starting lane; None where the lane has none."""
    return starting_lane(scene).speed_limit


def starting_lane(scene: PdmScene) -> MapArea:
    """The route lane under the rear axle that points most as the ego does, else the nearest one.

    Raises:
        ValueError: no lane of the route is among the areas.
    """
    named = {area.id: area for area in scene.areas}
    lanes = [named[name] for name in scene.route_lane_ids if name in named]
    if not lanes:
        raise ValueError("none of the route's lanes is among the map areas")
    axle = shapely.Point(*scene.ego.pose[:2])
    under = [lane for lane in lanes if shapely.intersects(polygon_of(lane), axle)]
    if under:
        return min(under, key=lambda lane: _heading_error(lane, scene))
    box = ego_box(scene)
    center, outline = shapely.Point(*box.mean(0)), shapely.Polygon(box)
    holding = [lane for lane in lanes if shapely.contains(polygon_of(lane), center)]
    return holding[0] if holding else min(lanes, key=lambda lane: shapely.distance(polygon_of(lane), outline))


def _heading_error(lane: MapArea, scene: PdmScene) -> float:
    """Angle between the ego and the nearest point of the lane's baseline (of the route's, where it has none)."""
    line = np.asarray(scene.centerline if lane.baseline is None else lane.baseline, float)
    nearest = np.hypot(*(line[:, :2] - scene.ego.pose[:2]).T).argmin()
    return float(abs(wrap_angle(line[nearest, YAW] - scene.ego.pose[YAW])))
