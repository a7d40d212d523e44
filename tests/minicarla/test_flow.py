"""Optical flow, by geometry worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from autovla_core.minicarla.sensors.flow import Track
from autovla_core.minicarla.sensors.renderer import Instance, Renderer
from autovla_core.minicarla.world.mesh import Material, Tag, box, from_quads, join

CAR = "vehicle:vehicle.lincoln.mkz_2020"
WIDTH, HEIGHT, FOCAL = 120, 80, 60.0  # px at 90 degrees


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    """A road and a wall across it, its face 20 m ahead."""
    corners = [(-60, -60, 0), (60, -60, 0), (60, 60, 0), (-60, 60, 0)]
    road = from_quads(np.array([corners]), (0.1, 0.1, 0.1), Material.ASPHALT, Tag.ROAD)
    wall = box((20.5, 0.0, 5.0), (0.5, 60.0, 5.0), 0.0, (0.5, 0.5, 0.5), Material.FLAT, Tag.WALL)
    made = Renderer(join([road, wall]), threads=1)
    yield made
    made.close()


def pose(x: float = 0.0, y: float = 0.0, z: float = 1.6, pitch: float = 0.0, yaw: float = 0.0) -> tuple:
    return np.array([x, y, z]), np.array([pitch, yaw, 0.0])


def pixels(renderer: Renderer, now: tuple, before: tuple, track: Track | None = None) -> np.ndarray:
    """Flow in pixels, x right and y down."""
    flow = renderer.flow(WIDTH, HEIGHT, 90.0, now, before, track or Track())
    return flow * (WIDTH / 2, -HEIGHT / 2)


def test_nothing_moves_nothing_flows(renderer: Renderer) -> None:
    renderer.show(())
    np.testing.assert_allclose(pixels(renderer, pose(), pose()), 0.0, atol=1e-4)


def test_a_camera_that_moves_right_sees_the_wall_move_left(renderer: Renderer) -> None:
    renderer.show(())
    flow = pixels(renderer, pose(y=1.0), pose())
    np.testing.assert_allclose(flow[20, 10:110], [[-FOCAL / 20.0, 0.0]] * 100, atol=1e-3)


def test_a_camera_that_drives_ahead_sees_all_flow_away_from_the_middle(renderer: Renderer) -> None:
    """A point of the wall at u from the middle was at u * 20 / 21."""
    renderer.show(())
    flow = pixels(renderer, pose(), pose(x=-1.0))
    across = np.arange(WIDTH) + 0.5 - WIDTH / 2
    np.testing.assert_allclose(flow[30, :, 0], across / 21.0, atol=1e-3)
    np.testing.assert_allclose(flow[30, :, 1], (30.5 - 40.0) / 21.0, atol=1e-3)
    assert flow[70, 60, 1] > 1.0, "the road below flows down"


def test_the_sky_only_turns(renderer: Renderer) -> None:
    renderer.show(())
    up = pose(pitch=60.0)
    np.testing.assert_allclose(pixels(renderer, up, pose(x=-3.0, pitch=60.0))[0], 0.0, atol=1e-6)
    level = pixels(renderer, pose(z=30.0, yaw=1.0), pose(z=30.0))
    assert level[39, 60, 0] == pytest.approx(-FOCAL * math.tan(math.radians(1.0)), abs=0.02)


def test_only_the_car_that_moves_flows(renderer: Renderer) -> None:
    """Half a metre to the right at the tail, 10 - 2.42 m ahead."""
    rotation = np.zeros(3)
    renderer.show([Instance(CAR, np.array([10.0, 0.5, 0.0]), rotation, actor_id=7, tag=int(Tag.CAR))])
    track = Track()
    track.before = {7: (np.array([10.0, 0.0, 0.7]), rotation)}
    track.now = {7: (np.array([10.0, 0.5, 0.7]), rotation)}
    flow = pixels(renderer, pose(z=0.8), pose(z=0.8), track)
    tags = renderer.render("semantic_segmentation", WIDTH, HEIGHT, 90.0, *pose(z=0.8))[..., 2]
    moved = np.abs(flow[..., 0]) > 1e-3
    assert moved[tags == Tag.CAR].all() and not moved[(tags == Tag.WALL)].any()
    assert flow[40, 63, 0] == pytest.approx(0.5 * FOCAL / 7.6, abs=0.05)
