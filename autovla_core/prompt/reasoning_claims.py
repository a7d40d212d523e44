"""From facts to a thought: which scenes are complex, what is critical, what is said. Only what is seen is said."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from autovla_core.contracts import Command
from autovla_core.prompt import reasoning
from autovla_core.prompt.reasoning import Reasoning
from autovla_core.prompt.reasoning_action import Action
from autovla_core.prompt.reasoning_facts import PERSONS, VEHICLES, Facts, SeenObject, Sky
from autovla_core.prompt.reasoning_grammar import Claim, claim, sentence

MOST_OBJECTS = 3
PERSON_M, NEAR_M = 15.0, 30.0  # somebody on foot or a bicycle so near, traffic so near
SIGNAL_M = 40.0  # a light or sign is spoken of from here on
JUNCTION_M = 30.0
MOVING, SLOW = 0.5, 4.0  # m/s
COUNTS = ("none", "one", "two", "three")  # and several
COMMANDS: Mapping[Command, str] = {
    Command.VOID: "follow",
    Command.FOLLOW: "follow",
    Command.LEFT: "left",
    Command.RIGHT: "right",
    Command.STRAIGHT: "straight",
    Command.CHANGE_LEFT: "change_left",
    Command.CHANGE_RIGHT: "change_right",
}


@dataclass(frozen=True)
class Parts:
    """What each of the four parts claims."""

    scene: tuple[Claim, ...]
    objects: tuple[Claim, ...]
    intention: tuple[Claim, ...]
    action: tuple[Claim, ...]

    @property
    def all(self) -> tuple[Claim, ...]:
        """Every claim, in order."""
        return (*self.scene, *self.objects, *self.intention, *self.action)


YIELDING = ("conflict", "walker", "oncoming", "obstacle", "cut_in", "overtake", "emergency")
BRAKING = ("halt", "slow", "slow_hard")
GAINING = ("faster", "faster_hard")

COMPLEX: Mapping[str, Callable[[Facts, Action], bool]] = {
    "stopping at a light": lambda f, a: f.rule == "light" and f.speed > MOVING,
    "starting at a light": lambda f, a: _light_near(f) and f.speed < SLOW and a.longitudinal in GAINING,
    "stop sign": lambda f, a: f.rule == "stop_sign",
    "giving way": lambda f, a: f.rule in YIELDING,
    "somebody on foot or a bicycle near": lambda f, a: any(
        o.kind in PERSONS and o.distance_m < PERSON_M and o.side != "behind" for o in f.seen
    ),
    "a leader that brakes": lambda f, a: f.rule == "lead" and a.longitudinal in BRAKING,
    "a turn among others": lambda f, a: a.lateral in ("turn_left", "turn_right") and _crossing_near(f),
    "a lane change among others": lambda f, a: (
        (f.command in (Command.CHANGE_LEFT, Command.CHANGE_RIGHT) or a.lateral in ("change_left", "change_right"))
        and any(o.kind in VEHICLES and o.distance_m < NEAR_M for o in f.seen)
    ),
}

ACTOR, LIGHT, SIGN, NOTHING, NEVER = "actor", "light", "sign", "nothing", "never"
CAUSES: Mapping[str, tuple[str, str]] = {  # rule -> what must be seen to speak of it, topic
    "cruise": (NOTHING, "cause_cruise"),
    "curve": (NOTHING, "cause_curve"),
    "lead": (ACTOR, "cause_lead"),
    "light": (LIGHT, "cause_light"),
    "stop_sign": (SIGN, "cause_sign"),
    "conflict": (ACTOR, "cause_conflict"),
    "walker": (ACTOR, "cause_walker"),
    "oncoming": (ACTOR, "cause_oncoming"),
    "obstacle": (ACTOR, "cause_obstacle"),
    "cut_in": (ACTOR, "cause_cut_in"),
    "overtake": (ACTOR, "cause_overtake"),
    "emergency": (ACTOR, "cause_conflict"),
}  # all other rules (the route's end, making way for what comes from behind) have no cause in the pictures


def why_complex(facts: Facts, action: Action) -> tuple[str, ...]:
    """The rules of ``COMPLEX`` that call for thinking; none: a simple scene."""
    return tuple(name for name, applies in COMPLEX.items() if applies(facts, action))


def cause_of(facts: Facts) -> Claim | None:
    """What binds the speed, as far as it is seen; None when its cause is hidden."""
    needed, topic = CAUSES.get(facts.rule, (NEVER, ""))
    if needed == NOTHING:
        green = _light_near(facts) and facts.light.state == "green"
        return claim("cause_green") if green and facts.rule == "cruise" else claim(topic)
    if needed == ACTOR:
        actor = facts.object(facts.rule_id)
        return claim(topic, kind=actor.kind) if actor is not None and actor.seen and actor.side != "behind" else None
    if needed == LIGHT and facts.light is not None and facts.light.seen and facts.light.state != "green":
        return claim(topic, state=facts.light.state)
    return claim(topic) if needed == SIGN and facts.sign is not None and facts.sign.seen else None


def critical(facts: Facts) -> tuple[SeenObject, ...]:
    """At most three seen objects that matter, first who binds us, then who is weak, who crosses, who is near."""
    ranked = [(_rank(o, facts), o) for o in facts.seen if o.side != "behind"]
    kept = sorted((pair for pair in ranked if pair[0] < 4), key=lambda pair: (pair[0], pair[1].distance_m, pair[1].id))
    return tuple(o for _, o in kept[:MOST_OBJECTS])


def claims(facts: Facts, action: Action) -> Parts | None:
    """What a thought about this scene says; None when the cause of the action is hidden from the cameras."""
    cause = cause_of(facts)
    if cause is None:
        return None
    scene = (_weather(facts.sky), claim(junction_topic(facts)), claim("traffic", count=count_of(facts)))
    objects = [object_claim(o) for o in critical(facts)]
    objects += [said for said in (light_claim(facts), sign_claim(facts)) if said is not None]
    intention = (claim("navigation", command=COMMANDS[Command(facts.command)]), cause)
    said = (claim("action", lateral=action.lateral, longitudinal=action.longitudinal),)
    return Parts(scene, tuple(objects) or (claim("nothing"),), intention, said)


def light_claim(facts: Facts) -> Claim | None:
    """What is said of the next traffic light; None where it is far or hidden."""
    return claim("light", facts.light.ahead_m, state=facts.light.state) if _light_near(facts) else None


def sign_claim(facts: Facts) -> Claim | None:
    """What is said of the next stop sign; None where it is far, hidden or obeyed."""
    sign = facts.sign
    return claim("sign", sign.ahead_m) if sign is not None and sign.seen and 0.0 <= sign.ahead_m < SIGNAL_M else None


def object_claim(thing: SeenObject) -> Claim:
    """What is said of one object."""
    return claim("object", thing.distance_m, kind=thing.kind, side=thing.side, motion=thing.motion)


def compose(parts: Parts, rng: np.random.Generator) -> str:
    """The thought in words drawn by ``rng``."""
    texts = (" ".join(sentence(said, rng) for said in part) for part in vars(parts).values())
    return reasoning.write(Reasoning(*texts))


def thought(facts: Facts, action: Action, seed: str) -> str | None:
    """The thought that belongs to a scene; None for a simple one, or one whose cause is hidden.

    Args:
        seed: names the sample (route and tick): the same sample always gets the same words.
    """
    parts = claims(facts, action) if why_complex(facts, action) else None
    if parts is None:
        return None
    digest = hashlib.sha256(seed.encode()).digest()
    return compose(parts, np.random.default_rng(int.from_bytes(digest[:8], "big")))


def count_of(facts: Facts) -> str:
    """How many vehicles are seen."""
    count = sum(o.kind in VEHICLES for o in facts.seen)
    return COUNTS[count] if count < len(COUNTS) else "several"


def sky_words(sky: Sky) -> tuple[str, str]:
    """day and sky of ``reasoning_wordings.WORDS``."""
    day = "night" if sky.sun_deg < 0.0 else "low_sun" if sky.sun_deg < 15.0 else "day"
    weather = "rain" if sky.rain > 10.0 else "fog" if sky.fog > 20.0 else "cloudy" if sky.cloudiness > 60.0 else "clear"
    return day, weather


def junction_topic(facts: Facts) -> str:
    """Which of the three sentences about the next junction is true."""
    if facts.junction_m is None or facts.junction_m > JUNCTION_M:
        return "junction_far"
    return "junction_inside" if facts.junction_m <= 0.0 else "junction_near"


def _weather(sky: Sky) -> Claim:
    day, weather = sky_words(sky)
    return claim("weather", day=day, sky=weather)


def _light_near(facts: Facts) -> bool:
    return facts.light is not None and facts.light.seen and 0.0 <= facts.light.ahead_m < SIGNAL_M


def _crossing_near(facts: Facts) -> bool:
    moves = ("oncoming", "to_left", "to_right")
    return any(o.motion in moves and o.distance_m < NEAR_M for o in facts.seen)


def _rank(thing: SeenObject, facts: Facts) -> int:
    """0 binds us, 1 weak and near, 2 crosses or comes towards us, 3 near on our way, 4 not critical."""
    if thing.id == facts.rule_id and CAUSES.get(facts.rule, ("", ""))[0] == ACTOR:
        return 0
    if thing.kind in PERSONS and thing.distance_m < 2 * PERSON_M:
        return 1
    if thing.motion in ("oncoming", "to_left", "to_right") and thing.distance_m < NEAR_M:
        return 2
    return 3 if thing.side == "ahead" and thing.distance_m < NEAR_M else 4
