"""How good greedy answers to held-out prompts are, what thinking is worth there, and what nobody's plans would earn."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from autovla_core.model.generate import Generated
from training import rewards
from training.rewards import STANDARDS, Scene, UnscorableError
from training.rft_groups import record
from training.rft_scenes import Pool
from training.rft_settings import RftConfig
from training.rft_tally import Tally, Team
from training.sampler import Sampler, greedy_answers, prompt_of

logger = logging.getLogger(__name__)


def validate(sampler: Sampler, pool: Pool, settings: RftConfig, team: Team) -> dict[str, float]:
    """Means over held-out samples: rewards, terms, thinking; complex and simple scenes apart.

    An adaptive model is also made to answer fast and slow: ``worth_complex`` and ``worth_simple`` say what a thought
    earns there more than none, its price included. ``standing``, ``half_speed`` and ``expert``: ``STANDARDS``.
    """
    chosen = pool.choice(settings.validation.samples, settings.seed)
    own = chosen[list(team.share(len(chosen)))]
    prompts = {int(index): prompt_of(sampler.encoder, pool.columns, index) for index in own}
    ways = {"": settings.greedy}
    if settings.thinking.mode == "adaptive":
        ways |= {f"{mode}_": replace(settings.greedy, mode=mode) for mode in ("fast", "slow")}
    tally = Tally()
    for index, found in greedy_answers(sampler, prompts, pool.part.clips, ways, settings.validation.batch):
        judge(sampler, pool.scene(index), settings, found, tally)
    return worth(team.merge(tally).means())


def worth(found: dict[str, float]) -> dict[str, float]:
    """With what a thought earns more than none, where both ways were asked."""
    for kind in ("complex", "simple"):
        fast, slow = found.get(f"fast_reward_{kind}"), found.get(f"slow_reward_{kind}")
        if fast is not None and slow is not None:
            found[f"worth_{kind}"] = round(slow - fast, 4)
    return found


def judge(sampler: Sampler, scene: Scene, settings: RftConfig, found: Mapping[str, Generated], tally: Tally) -> None:
    """One sample's answers by each way of thinking, and ``STANDARDS``, judged at once; the first way in full."""
    outcome = rewards.joined(sampler.outcome(scene, list(found.values())), rewards.standards(scene))
    try:
        earned, terms = rewards.reward(outcome, settings.reward)
    except UnscorableError as error:
        logger.warning("left out: %s", error)
        tally.add("unscored", 1.0)
        return
    tally.add("unscored", 0.0)
    for name, value in zip(STANDARDS, earned[len(found) :]):
        tally.add(name, value)
    for row, prefix in enumerate(found):
        record(tally, outcome, earned, terms, slice(row, row + 1), prefix)
    gap = np.linalg.norm(outcome.plans[0, :, :2] - scene.expert[:, :2], axis=-1)
    tally.add("ade_m", gap[scene.known])
    tally.add("progress", rewards.progress(outcome, settings.reward.terms)[0])
    if "truth" in settings.reward.needs:  # else nobody asked whether the scene can be scored
        for name, value in outcome.scores.items():
            tally.add(f"scored_{name}", value[0])
