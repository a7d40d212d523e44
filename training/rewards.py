"""What a plan earns in reinforcement fine-tuning: named terms here, their weights in the recipe, every term logged.

A term is a number for each of P answers to one prompt. Costs are positive too; the recipe gives them a negative
weight: the paper's ``r = PDMS - 0.3 r_CoT`` is ``{pdm: 1.0, thinking: -0.3}`` (arXiv 2506.13757).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from autovla_core.contracts import PLAN_STEPS
from autovla_core.errors import AutoVLAError, ConfigError
from autovla_core.geometry import arc_length
from autovla_core.prompt import reasoning
from autovla_core.scoring.pdm_types import ScoringError
from training.datasets.sample import DatasetError

STILL_M = 3.0  # an expert who goes less far stands
OVERSHOOT_M = 10.0  # beyond that a plan which should stand earns no progress
Judge = Callable[[np.ndarray], Mapping[str, np.ndarray]]  # plans (P, 10, 3) -> sub-scores (P,) by name
Faithful = Callable[[tuple[str, ...], np.ndarray], np.ndarray]  # thoughts and plans -> (P,) in [0, 1]


class RewardError(AutoVLAError):
    """A reward cannot be given, or is no number."""


class UnscorableError(RewardError):
    """What was there cannot be scored, whatever the plan: the sample is left out and counted."""


@dataclass(frozen=True)
class Scene:
    """What only the reward may know of one sample."""

    id: str
    expert: np.ndarray  # (10, 3) ego frame
    known: np.ndarray  # (10,) bool, which poses are the expert's
    complex: bool = False  # worth a thought
    judge: Judge | None = None  # scores plans on what was there
    faithful: Faithful | None = None  # compares a thought with what was there


@dataclass(frozen=True)
class Outcome:
    """P answers to one prompt, and the scene that they are judged in."""

    scene: Scene
    plans: np.ndarray  # (P, 10, 3) ego frame
    thinking_tokens: np.ndarray  # (P,) of the thought; 0: fast
    slow: np.ndarray  # (P,) bool
    forced: np.ndarray  # (P,) bool: the thought was cut
    thoughts: tuple[str, ...]

    @cached_property
    def scores(self) -> Mapping[str, np.ndarray]:
        """Sub-scores (P,) of the plans on what was there.

        Raises:
            RewardError: nobody knows what was there.
            UnscorableError: it is known, and of no use.
        """
        if self.scene.judge is None:
            raise RewardError(
                f"{self.scene.id}: no truth to score plans on; log it with the routes, or weigh ade instead"
            )
        try:
            return self.scene.judge(self.plans)
        except (ScoringError, DatasetError) as error:
            raise UnscorableError(f"{self.scene.id}: {error}") from error


@dataclass(frozen=True)
class TermSettings:
    """Numbers inside the terms; the defaults are the paper's."""

    thinking_tokens: float = 400.0  # where a thought costs half
    thinking_slope: float = 0.002  # a token
    thinking_spares_complex: bool = False  # thoughts about complex scenes cost nothing
    ade_from_m: float = 2.0  # delta
    ade_scale_m: float = 10.0  # kappa
    parts: bool = False  # a well-formed thought has the four parts of ``prompt.reasoning``


@dataclass(frozen=True)
class RewardConfig:
    """Weights by name of the term, and the numbers inside.

    Raises:
        ConfigError: a term that there is not, or none at all.
    """

    weights: dict[str, float] = field(default_factory=lambda: {"pdm": 1.0, "thinking": -0.3})
    terms: TermSettings = TermSettings()

    def __post_init__(self) -> None:
        unknown = set(self.weights) - set(REWARDS)
        if unknown or not self.weights:
            raise ConfigError(f"reward.weights: found {sorted(self.weights)}; known: {', '.join(REWARDS)}")
        if not all(np.isfinite(weight) for weight in self.weights.values()):
            raise ConfigError(f"reward.weights: found {self.weights}, expected finite numbers")

    @property
    def needs(self) -> frozenset[str]:
        """What a sample must know for these terms: values of ``NEEDS``."""
        return frozenset(NEEDS[name] for name in self.weights if name in NEEDS)


def pdm(outcome: Outcome, settings: TermSettings) -> np.ndarray:
    """PDM score. It pays for standing still: 7/12 where nothing threatens."""
    return _judged(outcome)


def pdm_progress(outcome: Outcome, settings: TermSettings) -> np.ndarray:
    """PDM score times progress against the expert: standing still earns nothing where he drove."""
    return _judged(outcome) * progress(outcome, settings)


def driven(outcome: Outcome, settings: TermSettings) -> np.ndarray:
    """What became of the plan in a fork of the simulator: see ``evaluation.foresight.terms``."""
    return _judged(outcome, "driven")


def comfort(outcome: Outcome, settings: TermSettings) -> np.ndarray:
    """Comfort as the judge of the scene counts it, 0 to 1."""
    return _judged(outcome, "comfort")


def ade(outcome: Outcome, settings: TermSettings) -> np.ndarray:
    """``(delta - ADE) / kappa`` over the known poses: the paper's reward on Waymo."""
    gap = np.linalg.norm(outcome.plans[..., :2] - outcome.scene.expert[:, :2], axis=-1)[:, outcome.scene.known]
    return (settings.ade_from_m - gap.mean(axis=1)) / settings.ade_scale_m


def progress(outcome: Outcome, settings: TermSettings) -> np.ndarray:
    """Metres along the expert's path by his last known pose, as a share of his: 0 to 1.

    Where he stood, 1, and less for a plan that does not: see ``STILL_M`` and ``OVERSHOOT_M``.
    """
    last = int(np.flatnonzero(outcome.scene.known)[-1])
    path = np.concatenate([np.zeros((1, 2)), outcome.scene.expert[: last + 1, :2]])
    whole = float(arc_length(path)[-1])
    if whole < STILL_M:
        gone = np.linalg.norm(outcome.plans[:, last, :2], axis=-1)
        return np.clip(1.0 - (gone - STILL_M) / OVERSHOOT_M, 0.0, 1.0)
    return np.clip(_along(path, outcome.plans[:, last, :2]) / whole, 0.0, 1.0)


def thinking(outcome: Outcome, settings: TermSettings) -> np.ndarray:
    """What a thought costs: ``sigmoid(slope (tokens - half))``; a fast answer costs what no token costs."""
    if settings.thinking_spares_complex and outcome.scene.complex:
        return np.zeros(len(outcome.plans))
    return 1.0 / (1.0 + np.exp(-settings.thinking_slope * (outcome.thinking_tokens - settings.thinking_tokens)))


def form(outcome: Outcome, settings: TermSettings) -> np.ndarray:
    """1 for a fast answer and for a thought that ended by itself, says something and has its parts; else 0.

    The grammar writes the rest: there is no answer without exactly ten actions.
    """
    wanted = zip(outcome.slow, outcome.forced, outcome.thoughts)
    return np.array([float(not slow or (not cut and _well_formed(text, settings.parts))) for slow, cut, text in wanted])


def faithfulness(outcome: Outcome, settings: TermSettings) -> np.ndarray:
    """How far a thought agrees with what was there and with its own plan; a fast answer claims nothing: 1."""
    if outcome.scene.faithful is None:
        raise RewardError(
            f"{outcome.scene.id}: no truth to compare a thought with; take faithfulness out of the weights"
        )
    found = np.ones(len(outcome.plans))
    slow = np.flatnonzero(outcome.slow)
    if len(slow):
        found[slow] = outcome.scene.faithful(tuple(outcome.thoughts[i] for i in slow), outcome.plans[slow])
    return found


Term = Callable[[Outcome, TermSettings], np.ndarray]
REWARDS: Mapping[str, Term] = {
    "pdm": pdm,
    "pdm_progress": pdm_progress,
    "ade": ade,
    "progress": progress,
    "thinking": thinking,
    "format": form,
    "faithfulness": faithfulness,
    "driven": driven,
    "comfort": comfort,
}
NEEDS = {  # of a term, beside the expert's poses
    "pdm": "truth",
    "pdm_progress": "truth",
    "comfort": "truth",
    "faithfulness": "reasons",
}


def reward(outcome: Outcome, config: RewardConfig) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The weighted sum (P,) and each term without its weight (P,), so that a log can explain the sum.

    Raises:
        RewardError: a term is not finite, or needs what the scene lacks; the text names the sample.
    """
    terms = {name: np.asarray(REWARDS[name](outcome, config.terms), float) for name in config.weights}
    for name, values in terms.items():
        if not np.isfinite(values).all():
            raise RewardError(f"{outcome.scene.id}: reward term {name!r} is {values.tolist()}, expected finite numbers")
    return sum(config.weights[name] * values for name, values in terms.items()), terms


STANDARDS = {  # plans that no model made, by how fast they follow the expert's path
    "standing": 0.0,
    "half_speed": 0.5,
    "expert": 1.0,
}


def standards(scene: Scene, names: Sequence[str] = tuple(STANDARDS)) -> Outcome:
    """Plans of ``STANDARDS`` as fast answers: what any reward must be compared with."""
    plans = np.stack([slowed(scene.expert, STANDARDS[name]) for name in names])
    nothing = np.zeros(len(plans), int)
    return Outcome(scene, plans, nothing, nothing.astype(bool), nothing.astype(bool), ("",) * len(plans))


def joined(one: Outcome, other: Outcome) -> Outcome:
    """Answers of one scene in one row, so that it is judged once."""
    columns = ("plans", "thinking_tokens", "slow", "forced")
    both = {name: np.concatenate([getattr(one, name), getattr(other, name)]) for name in columns}
    return Outcome(one.scene, **both, thoughts=one.thoughts + other.thoughts)


def slowed(plan: np.ndarray, share: float) -> np.ndarray:
    """The plan (10, 3), driven at a share of its speed along the same path."""
    poses = np.concatenate([np.zeros((1, 3)), plan])
    turned = np.column_stack([poses[:, :2], np.unwrap(poses[:, 2])])
    at = share * np.arange(1, PLAN_STEPS + 1)
    return np.stack([np.interp(at, np.arange(PLAN_STEPS + 1), column) for column in turned.T], axis=-1)


def _judged(outcome: Outcome, name: str = "score") -> np.ndarray:
    if name not in outcome.scores:
        wanted = "PDM score" if name == "score" else name
        raise RewardError(f"{outcome.scene.id}: its data set gives {sorted(outcome.scores)}, no {wanted}")
    return outcome.scores[name]


def _along(path: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Metres along a path (K, 2) of the places nearest to points (P, 2)."""
    starts, steps = path[:-1], np.diff(path, axis=0)
    squares = (steps**2).sum(axis=1)
    offsets = points[:, None] - starts
    share = np.clip((offsets * steps).sum(-1) / np.maximum(squares, 1e-12), 0.0, 1.0)
    gaps = np.linalg.norm(offsets - share[..., None] * steps, axis=-1)
    nearest, rows = gaps.argmin(axis=1), np.arange(len(points))
    return arc_length(path)[:-1][nearest] + share[rows, nearest] * np.sqrt(squares)[nearest]


def _well_formed(thought: str, parts: bool) -> bool:
    if not parts:
        return bool(thought.strip())
    try:
        reasoning.read(thought)
    except reasoning.ReasoningError:
        return False
    return True
