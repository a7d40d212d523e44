"""The calls that draw, that drive by Ackermann control and that push: what they accept and what they refuse."""

from __future__ import annotations

import msgpack
import numpy as np
import pytest

from autovla_core.minicarla import methods
from autovla_core.minicarla.sensors.renderer import Renderer
from autovla_core.minicarla.simulation import Session, Simulation
from autovla_core.minicarla.wire.rpc import Call
from autovla_core.minicarla.world.mesh import Material, Tag, from_quads

HERE, THERE = [1.0, 2.0, 3.0], [4.0, 2.0, 3.0]
COLOR = [255, 0, 10]
BOX = [HERE, [1.0, 1.0, 1.0], [0.0, 0.0, 0.0], 0]
SHAPES = {
    "point": ([0, [HERE, 0.1]], 1),
    "line": ([1, [HERE, THERE, 0.1]], 1),
    "arrow": ([2, [[HERE, THERE, 0.1], 0.2]], 5),
    "box": ([3, [BOX, [0.0, 90.0, 0.0], 0.1]], 12),
    "words": ([4, [HERE, "hello", False]], 1),
}


def no_renderer(town: object) -> None:
    raise AssertionError("no test here takes a picture")


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return Simulation("Havenbrook", 2001, no_renderer, wall_clock=lambda: 1e9)


@pytest.fixture
def session(simulation: Simulation) -> Session:
    simulation.world.erase()
    return Session(simulation)


def ask(session: Session, name: str, *params: object) -> object:
    return msgpack.unpackb(methods.answer(session, Call(name, params, 7)), strict_map_key=False)[3]


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_has_its_strokes_colour_and_end(session: Session, name: str) -> None:
    primitive, strokes = SHAPES[name]
    assert ask(session, "draw_debug_shape", [primitive, COLOR, 2.0, True]) == [[False]]
    (shape,) = session.world.debug_shapes
    assert (len(shape.strokes), shape.color) == (strokes, (255, 0, 10))
    assert shape.until == pytest.approx(session.world.time + 2.0)


def test_what_only_carlas_window_shows_is_accepted_and_not_drawn(session: Session) -> None:
    assert ask(session, "draw_debug_shape", [[6, [HERE, THERE, 0.1]], COLOR, 1.0, True]) == [[False]]
    assert session.world.debug_shapes == []


def test_words_and_shapes_are_cleared(session: Session) -> None:
    for primitive, _ in SHAPES.values():
        ask(session, "draw_debug_shape", [primitive, COLOR, -1.0, True])
    assert ask(session, "clear_debug_string") == [[False]]
    assert [shape.text for shape in session.world.debug_shapes] == [""] * 4
    assert ask(session, "clear_debug_shape") == [[False]]
    assert session.world.debug_shapes == []


@pytest.mark.parametrize(
    "shape",
    [
        5,
        [],
        [[0], COLOR, 1.0],
        [[9, [HERE, 0.1]], COLOR, 1.0],
        [[0, [HERE, float("nan")]], COLOR, 1.0],
        [[0, [[1.0, float("inf"), 0.0], 0.1]], COLOR, 1.0],
        [[1, [HERE, THERE]], COLOR, 1.0],
        [[3, [[HERE], [0, 0, 0], 0.1]], COLOR, 1.0],
        [[4, [HERE, 5]], COLOR, 1.0],
        [[0, [HERE, 0.1]], ["red", 0, 0], 1.0],
        [[0, [HERE, 0.1]], COLOR, "long"],
        [[0, [[1e300, 0.0, 0.0], 0.1]], COLOR, 1.0],
    ],
)
def test_nonsense_is_refused_and_nothing_is_drawn(session: Session, shape: object) -> None:
    ((failed, text),) = ask(session, "draw_debug_shape", shape)
    assert failed is True and "failed inside" not in text[0]
    assert session.world.debug_shapes == []


def test_shapes_beyond_all_measure_are_drawn_without_harm(session: Session) -> None:
    far = [1e30, -1e30, 1e30]
    for primitive in (
        [1, [HERE, far, 1e30]],
        [0, [far, 1e30]],
        [2, [[far, HERE, -5.0], 1e30]],
        [4, [far, "x" * 999]],
    ):
        assert ask(session, "draw_debug_shape", [primitive, COLOR, 0.0, True]) == [[False]]
    floor = np.array([[(-9, -9, 0), (9, -9, 0), (9, 9, 0), (-9, 9, 0)]])
    renderer = Renderer(from_quads(floor, (0.1, 0.1, 0.1), Material.ASPHALT, Tag.ROAD), threads=1)
    renderer.draw(session.world.debug_shapes)
    assert renderer.render("rgb", 64, 48, 90.0, np.array([0.0, 2.0, 2.9]), np.zeros(3)).shape == (48, 64, 4)
    assert max(len(shape.text) for shape in session.world.debug_shapes) == 200
    renderer.close()


def test_a_scan_cannot_be_asked_for_with_attributes_that_are_no_lidar(session: Session) -> None:
    for name, wrong in (("channels", "0"), ("range", "nan"), ("points_per_second", "-3"), ("channels", "many")):
        described = [0, "sensor.lidar.ray_cast", [[name, 2, wrong]]]
        before = len(session.world.actors)
        ((form, text),) = ask(session, "spawn_actor", described, [HERE, [0.0, 0.0, 0.0]])
        assert form == 0 and "failed inside" not in text[0]
        assert len(session.world.actors) == before


def test_forces_at_a_place_push_as_plain_ones(session: Session) -> None:
    point = session.world.town.spawn_points[4]
    car = session.world.spawn("vehicle.lincoln.mkz_2020", {}, point[:3], point[3:])
    push = [0.0, 1845.0 * 2.0, 0.0]
    assert ask(session, "add_actor_impulse_at_location", car.id, push, HERE) == [[False]]
    assert car.velocity[1] == pytest.approx(2.0)
    force = [0.0, 1845.0 * 2.0 / session.simulation.delta_s, 0.0]
    assert ask(session, "add_actor_force_at_location", car.id, force, HERE) == [[False]]
    assert car.velocity[1] == pytest.approx(4.0)
    ((failed, text),) = ask(session, "add_actor_force", car.id, [0.0, float("nan"), 0.0])
    assert failed is True and "finite" in text[0]
    session.world.destroy(car.id)


@pytest.mark.parametrize("name", ["apply_ackermann_control_to_vehicle", "apply_ackermann_controller_settings"])
def test_ackermann_nonsense_is_refused(session: Session, name: str) -> None:
    point = session.world.town.spawn_points[4]
    car = session.world.spawn("vehicle.lincoln.mkz_2020", {}, point[:3], point[3:])
    for wrong in ([0.0] * 4, [0.0, 0.0, float("nan"), 0.0, 0.0, 0.0], "fast"):
        ((failed, text),) = ask(session, name, car.id, wrong)
        assert failed is True and "Ackermann" in text[0]
    session.world.destroy(car.id)
