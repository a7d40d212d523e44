"""The nuScenes tables turned into columns: key frames with poses and pictures, and annotated boxes.

One pass over each table; what is wrong with a record is raised at once or noted, see ``Broken``.
"""

from __future__ import annotations

import math
import os
from array import array
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from training.datasets.nuscenes_tables import Row, field, rows
from training.datasets.sample import DatasetError

LIDAR = "LIDAR_TOP"
CAMERAS = {
    "front": "CAM_FRONT",
    "front_left": "CAM_FRONT_LEFT",
    "front_right": "CAM_FRONT_RIGHT",
    "back": "CAM_BACK",
    "back_left": "CAM_BACK_LEFT",
    "back_right": "CAM_BACK_RIGHT",
}
Mounting = tuple[tuple[float, ...], tuple[float, ...]]  # position and quaternion on the car
OTHER, VEHICLE, PEDESTRIAN = 0, 1, 2
KINDS = {  # start of a category's name -> kind of obstacle in the planning metrics; the rest is OTHER
    "vehicle.car": VEHICLE,
    "vehicle.bus": VEHICLE,
    "vehicle.construction": VEHICLE,
    "vehicle.bicycle": VEHICLE,
    "vehicle.motorcycle": VEHICLE,
    "vehicle.truck": VEHICLE,
    "vehicle.trailer": VEHICLE,
    "human.pedestrian": PEDESTRIAN,
}


class Broken:
    """What is wrong with the tables: raised at once, or noted by key frame when broken records are skipped."""

    def __init__(self, skip: bool, frames: int) -> None:
        self._skip = skip
        self.reasons = [""] * frames
        self.others: list[str] = []  # records that belong to no key frame, and whole scenes

    def note(self, message: str, frame: int | None = None) -> None:
        """Take down one broken record.

        Raises:
            DatasetError: broken records are not to be skipped.
        """
        if not self._skip:
            raise DatasetError(f"{message} (--skip-broken leaves such records out and lists them)")
        if frame is None:
            self.others.append(message)
        elif not self.reasons[frame]:
            self.reasons[frame] = message


def frames(root: Path, tables: Path, skip_broken: bool) -> dict[str, np.ndarray]:
    """The columns of ``KeyFrames``, and ``others``: broken records that belong to no key frame."""
    scenes, samples, failed = _chains(tables, skip_broken)
    order = [token for _, tokens in scenes for token in tokens]
    number = {token: i for i, token in enumerate(order)}
    broken = Broken(skip_broken, len(order))
    broken.others += failed
    channels = _channels(tables)
    poses, lidar, images = _sensor_data(tables, number, channels, broken)
    ego = _ego_poses(tables, poses, broken)
    _check_images(root, images, order, broken)
    nowhere: Mounting = ((0.0,) * 3, (1.0, 0.0, 0.0, 0.0))  # of a key frame that is broken anyway
    mounted = [nowhere if mounting is None else mounting for mounting in lidar]
    locations = {str(row["token"]): str(row.get("location", "")) for row in rows(tables / "log.json")}
    return {
        "token": np.array(order, "S"),
        "time_us": np.array([samples[token] for token in order], np.int64),
        "ego_position": ego[:, :3],
        "ego_rotation": ego[:, 3:],
        "lidar_position": np.array([position for position, _ in mounted], float).reshape(-1, 3),
        "lidar_rotation": np.array([rotation for _, rotation in mounted], float).reshape(-1, 4),
        "images": np.array(images, "S").reshape(len(order), len(CAMERAS)),
        "broken": np.array(broken.reasons, "U"),
        "scene_start": np.cumsum([0, *(len(tokens) for _, tokens in scenes)]),
        "scene_name": np.array([str(row["name"]) for row, _ in scenes], "U"),
        "location": np.array([locations.get(str(row["log_token"]), "") for row, _ in scenes], "U"),
        "others": np.array(broken.others, "U"),
    }


def _chains(tables: Path, skip_broken: bool) -> tuple[list[tuple[Row, list[str]]], dict[str, int], list[str]]:
    """Each scene's row and key frames, first to last, the time of each key frame, and the scenes left out."""
    file = tables / "sample.json"
    samples = {str(field(row, "token", file)): row for row in rows(file)}
    found, broken = [], Broken(skip_broken, 0)
    for scene in rows(tables / "scene.json"):
        try:
            found.append((scene, _chain(scene, samples, tables / "scene.json")))
        except DatasetError as error:
            broken.note(str(error))
    times = {token: int(field(row, "timestamp", file)) for token, row in samples.items()}
    return found, times, broken.others


def _chain(scene: Row, samples: Mapping[str, Row], file: Path) -> list[str]:
    name, last = field(scene, "name", file), str(field(scene, "last_sample_token", file))
    token, chain = str(field(scene, "first_sample_token", file)), []
    while True:
        row = samples.get(token)
        if row is None:
            raise DatasetError(f"{file}, scene {name!r}: key frame {token!r} is not in sample.json")
        if row["scene_token"] != scene["token"] or len(chain) > len(samples):
            raise DatasetError(f"{file}, scene {name!r}: key frame {token!r} belongs to another scene")
        chain.append(token)
        if token == last:
            break
        token = str(row["next"])
    if len(chain) != scene["nbr_samples"]:
        raise DatasetError(f"{file}, scene {name!r}: {len(chain)} key frames are linked, nbr_samples says otherwise")
    return chain


def _channels(tables: Path) -> dict[str, tuple[str, Mounting]]:
    """Calibrated sensor -> its channel, position and rotation on the car."""
    sensors = {str(row["token"]): str(row["channel"]) for row in rows(tables / "sensor.json")}
    file = tables / "calibrated_sensor.json"
    found = {}
    for row in rows(file):
        channel = sensors.get(str(field(row, "sensor_token", file)))
        if channel is None:
            raise DatasetError(f"{file}, record {row['token']!r}: unknown sensor {row['sensor_token']!r}")
        found[str(row["token"])] = channel, (tuple(row["translation"]), tuple(row["rotation"]))
    return found


def _sensor_data(
    tables: Path, number: Mapping[str, int], channels: Mapping[str, tuple[str, Mounting]], broken: Broken
) -> tuple[dict[str, int], list[Mounting | None], list[list[str]]]:
    """One pass over the largest table: lidar poses wanted, lidar mountings and picture files by key frame."""
    file = tables / "sample_data.json"
    slots = {channel: slot for slot, channel in enumerate(CAMERAS.values())}
    poses: dict[str, int] = {}
    lidar: list[Mounting | None] = [None] * len(number)
    images = [[""] * len(slots) for _ in number]
    for row in rows(file):
        if not row.get("is_key_frame"):
            continue
        known = channels.get(str(field(row, "calibrated_sensor_token", file)))
        if known is None:
            broken.note(f"{file}, record {row['token']!r}: unknown sensor {row['calibrated_sensor_token']!r}")
            continue
        channel, mounting = known
        if channel != LIDAR and channel not in slots:
            continue
        frame = number.get(str(field(row, "sample_token", file)))
        if frame is None:
            if not broken.others:
                broken.note(f"{file}, record {row['token']!r}: unknown key frame {row['sample_token']!r}")
        elif channel == LIDAR:
            lidar[frame] = mounting
            poses[str(field(row, "ego_pose_token", file))] = frame
        else:
            images[frame][slots[channel]] = str(field(row, "filename", file))
    for frame, (mounting, token) in enumerate(zip(lidar, number)):
        if mounting is None:
            broken.note(f"{file}: key frame {token!r} has no {LIDAR} record", frame)
    return poses, lidar, images


def _ego_poses(tables: Path, wanted: Mapping[str, int], broken: Broken) -> np.ndarray:
    """Position and rotation (K, 7) at each key frame; the identity where a key frame is broken."""
    file = tables / "ego_pose.json"
    count = len(broken.reasons)
    poses = np.tile([0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0], (count, 1))
    missing = dict(wanted)
    for row in rows(file):
        frame = missing.pop(str(field(row, "token", file)), None)
        if frame is None:
            continue
        values = [*field(row, "translation", file), *field(row, "rotation", file)]
        if not _is_pose(values):
            broken.note(f"{file}, record {row['token']!r}: found the pose {values}, expected xyz and a rotation", frame)
        else:
            poses[frame] = values
    for token, frame in missing.items():
        broken.note(f"{file}: no record {token!r}, which sample_data.json names", frame)
    return poses


def _is_pose(values: list[object]) -> bool:
    """Seven finite numbers, of which the last four are a unit quaternion."""
    if len(values) != 7 or not all(isinstance(v, (int, float)) and math.isfinite(v) for v in values):
        return False
    return abs(math.hypot(*values[3:]) - 1.0) < 1e-3


def _check_images(root: Path, images: list[list[str]], order: list[str], broken: Broken) -> None:
    """Every picture that a table names lies on disk; folders are listed once instead of asking for each file."""
    listed: dict[str, set[str]] = {}
    for frame, files in enumerate(images):
        for file in filter(None, files):
            folder, name = os.path.split(file)
            if folder not in listed:
                path = root / folder
                listed[folder] = {entry.name for entry in os.scandir(path)} if path.is_dir() else set()
            if name not in listed[folder]:
                broken.note(f"{root / file}: this image of key frame {order[frame]!r} is missing", frame)


def boxes(tables: Path, tokens: np.ndarray, skip_broken: bool) -> dict[str, np.ndarray]:
    """The columns of ``Boxes``, and ``others``: broken annotations."""
    number = {token.decode(): i for i, token in enumerate(tokens)}
    kinds, broken = _kinds(tables), Broken(skip_broken, 0)
    file = tables / "sample_annotation.json"
    frames, kind, values = array("q"), array("b"), array("d")
    for row in rows(file):
        frame = number.get(str(field(row, "sample_token", file)))
        if frame is None:
            continue  # of a scene that was left out
        what = kinds.get(str(field(row, "instance_token", file)))
        box = [*field(row, "translation", file), _yaw(field(row, "rotation", file)), *field(row, "size", file)]
        if what is None or len(box) != 7 or not all(math.isfinite(v) for v in box):
            broken.note(f"{file}, record {row['token']!r}: unknown instance or a box that is not finite: {box}")
            continue
        frames.append(frame)
        kind.append(what)
        values.extend(box)
    frame_of = np.array(frames, np.int64)
    order = np.argsort(frame_of, kind="stable")
    table = np.array(values, float).reshape(-1, 7)[order]
    return {
        "start": np.concatenate([[0], np.cumsum(np.bincount(frame_of, minlength=len(tokens)))]),
        "kind": np.array(kind, np.int8)[order],
        "pose": table[:, [0, 1, 3]],
        "z": table[:, 2],
        "size": table[:, [5, 4]],  # stored as width, length, height
        "others": np.array(broken.others, "U"),
    }


def no_boxes(frames: int) -> dict[str, np.ndarray]:
    empty = {"kind": np.zeros(0, np.int8), "pose": np.zeros((0, 3)), "z": np.zeros(0), "size": np.zeros((0, 2))}
    return {"start": np.zeros(frames + 1, np.int64), **empty, "others": np.array([], "U1")}


def _kinds(tables: Path) -> dict[str, int]:
    """Instance -> kind of obstacle."""
    categories = {}
    for row in rows(tables / "category.json"):
        name = str(row["name"])
        categories[row["token"]] = next((kind for start, kind in KINDS.items() if name.startswith(start)), OTHER)
    return {str(row["token"]): categories.get(row["category_token"], OTHER) for row in rows(tables / "instance.json")}


def _yaw(rotation: list[float]) -> float:
    """Yaw of a quaternion w x y z."""
    w, x, y, z = rotation
    return math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
