"""Streams of cars at junctions and merges that do not brake for the ego, and those who take its right of way.

Source of the lay-outs: Bench2Drive's scenario definitions (facts only), some intervals widened. Speeds that a route
file does not name are drawn as shares of the ego's speed limit, so that they fit a street as well as a motorway.
"""

from __future__ import annotations

from autovla_core.evaluation.scenarios.junctions import Lights, junction_of, way_line, way_of
from autovla_core.evaluation.scenarios.movers import Flow
from autovla_core.evaluation.scenarios.road import Span
from autovla_core.evaluation.scenarios.setting import Script, Setting

EGO_GREEN_AFTER_S = 5.0
EGO_RED_S = 9.0  # from the trigger: long enough that the ego comes to the line on red
SOURCE_S, SINK_S = 5.0, 3.0  # how far before and after the junction a flow begins and ends, in seconds of its driving
LEAVE_M = 20.0  # beyond the junction the scenario is over
EMERGENCY_MPS = 60.0 / 3.6
Bounds = tuple[float, float]


def signalized_junction_left_turn(setting: Setting) -> Script:
    """Turn left across oncoming traffic while both have green."""
    yield from _turn_through(setting, "opposite", "straight", (0.65, 0.8), (15.0, 38.0), signals=("own", "opposite"))


def non_signalized_junction_left_turn(setting: Setting) -> Script:
    """Turn left across oncoming traffic."""
    yield from _turn_through(setting, "opposite", "straight", (0.6, 0.8), (15.0, 39.0))


def signalized_junction_right_turn(setting: Setting) -> Script:
    """Turn right into a road on which cars come from the left."""
    yield from _turn_through(setting, "left", "straight", (0.6, 0.8), (19.0, 38.0), signals=("own", "left"))


def non_signalized_junction_right_turn(setting: Setting) -> Script:
    """Turn right into a road on which cars come from the left."""
    yield from _turn_through(setting, "left", "straight", (0.6, 0.8), (16.0, 30.0))


def signalized_junction_left_turn_enter_flow(setting: Setting) -> Script:
    """Turn left into the road into which oncoming cars turn right."""
    yield from _turn_through(setting, "opposite", "right", (0.5, 0.6), (16.0, 28.0), signals=("own", "opposite"))


def non_signalized_junction_left_turn_enter_flow(setting: Setting) -> Script:
    """Turn left into the road into which oncoming cars turn right."""
    yield from _turn_through(setting, "opposite", "right", (0.5, 0.6), (15.0, 30.0))


def enter_actor_flow(setting: Setting) -> Script:
    """Join a fast stream that comes from the left."""
    yield from _turn_through(setting, "left", "straight", (0.75, 0.95), (17.0, 39.0))


def merger_into_slow_traffic(setting: Setting) -> Script:
    """Join a slow, dense stream that comes from the left."""
    yield from _turn_through(setting, "left", "straight", (0.5, 0.6), (14.0, 33.0))


def interurban_actor_flow(setting: Setting) -> Script:
    """Turn left across fast oncoming traffic with large gaps."""
    yield from _turn_through(setting, "opposite", "straight", (0.9, 1.0), (42.0, 98.0))


def interurban_advanced_actor_flow(setting: Setting) -> Script:
    """Turn left across a near stream and into a far one."""
    span = junction_of(setting)
    yield from setting.until_triggered()
    flows = [_flow(setting, span, arm, "straight", (0.8, 0.95), (36.0, 94.0)) for arm in ("left", "right")]
    yield from setting.until_passed(span.end + LEAVE_M)
    for flow in flows:
        flow.close()
    yield from setting.wait(SINK_S + SOURCE_S)


def opposite_vehicle_running_red_light(setting: Setting) -> Script:
    """An emergency vehicle runs its red light while the ego has green."""
    yield from _right_of_way_taken(setting, ("own",))


def opposite_vehicle_taking_priority(setting: Setting) -> Script:
    """An emergency vehicle takes the ego's right of way."""
    yield from _right_of_way_taken(setting, None)


def plain_turn(setting: Setting) -> Script:
    """Nobody comes: the junction's own rules are the task."""
    span = junction_of(setting)
    yield from setting.until_triggered()
    yield from setting.until_passed(span.end + LEAVE_M)


def turn_on_green(setting: Setting) -> Script:
    """The ego's light is green."""
    yield from _lights_change(setting, red_s=0.0)


def turn_on_red(setting: Setting) -> Script:
    """The ego's light is red until the ego has come to it, then green."""
    yield from _lights_change(setting, red_s=EGO_RED_S)


def _turn_through(
    setting: Setting, arm: str, turn: str, share: Bounds, gaps_m: Bounds, signals: tuple[str, ...] = ()
) -> Script:
    """A flow from an arm while the ego turns; with ``signals`` the flow's light is green at once, the ego's later."""
    span = junction_of(setting)
    way_of(setting, span, arm, turn)
    with Lights(setting, span, used=bool(signals)) as lights:
        yield from setting.until_triggered()
        lights.show([signal for signal in signals if signal != "own"])
        flow = _flow(setting, span, arm, turn, share, gaps_m)
        if signals:
            yield from setting.wait(EGO_GREEN_AFTER_S)
        lights.show(signals)
        yield from setting.until_passed(span.end + LEAVE_M)
    flow.close()
    yield from setting.wait(SINK_S + SOURCE_S)


def _flow(setting: Setting, span: Span, arm: str, turn: str, share: Bounds, gaps_m: Bounds) -> Flow:
    limit = setting.ego.speed_limit
    speed = setting.number("flow_speed", share[0] * limit, share[1] * limit)
    gaps = setting.interval("source_dist_interval", *gaps_m)
    line = way_line(way_of(setting, span, arm, turn), SOURCE_S * speed, SINK_S * speed)
    return setting.stage.flow(line, speed, gaps)


def _right_of_way_taken(setting: Setting, green: tuple[str, ...] | None) -> Script:
    span = junction_of(setting)
    arm = setting.word("direction", "right")
    way = way_of(setting, span, arm, "straight")
    line = way_line(way, 30.0, 60.0)
    setting.stage.keep_clear(line.points)
    engine = setting.stage.parked(line.start, "emergency")
    setting.require(engine, "the emergency vehicle")
    with Lights(setting, span, used=green is not None) as lights:
        yield from setting.until_triggered()
        lights.show(green or ())
        yield from setting.until_near(0.5 * (span.begin + span.end), 3.6, 12.0)
        mover = setting.stage.drive(engine, line.points, EMERGENCY_MPS)
        mover.start_at(0.6 * EMERGENCY_MPS)
        while not mover.done:
            yield
        setting.stage.remove(engine)
        yield from setting.until_passed(span.end)


def _lights_change(setting: Setting, red_s: float) -> Script:
    span = junction_of(setting)
    with Lights(setting, span) as lights:
        yield from setting.until_triggered()
        lights.show(())
        yield from setting.wait(red_s)
        lights.show(("own",))
        yield from setting.until_passed(span.end)
