"""Each criterion on drives that are simple enough to judge by hand."""

from __future__ import annotations

import numpy as np
import pytest

from autovla_core.evaluation.criteria import (
    ActorBlocked,
    Collision,
    CriteriaConfig,
    InRoute,
    OutsideRouteLanes,
    RouteCompletion,
    RouteTimeout,
    RunningRedLight,
    RunningStop,
)
from autovla_core.evaluation.facts import Contact, LaneFact, LightFact, Moment, SignFact, StopLine
from autovla_core.evaluation.judge import Judge
from autovla_core.evaluation.route_track import RouteTrack
from autovla_core.scoring.closed_loop import Infraction


def straight(length: int = 100) -> RouteTrack:
    x = np.arange(length + 1.0)
    return RouteTrack(np.stack([x, 0 * x, 0 * x], 1), 0 * x)


class OneRoad:
    """A 3.5 m lane eastwards along y = 0 and one westwards along y = 3.5."""

    junction = (1e9, 1e9)  # x from, to

    def driving(self, position: np.ndarray) -> LaneFact:
        here = position[1] < 1.75
        offset = abs(position[1] - (0.0 if here else 3.5))
        inside = self.junction[0] <= position[0] <= self.junction[1]
        return LaneFact(float(offset), 1.75, 1, -1 if here else 1, 0.0 if here else np.pi, inside)

    nearest = driving

    def ahead(self, position: np.ndarray, count: int, step: float) -> np.ndarray:
        return np.stack([position[0] + step * np.arange(count + 1), np.zeros(count + 1)], 1)


def at(x: float, y: float = 0.0, time_s: float = 0.0, speed: float = 8.0, yaw: float = 0.0, **more) -> Moment:
    return Moment(time_s, np.array([x, y, 0.0]), yaw, speed, 40 / 3.6, **more)


def drive(criterion, xs, **more):
    for i, x in enumerate(xs):
        criterion.update(at(x, time_s=0.05 * i, **more))
    return criterion


def test_completion_grows_with_the_points_passed_and_ends_near_the_last():
    completion = drive(RouteCompletion(straight()), np.arange(0.0, 50.6, 0.4))
    assert completion.percent == 50.0 and not completion.done
    drive(completion, np.arange(50.6, 99.6, 0.4))
    assert completion.percent == 99.0 and not completion.done
    drive(completion, [99.8, 100.2])
    assert completion.percent == 100.0 and completion.done


def test_a_jump_over_more_than_two_points_freezes_the_completion():
    completion = drive(RouteCompletion(straight()), [0.5, 10.5, 10.9])
    assert completion.percent == 4.0
    slow = drive(RouteCompletion(straight()), np.arange(0, 10.6, 0.4))
    assert slow.percent == 10.0


def test_thirty_metres_off_the_route_end_it():
    in_route = InRoute(straight(), CriteriaConfig())
    in_route.update(at(5.0, 29.0))
    assert not in_route.failure
    in_route.update(at(5.0, -30.5))
    assert in_route.failure == "Failed - Agent deviated from the route"
    assert in_route.infractions[0].message == "Agent deviated from the route at (x=5.0, y=30.5, z=0.0)"


def test_driving_a_third_of_the_route_far_from_it_ends_it():
    in_route = drive(InRoute(straight(), CriteriaConfig()), np.arange(0, 29), y=20.0)
    assert not in_route.failure
    drive(in_route, np.arange(29, 35), y=20.0)
    assert in_route.failure


@pytest.mark.parametrize(
    ("type_id", "kind"),
    [
        ("vehicle.tesla.model3", "collisions_vehicle"),
        ("walker.pedestrian.0001", "collisions_pedestrian"),
        ("static.building", "collisions_layout"),
        ("traffic.traffic_light", "collisions_layout"),
        ("static.sidewalk", ""),
    ],
)
def test_a_collision_is_filed_by_what_was_hit(type_id, kind):
    collision = Collision()
    collision.update(at(1.0, contacts=(Contact(0.0, 5, type_id),)))
    assert [i.kind for i in collision.infractions] == ([kind] if kind else [])


def test_one_crash_counts_once_and_a_later_one_again():
    collision = Collision()
    for i in range(40):
        collision.update(at(0.1 * i, time_s=0.05 * i, contacts=(Contact(0.05 * i, 5, "vehicle.a"),)))
    assert len(collision.infractions) == 1
    collision.update(at(6.0, time_s=3.0, contacts=(Contact(3.0, 5, "vehicle.a"),)))
    assert len(collision.infractions) == 1, "the same car within 5 s"
    collision.update(at(13.0, time_s=4.0, contacts=(Contact(4.0, 6, "vehicle.b"),)))
    assert len(collision.infractions) == 2


def test_being_hit_while_standing_is_not_held_against_the_driver():
    collision = Collision()
    collision.update(at(0.0, speed=0.0, contacts=(Contact(0.0, 5, "vehicle.a"),)))
    assert collision.infractions == []


def test_metres_beside_the_lane_are_counted_along_the_route():
    outside = OutsideRouteLanes(straight(), OneRoad())
    drive(outside, np.arange(0.2, 50, 0.5))
    assert outside.infractions == []
    drive(outside, np.arange(50.2, 61, 0.5), y=-2.5)
    (infraction,) = outside.infractions
    assert infraction.percentage == pytest.approx(100 * 11 / 60, abs=2)
    assert infraction.message.split()[8] == "11.000"


def test_driving_against_the_traffic_is_outside_the_lanes():
    outside = OutsideRouteLanes(straight(), OneRoad())
    drive(outside, np.arange(0.2, 20, 0.5))
    drive(outside, np.arange(20.2, 40, 0.5), y=3.5)
    drive(outside, np.arange(40.2, 60, 0.5))
    assert outside.infractions[0].percentage == pytest.approx(100 * 20 / 59, abs=2)


def test_lanes_are_not_checked_for_direction_inside_a_junction():
    road = OneRoad()
    road.junction = (20.0, 40.0)
    outside = OutsideRouteLanes(straight(), road)
    for xs, y in ((np.arange(0.2, 20, 0.5), 0.0), (np.arange(20.2, 39, 0.5), 3.5), (np.arange(39.2, 60, 0.5), 0.0)):
        drive(outside, xs, y=y)
    assert outside.infractions == []


LIGHT = LightFact(7, np.array([48.0, 0.0]), (StopLine(np.array([50.0, 0.0]), 0.0, 1.75, 1, -1),))


def test_a_red_light_is_run_when_the_rear_passes_the_line():
    red = RunningRedLight([LIGHT], OneRoad(), 2.45)
    drive(red, np.arange(40, 51.5, 0.4), red_lights=frozenset({7}))
    assert red.infractions == [], "only the front is over the line"
    drive(red, np.arange(51.5, 55, 0.4), red_lights=frozenset({7}))
    assert [i.kind for i in red.infractions] == ["red_light"]


def test_green_lights_and_oncoming_traffic_are_not_judged():
    green = drive(RunningRedLight([LIGHT], OneRoad(), 2.45), np.arange(40, 60, 0.4), red_lights=frozenset({8}))
    oncoming = RunningRedLight([LIGHT], OneRoad(), 2.45)
    drive(oncoming, np.arange(60, 40, -0.4), y=3.5, yaw=np.pi, red_lights=frozenset({7}))
    assert green.infractions == oncoming.infractions == []


SIGN = SignFact(3, np.array([50.0, 0.0, np.pi / 2]), np.array([1.5, 1.0]))


def test_passing_a_stop_sign_without_standing_still_is_an_infraction():
    stop = drive(RunningStop([SIGN], OneRoad()), np.arange(40, 60, 0.4))
    assert [i.kind for i in stop.infractions] == ["stop_infraction"]


def test_standing_still_at_the_sign_is_enough():
    stop = drive(RunningStop([SIGN], OneRoad()), np.arange(40, 48, 0.4))
    drive(stop, [48.0, 48.0], speed=0.02)
    drive(stop, np.arange(48, 60, 0.4))
    assert stop.infractions == []


def test_a_driver_who_stands_for_a_minute_is_blocked():
    blocked = ActorBlocked(CriteriaConfig())
    blocked.update(at(0.0, time_s=0.0, speed=0.0))
    blocked.update(at(0.0, time_s=60.0, speed=0.0))
    assert not blocked.failure
    blocked.update(at(0.0, time_s=60.1, speed=0.0))
    assert blocked.failure == "Failed - Agent got blocked"


def test_the_route_clock_is_wound_up_by_progress():
    timeout = RouteTimeout(straight(200))
    drive(timeout, np.arange(0.0, 100.6, 0.5))
    timeout.update(at(100.5, time_s=389.9))
    assert not timeout.failure, "300 s + 100 m at a tenth of 40 km/h = 390 s"
    timeout.update(at(100.5, time_s=390.1))
    assert timeout.failure == "Failed - Agent timed out"


def test_the_judge_calls_a_clean_drive_perfect_and_a_crash_completed():
    clean, crashed = Judge(straight(), OneRoad()), Judge(straight(), OneRoad())
    for i, x in enumerate(np.arange(0.0, 101.0, 0.4)):
        hit = (Contact(0.05 * i, 9, "static.pole"),) if i == 50 else ()
        clean.update(at(x, time_s=0.05 * i))
        crashed.update(at(x, time_s=0.05 * i, contacts=hit))
    assert clean.over and clean.status == "Perfect"
    assert crashed.over and crashed.status == "Completed" and len(crashed.infractions) == 1


def test_the_judge_ends_a_drive_after_four_thousand_ticks():
    judge = Judge(straight(), OneRoad())
    for i in range(4000):
        assert not judge.over
        judge.update(at(1.0 + (i % 3) * 1e-3, time_s=0.01 * i))
    assert judge.over and judge.status == "Failed - TickRuntime"


class Scripted:
    """A criterion that holds against the driver what a script says, by the second of the drive."""

    failure = ""

    def __init__(self, script: dict[float, list[Infraction]]) -> None:
        self._script = script
        self.infractions: list[Infraction] = []

    def update(self, moment: Moment) -> None:
        """The whole list of this second, or the one before."""
        self.infractions = self._script.get(moment.time_s, self.infractions)


def test_the_judge_says_when_each_infraction_appeared_even_if_its_text_changes_later():
    light, crash = Infraction("red_light", "a"), Infraction("collisions_layout", "b")
    lanes = [Infraction("outside_route_lanes", f"{m} m", m) for m in (1.0, 9.0)]
    judge = Judge(straight(), OneRoad())
    judge.add(Scripted({2.0: [lanes[0]], 5.0: [lanes[1]]}))
    judge.add(Scripted({3.0: [light], 4.0: [crash, light], 6.0: [crash, light, light]}))
    for second in range(8):
        judge.update(at(10.0, time_s=float(second)))
    found = [(i.kind, i.message, i.time_s) for i in judge.infractions]
    assert found == [
        ("outside_route_lanes", "9.0 m", 2.0),
        ("collisions_layout", "b", 4.0),
        ("red_light", "a", 3.0),
        ("red_light", "a", 6.0),
    ]
    assert judge.time_s == 7.0
