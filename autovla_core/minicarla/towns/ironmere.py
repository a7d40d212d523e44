"""Writes the town Ironmere as OpenDRIVE: python -m autovla_core.minicarla.towns.ironmere [--out FILE].

The dense grid: five by four nodes, blocks of 130 and 190 m, lights and crosswalks at most nodes. Two avenues of two
lanes a side cross in the middle, one of them with parking lanes; one street has bicycle lanes that go on through its
junctions; the outer streets have parking lanes.
"""

from __future__ import annotations

from collections.abc import Iterator

from autovla_core.minicarla.towns import plan, writing
from autovla_core.minicarla.towns.cross_sections import Section, street
from autovla_core.minicarla.towns.plan import Control, Node, Street
from autovla_core.minicarla.world.opendrive import Network

NAME = "Ironmere"

Place = tuple[int, int]

XS = (0.0, 130.0, 260.0, 450.0, 580.0)
YS = (0.0, 130.0, 320.0, 450.0)
CUT_M, CORNER_RADIUS_M = 20.0, 32.0
AVENUE_COLUMN, AVENUE_ROW, BICYCLE_ROW = 2, 1, 2
AVENUE_KMH, STREET_KMH = 50.0, 40.0
WITHOUT_LIGHTS: dict[Place, Control] = {(1, 3): "stop", (2, 3): "stop", (3, 3): "plain", (4, 1): "yield"}


def is_corner(place: Place) -> bool:
    return place[0] in (0, len(XS) - 1) and place[1] in (0, len(YS) - 1)


def places() -> Iterator[Place]:
    return ((i, j) for j in range(len(YS)) for i in range(len(XS)) if not is_corner((i, j)))


def named(place: Place) -> str:
    return f"Node {place[0]}{place[1]}"


def streets() -> Iterator[Street]:
    """Rows from the west, columns from the south, then the four corners."""
    for i, j in places():
        for other, section, limit in (((i + 1, j), row_section(j), row_limit(j)), ((i, j + 1), *column(i))):
            if other[0] < len(XS) and other[1] < len(YS) and not is_corner(other):
                yield Street(named((i, j)), named(other), section, speed_kmh=limit)
    for i, j in ((0, 0), (4, 0), (4, 3), (0, 3)):
        across, along = (1 if i == 0 else 3, j), (i, 1 if j == 0 else 2)
        corner = ((XS[i], YS[j]),)
        yield Street(named(across), named(along), street(1, parking=True), corner, CORNER_RADIUS_M)


def row_section(j: int) -> Section:
    if j == AVENUE_ROW:
        return street(2)
    return street(1, bicycles=True) if j == BICYCLE_ROW else street(1, parking=True)


def row_limit(j: int) -> float:
    return AVENUE_KMH if j == AVENUE_ROW else STREET_KMH


def column(i: int) -> tuple[Section, float]:
    if i == AVENUE_COLUMN:
        return street(2, parking=True), AVENUE_KMH
    return street(1, parking=i in (0, len(XS) - 1)), STREET_KMH


def build() -> Network:
    """Return Ironmere."""
    nodes = {named(p): Node(XS[p[0]], YS[p[1]], 0.0, WITHOUT_LIGHTS.get(p, "lights"), cut=CUT_M) for p in places()}
    return plan.build(NAME, nodes, list(streets()))


if __name__ == "__main__":
    writing.main(NAME, build)
