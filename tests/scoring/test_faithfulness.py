"""The faithfulness meter on sentences made by hand, and on everything that the writer can write."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autovla_core.prompt import reasoning
from autovla_core.prompt.reasoning import Reasoning
from autovla_core.prompt.reasoning_action import Action
from autovla_core.prompt.reasoning_claims import claims, compose
from autovla_core.prompt.reasoning_facts import Facts, SeenLight, SeenObject, SeenSign, Sky
from autovla_core.scoring.faithfulness import Faithfulness, judge, near, sides_of, total

BEST = Action("forward", "halt")
STOPPING = np.column_stack([np.cumsum(np.linspace(4.0, 0.0, 10)), np.zeros(10), np.zeros(10)])
SPEEDING = np.column_stack([np.cumsum(np.linspace(1.0, 5.0, 10)), np.zeros(10), np.zeros(10)])
CAR = SeenObject(1, "car", 12.0, 0.5, 0.0, 4.0, pixels=90)
WALKER = SeenObject(2, "pedestrian", 10.0, -4.0, 1.57, 1.4, pixels=20)
HIDDEN = SeenObject(3, "truck", 25.0, 6.0, 3.1, 5.0, pixels=2)
FACTS = Facts(0, 8.0, 4, "lead", 1, junction_m=20.0, light=SeenLight(9, "red", 30.0, 12), objects=(CAR, WALKER, HIDDEN))
SCENE, OBJECTS, INTENT, ACTION = (
    "It is clear by day. A junction lies ahead. There is one vehicle in view.",
    "There is a car 12 m straight ahead, moving our way. I notice a pedestrian, 11 m ahead on the right, crossing from "
    "right to left. The traffic light 30 m ahead is red.",
    "We are to keep to the road. We stay behind a car.",
    "Best to drive forward and brake to a stop.",
)


def text(scene=SCENE, objects=OBJECTS, intention=INTENT, action=ACTION) -> str:
    return reasoning.write(Reasoning(scene, objects, intention, action))


def test_a_true_thought_has_every_rate_at_one():
    found = judge(text(), FACTS, BEST, STOPPING)
    assert (found.claims, found.right, found.unread, found.malformed) == (9, 9, 0, 0)
    assert {name: rate for name, rate in found.rates.items() if name != "malformed"} == dict.fromkeys(
        [name for name in found.rates if name != "malformed"], 1.0
    )
    assert found.score == 1.0


def test_an_invented_object_costs_precision_and_a_missing_one_recall():
    invented = judge(text(objects=OBJECTS + " There is a bus 15 m ahead on the left, standing still."), FACTS, BEST)
    assert invented.rates["object_precision"] == pytest.approx(2 / 3) and invented.rates["object_recall"] == 1.0
    missing = judge(text(objects="There is a car 12 m straight ahead, moving our way."), FACTS, BEST)
    assert missing.rates["object_precision"] == 1.0 and missing.rates["object_recall"] == 0.5
    assert missing.rates["light_recall"] == 0.0 and np.isnan(missing.rates["light_precision"])


def test_what_the_cameras_hide_is_invented_even_if_it_is_there():
    hidden = judge(text(objects="There is a truck 25 m ahead on the left, oncoming."), FACTS, BEST)
    assert (hidden.objects_said, hidden.objects_placed) == (1, 0)


@pytest.mark.parametrize(
    ("sentence", "placed", "right"),
    [
        ("There is a car 14 m straight ahead, moving our way.", 1, 1),  # 2 m off
        ("There is a car 16 m straight ahead, moving our way.", 0, 0),  # 4 m: more than 3 m, a quarter of 12
        ("There is a car 12 m straight ahead, standing still.", 1, 0),
        ("There is a car 12 m ahead on the left, moving our way.", 0, 0),
        ("There is a van 12 m straight ahead, moving our way.", 0, 0),
    ],
)
def test_kind_place_and_motion_must_be_right(sentence, placed, right):
    found = judge(text(objects=sentence), FACTS, BEST)
    assert (found.objects_placed, found.objects_right) == (placed, right)


def test_one_car_said_twice_counts_once():
    twice = "There is a car 12 m straight ahead, moving our way. I notice a car, 11 m straight ahead, moving our way."
    assert judge(text(objects=twice), FACTS, BEST).objects_right == 1


@pytest.mark.parametrize(
    ("light", "right"),
    [
        ("The traffic light 35 m ahead is red.", 1),
        ("The traffic light 30 m ahead is green.", 0),
        ("A traffic light shows red, 10 m ahead.", 0),
    ],
)
def test_the_colour_and_place_of_the_light_must_be_right(light, right):
    found = judge(text(objects=light), FACTS, BEST)
    assert found.lights_right == right and found.lights_found == right and found.lights_true == 1


def test_a_light_that_is_not_there_is_a_false_light():
    dark = replace(FACTS, light=None)
    found = judge(text(), dark, BEST)
    assert (found.lights_said, found.lights_right, found.lights_true) == (1, 0, 0)


def test_the_action_is_held_against_the_expert_and_against_the_own_plan():
    against = judge(text(), FACTS, BEST, SPEEDING)
    assert against.rates["action_accuracy"] == 1.0 and against.rates["action_agreement"] == 0.0
    other = judge(text(action="Best to drive forward and gain speed quickly."), FACTS, BEST, SPEEDING)
    assert other.rates["action_accuracy"] == 0.0 and other.rates["action_agreement"] == 1.0
    assert np.isnan(judge(text(), FACTS, BEST).rates["action_agreement"])
    assert against.score < judge(text(), FACTS, BEST, STOPPING).score


def test_leaving_the_action_out_is_no_agreement_with_the_plan():
    unsaid = judge(text(action="We are to keep to the road."), FACTS, BEST, STOPPING)
    assert (unsaid.actions_said, unsaid.actions_judged) == (0, 1) and unsaid.rates["action_agreement"] == 0.0
    road = "We are to keep to the road."
    assert judge(text(road, road, road, road), Facts(0, 8.0, 4), BEST, STOPPING).score < 0.5
    said = text(road, road, road, "Best to drive forward and brake to a stop.")
    assert judge(said, Facts(0, 8.0, 4), BEST, STOPPING).score > 0.5


@pytest.mark.parametrize(
    "again",
    [
        "It is clear by day.",
        "A junction lies ahead.",
        "There is one vehicle in view.",
        "We are to keep to the road.",
        "We stay behind a car.",
        "The traffic light 30 m ahead is red.",
        "The traffic light 35 m ahead is red.",
        "Best to drive forward and brake to a stop.",
    ],
)
def test_a_true_thing_said_twice_is_right_once(again):
    lie = OBJECTS + " There is a bus 15 m ahead on the left, standing still."
    once = judge(text(objects=lie), FACTS, BEST, STOPPING)
    twice = judge(text(objects=f"{lie} {again}"), FACTS, BEST, STOPPING)
    assert twice.right == once.right and twice.claims == once.claims + 1 and twice.score < once.score
    assert all(rate <= once.rates[name] for name, rate in twice.rates.items())


def test_a_wrong_cause_a_wrong_sky_and_a_wrong_count_are_wrong():
    found = judge(
        text(
            "It is rainy at night. No junction is near. There is no vehicle in view.",
            intention="We are to turn left. The way is free.",
        ),
        FACTS,
        BEST,
    )
    assert found.claims - found.right == 5 and found.causes_right == 0


def test_babble_is_unread_and_silence_is_not_faithful():
    babble = judge(text(objects="Birds sing. There is a car 12 m straight ahead, moving our way."), FACTS, BEST)
    assert babble.unread == 1 and babble.objects_right == 1
    for silent in ("", "Birds sing.", text("a", "b", "c", "d")):
        assert judge(silent, FACTS, BEST, STOPPING).score == 0.0


def test_a_thought_without_headers_is_read_but_malformed():
    found = judge("\n".join((SCENE, OBJECTS, INTENT, ACTION)), FACTS, BEST, STOPPING)
    assert found.malformed == 1 and found.right == 9 and found.score == 0.0
    half = judge(text().replace("### Reasoning on Intent:", ""), FACTS, BEST)
    assert half.malformed == 1 and half.unread == 0 and half.right == 9


def random_facts(rng: np.random.Generator) -> Facts:
    kinds = ("car", "van", "truck", "pedestrian", "bicycle", "cone", "emergency")
    objects = tuple(
        SeenObject(
            i + 1,
            kinds[int(rng.integers(len(kinds)))],
            float(rng.uniform(-10, 50)),
            float(rng.uniform(-15, 15)),
            float(rng.uniform(-3.1, 3.1)),
            float(rng.uniform(-1, 9)),
            pixels=int(rng.integers(0, 60)),
        )
        for i in range(int(rng.integers(0, 6)))
    )
    light = SeenLight(
        50, ("red", "yellow", "green", "off")[int(rng.integers(4))], float(rng.uniform(-1, 60)), int(rng.integers(0, 9))
    )
    sign = SeenSign(60, float(rng.uniform(-1, 60)), int(rng.integers(0, 12)))
    rules = ("cruise", "curve", "lead", "light", "stop_sign", "conflict", "walker", "oncoming", "obstacle", "cut_in")
    return Facts(
        0,
        float(rng.uniform(0, 12)),
        int(rng.integers(1, 7)),
        rules[int(rng.integers(len(rules)))],
        int(rng.integers(1, 4)),
        float(rng.uniform(0, 60)),
        Sky(
            float(rng.uniform(-20, 60)),
            float(rng.uniform(0, 100)),
            float(rng.uniform(0, 20)),
            float(rng.uniform(0, 30)),
        ),
        light if rng.random() < 0.5 else None,
        sign if rng.random() < 0.5 else None,
        objects,
    )


def test_whatever_the_writer_writes_the_meter_calls_true():
    rng = np.random.default_rng(0)
    judged = []
    for _ in range(400):
        facts = random_facts(rng)
        parts = claims(facts, BEST)
        if parts is not None:
            judged.append(judge(compose(parts, rng), facts, BEST, STOPPING))
            assert judged[-1].score == 1.0 and judged[-1].right == judged[-1].claims
    assert len(judged) > 150
    whole = total(judged)
    assert whole.thoughts == len(judged) and whole.rates["object_recall"] == 1.0 == whole.rates["precision"]
    assert whole.objects_critical > 50 and whole.lights_true > 20


def test_thoughts_about_other_scenes_are_mostly_false():
    rng = np.random.default_rng(1)
    scenes = [facts for facts in (random_facts(rng) for _ in range(200)) if claims(facts, BEST) is not None]
    texts = [compose(claims(facts, BEST), rng) for facts in scenes]
    swapped = total([judge(text, facts, BEST) for text, facts in zip(texts, scenes[1:] + scenes[:1])])
    assert swapped.rates["object_precision"] < 0.15 and swapped.rates["object_recall"] < 0.15
    assert swapped.rates["light_precision"] < 0.4


def test_tolerances():
    assert near(14, 12.0) and near(9, 12.0) and not near(8, 12.0) and near(3, 1.0) and near(50, 41.0)
    assert total([]) == Faithfulness()


@pytest.mark.parametrize(
    ("ahead_m", "left_m", "words"),
    [
        (12.0, 0.5, {"ahead"}),
        (12.0, 2.0, {"ahead", "ahead_left"}),
        (12.0, -2.0, {"ahead", "ahead_right"}),
        (5.0, 5.5, {"ahead_left", "left"}),  # 48 degrees
        (4.0, -5.0, {"ahead_right", "right"}),  # 51 degrees
        (0.5, 6.0, {"left", "behind"}),
        (-0.5, -6.0, {"right", "behind"}),
        (-3.0, 6.0, {"behind"}),
        (0.0, 6.0, {"left", "behind"}),
        (20.0, 8.0, {"ahead_left"}),
        (2.0, 9.0, {"left"}),
    ],
)
def test_near_every_border_of_two_sides_both_words_count(ahead_m, left_m, words):
    assert sides_of(replace(CAR, ahead_m=ahead_m, left_m=left_m)) == words
