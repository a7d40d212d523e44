"""PDM scores of plans on NAVSIM's samples, from logs and maps or from the official metric cache."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from autovla_core.scoring import pdm
from autovla_core.scoring.pdm_types import EgoState, PdmScene, PdmScores, PosePlan, PreviousFrame, Version
from training.datasets.navsim_cache import cache_paths, read_cache
from training.datasets.navsim_scenes import Scenes
from training.datasets.rear_axle import rear_from_centre
from training.datasets.sample import DatasetError, Sample

TERMS = {  # of ``PdmScores``: the devkit's names, in the order of its result files
    Version.V1: {
        "no_at_fault_collisions": "no_at_fault_collisions",
        "drivable_area_compliance": "drivable_area_compliance",
        "ego_progress": "ego_progress",
        "time_to_collision_within_bound": "time_to_collision_within_bound",
        "comfort": "comfort",
        "driving_direction_compliance": "driving_direction_compliance",
        "score": "score",
    },
    Version.V2: {
        "no_at_fault_collisions": "no_at_fault_collisions",
        "drivable_area_compliance": "drivable_area_compliance",
        "driving_direction_compliance": "driving_direction_compliance",
        "traffic_light_compliance": "traffic_light_compliance",
        "ego_progress": "ego_progress",
        "time_to_collision_within_bound": "time_to_collision_within_bound",
        "lane_keeping": "lane_keeping",
        "history_comfort": "comfort",
        "two_frame_extended_comfort": "extended_comfort",
        "score": "score",
    },
}


class SceneSource(Protocol):
    """Where scenes come from."""

    def __call__(self, sample: Sample) -> PdmScene: ...

    def ego(self, sample: Sample) -> EgoState: ...


class CachedScenes:
    """Scenes of the official devkit's metric cache."""

    def __init__(self, cache: Path) -> None:
        self._paths = cache_paths(cache)
        self._cache = cache

    def __call__(self, sample: Sample) -> PdmScene:
        """The scene of a sample, by its token."""
        if sample.id not in self._paths:
            raise DatasetError(f"metric cache {self._cache} has no token {sample.id} (log {sample.scene})")
        return read_cache(self._paths[sample.id])

    def ego(self, sample: Sample) -> EgoState:
        """Its ego alone."""
        return self(sample).ego


class Judge:
    """Scores plans. The last scene is kept, so that many plans of one sample cost one preparation."""

    def __init__(self, scenes: SceneSource, version: Version) -> None:
        self.scenes, self.version = scenes, version
        self._lock = threading.Lock()
        self._last: tuple[str, pdm.PreparedScene] | None = None

    def __call__(
        self, plans: np.ndarray, sample: Sample, previous: tuple[np.ndarray, Sample] | None = None
    ) -> PdmScores:
        """Scores of plans (P, N, 3) in the sample's frame, 0.5 s apart.

        Args:
            plans: only 4 s count.
            sample: of the split whose scenes these are.
            previous: plan (N, 3) and sample of 0.5 s earlier: the second score then has its extended comfort.

        Raises:
            DatasetError: logs, maps or the cache lack what a score needs.
            ScoringError: a plan that is not finite.
        """
        rear = rear_from_centre(np.asarray(plans, float), _ahead(sample))
        with self._lock:
            return pdm.score(self._prepared(sample, previous), rear, version=self.version)

    def _prepared(self, sample: Sample, previous: tuple[np.ndarray, Sample] | None) -> pdm.PreparedScene:
        if previous is not None:
            plan, earlier = previous
            poses = PosePlan(rear_from_centre(np.asarray(plan, float), _ahead(earlier)))
            frame = PreviousFrame(self.scenes.ego(earlier), poses)
            return pdm.prepare(replace(self.scenes(sample), previous=frame), self.version)
        if self._last is None or self._last[0] != sample.id:
            self._last = (sample.id, pdm.prepare(self.scenes(sample), self.version))
        return self._last[1]


def _ahead(sample: Sample) -> float:
    return float(sample.extra["ahead_m"])


def judge_of(score: str, root: Path, split: str, cache: str = "") -> Judge | None:
    """The judge that options name; ``none``: no judge.

    Raises:
        DatasetError: an unknown score, or no metric cache where one is named.
    """
    if score == "none":
        return None
    known = {version.value: version for version in Version}
    if score not in known:
        raise DatasetError(f"navsim option score={score!r}; known: {', '.join(known)}, none")
    scenes: SceneSource = CachedScenes(Path(cache)) if cache else Scenes(root, split)
    return Judge(scenes, known[score])


def columns_of(scores: PdmScores) -> dict[str, np.ndarray]:
    """The devkit's columns (P,) of all plans."""
    return {name: getattr(scores, field) for name, field in TERMS[scores.version].items()}


def terms_of(scores: PdmScores, plan: int = 0) -> dict[str, float]:
    """The devkit's columns of one plan."""
    return {name: float(values[plan]) for name, values in columns_of(scores).items()}
