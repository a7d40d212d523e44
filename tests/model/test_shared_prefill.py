"""Both families: what is drawn by our own decoder is scored over shared prompts as it was drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from autovla_core.contracts import Command
from autovla_core.model import shared_prefill
from autovla_core.model.decoder import LeanDecoder
from autovla_core.model.encoding import Encoder
from autovla_core.model.generate import answer
from autovla_core.model.grammar import Grammar
from autovla_core.model.mirror import Mirror
from autovla_core.model.patches import batch_vision
from autovla_core.model.sampling import Dice, Sampling
from autovla_core.model.thinking import ThinkingConfig
from autovla_core.model.vision_cache import ClipFeatures

CPU = torch.device("cpu")
WARM = Sampling(temperature=1.0)


@pytest.mark.parametrize("parts", [False, True])
@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl", "qwen2_5_vl spelled"])
def test_what_a_family_draws_is_scored_as_it_was_drawn(family_builder, family: str, parts: bool) -> None:
    model, tokenizer, view = family_builder(family, 0)
    batch_vision(model)
    mirror = Mirror.of(model)
    encoder = Encoder(mirror.plain, tokenizer, (view,), 2048)
    grammar = Grammar.of(encoder, CPU, parts)
    decoder, vision = LeanDecoder(mirror.plain, encoder), ClipFeatures(mirror.plain, encoder)
    images = np.random.default_rng(0).integers(0, 256, (1, 4, view.height, view.width, 3)).astype(np.uint8)
    features = [part.clone() for part in vision.of({"front": torch.from_numpy(images)})]
    thinking = ThinkingConfig("adaptive", most_tokens=6, parts=parts, words=WARM, actions=WARM)
    prompt = encoder.prompt(4.0, 0.0, Command.FOLLOW)
    drawn = answer(decoder, grammar, torch.tensor([prompt]), features, thinking, 6, Dice.of(1, 6))
    ids = torch.tensor([prompt + grammar.opening("adaptive")])
    prompts = shared_prefill.read_prompts(model, encoder, ids, features)
    laid = shared_prefill.lay_out(grammar, drawn, [0] * 6, thinking, CPU)
    scored = shared_prefill.log_probs(model, encoder, grammar, prompts, laid, thinking)
    expected = [p for found in drawn for p in (found.mode_log_prob, *found.thought_log_probs, *found.log_probs)]
    assert np.allclose(scored.detach(), expected, atol=5e-5)
    assert scored.requires_grad and prompts.length == ids.shape[1]
