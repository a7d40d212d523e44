"""What the expert on the episode's own connection learns of a kick at the wheel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autovla_core.contracts import Control, Scene
from autovla_core.evaluation.facts import Moment
from autovla_core.evaluation.recording import ExpertPilot
from autovla_core.evaluation.watching import TickFacts
from autovla_core.expert.expert import Expert
from autovla_core.route.plan import from_poses

ROAD = from_poses(np.array([(x, 0.0, 0.0) for x in np.arange(0.0, 120.0)]), [4] * 120)
SCENE = Scene(0.0, np.array([5.0, 0.0, 0.0]), 6.0, 0.0, 4.9, 2.13, 11.0, (), ())


def plan_after(steer: float, kicked: bool) -> np.ndarray:
    """Poses of the plan that follows a tick in which ``steer`` was applied."""
    pilot = ExpertPilot()
    pilot.expert = Expert(ROAD)
    pilot.expert.step(SCENE)
    moment = Moment(0.0, np.zeros(3), 0.0, 6.0, 11.0)
    pilot.tick(TickFacts(0, moment, Control(steer, 0.0, 0.0), kicked, {}))
    return pilot.expert.step(replace(SCENE, time_s=1.0)).plan.poses


def test_a_plan_begins_with_the_curvature_that_a_kick_gave_the_car() -> None:
    straight, left, right = plan_after(0.0, False), plan_after(0.3, True), plan_after(-0.3, True)
    assert np.abs(straight[:, 1:]).max() < 1e-9
    assert left[0, 2] > 1e-3 and right[0, 2] == pytest.approx(-left[0, 2], abs=1e-5)  # rad after half a second
    assert np.array_equal(plan_after(0.3, False), straight), "undisturbed, its own wheel is what it remembers"
