"""Route logs with reasons: complex scenes get a thought, the others and logs without reasons none."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from autovla_core.action.codebook import Codebook
from autovla_core.contracts import Mode
from autovla_core.errors import LogError
from autovla_core.logs import reasons
from autovla_core.logs.reader import RouteLog
from autovla_core.logs.schema import RouteMeta, Tick
from autovla_core.logs.writer import RouteWriter
from autovla_core.model import tiny
from autovla_core.model.encoding import CameraView, Encoder
from autovla_core.prompt import answer
from autovla_core.prompt.reasoning_facts import Facts, SeenLight, SeenObject, to_line
from autovla_core.view.log_frame import LogFrame
from training.augment import AugmentConfig
from training.collate import Collator
from training.datasets.reasons import ThinkingRoutes, read_reasons, summary
from training.sft_data import thought_ids

ROOT = Path(__file__).resolve().parents[2]
CAMERAS = (CameraView("front", 56, 84),)
PLAIN = AugmentConfig(0.0, 0.0, 0, 0.0, 0.0, 0.0)
PLANS = 6


def write(folder: Path, with_reasons: bool = True) -> Path:
    """Six plans of a car that brakes; at even plans a red light is seen and obeyed, at odd ones nobody is about."""
    rig = {"front": {"id": "front", "width": 84, "height": 56, "fov_deg": 80.0}}
    lines = []
    with RouteWriter(folder, RouteMeta("Nowhere", folder.name, 3, rig=rig)) as writer:
        for i in range(PLANS):
            for k in range(5):
                tick = writer.tick(Tick(0.05 * (5 * i + k), 0.0, 0.0, 0.0, 0.0, 8.0, 0.0, 0.0))
            writer.image("front", tick, np.full((56, 84, 3), 20 * i, np.uint8))
            writer.plan(tick, np.column_stack([np.cumsum(np.linspace(4, 0, 10)), np.zeros(10), np.zeros(10)]))
            light = SeenLight(7, "red", 25.0, 30) if i % 2 == 0 else None
            lines.append(to_line(Facts(tick, 8.0, 4, "light" if light else "cruise", 7 if light else 0, light=light)))
    if with_reasons:
        reasons.write_lines(folder, lines)
    return folder


@pytest.fixture(scope="module")
def codebook() -> Codebook:
    from autovla_core.action.codebook import SHIPPED

    return Codebook.load(SHIPPED)


@pytest.fixture
def dataset(tmp_path: Path, codebook: Codebook) -> ThinkingRoutes:
    folders = [write(tmp_path / "a"), write(tmp_path / "b", with_reasons=False)]
    return ThinkingRoutes(folders, CAMERAS, codebook, tmp_path / "cache")


def test_complex_scenes_have_thoughts_and_logs_without_reasons_none(dataset: ThinkingRoutes) -> None:
    thoughts = dataset.samples.thought
    assert [t is not None for t in thoughts] == [True, False] * 3 + [False] * PLANS
    assert all("light" in t and "red" in t for t in thoughts if t is not None)
    assert len({t for t in thoughts if t is not None}) > 1  # the wording varies


def test_why_is_counted(tmp_path: Path) -> None:
    rows = read_reasons(RouteLog(write(tmp_path / "a")))
    assert summary(rows) == {"plans": 6, "complex": 3, "hidden": 0, "thoughts": 3, "stopping at a light": 3}
    assert [row.action.longitudinal for row in rows] == ["halt"] * 6


def collator_of(dataset: ThinkingRoutes, codebook: Codebook, **more: float) -> Collator:
    vocabulary = tiny.build_tokenizer(len(codebook))
    encoder = Encoder(tiny.build_model("n01", vocabulary, codebook, 56, 84), vocabulary, CAMERAS, len(codebook))
    openings = thought_ids(dataset, encoder)
    return Collator(dataset, encoder, codebook, np.ones(len(dataset)), PLAIN, 2, 1.0, 0, openings, **more)


def test_thoughts_become_slow_answers_in_a_batch(dataset: ThinkingRoutes, codebook: Codebook) -> None:
    collator = collator_of(dataset, codebook)
    encoder = collator.encoder
    batch = collator.collate(np.array([0, 1]), np.random.default_rng(0))
    slow, fast = (
        answer.parse(encoder.decode(labels[: int((weights != 0).sum())].tolist()))
        for labels, weights in zip(batch.labels, batch.weights)
    )
    assert slow.mode is Mode.SLOW and slow.thought == dataset.samples.thought[0] and fast.mode is Mode.FAST
    assert slow.tokens == tuple(dataset.samples.tokens[0])


def test_the_token_that_chooses_the_mode_weighs_what_the_recipe_says(
    dataset: ThinkingRoutes, codebook: Codebook
) -> None:
    inside, outside = (
        collator_of(dataset, codebook, reasoning_weight=3.0, **more).collate(np.arange(2), np.random.default_rng(0))
        for more in ({}, {"mode_weight": 0.2})
    )
    place = int((outside.labels[0] != outside.labels[1]).int().argmax())  # the first in which slow and fast differ
    slow, fast = (inside.weights != 0).sum(1).tolist()
    assert inside.weights[:, place].tolist() == pytest.approx([3.0 / slow, 1.0 / fast])
    assert outside.weights[:, place].tolist() == pytest.approx([0.2, 0.2])
    rest = outside.weights.sum(1) - 0.2
    assert rest.tolist() == pytest.approx([6.0, 2.0])  # of each answer its weight, once for language, once for actions


def test_logs_without_reasons_teach_driving_but_not_when_to_think(dataset: ThinkingRoutes, codebook: Codebook) -> None:
    collator = collator_of(dataset, codebook, mode_weight=0.2)
    assert dataset.samples.judged.tolist() == [True] * PLANS + [False] * PLANS
    judged, unjudged = collator.collate(np.array([1, PLANS + 1]), np.random.default_rng(0)).weights
    place = collator.mode_place
    assert judged[place].item() == pytest.approx(0.2) and unjudged[place].item() == 0.0
    assert unjudged.sum().item() == pytest.approx(judged.sum().item() - 0.2)  # the rest of a fast answer is learnt


def test_reasons_that_do_not_belong_to_the_plans_are_refused(tmp_path: Path) -> None:
    log = RouteLog(write(tmp_path / "a"))
    lines = reasons.read_lines(log.folder)
    for broken, message in (
        (lines[:-1], "5 lines of reasons for 6 plans"),
        ([lines[1], lines[0], *lines[2:]], "line 2 of the reasons is of tick 9, the plan of 4"),
        ([*lines[:2], lines[2][:30], *lines[3:]], "reasons.jsonl, line 4"),
    ):
        reasons.write_lines(log.folder, broken)
        with pytest.raises(LogError, match=message):
            read_reasons(log)


@pytest.fixture(scope="module")
def show_frame() -> ModuleType:
    spec = importlib.util.spec_from_file_location("show_frame", ROOT / "tools" / "show_frame.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def drawn(show_frame: ModuleType, monkeypatch: pytest.MonkeyPatch, folder: Path, tick: int) -> tuple[int, list[str]]:
    """The exit code of the program and the lines of its picture."""
    frames: list[LogFrame] = []
    monkeypatch.setattr(show_frame, "draw", frames.append)
    monkeypatch.setattr(show_frame, "save", lambda picture, out: None)
    monkeypatch.setattr(sys, "argv", ["show_frame", str(folder), "--tick", str(tick)])
    return show_frame.main(), [line for frame in frames for line in frame.lines]


def test_the_thought_that_is_drawn_is_the_one_that_is_taught(
    dataset: ThinkingRoutes, show_frame: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for plan, text in enumerate(dataset.samples.thought[:PLANS]):
        code, lines = drawn(show_frame, monkeypatch, tmp_path / "a", 5 * plan + 4)
        assert code == 0
        taught = [line for line in (text or "").split("\n") if line]
        assert lines[len(lines) - len(taught) :] == taught


def test_a_frame_of_reasons_that_do_not_belong_to_the_plans_is_not_drawn(
    show_frame: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path / "a")
    reasons.write_lines(folder, reasons.read_lines(folder)[:-1])
    assert drawn(show_frame, monkeypatch, folder, 29) == (1, [])
    assert "5 lines of reasons for 6 plans" in capsys.readouterr().err


def test_a_file_that_was_cut_off_or_is_of_another_kind_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "a")
    file = folder / reasons.REASONS_FILE
    whole = file.read_text()
    file.write_text(whole[:-20])
    with pytest.raises(LogError, match="last line is cut off"):
        reasons.read_lines(folder)
    file.write_text(whole.replace("autovla-reasons/1", "autovla-reasons/9"))
    with pytest.raises(LogError, match="autovla-reasons/9"):
        reasons.read_lines(folder)
    file.unlink()
    with pytest.raises(LogError, match="logged without reasons"):
        reasons.read_lines(folder)


def test_a_thought_never_uses_what_the_pictures_hide(tmp_path: Path) -> None:
    folder = write(tmp_path / "a")
    hidden = SeenObject(5, "pedestrian", 9.0, 2.0, 0.0, 0.0, pixels=3)
    rows = read_reasons(RouteLog(folder))
    facts = [replace(row.facts, objects=(hidden,)) for row in rows]
    reasons.write_lines(folder, [to_line(f) for f in facts])
    assert [row.thought for row in read_reasons(RouteLog(folder))] == [row.thought for row in rows]
