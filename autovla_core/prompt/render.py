"""The one prompt of training and of driving, as messages and as the string that the model reads."""

from __future__ import annotations

import hashlib
import itertools

from autovla_core.contracts import Command
from autovla_core.prompt import answer, text
from autovla_core.prompt.instruction import clean
from autovla_core.prompt.wording import CURRENT, VERSIONS, Wording


def number(value: float) -> str:
    """One decimal: 0.1 m/s is 0.1 to 0.2 m of plan error, and every digit more is a token more."""
    return f"{round(float(value), 1) + 0.0:.1f}"  # + 0.0 turns -0.0 into 0.0


def messages(
    speed: float,
    acceleration: float,
    command: Command,
    cameras: tuple[str, ...],
    instruction: str | None = None,
    wording: Wording = CURRENT,
) -> list[dict[str, object]]:
    """Chat messages in the form that Hugging Face chat templates take.

    Args:
        speed, acceleration: m/s and m/s2, longitudinal, signed.
        command: what the route asks for; a free-text ``instruction``, made safe, replaces its phrase.
        cameras: ids in the order of the videos; one of ``wording.rigs``.

    Raises:
        ValueError: a set of cameras that the wording does not know.
        ObservationError: an instruction that is not text.
    """
    cameras = tuple(cameras)
    if cameras not in wording.rigs:
        raise ValueError(f"cameras {cameras}; the prompt knows {', '.join(map(str, wording.rigs))}")
    parts: list[dict[str, object]] = [{"type": "text", "text": wording.rigs[cameras]}]
    for sentence in wording.videos(cameras):
        parts += [{"type": "text", "text": sentence}, {"type": "video"}]
    wish = clean(instruction) or wording.commands[command]
    motion = f"{wording.speed}{number(speed)}{wording.acceleration}{number(acceleration)}"
    parts.append({"type": "text", "text": f"{motion}{wording.instruction}{wish}{wording.request}"})
    return [
        {"role": "system", "content": [{"type": "text", "text": wording.system}]},
        {"role": "user", "content": parts},
    ]


def render(
    speed: float,
    acceleration: float,
    command: Command,
    cameras: tuple[str, ...],
    instruction: str | None = None,
    wording: Wording = CURRENT,
) -> str:
    """The prompt up to where the answer begins; one ``<|video_pad|>`` stands for each camera's clip.

    Equal to Qwen's chat template over ``messages`` with ``add_vision_id`` and a generation prompt.
    """
    turns, video = [], itertools.count(1)
    for message in messages(speed, acceleration, command, cameras, instruction, wording):
        body = "".join(
            text.VIDEO_ID.format(next(video)) + text.VISION if part["type"] == "video" else str(part["text"])
            for part in message["content"]
        )
        turns.append(text.TURN_OPEN.format(role=message["role"]) + body + text.TURN_CLOSE)
    return "".join(turns) + text.TURN_OPEN.format(role="assistant")


def wording_hash(wording: Wording = CURRENT) -> str:
    """sha256 over what the prompt and the answers look like; a checkpoint refuses another wording."""
    digest = hashlib.sha256()
    for cameras, command in itertools.product(wording.rigs, wording.commands):
        digest.update(render(12.345, -0.06, command, cameras, wording=wording).encode())
    digest.update(render(-0.04, 3.0, Command.FOLLOW, ("front",), "stop at the \u00e9cole", wording).encode())
    digest.update(answer.write(range(10), wording=wording).encode())
    digest.update(answer.write(range(10), "### Scene Description:\n", wording).encode())
    return digest.hexdigest()


WORDINGS = {wording_hash(wording): wording for wording in VERSIONS}  # by the hash that a checkpoint names
WORDING_HASH = wording_hash()
