"""nuScenes (with DriveLM's reasoning) as samples: ``prepare`` writes an index once, ``open_split`` reads it.

Only genuine files are read: the tables of one version, ``samples/`` pictures, and DriveLM's JSON if it is there. No
devkit is needed: nuscenes-devkit 1.2.0 asks for numpy < 2, and only ten of its thirteen tables matter here.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from autovla_core import geometry
from autovla_core.contracts import CLIP_IMAGES
from autovla_core.scoring import open_loop
from training.datasets import drivelm, nuscenes_index, nuscenes_motion
from training.datasets.drivelm import Thoughts
from training.datasets.nuscenes_columns import CAMERAS, PEDESTRIAN, VEHICLE
from training.datasets.nuscenes_index import Boxes, KeyFrames
from training.datasets.nuscenes_motion import COMMANDS, POINTS, Track
from training.datasets.nuscenes_tables import OFFICIAL_SIZES, split_scenes, version_of
from training.datasets.sample import DatasetError, Reasoning, Sample, StoredImage

logger = logging.getLogger(__name__)

COMPLETE_SPLITS = ("train", "mini_train")  # whose samples need all ten future poses, as in the paper's counts
METRIC_STEPS = 6  # future key frames whose boxes the collision metric looks at: 3 s


class NuScenes:
    """One split; see ``Reader``. Holds arrays only, so threads may share it."""

    name = "nuscenes"

    def __init__(
        self,
        root: Path,
        index: tuple[KeyFrames, Boxes, list[str]],
        thoughts: Thoughts,
        split: str,
        scenes: list[str],
        command: str,
        point: str,
    ) -> None:
        for what, value, known in (("command", command, COMMANDS), ("point", point, POINTS)):
            if value not in known:
                raise DatasetError(f"nuscenes: found {what} {value!r}, expected one of {', '.join(known)}")
        self.split, self.command, self.point = split, command, point
        self._root = root
        self._frames, self._boxes, others = index
        self._thoughts = thoughts.parts
        self._track = Track.of(self._frames)
        self._scene = self._frames.scene_of()
        inside = np.isin(self._frames.scene_name, scenes)[self._scene] if len(self._frames) else np.zeros(0, bool)
        self.broken = [*others, *thoughts.broken, *(str(reason) for reason in self._frames.broken[inside] if reason)]
        self.counts, self._numbers = self._choose(inside)
        self.counts.update(scenes=len(scenes), broken=len(self.broken))

    def _choose(self, inside: np.ndarray) -> tuple[dict[str, int], np.ndarray]:
        """How many key frames fell away and why, and the numbers (N,) of those that are samples."""
        past, whole = nuscenes_motion.usable(self._track), nuscenes_motion.complete(self._track)
        good = self._frames.broken == ""
        chosen = inside & good & past & (whole if self.split in COMPLETE_SPLITS else True)
        counts = {
            "key_frames": int(inside.sum()),
            "samples": int(chosen.sum()),
            "too_little_past": int((inside & good & ~past).sum()),
            "too_little_future": int((inside & good & past & ~chosen).sum()),
        }
        return counts, np.flatnonzero(chosen)

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> Sample:
        now, track = int(self._numbers[index]), self._track
        offset = nuscenes_motion.point_offset(track, now, self.point)
        frames, known = nuscenes_motion.future(track, now)
        poses = nuscenes_motion.poses_of(track, now, frames, offset)
        speed, acceleration = nuscenes_motion.state(track, now)
        token = self._frames.token[now].decode()
        return Sample(
            id=token,
            images=self._images(now),
            speed=speed,
            acceleration=acceleration,
            command=COMMANDS[self.command](track, now),
            history=nuscenes_motion.poses_of(track, now, np.arange(now - nuscenes_motion.PAST, now), offset),
            poses=poses,
            mask=known,
            reasoning=self._thought(token, poses, speed) if known.all() else None,
            scene=str(self._frames.scene_name[self._scene[now]]),
            extra={
                "lidar": nuscenes_motion.lidar_pose(track, now, offset),
                "truth_xy": nuscenes_motion.lidar_track(track, now, frames),
                "vehicles": self._obstacles(now, VEHICLE),
                "pedestrians": self._obstacles(now, PEDESTRIAN),
            },
        )

    def reasoned(self) -> int:
        """How many samples have a thought."""
        tokens = (
            self._frames.token[n].decode() for n in self._numbers[nuscenes_motion.complete(self._track)[self._numbers]]
        )
        return sum(token in self._thoughts for token in tokens)

    def _images(self, now: int) -> dict[str, tuple[StoredImage, ...]]:
        files = self._frames.images[now - CLIP_IMAGES + 1 : now + 1]
        clips = {camera: files[:, slot] for slot, camera in enumerate(CAMERAS)}
        return {
            camera: tuple(StoredImage(self._root / name.decode()) for name in names)
            for camera, names in clips.items()
            if all(names)
        }

    def _thought(self, token: str, poses: np.ndarray, speed: float) -> Reasoning | None:
        parts = self._thoughts.get(token)
        return None if parts is None else Reasoning(*parts, nuscenes_motion.meta_action(poses, speed))

    def _obstacles(self, now: int, kind: int) -> tuple[np.ndarray, ...]:
        """Boxes (M, 5) x, y, yaw, length, width at each of the next six key frames, in the lidar's frame at ``now``."""
        frames, known = nuscenes_motion.future(self._track, now, METRIC_STEPS)
        lidar_from_global = nuscenes_motion.rigid_inverse(
            self._track.global_from_ego[now] @ self._track.ego_from_lidar[now]
        )
        empty = np.zeros((0, 5))
        found = (_boxes_of(self._boxes, frame, kind, lidar_from_global) for frame in frames)
        return tuple(boxes if there else empty for boxes, there in zip(found, known))


def _boxes_of(boxes: Boxes, frame: int, kind: int, lidar_from_global: np.ndarray) -> np.ndarray:
    here = slice(boxes.start[frame], boxes.start[frame + 1])
    chosen = boxes.kind[here] == kind
    pose, z, size = boxes.pose[here][chosen], boxes.z[here][chosen], boxes.size[here][chosen]
    count = len(pose)
    centres = np.column_stack([pose[:, :2], z, np.ones(count)]) @ lidar_from_global.T
    ahead = np.column_stack([np.cos(pose[:, 2]), np.sin(pose[:, 2]), np.zeros(count)]) @ lidar_from_global[:3, :3].T
    yaw = np.arctan2(-ahead[:, 0], ahead[:, 1])  # x forward is the lidar's y, y left its -x
    return np.column_stack([centres[:, 1], -centres[:, 0], yaw, size])


def score(plan: np.ndarray, sample: Sample) -> dict[str, float]:
    """L2 and collision at 1, 2, 3 s (``scoring.open_loop``) of a plan (10, 3), moved to where the lidar would be."""
    lidar = sample.extra["lidar"]
    moved = geometry.relative(lidar, geometry.compose(plan, lidar))
    case = open_loop.Case(sample.extra["truth_xy"], sample.mask, sample.extra["vehicles"], sample.extra["pedestrians"])
    return open_loop.scores(moved[:, :2], case)


def prepare(root: Path, out: Path, split: str, skip_broken: bool = False) -> dict[str, int]:
    """Write the index of the split's version below ``out`` if it is not there; return what the split holds.

    Raises:
        DatasetError: a table, a record or a picture is missing or broken, or the split's scenes are not known.
    """
    root, out = Path(root), Path(out)
    nuscenes_index.build(root, version_of(split), out, skip_broken)
    reader = open_split(root, out, split, skip_broken)
    official = OFFICIAL_SIZES[split]
    if (reader.counts["scenes"], reader.counts["key_frames"]) != official:
        found = reader.counts["scenes"], reader.counts["key_frames"]
        logger.warning(
            "nuScenes %s: %d scenes and %d key frames; the official split has %d and %d", split, *found, *official
        )
    return {**reader.counts, "with_reasoning": reader.reasoned()}


def open_split(
    root: Path, out: Path, split: str, skip_broken: bool = False, command: str = "oracle", point: str = "centre"
) -> NuScenes:
    """Open a prepared split.

    Args:
        command: rule of ``nuscenes_motion.COMMANDS``; "oracle" looks into the future, as the official files do.
        point: of the car whose poses are given, of ``POINTS``; the planning metrics always compare the lidar's.

    Raises:
        DatasetError: no index, or broken records in it and ``skip_broken`` is not set.
    """
    root, folder = Path(root), Path(out) / version_of(split)
    index, thoughts = nuscenes_index.load(folder), drivelm.load(folder / "drivelm.json")
    scenes = split_scenes(root, split, [str(name) for name in index[0].scene_name])
    reader = NuScenes(root, index, thoughts, split, scenes, command, point)
    if reader.broken and not skip_broken:
        raise DatasetError(f"{folder}: {len(reader.broken)} broken records, first: {reader.broken[0]}; --skip-broken")
    return reader
