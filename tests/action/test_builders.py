from __future__ import annotations

import numpy as np
import pytest

from autovla_core import footprints
from autovla_core.action import kinematics
from autovla_core.action.codebook import Codebook
from autovla_core.action.vehicle import Vehicle
from autovla_core.errors import CodebookError
from training import build_codebook
from training.build_codebook import MotionConfig, Order, motions_of, synthetic_plans
from training.codebooks.grid import GridConfig, kinematic_grid
from training.codebooks.kdisk import kdisk, mirrored_kdisk

CAR, TRUCK = Vehicle(), Vehicle(length=12.0, width=2.5, wheel_base=6.0, rear_axle=3.0)
DELTA = 0.05


@pytest.fixture(scope="module")
def motions() -> np.ndarray:
    return motions_of(synthetic_plans(400, MotionConfig(speed=6.0), np.random.default_rng(8)))


def distances(a: np.ndarray, b: np.ndarray, vehicle: Vehicle) -> np.ndarray:
    """Mean corner distance (A, B), every pair."""
    ends = [footprints.corners(m, vehicle.length, vehicle.width) for m in (a, b)]
    return np.linalg.norm(ends[0][:, None] - ends[1][None], axis=-1).mean(-1)


def naive(motions: np.ndarray, count: int, order: np.ndarray, vehicle: Vehicle) -> np.ndarray:
    """The greedy definition, every motion looked at for every draw."""
    motions = np.concatenate([np.zeros((1, 3)), motions])
    alive, drawn = np.ones(len(motions), bool), []
    for index in [0, *(order + 1)]:
        if alive[index] and len(drawn) < count:
            drawn.append(index)
            alive &= distances(motions, motions[[index]], vehicle)[:, 0] > DELTA
    return motions[drawn]


@pytest.mark.parametrize("vehicle", [CAR, TRUCK], ids=["car", "truck"])
@pytest.mark.parametrize("count", [40, 5000])
def test_kdisk_draws_exactly_what_the_greedy_definition_draws(
    motions: np.ndarray, vehicle: Vehicle, count: int
) -> None:
    disks = kdisk(motions, count, np.random.default_rng(1), vehicle, DELTA)
    order = np.random.default_rng(1).permutation(len(motions))
    assert np.array_equal(disks.centres, naive(motions, count, order, vehicle))


def test_kdisk_keeps_what_the_definition_promises(motions: np.ndarray) -> None:
    some = kdisk(motions, 300, np.random.default_rng(2), CAR, DELTA)
    apart = distances(some.centres, some.centres, CAR) + 10.0 * np.eye(300)
    assert apart.min() > DELTA
    near = distances(motions, some.centres, CAR).min(axis=1) <= DELTA
    assert some.covered == pytest.approx((near.sum() + 1) / (len(motions) + 1))  # standing still is a motion too
    assert some.sizes.sum() == near.sum() + 1
    every = kdisk(motions, 10**6, np.random.default_rng(2), CAR, DELTA)
    assert every.covered == 1.0
    assert distances(motions, every.centres, CAR).min(axis=1).max() <= DELTA


def test_mirrored_kdisk_has_every_mirror_image_and_covers_within_one_and_a_half_delta(motions: np.ndarray) -> None:
    disks = mirrored_kdisk(motions, 10**6, np.random.default_rng(3), CAR, DELTA)
    rows = {tuple(r) for r in np.round(disks.centres, 9) + 0.0}
    assert {(x, 0.0 - y, 0.0 - yaw) for x, y, yaw in rows} == rows
    assert distances(motions, disks.centres, CAR).min(axis=1).max() <= 1.5 * DELTA
    assert len(mirrored_kdisk(motions, 100, np.random.default_rng(3), CAR, DELTA).centres) in (99, 100)


def test_kdisk_of_nothing_or_of_nan_is_named() -> None:
    for bad in (np.zeros((0, 3)), np.full((5, 3), np.nan), np.zeros((5, 2))):
        with pytest.raises(CodebookError, match="expected finite"):
            kdisk(bad, 10, np.random.default_rng(0), CAR)


@pytest.mark.parametrize("vehicle", [CAR, TRUCK], ids=["car", "truck"])
@pytest.mark.parametrize("size", [256, 2048])
def test_a_grid_is_symmetric_feasible_evenly_spaced_and_fills_its_size(vehicle: Vehicle, size: int) -> None:
    config = GridConfig()
    motions = kinematic_grid(size, vehicle, config)
    assert 0.9 * size < len(motions) <= size
    assert not motions[0].any()
    rows = {tuple(r) for r in np.round(motions, 9) + 0.0}
    assert {(x, 0.0 - y, 0.0 - yaw) for x, y, yaw in rows} == rows
    assert np.abs(kinematics.lateral_accelerations(motions)).max() < config.lateral_acceleration * 1.1
    assert np.abs(motions[:, 2]).max() <= vehicle.tightest_curvature() * 0.5 * config.speed
    nearest = np.sort(distances(motions, motions, vehicle), axis=1)[:, 1]
    assert nearest.max() < 2.0 * np.median(nearest)


def test_a_longer_wheel_base_turns_less() -> None:
    assert np.abs(kinematic_grid(512, TRUCK)[:, 2]).max() < np.abs(kinematic_grid(512, CAR)[:, 2]).max()


def test_a_grid_too_small_for_anything_is_named() -> None:
    with pytest.raises(CodebookError, match="too small"):
        kinematic_grid(1, CAR)


@pytest.mark.parametrize("method", build_codebook.METHODS)
def test_every_method_gives_a_codebook_whose_entry_0_stands(motions: np.ndarray, method: str) -> None:
    order = Order(method=method, size=128)
    twice = [build_codebook.make(motions, order, np.random.default_rng(5), CAR) for _ in range(2)]
    book = Codebook(twice[0], CAR.length, CAR.width)
    assert np.array_equal(*twice)
    assert 120 <= len(book) <= 128
    assert np.all(np.diff(book.motions[1:, 0]) >= 0.0)


def test_too_few_motions_for_kmeans_are_named(motions: np.ndarray) -> None:
    with pytest.raises(CodebookError, match="cannot make"):
        build_codebook.make(motions[:200], Order(size=2048), np.random.default_rng(0), CAR)
