"""Wording versions: every sentence of prompt and answer as one value. ``text.py`` holds the sentences of version 1.

A new version is a new value in ``VERSIONS``; an old one is never edited, because models were trained with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from autovla_core.contracts import Command
from autovla_core.prompt import text


@dataclass(frozen=True)
class Wording:
    """What the model reads and writes; ``render.wording_hash`` names it in a checkpoint."""

    name: str
    system: str
    rigs: Mapping[tuple[str, ...], str]  # by camera ids, in the order of the videos
    ordinals: tuple[str, ...]
    video: str  # with {ordinal} and {view}
    speed: str  # the four texts around speed, acceleration and instruction
    acceleration: str
    instruction: str
    request: str
    commands: Mapping[Command, str]
    fast: str  # the first words of either way of thinking
    slow: str
    think_open: str
    think_close: str
    answer_open: str
    answer_close: str

    def videos(self, cameras: tuple[str, ...]) -> tuple[str, ...]:
        """The sentence that announces each camera's video."""
        views = (camera.replace("_", "-") for camera in cameras)
        return tuple(self.video.format(ordinal=o, view=view) for o, view in zip(self.ordinals, views))

    @property
    def fast_prefix(self) -> str:
        """All that a fast answer says before its first action."""
        return self.think_open + self.fast + self.close

    @property
    def slow_prefix(self) -> str:
        """What a slow answer says before its thought."""
        return self.think_open + self.slow + "\n"

    @property
    def close(self) -> str:
        """From the end of any thought to the first action."""
        return self.think_close + self.answer_open


VERSION_1 = Wording(
    name="1",
    system=text.SYSTEM,
    rigs=text.RIGS,
    ordinals=text.ORDINALS,
    video=text.VIDEO,
    speed=text.SPEED,
    acceleration=text.ACCELERATION,
    instruction=text.INSTRUCTION,
    request=text.REQUEST,
    commands=text.COMMANDS,
    fast=text.FAST,
    slow=text.SLOW,
    think_open=text.THINK_OPEN,
    think_close=text.THINK_CLOSE,
    answer_open=text.ANSWER_OPEN,
    answer_close=text.ANSWER_CLOSE,
)
VERSIONS = (VERSION_1,)
CURRENT = VERSION_1
