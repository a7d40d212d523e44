"""What a recording tells in words: what is in it, who collided, who stood still. CARLA's three questions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from autovla_core.minicarla.recorder import frames
from autovla_core.minicarla.recorder.frames import Frame
from autovla_core.minicarla.recorder.log_file import Reader

MOST_LINES = 5000
ANY = "a"
KINDS = "hvwtoa"


def file_info(reader: Reader, show_all: bool) -> str:
    """Town, births, deaths and length; with ``show_all`` a line for every frame."""
    lines = [f"Map: {reader.header.get('town')}", f"First frame: {reader.header.get('frame')}"]
    count, last = 0, 0.0
    for frame in frames.frames_of(reader.chunks()):
        count, last = count + 1, frame.time_s
        told = [f" Create {b.id}: {b.type_id} {_role(b.attributes)}".rstrip() for b in frame.births]
        told += [f" Destroy {actor}" for actor in frame.deaths]
        told += [f" Collision {a} with {b} ({kind})" for a, b, kind, _ in frame.contacts]
        if told or show_all:
            lines += [f"Frame {frame.number} at {frame.time_s:.2f} seconds, {len(frame.ids)} actors", *told]
    return _told([*lines, f"Frames: {count}", f"Duration: {last:.2f} seconds"])


def collisions(reader: Reader, first: str, second: str) -> str:
    """Each beginning of a contact between the two kinds: h hero, v vehicle, w walker, t light, o other, a any."""
    lines = ["   Time  Types    Id Actor 1    Id Actor 2"]
    letters: dict[int, str] = {}
    names: dict[int, str] = {}
    touching: set[tuple[int, int]] = set()
    for frame in frames.frames_of(reader.chunks()):
        for birth in frame.births:
            letters[birth.id] = frames.kind_of(birth.type_id, birth.attributes.get("role_name", ""))
            names[birth.id] = birth.type_id
        now = set()
        for a, b, kind, _ in frame.contacts:
            now.add((a, b))
            one, other = letters.get(a, "o"), letters.get(b, "o")
            wanted = _matches(one, first) and _matches(other, second)
            # Two actors are recorded from both sides; what answers the question either way round is told once.
            mirrored = b != 0 and (b, a) in now and _matches(other, first) and _matches(one, second)
            if wanted and (a, b) not in touching and not mirrored:
                lines.append(
                    f"{frame.time_s:7.2f}  {one} {other}  {a:5d} {names.get(a, '')}  {b:5d} {names.get(b, kind)}"
                )
        touching = now
    return _told([*lines, f"{len(lines) - 1} collisions"])


def _matches(letter: str, wanted: str) -> bool:
    return wanted == ANY or letter == wanted or (wanted == "v" and letter == "h")


def blocked(reader: Reader, min_time_s: float, min_distance_cm: float) -> str:
    """Vehicles and walkers that moved less than the distance during at least the time."""
    names: dict[int, str] = {}
    anchors: dict[int, tuple[float, np.ndarray]] = {}  # since when, where
    found: list[tuple[float, int, float]] = []
    last: Frame | None = None
    for last in frames.frames_of(reader.chunks()):
        names.update({b.id: b.type_id for b in last.births if not b.type_id.startswith("static.")})
        for actor, place in _places(last, names):
            since, where = anchors.setdefault(actor, (last.time_s, place))
            if np.hypot(*(place - where)[:2]) * 100.0 >= min_distance_cm:
                found.append((since, actor, last.time_s - since))
                anchors[actor] = last.time_s, place
        for actor in anchors.keys() & set(last.deaths):
            since, _ = anchors.pop(actor)
            found.append((since, actor, last.time_s - since))
    found += [(since, actor, last.time_s - since) for actor, (since, _) in anchors.items() if last is not None]
    lines = ["   Time     Id Actor                                 Duration"]
    long = sorted((entry for entry in found if entry[2] >= min_time_s), key=lambda entry: (-entry[2], entry[1]))
    lines += [f"{since:7.2f}  {actor:5d} {names[actor]:36s} {length:8.2f}" for since, actor, length in long]
    return _told([*lines, f"{len(long)} times blocked"])


def _places(frame: Frame, names: dict[int, str]) -> Iterator[tuple[int, np.ndarray]]:
    for actor, row in zip(frame.ids.tolist(), frame.states):
        if actor in names:
            yield actor, row[frames.PLACE].astype(float)


def _role(attributes: dict[str, str]) -> str:
    return f"({attributes['role_name']})" if attributes.get("role_name") else ""


def _told(lines: Iterable[str]) -> str:
    kept = list(lines)
    if len(kept) > MOST_LINES:
        kept = [*kept[: MOST_LINES - 1], f"... and {len(kept) - MOST_LINES + 1} more lines"]
    return "\n".join(kept) + "\n"
