"""Every sentence that the model reads or writes; the wording and the tags are AutoVLA's (arXiv 2506.13757)."""

from __future__ import annotations

from autovla_core.contracts import Command

SYSTEM = (
    "You are an Advanced Driver Assistance and Full Self-Driving System. "
    "You will be provided with video observations from the ego vehicle's surrounding cameras, "
    "along with the vehicle's current dynamic states. "
    "Your task is to predict the most appropriate driving action for the next five seconds."
)

RIGS: dict[tuple[str, ...], str] = {
    ("front",): (
        "The autonomous vehicle is equipped with a camera mounted at the front, "
        "enabling a perception of the environment ahead."
    ),
    ("front", "front_left", "front_right"): (
        "The autonomous vehicle is equipped with three cameras mounted at the front, left, and right, "
        "enabling a comprehensive perception of the surrounding environment."
    ),
}

ORDINALS = ("first", "second", "third")
VIDEO = (
    "The {ordinal} video presents the {view} view of the vehicle, comprising four sequential frames sampled at 2 Hz."
)

SPEED = "The current velocity of the vehicle is "
ACCELERATION = " m/s, and the current acceleration is "
INSTRUCTION = " m/s\u00b2. The driving instruction is: "
REQUEST = (
    ". Based on this information, plan the action trajectory for the autonomous vehicle over the next five seconds."
)

COMMANDS: dict[Command, str] = {
    Command.VOID: "keep forward",
    Command.FOLLOW: "keep forward",
    Command.STRAIGHT: "go straight",
    Command.LEFT: "turn left",
    Command.RIGHT: "turn right",
    Command.CHANGE_LEFT: "change lane to left",
    Command.CHANGE_RIGHT: "change lane to right",
}

FAST = "This is a straightforward scenario, and a direct decision can be made."
SLOW = "This is a complex scenario requiring additional reasoning."
THINK_OPEN, THINK_CLOSE = "<think>\n", "\n</think>\n"
ANSWER_OPEN, ANSWER_CLOSE = "<answer>\nThe final output action is: ", "\n</answer>"
ACTION = "<action_{}>"

VISION = "<|vision_start|><|video_pad|><|vision_end|>"
VIDEO_PAD = "<|video_pad|>"
VIDEO_ID = "Video {}: "
TURN_OPEN, TURN_CLOSE = "<|im_start|>{role}\n", "<|im_end|>\n"
END_OF_TURN = "<|im_end|>"


def videos(cameras: tuple[str, ...]) -> tuple[str, ...]:
    """The sentence that announces each camera's video."""
    return tuple(VIDEO.format(ordinal=o, view=c.replace("_", "-")) for o, c in zip(ORDINALS, cameras))
