"""The splits of NAVSIM: which logs they draw from, which moments they select, which are for testing only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from training.datasets.sample import DatasetError

FILTERS = "navsim/planning/script/config/common/train_test_split/scene_filter"  # inside a clone of the devkit


@dataclass(frozen=True)
class Split:
    """Where a split's files lie below ``navsim_logs/`` and ``sensor_blobs/``, and whether it is a selection of them."""

    data: str
    filtered: bool  # the devkit's scene filter of this name selects the moments
    test: bool  # results are reported on it: nobody trains on it


SPLITS = {
    "mini": Split("mini", filtered=False, test=False),
    "trainval": Split("trainval", filtered=False, test=False),
    "test": Split("test", filtered=False, test=True),
    "navmini": Split("mini", filtered=True, test=False),
    "navtrain": Split("trainval", filtered=True, test=False),
    "navtest": Split("test", filtered=True, test=True),
    "warmup_test_e2e": Split("mini", filtered=True, test=True),
    "private_test_e2e": Split("private_test_e2e", filtered=False, test=True),
}
TEST_SPLITS = frozenset(name for name, split in SPLITS.items() if split.test)


@dataclass(frozen=True)
class SceneFilter:
    """Which moments of the logs a split has; the defaults are the devkit's for a whole data folder."""

    past: int = 4  # images that end at the moment itself
    future: int = 10  # images after it
    interval: int | None = None  # between two moments of a log; None: past + future, so that scenes do not overlap
    has_route: bool = True
    logs: frozenset[str] | None = None  # None: all
    tokens: frozenset[str] | None = None  # None: all


def split(name: str) -> Split:
    """The row of ``SPLITS``.

    Raises:
        DatasetError: no such split.
    """
    try:
        return SPLITS[name]
    except KeyError:
        raise DatasetError(f"navsim has no split {name!r}; known: {', '.join(SPLITS)}") from None


def blobs(root: Path, name: str) -> Path:
    """The folder of a split's images."""
    return root / "sensor_blobs" / split(name).data


def log_path(root: Path, name: str, log: str) -> Path:
    """The pickle of one log of a split."""
    return root / "navsim_logs" / split(name).data / f"{log}.pkl"


def refuse_test_split(name: str, i_know: bool = False) -> None:
    """Stop a training run that would learn from a split on which results are reported.

    Raises:
        DatasetError: a test split, and not ``i_know``.
    """
    if split(name).test and not i_know:
        raise DatasetError(
            f"navsim split {name!r} is a test split ({', '.join(sorted(TEST_SPLITS))}); a model trained on it has no "
            "score that means anything. Train on navtrain, or pass --i-know"
        )


def scene_filter(root: Path, name: str) -> SceneFilter:
    """The moments that a split selects.

    A filtered split needs the devkit's ``<name>.yaml`` (a list of tokens; the devkit's, so not shipped here), in
    ``<root>/scene_filters/`` or in a clone of the devkit at ``<root>/navsim`` or beside ``<root>``.

    Raises:
        DatasetError: no such split, or its file is missing or broken.
    """
    if not split(name).filtered:
        return SceneFilter()
    places = [root / "scene_filters", root / "navsim" / FILTERS, root.parent / "navsim" / FILTERS]
    paths = [place / f"{name}.yaml" for place in places]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise DatasetError(
            f"navsim split {name!r} needs the devkit's {name}.yaml with its tokens; found none of "
            f"{', '.join(map(str, paths))}. Copy it from {FILTERS}/ of a clone of the devkit"
        )
    return _read_filter(path)


def _read_filter(path: Path) -> SceneFilter:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one reads 100,000 tokens in seconds
    try:
        fields = yaml.load(path.read_text(), loader)
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise DatasetError(f"cannot read the scene filter {path}: {error}") from None
    if not isinstance(fields, dict):
        raise DatasetError(f"{path} holds {type(fields).__name__}, expected the keys of a scene filter")
    return SceneFilter(
        past=_count(fields, "num_history_frames", 4, path),
        future=_count(fields, "num_future_frames", 10, path),
        interval=_count(fields, "frame_interval", None, path),
        has_route=bool(fields.get("has_route", True)),
        logs=_names(fields, "log_names", path),
        tokens=_names(fields, "tokens", path),
    )


def _count(fields: dict, key: str, default: int | None, path: Path) -> int | None:
    value = fields.get(key)
    if value is None:
        return default
    if type(value) is not int or value < 0:
        raise DatasetError(f"{path}: {key} is {value!r}, expected a number of images")
    return value


def _names(fields: dict, key: str, path: Path) -> frozenset[str] | None:
    value = fields.get(key)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(name, str | int) for name in value):
        raise DatasetError(f"{path}: {key} is not a list of names")
    return frozenset(map(str, value))


def moments(tokens: Sequence[str], has_route: Sequence[bool], chosen: SceneFilter) -> list[int]:
    """Indices into a log of the moments that a filter selects, as the devkit cuts scenes."""
    length = chosen.past + chosen.future
    starts = range(0, len(tokens) - length + 1, chosen.interval or length)
    now = (start + chosen.past - 1 for start in starts)
    return [
        i
        for i in now
        if (has_route[i] or not chosen.has_route) and (chosen.tokens is None or tokens[i] in chosen.tokens)
    ]
