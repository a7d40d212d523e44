from __future__ import annotations

import numpy as np
import pytest

from autovla_core.action import kinematics, vehicle
from autovla_core.action.codebook import SHIPPED, Codebook
from autovla_core.action.kinematics import Limits
from autovla_core.action.vehicle import Vehicle
from autovla_core.errors import CodebookError

QUARTER = np.array([[4.0, 4.0, np.pi / 2]])  # a quarter of a circle of radius 4 m


def test_an_arc_is_measured_along_the_curve() -> None:
    assert kinematics.arc_lengths(QUARTER) == pytest.approx(2.0 * np.pi)
    assert kinematics.speeds(QUARTER) == pytest.approx(4.0 * np.pi)
    assert kinematics.curvatures(QUARTER) == pytest.approx(0.25)
    assert kinematics.slips(QUARTER) == pytest.approx(0.0)
    assert kinematics.lateral_accelerations(QUARTER) == pytest.approx((4.0 * np.pi) ** 2 / 4.0)  # v2 / r


def test_reversing_is_negative_speed_with_the_same_curve() -> None:
    back = np.array([-4.0, 4.0, -np.pi / 2])  # backwards along the same left circle's mirror in time
    assert kinematics.speeds(back) == pytest.approx(-4.0 * np.pi)
    assert kinematics.curvatures(back) == pytest.approx(0.25)
    assert kinematics.slips(back) == pytest.approx(0.0)


def test_standing_has_no_curvature_and_no_slip() -> None:
    still = np.array([[0.0, 0.0, 0.0], [0.01, 0.02, 0.01]])
    assert not kinematics.curvatures(still).any()
    assert not kinematics.slips(still).any()


@pytest.mark.parametrize(
    ("motion", "broken"),
    [
        ([31.0, 0.0, 0.0], "too fast"),
        ([-4.0, 0.0, 0.0], "reverse too fast"),
        ([2.0, 0.5, 0.6], "curve too tight"),
        ([8.0, 1.6, 0.4], "lateral acceleration"),
        ([2.0, 1.6, 0.0], "sideways"),
        ([0.0, 0.0, 0.5], "curve too tight"),  # turning on the spot
    ],
)
def test_each_glitch_breaks_its_limit(motion: list[float], broken: str) -> None:
    found = kinematics.violations(np.array([motion]), Limits())
    assert found[broken].all()
    assert not kinematics.feasible(np.array([motion])).any()


def test_the_shipped_codebook_breaks_no_limit() -> None:
    assert kinematics.feasible(Codebook.load(SHIPPED).motions).all()


def test_another_vehicle_is_refused_and_told_what_to_do() -> None:
    book = Codebook.load(SHIPPED)
    vehicle.require_vehicle(book, 4.9, 1.85)
    assert vehicle.scaled(book, 4.9, 1.85) is book
    for length, width in ((12.0, 2.5), (4.89, 2.5), (float("nan"), 1.84)):
        with pytest.raises(CodebookError, match="4.89 x 1.84 m.*build one.*declared=True"):
            vehicle.scaled(book, length, width)


def test_declared_scaling_grows_lengths_and_keeps_headings_and_says_so() -> None:
    book = Codebook.load(SHIPPED)
    double = vehicle.scaled(book, 2 * book.length, 2 * book.width, declared=True)
    assert np.allclose(double.motions, book.motions * [2.0, 2.0, 1.0])
    assert double.hash != book.hash
    assert double.provenance["scaled_from"] == book.hash
    assert kinematics.curvatures(double.motions)[5] == pytest.approx(kinematics.curvatures(book.motions)[5] / 2)


def test_a_vehicle_without_size_is_refused() -> None:
    with pytest.raises(CodebookError, match="positive"):
        Vehicle(length=0.0)
    assert Vehicle().radius == pytest.approx(2.6123, abs=1e-4)
