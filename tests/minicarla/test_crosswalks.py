"""Crosswalks of maps that are not ours: three to six corners, closed or open, painted and walked on."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import carla
import numpy as np
import pytest
import shapely

from autovla_core.minicarla.world import crosswalks
from autovla_core.minicarla.world.mesh import Material, Tag
from autovla_core.minicarla.world.navigation import Floor, survey_navigation
from autovla_core.minicarla.world.town import Town, TownError, load_opendrive

LONG = ((-1.5, -4.0), (1.5, -4.0), (1.5, 4.0), (-1.5, 4.0))  # u along the road, v to the left; 3 m by 8 m
RINGS = {
    3: ((-2.0, -4.0), (2.0, -4.0), (0.0, 4.0)),
    4: LONG,
    5: (*LONG[:3], (0.0, 5.0), LONG[3]),
    6: ((-1.0, -4.0), (1.0, -4.0), (2.0, 0.0), (1.0, 4.0), (-1.0, 4.0), (-2.0, 0.0)),
}
LANES = (
    '<lane id="{id}" type="{type}" level="false"><link/><width sOffset="0" a="{width}" b="0" c="0" d="0"/>'
    '<roadMark sOffset="0" type="solid" weight="standard" color="white" width="0.12"/></lane>'
)


def street(*outlines: tuple, close: bool) -> str:
    """A foreign map: one street along x, 120 m, two driving lanes of 4 m, sidewalks of 2 m; crosswalks each 20 m."""
    objects = []
    for number, outline in enumerate(outlines):
        corners = "".join(
            f'<cornerLocal u="{u}" v="{v}" z="0.0" height="0.0"/>' for u, v in (*outline, *outline[: int(close)])
        )
        objects.append(
            f'<object type="crosswalk" id="{900 + number}" name="Zebra" s="{20.0 * (number + 1)}" t="0.0" zOffset="0" '
            f'hdg="0.0" pitch="0" roll="0" orientation="none"><outline>{corners}</outline></object>'
        )
    sides = {
        "left": [(2, "sidewalk", 2.0), (1, "driving", 4.0)],
        "right": [(-1, "driving", 4.0), (-2, "sidewalk", 2.0)],
    }
    lanes = {
        side: "".join(LANES.format(id=i, type=kind, width=width) for i, kind, width in rows)
        for side, rows in sides.items()
    }
    return (
        '<?xml version="1.0" standalone="yes"?><OpenDRIVE><header revMajor="1" revMinor="4" name="" version="1.00">'
        "<geoReference><![CDATA[+proj=tmerc +lat_0=48 +lon_0=11 +datum=WGS84]]></geoReference></header>"
        '<road name="High Street" length="120.0" id="17" junction="-1"><link/><planView>'
        '<geometry s="0.0" x="0.0" y="0.0" hdg="0.0" length="120.0"><line/></geometry></planView>'
        '<elevationProfile><elevation s="0" a="0" b="0" c="0" d="0"/></elevationProfile><lateralProfile/>'
        f'<lanes><laneSection s="0"><left>{lanes["left"]}</left><center>'
        '<lane id="0" type="none" level="false"><link/></lane></center>'
        f"<right>{lanes['right']}</right></laneSection></lanes><objects>{''.join(objects)}</objects></road></OpenDRIVE>"
    )


def rings_of(xodr: str) -> list[np.ndarray]:
    points = carla.Map("foreign", crosswalks.closed(xodr)).get_crosswalks()
    return crosswalks.rings(np.array([(p.x, p.y, p.z) for p in points], float).reshape(-1, 3))


def paint(town: Town, x: float) -> float:
    """Square metres of paint across the road within 3 m of a crosswalk at x; lane borders left out by their length."""
    mesh = town.mesh
    marks = mesh.triangles[(mesh.tags == Tag.ROAD_LINE) & (mesh.materials == Material.MARKING)]
    near = marks[(np.abs(marks[:, :, 0] - x) < 3.0).all(axis=1)]
    edges = near[:, 1:, :2] - near[:, :1, :2]
    return float(np.abs(edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]).sum() / 2)


@pytest.mark.parametrize("close", [True, False], ids=["closed", "open"])
@pytest.mark.parametrize("count", RINGS)
def test_an_outline_is_read_with_its_corners_and_no_more(count: int, close: bool) -> None:
    (ring,) = rings_of(street(RINGS[count], close=close))
    expected = np.array(RINGS[count]) * (1.0, -1.0) + (20.0, 0.0)  # CARLA's y points right
    np.testing.assert_allclose(ring[:, :2], expected, atol=1e-4)


def test_crosswalks_of_every_kind_on_one_map_are_told_apart() -> None:
    """The old reading took five points for each: 3 + 4 + 5 + 6 = 18 open corners are no multiple of it."""
    found = rings_of(street(*RINGS.values(), close=False))
    assert sorted(len(ring) for ring in found) == [3, 4, 5, 6]
    assert sorted(float(ring[:, 0].mean().round()) for ring in found) == [20.0, 40.0, 60.0, 80.0]


def test_half_of_every_crosswalk_is_painted_and_none_of_the_road_beside_it() -> None:
    town = load_opendrive("foreign", street(*RINGS.values(), close=False))
    for number, outline in enumerate(RINGS.values()):
        half = shapely.Polygon(outline).area / 2
        assert paint(town, 20.0 * (number + 1)) == pytest.approx(half, rel=0.1), f"{len(outline)} corners"


def test_walkers_may_cross_where_a_foreign_map_says_so() -> None:
    xodr = street(RINGS[6], close=False)
    floor = survey_navigation(xodr, ())
    zebras = [p for p, kind in zip(floor.polygons, floor.floors, strict=True) if kind == Floor.CROSSWALK]
    ground = shapely.union_all([shapely.Polygon(floor.xy[list(polygon)]) for polygon in zebras])
    assert ground.contains(shapely.Point(20.0, 0.0))
    assert not ground.contains(shapely.Point(24.0, 0.0))
    assert ground.area > shapely.Polygon(RINGS[6]).area


def test_a_map_whose_outlines_are_closed_stays_as_it_is() -> None:
    xodr = street(*RINGS.values(), close=True)
    assert crosswalks.closed(xodr) is xodr


def test_corners_that_are_given_twice_count_once() -> None:
    doubled = tuple(corner for corner in LONG for _ in (0, 1))
    (ring,) = rings_of(street(doubled, close=True))
    assert len(ring) == 4


def test_an_outline_without_area_is_left_out_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert [len(ring) for ring in rings_of(street(LONG[:2], LONG, close=True))] == [4]
    assert "2 different corners" in caplog.text


def test_a_corner_that_is_no_number_is_named() -> None:
    with pytest.raises(TownError, match=r"'u': 'wide'.*no place"):
        load_opendrive("foreign", street(LONG, close=False).replace('u="-1.5"', 'u="wide"', 1))


def test_a_crossed_outline_is_painted_all_the_same() -> None:
    bow = (LONG[0], LONG[2], LONG[1], LONG[3])
    town = load_opendrive("foreign", street(bow, close=False))
    assert 0.0 < paint(town, 20.0) < 12.0
    assert np.isfinite(town.mesh.triangles).all()


def test_the_text_stays_a_map_for_other_readers() -> None:
    root = ET.fromstring(crosswalks.closed(street(RINGS[5], close=False)))
    assert len(root.findall(".//outline/cornerLocal")) == 6
    assert root.findtext("header/geoReference").startswith("+proj")
