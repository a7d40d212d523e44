"""The terms of the score that need no other plan: everything but the normalised progress."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely

from autovla_core.scoring.pdm import areas, contacts
from autovla_core.scoring.pdm.areas import AreaIndex
from autovla_core.scoring.pdm.obstacles import Obstacles
from autovla_core.scoring.pdm.route_line import distance_from, progress_along
from autovla_core.scoring.pdm.scene_shapes import ego_boxes, ego_centers
from autovla_core.scoring.pdm.weighing import product
from autovla_core.scoring.pdm_types import GRID_S, GRID_STEPS, VehicleShape, Version

STATES = GRID_STEPS + 1
ONCOMING_WINDOW = 10  # steps before the present one
ONCOMING_LIMITS_M = (2.0, 6.0)
LANE_DEVIATION_M = 0.5
LANE_STEPS = 20  # 2 s in a row
TTC_STEPS = {Version.V1: STATES, Version.V2: STATES - int(contacts.TTC_OFFSETS[-1])}
OBSERVED_STEPS = {Version.V1: STATES + 10, Version.V2: STATES}  # how far tracks are known


@dataclass(frozen=True)
class Surroundings:
    """All that the terms of one scene ask for."""

    version: Version
    vehicle: VehicleShape
    index: AreaIndex
    route: shapely.LineString  # the centreline
    obstacles: Obstacles
    red_areas: np.ndarray  # (L,) shapely polygons of lights that are red at some time
    red: np.ndarray  # (L, 41) bool


@dataclass(frozen=True)
class Terms:
    """Arrays (P,)."""

    collision: np.ndarray
    collision_step: np.ndarray
    drivable: np.ndarray
    direction: np.ndarray
    light: np.ndarray
    ttc: np.ndarray
    ttc_step: np.ndarray
    lane_keeping: np.ndarray
    progress_m: np.ndarray

    def values(self, version: Version) -> dict[str, np.ndarray]:
        """The terms that ``version`` has, by the names of ``PdmScores``."""
        named = {
            "no_at_fault_collisions": self.collision,
            "drivable_area_compliance": self.drivable,
            "driving_direction_compliance": self.direction,
            "time_to_collision_within_bound": self.ttc,
        }
        if version is Version.V1:
            return named
        return named | {"traffic_light_compliance": self.light, "lane_keeping": self.lane_keeping}

    def product(self, version: Version) -> np.ndarray:
        """The factors (P,) multiplied."""
        return product(self.values(version), version)


def terms_of(states: np.ndarray, around: Surroundings) -> Terms:
    """Judge simulated states (P, 41, 11)."""
    centers = ego_centers(states, around.vehicle)
    boxes = np.ascontiguousarray(ego_boxes(states, around.vehicle))
    points = np.concatenate([boxes, centers[..., None, :2], states[..., None, :2]], axis=2)
    bits = areas.classify(around.index, points.reshape(-1, 6, 2)).reshape(states.shape[:2])
    collision, collision_step = contacts.collisions(states, boxes, bits, around.obstacles)
    ttc, ttc_step = contacts.time_to_collision(states, boxes, bits, around.obstacles, TTC_STEPS[around.version])
    return Terms(
        collision,
        collision_step,
        drivable_area(bits),
        driving_direction(centers, bits, around.version),
        traffic_light(boxes, around),
        ttc,
        ttc_step,
        lane_keeping(centers, bits, around),
        progress(centers, around.route),
    )


def drivable_area(bits: np.ndarray) -> np.ndarray:
    """0 where a corner leaves the drivable areas at any time."""
    return 1.0 - (bits & areas.NON_DRIVABLE > 0).any(1)


def driving_direction(centers: np.ndarray, bits: np.ndarray, version: Version) -> np.ndarray:
    """1, 0.5 or 0 by the metres driven off the route's lanes within a second; V2 forgives intersections."""
    moved = np.zeros(bits.shape)
    moved[:, 1:] = np.linalg.norm(np.diff(centers[..., :2], axis=1), axis=-1)
    moved[bits & areas.ONCOMING == 0] = 0.0
    if version is Version.V2:
        moved[bits & areas.CENTER_IN_INTERSECTION > 0] = 0.0
    window = np.lib.stride_tricks.sliding_window_view(np.pad(moved, ((0, 0), (ONCOMING_WINDOW, 0))), 11, axis=1)
    most = window.sum(-1).max(1)
    return 0.5 * (most < ONCOMING_LIMITS_M[0]) + 0.5 * (most < ONCOMING_LIMITS_M[1])


def traffic_light(boxes: np.ndarray, around: Surroundings) -> np.ndarray:
    """0 where the box touches the lane connector of a light while that is red."""
    good = np.ones(len(boxes))
    if not around.red.any():
        return good
    polygons = shapely.polygons(boxes)
    for area, red in zip(around.red_areas, around.red):
        shapely.prepare(area)
        good[shapely.intersects(area, polygons[:, red]).any(1)] = 0.0
    return good


def lane_keeping(centers: np.ndarray, bits: np.ndarray, around: Surroundings) -> np.ndarray:
    """0 where the centre stays off the centreline for 2 s; states in an intersection are skipped, not counted anew."""
    if around.version is Version.V1:
        return np.full(len(centers), np.nan)
    distance = distance_from(around.route, centers[..., :2])
    run, longest = np.zeros(len(centers), int), np.zeros(len(centers), int)
    for t in range(bits.shape[1]):
        counted = bits[:, t] & areas.CENTER_IN_INTERSECTION == 0
        run = np.where(counted, np.where(distance[:, t] > LANE_DEVIATION_M, run + 1, 0), run)
        longest = np.maximum(longest, run)
    return (longest < LANE_STEPS).astype(float)


def progress(centers: np.ndarray, route: shapely.LineString) -> np.ndarray:
    """Metres (P,) along the route from the first to the last centre; never negative."""
    along = progress_along(route, centers[:, [0, -1], :2])
    return np.maximum(along[:, 1] - along[:, 0], 0.0)


def seconds(steps: np.ndarray) -> np.ndarray:
    """Steps to seconds, inf for none."""
    return np.where(steps == contacts.NEVER, np.inf, steps * GRID_S)
