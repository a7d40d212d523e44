"""Free text from a user, made safe: whatever it says, it stays text between the prompt's own sentences."""

from __future__ import annotations

import unicodedata

from autovla_core.errors import ObservationError

LONGEST = 400  # characters that are read; a wish that needs more is cut, so that the prompt stays short
TAGS = str.maketrans({"<": "\u2039", ">": "\u203a"})  # every control token and tag begins with <


def clean(instruction: str | None) -> str | None:
    """The instruction as the prompt may hold it, or None where it says nothing.

    Control characters, line breaks and lone surrogates become spaces, angle brackets look-alikes: no
    tokenizer of the family has a control token, a tag or an action without ``<``.

    Raises:
        ObservationError: not a string.
    """
    if instruction is None:
        return None
    if not isinstance(instruction, str):
        raise ObservationError(f"the instruction is {type(instruction).__name__}, expected text or None")
    head = instruction[: 4 * LONGEST]  # room for the spaces that fall away below
    plain = "".join(" " if unicodedata.category(letter)[0] in "CZ" else letter for letter in head)
    return " ".join(plain.translate(TAGS).split())[:LONGEST].rstrip() or None
