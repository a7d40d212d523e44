"""A pickle from a stranger may hold arrays; whatever else it asks for is refused by name and never run."""

from __future__ import annotations

import io
import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from autovla_core.restricted_pickle import NUMPY, PickleRefused, load

VALUES = {
    "floats": np.arange(12, dtype=np.float32).reshape(3, 4),
    "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "big endian": np.arange(4, dtype=">i4"),
    "turned": np.arange(24.0).reshape(2, 3, 4).transpose(1, 2, 0),
    "empty": np.zeros((0, 3)),
    "scalar array": np.array(7.5),
    "flags": np.array([True, False]),
    "strings": np.array(["ab", "c"]),
    "numpy scalar": np.float64(2.5),
    "bytes": b"\x00\xff",
    "no bytes": b"",
    "nested": [1, (2.5, None), {"a": "b"}],
}


class Calls:
    """Pickles into a call of ``function`` with ``arguments``."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.function, self.arguments


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_of_every_protocol_come_back_as_they_were(protocol: int) -> None:
    found = load(pickle.dumps(VALUES, protocol=protocol), NUMPY, "values")
    assert found.keys() == VALUES.keys()
    for name, value in VALUES.items():
        if isinstance(value, np.ndarray):
            assert isinstance(found[name], np.ndarray)
            assert found[name].shape == value.shape
            assert np.array_equal(found[name], value)
        else:
            assert found[name] == value
    assert found["floats"].dtype == np.float32


def test_a_file_is_read_like_bytes() -> None:
    assert load(io.BytesIO(pickle.dumps([1, 2])), {}, "a file") == [1, 2]


def test_a_call_of_the_shell_is_refused_by_name_and_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "was_run"
    for function, arguments in ((os.system, (f"touch {mark}",)), (eval, (f"open({str(mark)!r}, 'w')",))):
        with pytest.raises(PickleRefused, match=rf"evil\.pkl: .*{function.__name__}.*refused"):
            load(pickle.dumps(Calls(function, *arguments)), NUMPY, "evil.pkl")
    assert not mark.exists()


@pytest.mark.parametrize(
    "name", ["builtins.getattr", "numpy.load", "numpy.core.multiarray.fromfile", "operator.attrgetter", "os.path.join"]
)
def test_names_outside_the_table_are_refused_even_if_they_are_numpys(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    with pytest.raises(PickleRefused, match=f"{name}'"):
        load(f"c{module}\n{attribute}\n.".encode(), NUMPY, "t")


def test_a_dotted_name_does_not_reach_through_an_allowed_module() -> None:
    data = b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93."
    with pytest.raises(PickleRefused, match="numpy.ndarray.tofile"):
        load(data, NUMPY, "t")


def test_an_empty_table_admits_plain_values_only() -> None:
    assert load(pickle.dumps({"a": [1, "b", 2.0]}), {}, "t") == {"a": [1, "b", 2.0]}
    with pytest.raises(PickleRefused, match="plain values only"):
        load(pickle.dumps(np.zeros(2)), {}, "t")


def test_a_caller_adds_the_classes_that_its_files_need() -> None:
    value = OrderedDict(a=1)
    with pytest.raises(PickleRefused, match="OrderedDict"):
        load(pickle.dumps(value), NUMPY, "t")
    assert load(pickle.dumps(value), {**NUMPY, "collections.OrderedDict": OrderedDict}, "t") == value


def test_arrays_of_objects_and_records_are_refused() -> None:
    for array in (np.array([{}], object), np.zeros(2, [("a", "f4"), ("b", "i4")]), np.array(["2026"], "M8[Y]")):
        with pytest.raises(PickleRefused, match="dtype"):
            load(pickle.dumps(array), NUMPY, "t")


def test_an_array_whose_bytes_do_not_fit_its_shape_is_refused() -> None:
    data = pickle.dumps(np.zeros(3), protocol=2)
    assert data.count(b"K\x03\x85") == 1  # the shape (3,)
    with pytest.raises(PickleRefused, match="24 bytes, expected 1600 bytes"):
        load(data.replace(b"K\x03\x85", b"K\xc8\x85"), NUMPY, "t")


def test_numpy_is_not_called_with_sizes_from_the_file() -> None:
    with pytest.raises(PickleRefused, match="not callable"):
        load(b"cnumpy\nndarray\n(L1000000000000L\ntR.", NUMPY, "t")
    with pytest.raises(PickleRefused, match="arguments"):
        load(b"cbuiltins\nbytes\n(L1000000000000L\ntR.", NUMPY, "t")


class Holder:
    """A class that some caller allows."""

    kind = "good"


def test_what_a_pickle_sets_on_a_function_or_class_does_not_outlive_it() -> None:
    for module, name in (("numpy.core.multiarray", "scalar"), ("numpy", "dtype")):
        with pytest.raises(PickleRefused, match="__defaults__|attribute"):
            load(poison(module, name), NUMPY, "t")
    load(poison("tests", "Holder", "kind"), {"tests.Holder": Holder}, "t")
    assert Holder.kind == "good"


def poison(module: str, name: str, attribute: str = "__defaults__") -> bytes:
    """A pickle that sets an attribute of a global through the state (None, {attribute: None})."""
    return f"c{module}\n{name}\n(N(dS'{attribute}'\nNstb.".encode()


@pytest.mark.parametrize("data", [b"", b"abc", b".", b"\x80\x09.", pickle.dumps(VALUES)[:200], b"Nr\xff\xff\xff\x7f."])
def test_damaged_data_is_a_named_error(data: bytes) -> None:
    with pytest.raises(PickleRefused, match="broken.pkl"):
        load(data, NUMPY, "broken.pkl")


def test_random_bytes_never_do_more_than_raise() -> None:
    rng = np.random.default_rng(0)
    whole = pickle.dumps(VALUES)
    for _ in range(400):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), 3):
            data[place] = rng.integers(256)
        try:
            load(bytes(data), NUMPY, "fuzz")
        except PickleRefused:
            continue
