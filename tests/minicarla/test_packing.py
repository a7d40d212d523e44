"""msgpack as the client speaks it: any split, and limits on strangers."""

from __future__ import annotations

import pytest

from autovla_core.minicarla.wire.packing import PackingError, Unpacker, pack

VALUES = [[0, 1, "tick_cue", [[False]]], {"a": b"\x00\xff"}, "späße", -1.5, None, [], 2**40]
WIRE = b"".join(pack(value) for value in VALUES)


@pytest.mark.parametrize("step", [1, 2, 3, 7, len(WIRE)])
def test_values_survive_any_split(step: int) -> None:
    unpacker = Unpacker()
    got = [value for i in range(0, len(WIRE), step) for value in unpacker.feed(WIRE[i : i + step])]
    assert got == VALUES


def test_a_string_that_is_no_utf8_comes_back_byte_for_byte() -> None:
    wire = b"\xa2\xc3\x28"
    (value,) = Unpacker().feed(wire)
    assert pack(value) == wire


def test_floats_keep_all_their_bits() -> None:
    (value,) = Unpacker().feed(pack(0.1 + 0.2))
    assert value == 0.1 + 0.2


@pytest.mark.parametrize("wire", [b"\xc1", b"\x92\x01\xc1"], ids=["reserved byte", "reserved byte inside"])
def test_bytes_that_are_no_msgpack_are_an_error(wire: bytes) -> None:
    with pytest.raises(PackingError):
        list(Unpacker().feed(wire))


def test_an_array_header_cannot_reserve_gigabytes() -> None:
    with pytest.raises(PackingError):
        list(Unpacker().feed(b"\xdd\x7f\xff\xff\xff"))


def test_deep_nesting_is_an_error_and_no_crash() -> None:
    with pytest.raises(PackingError):
        list(Unpacker().feed(b"\x91" * 100_000))


def test_a_message_over_the_limit_is_an_error() -> None:
    unpacker = Unpacker(max_bytes=100)
    with pytest.raises(PackingError):
        list(unpacker.feed(pack(b"x" * 200)))


def test_many_messages_under_the_limit_may_exceed_it_together() -> None:
    unpacker = Unpacker(max_bytes=100)
    got = [value for _ in range(10) for value in unpacker.feed(pack(b"x" * 60))]
    assert len(got) == 10
