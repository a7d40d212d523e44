"""What clients draw: seen by RGB cameras, hidden behind things, and gone when its time is over."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest

from autovla_core.minicarla.sensors.letters import dots_of
from autovla_core.minicarla.sensors.renderer import KINDS, Renderer
from autovla_core.minicarla.world import debug_shapes, saved
from autovla_core.minicarla.world.debug_shapes import DebugShape
from autovla_core.minicarla.world.mesh import Material, Tag, box, from_quads, join
from autovla_core.minicarla.world.town import Town
from autovla_core.minicarla.world.world import World

RED, PINK = (255, 0, 0), (255, 0, 255)
EYE = np.array([0.0, 0.0, 1.6])
WIDTH, HEIGHT = 120, 80
FOCAL = 60.0  # px at 90 degrees


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    """A road, and a wall on the right half of the view, 10 m ahead."""
    corners = [(-60, -60, 0), (60, -60, 0), (60, 60, 0), (-60, 60, 0)]
    road = from_quads(np.array([corners]), (0.1, 0.1, 0.1), Material.ASPHALT, Tag.ROAD)
    wall = box((10.5, -10.0, 5.0), (0.5, 10.0, 5.0), 0.0, (0.2, 0.2, 0.2), Material.FLAT, Tag.WALL)
    made = Renderer(join([road, wall]), threads=1)
    yield made
    made.close()


def drawn(renderer: Renderer, *shapes: DebugShape, kind: str = "rgb") -> np.ndarray:
    renderer.draw(shapes)
    picture = renderer.render(kind, WIDTH, HEIGHT, 90.0, EYE, np.zeros(3))
    renderer.draw(())
    return picture


def where(picture: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """(n, 2) rows and columns of a pure colour."""
    return np.argwhere((picture[..., :3] == color[::-1]).all(axis=-1))


def at(x: float, y: float, z: float) -> np.ndarray:
    return np.array([x, y, z], float)


def test_nothing_drawn_changes_no_byte_and_other_cameras_see_nothing(renderer: Renderer) -> None:
    shapes = [debug_shapes.line(at(5, -2, 1), at(5, -1, 1), 0.1, RED), debug_shapes.words(at(5, -2, 2), "A", RED)]
    for kind in KINDS:
        plain = renderer.render(kind, WIDTH, HEIGHT, 90.0, EYE, np.zeros(3))
        changed = drawn(renderer, *shapes, kind=kind).tobytes() != plain.tobytes()
        assert changed == (kind == "rgb")
        assert renderer.render(kind, WIDTH, HEIGHT, 90.0, EYE, np.zeros(3)).tobytes() == plain.tobytes()


def test_a_line_lies_where_the_camera_would_see_its_ends(renderer: Renderer) -> None:
    """Ten metres ahead a metre is six pixels: y -5..-3 is column 30..42, z 2.6 is row 34."""
    found = where(drawn(renderer, debug_shapes.line(at(10, -5, 2.6), at(10, -3, 2.6), 0.0, RED)), RED)
    assert set(found[:, 0]) <= {33, 34} and len(found) == 12
    assert found[:, 1].min() == 30 and found[:, 1].max() == 41


def test_thickness_is_in_metres_and_shrinks_with_distance(renderer: Renderer) -> None:
    def rows(distance: float) -> int:
        ends = at(distance, -0.4 * distance, 1.6), at(distance, -0.2 * distance, 1.6)
        return len(set(where(drawn(renderer, debug_shapes.line(*ends, 0.5, RED)), RED)[:, 0]))

    assert (rows(3.0), rows(6.0), rows(30.0)) == (10, 5, 1)


def test_what_stands_before_a_line_hides_it(renderer: Renderer) -> None:
    """From y = -6 on the left to y = 6 behind the wall, whose left edge is the middle of the picture."""
    found = where(drawn(renderer, debug_shapes.line(at(20, -6, 2), at(20, 6, 2), 0.1, RED)), RED)
    assert found[:, 1].min() == 42 and 56 <= found[:, 1].max() <= 60
    before = where(drawn(renderer, debug_shapes.line(at(9, -3, 2), at(9, 3, 2), 0.1, RED)), RED)
    assert before[:, 1].min() == 40 and before[:, 1].max() == 79
    behind_us = drawn(renderer, debug_shapes.line(at(-9, -3, 2), at(-2, 3, 2), 0.1, RED))
    assert not len(where(behind_us, RED))


def test_a_line_through_the_eye_plane_is_cut_there(renderer: Renderer) -> None:
    found = where(drawn(renderer, debug_shapes.line(at(-5, -1, 1.0), at(8, -1, 1.0), 0.05, RED)), RED)
    assert found[:, 1].max() < 60 and found[:, 0].max() > 60


def test_a_point_is_a_square_of_a_hundred_pixels_per_size(renderer: Renderer) -> None:
    for distance in (5.0, 20.0):
        found = where(drawn(renderer, debug_shapes.point(at(distance, -0.25 * distance, 1.6), 0.1, RED)), RED)
        assert len(found) == 100 and np.ptp(found, axis=0).tolist() == [9, 9]
        assert found.mean(axis=0) == pytest.approx([39.5, 44.5])


def test_a_box_has_twelve_edges_that_turn_with_it() -> None:
    shape = debug_shapes.box(at(1, 2, 3), at(2, 1, 0.5), np.array([0.0, 90.0, 0.0]), 0.1, RED)
    lengths = np.linalg.norm(shape.strokes[:, 1] - shape.strokes[:, 0], axis=1)
    assert sorted(lengths.round(6)) == [1.0] * 4 + [2.0] * 4 + [4.0] * 4
    np.testing.assert_allclose(shape.strokes.reshape(-1, 3).min(0), [0.0, 0.0, 2.5], atol=1e-9)
    np.testing.assert_allclose(shape.strokes.reshape(-1, 3).max(0), [2.0, 4.0, 3.5], atol=1e-9)


def test_an_arrow_has_its_barbs_at_its_end() -> None:
    shape = debug_shapes.arrow(at(0, 0, 0), at(0, 10, 0), 0.1, 1.0, RED)
    assert shape.strokes[0].tolist() == [[0, 0, 0], [0, 10, 0]]
    np.testing.assert_allclose(shape.strokes[1:, 1], np.tile([0, 10, 0], (4, 1)))
    np.testing.assert_allclose(shape.strokes[1:, 0, 1], 9.0)
    np.testing.assert_allclose(np.abs(shape.strokes[1:, 0, [0, 2]]), 1.0)


def test_words_are_dots_from_their_place_to_the_right(renderer: Renderer) -> None:
    """An L is seven rows of a left edge and a foot of five; an I beside it starts six dots further."""
    found = where(drawn(renderer, debug_shapes.words(at(10, -4.99, 1.59 + 10 / 6), "l", PINK)), PINK)
    expected = [(30 + row, 30) for row in range(7)] + [(36, column) for column in range(31, 35)]
    assert sorted(map(tuple, found.tolist())) == sorted(expected)
    assert dots_of("LL")[:, 0].max() == 10 and len(dots_of("")) == 0


def test_bands_of_rows_and_threads_change_no_byte(renderer: Renderer) -> None:
    shapes = [debug_shapes.box(at(12, -2, 1), at(2, 1, 1), np.array([0.0, 30.0, 0.0]), 0.1, RED)]
    shapes += [debug_shapes.words(at(9, -3, 2), "speed 8.3", PINK), debug_shapes.point(at(9, -1, 1), 0.07, PINK)]
    other = copy.copy(renderer)
    other._threads = 4
    assert drawn(other, *shapes).tobytes() == drawn(renderer, *shapes).tobytes()


def test_a_life_of_one_tick_is_seen_for_one_tick_and_none_for_ever(eight: Town) -> None:
    world = World(eight)
    brief, lasting = (debug_shapes.point(at(0, 0, 0), 0.1, color) for color in (RED, PINK))
    world.step(0.05)
    world.draw(brief, 0.05)
    world.draw(lasting, -1.0)
    seen = []
    for _ in range(3):
        world.step(0.05)
        seen.append([shape.color for shape in world.debug_shapes])
    assert seen == [[RED, PINK], [PINK], [PINK]]


def test_shapes_are_limited_erased_and_end_with_the_episode(eight: Town) -> None:
    world = World(eight)
    for i in range(debug_shapes.MOST_SHAPES + 5):
        world.draw(debug_shapes.point(at(i, 0, 0), 0.1, RED), 0.0)
    assert len(world.debug_shapes) == debug_shapes.MOST_SHAPES
    assert world.debug_shapes[0].strokes[0, 0, 0] == 5.0, "the oldest are gone"
    world.draw(debug_shapes.words(at(0, 0, 0), "hello", RED), 0.0)
    world.erase(words_only=True)
    assert len(world.debug_shapes) == debug_shapes.MOST_SHAPES - 1
    world.erase()
    assert world.debug_shapes == []
    world.draw(debug_shapes.words(at(0, 0, 0), "hello", RED), 0.0)
    world.load(eight, reset_settings=False)
    assert world.debug_shapes == []


def test_shapes_are_part_of_a_saved_state(eight: Town) -> None:
    world = World(eight)
    world.draw(debug_shapes.point(at(1, 0, 0), 0.1, RED), 0.12)
    state = saved.save(world)
    world.draw(debug_shapes.point(at(2, 0, 0), 0.1, PINK), 0.0)
    for _ in range(4):
        world.step(0.05)
    assert [shape.color for shape in world.debug_shapes] == [PINK]
    saved.restore(world, state)
    assert [shape.color for shape in world.debug_shapes] == [RED]
    assert not math.isinf(world.debug_shapes[0].until)
