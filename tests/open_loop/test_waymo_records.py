"""TFRecord framing and the wire format: what is sound is read, what is broken is named, nothing else ever happens."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from tests.open_loop.fixtures import write_waymo as fixture
from training.datasets import protobuf_wire as wire
from training.datasets.sample import DatasetError
from training.datasets.tfrecord import masked_crc, read_records
from training.datasets.waymo_proto import decode

PAYLOADS = [b"first", b"a longer second record", b"third"]


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.fixture
def whole() -> bytes:
    return b"".join(map(fixture.tfrecord, PAYLOADS))


@pytest.fixture(scope="module")
def frame() -> bytes:
    rated = [(np.ones((21, 2)), 7.0), (np.ones((11, 2)), -1.0)]
    return fixture.frames(3, 12, 1, fixture.moment(0.02, 8.0, rated, intent=2), size=(16, 16))[0]


def test_the_checksum_is_the_one_that_the_standard_prints() -> None:
    # RFC 3720, B.4: 32 bytes of zeros have the CRC-32C 8a9136aa; masked: rotate right by 15, add a282ead8.
    crc = 0x8A9136AA
    expected = ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32
    assert masked_crc(bytes(32)) == expected
    assert fixture.masked(bytes(32)) == struct.pack("<I", expected)
    assert fixture.crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C


def test_records_come_back_with_their_places(tmp_path: Path, whole: bytes) -> None:
    path = write(tmp_path / "r", whole)
    records = list(read_records(path))
    assert [r.data for r in records] == PAYLOADS
    assert [r.number for r in records] == [0, 1, 2]
    assert all(whole[r.offset : r.offset + len(r.data)] == r.data and not r.problem for r in records)


def test_an_empty_file_holds_no_record(tmp_path: Path) -> None:
    assert list(read_records(write(tmp_path / "r", b""))) == []


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="absent"):
        list(read_records(tmp_path / "absent"))


def test_a_file_cut_anywhere_keeps_the_records_before_the_cut(tmp_path: Path, whole: bytes) -> None:
    ends = np.cumsum([len(fixture.tfrecord(p)) for p in PAYLOADS])
    for cut in range(1, len(whole)):
        records = list(read_records(write(tmp_path / "r", whole[:cut])))
        sound = [r for r in records if not r.problem]
        complete = int((ends <= cut).sum())
        assert [r.data for r in sound] == PAYLOADS[:complete]
        assert len(records) - complete == (0 if cut in ends else 1)


def test_one_flipped_bit_anywhere_is_found(tmp_path: Path, whole: bytes) -> None:
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        records = list(read_records(write(tmp_path / "r", bytes(damaged))))
        assert sum(bool(r.problem) for r in records) == 1, at
        assert all(r.data in PAYLOADS for r in records if not r.problem)


def test_wrong_data_costs_one_record_and_a_wrong_length_all_behind_it(tmp_path: Path, whole: bytes) -> None:
    damaged = bytearray(whole)
    damaged[12] ^= 1  # first byte of the first record's data
    problems = [bool(r.problem) for r in read_records(write(tmp_path / "r", bytes(damaged)))]
    assert problems == [True, False, False]
    damaged = bytearray(whole)
    damaged[0] ^= 1  # its length
    records = list(read_records(write(tmp_path / "r", bytes(damaged))))
    assert len(records) == 1 and "checksum of the length" in records[0].problem


def test_a_huge_length_with_a_right_checksum_reads_nothing(tmp_path: Path) -> None:
    length = struct.pack("<Q", 2**62)
    (record,) = read_records(write(tmp_path / "r", length + fixture.masked(length) + b"x"))
    assert "truncated" in record.problem and record.data == b""


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**32, 2**64 - 1])
def test_a_number_survives_its_encoding(value: int) -> None:
    data = wire.varint_bytes(value)
    assert wire.read_varint(data, 0, len(data)) == (value, len(data))


def test_300_is_ac_02() -> None:  # the example of the public description
    assert wire.varint_bytes(300) == b"\xac\x02"


def test_floats_are_read_packed_and_unpacked_and_mixed() -> None:
    data = fixture.packed(1, [1.0, 2.0]) + fixture.single(1, 3.0) + fixture.packed(1, [4.0])
    found = wire.message(data, [(0, len(data))], {1: (wire.BYTES, wire.FIXED32)})
    assert wire.floats(data, found[1]).tolist() == [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\x0a\x05abc", "ends at byte 7, its message at byte 5"),  # 5 bytes promised, 3 there
        (b"\x80", "within a number"),
        (b"\xff" * 11, "more than 10 bytes"),
        (b"\x0b", "wire type 3"),  # a group, given up long ago
        (b"\x02\x00", "field 0"),
        (b"\x08\x01", "wire type 0, expected 2"),
    ],
)
def test_bytes_that_are_no_message_are_named(data: bytes, text: str) -> None:
    with pytest.raises(wire.WireError, match=text):
        wire.message(data, [(0, len(data))], {1: (wire.BYTES,)})


def test_a_frame_is_read_field_by_field(frame: bytes) -> None:
    found = decode(frame)
    at = fixture.moment(0.02, 8.0)
    assert found.name == f"{3:032x}-012"
    assert found.intent == 2
    np.testing.assert_allclose(np.stack([found.past.x, found.past.y, found.past.vx], 1), at.past[:, :3], atol=1e-5)
    np.testing.assert_allclose(np.stack([found.past.vy, found.past.ax, found.past.ay], 1), at.past[:, 3:], atol=1e-5)
    np.testing.assert_allclose(found.future.points, at.future, atol=1e-5)
    assert [len(r.points) for r in found.rated] == [21, 11]
    assert [r.score for r in found.rated] == [7.0, -1.0]
    for number, camera in enumerate(("front", "front_left", "front_right", "left", "right"), 1):
        start, end = found.images[camera]
        assert frame[start:end] == fixture.picture(3, 12, number, (16, 16))
    assert len(found.images) == 8


def test_unknown_fields_are_stepped_over(frame: bytes) -> None:
    more = fixture.number(99, 5) + fixture.text(100, b"\xff\xff") + fixture.double(101, 1.0) + fixture.single(102, 1.0)
    assert decode(more + frame + more).name == decode(frame).name


def test_fields_in_another_order_say_the_same(frame: bytes) -> None:
    parts = [frame[f.start : f.end] for f in wire.fields(frame, 0, len(frame)) if f.wire == wire.BYTES]
    numbers = [f.number for f in wire.fields(frame, 0, len(frame)) if f.wire == wire.BYTES]
    turned = fixture.number(7, 2) + b"".join(fixture.text(n, p) for n, p in reversed(list(zip(numbers, parts))))
    one, other = decode(frame), decode(turned)
    assert (one.name, one.intent, one.past.x.tolist()) == (other.name, other.intent, other.past.x.tolist())


def test_cut_and_damaged_frames_raise_a_named_error_or_are_read(frame: bytes) -> None:
    rng = np.random.default_rng(8)
    refused = 0
    for _ in range(3000):
        data = bytearray(frame)
        for at in rng.integers(0, len(data), rng.integers(1, 6)):
            data[at] = rng.integers(0, 256)
        data = bytes(data[: rng.integers(1, len(data) + 1)]) if rng.random() < 0.3 else bytes(data)
        try:
            found = decode(data)
            assert all(0 <= start <= end <= len(data) for start, end in found.images.values())
        except DatasetError:
            refused += 1
    assert refused > 300


def test_noise_is_refused() -> None:
    rng = np.random.default_rng(9)
    for length in rng.integers(1, 400, 2000):
        with pytest.raises(DatasetError):
            decode(rng.bytes(int(length)))


def test_the_genuine_classes_of_waymo_read_the_fixture_alike(frame: bytes) -> None:
    """Runs where ``pip install --no-deps waymo-open-dataset-tf-2-12-0 protobuf`` was done."""
    pb2 = pytest.importorskip("waymo_open_dataset.protos.end_to_end_driving_data_pb2")
    genuine, ours = pb2.E2EDFrame.FromString(frame), decode(frame)
    assert genuine.SerializeToString() == frame
    assert genuine.frame.context.name == ours.name
    assert genuine.intent == ours.intent
    for column, name in {"x": "pos_x", "y": "pos_y", "vx": "vel_x", "vy": "vel_y", "ax": "accel_x"}.items():
        assert list(getattr(genuine.past_states, name)) == getattr(ours.past, column).tolist()
    assert list(genuine.future_states.pos_y) == ours.future.y.tolist()
    assert [t.preference_score for t in genuine.preference_trajectories] == [t.score for t in ours.rated]
    assert [i.image for i in genuine.frame.images] == [frame[start:end] for start, end in ours.images.values()]
