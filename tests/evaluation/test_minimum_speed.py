"""How the ego keeps up with the traffic, by Bench2Drive's checkpoints."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from autovla_core.evaluation.facts import LaneFact, Moment
from autovla_core.evaluation.judge import Judge
from autovla_core.evaluation.minimum_speed import KIND, MinimumSpeed, speed_share
from autovla_core.evaluation.route_track import RouteTrack
from autovla_core.evaluation.traffic import mean_speed
from autovla_core.scoring.closed_loop import RULES, score

SLOW = "Average speed is 62.5% of the surrounding traffic's one"


def track() -> RouteTrack:
    x = np.arange(101.0)
    return RouteTrack(np.stack([x, 0 * x, 0 * x], 1), 0 * x)


class OneLane:
    """Along the route, without an end."""

    def driving(self, position: np.ndarray) -> LaneFact:
        return LaneFact(0.0, 1.75, 1, -1, 0.0, False)

    nearest = driving

    def ahead(self, position: np.ndarray, count: int, step: float) -> np.ndarray:
        return np.stack([position[0] + step * np.arange(count + 1), np.zeros(count + 1)], 1)


def moments(until: float, speed: float = 5.0) -> list[Moment]:
    """Along the route at 20 Hz."""
    return [
        Moment(x / speed, np.array([x, 0.0, 0.0]), 0.0, speed, 11.0) for x in np.arange(0.0, until + 0.01, speed / 20)
    ]


def pace(until: float, others=lambda: 8.0) -> MinimumSpeed:
    criterion = MinimumSpeed(track(), others, checkpoints=4)
    for moment in moments(until):
        criterion.update(moment)
    return criterion


def test_the_ego_is_compared_with_the_traffic_at_even_checkpoints():
    """100 m in 4 parts, each passed when more than 25 m are behind: at 26, 52 and 78 m. 5 m/s of 8 are 62.5 %."""
    criterion = pace(60.0)
    assert [i.message for i in criterion.infractions] == [SLOW] * 2
    assert {i.kind for i in criterion.infractions} == {KIND} and not criterion.failure


def test_the_end_of_a_route_is_a_checkpoint_that_counts_twice():
    criterion = pace(99.5)
    assert len(criterion.infractions) == 3
    criterion.finish()
    assert [i.message for i in criterion.infractions] == [SLOW] * 5


@pytest.mark.parametrize(("until", "checkpoints"), [(95.0, 3), (96.5, 5)])
def test_only_a_drive_of_more_than_95_percent_has_that_checkpoint(until, checkpoints):
    criterion = pace(until)
    criterion.finish()
    assert len(criterion.infractions) == checkpoints


def test_nothing_to_compare_with_is_100_percent():
    assert speed_share([], [8.0]) == speed_share([9.0], [0.0]) == speed_share([9.0], []) == 100.0
    assert speed_share([2.0, 4.0], [9.0]) == 33.33
    assert [i.message[:25] for i in pace(30.0, lambda: None).infractions] == ["Average speed is 100.0% o"]


def test_the_traffic_is_what_is_left_of_it():
    def car(speed: float, alive: bool = True) -> SimpleNamespace:
        return SimpleNamespace(is_alive=alive, get_velocity=lambda: SimpleNamespace(length=lambda: speed))

    assert mean_speed([car(4.0), car(99.0, alive=False), car(6.0)]) == 5.0 and mean_speed([car(1.0, False)]) is None


def test_a_drive_with_checkpoints_is_completed_and_costs_nothing():
    judge = Judge(track(), OneLane())
    criterion = MinimumSpeed(track(), lambda: 8.0)
    judge.add(criterion, at_end=criterion.finish)
    for moment in moments(100.5):
        judge.update(moment)
        if judge.over:
            break
    before = len(judge.infractions)
    for _ in range(2):  # the second call changes nothing
        judge.finish()
        assert len(judge.infractions) == before + 2
    assert judge.over and judge.status == "Completed"
    assert [i.time_s for i in judge.infractions][-2:] == [judge.time_s] * 2
    assert all(score(100.0, judge.infractions, rule).composed == 100.0 for rule in RULES)
