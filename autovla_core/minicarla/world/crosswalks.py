"""Crosswalks of anybody's OpenDRIVE map: rings of three corners or more, and their zebra stripes.

``carla.Map`` strings the corners of all crosswalks together and does not say where one ends. ``closed`` gives every
outline its first corner again as its last, so that ``rings`` can tell.
"""

from __future__ import annotations

import copy
import logging
import xml.etree.ElementTree as ET
from collections.abc import Iterator

import numpy as np
import shapely

from autovla_core.minicarla.world.layout import TownError

logger = logging.getLogger(__name__)

SAME_CORNER_M = 0.01
STRIPE_M = 0.55
SKEW_M = 0.05  # a ring that is this close to a parallelogram is striped as one
FEWEST_CORNERS = 3
OUTLINES = ".//object[@type='crosswalk']/outline"


def closed(xodr: str) -> str:
    """Return the map's text with every crosswalk ended by its first corner; the same text if that is so already.

    What has fewer than three corners is left out, with a warning.

    Raises:
        TownError: a corner is no number.
    """
    root = ET.fromstring(xodr)
    changes = [_close(outline) for outline in root.iterfind(OUTLINES)]
    return ET.tostring(root, encoding="unicode") if any(changes) else xodr


def _close(outline: ET.Element) -> bool:
    """Close one outline in place; return whether it was open."""
    elements = outline.findall("cornerLocal")
    corners = [_corner(element) for element in elements]
    kept: list[int] = []
    for i, corner in enumerate(corners):
        if not any(_same(corner, corners[k]) for k in (kept[:1] + kept[-1:])):
            kept.append(i)
    if len(kept) >= FEWEST_CORNERS and len(kept) == len(corners) - 1 and corners[-1] == corners[0]:
        return False
    for element in elements:
        outline.remove(element)
    if len(kept) >= FEWEST_CORNERS:
        outline.extend([copy.copy(elements[i]) for i in (*kept, kept[0])])
    elif elements:
        logger.warning("a crosswalk with %d different corners is left out; it needs 3", len(kept))
    return bool(elements)


def _corner(element: ET.Element) -> tuple[float, float, float]:
    try:
        u, v, z = (float(element.get(name, "0")) for name in ("u", "v", "z"))
    except ValueError as error:
        raise TownError(f"the corner {element.attrib} of a crosswalk is no place: {error}") from None
    return u, v, z


def _same(one: tuple[float, float, float], other: tuple[float, float, float]) -> bool:
    return max(abs(a - b) for a, b in zip(one, other, strict=True)) < SAME_CORNER_M


def rings(points: np.ndarray) -> list[np.ndarray]:
    """Cut the corners (n, 3) of closed outlines into rings (k, 3) without the repeated last corner.

    Raises:
        TownError: an outline does not return to where it began.
    """
    found, start = [], 0
    while start < len(points):
        back = np.flatnonzero((points[start + 1 :] == points[start]).all(axis=1))
        if not len(back):
            raise TownError(f"a crosswalk that begins at {np.round(points[start], 2).tolist()} is not closed")
        found.append(points[start : start + 1 + back[0]])
        start += back[0] + 2
    return found


def stripes(ring: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the zebra stripes of one ring (n, 3), bars (4, 3) or pieces of bars (3, 3), along its shorter side."""
    if len(ring) == 4 and np.abs(ring[0] + ring[2] - ring[1] - ring[3]).max() < SKEW_M:
        yield from _bars(ring)
        return
    area = shapely.make_valid(shapely.Polygon(ring[:, :2]))
    plane = _plane(ring)
    for bar in _bars(_on(plane, shapely.get_coordinates(shapely.oriented_envelope(area))[:4])):
        inside = shapely.intersection(area, shapely.Polygon(bar[:, :2]))
        for triangle in shapely.get_parts(shapely.constrained_delaunay_triangles(inside)):
            yield _on(plane, shapely.get_coordinates(triangle)[:3])


def _bars(box: np.ndarray) -> Iterator[np.ndarray]:
    """Bars (4, 3) along the shorter side of a parallelogram (4, 3), as wide as the gaps between them."""
    a, b, c, d = box
    if np.linalg.norm(b - a) > np.linalg.norm(d - a):
        a, b, d = b, c, a
    along, across = b - a, d - a
    count = max(1, int(np.linalg.norm(across) / (2 * STRIPE_M)))
    step = across / count
    for k in range(count):
        start = a + step * (k + 0.25)
        yield np.array([start, start + along, start + along + step / 2, start + step / 2])


def _plane(points: np.ndarray) -> np.ndarray:
    """(3,) numbers p of the plane z = p0 x + p1 y + p2 nearest to points (n, 3); level if they lie on a line."""
    middle = points.mean(axis=0)
    slope = np.linalg.lstsq(points[:, :2] - middle[:2], points[:, 2] - middle[2], rcond=None)[0]
    return np.append(slope, middle[2] - middle[:2] @ slope)


def _on(plane: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Points (n, 3) of a plane over xy (n, 2)."""
    return np.column_stack([xy, xy @ plane[:2] + plane[2]])
