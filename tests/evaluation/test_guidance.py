"""What a person asks for reaches the planner, and nothing else changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from autovla_core.contracts import Command, Mode, Observation, Plan
from autovla_core.evaluation.guidance import GuidedPlanner, Wish

SEEN = Observation(1.0, {}, 5.0, 0.0, np.zeros(3), Command.LEFT, np.zeros((0, 2)))


@dataclass(frozen=True)
class Choice:
    temperature: float = 0.0


@dataclass(frozen=True)
class Way:
    mode: str = "fast"
    words: Choice = Choice()
    actions: Choice = Choice()


@dataclass
class Simple:
    """A planner whose way of thinking is its own affair."""

    seen: list[Observation] = field(default_factory=list)
    resets: int = 0

    def plan(self, observation: Observation) -> Plan:
        self.seen.append(observation)
        return Plan(np.zeros((10, 3)), observation.time_s, observation.time_s)

    def reset(self) -> None:
        self.resets += 1


@dataclass
class Thoughtful(Simple):
    """One that can be told how to think."""

    thinking: Way = Way()
    on_words: Callable[[str], None] | None = None

    def thinking_as(self, thinking: Way, on_words: Callable[[str], None] | None = None) -> Thoughtful:
        return dataclasses.replace(self, thinking=thinking, on_words=on_words)

    def plan(self, observation: Observation) -> Plan:
        plan = super().plan(observation)
        if self.thinking.mode == "fast":
            return plan
        if self.on_words:
            self.on_words("a red light")
        return dataclasses.replace(plan, mode=Mode.SLOW, thought="a red light ahead")

    def sample(self, observation: Observation, count: int) -> list[Plan]:
        drawn = np.full((10, 3), self.thinking.actions.temperature)
        return [Plan(drawn, observation.time_s, observation.time_s)] * count


def test_without_a_wish_the_planner_sees_what_it_saw_before() -> None:
    for planner in (Simple(), Thoughtful()):
        guided = GuidedPlanner(planner, Wish())
        assert guided.plan(SEEN).mode is Mode.FAST and guided.fan == ()
        assert planner.seen == [SEEN] and planner.seen[0] is SEEN


def test_an_instruction_takes_the_commands_place_until_it_is_taken_back() -> None:
    planner, wish = Simple(), Wish()
    guided = GuidedPlanner(planner, wish)
    for said in ("turn right", ""):
        wish.instruction = said
        guided.plan(SEEN)
    assert [seen.instruction for seen in planner.seen] == ["turn right", None]
    assert planner.seen[0].command is Command.LEFT, "the route stays what it is"


def test_a_way_of_thinking_holds_from_the_next_plan_on_and_the_thought_is_heard() -> None:
    heard: list[str] = []
    wish = Wish()
    guided = GuidedPlanner(Thoughtful(), wish, heard.append)
    assert guided.modes == ("", "fast", "slow", "adaptive")
    modes = []
    for wish.mode in ("", "slow", "fast"):
        modes.append(guided.plan(SEEN).mode)
    assert modes == [Mode.FAST, Mode.SLOW, Mode.FAST] and heard == ["a red light"]


def test_the_fan_is_drawn_at_temperature_one_beside_a_greedy_plan() -> None:
    wish = Wish(fan=3)
    guided = GuidedPlanner(Thoughtful(), wish)
    assert not guided.plan(SEEN).poses.any()
    assert [plan.poses.max() for plan in guided.fan] == [1.0] * 3
    wish.fan = 0
    guided.plan(SEEN)
    assert guided.fan == ()


def test_a_planner_behind_a_server_chooses_its_thinking_itself() -> None:
    planner = Simple()
    guided = GuidedPlanner(planner, Wish(mode="slow", fan=4))
    assert guided.modes == ("",) and guided.plan(SEEN).mode is Mode.FAST and guided.fan == ()
    guided.reset()
    assert planner.resets == 1
