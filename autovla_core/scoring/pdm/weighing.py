"""From terms to one number."""

from __future__ import annotations

import numpy as np

from autovla_core.scoring.pdm_types import Version

MIN_PROGRESS_M = 5.0  # where the best gets no further, nobody is asked to make progress
FACTORS = {  # what is multiplied
    Version.V1: ("no_at_fault_collisions", "drivable_area_compliance"),
    Version.V2: (
        "no_at_fault_collisions",
        "drivable_area_compliance",
        "driving_direction_compliance",
        "traffic_light_compliance",
    ),
}
WEIGHTS = {  # what is averaged
    Version.V1: {"ego_progress": 5.0, "time_to_collision_within_bound": 5.0, "comfort": 2.0},
    Version.V2: {
        "ego_progress": 5.0,
        "time_to_collision_within_bound": 5.0,
        "lane_keeping": 2.0,
        "comfort": 2.0,
        "extended_comfort": 2.0,
    },
}


def product(values: dict[str, np.ndarray], version: Version) -> np.ndarray:
    """The factors (P,) multiplied."""
    return np.prod([values[name] for name in FACTORS[version]], axis=0)


def aggregate(values: dict[str, np.ndarray], version: Version) -> np.ndarray:
    """Factors times the weighted mean (P,); a weighted term that is absent is left out with its weight."""
    weights = {name: weight for name, weight in WEIGHTS[version].items() if name in values}
    mean = sum(weight * values[name] for name, weight in weights.items()) / sum(weights.values())
    return product(values, version) * mean


def shares_of_best(progress_m: np.ndarray, factor: np.ndarray, best_m: np.ndarray, version: Version) -> np.ndarray:
    """Ego progress (P,) of plans with these factors, against the best progress times factors among the compared."""
    asked = best_m > MIN_PROGRESS_M
    best_m = np.where(asked, best_m, 1.0)
    if version is Version.V1:
        return np.where(asked, progress_m * factor / best_m, (factor > 0.0).astype(float))
    return np.where(asked, np.clip(progress_m / best_m, 0.0, 1.0), 1.0)
