"""The benchmark measures the same thing on both sides. Its figures are not tested: they are the machine's."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration

from autovla_core.model.measure import Contest, compare, equal_tokens, parts, stages
from autovla_core.model.sizes import SIZES, Size

PROGRAM = Path(__file__).resolve().parents[2] / "tools" / "benchmark_model.py"
SMALL = Size(3072, 64, 2, 4, 2, 96, 32, 3, 2, 48, 56, (1,))  # windows of 56 pixels: unequal ones at 84


def test_both_sides_write_the_same_tokens_in_every_mode(model_folder: Path) -> None:
    assert equal_tokens(Contest.of_folder(model_folder))


def test_random_weights_of_a_real_shape_with_windows_and_three_cameras_too() -> None:
    contest = Contest.of_size(SMALL, "cpu", images=(56, 84))
    assert equal_tokens(contest, moments=2)
    figures = compare(contest, rounds=1) | parts(contest, rounds=1) | stages(contest, rounds=1)
    assert all(value >= 0.0 for value in figures.values())
    assert figures["prompt, tokens"] > 100


def test_the_3b_configuration_has_the_real_number_of_weights(model_folder: Path) -> None:
    with torch.device("meta"):
        config = SIZES["3b"].config(AutoTokenizer.from_pretrained(model_folder))
        model = Qwen2_5_VLForConditionalGeneration._from_config(config)
    layers = sum(p.numel() for p in model.model.language_model.layers.parameters())
    vision = sum(p.numel() for p in model.model.visual.parameters())
    assert abs(layers - 2.775e9) < 2e6 and abs(vision - 668.7e6) < 0.1e6


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--size", "3b"), "--size needs a GPU: --device cuda"),
        pytest.param(
            ("--size", "3b", "--device", "cuda"),
            "no cuda here; run with --device cpu, or on a machine with a GPU",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
    ],
)
def test_the_program_says_at_once_that_the_real_size_needs_a_gpu(
    arguments: tuple[str, ...], complaint: str, monkeypatch, capsys, tmp_path: Path
) -> None:
    spec = importlib.util.spec_from_file_location("benchmark_model", PROGRAM)
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # which the program sets for itself
    monkeypatch.setattr(sys, "argv", ["benchmark_model", *arguments, "--out", str(tmp_path / "figures.json")])
    assert program.main() == 1
    assert complaint in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
