"""SFT of two ways of thinking: what is taught, and that it is validated as it will drive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from autovla_core.action.codebook import Codebook
from autovla_core.contracts import Mode
from autovla_core.model import checkpoint
from autovla_core.model.patches import batch_vision
from autovla_core.model.thinking import ThinkingConfig
from tests.training.toys import CAMERAS
from training import sft
from training.collate import Collator
from training.datasets.reasons import ThinkingRoutes
from training.datasets.routes import find_routes
from training.sampler import Sampler, prompt_of
from training.schedule import LoopConfig
from training.sft_settings import DataConfig, LossConfig, ModelConfig, SftConfig
from training.validation import validate


def test_a_run_weighs_the_mode_knows_the_words_and_says_how_often_it_thinks(roads: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    recipe = SftConfig(
        DataConfig((roads,), tmp_path / "cache", held_out=0.0, held_out_samples=8, thoughts=True),
        tmp_path / "run",
        LoopConfig(steps=2, warmup=1),
        ModelConfig("n01", cameras=CAMERAS),
        LossConfig(mode=0.2),
        batch_size=4,
        threads=1,
    )
    made: list[Collator] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sft, "Collator", lambda *given: made.append(Collator(*given)) or made[-1])
        _, scores = sft.train(recipe)
    assert [collator.mode_weight for collator in made] == [0.2]
    thoughts = [text for text in made[0].dataset.samples.thought if text is not None]
    _, tokenizer = checkpoint.load(recipe.out / "model")
    assert thoughts and all(len(tokenizer(text).input_ids) < 130 for text in thoughts)
    assert {"slow_complex", "slow_simple", "ade_m", "ade_black_m"} <= set(scores)


def test_a_model_that_thinks_is_validated_by_what_it_chooses(
    roads: Path, init: Path, codebook: Codebook, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    model, tokenizer = checkpoint.load(init)
    batch_vision(model)
    sampler = Sampler(model.eval().requires_grad_(False), tokenizer, CAMERAS, codebook, parts=False)
    dataset = ThinkingRoutes(find_routes((roads,)), CAMERAS, codebook, tmp_path / "cache", 1)
    chosen = np.arange(0, len(dataset), 11)
    samples, gaps, slow = dataset.samples, [], []
    for index in chosen:
        seen = sampler.look(dataset.clips(np.array([index])))
        alone = sampler.answer([prompt_of(sampler.encoder, samples, index)], seen, ThinkingConfig("adaptive"))
        gaps.append(np.linalg.norm(sampler.plans(alone)[0, :, :2] - samples.poses[index, :, :2], axis=-1).mean())
        slow.append(alone[0].mode is Mode.SLOW)
    slow, worth = np.array(slow), np.array([text is not None for text in samples.thought[chosen]])
    assert slow.any() and worth.any() and not worth.all()
    scores = validate(model, sampler.encoder, codebook, dataset, chosen, sampler)
    assert scores["ade_m"] == pytest.approx(np.mean(gaps), abs=1e-3)
    assert scores["slow_complex"] == pytest.approx(slow[worth].mean(), abs=1e-3)
    assert scores["slow_simple"] == pytest.approx(slow[~worth].mean(), abs=1e-3)
    fast = validate(model, sampler.encoder, codebook, dataset, chosen)
    assert fast["ade_m"] != scores["ade_m"] and "slow_complex" not in fast
