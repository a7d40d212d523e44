"""The leaderboard's route XML, read and written; a mistake names its line.

Positions are CARLA's: left-handed metres.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element
from xml.parsers import expat

from autovla_core.errors import RouteError

WEATHER_FIELDS = (
    "cloudiness",
    "precipitation",
    "precipitation_deposits",
    "wind_intensity",
    "sun_azimuth_angle",
    "sun_altitude_angle",
    "fog_density",
    "fog_distance",
    "fog_falloff",
    "wetness",
    "scattering_intensity",
    "mie_scattering_scale",
    "rayleigh_scattering_scale",
    "dust_storm",
)
DEFAULT_WEATHER: Mapping[str, float] = {"sun_altitude_angle": 70.0, "cloudiness": 50.0}  # of a route that names none


@dataclass(frozen=True)
class Scenario:
    """A scenario that the file asks for."""

    name: str
    type: str
    carla_trigger: tuple[float, float, float, float]  # x, y, z m, yaw deg
    parameters: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Route:
    """One route: where to drive, in which weather."""

    id: str
    town: str
    carla_points: tuple[tuple[float, float, float], ...]  # m; at least two
    weathers: tuple[tuple[float, Mapping[str, float]], ...] = ()  # (percent of the route, fields by name)
    scenarios: tuple[Scenario, ...] = ()

    @property
    def weather(self) -> Mapping[str, float]:
        """Weather at the start."""
        return self.weathers[0][1] if self.weathers else DEFAULT_WEATHER


def read_routes(file: str | Path) -> list[Route]:
    """Read every route of a file, in its order.

    Raises:
        RouteError: no such file, bad XML, a missing or unreadable attribute, a route with fewer than
            two points, or two routes with one id; the message names file and line.
    """
    file = Path(file)
    try:
        text = file.read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError, UnicodeDecodeError) as error:
        raise RouteError(f"cannot read the route file {file}: {error}") from None
    tree = _Tree(file, text)
    if tree.root.tag != "routes":
        raise tree.error(tree.root, "expected <routes> at the top")
    routes = [_route(tree, element) for element in tree.root if tree.is_a(element, "route")]
    seen: dict[str, Element] = {}
    for route, element in zip(routes, tree.root):
        if route.id in seen:
            raise tree.error(element, f"route id {route.id!r} is taken by line {tree.lines[seen[route.id]]}")
        seen[route.id] = element
    if not routes:
        raise tree.error(tree.root, "expected at least one <route>")
    return routes


def write_routes(file: str | Path, routes: Sequence[Route]) -> None:
    """Write routes so that ``read_routes`` gives them back; positions to 1 mm."""
    root = Element("routes")
    for route in routes:
        root.append(_route_element(route))
    ElementTree.indent(root, "  ")
    Path(file).write_text(ElementTree.tostring(root, encoding="unicode") + "\n", encoding="utf-8")


class _Tree:
    """Elements with the lines that they start on."""

    def __init__(self, file: Path, text: str) -> None:
        self.file = file
        self.lines: dict[Element, int] = {}
        builder = ElementTree.TreeBuilder()
        parser = expat.ParserCreate()

        def start(tag: str, attributes: dict[str, str]) -> None:
            self.lines[builder.start(tag, attributes)] = parser.CurrentLineNumber

        parser.StartElementHandler = start
        parser.EndElementHandler = builder.end
        parser.CharacterDataHandler = builder.data
        try:
            parser.Parse(text, True)
        except expat.ExpatError as error:
            raise RouteError(f"{file} is not XML: {error}") from None
        self.root: Element = builder.close()

    def error(self, element: Element, message: str) -> RouteError:
        return RouteError(f"{self.file}:{self.lines[element]}: <{element.tag}>: {message}")

    def is_a(self, element: Element, tag: str) -> bool:
        if element.tag != tag:
            raise self.error(element, f"expected <{tag}> here")
        return True

    def text(self, element: Element, name: str) -> str:
        value = element.get(name)
        if not value:
            raise self.error(element, f"attribute {name!r} is missing; found {sorted(element.attrib)}")
        return value

    def number(self, element: Element, name: str) -> float:
        value = self.text(element, name)
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise self.error(element, f"attribute {name}={value!r} is not a finite number")
        return number

    def children(self, element: Element, group: str, tag: str) -> list[Element]:
        """Elements ``<tag>`` inside the child ``<group>``; empty when there is no such child."""
        found = element.find(group)
        return [] if found is None else [child for child in found if self.is_a(child, tag)]


def _route(tree: _Tree, element: Element) -> Route:
    points = tuple(
        (tree.number(p, "x"), tree.number(p, "y"), tree.number(p, "z"))
        for p in tree.children(element, "waypoints", "position")
    )
    if len(points) < 2:
        raise tree.error(element, f"found {len(points)} <position> in <waypoints>, expected at least two")
    weathers = tuple(_weather(tree, w) for w in tree.children(element, "weathers", "weather"))
    scenarios = tuple(_scenario(tree, s) for s in tree.children(element, "scenarios", "scenario"))
    return Route(tree.text(element, "id"), tree.text(element, "town"), points, weathers, scenarios)


def _weather(tree: _Tree, element: Element) -> tuple[float, Mapping[str, float]]:
    unknown = sorted(set(element.attrib) - {*WEATHER_FIELDS, "route_percentage"})
    if unknown:
        raise tree.error(element, f"unknown attributes {unknown}; known: {', '.join(WEATHER_FIELDS)}")
    fields = {name: tree.number(element, name) for name in element.attrib if name != "route_percentage"}
    return tree.number(element, "route_percentage"), fields


def _scenario(tree: _Tree, element: Element) -> Scenario:
    trigger = element.find("trigger_point")
    if trigger is None:
        raise tree.error(element, "<trigger_point> is missing")
    pose = tuple(tree.number(trigger, name) for name in ("x", "y", "z", "yaw"))
    others = {child.tag: dict(child.attrib) for child in element if child is not trigger}
    return Scenario(tree.text(element, "name"), tree.text(element, "type"), pose, others)


def _route_element(route: Route) -> Element:
    element = Element("route", id=route.id, town=route.town)
    waypoints = ElementTree.SubElement(element, "waypoints")
    for point in route.carla_points:
        ElementTree.SubElement(waypoints, "position", {k: f"{v:.3f}" for k, v in zip("xyz", point)})
    scenarios = ElementTree.SubElement(element, "scenarios")
    for scenario in route.scenarios:
        child = ElementTree.SubElement(scenarios, "scenario", name=scenario.name, type=scenario.type)
        for tag, attributes in scenario.parameters.items():
            ElementTree.SubElement(child, tag, dict(attributes))
        pose = dict(zip(("x", "y", "z", "yaw"), map(_plain, scenario.carla_trigger)))
        ElementTree.SubElement(child, "trigger_point", pose)
    weathers = ElementTree.SubElement(element, "weathers")
    for percentage, fields in route.weathers:
        values = {name: _plain(value) for name, value in fields.items()}
        ElementTree.SubElement(weathers, "weather", {"route_percentage": _plain(percentage), **values})
    return element


def _plain(value: float) -> str:
    return f"{value:g}" if float(f"{value:g}") == value else repr(float(value))
