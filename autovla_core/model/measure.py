"""How fast plans are made, beside Hugging Face's ``generate`` writing the same tokens in the same run.

Times are milliseconds of this process's CPU time (``time.process_time``) on a CPU, which other programs disturb little,
and wall time with a synchronised device on a GPU. Each figure is the median of interleaved repetitions.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    Qwen2_5_VLForConditionalGeneration,
)

from autovla_core.action.codebook import SHIPPED, Codebook
from autovla_core.contracts import CLIP_IMAGES, Clip, Command, Observation
from autovla_core.errors import SetupError
from autovla_core.model import checkpoint, tiny
from autovla_core.model.checkpoint import Record
from autovla_core.model.encoding import CameraView
from autovla_core.model.sampling import Sampling
from autovla_core.model.sizes import Size
from autovla_core.model.thinking import ThinkingConfig
from autovla_core.model.vla import AutoVLA

GROUP = 8
WORDS = 100
IMAGES = 24


class Answers(LogitsProcessor):
    """The grammar of an answer for ``generate``, as cheap as it can be: one table of what may come at each place."""

    def __init__(self, places: list[torch.Tensor], prompt: int) -> None:
        self._places, self._prompt = places, prompt

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Add 0 or minus infinity."""
        return scores + self._places[input_ids.shape[1] - self._prompt]


class Contest:
    """One model twice: as our planner in three ways of thinking, and as the library runs it.

    Args:
        planner: ours, thinking fast.
        plain: the same weights, untouched.
    """

    def __init__(self, planner: AutoVLA, plain: PreTrainedModel, instruction: str | None = None) -> None:
        self.fast, self.plain, self._instruction = planner, plain, instruction
        self.slow = planner.thinking_as(ThinkingConfig("slow", most_tokens=WORDS))
        self.group = planner.thinking_as(ThinkingConfig(actions=Sampling(1.0)))
        self._never_close(self.slow)
        self._biases: dict[tuple[int, int, int], torch.Tensor] = {}
        rng = np.random.default_rng(0)
        self._film = {
            c.id: rng.integers(0, 256, (IMAGES, c.height, c.width, 3), dtype=np.uint8) for c in planner.cameras
        }

    @classmethod
    def of_folder(cls, folder: Path, device: str = "cpu", quantise: str = "") -> Contest:
        """Of a checkpoint."""
        plain, _ = checkpoint.load(folder, torch.float32 if device == "cpu" else torch.bfloat16)
        return cls(AutoVLA.from_pretrained(folder, device, quantise=quantise), plain.to(device).eval())

    @classmethod
    def of_size(cls, size: Size, device: str, images: tuple[int, int] = (224, 420), quantise: str = "") -> Contest:
        """Of random weights in a real model's sizes, with three cameras; the wish stands for the text that a real
        tokenizer would spell."""
        book = Codebook.load(SHIPPED)
        tokenizer = tiny.build_tokenizer(len(book))
        cameras = tuple(CameraView(name, *images) for name in ("front", "front_left", "front_right"))
        dtype = torch.float32 if device == "cpu" else torch.bfloat16
        config = size.config(tokenizer)
        models = []
        for _ in range(2):
            torch.manual_seed(0)
            with torch.device(device):
                model = Qwen2_5_VLForConditionalGeneration._from_config(config, dtype=dtype, attn_implementation="sdpa")
            models.append(model.eval())
        record = Record(cameras=cameras, codebook_hash=book.hash)
        planner = AutoVLA(models[0], tokenizer, book, record, quantise=quantise)
        return cls(planner, models[1], "follow the road and mind the trams " * 11)

    def observation(self, number: int) -> Observation:
        """The clip of one moment of a drive at 2 Hz: it shares three images with the last."""
        first = number % (IMAGES - CLIP_IMAGES)
        times = 0.5 * np.arange(first, first + CLIP_IMAGES)
        clips = {name: Clip(film[first : first + CLIP_IMAGES], times) for name, film in self._film.items()}
        return Observation(
            0.5 * number, clips, 5.0, 0.1, np.zeros(3), Command.FOLLOW, np.zeros((0, 2)), self._instruction
        )

    def library(self, planner: AutoVLA, observation: Observation, **options: object) -> list[list[int]]:
        """Answers by ``generate`` from the same patches, under the grammar of ``planner``."""
        encoder, inputs = planner.encoder, planner.inputs(observation)
        ids = torch.tensor([inputs.prompt], device=self.plain.device)
        given = {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "mm_token_type_ids": (ids == self.plain.config.video_token_id).int() * 2,
            "pixel_values_videos": encoder.patches(inputs.clips).to(self.plain.device, self.plain.dtype),
            "video_grid_thw": torch.tensor(encoder.grids, device=self.plain.device),
        }
        if not encoder.stamped:
            given["second_per_grid_ts"] = torch.ones(len(encoder.grids), device=self.plain.device)
        places = self._places(planner)
        out = self.plain.generate(
            **given,
            logits_processor=LogitsProcessorList([Answers(places, ids.shape[1])]),
            max_new_tokens=len(places),
            **{"do_sample": False, **options},
        )
        return out[:, ids.shape[1] :].tolist()

    def _places(self, planner: AutoVLA) -> list[torch.Tensor]:
        grammar = planner.grammar
        first = grammar.first_action
        act = range(first, first + grammar.actions)
        words = grammar.allowed[0].nonzero()[:, 0].tolist()
        opening = grammar.fast if planner.thinking.mode == "fast" else grammar.slow
        thought = [] if planner.thinking.mode == "fast" else [words] * WORDS + [[id] for id in grammar.close.ids]
        places = [[id] for id in opening] + thought + [act] * 10 + [[id] for id in grammar.suffix]
        return [self._bias(tuple(ids)) for ids in places]

    def _bias(self, ids: tuple[int, ...]) -> torch.Tensor:
        key = (len(ids), ids[0], ids[-1])
        if key not in self._biases:
            bias = torch.full((self.plain.config.get_text_config().vocab_size,), -torch.inf)
            bias[list(ids)] = 0.0
            self._biases[key] = bias.to(self.plain.device)
        return self._biases[key]

    @staticmethod
    def _never_close(planner: AutoVLA) -> None:
        """Let no thought end by itself, so that every one has ``WORDS`` words."""
        grammar = planner.grammar
        allowed = grammar.allowed.clone()
        allowed[:, [end.trigger for end in grammar.ends]] = False
        planner.grammar = dataclasses.replace(grammar, allowed=allowed)


def equal_tokens(contest: Contest, moments: int = 3) -> bool:
    """Whether both sides write the same actions, fast and slow."""
    for number in range(moments):
        observation = contest.observation(number)
        for planner in (contest.fast, contest.slow):
            ours = planner.plan(observation).tokens + planner.encoder.first_action
            end = -len(planner.grammar.suffix)
            theirs = contest.library(planner, observation)[0][end - 10 : end]
            if ours.tolist() != theirs:
                return False
    return True


def compare(contest: Contest, rounds: int = 15) -> dict[str, float]:
    """Medians by name, and how many times faster our side is."""
    sampled = {"do_sample": True, "top_k": 0, "num_return_sequences": GROUP}
    contests: Mapping[str, tuple[Callable, Callable, int]] = {
        "fast plan": (contest.fast.plan, lambda o: contest.library(contest.fast, o), rounds),
        f"slow plan, {WORDS} words": (contest.slow.plan, lambda o: contest.library(contest.slow, o), -(-rounds // 4)),
        f"group of {GROUP}": (
            lambda o: contest.group.sample(o, GROUP),
            lambda o: contest.library(contest.group, o, **sampled),
            -(-rounds // 2),
        ),
    }
    figures = {}
    for name, (ours, theirs, count) in contests.items():
        own, library = alternately(contest, ours, theirs, count)
        figures |= {f"{name}, ms": own, f"{name}, generate, ms": library, f"{name}, times faster": library / own}
    return figures


def parts(contest: Contest, rounds: int = 15) -> dict[str, float]:
    """Where the time of a fast plan goes, in milliseconds of wall time as the planner reports it."""
    plans = [contest.fast.plan(contest.observation(number)) for number in range(2, 2 + rounds)]
    names = plans[0].timings_ms
    return {f"of it {name}, wall ms": statistics.median(plan.timings_ms[name] for plan in plans) for name in names}


def stages(contest: Contest, rounds: int = 10) -> dict[str, float]:
    """Milliseconds of the tower, of reading the prompt and of one step, and the least that a step can take."""
    planner, device = contest.fast, contest.plain.device
    inputs = planner.inputs(contest.observation(0))
    opening = torch.tensor([inputs.prompt + planner.grammar.fast], device=device)
    features = planner.vision.of(inputs.clips)
    token = torch.tensor([[planner.encoder.first_action]], device=device)

    def look() -> None:
        planner.vision.reset()
        planner.vision.of(inputs.clips)

    def read() -> None:
        planner.decoder.start(opening, features, rounds + 8)

    calls = {"tower, all images": look, "prompt": read, "one step": lambda: planner.decoder.extend(token)}
    figures = {}
    for name, call in calls.items():
        figures[f"{name}, ms"] = statistics.median(milliseconds(call, device) for _ in range(rounds + 3))
    figures["prompt, tokens"] = float(opening.shape[1])
    if device.type != "cuda":
        return figures  # a tiny model's weights stay in the processor's caches: bandwidth is no limit there
    weights = sum(p.numel() * p.element_size() for p in planner.model.model.language_model.layers.parameters())
    per_s = bandwidth(device)
    return figures | {
        "memory bandwidth, GB/s": per_s / 1e9,
        "one step, ms at the least": 1e3 * weights / per_s,
        "memory, GB": torch.cuda.max_memory_allocated(device) / 1e9,
    }


def bandwidth(device: torch.device, size: int = 2**28) -> float:
    """Bytes a second that the device reads and writes while it copies."""
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    times = [milliseconds(lambda: target.copy_(source), device) for _ in range(7)]
    return 2.0 * size / (statistics.median(times) / 1e3)


def alternately(contest: Contest, ours: Callable, theirs: Callable, rounds: int) -> tuple[float, float]:
    """Median milliseconds of either, taken in turns over the moments of a drive, after two rounds of warm-up."""
    times: tuple[list[float], list[float]] = [], []
    for number in range(rounds + 2):
        for kept, make in zip(times, (ours, theirs)):
            observation = contest.observation(number)
            kept.append(milliseconds(partial(make, observation), contest.plain.device))
    return statistics.median(times[0][2:]), statistics.median(times[1][2:])


def milliseconds(call: Callable[[], object], device: torch.device) -> float:
    """CPU time of one call; on a GPU, wall time until the device is done."""
    if device.type == "cpu":
        started = time.process_time()
        call()
        return (time.process_time() - started) * 1e3
    torch.cuda.synchronize(device)
    started = time.perf_counter()
    call()
    torch.cuda.synchronize(device)
    return (time.perf_counter() - started) * 1e3


def device_name(device: str) -> str:
    """What the figures are of.

    Raises:
        SetupError: a GPU that is not there.
    """
    if device == "cpu":
        return "CPU, one thread"
    if not torch.cuda.is_available():
        raise SetupError(f"no {device} here; run with --device cpu, or on a machine with a GPU")
    return torch.cuda.get_device_name(device)
