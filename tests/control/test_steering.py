from __future__ import annotations

import math

import pytest

from autovla_core.control.lateral import REAR_AXLE_M, curvature_of, pursuit_curvature, steer_for


@pytest.mark.parametrize(("steer", "radius"), [(0.1, 36.0), (0.3, 12.0), (0.5, 7.3)])
def test_steering_values_give_the_published_radii(steer, radius):
    assert 1.0 / curvature_of(steer) == pytest.approx(radius, rel=0.02)


@pytest.mark.parametrize("steer", [-0.6, -0.1, 0.0, 0.25, 0.6])
def test_steering_and_curvature_are_inverse(steer):
    assert steer_for(curvature_of(steer)) == pytest.approx(steer, abs=1e-9)


@pytest.mark.parametrize("radius", [9.0, 15.0, 60.0])
def test_pursuit_of_a_point_on_a_circle_drives_that_circle(radius):
    slip = math.asin(REAR_AXLE_M / radius)  # the body points outward of the course by this
    arc = 3.0 / radius
    bearing = slip + arc / 2
    chord = 2.0 * radius * math.sin(arc / 2)
    found = pursuit_curvature(chord * math.cos(bearing), chord * math.sin(bearing))
    assert found == pytest.approx(1.0 / radius, rel=0.03)


def test_pursuit_is_symmetric():
    assert pursuit_curvature(3.0, 0.7) == -pursuit_curvature(3.0, -0.7)
