"""Futures of a few seconds, judged on a road that is simple enough to judge by hand."""

from __future__ import annotations

import numpy as np
import pytest

from autovla_core.evaluation.facts import Contact, LaneFact, LightFact, Moment, StopLine
from autovla_core.evaluation.foresight import Ahead, Future, along, comfort, terms
from autovla_core.evaluation.route_track import RouteTrack

TICK_S, TICKS = 0.05, 100


class OneLane:
    """A 3.5 m lane eastwards along y = 0, and nothing beside it."""

    def driving(self, position: np.ndarray) -> LaneFact:
        return LaneFact(float(abs(position[1])), 1.75, 1, -1, 0.0, False)

    nearest = driving

    def ahead(self, position: np.ndarray, count: int, step: float) -> np.ndarray:
        return np.stack([position[0] + step * np.arange(count + 1), np.zeros(count + 1)], 1)


LIGHT = LightFact(7, np.array([30.0, 0.0]), (StopLine(np.array([30.0, 0.0]), 0.0, 1.75, 1, -1),))


def road(length: int = 300) -> RouteTrack:
    x = np.arange(length + 1.0)
    return RouteTrack(np.stack([x, 0 * x, 0 * x], 1), 0 * x)


def future(speed: float, y: float = 0.0, red: bool = False, hit: int | None = None) -> Future:
    """Five seconds at one speed along the lane, from 10 m on; at tick ``hit`` a car is touched."""
    moments = [
        Moment(
            TICK_S * i,
            np.array([10.0 + speed * TICK_S * i, y, 0.0]),
            0.0,
            speed,
            10.0,
            frozenset({7} if red else ()),
            (Contact(TICK_S * i, 5, "vehicle.tesla.model3"),) if i == hit else (),
        )
        for i in range(TICKS + 1)
    ]
    return Ahead(OneLane(), [LIGHT], [], 2.45).judge(along(road(), 10.0, 5.0), tuple(moments))


def test_distance_is_counted_in_parts_of_a_metre() -> None:
    assert future(6.5).distance == pytest.approx(32.5, abs=1e-6)
    assert future(0.0).distance == pytest.approx(0.0, abs=1e-6)


def test_who_drives_as_the_expert_earns_all_and_who_is_half_as_fast_half() -> None:
    expert = future(8.0)
    assert terms(expert, expert)["driven"] == pytest.approx(1.0)
    assert terms(future(4.0), expert)["driven"] == pytest.approx(0.5, abs=1e-6)
    assert terms(future(12.0), expert)["driven"] == 1.0, "faster earns no more"


def test_a_car_that_stands_earns_nothing_where_the_expert_drives_and_all_where_he_stands() -> None:
    assert terms(future(0.0), future(8.0))["driven"] == pytest.approx(0.0)
    assert terms(future(0.0), future(0.0))["driven"] == 1.0
    moved = terms(future(2.0), future(0.0))  # 10 m, of which 3 are free and 10 cost all
    assert moved["along"] == pytest.approx(0.3, abs=1e-6)


def test_a_collision_earns_nothing_however_far_it_went() -> None:
    found = terms(future(8.0, hit=40), future(8.0))
    assert found["collision_free"] == found["driven"] == 0.0 and found["along"] == pytest.approx(1.0)


def test_a_red_light_that_is_run_earns_nothing_and_one_that_is_green_costs_nothing() -> None:
    expert = future(8.0)
    assert terms(future(8.0, red=True), expert)["lights_kept"] == 0.0
    assert terms(future(8.0, red=True), expert)["driven"] == 0.0
    assert terms(expert, expert)["lights_kept"] == 1.0


def test_metres_beside_the_lane_are_taken_off() -> None:
    found = terms(future(8.0, y=2.5), future(8.0))  # half width 1.75 m and 0.5 m of tolerance
    assert found["on_lanes"] == pytest.approx(0.0, abs=0.01) and found["driven"] < 0.01
    assert terms(future(8.0, y=2.0), future(8.0))["on_lanes"] == 1.0


def test_comfort_is_the_share_of_time_without_a_hard_pull() -> None:
    calm = future(8.0)
    moments = list(calm.moments)
    for i in range(51, len(moments)):  # from 8 to 6.5 m/s in one tick: 6 m/s2 over a quarter of a second
        moments[i] = Moment(moments[i].time_s, moments[i].position, 0.0, 6.5, 10.0)
    hard = Future(tuple(moments), calm.distance, 0.0, frozenset(), TICK_S)
    assert comfort(calm) == 1.0 and comfort(hard) == pytest.approx(1.0 - 5 / 96)


def test_a_piece_of_the_route_reaches_as_far_as_a_future_may_and_holds_two_points_at_its_end() -> None:
    piece = along(road(), 10.0, 5.0)
    assert piece.points[0, 0] == 10.0 and 10.0 + 5.0 * 35.0 <= piece.points[-1, 0] <= 220.0
    assert len(along(road(), 300.0, 5.0).points) == 2
