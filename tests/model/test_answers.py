"""Own decoding against Hugging Face's ``generate`` under the same grammar, for both families."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from transformers import LogitsProcessor, LogitsProcessorList

from autovla_core.contracts import Command, Mode
from autovla_core.errors import ActionDecodeError
from autovla_core.model import backbone
from autovla_core.model.decoder import LeanDecoder
from autovla_core.model.eager import EagerDecoder
from autovla_core.model.encoding import Encoder
from autovla_core.model.generate import Generated, answer, decode_actions
from autovla_core.model.grammar import Grammar
from autovla_core.model.likelihood import choices, log_likelihood, spell
from autovla_core.model.patches import batch_vision
from autovla_core.model.sampling import Dice, Sampling, choose
from autovla_core.model.thinking import ThinkingConfig
from autovla_core.model.vision_cache import ClipFeatures

# spelled: no token stands for a whole sentence; stored: every weight is a bfloat16, as in a checkpoint
FAMILIES = ("qwen2_5_vl", "qwen3_vl", "qwen2_5_vl spelled", "qwen2_5_vl stored", "qwen3_vl stored")
WARM = Sampling(temperature=1.0)


class Bench:
    """One random model, plain for the library and prepared for us, and one rig."""

    def __init__(self, family: str, build: Callable, seed: int = 0) -> None:
        self.plain, tokenizer, self.view = build(family, seed)
        self.model, _, _ = build(family, seed)
        batch_vision(self.model)
        self.encoder = Encoder(self.model, tokenizer, (self.view,), 2048)
        close = Grammar.of(self.encoder, torch.device("cpu")).close.trigger
        with torch.no_grad():
            for model in (self.plain, self.model):
                model.get_input_embeddings().weight[close] *= 12.0  # else a random model hardly ever ends a thought
                if family.endswith("stored"):
                    for parameter in model.parameters():
                        parameter.copy_(parameter.bfloat16())
        self.features = ClipFeatures(self.model, self.encoder)
        self.lean = LeanDecoder(self.model, self.encoder)
        self.torch = LeanDecoder(self.model, self.encoder, compiled=False)
        self.eager = EagerDecoder(self.model, self.encoder)
        self.grammar = Grammar.of(self.encoder, torch.device("cpu"))

    def clips(self, seed: int, rows: int = 1) -> dict[str, torch.Tensor]:
        images = np.random.default_rng(seed).integers(0, 256, (rows, 4, self.view.height, self.view.width, 3))
        return {"front": torch.from_numpy(images.astype(np.uint8))}

    def prompts(self, rows: int = 1, instruction: str | None = None) -> torch.Tensor:
        ids = [self.encoder.prompt(3.0 + i, -0.5, Command.FOLLOW, instruction) for i in range(rows)]
        return torch.tensor(ids)

    def answer(self, thinking: ThinkingConfig, seed: int = 0, rows: int = 1, decoder=None, **options):
        features = self.features.of(self.clips(seed, rows))
        return answer(decoder or self.lean, self.grammar, self.prompts(rows), features, thinking, **options)


@pytest.fixture(scope="module", params=FAMILIES)
def bench(request: pytest.FixtureRequest, family_builder) -> Bench:
    return Bench(request.param, family_builder)


class GrammarOfAnswers(LogitsProcessor):
    """The answer's grammar written once more, for ``generate``: which ids may come after these."""

    def __init__(self, bench: Bench, thinking: ThinkingConfig, prompt: int) -> None:
        self.grammar, self.thinking, self.prompt = bench.grammar, thinking, prompt

    def allowed(self, ids: list[int]) -> list[int]:
        grammar, mode = self.grammar, self.thinking.mode
        openings = {"fast": [grammar.fast], "slow": [grammar.slow]}.get(mode, [grammar.fast, grammar.slow])
        for opening in openings:
            if len(ids) < len(opening) and tuple(ids) == opening[: len(ids)]:
                return sorted({o[len(ids)] for o in openings if o[: len(ids)] == tuple(ids)})
        if tuple(ids[: len(grammar.slow)]) == grammar.slow and mode != "fast":
            ids, close, most = ids[len(grammar.slow) :], grammar.close, self.thinking.most_tokens
            if close.trigger not in ids:
                if len(ids) < most:
                    return grammar.allowed[0].nonzero()[:, 0].tolist()
                return [close.ids[len(ids) - most]]
            ids = ids[ids.index(close.trigger) :]
            if len(ids) < len(close.ids) - close.mark:
                return [close.ids[close.mark + len(ids)]]
            ids = ids[len(close.ids) - close.mark :]
        else:
            ids = ids[len(grammar.fast) :]
        if len(ids) < 10:
            return list(range(grammar.first_action, grammar.first_action + grammar.actions))
        return [grammar.suffix[len(ids) - 10]]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        for row, ids in enumerate(input_ids[:, self.prompt :].tolist()):
            mask = torch.ones(scores.shape[1], dtype=torch.bool)
            mask[self.allowed(ids)] = False
            scores[row, mask] = -torch.inf
        return scores


def library(
    bench: Bench,
    thinking: ThinkingConfig,
    seed: int,
    rows: int = 1,
    more: Sequence[LogitsProcessor] = (),
    **options: object,
) -> list[list[int]]:
    """Answers by ``generate`` of the untouched model, its own vision and its own positions."""
    prompts, encoder = bench.prompts(rows), bench.encoder
    inputs = {
        "input_ids": prompts,
        "attention_mask": torch.ones_like(prompts),
        "mm_token_type_ids": (prompts == bench.plain.config.video_token_id).int() * 2,
        "pixel_values_videos": encoder.patches(bench.clips(seed, rows)),
        "video_grid_thw": torch.tensor(list(encoder.grids) * rows),
    }
    if bench.plain.config.model_type == "qwen2_5_vl":
        inputs["second_per_grid_ts"] = torch.ones(rows)
    processors = LogitsProcessorList([GrammarOfAnswers(bench, thinking, prompts.shape[1]), *more])
    defaults = {"max_new_tokens": 150, "do_sample": False, "eos_token_id": bench.grammar.suffix[-1], "pad_token_id": 0}
    out = bench.plain.generate(**inputs, logits_processor=processors, **{**defaults, **options})
    return out[:, prompts.shape[1] :].tolist()


def ids_of(bench: Bench, found: Generated) -> list[int]:
    """The whole answer as ids, as ``generate`` would have written it."""
    return list(spell(bench.grammar, found))


@pytest.mark.parametrize("mode", ["fast", "slow", "adaptive"])
@pytest.mark.parametrize("seed", range(3))
def test_every_mode_writes_what_generate_writes(bench: Bench, mode: str, seed: int) -> None:
    thinking = ThinkingConfig(mode, most_tokens=12)
    expected = library(bench, thinking, seed)[0]
    for decoder in (bench.lean, bench.torch, bench.eager):
        found = bench.answer(thinking, seed, decoder=decoder)[0]
        assert ids_of(bench, found) == expected


def test_a_batch_writes_what_generate_writes_for_a_batch(bench: Bench) -> None:
    thinking = ThinkingConfig("fast")
    expected = library(bench, thinking, 5, rows=3)
    for decoder in (bench.lean, bench.torch, bench.eager):
        assert [ids_of(bench, found) for found in bench.answer(thinking, 5, rows=3, decoder=decoder)] == expected


class Loaded(LogitsProcessor):
    """Hugging Face's sampling with our dice: all but the token that the dice choose is impossible."""

    def __init__(self, dice: Dice, first: int, actions: int, fixed: int, prompt: int) -> None:
        self.dice, self.first, self.actions, self.fixed, self.prompt = dice, first, actions, fixed, prompt

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        place = input_ids.shape[1] - self.prompt - self.fixed
        if not 0 <= place < 10:
            return scores
        drawn = choose(scores[:, self.first : self.first + self.actions], WARM, self.dice)[0] + self.first
        return torch.full_like(scores, -torch.inf).scatter(1, drawn[:, None], 0.0)


def test_a_group_of_eight_is_what_generate_draws_with_the_same_dice(bench: Bench) -> None:
    thinking = ThinkingConfig("fast", actions=WARM)
    group = bench.answer(thinking, 1, count=8, dice=Dice.of(7, 8))
    grammar, prompt = bench.grammar, bench.prompts().shape[1]
    loaded = Loaded(Dice.of(7, 8), grammar.first_action, grammar.actions, len(grammar.fast), prompt)
    options = {"do_sample": True, "num_return_sequences": 8, "top_k": 0, "top_p": 1.0, "temperature": 1.0}
    expected = library(bench, thinking, 1, more=[loaded], **options)
    assert [ids_of(bench, found) for found in group] == expected
    assert len({tuple(found.tokens) for found in group}) == 8


@pytest.mark.parametrize("count", [1, 8])
def test_rows_of_a_group_that_think_for_different_lengths_are_each_what_they_would_be_alone(
    bench: Bench, count: int
) -> None:
    thinking = ThinkingConfig("adaptive", most_tokens=6, words=Sampling(1.0, top_k=8), actions=WARM)
    together = bench.answer(thinking, 2, count=count, dice=Dice.of(2, count))
    uncompiled = bench.answer(thinking, 2, count=count, dice=Dice.of(2, count), decoder=bench.torch)
    alone = bench.answer(thinking, 2, count=count, dice=Dice.of(2, count), decoder=bench.eager)
    for a, b, c in zip(together, alone, uncompiled):
        assert ids_of(bench, a) == ids_of(bench, b) == ids_of(bench, c)
        assert np.allclose(a.log_probs, b.log_probs, atol=1e-4)
        assert np.allclose(a.thought_log_probs, b.thought_log_probs, atol=1e-4)
    if count > 1:  # rows of every kind stood side by side
        assert {found.mode for found in together} == set(Mode)
        assert len({len(found.thought) for found in together if found.mode is Mode.SLOW}) > 1


def test_decode_actions_and_answer_agree(bench: Bench) -> None:
    clips, prompts = bench.clips(4, 2), bench.prompts(2)
    ids = torch.cat([prompts, torch.tensor([bench.grammar.fast] * 2)], 1)
    tokens, log_probs = decode_actions(bench.model, bench.encoder, ids, bench.encoder.patches(clips))
    found = bench.answer(ThinkingConfig(), 4, rows=2)
    assert [f.tokens.tolist() for f in found] == tokens.tolist()
    assert np.allclose([f.log_probs for f in found], log_probs, atol=1e-5)


def test_bfloat16_as_on_a_gpu_is_the_librarys_up_to_its_rounding(family_builder) -> None:
    for family in FAMILIES[:2]:
        model, tokenizer, view = family_builder(family)
        model = model.to(torch.bfloat16)
        encoder = Encoder(model, tokenizer, (view,), 2048)
        images = torch.from_numpy(
            np.random.default_rng(1).integers(0, 256, (2, 4, view.height, view.width, 3), np.uint8)
        )
        ours, theirs = (ClipFeatures(model, encoder, lean=lean).of({"front": images}) for lean in (True, False))
        ids = torch.tensor([encoder.prompt(3.0, 0.0, Command.LEFT)] * 2)
        outputs = [
            decoder.action_scores(decoder.start(ids, features, 4))
            for decoder, features in ((LeanDecoder(model, encoder), ours), (EagerDecoder(model, encoder), theirs))
        ]
        spread = outputs[1].std()
        assert (outputs[0] - outputs[1]).abs().max() < 0.2 * spread


def test_a_step_of_fixed_shapes_is_the_growing_step(bench: Bench) -> None:
    features, prompts = bench.features.of(bench.clips(0, 2)), bench.prompts(2)
    bench.lean.start(prompts, features, 4)
    grown = [bench.lean.extend(torch.tensor([[i], [i + 1]])) for i in (40, 50)]
    bench.lean.start(prompts, features, 4)
    length = prompts.shape[1]
    fixed = [bench.lean.step(torch.tensor([i, i + 1]), torch.full((2,), length + n)) for n, i in enumerate((40, 50))]
    for a, b in zip(grown, fixed):
        assert torch.allclose(a, b, atol=1e-5)


def test_what_the_tower_sees_again_is_what_it_saw(bench: Bench) -> None:
    clips = bench.clips(9, 3)["front"]
    one_second_later = torch.cat([clips[:1, 2:], clips[1:2, :2]], dim=1)
    fresh = ClipFeatures(bench.model, bench.encoder).of({"front": one_second_later})
    warm = ClipFeatures(bench.model, bench.encoder)
    warm.of({"front": clips[:1]})
    found = warm.of({"front": one_second_later})
    assert (warm.computed, warm.found) == (3, 1)
    for a, b in zip(fresh, found):
        assert torch.equal(a, b)
    whole = backbone.features(
        bench.model,
        bench.encoder.patches({"front": one_second_later}),
        {name.removeprefix("video_"): value for name, value in bench.encoder.vision(1).items()},
    )
    for a, b in zip(whole, found):
        assert torch.allclose(a, b, atol=1e-5)


def test_the_answer_is_forced_at_the_limit_and_at_the_deadline(bench: Bench) -> None:
    allowed = bench.grammar.allowed.clone()
    allowed[:, bench.grammar.close.trigger] = False
    endless = dataclasses.replace(bench.grammar, allowed=allowed)

    def think(most: int, late: Callable[[], bool]) -> Generated:
        thinking = ThinkingConfig("slow", most_tokens=most)
        features = bench.features.of(bench.clips(1))
        return answer(bench.lean, endless, bench.prompts(), features, thinking, late=late)[0]

    for most in (0, 1, 7):
        found = think(most, lambda: False)
        assert len(found.thought) == most and found.forced == "limit"
        assert bench.grammar.parse(spell(bench.grammar, found)).tokens == tuple(found.tokens)
    asked = itertools.count()
    found = think(50, lambda: next(asked) >= 3)
    assert len(found.thought) == 3 and found.forced == "deadline"


def test_a_mask_of_actions_is_kept_and_log_probs_are_among_what_it_allows(bench: Bench) -> None:
    allowed = torch.zeros((1, 2048), dtype=torch.bool)
    allowed[0, [5, 6]] = True
    only_seven = torch.zeros((1, 2048), dtype=torch.bool)
    only_seven[0, 7] = True
    found = bench.answer(ThinkingConfig(), mask=lambda before: allowed if before is None else only_seven)[0]
    assert found.tokens[0] in (5, 6) and found.tokens[1:].tolist() == [7] * 9
    assert found.log_probs[0] < 0.0 and np.allclose(found.log_probs[1:], 0.0)
    with pytest.raises(ActionDecodeError, match="allows none"):
        bench.answer(ThinkingConfig(), mask=lambda before: torch.zeros((1, 2048), dtype=torch.bool))


def test_answers_parse_strictly_by_ids(bench: Bench) -> None:
    for mode in ("fast", "slow"):
        found = bench.answer(ThinkingConfig(mode, most_tokens=6), 3)[0]
        ids = ids_of(bench, found)
        parsed = bench.grammar.parse(ids)
        assert (parsed.mode, parsed.thought, parsed.tokens) == (found.mode, found.thought, tuple(found.tokens))
        start = ids.index(bench.grammar.first_action + int(found.tokens[0]))
        for wrong in (
            ids[: start + 9],
            ids[: start + 1] + ids[start:],
            ids + [ids[start]],
            ids[1:],
            [ids[start]] + ids,
        ):
            with pytest.raises(ActionDecodeError):
                bench.grammar.parse(wrong)


def test_weights_that_are_no_numbers_make_no_plan(family_builder) -> None:
    broken = Bench("qwen2_5_vl", family_builder, seed=3)
    with torch.no_grad():
        broken.model.model.language_model.norm.weight[0] = torch.nan
    with pytest.raises(ActionDecodeError, match="not finite"):
        broken.answer(ThinkingConfig())


def test_a_decoder_sees_weights_that_were_trained_after_it_was_made(family_builder) -> None:
    bench = Bench("qwen3_vl", family_builder, seed=4)
    before = bench.answer(ThinkingConfig())[0]
    with torch.no_grad():
        for name, parameter in bench.model.named_parameters():
            if "visual" not in name:
                parameter.mul_(0.9).add_(0.01)
    lean, eager = bench.answer(ThinkingConfig())[0], bench.answer(ThinkingConfig(), decoder=bench.eager)[0]
    assert np.array_equal(lean.tokens, eager.tokens) and np.allclose(lean.log_probs, eager.log_probs, atol=1e-4)
    assert not np.allclose(lean.log_probs, before.log_probs, atol=1e-3)


def test_steps_from_fixed_buffers_write_the_same_answers(bench: Bench) -> None:
    """What surrounds a CUDA graph, with a capture that only calls."""
    captured = []

    def capture(work: Callable[[], None]) -> Callable[[], None]:
        captured.append(work)
        return work

    graphed = LeanDecoder(bench.model, bench.encoder, capture)
    for count in (1, 4, 1):
        for mode in ("fast", "adaptive"):
            thinking = ThinkingConfig(mode, most_tokens=5, words=WARM, actions=WARM)
            found = bench.answer(thinking, 6, count=count, dice=Dice.of(3, count), decoder=graphed)
            expected = bench.answer(thinking, 6, count=count, dice=Dice.of(3, count))
            assert [ids_of(bench, each) for each in found] == [ids_of(bench, each) for each in expected]
    assert 2 <= len(captured) <= 4  # one for each number of rows; again only when the cache has grown


@pytest.mark.parametrize("mode", ["fast", "slow", "adaptive"])
@pytest.mark.parametrize("parts", [False, True])
def test_one_pass_over_a_drawn_answer_gives_the_log_probabilities_it_was_drawn_with(
    bench: Bench, mode: str, parts: bool
) -> None:
    words, actions = Sampling(0.9, top_k=30), Sampling(1.2, top_p=0.9)
    thinking = ThinkingConfig(mode, most_tokens=40 if parts else 8, parts=parts, words=words, actions=actions)
    grammar = Grammar.of(bench.encoder, torch.device("cpu"), parts)
    clips, prompt = bench.clips(2), bench.prompts()
    drawn = answer(bench.lean, grammar, prompt, bench.features.of(clips), thinking, 4, Dice.of(8, 4))
    for found in drawn:
        ids = torch.tensor([spell(grammar, found)])
        grammar.parse(ids[0].tolist())
        whole = torch.cat([prompt, ids], 1)
        with torch.no_grad():
            hidden = bench.model.model(
                input_ids=whole,
                pixel_values_videos=bench.encoder.patches(clips),
                position_ids=bench.encoder.positions(whole.shape[1]),
                **bench.encoder.vision(1),
            ).last_hidden_state[0, prompt.shape[1] - 1 :]
            scores = bench.model.lm_head(hidden)
        chosen = list(choices(grammar, found, mode == "adaptive"))
        sampled = ([found.mode_log_prob] if mode == "adaptive" else []) + list(found.thought_log_probs)
        assert len(chosen) == len(sampled) + 10
        scored = log_likelihood(scores, grammar, found, thinking)
        assert np.allclose(scored, [*sampled, *found.log_probs], atol=2e-4)


def test_headers_of_the_parts_are_written_without_asking_the_model(bench: Bench) -> None:
    thinking = ThinkingConfig("slow", most_tokens=300, parts=True, words=Sampling(1.0))
    grammar = Grammar.of(bench.encoder, torch.device("cpu"), parts=True)
    headers = grammar.ends[:-1]
    allowed = grammar.allowed.clone()
    allowed[0, : grammar.first_action] = False
    allowed[0, headers[0].trigger] = True  # nothing to say about the scene
    only = dataclasses.replace(grammar, allowed=allowed)
    features = bench.features.of(bench.clips(2))
    found = answer(bench.lean, only, bench.prompts(), features, thinking, dice=Dice.of(1, 1))[0]
    tail = headers[0].ids[headers[0].mark :]
    assert found.thought[: len(tail)] == tail
    assert len(found.thought_log_probs) <= len(found.thought) - len(tail) + 2
