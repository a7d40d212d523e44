"""One NAVSIM log: a pickle that lists 2 Hz records of a drive (OpenScene's ``meta_datas``).

The pickles come from strangers, so they are read by ``restricted_pickle``: plain values, numpy arrays and
quaternions, nothing else. Every value used is checked, and an error names the file and the record's token.
Poses are those of the **rear axle** in nuPlan's world frame, as the benchmark scores them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from autovla_core import restricted_pickle
from autovla_core.contracts import STEP_S, Command
from autovla_core.restricted_pickle import PickleRefused
from training.datasets.sample import DatasetError

CAMERAS = {
    "front": "CAM_F0",
    "front_left": "CAM_L0",
    "front_right": "CAM_R0",
    "left": "CAM_L1",
    "right": "CAM_R1",
    "back_left": "CAM_L2",
    "back_right": "CAM_R2",
    "back": "CAM_B0",
}
COMMANDS = (Command.LEFT, Command.FOLLOW, Command.RIGHT, Command.VOID)  # of the one-hot driving_command
JITTER_S = 0.05  # two records are neighbours in time if they are 0.5 s apart, give or take this


class _Quaternion:
    """Stands for pyquaternion's: ``q`` holds w, x, y, z."""

    q: object = ()


ALLOWED = {**restricted_pickle.NUMPY, "pyquaternion.quaternion.Quaternion": _Quaternion}


@dataclass(frozen=True)
class Log:
    """The columns of a log's F records that a planner's sample needs."""

    name: str
    tokens: tuple[str, ...]
    times_s: np.ndarray  # (F,)
    poses: np.ndarray  # (F, 3) x, y, yaw: world, rear axle
    dynamics: np.ndarray  # (F, 4) vx, vy, ax, ay: ego frame
    commands: np.ndarray  # (F,) Command
    maps: tuple[str, ...]
    has_route: np.ndarray  # (F,) bool
    images: np.ndarray  # (F, 8) str: paths below the split's sensor blobs, in the order of ``CAMERAS``; "": no picture

    def __len__(self) -> int:
        return len(self.tokens)


def read_records(path: Path) -> list[dict]:
    """The records of one log as they were pickled.

    Raises:
        DatasetError: no file, a pickle that asks for anything but plain values and arrays, or another layout.
    """
    try:
        with path.open("rb") as file:
            records = restricted_pickle.load(file, ALLOWED, f"log {path}")
    except OSError as error:
        raise DatasetError(f"cannot read the log {path}: {error.strerror}") from None
    except PickleRefused as error:
        raise DatasetError(str(error)) from None
    if not isinstance(records, list) or not records or not all(isinstance(record, dict) for record in records):
        raise DatasetError(f"log {path} holds no list of records (found {type(records).__name__})")
    return records


def read_log(path: Path, broken: dict[int, str] | None = None) -> Log:
    """One log, checked.

    Args:
        path: of the pickle.
        broken: None: a record that lacks a field or holds nonsense is an error. Else such records are noted here, by
            index with the reason, and their numbers become NaN.

    Raises:
        DatasetError: as ``read_records``; a broken record, when ``broken`` is None.
    """
    return log_of(read_records(path), path, broken)


def log_of(
    records: Sequence[Mapping[str, object]], path: Path, broken: dict[int, str] | None = None, every_camera: bool = True
) -> Log:
    """The columns of records that ``read_records`` gave; ``broken`` as in ``read_log``.

    Without ``every_camera`` one will do: a synthetic scene need not have all.
    """
    rows = []
    for index, record in enumerate(records):
        where = f"log {path}, record {index} ({record.get('token')!r})"
        try:
            rows.append((*_row(record, where), _image_paths(record, where, every_camera)))
        except DatasetError as error:
            if broken is None:
                raise
            broken[index] = str(error)
            rows.append((str(record.get("token", "")), *BROKEN_ROW))
    columns = list(zip(*rows))
    arrays = [np.array(column) for column in columns]
    tokens, times, poses, dynamics, commands, maps, has_route, images = range(8)
    return Log(
        name=path.stem,
        tokens=tuple(columns[tokens]),
        times_s=arrays[times],
        poses=arrays[poses],
        dynamics=arrays[dynamics],
        commands=arrays[commands],
        maps=tuple(columns[maps]),
        has_route=arrays[has_route],
        images=arrays[images],
    )


def _row(record: Mapping[str, object], where: str) -> tuple:
    return (
        text(record, "token", where),
        float(numbers(record, "timestamp", (), where)) / 1e6,
        pose(record, where),
        numbers(record, "ego_dynamic_state", (4,), where),
        command(record, where),
        text(record, "map_location", where),
        len(listed(record, "roadblock_ids", where)) > 0,
    )


BROKEN_ROW = (np.nan, np.full(3, np.nan), np.full(4, np.nan), Command.VOID, "", True, [""] * len(CAMERAS))


def value(record: Mapping[str, object], key: str, where: str) -> object:
    """A field that must be there."""
    if key not in record:
        raise DatasetError(f"{where} has no field {key!r}; it has {', '.join(map(str, record)) or 'none'}")
    return record[key]


def text(record: Mapping[str, object], key: str, where: str) -> str:
    """A field that must be a string and not empty."""
    found = value(record, key, where)
    if not isinstance(found, str) or not found:
        raise DatasetError(f"{where}: {key} is {found!r:.60}, expected a name")
    return str(found)


def listed(record: Mapping[str, object], key: str, where: str) -> Sequence:
    """A field that must be a list, a tuple or an array."""
    found = value(record, key, where)
    if not isinstance(found, list | tuple | np.ndarray):
        raise DatasetError(f"{where}: {key} is {found!r:.60}, expected a list")
    return found


def numbers(record: Mapping[str, object], key: str, shape: tuple[int, ...], where: str) -> np.ndarray:
    """A field that must be finite numbers of this shape; -1 in ``shape``: any."""
    found = value(record, key, where)
    found = found.q if isinstance(found, _Quaternion) else found
    try:
        array = np.asarray(found, float)
    except (TypeError, ValueError):
        raise DatasetError(f"{where}: {key} is {found!r:.60}, expected numbers") from None
    if array.ndim != len(shape) or any(want not in (-1, size) for want, size in zip(shape, array.shape)):
        raise DatasetError(f"{where}: {key} has shape {array.shape}, expected {shape}")
    if not np.isfinite(array).all():
        raise DatasetError(f"{where}: {key} is {np.array2string(array, threshold=8)}, expected finite numbers")
    return array


def pose(record: Mapping[str, object], where: str) -> np.ndarray:
    """(3,) x, y, yaw of the rear axle in the world.

    The yaw is pyquaternion's ``yaw_pitch_roll[0]`` (the last of rotations about x, y, z), which the benchmark uses;
    it differs from the compass yaw by the product of roll and pitch, under 1 mrad on a road.
    """
    x, y, _ = numbers(record, "ego2global_translation", (3,), where)
    quaternion = numbers(record, "ego2global_rotation", (4,), where)
    length = np.linalg.norm(quaternion)
    if not 0.9 < length < 1.1:
        raise DatasetError(
            f"{where}: ego2global_rotation has length {length:.3f}, expected a unit quaternion w, x, y, z"
        )
    w, i, j, k = quaternion / length
    return np.array([x, y, np.arctan2(2.0 * (w * k - i * j), 1.0 - 2.0 * (j * j + k * k))])


def command(record: Mapping[str, object], where: str) -> Command:
    """The route's command: nuPlan's route lies 2 m or more to a side 20 m ahead, or not; no oracle of the future."""
    one_hot = numbers(record, "driving_command", (-1,), where)
    if one_hot.shape != (4,) or sorted(one_hot) != [0, 0, 0, 1]:
        raise DatasetError(
            f"{where}: driving_command is {one_hot.tolist()}, expected one 1 among left, forward, right, unknown"
        )
    return COMMANDS[int(one_hot.argmax())]


def _image_paths(record: Mapping[str, object], where: str, every_camera: bool) -> list[str]:
    found = value(record, "cams", where)
    cameras = found if isinstance(found, dict) else {}
    lacking = [name for name in CAMERAS.values() if name not in cameras]
    if lacking and (every_camera or len(lacking) == len(CAMERAS)):
        raise DatasetError(f"{where}: cams lacks {', '.join(lacking)}")
    known = {name: cameras[name] for name in CAMERAS.values() if name in cameras}
    paths = {name: _inside(text(camera, "data_path", f"{where}, {name}"), where) for name, camera in known.items()}
    return [paths.get(name, "") for name in CAMERAS.values()]


def _inside(path: str, where: str) -> str:
    """A path that stays below the folder it is given for: a log is a stranger's."""
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts:
        raise DatasetError(f"{where}: image path {path!r} leaves the folder of the sensor blobs")
    return path


def unbroken(times_s: np.ndarray, first: int, last: int) -> bool:
    """Whether records ``first`` ... ``last`` exist and follow each other every 0.5 s."""
    if first < 0 or last >= len(times_s):
        return False
    return bool((np.abs(np.diff(times_s[first : last + 1]) - STEP_S) <= JITTER_S).all())
