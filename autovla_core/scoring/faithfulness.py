"""Is a thought true? Its sentences are read back as claims, and each is held against what was true and seen.

Precision: how many claims are right. Recall: how much of what is critical was said. And whether the action that a
thought names is the one its own plan carries out. Sentences that the wording does not hold count as unread, never as
right. A thought that is not in four parts is read all the same, and counted as malformed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from autovla_core.contracts import Command
from autovla_core.prompt import reasoning, reasoning_claims
from autovla_core.prompt.reasoning import ReasoningError
from autovla_core.prompt.reasoning_action import Action, action_of
from autovla_core.prompt.reasoning_claims import cause_of, critical, light_claim, sign_claim
from autovla_core.prompt.reasoning_facts import Facts, SeenObject
from autovla_core.prompt.reasoning_grammar import Claim, claim, read_text

DISTANCE_M, DISTANCE_SHARE = 2.0, 0.25  # a stated distance may be off by the larger of the two
BORDER_M = 0.8  # so near the border of two sides both words are right
NEARBY = ((0.0, 0.0), (BORDER_M, 0.0), (-BORDER_M, 0.0), (0.0, BORDER_M), (0.0, -BORDER_M))


@dataclass(frozen=True)
class Faithfulness:
    """Counts of one thought, or the sum over many."""

    thoughts: int = 0
    malformed: int = 0  # not in four parts
    unread: int = 0  # sentences
    claims: int = 0
    right: int = 0
    objects_said: int = 0
    objects_right: int = 0  # kind, place and motion
    objects_placed: int = 0  # kind and place, whatever the motion
    objects_critical: int = 0
    objects_found: int = 0  # of the critical ones
    lights_said: int = 0
    lights_right: int = 0
    lights_true: int = 0
    lights_found: int = 0
    causes_said: int = 0
    causes_right: int = 0
    actions_said: int = 0
    actions_right: int = 0  # as the expert's
    actions_own: int = 0  # as the thought's own plan; counted where one is given
    actions_judged: int = 0  # thoughts with a plan; one that states no action does not agree with it

    def __add__(self, other: Faithfulness) -> Faithfulness:
        return Faithfulness(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def rates(self) -> dict[str, float]:
        """Every share that these counts allow; NaN where nothing was to be counted."""
        return {name: _share(getattr(self, a), getattr(self, b)) for name, (a, b) in RATES.items()}

    @property
    def score(self) -> float:
        """One number in [0, 1] for a reward: the mean of precision, both recalls and the agreement with the own plan.

        A thought that claims nothing, or is not in four parts, gets 0: silence is not faithful. Nor does leaving the
        action out pay, or saying a true thing twice.
        """
        if not self.claims or self.malformed == self.thoughts:
            return 0.0
        names = ("precision", "object_recall", "light_recall", "action_agreement")
        parts = [self.rates[name] for name in names]
        readable = 1.0 - self.unread / (self.unread + self.claims)
        return readable * float(np.mean([part for part in parts if not np.isnan(part)]))


RATES: Mapping[str, tuple[str, str]] = {
    "precision": ("right", "claims"),
    "object_precision": ("objects_right", "objects_said"),
    "object_place_precision": ("objects_placed", "objects_said"),
    "object_recall": ("objects_found", "objects_critical"),
    "light_precision": ("lights_right", "lights_said"),
    "light_recall": ("lights_found", "lights_true"),
    "cause_accuracy": ("causes_right", "causes_said"),
    "action_accuracy": ("actions_right", "actions_said"),
    "action_agreement": ("actions_own", "actions_judged"),
    "malformed": ("malformed", "thoughts"),
}


def judge(thought: str, facts: Facts, best: Action, plan: np.ndarray | None = None) -> Faithfulness:
    """Hold a thought against the truth.

    Args:
        thought: what the model wrote between its tags.
        facts: of the moment that it saw.
        best: what the expert did.
        plan: (10, 3) the poses that the model's own answer decodes to.
    """
    parts = _bodies(thought)
    claims, unread = read_text("\n".join(parts) if parts else _headless(thought))
    own = None if plan is None else action_of(plan)
    objects = [said for said in claims if said.topic == "object"]
    matched = _matches(objects, facts.seen)
    wanted = critical(facts)
    said = {name: [c for c in claims if c.topic.startswith(name)] for name in ("light", "cause_", "action")}
    true = {c.topic for c in claims if _is_right(c, facts, best)}  # topics: one truth makes one claim right
    actions = [Action(c["lateral"], c["longitudinal"]) for c in said["action"]]
    return Faithfulness(
        thoughts=1,
        malformed=int(not parts),
        unread=len(unread),
        claims=len(claims),
        right=len(true) + sum(_moves(c, o) for c, o in matched),
        objects_said=len(objects),
        objects_right=sum(_moves(c, o) for c, o in matched),
        objects_placed=len(matched),
        objects_critical=len(wanted),
        objects_found=len({o.id for _, o in matched} & {o.id for o in wanted}),
        lights_said=len(said["light"]),
        lights_right=int("light" in true),
        lights_true=int(light_claim(facts) is not None),
        lights_found=int("light" in true),
        causes_said=len(said["cause_"]),
        causes_right=sum(topic.startswith("cause_") for topic in true),
        actions_said=len(actions),
        actions_right=int("action" in true),
        actions_own=int(bool(actions) and own is not None and all(action == own for action in actions)),
        actions_judged=int(own is not None),
    )


def total(judged: Sequence[Faithfulness]) -> Faithfulness:
    """The sum over many thoughts: rates over all their claims."""
    return sum(judged, Faithfulness())


def near(said_m: float, true_m: float) -> bool:
    """Whether a stated distance is as good as one can see it."""
    return abs(said_m - true_m) <= max(DISTANCE_M, DISTANCE_SHARE * true_m)


def _bodies(thought: str) -> list[str]:
    try:
        return list(vars(reasoning.read(thought)).values())
    except ReasoningError:
        return []


def _headless(thought: str) -> str:
    """A thought that is not in order, without the headers that it has."""
    for header in reasoning.HEADERS.values():
        thought = thought.replace(header, "\n")
    return thought


def _matches(claims: Sequence[Claim], seen: Sequence[SeenObject]) -> list[tuple[Claim, SeenObject]]:
    """Each claim with an object of its kind and place, no object twice; those that also move as said come first."""
    pairs = [
        (not _moves(said, o), abs(said.distance_m - o.distance_m), i, k)
        for i, said in enumerate(claims)
        for k, o in enumerate(seen)
        if _fits(said, o)
    ]
    taken: dict[int, int] = {}
    for _, _, i, k in sorted(pairs):
        if i not in taken and k not in taken.values():
            taken[i] = k
    return [(claims[i], seen[k]) for i, k in taken.items()]


def _fits(said: Claim, thing: SeenObject) -> bool:
    return said["kind"] == thing.kind and said["side"] in sides_of(thing) and near(said.distance_m, thing.distance_m)


def _moves(said: Claim, thing: SeenObject) -> bool:
    return said["motion"] == thing.motion


def sides_of(thing: SeenObject) -> set[str]:
    """The words for where it is; those on both sides of a border that is near."""
    return {replace(thing, ahead_m=thing.ahead_m + x, left_m=thing.left_m + y).side for x, y in NEARBY}


def _light_is(said: Claim, facts: Facts) -> bool:
    true = light_claim(facts)
    return true is not None and said["state"] == true["state"] and near(said.distance_m, facts.light.ahead_m)


def _sign_is(said: Claim, facts: Facts) -> bool:
    return sign_claim(facts) is not None and near(said.distance_m, facts.sign.ahead_m)


def _nothing_is(said: Claim, facts: Facts) -> bool:
    shown = (light_claim(facts), sign_claim(facts))
    return not critical(facts) and shown == (None, None)


CHECKS: Mapping[str, Callable[[Claim, Facts], bool]] = {
    "weather": lambda said, facts: (said["day"], said["sky"]) == reasoning_claims.sky_words(facts.sky),
    "junction": lambda said, facts: said.topic == reasoning_claims.junction_topic(facts),
    "traffic": lambda said, facts: said["count"] == reasoning_claims.count_of(facts),
    "light": _light_is,
    "sign": _sign_is,
    "nothing": _nothing_is,
    "navigation": lambda said, facts: said["command"] == reasoning_claims.COMMANDS[Command(facts.command)],
    "cause": lambda said, facts: said == cause_of(facts),
}


def _is_right(said: Claim, facts: Facts, best: Action) -> bool:
    """Whether one claim holds; objects are judged together by ``_matches``."""
    if said.topic == "object":
        return False
    if said.topic == "action":
        return said == claim("action", lateral=best.lateral, longitudinal=best.longitudinal)
    return CHECKS[said.topic.split("_")[0]](said, facts)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
