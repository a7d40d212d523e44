"""A prompt that is read once gives what a prompt that is read for every answer gives, gradients included."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch

from autovla_core.action.codebook import Codebook
from autovla_core.contracts import Command, Mode
from autovla_core.errors import CheckpointError
from autovla_core.model import lora, shared_prefill, tiny
from autovla_core.model.decoder import LeanDecoder
from autovla_core.model.encoding import CameraView, Encoder
from autovla_core.model.generate import Generated, answer
from autovla_core.model.grammar import Grammar
from autovla_core.model.mirror import Mirror
from autovla_core.model.patches import batch_vision
from autovla_core.model.sampling import Dice, Sampling
from autovla_core.model.thinking import ThinkingConfig
from autovla_core.model.vision_cache import ClipFeatures
from tests.training.toys import scored_plainly

WARM = Sampling(temperature=1.0)
ADAPTIVE = ThinkingConfig("adaptive", most_tokens=6, words=Sampling(0.8, top_k=40), actions=WARM)
WAYS = (ADAPTIVE, ThinkingConfig("fast", actions=Sampling(0.7)), dataclasses.replace(ADAPTIVE, mode="slow"))
CPU = torch.device("cpu")


class Bench:
    """A random model to train, its mirror that draws, two prompts with clips."""

    def __init__(self, codebook: Codebook, adapter: bool = False) -> None:
        tokenizer = tiny.build_tokenizer(len(codebook))
        self.model = tiny.build_model("n01", tokenizer, codebook, 56, 84)
        batch_vision(self.model)
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                if parameter.ndim > 1 and "embed" not in name:
                    parameter.mul_(12.0)  # else a token's own embedding decides what follows it
        self.model.eval().requires_grad_(False)
        plain = copy.deepcopy(self.model)
        self.encoder = Encoder(plain, tokenizer, (CameraView("front", 56, 84),), len(codebook))
        self.grammar = Grammar.of(self.encoder, CPU)
        trained = self.model
        if adapter:
            trained = lora.attach(self.model, self.encoder.first_action, len(codebook), lora.LoraSpec(dropout=0.0))
            self.model = trained.eval().get_base_model()
        else:
            self.model.model.language_model.requires_grad_(True)
        self.mirror = Mirror(plain, trained)
        self.trained = trained
        self.decoder, self.vision = LeanDecoder(plain, self.encoder), ClipFeatures(plain, self.encoder)
        images = np.random.default_rng(0).integers(0, 256, (2, 4, 56, 84, 3)).astype(np.uint8)
        self.features = tuple(f.clone() for f in self.vision.of({"front": torch.from_numpy(images)}))
        self.prompts = [self.encoder.prompt(3.0 + i, -0.5, Command.FOLLOW) for i in range(2)]

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def draw(self, thinking: ThinkingConfig, prompt: int, count: int = 5) -> list[Generated]:
        ids, places = torch.tensor([self.prompts[prompt]]), len(self.encoder.video_places)
        own = [feature[prompt * places : (prompt + 1) * places] for feature in self.features]
        return answer(self.decoder, self.grammar, ids, own, thinking, count, Dice.of(prompt, count))

    def ids(self, thinking: ThinkingConfig) -> torch.Tensor:
        opening = self.grammar.opening(thinking.mode)
        return torch.tensor([prompt + opening for prompt in self.prompts])

    def read(self, thinking: ThinkingConfig) -> shared_prefill.Prompts:
        return shared_prefill.read_prompts(self.model, self.encoder, self.ids(thinking), self.features)

    def score(self, prompts, answers, thinking: ThinkingConfig) -> torch.Tensor:
        return shared_prefill.log_probs(self.model, self.encoder, self.grammar, prompts, answers, thinking)

    def repeated(self, found: Generated, prompt: int, thinking: ThinkingConfig) -> torch.Tensor:
        """The same by one plain pass over prompt and answer."""
        own = self.features[0].view(2, len(self.encoder.video_places), -1)[prompt]
        return scored_plainly(self.model, self.encoder, self.grammar, self.prompts[prompt], own, found, thinking)

    def gradient(self) -> torch.Tensor:
        """What gathered, as one vector; nothing is left."""
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        for parameter in self.parameters:
            parameter.grad = None
        return torch.cat([part.flatten() for part in parts])

    def step(self, rate: float = 0.02) -> None:
        """Train a little on anything."""
        optimizer = torch.optim.AdamW(self.parameters, rate)
        drawn = self.draw(WAYS[1], 0)
        answers = shared_prefill.lay_out(self.grammar, drawn, [0] * len(drawn), WAYS[1], CPU)
        self.score(self.read(WAYS[1]), answers, WAYS[1]).sum().backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.fixture(scope="module", params=["full", "adapter"])
def bench(request: pytest.FixtureRequest, codebook: Codebook) -> Bench:
    torch.set_num_threads(1)
    found = Bench(codebook, adapter=request.param == "adapter")
    found.step()
    found.mirror.follow()
    return found


@pytest.mark.parametrize("thinking", WAYS, ids=lambda way: way.mode)
def test_what_was_drawn_is_scored_as_it_was_drawn_after_training_too(bench: Bench, thinking: ThinkingConfig) -> None:
    drawn = [(prompt, found) for prompt in (0, 1) for found in bench.draw(thinking, prompt)]
    rows, answers = zip(*drawn)
    laid = shared_prefill.lay_out(bench.grammar, answers, rows, thinking, CPU)
    scored = bench.score(bench.read(thinking), laid, thinking)
    adaptive = thinking.mode == "adaptive"
    expected = [
        [*([found.mode_log_prob] if adaptive else []), *found.thought_log_probs, *found.log_probs] for found in answers
    ]
    assert laid.counts.tolist() == [len(row) for row in expected]
    assert np.allclose(scored.detach(), np.concatenate(expected), atol=2e-5)
    if adaptive:
        assert {found.mode for found in answers} == set(Mode) and any(found.forced for found in answers)


@pytest.mark.parametrize("part", [2, 100])
def test_the_gradient_of_a_shared_prompt_is_that_of_repeated_prompts(bench: Bench, part: int) -> None:
    drawn = [(prompt, found) for prompt in (0, 1) for found in bench.draw(ADAPTIVE, prompt)]
    weights = np.random.default_rng(3).normal(size=len(drawn))
    for (prompt, found), weight in zip(drawn, weights):
        (float(weight) * bench.repeated(found, prompt, ADAPTIVE).sum()).backward()
    expected = bench.gradient()
    prompts = bench.read(ADAPTIVE)
    leaves = shared_prefill.open_leaves(prompts)
    for start in range(0, len(drawn), part):
        rows, answers = zip(*drawn[start : start + part])
        laid = shared_prefill.lay_out(bench.grammar, answers, rows, ADAPTIVE, CPU)
        weight = torch.tensor(weights[start : start + part], dtype=torch.float32)
        (weight[laid.row] * bench.score(leaves, laid, ADAPTIVE)).sum().backward()
    shared_prefill.close_leaves(prompts, leaves)
    found = bench.gradient()
    assert float((found - expected).norm() / expected.norm()) < 1e-5


def test_a_mirror_follows_and_leaves_the_trained_model_alone(codebook: Codebook) -> None:
    bench = Bench(codebook, adapter=True)
    before = {name: value.clone() for name, value in bench.model.state_dict().items()}
    drawn = [tuple(found.tokens) for found in bench.draw(WAYS[1], 0)]
    bench.step(rate=0.2)
    assert [tuple(found.tokens) for found in bench.draw(WAYS[1], 0)] == drawn  # not before it is told
    bench.mirror.follow()
    assert [tuple(found.tokens) for found in bench.draw(WAYS[1], 0)] != drawn
    changed = {name for name, value in bench.model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and all(part in name for name in changed for part in ("default",))


def test_a_mirror_refuses_what_it_cannot_merge(codebook: Codebook) -> None:
    bench = Bench(codebook, adapter=True)
    bench.model.lm_head.requires_grad_(True)
    bench.model.model.visual.requires_grad_(True)
    with pytest.raises(CheckpointError, match="of them by LoRA"):
        bench.mirror.follow()


def test_an_adapter_switched_off_and_on_trains_what_it_trained(codebook: Codebook) -> None:
    bench = Bench(codebook, adapter=True)
    before = [id(parameter) for parameter in bench.parameters]
    with bench.trained.disable_adapter():
        bench.read(ADAPTIVE)
    assert [id(parameter) for parameter in bench.parameters] == before
