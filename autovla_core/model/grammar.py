"""What an answer may consist of, by token ids: fixed texts that nobody has to decode, and what stands between them.

    fast    opening | ten actions | end
    slow    opening | thought | close | ten actions | end      with parts: a header before each part of the thought

The thought ends by itself where the model writes the first token of the next fixed text that holds its mark (``<`` or
``#``): the rest of that text follows without asking the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from autovla_core.contracts import PLAN_STEPS, Mode
from autovla_core.errors import ActionDecodeError, CheckpointError
from autovla_core.model.encoding import Encoder
from autovla_core.prompt.reasoning import HEADERS


@dataclass(frozen=True)
class Fixed:
    """A fixed text: ids, and the place of the first id that free text cannot hold."""

    ids: tuple[int, ...]
    mark: int

    @property
    def trigger(self) -> int:
        """The id by which the model asks for this text."""
        return self.ids[self.mark]


@dataclass(frozen=True)
class Parsed:
    """An answer read back by ids; ``tokens`` are codebook indices."""

    mode: Mode
    thought: tuple[int, ...]
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Grammar:
    """Ids of the fixed texts, and for each stretch of free text what may stand in it.

    Attributes:
        fast, slow: what an answer of either mode opens with.
        header: the end of ``slow`` that belongs to the thought; with parts, the header of the first.
        ends: the fixed texts that end each stretch of a thought; the last is the close.
        allowed: (len(ends), vocabulary) bool: ordinary text and the trigger of the stretch's end.
    """

    fast: tuple[int, ...]
    slow: tuple[int, ...]
    ends: tuple[Fixed, ...]
    suffix: tuple[int, ...]
    first_action: int
    actions: int
    allowed: torch.Tensor
    header: tuple[int, ...] = ()

    @classmethod
    def of(cls, encoder: Encoder, device: torch.device, parts: bool = False) -> Grammar:
        """The grammar of a checkpoint; with ``parts`` a thought has the four headers of ``prompt.reasoning``."""
        strings = encoder.strings()
        headers = list(HEADERS.values()) if parts else []
        following = [encoder.ids(f"\n\n{header}\n") for header in headers[1:]]
        ends = [_fixed(ids, strings, "#") for ids in following] + [_fixed(encoder.close_ids, strings, "<")]
        header = encoder.ids(f"{headers[0]}\n") if parts else ()
        marks = "<#" if parts else "<"
        first, last = encoder.first_action, encoder.first_action + encoder.actions
        special = encoder.special_ids
        plain = [
            text is not None and not (first <= id < last) and id not in special and not any(m in text for m in marks)
            for id, text in enumerate(strings)
        ]
        allowed = torch.tensor([plain] * len(ends), device=device)
        for row, end in zip(allowed, ends):
            row[end.trigger] = True
        fast, slow = encoder.fast_ids, encoder.slow_ids + header
        return cls(fast, slow, tuple(ends), encoder.suffix_ids, first, encoder.actions, allowed, header)

    @property
    def close(self) -> Fixed:
        """From the end of any thought to the first action."""
        return self.ends[-1]

    @property
    def shared(self) -> int:
        """Ids that both openings begin with; the next one is the model's choice of mode."""
        for place, (fast, slow) in enumerate(zip(self.fast, self.slow)):
            if fast != slow:
                return place
        raise CheckpointError("the tokenizer writes both ways of thinking alike; the model cannot choose")

    def opening(self, mode: str) -> tuple[int, ...]:
        """Ids that every answer of a thinking mode begins with; what follows an adaptive one chooses the mode."""
        return {"fast": self.fast, "slow": self.slow}.get(mode) or self.fast[: self.shared]

    def parse(self, ids: Sequence[int]) -> Parsed:
        """Read an answer's ids strictly, from its opening to its tenth action or the end of the turn after it.

        Raises:
            ActionDecodeError: unknown opening, unclosed thought, or anything but exactly ten actions and the end.
        """
        ids = tuple(int(i) for i in ids)
        if ids[: len(self.fast)] == self.fast:
            return Parsed(Mode.FAST, (), self._actions(ids[len(self.fast) :]))
        if ids[: len(self.slow)] != self.slow:
            raise ActionDecodeError(f"the answer opens with ids {ids[:8]}, expected {self.fast} or {self.slow}")
        rest, tail = ids[len(self.slow) :], self.close.ids[self.close.mark :]
        if self.close.trigger not in rest:
            raise ActionDecodeError(f"the thought of {len(rest)} tokens is never closed")
        end = rest.index(self.close.trigger)
        if rest[end : end + len(tail)] != tail:
            raise ActionDecodeError(f"found ids {rest[end : end + len(tail)]} after the thought, expected {tail}")
        return Parsed(Mode.SLOW, rest[:end], self._actions(rest[end + len(tail) :]))

    def _actions(self, ids: tuple[int, ...]) -> tuple[int, ...]:
        last = self.first_action + self.actions
        count = next((n for n, id in enumerate(ids) if not self.first_action <= id < last), len(ids))
        if count != PLAN_STEPS:
            raise ActionDecodeError(f"answer holds {count} action tokens in a row, the plan needs {PLAN_STEPS}")
        if ids[count:] not in ((), self.suffix):
            raise ActionDecodeError(f"found ids {ids[count : count + 8]} after the actions, expected {self.suffix}")
        return tuple(id - self.first_action for id in ids[:count])


def _fixed(ids: tuple[int, ...], strings: list[str | None], mark: str) -> Fixed:
    for place, id in enumerate(ids):
        if mark in (strings[id] or ""):
            return Fixed(ids, place)
    raise CheckpointError(f"the tokenizer writes no {mark!r} in a fixed text of the answer: ids {ids}")
