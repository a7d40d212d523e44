"""Poses compose like transforms, boxes overlap like boxes."""

from __future__ import annotations

import numpy as np
import pytest

from autovla_core import footprints, frames, geometry

RNG = np.random.default_rng(0)
POSES = RNG.uniform(-20, 20, (50, 3)) * [1, 1, 0.15]


def test_inverse_cancels() -> None:
    identity = geometry.compose(geometry.invert(POSES), POSES)
    np.testing.assert_allclose(identity, 0.0, atol=1e-12)


def test_composition_is_associative() -> None:
    a, b, c = POSES[:16], POSES[16:32], POSES[32:48]
    left = geometry.compose(geometry.compose(a, b), c)
    right = geometry.compose(a, geometry.compose(b, c))
    np.testing.assert_allclose(left[:, :2], right[:, :2], atol=1e-12)
    np.testing.assert_allclose(geometry.wrap_angle(left[:, 2] - right[:, 2]), 0.0, atol=1e-12)


def test_left_of_a_pose_facing_north_is_west() -> None:
    world_from_ego = np.array([10.0, 5.0, np.pi / 2])
    np.testing.assert_allclose(geometry.transform_points(world_from_ego, np.array([0.0, 1.0])), [9.0, 5.0], atol=1e-12)


@pytest.mark.parametrize(("angle", "wrapped"), [(np.pi, -np.pi), (3 * np.pi / 2, -np.pi / 2), (0.0, 0.0)])
def test_angles_are_wrapped(angle: float, wrapped: float) -> None:
    assert geometry.wrap_angle(angle) == pytest.approx(wrapped)


def test_arc_length_of_a_three_four_five_triangle() -> None:
    np.testing.assert_allclose(geometry.arc_length(np.array([[0, 0], [3, 4], [3, 10]])), [0, 5, 11])


def test_corners_go_round_counter_clockwise_from_front_left() -> None:
    box = footprints.corners(np.array([1.0, 2.0, 0.0]), 4.0, 2.0)
    np.testing.assert_allclose(box, [[3, 3], [-1, 3], [-1, 1], [3, 1]])


@pytest.mark.parametrize(
    ("pose", "hit"),
    [
        ([3.9, 0.0, 0.0], True),
        ([4.0, 0.0, 0.0], False),  # touching is no overlap
        ([3.2, 1.9, np.pi / 4], True),
        ([4.2, 2.6, np.pi / 4], False),
        ([0.0, 0.0, 1.0], True),
    ],
)
def test_boxes_overlap_when_no_axis_separates_them(pose: list[float], hit: bool) -> None:
    ego = footprints.corners(np.zeros(3), 4.0, 2.0)
    assert footprints.overlap(ego, footprints.corners(np.array(pose), 4.0, 2.0)) == hit
    assert footprints.overlap(footprints.corners(np.array(pose), 4.0, 2.0), ego) == hit


def test_mirroring_twice_is_the_identity() -> None:
    points = RNG.normal(size=(7, 3))
    np.testing.assert_array_equal(frames.point_to_carla(frames.point_from_carla(points)), points)


@pytest.mark.parametrize("carla_yaw_deg", [-170.0, -90.0, 0.0, 35.0, 179.0])
def test_yaw_round_trip_and_sign(carla_yaw_deg: float) -> None:
    yaw = frames.yaw_from_carla(carla_yaw_deg)
    assert frames.yaw_to_carla_deg(yaw) == pytest.approx(carla_yaw_deg)
    assert yaw == pytest.approx(-np.radians(carla_yaw_deg))


def test_compass_of_a_car_facing_east_is_our_yaw_zero() -> None:
    assert frames.yaw_from_compass(np.pi / 2) == pytest.approx(0.0)
    assert frames.yaw_from_compass(0.0) == pytest.approx(np.pi / 2)


def test_gnss_grows_north_with_our_y() -> None:
    metre_deg = np.degrees(1.0 / frames.EARTH_RADIUS_EQUA_M)
    np.testing.assert_allclose(frames.xy_from_gnss(100 * metre_deg, 50 * metre_deg), [50.0, 100.0], atol=1e-6)
