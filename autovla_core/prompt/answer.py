"""What the model says: a thought, then the action tokens. Written and read by the same template."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from autovla_core.contracts import PLAN_STEPS, Mode
from autovla_core.errors import ActionDecodeError
from autovla_core.prompt import text
from autovla_core.prompt.wording import CURRENT, Wording

FAST_PREFIX, SLOW_PREFIX, SUFFIX = CURRENT.fast_prefix, CURRENT.slow_prefix, CURRENT.answer_close

_ACTION = re.compile(r"<action_(\d+)>")
_ACTIONS_ONLY = re.compile(r"(?:<action_\d+>)*")


@dataclass(frozen=True)
class Answer:
    """A parsed answer; ``tokens`` are indices into the codebook."""

    mode: Mode
    thought: str
    tokens: tuple[int, ...]


def write(tokens: Sequence[int], thought: str | None = None, wording: Wording = CURRENT) -> str:
    """The whole answer; with a ``thought`` it is a slow one."""
    actions = "".join(text.ACTION.format(int(t)) for t in tokens)
    opening = wording.fast_prefix if thought is None else wording.slow_prefix + thought + wording.close
    return opening + actions + wording.answer_close


def parse(answer: str, wording: Wording = CURRENT) -> Answer:
    """Read an answer back: exactly what ``write`` writes, followed at most by the end of the turn.

    Raises:
        ActionDecodeError: another text before, between or after its parts, or not exactly ten action tokens.
    """
    body = answer.rstrip().removesuffix(text.END_OF_TURN)
    head, closed, actions = body.partition(wording.close)
    if not (closed and head.startswith(wording.think_open) and actions.endswith(wording.answer_close)):
        raise ActionDecodeError(f"no <think>..</think><answer>..</answer> in {answer[:120]!r}")
    actions = actions.removesuffix(wording.answer_close)
    if not _ACTIONS_ONLY.fullmatch(actions):
        raise ActionDecodeError(f"found {actions[:120]!r} where only action tokens may stand")
    tokens = tuple(int(i) for i in _ACTION.findall(actions))
    if len(tokens) != PLAN_STEPS:
        raise ActionDecodeError(f"answer holds {len(tokens)} action tokens, the plan needs {PLAN_STEPS}")
    thought = head.removeprefix(wording.think_open)
    if thought == wording.fast:
        return Answer(Mode.FAST, "", tokens)
    if not thought.startswith(wording.slow) or "<" in thought:
        raise ActionDecodeError(
            f"the thought opens with {thought[:120]!r}, expected {wording.fast!r} or {wording.slow!r}"
        )
    return Answer(Mode.SLOW, thought.removeprefix(wording.slow).strip("\n"), tokens)
