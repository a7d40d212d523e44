"""What a person asks of the planner while it drives: a way of thinking, an instruction, and what else it might do."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from autovla_core.contracts import Observation, Plan, Planner


class _Choice(Protocol):
    """How tokens are drawn, see ``model.sampling.Sampling``."""

    temperature: float


class _Thinking(Protocol):
    """How to think, see ``model.thinking.ThinkingConfig``."""

    mode: str
    words: _Choice
    actions: _Choice


@runtime_checkable
class Thinker(Planner, Protocol):
    """A planner whose way of thinking can be chosen, such as ``model.vla.AutoVLA``; one behind a server cannot."""

    thinking: _Thinking

    def thinking_as(self, thinking: _Thinking, on_words: Callable[[str], None] | None = None) -> Thinker:
        """The same planner that thinks in another way."""
        ...

    def sample(self, observation: Observation, count: int) -> list[Plan]:
        """Plans for one observation, drawn by chance."""
        ...


@dataclass
class Wish:
    """What holds until the person says otherwise."""

    mode: str = ""  # fast, slow or adaptive; "": as the agent's configuration has it
    instruction: str = ""  # in place of the route's command
    fan: int = 0  # plans to draw beside the one that is driven


@dataclass
class GuidedPlanner:
    """Plans as ``wish`` asks.

    Attributes:
        planner: does the work.
        wish: may change at any time; it holds from the next plan on.
        on_words: hears the thought while it is being written.
        fan: what else the planner might have done for the newest observation: fast plans drawn at temperature 1.
    """

    planner: Planner
    wish: Wish
    on_words: Callable[[str], None] | None = None
    fan: Sequence[Plan] = ()
    _ways: dict[tuple[str, bool], Thinker] = field(default_factory=dict)

    @property
    def modes(self) -> tuple[str, ...]:
        """Ways of thinking to choose from; none where the planner does not let one choose."""
        return ("", "fast", "slow", "adaptive") if isinstance(self.planner, Thinker) else ("",)

    def plan(self, observation: Observation) -> Plan:
        """As the planner's own."""
        if self.wish.instruction:
            observation = dataclasses.replace(observation, instruction=self.wish.instruction)
        if not isinstance(self.planner, Thinker):
            return self.planner.plan(observation)
        plan = self._way(self.wish.mode).plan(observation)
        self.fan = self._way("fast", drawn=True).sample(observation, self.wish.fan) if self.wish.fan else ()
        return plan

    def reset(self) -> None:
        """Forget the last episode."""
        self.planner.reset()
        self.fan = ()

    def _way(self, mode: str, drawn: bool = False) -> Thinker:
        if (mode, drawn) not in self._ways:
            thinking = self.planner.thinking
            actions = dataclasses.replace(thinking.actions, temperature=1.0) if drawn else thinking.actions
            thinking = dataclasses.replace(thinking, mode=mode or thinking.mode, actions=actions)
            self._ways[mode, drawn] = self.planner.thinking_as(thinking, None if drawn else self.on_words)
        return self._ways[mode, drawn]
