"""Polygons of what the roads cover, right-handed: carriageways, sidewalks, junctions, islands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry

from autovla_core.frames import point_from_carla
from autovla_core.minicarla.world.survey import Strip

SHOULDER_M = 0.3
WALK_M = 2.5
CLOSING_M = 4.0  # junction corners narrower than twice this are filled
NEAR_WALK_M = 1.0  # a junction that no sidewalk comes near to has no corners to walk on
OVERLAP_M = 0.05
ISLAND_MIN_M2, ISLAND_MAX_M2 = 20.0, 2000.0


@dataclass(frozen=True, eq=False)
class Areas:
    """Areas that overlap by OVERLAP_M at most; their union is paved, or an island."""

    carriage: BaseGeometry  # of the streets, shoulders included
    walks: BaseGeometry  # of the streets
    junctions: tuple[BaseGeometry, ...]
    corners: tuple[BaseGeometry, ...]  # the sidewalks around each junction
    islands: tuple[Polygon, ...]
    road: BaseGeometry  # carriage and junctions
    paved: BaseGeometry  # everything


def survey_areas(strips: Sequence[Strip]) -> Areas:
    """Return the areas of a map's strips."""
    streets = [strip for strip in strips if strip.record.junction_id < 0]
    carriage = _union(strip for strip in streets if strip.record.type != "sidewalk")
    walks = _union(strip for strip in streets if strip.record.type == "sidewalk")
    under_carriage = carriage.buffer(-OVERLAP_M)  # neighbours overlap a little, so that no crack shows
    junctions = tuple(area.difference(under_carriage) for area in _junction_areas(strips))
    road = shapely.union_all([carriage, *junctions])
    taken = shapely.union_all([road, walks.buffer(-OVERLAP_M)])
    corners = []
    for junction in (area for area in junctions if walks.distance(area) < NEAR_WALK_M):
        corners.append(junction.buffer(WALK_M).difference(taken).simplify(0.02))
        taken = taken.union(corners[-1].buffer(-OVERLAP_M))
    islands = tuple(_islands(road))
    paved = shapely.union_all([taken, walks, *corners, *islands]).buffer(0.02)
    return Areas(carriage, walks, junctions, tuple(corners), islands, road, paved)


def polygon(strip: Strip) -> Polygon:
    """The strip's outline, right-handed."""
    left, right = edges(strip)
    return Polygon(np.concatenate([right, left[::-1]])[:, :2])


def edges(strip: Strip) -> tuple[np.ndarray, np.ndarray]:
    """Return the left and right border (N, 3) in driving direction, right-handed."""
    return point_from_carla(strip.edge(-1.0)), point_from_carla(strip.edge(1.0))


def _union(strips: Iterable[Strip]) -> BaseGeometry:
    return shapely.union_all([polygon(strip).buffer(0.01) for strip in strips])


def _junction_areas(strips: Sequence[Strip]) -> list[BaseGeometry]:
    """The drivable area of every junction: its lanes, what lies between them, and the shoulder around."""
    members: dict[int, list[BaseGeometry]] = {}
    for strip in strips:
        if strip.record.junction_id >= 0:
            members.setdefault(strip.record.junction_id, []).append(polygon(strip).buffer(0.02))
    areas = []
    for lanes in members.values():
        closed = shapely.union_all(lanes).buffer(SHOULDER_M + CLOSING_M).buffer(-CLOSING_M)
        shells = [Polygon(part.exterior) for part in polygons(closed)]
        areas.append(shapely.union_all(shells).simplify(0.03))
    return areas


def _islands(road: BaseGeometry) -> list[Polygon]:
    """Small holes in the carriageway: what a roundabout goes around."""
    holes = [Polygon(ring) for part in polygons(road) for ring in part.interiors]
    return [hole.simplify(0.05) for hole in holes if ISLAND_MIN_M2 < hole.area < ISLAND_MAX_M2]


def polygons(shape: BaseGeometry) -> list[Polygon]:
    """The polygons that a shape consists of, specks left out."""
    return [part for part in getattr(shape, "geoms", [shape]) if part.geom_type == "Polygon" and part.area > 0.01]
