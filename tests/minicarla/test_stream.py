"""Tokens, headers and subscriptions, byte by byte."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from autovla_core.minicarla.wire import stream


def test_a_token_is_24_bytes_with_the_port_and_no_address() -> None:
    assert stream.token(7, 2001) == bytes([7, 0, 0, 0, 0xD1, 0x07, 1, 0]) + bytes(16)


def test_a_frame_is_its_size_the_header_and_the_payload() -> None:
    header = stream.Header(13, 42, 2.1, np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0]))
    wire = b"".join(stream.frame(header, b"payload"))
    size, sensor_type, number, seconds, *pose = struct.unpack_from("<IQQd6f", wire)
    assert size == len(wire) - 4 == 48 + 7
    assert (sensor_type, number, seconds) == (13, 42, 2.1)
    assert pose == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert wire.endswith(b"payload")


def test_the_payload_of_a_frame_is_not_copied() -> None:
    payload = memoryview(bytearray(1000))
    pieces = stream.frame(stream.Header(13, 1, 0.0, np.zeros(3), np.zeros(3)), payload)
    assert pieces[-1] is payload


@pytest.mark.parametrize("step", [1, 2, 3, 4, 9])
def test_a_subscription_survives_any_split(step: int) -> None:
    reader, wire = stream.SubscriptionReader(), b"\x07\x01\x00\x00extra"
    got = [reader.feed(wire[i : i + step]) for i in range(0, len(wire), step)]
    assert got[-1] == 0x107
    assert all(value in (None, 0x107) for value in got)


def test_client_side_sensors_are_never_sent() -> None:
    assert not set(stream.CLIENT_SIDE_SENSORS) & set(stream.SENSOR_TYPE_IDS)
    assert {6, 12}.isdisjoint(stream.SENSOR_TYPE_IDS.values())
