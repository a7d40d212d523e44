"""Calls in, replies out, without a socket."""

from __future__ import annotations

import msgpack
import pytest

from autovla_core.minicarla.wire import rpc
from autovla_core.minicarla.wire.packing import PackingError, pack
from autovla_core.minicarla.wire.rpc import Call, CallReader

MESSAGES = [
    [0, 7, "tick_cue", [[False]]],
    [0, 8, "apply_control_to_vehicle", [[True], 5, [0.5, 0.0, 0.0, False, False, False, 0]]],
    [2, "hello", [[False], 1]],
    [0, 9, "version", []],
]
CALLS = [
    Call("tick_cue", (), 7),
    Call("apply_control_to_vehicle", (5, [0.5, 0.0, 0.0, False, False, False, 0]), 8, asynchronous=True),
    Call("hello", (1,), None),
    Call("version", (), 9),
]
WIRE = b"".join(pack(message) for message in MESSAGES)


@pytest.mark.parametrize("step", [1, 2, 5, 13, len(WIRE)])
def test_calls_survive_any_split(step: int) -> None:
    reader = CallReader()
    assert [call for i in range(0, len(WIRE), step) for call in reader.feed(WIRE[i : i + step])] == CALLS


@pytest.mark.parametrize("cut", range(1, len(pack(MESSAGES[1]))))
def test_half_a_call_is_no_call_yet(cut: int) -> None:
    reader, wire = CallReader(), pack(MESSAGES[1])
    assert list(reader.feed(wire[:cut])) == []
    assert list(reader.feed(wire[cut:])) == [CALLS[1]]


@pytest.mark.parametrize(
    "message",
    [5, "text", [], [0, 1, "x"], [0, 1, "x", [], 5], [1, 1, "x", []], [2, 1, "x", []], [0, 1, 5, []], [0, 1, "x", {}]],
    ids=repr,
)
def test_a_message_that_is_no_call_is_an_error(message: object) -> None:
    with pytest.raises(PackingError):
        list(CallReader().feed(pack(message)))


def test_a_reply_carries_the_id_and_no_transport_error() -> None:
    assert msgpack.unpackb(rpc.reply(7, rpc.success("0.9.16"))) == [1, 7, None, [[1, "0.9.16"]]]


def test_value_and_void_failures_have_different_shapes() -> None:
    assert rpc.failure("no") == [[0, ["no"]]]
    assert rpc.void_failure("no") == [[True, ["no"]]]
    assert rpc.VOID_SUCCESS == [[False]]


def test_a_transport_error_has_text_and_no_result() -> None:
    assert msgpack.unpackb(rpc.transport_error(3, "no function 'x'")) == [1, 3, "no function 'x'", None]
