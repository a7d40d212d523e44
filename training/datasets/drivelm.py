"""DriveLM's answers about nuScenes key frames, turned into the parts of a thought.

File: ``v1_1_train_nus.json`` ({scene: {key_frames: {sample token: {QA, key_object_infos}}}}). Scene: what is in view.
Objects: the important ones and how they will move. Intention: what to notice first. The fourth part, the best driving
action, comes from the driven path (``nuscenes_motion.meta_action``): DriveLM has no answer for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from training.datasets.sample import DatasetError

FILE = "v1_1_train_nus.json"
PLACES = (FILE, f"drivelm/{FILE}", f"DriveLM/{FILE}", f"drivelm_nus/{FILE}")
IN_VIEW = re.compile(r"what are objects to the (?P<side>.+?) of the ego car", re.IGNORECASE)
IMPORTANT = "what are the important objects in the current scene"
MOVING = re.compile(r"what is the future state of (?P<object><.+?>)", re.IGNORECASE)
NOTICE = "what object should the ego vehicle notice first"
_OBJECT = re.compile(r"<[^<>]+>")

Answers = list[tuple[str, str]]


def find(root: Path) -> Path | None:
    """The user's DriveLM file beside or below the nuScenes root."""
    return next((root / place for place in PLACES if (root / place).exists()), None)


@dataclass(frozen=True)
class Thoughts:
    """What an index holds of a DriveLM file."""

    parts: Mapping[str, tuple[str, str, str]]  # key frame -> scene, objects, intention
    broken: tuple[str, ...] = ()  # key frames left out, each with its reason


def build(root: Path, out: Path, tokens: set[str], skip_broken: bool) -> None:
    """Write to ``out`` the thoughts of the key frames in ``tokens``; none without a DriveLM file.

    Raises:
        DatasetError: the file is no DriveLM file, or a key frame in it is broken and must not be skipped.
    """
    file = find(root)
    stamp = f"{file.stat().st_size} {file.stat().st_mtime_ns} {len(tokens)} {skip_broken}" if file else ""
    if out.exists() and json.loads(out.read_text())["stamp"] == stamp:
        return
    found: dict[str, tuple[str, str, str]] = {}
    broken = []
    for token, frame in _key_frames(file).items() if file else ():
        if token not in tokens:
            continue
        try:
            parts = thought(frame)
        except (KeyError, TypeError, AttributeError) as error:
            broken.append(f"{file}, key frame {token!r}: {type(error).__name__} {error}")
            if not skip_broken:
                raise DatasetError(broken[-1]) from None
            continue
        if all(parts):
            found[token] = parts
    partial = out.with_suffix(".partial")
    partial.write_text(json.dumps({"stamp": stamp, "parts": found, "broken": broken}))
    partial.replace(out)


def load(file: Path) -> Thoughts:
    """What ``build`` wrote.

    Raises:
        DatasetError: it is not there, or not whole.
    """
    try:
        stored = json.loads(file.read_text())
        return Thoughts(stored["parts"], tuple(stored["broken"]))
    except (OSError, json.JSONDecodeError, KeyError) as error:
        raise DatasetError(f"no index at {file} ({error}); run python -m training.prepare nuscenes") from None


def _key_frames(file: Path) -> dict[str, Mapping[str, object]]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        return {token: frame for scene in document.values() for token, frame in scene["key_frames"].items()}
    except (json.JSONDecodeError, KeyError, AttributeError, TypeError) as error:
        raise DatasetError(f"{file} is no DriveLM file: {error!r}") from None


def thought(frame: Mapping[str, object]) -> tuple[str, str, str]:
    """Scene, objects and intention of one key frame; a part without an answer is empty."""
    asked = frame["QA"]
    perception, prediction = (_answers(asked.get(kind, [])) for kind in ("perception", "prediction"))
    names = _names(frame.get("key_object_infos") or {})
    objects = [*_important(perception), *_moving(prediction, names)]
    parts = _in_view(perception), " ".join(objects), _notice(prediction)
    return tuple(_OBJECT.sub(lambda tag: names.get(tag.group(), "the object"), part) for part in parts)


def _answers(pairs: list[Mapping[str, object]]) -> Answers:
    return [(str(pair["Q"]), str(pair["A"]).strip()) for pair in pairs]


def _names(objects: Mapping[str, Mapping[str, object]]) -> dict[str, str]:
    """``<c1,CAM_BACK,...>`` -> how the object looks, for people."""
    return {tag: f"**{str(info['Visual_description']).strip().rstrip('.')}**" for tag, info in objects.items()}


def _in_view(answers: Answers) -> str:
    return " ".join(_sentence(answer) for question, answer in answers if IN_VIEW.search(question) and answer)


def _important(answers: Answers) -> list[str]:
    found = [answer for question, answer in answers if IMPORTANT in question.lower()]
    return [_sentence(answer.split(". ")[0]) for answer in found if answer]


def _moving(answers: Answers, names: Mapping[str, str]) -> list[str]:
    found = []
    for question, answer in answers:
        asked = MOVING.search(question)
        if asked and asked["object"] in names:
            found.append(f"The moving status of {names[asked['object']]} is {answer.rstrip('.').lower()}.")
    return found


def _notice(answers: Answers) -> str:
    return " ".join(_sentence(answer) for question, answer in answers if NOTICE in question.lower() and answer)


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else text + "."
