"""The four parts of a slow thought (arXiv 2506.13757): the annotator writes them, the model learns them.

The parts are hashed apart from the wording: a thought is free text to the prompt, so that models
trained before there were parts keep their wording.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import astuple, dataclass

from autovla_core.errors import AutoVLAError

HEADERS: dict[str, str] = {
    "scene": "### Scene Description:",
    "objects": "### Critical Object Description:",
    "intention": "### Reasoning on Intent:",
    "action": "### Best Driving Action:",
}
REASONING_HASH = hashlib.sha256(json.dumps(HEADERS).encode()).hexdigest()


class ReasoningError(AutoVLAError):
    """A thought does not consist of the four parts, each under its header."""


@dataclass(frozen=True)
class Reasoning:
    """One thought in its parts; each is plain text of one or more lines."""

    scene: str
    objects: str
    intention: str
    action: str


def write(reasoning: Reasoning) -> str:
    """The thought: every part under its header, one empty line between two parts.

    Raises:
        ReasoningError: a part is empty, or holds a tag or a header.
    """
    blocks = []
    for (name, header), body in zip(HEADERS.items(), astuple(reasoning)):
        if not body.strip() or "<" in body or "###" in body:
            raise ReasoningError(f"part {name!r} is {body[:80]!r}; expected text without '<' and '###'")
        blocks.append(f"{header}\n{body.strip()}")
    return "\n\n".join(blocks)


def read(thought: str) -> Reasoning:
    """The parts of a thought that ``write`` wrote, or a model in its manner.

    Raises:
        ReasoningError: a header is missing, comes twice, or out of order.
    """
    rest, bodies = thought, []
    headers = list(HEADERS.values())
    for header, following in zip(headers, [*headers[1:], None]):
        before, found, rest = rest.partition(header)
        if not found or (not bodies and before.strip()):
            raise ReasoningError(f"expected {header!r} next, found {(before or thought)[:80]!r}")
        body = rest if following is None else rest.partition(following)[0]
        if any(other in body for other in headers) or not body.strip():
            raise ReasoningError(f"{header!r} is followed by {body[:80]!r}, expected its text and then {following!r}")
        bodies.append(body.strip())
    return Reasoning(*bodies)
