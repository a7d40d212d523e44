"""Drives that branch, with the real client: the same futures again, a wall in the way, and a drive left as it was."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from autovla_core.carla_bridge.route_planner import LaneGraph
from autovla_core.carla_bridge.saved_states import SavedStates
from autovla_core.contracts import Observation, Plan
from autovla_core.errors import RouteError
from autovla_core.evaluation.branching import BranchingConfig, BranchingPilot, Crossing, Looker
from autovla_core.evaluation.episode import EpisodeConfig, run_episode
from autovla_core.evaluation.evaluator import simulator
from autovla_core.evaluation.forks import Forks
from autovla_core.evaluation.route_generator import RouteStyle, random_route
from autovla_core.evaluation.watching import TickFacts, Watcher
from autovla_core.evaluation.weathers import preset
from autovla_core.sensing.rig import rig

pytestmark = pytest.mark.xdist_group("forks")

CONFIG = BranchingConfig(seconds=3.0, first_s=2.0, every_s=1.5, most=3)
EPISODE = EpisodeConfig(traffic=8, agent_timeout_s=0.0)
SWAY = np.array([0.0, 1.5, -1.5, 0.0])  # m to the left after 5 s


@pytest.fixture(scope="module")
def there():
    with simulator(threads=1) as there:
        yield there


@pytest.fixture(scope="module")
def route(there):
    graph, style = LaneGraph(there.session.map), RouteStyle(120.0, 220.0, turns=1)
    return random_route(graph, there.session.map, np.random.default_rng(4), "fork", preset("ClearNoon"), style)[0]


class Trace(Watcher):
    """Where the ego was, what was pressed and what the camera saw, at every tick."""

    def __init__(self) -> None:
        self.rows: list[tuple[float, ...]] = []
        self.pictures: list[bytes] = []

    def tick(self, facts: TickFacts) -> None:
        moment, control = facts.moment, facts.control
        assert not moment.contacts, "what was touched in a fork is not touched in the drive"
        self.rows.append((moment.time_s, *moment.position, moment.yaw, control.steer, control.throttle, control.brake))
        if "front" in facts.input_data:
            self.pictures.append(facts.input_data["front"][1].tobytes())


def along_the_route(seen: Observation, speed: float = 6.0, left_m: float = 0.0) -> Plan:
    """A plan along the points of the route at one speed, swaying to the left."""
    points = np.vstack([np.zeros(2), seen.route])
    s = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    at = 0.5 * speed * np.arange(1, 11)
    xy = np.stack([np.interp(at, s, points[:, k]) for k in (0, 1)], 1)
    xy[:, 1] += left_m * np.arange(1, 11) / 10.0
    yaw = np.arctan2(*np.diff(np.vstack([np.zeros(2), xy]), axis=0).T[::-1])
    return Plan(np.column_stack([xy, yaw]), seen.time_s, seen.time_s)


def driven(there, route, decide: Callable[[Crossing], Plan] | None) -> Trace:
    with SavedStates(there.host, there.port) as states:
        pilot = BranchingPilot(rig("front"), states, CONFIG, along_the_route, decide)
        trace = Trace()
        run_episode(there.session, route, pilot, "", 3, config=EPISODE, subscribers=[trace, Looker(pilot)])
    if pilot.failure is not None:
        raise pilot.failure
    return trace


def test_a_drive_that_branches_is_the_drive_that_does_not_and_its_futures_repeat(there, route) -> None:
    scores: list[bytes] = []

    def decide(crossing: Crossing) -> Plan:
        plans = [along_the_route(crossing.observation, 6.0, left).poses for left in SWAY]
        found = crossing.try_out(np.stack(plans))
        assert np.array_equal(crossing.known, np.arange(10) < 6), "three seconds of the expert"
        for values in found.values():
            assert values[0] == values[3], "the same plan has the same future, whatever was tried out between"
        again = crossing.try_out(np.stack(plans))
        assert all(np.array_equal(found[name], again[name]) for name in found)
        scores.append(b"".join(values.tobytes() for values in found.values()))
        return along_the_route(crossing.observation)

    plain = driven(there, route, None)
    first = driven(there, route, decide)
    assert len(first.rows) > 40 and first.rows == plain.rows
    assert first.pictures == plain.pictures
    mine, scores = scores, []
    second = driven(there, route, decide)
    assert len(mine) == 3 and scores == mine and second.rows == first.rows


def test_a_plan_off_the_road_into_a_wall_earns_less_than_one_along_the_route(there, route) -> None:
    found: list[dict[str, np.ndarray]] = []

    def decide(crossing: Crossing) -> Plan:
        straight = along_the_route(crossing.observation)
        wall = straight.poses.copy()
        wall[:, 1] -= 1.2 * np.arange(1, 11)
        standing = np.zeros((10, 3))
        found.append(dict(crossing.try_out(np.stack([straight.poses, wall, standing]))))
        return straight

    driven(there, route, decide)
    for each in found:
        good, off, standing = each["driven"]
        assert off < good and standing < good, each
        assert each["on_lanes"][1] < 1.0 or each["collision_free"][1] == 0.0
        assert all(np.all((values >= 0.0) & (values <= 1.0)) for values in each.values())


def test_a_route_with_scenarios_is_refused() -> None:
    class Staged:
        class route:
            id, scenarios = "9", ("one",)

    with pytest.raises(RouteError, match="route 9 has scenarios, whose actors would stand in a fork"):
        Forks(Staged(), None, 5.0)  # type: ignore[arg-type]
