"""The words of AutoVLA's own JSON files: commands, thoughts, and where a thought's four parts begin.

A thought is a text with four headings (nuPlan, Waymo: what the annotator answered) or a list of five answers (nuScenes:
scene, important objects, how they move, what to notice, best action). Both become ``Reasoning``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import astuple, dataclass

from autovla_core.contracts import Command
from autovla_core.prompt import reasoning as prompt_reasoning
from training.datasets.sample import DatasetError, Reasoning


@dataclass(frozen=True)
class Form:
    """How the files of one source say things."""

    words: Mapping[Command, str]
    vectors: bool  # velocity and acceleration as [along, left]; else along the car alone
    listed: bool  # a thought as five answers


FORMS: Mapping[str, Form] = {  # by ``dataset_name``
    "nuplan": Form(
        {
            Command.LEFT: "turn left",
            Command.FOLLOW: "keep forward",
            Command.RIGHT: "turn right",
            Command.VOID: "unknown",
        },
        vectors=True,
        listed=False,
    ),
    "waymo": Form(
        {Command.LEFT: "go left", Command.STRAIGHT: "go straight", Command.RIGHT: "go right", Command.VOID: "unknown"},
        vectors=True,
        listed=False,
    ),
    "nuscenes": Form(
        {
            Command.LEFT: "Turn Left",
            Command.STRAIGHT: "Go Straight",
            Command.RIGHT: "Turn Right",
            Command.FOLLOW: "Keep Forward",  # ours, for a reader that knows no command; the official ones have none
        },
        vectors=False,
        listed=True,
    ),
}
COMMANDS = {word.lower(): command for form in FORMS.values() for command, word in form.words.items()}
ANSWERS = 5
_TAG = re.compile(r"<[^<>]*>")  # DriveLM's <c1,CAM_FRONT,...>
_HEADING = re.compile(
    r"^[^\w\n]*(?:\d+[.)]|[QA]\b)?[^\w\n]*"
    r"(scene description|critical objects? description|reasoning on intent(?:ion)?|best driving action)\b"
    r"[^\S\n]*[*)]*:?[*)]*",
    re.IGNORECASE | re.MULTILINE,
)
_ORDER = ("scene", "critical", "reasoning", "best")  # the first words of the headings


def command_of(word: str) -> Command:
    """The command that a file's ``instruction`` says, whatever its data set and capitals.

    Raises:
        DatasetError: a word that none of the files uses.
    """
    try:
        return COMMANDS[word.lower()]
    except KeyError:
        raise DatasetError(f"instruction {word!r}; known: {', '.join(COMMANDS)}") from None


def word_of(command: Command, dataset: str) -> str:
    """The way back, for one of ``FORMS``.

    Raises:
        DatasetError: the official files have no word for it.
    """
    words = FORMS[dataset].words
    if command not in words:
        known = ", ".join(c.name for c in words)
        raise DatasetError(f"command {command.name} has no word in the files of {dataset!r}; they know {known}")
    return words[command]


def reasoning_of(cot: object) -> Reasoning | None:
    """The four parts of ``cot_output``; None without a thought, or where its parts cannot be told."""
    parts = _answers(cot) if isinstance(cot, list) else _headed(cot) if isinstance(cot, str) else None
    if parts is None:
        return None
    parts = [_TAG.sub("the object", part).strip() for part in parts]
    whole = all(part and "<" not in part and "###" not in part for part in parts)
    return Reasoning(*parts) if whole else None


def _answers(cot: list[object]) -> list[str] | None:
    if len(cot) != ANSWERS or not all(isinstance(answer, str) for answer in cot):
        return None
    scene, objects, moving, notice, action = cot
    return [scene, " ".join(part for part in (objects.strip(), moving.strip()) if part), notice, action]


def _headed(text: str) -> list[str] | None:
    found = list(_HEADING.finditer(text))
    if tuple(heading[1].split()[0].lower() for heading in found) != _ORDER:
        return None
    ends = [heading.start() for heading in found[1:]] + [len(text)]
    return [text[heading.end() : end] for heading, end in zip(found, ends)]


def cot_of(reasoning: Reasoning | None, dataset: str) -> str | list[str]:
    """``cot_output`` of a thought, or of none.

    Raises:
        DatasetError: a part is empty, or holds what only the answer's own structure may hold.
    """
    if reasoning is None:
        return []
    parts = astuple(reasoning)
    try:
        text = prompt_reasoning.write(prompt_reasoning.Reasoning(*parts))
    except prompt_reasoning.ReasoningError as error:
        raise DatasetError(str(error)) from None
    if not FORMS[dataset].listed:
        return text
    scene, objects, intention, action = parts
    return [scene, objects, "", intention, action]
