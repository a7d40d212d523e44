"""The one prompt of training and of driving, as messages and as the string that the model reads."""

from __future__ import annotations

import hashlib
import itertools

from autovla_core.contracts import Command
from autovla_core.prompt import answer, text


def number(value: float) -> str:
    """One decimal: 0.1 m/s is 0.1 to 0.2 m of plan error, and every digit more is a token more."""
    return f"{round(float(value), 1) + 0.0:.1f}"  # + 0.0 turns -0.0 into 0.0


def messages(
    speed: float, acceleration: float, command: Command, cameras: tuple[str, ...], instruction: str | None = None
) -> list[dict[str, object]]:
    """Chat messages in the form that Hugging Face chat templates take.

    Args:
        speed, acceleration: m/s and m/s2, longitudinal, signed.
        command: what the route asks for; a free-text ``instruction`` replaces its phrase.
        cameras: ids in the order of the videos; one of ``text.RIGS``.

    Raises:
        ValueError: a set of cameras that the wording does not know.
    """
    cameras = tuple(cameras)
    if cameras not in text.RIGS:
        raise ValueError(f"cameras {cameras}; the prompt knows {', '.join(map(str, text.RIGS))}")
    parts: list[dict[str, object]] = [{"type": "text", "text": text.RIGS[cameras]}]
    for sentence in text.videos(cameras):
        parts += [{"type": "text", "text": sentence}, {"type": "video"}]
    wish = instruction if instruction is not None else text.COMMANDS[command]
    state = (
        f"{text.SPEED}{number(speed)}{text.ACCELERATION}{number(acceleration)}{text.INSTRUCTION}{wish}{text.REQUEST}"
    )
    parts.append({"type": "text", "text": state})
    return [
        {"role": "system", "content": [{"type": "text", "text": text.SYSTEM}]},
        {"role": "user", "content": parts},
    ]


def render(
    speed: float, acceleration: float, command: Command, cameras: tuple[str, ...], instruction: str | None = None
) -> str:
    """The prompt up to where the answer begins; one ``<|video_pad|>`` stands for each camera's clip.

    Equal to Qwen's chat template over ``messages`` with ``add_vision_id`` and a generation prompt.
    """
    turns, video = [], itertools.count(1)
    for message in messages(speed, acceleration, command, cameras, instruction):
        body = "".join(
            text.VIDEO_ID.format(next(video)) + text.VISION if part["type"] == "video" else str(part["text"])
            for part in message["content"]
        )
        turns.append(text.TURN_OPEN.format(role=message["role"]) + body + text.TURN_CLOSE)
    return "".join(turns) + text.TURN_OPEN.format(role="assistant")


def wording_hash() -> str:
    """sha256 over what the prompt and the answers look like; a checkpoint refuses another wording."""
    digest = hashlib.sha256()
    for cameras, command in itertools.product(text.RIGS, text.COMMANDS):
        digest.update(render(12.345, -0.06, command, cameras).encode())
    digest.update(render(-0.04, 3.0, Command.FOLLOW, ("front",), "stop at the \u00e9cole").encode())
    digest.update(answer.write(range(10)).encode())
    digest.update(answer.write(range(10), "### Scene Description:\n").encode())
    return digest.hexdigest()


WORDING_HASH = wording_hash()
