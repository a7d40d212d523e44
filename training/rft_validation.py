"""How good greedy answers to held-out prompts are, what thinking is worth there, and what nobody's plans would earn."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from autovla_core.model.generate import Generated
from autovla_core.model.thinking import ThinkingConfig
from training import rewards
from training.rewards import STANDARDS, UnscorableError
from training.rft_groups import Sampler, noisy_prompt, record
from training.rft_scenes import Pool
from training.rft_settings import NoiseConfig, RftConfig
from training.rft_tally import Tally, Team

logger = logging.getLogger(__name__)


def validate(sampler: Sampler, pool: Pool, settings: RftConfig, team: Team) -> dict[str, float]:
    """Means over held-out samples: rewards, terms, thinking; complex and simple scenes apart.

    An adaptive model is also made to answer fast and slow: ``worth_complex`` and ``worth_simple`` say what a thought
    earns there more than none, its price included. ``standing``, ``half_speed`` and ``expert``: ``STANDARDS``.
    """
    chosen = pool.choice(settings.validation.samples, settings.seed)
    tally = Tally()
    own = _scorable(pool, settings, chosen[list(team.share(len(chosen)))], tally)
    ways = {"": settings.greedy}
    if settings.thinking.mode == "adaptive":
        ways |= {f"{mode}_": replace(settings.greedy, mode=mode) for mode in ("fast", "slow")}
    for prefix, thinking in ways.items():
        for index, found in _answers(sampler, pool, own, thinking, settings.validation.batch):
            _judge(sampler, pool, settings, index, found, prefix, tally)
    found = team.merge(tally).means()
    for kind in ("complex", "simple"):
        fast, slow = found.get(f"fast_reward_{kind}"), found.get(f"slow_reward_{kind}")
        if fast is not None and slow is not None:
            found[f"worth_{kind}"] = round(slow - fast, 4)
    return found


def _scorable(pool: Pool, settings: RftConfig, indices: np.ndarray, tally: Tally) -> np.ndarray:
    """The samples whose scenes can be scored; what ``STANDARDS`` earn on them goes into the tally."""
    able = []
    for index in indices:
        try:
            earned, _ = rewards.reward(rewards.standards(pool.scene(index)), settings.reward)
        except UnscorableError as error:
            logger.warning("left out: %s", error)
            tally.add("unscored", 1.0)
            continue
        able.append(index)
        tally.add("unscored", 0.0)
        for name, value in zip(STANDARDS, earned):
            tally.add(name, value)
    return np.array(able, int)


def _judge(
    sampler: Sampler, pool: Pool, settings: RftConfig, index: int, found: Generated, prefix: str, tally: Tally
) -> None:
    outcome = sampler.outcome(pool.scene(index), [found])
    earned, terms = rewards.reward(outcome, settings.reward)
    record(tally, outcome, earned, terms, prefix)
    if prefix:
        return
    gap = np.linalg.norm(outcome.plans[0, :, :2] - outcome.scene.expert[:, :2], axis=-1)
    tally.add("ade_m", gap[outcome.scene.known])
    tally.add("progress", rewards.progress(outcome, settings.reward.terms))
    if outcome.scene.judge is not None:
        for name, value in outcome.scores.items():
            tally.add(f"scored_{name}", value)


def _answers(
    sampler: Sampler, pool: Pool, indices: np.ndarray, thinking: ThinkingConfig, batch: int
) -> Iterator[tuple[int, Generated]]:
    """Each sample's greedy answer; prompts of one length are answered together."""
    groups: dict[int, list[tuple[int, tuple[int, ...]]]] = defaultdict(list)
    for index in indices:
        prompt = noisy_prompt(pool, index, sampler.encoder, NoiseConfig(), None)
        groups[len(prompt)].append((int(index), prompt))
    for same in groups.values():
        for start in range(0, len(same), batch):
            numbers, prompts = zip(*same[start : start + batch])
            features = sampler.look(pool.part.clips(np.array(numbers)))
            with torch.no_grad():
                yield from zip(numbers, sampler.answer(prompts, features, thinking))
