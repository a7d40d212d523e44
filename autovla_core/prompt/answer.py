"""What the model says: a thought, then the action tokens. Written and read by the same template."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from autovla_core.contracts import PLAN_STEPS, Mode
from autovla_core.errors import ActionDecodeError
from autovla_core.prompt import text

FAST_PREFIX = text.THINK_OPEN + text.FAST + text.THINK_CLOSE + text.ANSWER_OPEN
SLOW_PREFIX = text.THINK_OPEN + text.SLOW + "\n"
SUFFIX = text.ANSWER_CLOSE

_SHAPE = re.compile(r"<think>\n(?P<thought>.*?)\n</think>\n<answer>\n(?P<answer>.*)\n</answer>", re.DOTALL)
_ACTION = re.compile(r"<action_(\d+)>")


@dataclass(frozen=True)
class Answer:
    """A parsed answer; ``tokens`` are indices into the codebook."""

    mode: Mode
    thought: str
    tokens: tuple[int, ...]


def write(tokens: Sequence[int], thought: str | None = None) -> str:
    """The whole answer; with a ``thought`` it is a slow one."""
    actions = "".join(text.ACTION.format(int(t)) for t in tokens)
    opening = FAST_PREFIX if thought is None else SLOW_PREFIX + thought + text.THINK_CLOSE + text.ANSWER_OPEN
    return opening + actions + SUFFIX


def parse(answer: str) -> Answer:
    """Read an answer back.

    Raises:
        ActionDecodeError: tags missing, or not exactly ten action tokens.
    """
    match = _SHAPE.search(answer)
    if match is None:
        raise ActionDecodeError(f"no <think>..</think><answer>..</answer> in {answer[:120]!r}")
    tokens = tuple(int(i) for i in _ACTION.findall(match["answer"]))
    if len(tokens) != PLAN_STEPS:
        raise ActionDecodeError(f"answer holds {len(tokens)} action tokens, the plan needs {PLAN_STEPS}")
    thought = match["thought"]
    if thought.startswith(text.SLOW):
        return Answer(Mode.SLOW, thought.removeprefix(text.SLOW).strip("\n"), tokens)
    return Answer(Mode.FAST, "", tokens)
