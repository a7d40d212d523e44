"""What a run says while it goes on."""

from __future__ import annotations

import builtins
import math
from pathlib import Path

import pytest

from autovla_core.errors import ConfigError, SetupError
from training.run_log import Lines, RunLog, in_words, open_curves
from training.schedule import LoopConfig, Progress, learning_rate, seconds_left


def test_the_time_left_follows_the_pace_of_this_part_of_the_run() -> None:
    steps = LoopConfig(steps=100)
    assert seconds_left(steps, Progress(20, 500.0), Progress(30, 520.0)) == pytest.approx(140.0)  # 70 steps of 2 s
    assert seconds_left(steps, Progress(20, 500.0), Progress(20, 500.0)) == math.inf
    assert seconds_left(LoopConfig(minutes=2.0), Progress(), Progress(7, 90.0)) == pytest.approx(30.0)
    assert [in_words(s) for s in (40.0, 725.0, 11_100.0, math.inf)] == ["40 s", "12 min", "3 h 05 min", "?"]


def test_the_bar_says_how_long_it_still_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    log = RunLog(tmp_path, LoopConfig(steps=10, log_every=5), progress)
    for step in range(1, 6):
        progress.step, progress.elapsed_s = step, 60.0 * step
        log.step({"loss": 2.0}, 1e-3)
    log.close()
    assert "step 5, 5 min left, loss 2.000" in capsys.readouterr().err


def test_a_decay_by_steps_takes_the_cosines_place() -> None:
    paper = LoopConfig(steps=10_000, lr=1.0, warmup=500, decay=0.98, decay_steps=2000)
    rates = [learning_rate(paper, Progress(step)) for step in (0, 499, 1999, 2000, 9999)]
    assert rates == pytest.approx([1 / 500, 1.0, 1.0, 0.98, 0.98**4])
    with pytest.raises(ConfigError, match="validate_every 0; expected 1 or more"):
        LoopConfig(steps=1, validate_every=0)


def test_tensorboard_without_its_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def missing(name: str, *rest: object) -> object:
        if name.startswith(("torch.utils.tensorboard", "tensorboard")):
            raise ModuleNotFoundError("No module named 'tensorboard'")
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(SetupError, match="No module named 'tensorboard'; pip install tensorboard"):
        open_curves(tmp_path, 0)


def test_curves_hold_what_the_log_holds_and_lost_steps_are_taken_back(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    progress = Progress()
    for last in (4, 3):  # the second part begins at 2: the steps after it were not saved
        log = Lines(tmp_path, progress, tensorboard=True)
        for step in range(progress.step + 1, last + 1):
            progress.step = step
            log.write("train", {"loss": 10.0 * last + step})
        log.close()
        progress.step = 2
    found = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Scalars("train/loss")
    assert [(point.step, point.value) for point in found] == [(1, 41.0), (2, 42.0), (3, 33.0)]
    assert Lines(tmp_path, progress, leads=False, tensorboard=True).write("train", {"loss": 1.0}) is None
