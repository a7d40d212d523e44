"""The walkers' floor: convex polygons that cover what may be walked on, and the bytes that the client reads."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import shapely
from shapely.geometry import box

from autovla_core.minicarla.wire import navmesh
from autovla_core.minicarla.world import mesh
from autovla_core.minicarla.world.areas import Areas
from autovla_core.minicarla.world.layout import Solid
from autovla_core.minicarla.world.navigation import Floor, Navigation, build_navigation

POST = Solid(np.array([10.0, -5.5, 1.0]), np.array([0.1, 0.1, 1.0]), 0.0, int(mesh.Tag.POLE), "static.pole")
HEADER, ENTRY, TILE = struct.Struct("<iii3fffii"), struct.Struct("<Ii"), struct.Struct("<15i3f3f3ff")


@pytest.fixture(scope="module")
def street() -> Navigation:
    """A road of 40 m by 8 m along x, sidewalks of 3 m beside it, a crosswalk of 4 m in its middle, a post (left)."""
    road, walks = box(0, -4, 40, 4), shapely.union_all([box(0, 4, 40, 7), box(0, -7, 40, -4)])
    areas = Areas(road, walks, (), (), (), road, shapely.union_all([road, walks]))
    crosswalk = np.array([[(18.0, -4.0), (22.0, -4.0), (22.0, 4.0), (18.0, 4.0)]])
    return build_navigation(areas, crosswalk, [POST])


def area(navigation: Navigation, floor: Floor | None = None) -> float:
    chosen = [p for p, kind in zip(navigation.polygons, navigation.floors) if floor in (None, kind)]
    return sum(shapely.Polygon(navigation.xy[list(polygon)]).area for polygon in chosen)


def edges(polygon: tuple[int, ...]) -> list[tuple[int, int]]:
    return list(zip(polygon, polygon[1:] + polygon[:1]))


def test_all_that_can_be_walked_on_is_covered_once(street: Navigation) -> None:
    """39.4 m by 13.4 m, 0.3 m from the border, less a square of 0.8 m around the post."""
    assert area(street) == pytest.approx(39.4 * 13.4 - 0.8 * 0.8, abs=0.2)
    whole = shapely.union_all([shapely.Polygon(street.xy[list(polygon)]) for polygon in street.polygons])
    assert whole.area == pytest.approx(area(street), abs=0.01)


def test_the_crosswalk_reaches_onto_both_sidewalks(street: Navigation) -> None:
    """4 m by 8 m of paint, 0.6 m more at each side."""
    assert area(street, Floor.CROSSWALK) == pytest.approx(5.2 * 9.2, abs=0.2)
    assert area(street, Floor.SIDEWALK) == pytest.approx(2 * 39.4 * 2.7 - 2 * 5.2 * 0.6 - 0.64, abs=0.3)


def test_nobody_walks_through_a_post(street: Navigation) -> None:
    place = shapely.Point(10.0, 5.5)  # right-handed: CARLA's y is -5.5
    assert not any(shapely.Polygon(street.xy[list(polygon)]).contains(place) for polygon in street.polygons)


def test_polygons_are_convex_turn_left_and_have_at_most_six_corners(street: Navigation) -> None:
    for polygon in street.polygons:
        corners = street.xy[list(polygon)]
        ahead, after = np.roll(corners, -1, 0) - corners, np.roll(corners, -2, 0) - np.roll(corners, -1, 0)
        assert 3 <= len(polygon) <= 6
        assert (ahead[:, 0] * after[:, 1] - ahead[:, 1] * after[:, 0] > 0.0).all()


def test_neighbours_share_their_edge_and_all_hang_together(street: Navigation) -> None:
    owner = {edge: number for number, polygon in enumerate(street.polygons) for edge in edges(polygon)}
    assert len(owner) == sum(map(len, street.polygons)), "no edge belongs to two polygons of one side"
    reached, border = {0}, [0]
    while border:
        for a, b in edges(street.polygons[border.pop()]):
            other = owner.get((b, a))
            if other is not None and other not in reached:
                reached.add(other)
                border.append(other)
    assert len(reached) == len(street.polygons)


def test_the_file_has_the_numbers_that_the_client_reads() -> None:
    """Two squares of 2 m side by side: sidewalk and road, in CARLA's frame at a height of 1 m."""
    points = np.array([(0, 0, 1), (2, 0, 1), (2, -2, 1), (0, -2, 1), (4, 0, 1), (4, -2, 1)], float)
    data = navmesh.encode(points, [(0, 1, 2, 3), (1, 4, 5, 2)], [1, 3])
    magic, version, tiles, x, up, y, width, depth, most_tiles, most_polygons = HEADER.unpack_from(data)
    assert (magic, version, tiles, most_tiles, most_polygons) == (0x4D534554, 1, 1, 1, 2)
    assert (x, up, y, width, depth) == (0.0, 1.0, -2.0, 5.0, 3.0)
    reference, size = ENTRY.unpack_from(data, HEADER.size)
    assert reference == 2 and len(data) == HEADER.size + ENTRY.size + size
    tile = TILE.unpack_from(data, HEADER.size + ENTRY.size)
    assert tile[:2] == (0x444E4156, 7) and tile[6:12] == (2, 6, 8, 2, 0, 4)
    at = HEADER.size + ENTRY.size + TILE.size
    assert struct.unpack_from("<18f", data, at)[3:9] == (2.0, 1.0, 0.0, 2.0, 1.0, -2.0)
    first = struct.unpack_from("<I6H6HHBB", data, at + 72)
    assert first[1:7] == (0, 1, 2, 3, 0, 0) and first[7:13] == (0, 2, 0, 0, 0, 0) and first[13:] == (2, 4, 1)
    second = struct.unpack_from("<I6H6HHBB", data, at + 104)
    assert second[7:13] == (0, 0, 0, 1, 0, 0) and second[13:] == (8, 4, 3)
    assert data[-16:-8] == bytes([0, 1, 2, 0x05, 0, 2, 3, 0x14]), "flags mark the polygon's own edges"


@pytest.mark.parametrize("count", [0, 70_000])
def test_a_mesh_that_the_format_cannot_hold_is_refused(count: int) -> None:
    with pytest.raises(navmesh.NavigationMeshError, match="1 to 65534"):
        navmesh.encode(np.zeros((3, 3)), [(0, 1, 2)] * count, [1] * count)
