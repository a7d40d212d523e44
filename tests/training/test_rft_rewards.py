from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from autovla_core.errors import ConfigError
from autovla_core.prompt import reasoning
from training import rewards
from training.rewards import REWARDS, Outcome, RewardConfig, RewardError, Scene, TermSettings, reward, slowed

PLAIN = TermSettings()


def straight(speed: float) -> np.ndarray:
    """Ten poses at constant speed along x."""
    return np.stack([0.5 * speed * np.arange(1, 11), np.zeros(10), np.zeros(10)], -1)


def scene(speed: float = 10.0, **more: object) -> Scene:
    return Scene("route_007, plan 3", straight(speed), np.ones(10, bool), **more)


def outcome(*plans: np.ndarray, where: Scene | None = None, **more: object) -> Outcome:
    count = len(plans)
    values = {
        "thinking_tokens": np.zeros(count, int),
        "slow": np.zeros(count, bool),
        "forced": np.zeros(count, bool),
        "thoughts": ("",) * count,
    }
    return Outcome(where or scene(), np.stack(plans), **{**values, **more})


def test_ade_is_the_papers_reward_on_waymo() -> None:
    # one metre beside the expert everywhere: (2 - 1) / 10
    beside = straight(10.0) + [0.0, 1.0, 0.0]
    assert REWARDS["ade"](outcome(straight(10.0), beside), PLAIN) == pytest.approx([0.2, 0.1])


def test_ade_counts_known_poses_alone() -> None:
    known = np.arange(10) < 4
    late = straight(10.0)
    late[4:, 1] = 99.0
    where = Scene("a", straight(10.0), known)
    assert REWARDS["ade"](outcome(late, where=where), PLAIN) == pytest.approx([0.2])


def test_progress_is_the_share_of_the_experts_way() -> None:
    plans = [straight(speed) for speed in (0.0, 2.5, 10.0, 14.0)] + [-straight(3.0)]
    assert REWARDS["progress"](outcome(*plans), PLAIN) == pytest.approx([0.0, 0.25, 1.0, 1.0, 0.0])


def test_progress_in_a_curve_goes_along_the_curve() -> None:
    angle = np.linspace(0.0, np.pi / 2, 11)[1:]
    curve = np.stack([20.0 * np.sin(angle), 20.0 * (1 - np.cos(angle)), angle], -1)
    where = Scene("a", curve, np.ones(10, bool))
    found = REWARDS["progress"](outcome(slowed(curve, 0.5), curve, where=where), PLAIN)
    assert found == pytest.approx([0.5, 1.0], abs=1e-6)


def test_where_the_expert_stands_going_on_costs_progress() -> None:
    # he goes 2 m: 3 m are forgiven, 8 m lie halfway to nothing, 13 m and more earn nothing
    plans = [straight(speed) for speed in (0.0, 0.6, 1.6, 2.6, 9.0)]
    assert REWARDS["progress"](outcome(*plans, where=scene(0.4)), PLAIN) == pytest.approx([1.0, 1.0, 0.5, 0.0, 0.0])


def test_thinking_costs_the_papers_sigmoid() -> None:
    plans = [straight(10.0)] * 3
    tokens = np.array([0, 400, 900])
    found = REWARDS["thinking"](outcome(*plans, thinking_tokens=tokens), PLAIN)
    assert found == pytest.approx([1 / (1 + np.exp(0.8)), 0.5, 1 / (1 + np.exp(-1.0))])


def test_thoughts_about_complex_scenes_can_be_free() -> None:
    spared = TermSettings(thinking_tokens=10.0, thinking_slope=1.0, thinking_spares_complex=True)
    thought = {"thinking_tokens": np.array([50])}
    assert REWARDS["thinking"](outcome(straight(1.0), where=scene(complex=True), **thought), spared) == [0.0]
    assert REWARDS["thinking"](outcome(straight(1.0), where=scene(), **thought), spared) > 0.99


def test_form_asks_of_a_thought_that_it_ends_and_says_something() -> None:
    plans = [straight(10.0)] * 4
    found = outcome(
        *plans,
        slow=np.array([False, True, True, True]),
        forced=np.array([False, False, True, False]),
        thoughts=("", "A car ahead.", "A car", " "),
    )
    assert REWARDS["format"](found, PLAIN).tolist() == [1.0, 1.0, 0.0, 0.0]


def test_form_can_ask_for_the_four_parts() -> None:
    whole = reasoning.write(reasoning.Reasoning("Rain.", "A car ahead.", "Follow it.", "Keep the lane."))
    found = outcome(straight(1.0), straight(1.0), slow=np.ones(2, bool), thoughts=(whole, "A car ahead."))
    assert REWARDS["format"](found, TermSettings(parts=True)).tolist() == [1.0, 0.0]


def test_faithfulness_asks_the_scene_about_slow_answers_only() -> None:
    asked = []

    def faithful(thoughts: tuple[str, ...], plans: np.ndarray) -> np.ndarray:
        asked.append((thoughts, len(plans)))
        return np.array([0.25])

    slow = {"slow": np.array([False, True]), "thoughts": ("", "A car ahead.")}
    found = REWARDS["faithfulness"](
        outcome(straight(1.0), straight(1.0), where=scene(faithful=faithful), **slow), PLAIN
    )
    assert found.tolist() == [1.0, 0.25] and asked == [(("A car ahead.",), 1)]
    with pytest.raises(RewardError, match="route_007, plan 3.*faithfulness out"):
        REWARDS["faithfulness"](outcome(straight(1.0), **{k: v[:1] for k, v in slow.items()}), PLAIN)


def judged(score: list[float]) -> Scene:
    return scene(judge=lambda plans: {"score": np.array(score)[: len(plans)]})


def test_the_sum_is_weighted_and_its_terms_are_not() -> None:
    config = RewardConfig({"pdm": 1.0, "thinking": -0.3})
    thought = {"thinking_tokens": np.array([400, 400])}
    total, terms = reward(outcome(straight(1.0), straight(1.0), where=judged([1.0, 0.5]), **thought), config)
    assert total == pytest.approx([0.85, 0.35])
    assert {name: list(values) for name, values in terms.items()} == {"pdm": [1.0, 0.5], "thinking": [0.5, 0.5]}


def test_the_pdm_score_pays_for_standing_and_with_progress_it_does_not() -> None:
    standing = outcome(np.zeros((10, 3)), straight(10.0), where=judged([7 / 12, 1.0]))
    assert REWARDS["pdm"](standing, PLAIN) == pytest.approx([7 / 12, 1.0])
    assert REWARDS["pdm_progress"](standing, PLAIN) == pytest.approx([0.0, 1.0])


def test_a_reward_that_is_no_number_names_the_sample_and_the_term() -> None:
    with pytest.raises(RewardError, match=r"route_007, plan 3: reward term 'pdm' is \[nan, 1.0\]"):
        reward(outcome(straight(1.0), straight(1.0), where=judged([np.nan, 1.0])), RewardConfig({"pdm": 1.0}))


def test_a_scene_without_truth_or_without_a_score_is_a_named_error() -> None:
    with pytest.raises(RewardError, match="no truth to score plans on"):
        reward(outcome(straight(1.0)), RewardConfig({"pdm": 1.0}))
    other = scene(judge=lambda plans: {"ade_known_5s": np.zeros(1)})
    with pytest.raises(RewardError, match=r"gives \['ade_known_5s'\], no PDM score"):
        reward(outcome(straight(1.0), where=other), RewardConfig({"pdm": 1.0}))


def test_a_wrong_weight_lists_what_there_is() -> None:
    with pytest.raises(ConfigError, match="known: pdm, pdm_progress, ade"):
        RewardConfig({"pmd": 1.0})
    with pytest.raises(ConfigError, match="finite"):
        RewardConfig({"ade": float("nan")})


def test_weights_say_what_a_sample_must_know() -> None:
    assert RewardConfig({"ade": 1.0, "thinking": -0.3}).needs == frozenset()
    assert RewardConfig({"pdm": 1.0, "faithfulness": 0.1}).needs == {"truth", "reasons"}


def test_standards_stand_crawl_and_follow() -> None:
    found = rewards.standards(scene(8.0))
    assert found.plans[:, -1, 0] == pytest.approx([0.0, 20.0, 40.0])
    assert REWARDS["progress"](found, PLAIN) == pytest.approx([0.0, 0.5, 1.0])


def test_a_slowed_plan_keeps_its_path_over_half_a_turn() -> None:
    plan = straight(4.0)
    plan[:, 2] = np.linspace(3.0, 3.5, 10)
    wrapped = dataclasses.replace(
        scene(), expert=np.column_stack([plan[:, :2], (plan[:, 2] + np.pi) % (2 * np.pi) - np.pi])
    )
    assert slowed(wrapped.expert, 1.0)[:, 2] == pytest.approx(plan[:, 2])
    assert slowed(plan, 0.0) == pytest.approx(np.zeros((10, 3)))
