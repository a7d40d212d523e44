from __future__ import annotations

import pytest

from autovla_core.contracts import Command, Mode
from autovla_core.errors import ActionDecodeError
from autovla_core.prompt import answer, render, text

THREE = ("front", "front_left", "front_right")


def test_speed_and_acceleration_keep_their_sign_and_one_decimal() -> None:
    prompt = render.render(-1.26, -3.04, Command.LEFT, ("front",))
    assert "velocity of the vehicle is -1.3 m/s, and the current acceleration is -3.0 m/s\u00b2." in prompt
    assert "The driving instruction is: turn left." in prompt


def test_a_tiny_negative_speed_reads_as_zero() -> None:
    assert render.number(-0.01) == "0.0"


def test_each_camera_has_its_sentence_and_its_video() -> None:
    for cameras in (("front",), THREE):
        prompt = render.render(5.0, 0.0, Command.FOLLOW, cameras)
        assert prompt.count(text.VIDEO_PAD) == len(cameras)
        assert all(sentence in prompt for sentence in text.videos(cameras))
    assert "The second video presents the front-left view" in prompt


def test_the_prompt_ends_where_the_answer_begins() -> None:
    assert render.render(0.0, 0.0, Command.FOLLOW, ("front",)).endswith("<|im_end|>\n<|im_start|>assistant\n")


def test_a_free_instruction_replaces_the_command() -> None:
    prompt = render.render(0.0, 0.0, Command.LEFT, ("front",), "follow the bus")
    assert "instruction is: follow the bus." in prompt
    assert "turn left" not in prompt


def test_an_unknown_rig_is_named() -> None:
    with pytest.raises(ValueError, match="rear"):
        render.render(0.0, 0.0, Command.FOLLOW, ("rear",))


def test_every_command_has_a_phrase_and_void_means_follow() -> None:
    assert set(text.COMMANDS) == set(Command)
    assert text.COMMANDS[Command.VOID] == text.COMMANDS[Command.FOLLOW]


def test_a_changed_sentence_changes_the_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    assert render.wording_hash() == render.WORDING_HASH
    monkeypatch.setattr(text, "SPEED", "The speed is ")
    assert render.wording_hash() != render.WORDING_HASH


def test_answers_are_read_as_they_were_written() -> None:
    fast = answer.parse(answer.write(range(10)))
    assert (fast.mode, fast.thought, fast.tokens) == (Mode.FAST, "", tuple(range(10)))
    slow = answer.parse(answer.write([7] * 10, "A red light is ahead."))
    assert (slow.mode, slow.thought, slow.tokens) == (Mode.SLOW, "A red light is ahead.", (7,) * 10)


def test_an_answer_without_exactly_ten_actions_is_refused() -> None:
    for tokens in (range(9), range(11), ()):
        with pytest.raises(ActionDecodeError, match=f"holds {len(tuple(tokens))} action tokens"):
            answer.parse(answer.write(tokens))
    with pytest.raises(ActionDecodeError, match="<think>"):
        answer.parse("I would turn left.")
