"""Claims to sentences and back by one table: ``reasoning_wordings``."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from autovla_core.prompt.reasoning import ReasoningError
from autovla_core.prompt.reasoning_wordings import NUMBERS, TEMPLATES, WORDS

_SLOT = re.compile(r"\{(\w+)\}")
_SENTENCE = re.compile(r"[^.!?\n]*[.!?]|[^.!?\n]+")


@dataclass(frozen=True)
class Claim:
    """One statement: a topic of ``TEMPLATES`` and what stands in its slots."""

    topic: str
    words: tuple[tuple[str, str], ...] = ()  # slot -> value of WORDS, by name of the slot
    distance_m: int | None = None

    def __getitem__(self, slot: str) -> str:
        return dict(self.words)[slot]


def claim(topic: str, distance_m: float | None = None, **words: str) -> Claim:
    """A claim with its slots in order; metres are rounded as ``rounded`` says.

    Raises:
        ReasoningError: a topic, slot or value that the wording lacks, or a slot that the topic needs.
    """
    if topic not in TEMPLATES:
        raise ReasoningError(f"no topic {topic!r}; known: {', '.join(TEMPLATES)}")
    needed, given = slots_of(topic), {*words, *(("distance",) if distance_m is not None else ())}
    if needed != given:
        raise ReasoningError(f"{topic!r} has the slots {sorted(needed)}, found {sorted(given)}")
    for slot, value in words.items():
        if value not in WORDS[slot]:
            raise ReasoningError(f"{slot} {value!r}; known: {', '.join(WORDS[slot])}")
    return Claim(topic, tuple(sorted(words.items())), None if distance_m is None else rounded(distance_m))


def slots_of(topic: str) -> set[str]:
    """The slots of a topic; all its templates have the same."""
    return set(_SLOT.findall(TEMPLATES[topic][0]))


def rounded(distance_m: float) -> int:
    """Whole metres below 20, fives above: nobody sees more."""
    return round(distance_m) if distance_m < 20.0 else 5 * round(distance_m / 5.0)


def sentence(said: Claim, rng: np.random.Generator) -> str:
    """The claim in one of its wordings, drawn by ``rng``."""
    templates = TEMPLATES[said.topic]
    chosen = {slot: WORDS[slot][value] for slot, value in said.words}
    words = {slot: options[int(rng.integers(len(options)))] for slot, options in chosen.items()}
    return templates[int(rng.integers(len(templates)))].format(**words, distance=said.distance_m)


def sentences(said: Claim) -> list[str]:
    """The claim in every one of its wordings."""
    names = [slot for slot, _ in said.words]
    options = itertools.product(*(WORDS[slot][value] for slot, value in said.words))
    filled = [dict(zip(names, words)) for words in options]
    return [t.format(**words, distance=said.distance_m) for t in TEMPLATES[said.topic] for words in filled]


def read_sentence(text: str) -> Claim | None:
    """The claim of one sentence; None for one that the wording does not hold."""
    text = " ".join(text.split())
    for topic, pattern in _patterns():
        found = pattern.fullmatch(text)
        if found is not None:
            return _claim_of(topic, found.groupdict())
    return None


def read_text(text: str) -> tuple[list[Claim], list[str]]:
    """The claims of a text, and its sentences that were not understood."""
    claims, unread = [], []
    for part in split(text):
        found = read_sentence(part)
        if found is None:
            unread.append(part)
        else:
            claims.append(found)
    return claims, unread


def split(text: str) -> list[str]:
    """Sentences, each with its end mark."""
    return [part.strip() for part in _SENTENCE.findall(text) if part.strip()]


def corpus() -> Iterable[str]:
    """Every template with every word of its slots at least once: what a small tokenizer should be trained on."""
    for templates in TEMPLATES.values():
        for template in templates:
            slots = [slot for slot in _SLOT.findall(template) if slot not in NUMBERS]
            options = [[word for words in WORDS[slot].values() for word in words] for slot in slots]
            for turn in range(max((len(words) for words in options), default=1)):
                words = {slot: all_[turn % len(all_)] for slot, all_ in zip(slots, options)}
                yield template.format(**words, distance=rounded(turn * 3 + 1))


def _claim_of(topic: str, groups: Mapping[str, str]) -> Claim:
    words = {slot: _values()[slot][word.lower()] for slot, word in groups.items() if slot not in NUMBERS}
    distance = groups.get("distance")
    return Claim(topic, tuple(sorted(words.items())), None if distance is None else int(distance))


@lru_cache(maxsize=1)
def _values() -> dict[str, dict[str, str]]:
    """Slot -> word -> value."""
    return {
        slot: {word.lower(): value for value, words in values.items() for word in words}
        for slot, values in WORDS.items()
    }


@lru_cache(maxsize=1)
def _patterns() -> list[tuple[str, re.Pattern[str]]]:
    return [
        (topic, re.compile(_pattern(template), re.IGNORECASE))
        for topic, templates in TEMPLATES.items()
        for template in templates
    ]


def _pattern(template: str) -> str:
    parts, last = [], 0
    for slot in _SLOT.finditer(template):
        parts += [re.escape(template[last : slot.start()]), f"(?P<{slot[1]}>{_alternatives(slot[1])})"]
        last = slot.end()
    return "".join(parts) + re.escape(template[last:]).replace(r"\.", "[.!]?")


def _alternatives(slot: str) -> str:
    if slot in NUMBERS:
        return r"\d{1,3}"
    words = sorted(_values()[slot], key=len, reverse=True)
    return "|".join(re.escape(word) for word in words)
