"""Thoughts from facts: every wording reads back, only what is seen is said, and complex is what the rules call so."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from autovla_core.contracts import Command
from autovla_core.prompt import reasoning, reasoning_claims, reasoning_grammar
from autovla_core.prompt.reasoning import ReasoningError
from autovla_core.prompt.reasoning_action import LATERAL, LONGITUDINAL, Action, action_of
from autovla_core.prompt.reasoning_claims import CAUSES, COMPLEX, NOTHING, cause_of, claims, critical, thought
from autovla_core.prompt.reasoning_facts import (
    KINDS,
    Facts,
    FactsError,
    SeenLight,
    SeenObject,
    SeenSign,
    from_line,
    to_line,
)
from autovla_core.prompt.reasoning_grammar import NUMBERS, claim, read_sentence, read_text, rounded, sentences, slots_of
from autovla_core.prompt.reasoning_wordings import TEMPLATES, WORDS

FORWARD = Action("forward", "keep")


def thing(id: int = 1, kind: str = "car", ahead: float = 20.0, left: float = 0.0, **more) -> SeenObject:
    return SeenObject(id, kind, ahead, left, **{"heading": 0.0, "speed": 0.0, "pixels": 100, "camera": "front", **more})


def facts(rule: str = "cruise", rule_id: int = 0, speed: float = 8.0, **more) -> Facts:
    return Facts(10, speed, int(Command.FOLLOW), rule, rule_id, **more)


def every_claim():
    for topic in TEMPLATES:
        slots = sorted(slots_of(topic) - set(NUMBERS))
        for values in itertools.product(*(WORDS[slot] for slot in slots)):
            metres = 12.0 if "distance" in slots_of(topic) else None
            yield claim(topic, metres, **dict(zip(slots, values)))


def test_every_sentence_of_every_wording_reads_back_as_its_own_claim_and_no_other():
    patterns = reasoning_grammar._patterns()
    count = 0
    for said in every_claim():
        for text in sentences(said):
            count += 1
            assert read_sentence(text) == said
            assert sum(pattern.fullmatch(text) is not None for _, pattern in patterns) == 1, text
    assert count > 4000


def test_all_templates_of_a_topic_have_the_same_slots_and_end_with_the_only_full_stop():
    for topic, templates in TEMPLATES.items():
        for template in templates:
            assert set(reasoning_grammar._SLOT.findall(template)) == slots_of(topic)
            assert template.endswith(".") and template.count(".") == 1
    words = [word for values in WORDS.values() for options in values.values() for word in options]
    assert not any(mark in word for word in words for mark in ".!?<#")


def test_a_word_stands_for_one_value_of_its_slot():
    for values in WORDS.values():
        words = [word for options in values.values() for word in options]
        assert len(set(words)) == len(words)


def test_a_text_is_read_whatever_its_case_and_spaces_and_the_rest_is_kept_as_unread():
    said, unread = read_text("THERE is a car  12 m straight ahead, standing still. Dogs bark. we are to turn left")
    assert [c.topic for c in said] == ["object", "navigation"] and said[0].distance_m == 12
    assert unread == ["Dogs bark."]


def test_a_claim_with_a_wrong_slot_or_word_is_named():
    with pytest.raises(ReasoningError, match="no topic 'horse'"):
        claim("horse")
    with pytest.raises(ReasoningError, match=r"slots \['distance', 'state'\]"):
        claim("light", state="red")
    with pytest.raises(ReasoningError, match="state 'blue'; known: red, yellow, green"):
        claim("light", 10.0, state="blue")


@pytest.mark.parametrize(("metres", "said"), [(0.4, 0), (7.6, 8), (19.4, 19), (21.0, 20), (23.0, 25), (48.0, 50)])
def test_metres_are_whole_and_far_ones_in_fives(metres, said):
    assert rounded(metres) == said


@pytest.mark.parametrize(
    ("ahead", "left", "side"),
    [
        (20, 1.5, "ahead"),
        (20, 1.7, "ahead_left"),
        (20, -9, "ahead_right"),
        (3, 5, "left"),
        (3, -5, "right"),
        (-1, 0, "behind"),
    ],
)
def test_where_a_thing_is(ahead, left, side):
    assert thing(ahead=ahead, left=left).side == side


@pytest.mark.parametrize(
    ("heading", "speed", "motion"),
    [
        (0.0, 0.4, "standing"),
        (0.5, 5.0, "same_way"),
        (3.0, 5.0, "oncoming"),
        (math.pi / 2, 5.0, "to_left"),
        (-math.pi / 2, 5.0, "to_right"),
        (0.0, -2.0, "oncoming"),  # reversing towards us
        (math.pi / 2, -2.0, "to_right"),
    ],
)
def test_how_a_thing_moves(heading, speed, motion):
    assert thing(heading=heading, speed=speed).motion == motion


def plan(speeds, turn: float = 0.0) -> np.ndarray:
    """Ten poses at these speeds (10,), the heading turned by ``turn`` rad in all."""
    yaw = np.linspace(0.0, turn, 11)
    steps = 0.5 * np.asarray(speeds, float)[:, None] * np.stack([np.cos(yaw[1:]), np.sin(yaw[1:])], 1)
    return np.column_stack([np.cumsum(steps, 0), yaw[1:]])


@pytest.mark.parametrize(
    ("speeds", "word"),
    [
        (np.zeros(10), "stop"),
        (np.linspace(6, 0, 10), "halt"),
        (np.full(10, 6.0), "keep"),
        (np.linspace(6, 6.7, 10), "keep"),
        (np.linspace(6, 9, 10), "faster"),
        (np.linspace(2, 9, 10), "faster_hard"),
        (np.linspace(9, 6, 10), "slow"),
        (np.linspace(9, 2, 10), "slow_hard"),
    ],
)
def test_speeds_have_the_words_of_the_paper(speeds, word):
    assert action_of(plan(speeds)).longitudinal == word


def test_turns_arcs_and_lane_changes_are_told_apart_and_mirror():
    speeds = np.full(10, 6.0)
    change = plan(speeds)
    change[:, 1] = 3.5 * (1 - np.cos(np.linspace(0, np.pi, 10))) / 2
    bend = plan(speeds, 0.4)  # 30 m of road that bends by 23 degrees: 6 m aside, but it is the road
    for poses, word in ((plan(speeds, 1.5), "turn"), (change, "change"), (bend, "forward")):
        mirrored = poses * [1, -1, -1]
        expected = ("forward", "forward") if word == "forward" else (f"{word}_left", f"{word}_right")
        assert (action_of(poses).lateral, action_of(mirrored).lateral) == expected
    assert action_of(plan(np.full(10, 0.1), 1.0)).lateral == "forward"  # half a metre goes nowhere
    assert set(LATERAL) == set(WORDS["lateral"]) and set(LONGITUDINAL) == set(WORDS["longitudinal"])
    with pytest.raises(ValueError, match="expected"):
        action_of(np.zeros((10, 2)))


def test_a_simple_scene_has_no_thought_and_a_complex_one_has_four_parts():
    assert thought(facts(), FORWARD, "r/1") is None
    scene = facts("lead", 1, objects=(thing(speed=3.0),))
    said = thought(scene, Action("forward", "slow"), "r/1")
    parts = reasoning.read(said)
    assert all(read_text(part)[1] == [] for part in vars(parts).values())
    assert len(said) < 600


def test_the_same_sample_always_has_the_same_words_and_others_have_others():
    scene = facts("lead", 1, objects=(thing(speed=3.0),))
    texts = [thought(scene, Action("forward", "slow"), f"route/{i}") for i in range(30)]
    assert texts == [thought(scene, Action("forward", "slow"), f"route/{i}") for i in range(30)]
    assert len(set(texts)) > 20
    meanings = {tuple(read_text("\n".join(vars(reasoning.read(t)).values()))[0]) for t in texts}
    assert len(meanings) == 1


@pytest.mark.parametrize("hidden", [0, 5])
def test_a_hidden_cause_is_never_spoken_of(hidden):
    binds_us = facts("conflict", 1, objects=(thing(pixels=hidden), thing(2, left=4.0)))
    assert cause_of(binds_us) is None and claims(binds_us, FORWARD) is None
    assert thought(binds_us, Action("forward", "halt"), "r/1") is None
    assert thought(facts("light", 7, light=SeenLight(7, "red", 10.0, pixels=0)), FORWARD, "r/1") is None
    assert thought(facts("stop_sign", 7, sign=SeenSign(7, 10.0, pixels=hidden)), FORWARD, "r/1") is None
    for rule in ("end", "make_way", ""):
        assert cause_of(facts(rule)) is None


def test_hidden_and_passed_objects_are_not_mentioned():
    objects = (thing(1, "pedestrian", 9.0, 3.0, pixels=7), thing(2, ahead=-8.0), thing(3, "pedestrian", 9.0, -3.0))
    parts = claims(facts(objects=objects), FORWARD)
    assert [c["side"] for c in parts.objects] == ["ahead_right"]


def test_what_binds_us_comes_first_then_who_is_weak_then_who_crosses_and_at_most_three():
    objects = (
        thing(1, ahead=10.0, left=3.0, heading=3.1, speed=6.0),
        thing(2, "pedestrian", 20.0, 5.0),
        thing(3, ahead=28.0, speed=5.0),
        thing(4, ahead=25.0, left=9.0, heading=-1.5, speed=4.0),
        thing(5, ahead=55.0, left=20.0),
    )
    assert [o.id for o in critical(facts("lead", 3, objects=objects))] == [3, 2, 1]
    assert [o.id for o in critical(facts(objects=objects[4:]))] == []
    assert [c.topic for c in claims(facts(objects=objects[4:]), FORWARD).objects] == ["nothing"]


LIGHT = SeenLight(7, "red", 15.0, 30)
CASES = {
    "stopping at a light": (facts("light", 7, light=LIGHT), Action("forward", "halt")),
    "starting at a light": (facts(speed=0.0, light=replace(LIGHT, state="green")), Action("forward", "faster_hard")),
    "stop sign": (facts("stop_sign", 8, sign=SeenSign(8, 9.0, 30)), Action("forward", "halt")),
    "giving way": (facts("conflict", 1, objects=(thing(left=5.0),)), FORWARD),
    "somebody on foot or a bicycle near": (facts(objects=(thing(1, "bicycle", 12.0, 2.0),)), FORWARD),
    "a leader that brakes": (facts("lead", 1, objects=(thing(),)), Action("forward", "slow")),
    "a turn among others": (
        facts(objects=(thing(left=5.0, heading=3.0, speed=6.0),)),
        Action("turn_left", "keep"),
    ),
    "a lane change among others": (facts(objects=(thing(left=3.0, speed=6.0),)), Action("change_left", "keep")),
}


@pytest.mark.parametrize("rule", COMPLEX)
def test_each_rule_of_complexity_has_a_scene_that_it_alone_calls_complex(rule):
    scene, action = CASES[rule]
    assert reasoning_claims.why_complex(scene, action) == (rule,)
    assert thought(scene, action, "r/1") is not None


def test_steady_driving_and_waiting_are_simple():
    simple = [
        (facts("lead", 1, objects=(thing(speed=8.0),)), FORWARD),  # a steady leader
        (facts("light", 7, speed=0.0, light=LIGHT), Action("forward", "stop")),  # waiting at a red light
        (facts("curve"), Action("turn_left", "keep")),  # nobody about
        (facts(objects=(thing(1, "pedestrian", 30.0, 6.0),)), FORWARD),
    ]
    assert [reasoning_claims.why_complex(*case) for case in simple] == [()] * 4


def test_lines_read_back_and_broken_ones_are_named():
    scene = facts(
        "lead", 1, light=LIGHT, sign=SeenSign(3, 4.5, 6), junction_m=12.0, objects=(thing(), thing(2, "cone"))
    )
    assert from_line(to_line(scene)) == scene
    with pytest.raises(FactsError, match="no facts in"):
        from_line(to_line(scene)[:50])
    with pytest.raises(FactsError, match="unknown"):
        from_line(to_line(scene).replace('"tick"', '"tack"'))
    with pytest.raises(FactsError, match="unknown kinds"):
        from_line(to_line(scene).replace('"cone"', '"horse"'))


def test_the_tables_fit_each_other():
    assert set(KINDS) == set(WORDS["kind"])
    assert {topic for _, topic in CAUSES.values()} <= set(TEMPLATES)
    assert all((slots_of(topic) == set()) == (needed in (NOTHING, "sign")) for needed, topic in CAUSES.values())
    assert set(reasoning_claims.COMMANDS) == set(Command)


def test_the_corpus_holds_every_word_of_every_slot():
    text = "\n".join(reasoning_grammar.corpus())
    assert all(word in text for values in WORDS.values() for options in values.values() for word in options)
