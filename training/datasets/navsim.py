"""NAVSIM (OpenScene, nuPlan at 2 Hz) as samples.

Below ``root``, as the devkit's download scripts leave it: ``navsim_logs/<data>/<log>.pkl``,
``sensor_blobs/<data>/<log>/CAM_F0/....jpg``, ``maps/`` for scores, and for a filtered split
``scene_filters/<split>.yaml`` (``navsim_splits``). A two-stage split has synthetic scenes too (``navsim_synthetic``).

The logs place the rear axle; a sample's poses are those of the box centre, as everywhere in this project, unless
``point`` says otherwise. The benchmark's plans have 8 poses (4 s); a sample has ten, and the log goes on long enough
for nearly every moment: ``mask`` says which poses are the log's.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from autovla_core.contracts import CLIP_IMAGES, PLAN_STEPS, Command
from autovla_core.geometry import relative
from autovla_core.scoring.pdm_types import PACIFICA
from training.datasets import navsim_splits
from training.datasets.navsim_index import FRAME_COLUMNS, SAMPLE_COLUMNS, index_folder, long_path, prepare, read_about
from training.datasets.navsim_judge import Judge, columns_of, judge_of
from training.datasets.navsim_logs import CAMERAS
from training.datasets.navsim_splits import TEST_SPLITS, refuse_test_split
from training.datasets.rear_axle import centre_from_rear
from training.datasets.sample import DatasetError, Sample, StoredImage

__all__ = ["TEST_SPLITS", "NavsimReader", "open_split", "prepare", "refuse_test_split", "score", "scores"]

POINTS = {"centre": PACIFICA.rear_axle_to_center, "rear_axle": 0.0}  # whose poses; metres ahead of the rear axle


class NavsimReader:
    """An opened split; a sample reads nothing but the mapped index."""

    name = "navsim"

    def __init__(self, root: Path, folder: Path, split: str, point: str = "centre", judge: Judge | None = None) -> None:
        about = read_about(folder, split)
        self.root, self.split, self.judge = root, split, judge
        self._ahead_m = POINTS[point]
        self.broken: list[str] = list(about["broken"])
        self.logs: tuple[str, ...] = tuple(about["logs"])
        self._drives: tuple[str, ...] = tuple(about["drives"])
        self._columns = {
            key: np.load(folder / f"{key}.npy", mmap_mode="r", allow_pickle=False)
            for key in (*FRAME_COLUMNS, *SAMPLE_COLUMNS)
        }

    def __len__(self) -> int:
        return len(self._columns["frame"])

    def __getitem__(self, index: int) -> Sample:
        """The sample; its images are opened by ``StoredImage.read``."""
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        frame = int(self._columns["frame"][index])
        number = int(self._columns["log"][index])
        log = self.logs[number]
        speed, _, acceleration, _ = map(float, self._columns["dynamics"][frame])
        poses, mask = self._future(frame, int(self._columns["future"][index]))
        return Sample(
            id=self._columns["token"][frame].decode(),
            images=self._images(log, frame),
            speed=speed,
            acceleration=acceleration,
            command=Command(int(self._columns["command"][frame])),
            history=self._relative(frame, slice(frame - CLIP_IMAGES + 1, frame)),
            poses=poses,
            mask=mask,
            scene=self._drives[number],
            extra={
                "log": log,
                "record": int(self._columns["record"][index]),
                "map": self._columns["map"][index].decode(),
                "rear_axle": np.array(self._columns["pose"][frame]),  # (3,) world
                "ahead_m": self._ahead_m,
                "judge": self.judge,
            },
        )

    def tokens(self) -> list[str]:
        """The id of every sample."""
        return [token.decode() for token in self._columns["token"][self._columns["frame"]]]

    def _images(self, log: str, frame: int) -> dict[str, tuple[StoredImage, ...]]:
        names = self._columns["images"][frame - CLIP_IMAGES + 1 : frame + 1]
        blobs = navsim_splits.blobs(self.root, self.split, log)
        return {
            camera: tuple(StoredImage(blobs / long_path(log, name.decode())) for name in names[:, column])
            for column, camera in enumerate(CAMERAS)
            if all(names[:, column])  # a synthetic scene may lack some cameras
        }

    def _relative(self, frame: int, rows: slice) -> np.ndarray:
        poses = self._columns["pose"]
        return centre_from_rear(relative(np.array(poses[frame]), np.array(poses[rows])), self._ahead_m)

    def _future(self, frame: int, known: int) -> tuple[np.ndarray, np.ndarray]:
        """(10, 3) and (10,); where the log ends or has a gap, the last known pose is held."""
        poses = np.zeros((PLAN_STEPS, 3))
        if known:
            poses[:known] = self._relative(frame, slice(frame + 1, frame + 1 + known))
            poses[known:] = poses[known - 1]
        return poses, np.arange(PLAN_STEPS) < known


def open_split(
    root: Path,
    out: Path,
    split: str,
    skip_broken: bool = False,
    point: str = "centre",
    score: str = "pdms",
    cache: str = "",
) -> NavsimReader:
    """Open a prepared split.

    Args:
        root, out, split: as for ``prepare``.
        skip_broken: accept an index that left broken records out.
        point: whose poses a sample has, ``centre`` or ``rear_axle``.
        score: what ``score`` gives, ``pdms`` (v1), ``epdms`` (v2, extended comfort left out) or ``none``.
        cache: a metric cache of the official devkit to score with, instead of logs and maps.

    Raises:
        DatasetError: it was not prepared, or was prepared with broken records left out and ``skip_broken`` is False.
    """
    root = Path(root)
    navsim_splits.split(split)
    if point not in POINTS:
        raise DatasetError(f"navsim option point={point!r}; known: {', '.join(POINTS)}")
    reader = NavsimReader(root, index_folder(Path(out), split), split, point, judge_of(score, root, split, cache))
    if reader.broken and not skip_broken:
        raise DatasetError(
            f"navsim split {split!r} was prepared without {len(reader.broken)} broken records "
            f"(the first: {reader.broken[0]}); pass --skip-broken to use it so"
        )
    return reader


def score(plan: np.ndarray, sample: Sample) -> dict[str, float]:
    """The PDM score of a plan (10, 3) in the sample's frame, and its terms.

    Raises:
        DatasetError: logs, maps or the cache lack what a score needs.
    """
    return {name: float(values[0]) for name, values in scores(plan[None], sample).items()}


def scores(plans: np.ndarray, sample: Sample) -> dict[str, np.ndarray]:
    """``score`` of plans (P, 10, 3), each term (P,)."""
    judge = sample.extra["judge"]
    return {} if judge is None else columns_of(judge(plans, sample))
