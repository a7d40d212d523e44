"""NAVSIM v2's synthetic scenes, which may follow a scene of a two-stage split: one pickle each, read as a short log.

``<root>/<split>/synthetic_scene_pickles/<name>.pkl`` holds four rendered moments, perhaps later ones, and what others
did after the last of them. It becomes the records that a log has (``navsim_logs``), so that one code reads and scores
both. Nobody drove there: nothing says where the ego should have gone. Nothing of the devkit is needed or run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autovla_core import restricted_pickle
from autovla_core.contracts import STEP_S
from autovla_core.restricted_pickle import PickleRefused
from training.datasets import navsim_logs
from training.datasets.navsim_cache import ALLOWED, OBJECTS, Memory, plain
from training.datasets.navsim_logs import CAMERAS
from training.datasets.sample import DatasetError

LIGHT_CLASSES = tuple(
    f"nuplan.common.maps.maps_datatypes.{name}"
    for name in ("TrafficLightStatuses", "TrafficLightStatusData", "TrafficLightStatusType")
)
KNOWN = {
    **ALLOWED,
    **{name: type(name.rpartition(".")[2], (Memory,), {}) for name in LIGHT_CLASSES},
    "pyquaternion.quaternion.Quaternion": navsim_logs.ALLOWED["pyquaternion.quaternion.Quaternion"],
}
RED = 2  # of nuPlan's TrafficLightStatusType
EGO = 7  # of its TrackedObjectType
STANDING_FRAME = {"ego2global_translation": [0.0, 0.0, 0.0], "ego2global_rotation": [1.0, 0.0, 0.0, 0.0]}


@dataclass(frozen=True)
class SyntheticScene:
    """One synthetic scene."""

    log: str  # of the drive that it was rendered from
    now: int  # index of the record that is planned at
    seen: list[dict]  # records with pictures and an ego: up to now
    records: list[dict]  # these, and those after, some without an ego: boxes and lights


def read_scene(path: Path) -> SyntheticScene:
    """One scene.

    Raises:
        DatasetError: no file, a pickle that asks for what no genuine scene holds, or another layout.
    """
    what = f"synthetic scene {path}"
    try:
        with path.open("rb") as file:
            scene = restricted_pickle.load(file, KNOWN, what)
    except OSError as error:
        raise DatasetError(f"cannot read the {what}: {error.strerror}") from None
    except PickleRefused as error:
        raise DatasetError(str(error)) from None
    try:
        return _scene(scene, what)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise DatasetError(f"{what} is not laid out as the devkit's: {type(error).__name__}: {error}") from None


def _scene(scene: Mapping, what: str) -> SyntheticScene:
    about = scene["scene_metadata"]
    now = int(about["num_history_frames"]) - 1
    frames = [_record(plain(frame), about["map_name"], f"{what}, frame {i}") for i, frame in enumerate(scene["frames"])]
    if not 0 <= now < len(frames):
        raise DatasetError(f"{what} has {len(frames)} frames, of which number {now} should be now")
    later = scene["extended_detections_tracks"] or []
    lights = [*(scene["extended_traffic_light_data"] or []), *[None] * len(later)]
    last_us = float(frames[-1]["timestamp"])
    records = [
        {"token": f"+{k + 1}", "timestamp": last_us + 1e6 * STEP_S * (k + 1), **STANDING_FRAME, **_others(one, light)}
        for k, (one, light) in enumerate(zip(later, lights))
    ]
    return SyntheticScene(str(about["log_name"]), now, frames[: now + 1], frames + records)


def _record(frame: Mapping, location: str, where: str) -> dict:
    """A frame as a log's record."""
    ego, boxes = frame["ego_status"], frame["annotations"]
    if not ego["in_global_frame"]:
        raise DatasetError(f"{where}: the ego's pose is not in the world frame")
    x, y, yaw = navsim_logs.numbers(ego, "ego_pose", (3,), where)
    velocity = navsim_logs.numbers(ego, "ego_velocity", (2,), where)
    return {
        "token": frame["token"],
        "timestamp": frame["timestamp"],
        "map_location": location,
        "roadblock_ids": frame["roadblock_ids"],
        "traffic_lights": frame["traffic_lights"],
        "ego2global_translation": [x, y, 0.0],
        "ego2global_rotation": [np.cos(yaw / 2.0), 0.0, 0.0, np.sin(yaw / 2.0)],
        "ego_dynamic_state": [*velocity, *navsim_logs.numbers(ego, "ego_acceleration", (2,), where)],
        "driving_command": ego["driving_command"],
        "cams": _cameras(frame["camera_dict"]),
        "anns": {
            "gt_boxes": boxes["boxes"],
            "gt_names": boxes["names"],
            "gt_velocity_3d": boxes["velocity_3d"],
            "track_tokens": boxes["track_tokens"],
        },
    }


def _cameras(cameras: Mapping[str, Mapping]) -> dict[str, dict]:
    """Those that were rendered, by the names that a log has for them."""
    found = {name.upper(): camera for name, camera in cameras.items() if camera}
    return {name: {"data_path": found[name]["data_path"]} for name in CAMERAS.values() if name in found}


def _others(seen: Memory, lights: Memory | None) -> dict[str, object]:
    """Boxes and lights of a later moment, in the world frame."""
    objects = [one for one in seen["tracked_objects"]["tracked_objects"] if _kind(one) != EGO]
    states = [] if lights is None else lights["traffic_lights"]
    return {
        "anns": {
            "gt_boxes": np.array([_box(one) for one in objects]).reshape(-1, 7),
            "gt_names": [OBJECTS[_kind(one)].name.lower() for one in objects],
            "gt_velocity_3d": np.array([_velocity(one) for one in objects]).reshape(-1, 3),
            "track_tokens": [str(one["_metadata"]["track_token"]) for one in objects],
        },
        "traffic_lights": [(one["lane_connector_id"], int(one["status"].args[0]) == RED) for one in states],
    }


def _kind(one: Memory) -> int:
    return int(one["_tracked_object_type"].args[0])


def _box(one: Memory) -> Sequence[float]:
    box = one["_box"]
    centre = box["_center"]
    size = box["_length"], box["_width"], box["_height"]
    return [centre["x"], centre["y"], 0.0, *size, centre["heading"]]


def _velocity(one: Memory) -> Sequence[float]:
    """World frame; static objects have none."""
    velocity = one.state.get("_velocity")
    return [0.0, 0.0, 0.0] if velocity is None else [velocity["_x"], velocity["_y"], 0.0]
