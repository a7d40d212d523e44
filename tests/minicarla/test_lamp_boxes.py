"""The boxes that ``get_light_boxes`` names lie around the lamps that the cameras draw."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from autovla_core.minicarla.handlers.lights import lamp_boxes
from autovla_core.minicarla.sensors.meshes import LAMP_AHEAD_M
from autovla_core.minicarla.sensors.renderer import Renderer
from autovla_core.minicarla.simulation import Session, Simulation
from autovla_core.minicarla.world.actor import LightColor

WIDTH, HEIGHT, FOV_DEG, DISTANCE_M = 320, 320, 30.0, 6.0
FOCAL_PX = WIDTH / 2 / math.tan(math.radians(FOV_DEG / 2))


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return Simulation("Pennyfield", 2001, lambda town: object(), wall_clock=lambda: 1e9)


@pytest.fixture(scope="module")
def renderer(simulation: Simulation) -> Renderer:
    made = Renderer(simulation.world.town.mesh, threads=1)
    yield made
    made.close()


def outline(box: list, eye: np.ndarray, yaw_deg: float) -> np.ndarray:
    """Left, top, right, bottom in pixels of a box in CARLA's frame, seen from ``eye`` along ``yaw_deg``."""
    center, half, (_, box_yaw_deg, _), _ = box
    corners = np.array(list(itertools.product((-1, 1), repeat=3))) * half
    yaw = math.radians(box_yaw_deg)
    turn = np.array([[math.cos(yaw), -math.sin(yaw), 0], [math.sin(yaw), math.cos(yaw), 0], [0, 0, 1]])
    seen = corners @ turn.T + center - eye
    look = math.radians(yaw_deg)
    ahead = seen @ [math.cos(look), math.sin(look), 0.0]
    right = seen @ [-math.sin(look), math.cos(look), 0.0]
    u, v = WIDTH / 2 + FOCAL_PX * right / ahead, HEIGHT / 2 - FOCAL_PX * seen[:, 2] / ahead
    return np.array([u.min(), v.min(), u.max(), v.max()])


def metres(picture: np.ndarray) -> np.ndarray:
    blue, green, red = (picture[..., channel].astype(float) for channel in range(3))
    return (red + 256.0 * green + 65536.0 * blue) / (2.0**24 - 1.0) * 1000.0


@pytest.mark.parametrize("head", [0, 1], ids=["near head", "far head"])
@pytest.mark.parametrize(("color", "place"), [(LightColor.RED, 0), (LightColor.YELLOW, 1), (LightColor.GREEN, 2)])
def test_a_box_holds_the_pixels_of_its_lamp_and_hardly_more(simulation, renderer, head, color, place) -> None:
    light = simulation.world.lights()[0]
    light.state = int(color)
    signal = next(s for s in simulation.world.town.signals if s.id == light.sign_id)
    center, facing_deg = signal.heads[head]
    facing = np.array([math.cos(math.radians(facing_deg)), math.sin(math.radians(facing_deg)), 0.0])
    eye, yaw_deg = center + DISTANCE_M * facing, facing_deg + 180.0
    renderer.update(simulation.world)
    picture = renderer.render("depth", WIDTH, HEIGHT, FOV_DEG, eye, np.array([0.0, yaw_deg, 0.0]))
    near = np.abs(metres(picture) - (DISTANCE_M - LAMP_AHEAD_M)) < 0.04  # the lamps stand out of their plate
    box = lamp_boxes(Session(simulation), light)[3 * head + place]
    left, top, right, bottom = outline(box, eye, yaw_deg)
    _, columns = np.nonzero(near[math.floor(top) : math.ceil(bottom)])
    assert columns.min() == pytest.approx(left, abs=2.5) and columns.max() == pytest.approx(right, abs=2.5)
    middle = near[:, WIDTH // 2]
    edges = np.flatnonzero(np.diff(middle.astype(int)))
    assert len(edges) == 6, "three lamps, one above the other"
    first, beyond = edges[2 * place : 2 * place + 2] + 1
    assert top - 1.0 <= first < top + 4.0 and bottom - 4.0 < beyond <= bottom + 1.0
