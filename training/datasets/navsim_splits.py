"""The splits of NAVSIM: which logs they draw from, which moments they select, which are for testing only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from training.datasets.sample import DatasetError

SPLIT_FILES = "navsim/planning/script/config/common/train_test_split"  # inside a clone of the devkit
FILTERS = f"{SPLIT_FILES}/scene_filter"
SYNTHETIC = "synthetic/"  # before the file's name: how a synthetic scene is called where a log's name is expected


@dataclass(frozen=True)
class Split:
    """Where a split's files lie below ``navsim_logs/`` and ``sensor_blobs/``, and whether it is a selection of them."""

    data: str
    filtered: bool  # the devkit's scene filter of this name selects the moments
    test: bool  # results are reported on it: nobody trains on it
    two_stage: bool = False  # it has synthetic follow-up scenes, in the folder of its name below the root


SPLITS = {
    "mini": Split("mini", filtered=False, test=False),
    "trainval": Split("trainval", filtered=False, test=False),
    "test": Split("test", filtered=False, test=True),
    "navmini": Split("mini", filtered=True, test=False),
    "navtrain": Split("trainval", filtered=True, test=False),
    "navtest": Split("test", filtered=True, test=True),
    "warmup_test_e2e": Split("mini", filtered=True, test=True),
    "private_test_e2e": Split("private_test_e2e", filtered=False, test=True),
    "navhard_two_stage": Split("test", filtered=True, test=True, two_stage=True),
    "warmup_two_stage": Split("test", filtered=True, test=True, two_stage=True),
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
    synthetic: frozenset[str] | None = None  # tokens of synthetic scenes; None: all that are there


def split(name: str) -> Split:
    """The row of ``SPLITS``.

    Raises:
        DatasetError: no such split.
    """
    try:
        return SPLITS[name]
    except KeyError:
        raise DatasetError(f"navsim has no split {name!r}; known: {', '.join(SPLITS)}") from None


def blobs(root: Path, name: str, log: str = "") -> Path:
    """The folder of the images of a split's logs, or of a synthetic scene's."""
    if log.startswith(SYNTHETIC):
        return root / name / "sensor_blobs"
    return root / "sensor_blobs" / split(name).data


def log_path(root: Path, name: str, log: str) -> Path:
    """The pickle of one log of a split, or of one synthetic scene."""
    if log.startswith(SYNTHETIC):
        return root / name / "synthetic_scene_pickles" / f"{log.removeprefix(SYNTHETIC)}.pkl"
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
    return _read_filter(_devkit_file(root, name, "scene_filters", FILTERS))


def _devkit_file(root: Path, name: str, folder: str, inside: str) -> Path:
    """``<name>.yaml`` of the devkit, copied into ``folder`` or in a clone."""
    places = [root / folder, root / "navsim" / inside, root.parent / "navsim" / inside]
    paths = [place / f"{name}.yaml" for place in places]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise DatasetError(
            f"navsim split {name!r} needs the devkit's {name}.yaml with its tokens; found none of "
            f"{', '.join(map(str, paths))}. Copy it from {inside}/ of a clone of the devkit"
        )
    return path


def _read_yaml(path: Path) -> dict:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one reads 100,000 tokens in seconds
    try:
        fields = yaml.load(path.read_text(), loader)
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise DatasetError(f"cannot read the scene filter {path}: {error}") from None
    if not isinstance(fields, dict):
        raise DatasetError(f"{path} holds {type(fields).__name__}, expected the keys of a scene filter")
    return fields


def _read_filter(path: Path) -> SceneFilter:
    fields = _read_yaml(path)
    return SceneFilter(
        past=_count(fields, "num_history_frames", 4, path),
        future=_count(fields, "num_future_frames", 10, path),
        interval=_count(fields, "frame_interval", None, path),
        has_route=bool(fields.get("has_route", True)),
        logs=_names(fields, "log_names", path),
        tokens=_names(fields, "tokens", path),
        synthetic=_names(fields, "reactive_synthetic_initial_tokens", path),
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


@dataclass(frozen=True)
class Pair:
    """Two moments 0.5 s apart: what is planned at one is compared with what was planned before."""

    now: str  # token
    before: str


@dataclass(frozen=True)
class Group:
    """A first-stage moment of a two-stage split, and the synthetic moments that may follow it 4 s later."""

    first: Pair
    second: tuple[Pair, ...]


def groups(root: Path, name: str) -> tuple[Group, ...]:
    """Which scenes of a two-stage split belong together, out of the devkit's ``train_test_split/<name>.yaml``.

    Raises:
        DatasetError: no such file, or it holds no such table.
    """
    path = _devkit_file(root, name, "train_test_split", SPLIT_FILES)
    table = _read_yaml(path).get("reactive_all_mapping")
    try:
        return tuple(Group(_pair([now, before]), tuple(map(_pair, second))) for now, before, second in table)
    except (TypeError, ValueError):
        raise DatasetError(
            f"{path} has no reactive_all_mapping of [token, token 0.5 s before, [[synthetic, synthetic before], ...]]"
        ) from None


def _pair(tokens: object) -> Pair:
    if not isinstance(tokens, list) or len(tokens) != 2 or not all(isinstance(token, str) for token in tokens):
        raise ValueError(f"{tokens!r:.60} is no pair of tokens")
    return Pair(*tokens)
