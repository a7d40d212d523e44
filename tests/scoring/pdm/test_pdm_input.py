"""Bad input is refused by name; and how long scoring takes."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest

from autovla_core.scoring.pdm import prepare, score
from autovla_core.scoring.pdm_types import EgoState, ScoringError, Version


@pytest.mark.parametrize(
    "plan", [np.zeros((10, 2)), np.full((10, 3), np.nan), np.zeros((0, 10, 3)), np.zeros((2, 0, 3)), np.zeros(3)]
)
def test_a_plan_of_another_shape_is_refused(pdm, plan):
    with pytest.raises(ScoringError, match="expected finite"):
        score(pdm.scene(5.0), plan)


def test_a_period_of_nothing_is_refused(pdm):
    with pytest.raises(ScoringError, match="period"):
        score(pdm.scene(5.0), pdm.straight(5.0), period_s=0.0)


def test_a_scene_with_holes_in_it_is_refused_by_name(pdm):
    good = pdm.scene(5.0)
    broken = {
        "centreline": {"centerline": np.zeros((1, 3))},
        "ego state": {"ego": EgoState(np.zeros(3), float("nan"))},
        "area 'surface'": {"areas": (*good.areas[:2], dataclasses.replace(good.areas[2], polygon=np.zeros((2, 2))))},
        "track 'a'": {"tracks": (dataclasses.replace(pdm.parked(9.0), states=np.zeros((11, 4))),)},
        "a sighting must be finite": {
            "tracks": (dataclasses.replace(pdm.parked(9.0), states=np.array([[1.0, np.nan, 0.0, 0.0, 0.0]])),)
        },
    }
    for message, change in broken.items():
        with pytest.raises(ScoringError, match=message):
            prepare(dataclasses.replace(good, **change))


def test_a_version_may_be_named_by_its_text(pdm):
    assert prepare(pdm.scene(5.0), "epdms").around.version is Version.V2
    with pytest.raises(ValueError, match="v3"):
        prepare(pdm.scene(5.0), "v3")


@pytest.mark.parametrize("version", Version)
def test_a_plan_in_a_batch_of_64_takes_less_than_a_millisecond(pdm, version):
    # 35 tracks and a map of 90 polygons with 80 vertices each; CPU time of the best of five
    angle = np.linspace(0.0, 2 * np.pi, 80, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle)], -1)
    extra = tuple(
        dataclasses.replace(pdm.road()[1], id=f"lane {i}", polygon=6.0 * ring + [3.0 * i, 3.0]) for i in range(87)
    )
    cars = tuple(pdm.moving(-40.0 + 6.0 * i, 3.5 if i % 2 else 7.0, 0.0, 8.0, name=str(i)) for i in range(35))
    prepared = prepare(pdm.scene(10.0, areas=(*pdm.road(), *extra), tracks=cars), version)
    plans = pdm.straight(10.0) * np.linspace(0.5, 1.2, 64)[:, None, None]
    score(prepared, plans)  # compiles
    spent = []
    for _ in range(5):
        start = time.process_time()
        score(prepared, plans)
        spent.append((time.process_time() - start) / 64)
    assert min(spent) < 1e-3
