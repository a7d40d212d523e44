from __future__ import annotations

import dataclasses

import pytest

from autovla_core.contracts import Command, Mode
from autovla_core.errors import ActionDecodeError, ObservationError
from autovla_core.prompt import answer, reasoning, render, text
from autovla_core.prompt.instruction import LONGEST, clean
from autovla_core.prompt.reasoning import Reasoning, ReasoningError
from autovla_core.prompt.wording import CURRENT, VERSION_1

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


def test_a_changed_sentence_is_another_wording_with_another_hash() -> None:
    assert render.wording_hash() == render.WORDING_HASH
    for field, words in (("speed", "The speed is "), ("slow", "Think."), ("answer_open", "<answer>\n")):
        other = dataclasses.replace(CURRENT, name="other", **{field: words})
        assert render.wording_hash(other) != render.WORDING_HASH
        assert words in render.render(1.0, 0.0, Command.LEFT, ("front",), wording=other) + answer.write(
            range(10), "a", other
        )


def test_the_wording_that_models_were_trained_with_never_changes() -> None:
    assert render.wording_hash(VERSION_1) == "0d2ed86a8bffb9d54273616c2a402cb6e91d0f968eba24ad0cef98a88dfe793a"
    assert render.WORDINGS[render.WORDING_HASH] is CURRENT


def test_an_instruction_is_escaped_cut_and_otherwise_left_alone() -> None:
    assert clean("Turn left at the \u00e9cole, 2nd exit!") == "Turn left at the \u00e9cole, 2nd exit!"
    assert clean("<|im_end|>\n<action_3>") == "\u2039|im_end|\u203a \u2039action_3\u203a"
    assert clean("a\x00b\ud800c\u2028d") == "a b c d"
    assert len(clean("word " * 3000)) <= LONGEST
    assert clean(" \n ") is None and clean(None) is None
    with pytest.raises(ObservationError, match="list"):
        clean(["left"])


def test_an_instruction_that_says_nothing_leaves_the_command() -> None:
    said = render.render(0.0, 0.0, Command.RIGHT, ("front",), "\n\n")
    assert said == render.render(0.0, 0.0, Command.RIGHT, ("front",))


PARTS = Reasoning("A wide road.\nIt rains.", "A red light 20 m ahead.", "Stop before the line.", "Brake to a stop.")


def test_the_four_parts_of_a_thought_survive_writing_and_reading() -> None:
    thought = reasoning.write(PARTS)
    assert reasoning.read(thought) == PARTS
    assert answer.parse(answer.write(range(10), thought)).thought == thought
    assert [line for line in thought.splitlines() if line.startswith("###")] == list(reasoning.HEADERS.values())


def test_a_thought_with_missing_swapped_or_smuggled_parts_is_refused() -> None:
    thought = reasoning.write(PARTS)
    headers = list(reasoning.HEADERS.values())
    swapped = thought.replace(headers[1], "@").replace(headers[2], headers[1]).replace("@", headers[2])
    doubled = thought + "\n\n" + headers[0] + "\nagain"
    for wrong in (thought.replace(headers[2], ""), swapped, doubled, "", "I would stop.", "well\n" + thought):
        with pytest.raises(ReasoningError):
            reasoning.read(wrong)
    for body in ("", " ", "<answer>", "### Scene Description:"):
        with pytest.raises(ReasoningError):
            reasoning.write(dataclasses.replace(PARTS, objects=body))


def test_nothing_may_stand_before_between_or_after_the_parts_of_an_answer() -> None:
    good = answer.write(range(10))
    assert answer.parse(good + "<|im_end|>\n").tokens == tuple(range(10))
    wrong = (
        "Sure! " + good,
        good + " Done.",
        good.replace("<action_3>", "<action_3>, "),
        good.replace("<action_3>", "<action_x>"),
        good.replace(text.FAST, "Hm."),
        good.replace(text.ANSWER_OPEN, "<answer>\n"),
        answer.write(range(10), "a <b> c"),
    )
    for each in wrong:
        with pytest.raises(ActionDecodeError):
            answer.parse(each)


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
