"""The program that measures a checkpoint's thoughts: a tiny untrained model, and a planner that thinks what is true."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from autovla_core.action.codebook import SHIPPED, Codebook
from autovla_core.contracts import Mode, Plan
from autovla_core.logs import reasons
from autovla_core.logs.schema import RouteMeta, Tick
from autovla_core.logs.writer import RouteWriter
from autovla_core.model import checkpoint, tiny
from autovla_core.model.encoding import CameraView
from autovla_core.prompt.reasoning_facts import Facts, SeenLight, to_line
from training import measure_faithfulness
from training.measure_faithfulness import cases, measure

POSES = np.column_stack([np.cumsum(np.linspace(4.0, 0.0, 10)), np.zeros(10), np.zeros(10)])


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """One log of six plans that brake; at every second one a red light is seen."""
    rig, lines = {"front": {"id": "front", "width": 84, "height": 56, "fov_deg": 80.0}}, []
    with RouteWriter(tmp_path / "logs" / "a", RouteMeta("Nowhere", "a", 3, rig=rig)) as writer:
        for i in range(6):
            tick = writer.tick(Tick(0.25 * i, 0.0, 0.0, 0.0, 0.0, 8.0, 0.0, 0.0))
            writer.image("front", tick, np.full((56, 84, 3), 20 * i, np.uint8))
            writer.plan(tick, POSES)
            light = SeenLight(7, "red", 25.0, 30) if i % 2 == 0 else None
            lines.append(to_line(Facts(tick, 8.0, 4, "light" if light else "cruise", 7 if light else 0, light=light)))
    reasons.write_lines(tmp_path / "logs" / "a", lines)
    return tmp_path / "logs"


class Truthful:
    """Plans what it was told to; thinks where it has a thought."""

    def __init__(self, thoughts: list[str | None], poses: np.ndarray) -> None:
        self._thoughts, self._poses = iter(thoughts), poses

    def plan_many(self, observations: list) -> list[Plan]:
        found = []
        for observation in observations:
            thought = next(self._thoughts)
            mode = Mode.FAST if thought is None else Mode.SLOW
            found.append(Plan(self._poses, observation.time_s, 0.0, None, thought or "", mode, thinking_tokens=50))
        return found


def test_true_thoughts_and_a_plan_beside_them_are_told_apart(logs: Path) -> None:
    scenes = list(cases([logs / "a"], ["front"]))
    thoughts = [case.reasoned.thought for case in scenes]
    found = measure(Truthful(thoughts, POSES), iter(scenes), batch=4)
    assert found["score"] == 1.0 and found["counts"]["thoughts"] == 3
    expected = {"scenes": 3, "slow_share": 1.0, "thinking_tokens": 50.0, "ade_m": 0.0}
    assert found["complex"] == pytest.approx(expected, abs=1e-5)
    assert found["simple"]["slow_share"] == 0.0
    ahead = POSES + [1.0, 0.0, 0.0]
    ahead[:, 0] *= 2.0
    other = measure(Truthful(thoughts, ahead), iter(scenes))
    assert other["rates"]["action_accuracy"] == 1.0 and other["complex"]["ade_m"] > 1.0


def test_an_error_is_told_in_a_line(logs: Path, tmp_path: Path, capsys) -> None:
    command = ["--checkpoint", str(tmp_path), "--routes", str(tmp_path / "nowhere"), "--out", str(tmp_path / "o.json")]
    assert measure_faithfulness.main(command) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: no folder of route logs at")


def test_a_checkpoint_is_measured_fast_and_slow(logs: Path, tmp_path: Path, monkeypatch) -> None:
    book = Codebook.load(SHIPPED)
    vocabulary = tiny.build_tokenizer(len(book))
    model = tiny.build_model("n01", vocabulary, book, 56, 84)
    folder = checkpoint.save(tmp_path / "m", model, vocabulary, book, (CameraView("front", 56, 84),), {})
    arguments = [
        "--checkpoint",
        folder,
        "--routes",
        logs,
        "--thinking",
        "both",
        "--stride",
        2,
        "--threads",
        1,
        "--most-tokens",
        40,
    ]
    monkeypatch.setattr(sys, "argv", ["measure", *map(str, arguments), "--out", str(tmp_path / "found.json")])
    measure_faithfulness.main()
    text = (tmp_path / "found.json").read_text()
    found = json.loads(text)
    assert "NaN" not in text and found["fast"]["rates"]["precision"] is None
    assert set(found) == {"fast", "slow"}
    assert found["fast"]["complex"]["slow_share"] == 0.0 and found["slow"]["complex"]["slow_share"] == 1.0
    assert found["slow"]["counts"]["thoughts"] == 3 and found["slow"]["score"] < 0.5  # it was never trained
