"""A tiny model that learns the words of thoughts still drives as it did."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch

from autovla_core.action.codebook import SHIPPED, Codebook
from autovla_core.contracts import Command
from autovla_core.model import tiny
from autovla_core.model.encoding import CameraView, Encoder
from autovla_core.model.generate import decode_actions
from autovla_core.model.patches import batch_vision
from autovla_core.model.tiny_thoughts import with_thoughts
from autovla_core.prompt import reasoning_grammar

CAMERAS = (CameraView("front", 56, 84),)


def sentences() -> list[str]:
    return list(islice(reasoning_grammar.corpus(), 0, 2000, 20))


@pytest.fixture(scope="module")
def codebook() -> Codebook:
    return Codebook.load(SHIPPED)


def test_it_answers_as_before_and_writes_thoughts_in_half_the_tokens(codebook: Codebook) -> None:
    torch.set_num_threads(1)
    tokenizer = tiny.build_tokenizer(len(codebook))
    model = tiny.build_model("n01", tokenizer, codebook, 56, 84)
    widened, wider = with_thoughts(model, tokenizer, len(codebook))
    clips = {"front": np.random.default_rng(0).integers(0, 256, (1, 4, 56, 84, 3), dtype=np.uint8)}
    found = []
    for each, words in ((model, tokenizer), (widened, wider)):
        batch_vision(each.eval())
        encoder = Encoder(each, words, CAMERAS, len(codebook))
        ids = torch.tensor([encoder.prompt(6.2, -0.4, Command.LEFT) + encoder.fast_ids])
        patches = encoder.patches({name: torch.from_numpy(clip) for name, clip in clips.items()})
        with torch.inference_mode():
            found.append(decode_actions(each, encoder, ids, patches)[0].tolist())
    assert found[0] == found[1]
    before, after = (sum(len(words(line).input_ids) for line in sentences()) for words in (tokenizer, wider))
    assert after < before / 2
    assert widened.lm_head.weight is widened.get_input_embeddings().weight


def test_other_vocabularies_are_left_alone(codebook: Codebook) -> None:
    tokenizer = tiny.build_tokenizer(len(codebook), thoughts=True)
    model = tiny.build_model("n01", tokenizer, codebook, 56, 84)
    assert with_thoughts(model, tokenizer, len(codebook)) == (model, tokenizer)
