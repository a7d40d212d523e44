"""Route files of the leaderboard: read, written back, and criticised by line."""

from __future__ import annotations

import pytest

from autovla_core.errors import RouteError
from autovla_core.evaluation.route_file import DEFAULT_WEATHER, Route, Scenario, read_routes, write_routes

TEXT = """<routes>
  <route id="1833" town="Town12" road_id="3">
    <waypoints>
      <position x="2813.3" y="4250.2" z="360.2"/>
      <position x="2815.0" y="4252.2" z="360.2"/>
    </waypoints>
    <scenarios>
      <scenario name="ConstructionObstacleTwoWays_1" type="ConstructionObstacleTwoWays">
        <distance value="45"/> <frequency from="66" to="129"/>
        <trigger_point x="2817.3" y="4290.1" z="360.4" yaw="99.4"/>
      </scenario>
    </scenarios>
    <weathers>
      <weather route_percentage="0" cloudiness="5.0" fog_density="2.0"/>
      <weather route_percentage="100" cloudiness="15.0"/>
    </weathers>
  </route>
</routes>
"""


def parse(tmp_path, text: str) -> list[Route]:
    (tmp_path / "routes.xml").write_text(text)
    return read_routes(tmp_path / "routes.xml")


def test_a_bench2drive_route_is_read_whole(tmp_path):
    (route,) = parse(tmp_path, TEXT)
    assert (route.id, route.town) == ("1833", "Town12")
    assert route.carla_points == ((2813.3, 4250.2, 360.2), (2815.0, 4252.2, 360.2))
    assert route.weather == {"cloudiness": 5.0, "fog_density": 2.0}
    scenario = route.scenarios[0]
    assert scenario.carla_trigger == (2817.3, 4290.1, 360.4, 99.4)
    assert scenario.parameters == {"distance": {"value": "45"}, "frequency": {"from": "66", "to": "129"}}


def test_what_is_written_reads_back_the_same(tmp_path):
    weather = ((0.0, {"cloudiness": 12.3456789, "sun_altitude_angle": -5.0}),)
    scenario = Scenario("A_1", "A", (1.0, 2.5, 0.0, 90.0), {"distance": {"value": "45"}})
    routes = [Route("a", "Havenbrook", ((1.0, -2.25, 0.0), (3.0, 4.0, 0.5)), weather, (scenario,))]
    write_routes(tmp_path / "out.xml", routes)
    assert read_routes(tmp_path / "out.xml") == routes


def test_a_route_without_weather_has_the_leaderboards_default(tmp_path):
    start, end = TEXT.index("    <weathers>"), TEXT.index("  </route>")
    assert parse(tmp_path, TEXT[:start] + TEXT[end:])[0].weather == DEFAULT_WEATHER


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('x="2815.0" ', "", r"routes.xml:5: <position>: attribute 'x' is missing; found \['y', 'z'\]"),
        ('y="4252.2"', 'y="east"', r":5: <position>: attribute y='east' is not a finite number"),
        ('y="4252.2"', 'y="nan"', r":5: <position>: attribute y='nan' is not a finite number"),
        ('<position x="2815.0" y="4252.2" z="360.2"/>', "", r":2: <route>: found 1 <position>"),
        ('cloudiness="15.0"', 'clouds="15.0"', r":15: <weather>: unknown attributes \['clouds'\]"),
        (' route_percentage="100"', "", r":15: <weather>: attribute 'route_percentage' is missing"),
        ("trigger_point", "trigger", r":8: <scenario>: <trigger_point> is missing"),
        ('id="1833" ', "", r":2: <route>: attribute 'id' is missing"),
        ("</routes>", "", r"is not XML: no element found"),
        ("<waypoints>", "<waypoints><point/>", r":3: <point>: expected <position> here"),
    ],
)
def test_a_mistake_is_named_by_line_and_element(tmp_path, old, new, message):
    with pytest.raises(RouteError, match=message):
        parse(tmp_path, TEXT.replace(old, new, 1))


def test_one_id_twice_is_refused(tmp_path):
    route = TEXT.removeprefix("<routes>\n").removesuffix("</routes>\n")
    with pytest.raises(RouteError, match=r":18: <route>: route id '1833' is taken by line 2"):
        parse(tmp_path, f"<routes>\n{route}{route}</routes>\n")


def test_files_that_are_no_routes_are_refused(tmp_path):
    with pytest.raises(RouteError, match="cannot read the route file"):
        read_routes(tmp_path / "nowhere.xml")
    with pytest.raises(RouteError, match="expected <routes> at the top"):
        parse(tmp_path, "<html/>")
    with pytest.raises(RouteError, match="at least one <route>"):
        parse(tmp_path, "<routes/>")
