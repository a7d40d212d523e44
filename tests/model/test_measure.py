"""The benchmark measures the same thing on both sides. Its figures are not tested: they are the machine's."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration

from autovla_core.model.measure import Contest, compare, equal_tokens, parts, stages
from autovla_core.model.sizes import SIZES, Size

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
