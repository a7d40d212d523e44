"""The arms of the junction that the ego comes to, the ways of others through it, and its lights."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from autovla_core import frames, geometry
from autovla_core.carla_bridge.room import walk
from autovla_core.carla_bridge.wheel import carla
from autovla_core.evaluation.scenarios.road import Line, Span, line_of
from autovla_core.evaluation.scenarios.setting import NoPlace, Setting

STRAIGHT_RAD = math.radians(35.0)
ARMS = {"own": 0.0, "right": math.pi / 2, "opposite": math.pi, "left": -math.pi / 2}  # heading against the ego's


@dataclass(frozen=True)
class Way:
    """One lane through the junction."""

    arm: str  # of ``ARMS``: where it comes from, as the ego sees it
    turn: str  # left, straight, right
    entry: carla.Waypoint
    exit: carla.Waypoint


def junction_of(setting: Setting) -> Span:
    """The junction behind the trigger.

    Raises:
        NoPlace: there is none on the route.
    """
    span = setting.road.junction_after(setting.trigger_s)
    if span is None:
        raise NoPlace(f"{setting.name}: no junction behind the trigger")
    return span


def ways(setting: Setting, span: Span) -> list[Way]:
    """All ways through a junction."""
    junction = setting.road.waypoint(0.5 * (span.begin + span.end)).get_junction()
    if junction is None:
        raise NoPlace(f"{setting.name}: the map knows no junction at {span.begin:.0f} m")
    own = setting.road.spot(span.begin - 1.0).yaw
    found = []
    for entry, exit in junction.get_waypoints(carla.LaneType.Driving):
        came, goes = (frames.yaw_from_carla(w.transform.rotation.yaw) for w in (entry, exit))
        found.append(Way(arm_of(came - own), turn_name(goes - came), entry, exit))
    return found


def way_of(setting: Setting, span: Span, arm: str, turn: str) -> Way:
    """The way from an arm that turns so; the first of several lanes.

    Raises:
        NoPlace: the junction has none.
    """
    fitting = [way for way in ways(setting, span) if way.arm == arm and way.turn == turn]
    if not fitting:
        raise NoPlace(f"{setting.name}: nobody can come from the {arm} side and go {turn}")
    return fitting[0]


def way_line(way: Way, before_m: float, after_m: float) -> Line:
    """The way with its approach and what follows it."""
    approach = walk(way.entry, before_m, forward=False)[::-1]
    through = [way.entry, *way.entry.next_until_lane_end(1.0)]
    return line_of([*approach, *through, *walk(way.exit, after_m, forward=True)])


def arm_of(turned: float) -> str:
    """Which arm somebody comes from who heads ``turned`` rad (counter-clockwise) against the ego."""
    return min(ARMS, key=lambda arm: abs(geometry.wrap_angle(turned - ARMS[arm])))


def turn_name(turned: float) -> str:
    """left, straight or right of a change of heading (rad, counter-clockwise)."""
    angle = float(geometry.wrap_angle(turned))
    if abs(angle) < STRAIGHT_RAD:
        return "straight"
    return "left" if angle > 0.0 else "right"


class Lights:
    """A context: the lights of a junction, held as a scenario needs them, let go at its end.

    Without lights, or when they are not ``used``, it does nothing.
    """

    def __init__(self, setting: Setting, span: Span, used: bool = True) -> None:
        junction = setting.road.waypoint(0.5 * (span.begin + span.end)).get_junction() if used else None
        own = setting.road.spot(span.begin - 1.0).yaw
        lights = setting.stage.world.get_traffic_lights_in_junction(junction.id) if junction else []
        self._lights = [(light, _arm_of_light(light, own)) for light in lights]

    def __enter__(self) -> Lights:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def show(self, green: Collection[str]) -> None:
        """Green for these arms, red for all others, until ``release``."""
        for light, arm in self._lights:
            light.set_state(carla.TrafficLightState.Green if arm in green else carla.TrafficLightState.Red)
        for light, _ in self._lights[:1]:
            light.freeze(True)

    def release(self) -> None:
        """Let them go on by themselves."""
        for light, _ in self._lights[:1]:
            light.freeze(False)
            light.reset_group()


def _arm_of_light(light: carla.TrafficLight, own_yaw: float) -> str:
    stops = light.get_stop_waypoints()
    if not stops:
        return ""
    return arm_of(frames.yaw_from_carla(stops[0].transform.rotation.yaw) - own_yaw)
