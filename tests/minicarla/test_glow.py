"""Lit lamps wear a glow: where they can be seen, in their colour, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from autovla_core.minicarla.sensors.glow import Glow
from autovla_core.minicarla.sensors.renderer import Renderer
from autovla_core.minicarla.world.mesh import Material, Tag, box, from_quads, join

EYE, AHEAD = np.array([0.0, 0.0, 1.6]), np.zeros(3)
SIZE_PX, FOV_DEG = (97, 65), 80.0  # odd: the middle of the picture is the middle of a pixel
FOCAL_PX = 0.5 * 97 / np.tan(np.radians(40.0))
FLOOR = np.array([[(-60, -60, 0), (60, -60, 0), (60, 60, 0), (-60, 60, 0)]])


def lamp(distance: float, towards: float = -1.0, color: tuple[int, int, int] = (255, 0, 0)) -> Glow:
    return Glow(np.array([distance, 0.0, 1.6]), np.array([towards, 0.0, 0.0]), 0.35, 0.8, color)


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    floor = from_quads(FLOOR, (0.1, 0.1, 0.1), Material.ASPHALT, Tag.ROAD)
    wall = box((30.0, 0.0, 2.0), (0.5, 10.0, 4.0), 0.0, (0.1, 0.1, 0.1), Material.FLAT, Tag.BUILDING)
    made = Renderer(join([floor, wall]), threads=2)
    yield made
    made.close()


def change(renderer: Renderer, glows: list[Glow], kind: str = "rgb") -> np.ndarray:
    """(H, W, 3) r, g, b that the lamps add."""
    renderer.shine([])
    without = renderer.render(kind, *SIZE_PX, FOV_DEG, EYE, AHEAD).astype(int)
    renderer.shine(glows)
    shining = renderer.render(kind, *SIZE_PX, FOV_DEG, EYE, AHEAD).astype(int)
    return (shining - without)[..., 2::-1]


def test_a_lamp_colours_a_disc_of_its_size(renderer: Renderer) -> None:
    added = change(renderer, [lamp(20.0)])
    assert added[32, 48, 0] > 90 and added[32, 48, 1] < 0
    columns = np.flatnonzero(added[32, :, 0])
    spread_px = 0.35 * FOCAL_PX / 20.0
    assert columns.min() + columns.max() == 96  # around the middle
    assert len(columns) == pytest.approx(2 * 2.5 * spread_px, abs=2.0)


def test_a_distant_lamp_stays_a_spot(renderer: Renderer) -> None:
    renderer.show(())
    assert change(renderer, [lamp(29.0)])[32, 48, 0] > 90


def test_a_wall_hides_it_and_its_back_is_dark(renderer: Renderer) -> None:
    assert not change(renderer, [lamp(40.0)]).any()
    assert not change(renderer, [lamp(20.0, towards=1.0)]).any()
    assert not change(renderer, [lamp(-20.0, towards=1.0)]).any()


@pytest.mark.parametrize("kind", ["depth", "semantic_segmentation", "instance_segmentation"])
def test_only_the_picture_shows_it(renderer: Renderer, kind: str) -> None:
    assert not change(renderer, [lamp(20.0)], kind).any()
