"""The model that ships with thoughts: it says four parts when it is asked to, and plans either way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autovla_core.contracts import Clip, Command, Mode, Observation
from autovla_core.model.thinking import ThinkingConfig
from autovla_core.model.vla import AutoVLA
from autovla_core.prompt import reasoning

FOLDER = Path(__file__).resolve().parents[2] / "models" / "autovla-tiny-thinking"


def grey_road() -> Observation:
    """A grey road under a bright sky, at 6 m/s."""
    image = np.full((140, 280, 3), 110, np.uint8)
    image[:60] = (170, 200, 240)
    clip = Clip(np.stack([image] * 4), np.array([-1.5, -1.0, -0.5, 0.0]))
    return Observation(0.0, {"front": clip}, 6.0, 0.0, np.zeros(3), Command.FOLLOW, np.zeros((0, 2)))


@pytest.mark.parametrize("mode", ["fast", "slow"])
def test_it_thinks_in_four_parts_when_told_to_and_plans_either_way(mode: str) -> None:
    plan = AutoVLA.from_pretrained(FOLDER, threads=1, thinking=ThinkingConfig(mode, most_tokens=160)).plan(grey_road())
    assert plan.mode is Mode(mode) and plan.poses.shape == (10, 3) and np.isfinite(plan.poses).all()
    headers = [header in plan.thought for header in reasoning.HEADERS.values()]
    assert all(headers) if mode == "slow" else not any(headers)
    assert (plan.thinking_tokens > 20) == (mode == "slow")
