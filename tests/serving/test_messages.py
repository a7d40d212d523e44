from __future__ import annotations

import ast
import contextlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from autovla_core.serving import client as wire
from autovla_core.serving.client import PREFIX, Framer, Limits, Message, ProtocolError, pack, split_address

MESSAGES = [
    Message("health", 1),
    Message(
        "plan",
        2,
        {"speed": -0.5, "text": "Straße \U0001f6a6", "none": None},
        {
            "images": np.arange(48, dtype=np.uint8).reshape(1, 4, 4, 3),
            "empty": np.zeros((0, 2)),
            "scalar": np.array(3.5, np.float32),
            "strided": np.arange(12, dtype=np.int64).reshape(3, 4)[:, ::2],
        },
    ),
    Message("result", 3, {}, {"poses": np.ones((10, 3))}),
]


def feed(framer: Framer, data: bytes, step: int) -> list[Message]:
    """Offer ``data`` in pieces of at most ``step`` bytes; arrays are copied as a later message overwrites them."""
    got, at = [], 0
    while at < len(data):
        space = framer.space()
        count = min(step, len(space), len(data) - at)
        space[:count] = data[at : at + count]
        at += count
        message = framer.filled(count)
        if message is not None:
            got.append(message._replace(arrays={name: array.copy() for name, array in message.arrays.items()}))
    return got


def packed(message: Message) -> bytes:
    return b"".join(pack(message))


@pytest.mark.parametrize("step", [1, 2, 7, 16, 17, 10_000])
def test_messages_survive_any_split_and_each_other(step: int) -> None:
    got = feed(Framer(), b"".join(map(packed, MESSAGES + MESSAGES)), step)
    assert len(got) == 2 * len(MESSAGES)
    for sent, received in zip(MESSAGES + MESSAGES, got):
        assert received[:3] == sent[:3]
        assert list(received.arrays) == list(sent.arrays)
        for name, array in sent.arrays.items():
            assert received.arrays[name].dtype == array.dtype and received.arrays[name].shape == array.shape
            assert np.array_equal(received.arrays[name], array)


def test_the_layout_is_the_documented_one() -> None:
    data = packed(Message("a", 7, {}, {"x": np.array([1, 256], "<i8")}))
    header = b'{"kind":"a","id":7,"fields":{},"arrays":[["x","<i8",[2]]]}'
    assert data == b"AVP1" + len(header).to_bytes(4, "little") + (16).to_bytes(8, "little") + header + bytes(
        [1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    )


def test_big_endian_arrays_arrive_right_and_objects_never_leave() -> None:
    (message,) = feed(Framer(), packed(Message("a", 0, {}, {"x": np.array([1.5, -2.0], ">f8")})), 9)
    assert message.arrays["x"].tolist() == [1.5, -2.0]
    for array in (np.array([object()]), np.array(["text"]), np.array([1j]), np.array([True])):
        with pytest.raises(ProtocolError, match="expected one of"):
            pack(Message("a", 0, {}, {"x": array}))


def raw(header: bytes, body: bytes = b"", magic: bytes = b"AVP1", says: int | None = None) -> bytes:
    return PREFIX.pack(magic, len(header), len(body) if says is None else says) + header + body


def head(arrays: object = (), **changes: object) -> bytes:
    return json.dumps({"kind": "a", "id": 0, "fields": {}, "arrays": arrays, **changes}).encode()


BAD = {
    "another protocol": raw(head(), magic=b"GET "),
    "no header": raw(b""),
    "huge header": PREFIX.pack(b"AVP1", 2**32 - 1, 0),
    "huge body": PREFIX.pack(b"AVP1", 10, 2**63),
    "no JSON": raw(b"\x80\x04\x95pickle"),
    "not utf-8": raw(b'"\xff"'),
    "deep JSON": raw(b"[" * 100_000),
    "a list": raw(b"[]"),
    "fields are a list": raw(head(fields=[])),
    "id is text": raw(head(id="0")),
    "id is a truth": raw(head(id=True)),
    "kind is a number": raw(head(kind=3)),
    "missing part": raw(b'{"kind":"a","id":0,"fields":{}}'),
    "object array": raw(head([["x", "|O", [1]]]), b"\0" * 8),
    "unknown type": raw(head([["x", ["<f8"], [1]]]), b"\0" * 8),
    "negative axis": raw(head([["x", "<f8", [-1, -1]]]), b"\0" * 8),
    "fractional axis": raw(head([["x", "<f8", [1.0]]]), b"\0" * 8),
    "shape is text": raw(head([["x", "|u1", "11"]]), b"\0"),
    "six axes": raw(head([["x", "|u1", [1] * 6]]), b"\0"),
    "too few bytes": raw(head([["x", "<f8", [2]]]), b"\0" * 8),
    "too many bytes": raw(head([["x", "<f8", [1]]]), b"\0" * 9),
    "bytes of no array": raw(head(), b"\0"),
    "overflow": raw(head([["x", "<f8", [2**30, 2**30, 2**30]]]), b"\0" * 8),
    "empty but unthinkable": raw(head([["x", "<f8", [0, 2**30, 2**30, 2**30]]])),
    "same name twice": raw(head([["x", "|u1", [1]], ["x", "|u1", [1]]]), b"\0\0"),
    "33 arrays": raw(head([[str(i), "|u1", [0]] for i in range(33)])),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_message_is_refused_before_room_is_made_for_it(name: str) -> None:
    framer = Framer(Limits(header=200_000, body=1000))
    with pytest.raises(ProtocolError):
        feed(framer, BAD[name], 1 << 20)
    assert len(framer._body) <= 1000 and len(framer._buffer) <= 200_000


def test_noise_is_never_more_than_a_protocol_error() -> None:
    rng = np.random.default_rng(5)
    good = packed(MESSAGES[1])
    for _ in range(3000):
        data = bytearray(good)
        for place in rng.integers(0, len(data), rng.integers(1, 6)):
            data[place] = rng.integers(0, 256)
        with contextlib.suppress(ProtocolError):
            feed(Framer(Limits(4096, 4096)), bytes(data), int(rng.integers(1, 300)))


@pytest.mark.parametrize(
    "text, expected",
    [
        ("10.0.0.5:80", ("10.0.0.5", 80)),
        ("gpu.lan", ("gpu.lan", 7667)),
        ("[::1]:9", ("::1", 9)),
        ("::1", ("::1", 7667)),
    ],
)
def test_addresses(text: str, expected: tuple[str, int]) -> None:
    assert split_address(text) == expected


@pytest.mark.parametrize("text", ["", ":80", "host:", "host:0", "host:70000", "host:x"])
def test_an_address_without_a_port_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected host:port"):
        split_address(text)


def test_the_client_file_runs_on_python_3_7_with_numpy_alone() -> None:
    source = Path(wire.__file__).read_text()
    tree = ast.parse(source, feature_version=(3, 7))
    nodes = list(ast.walk(tree))
    modules = {alias.name.split(".")[0] for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module.split(".")[0] for node in nodes if isinstance(node, ast.ImportFrom)}
    assert modules - {"__future__", "numpy"} <= sys.stdlib_module_names
    assert "annotations" in {a.name for n in nodes if isinstance(n, ast.ImportFrom) for a in n.names}
    newer = {"removeprefix", "removesuffix", "bit_count"}
    assert not [node.attr for node in nodes if isinstance(node, ast.Attribute) and node.attr in newer]
