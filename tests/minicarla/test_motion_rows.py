"""What moves lies in rows of one array: reading, writing, copying and the quick look-ups that rest on it."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from autovla_core.minicarla.world import collision as c
from autovla_core.minicarla.world import saved
from autovla_core.minicarla.world import traffic_control as t
from autovla_core.minicarla.world import vehicle as v
from autovla_core.minicarla.world.actor import Vehicle
from autovla_core.minicarla.world.traffic_path import POINTS, Path, Span
from autovla_core.minicarla.world.world import World

DT = 0.05
MKZ = "vehicle.lincoln.mkz_2020"


def test_vectors_of_an_actor_are_its_row_whichever_way_they_are_written() -> None:
    car = Vehicle(7, MKZ)
    car.location, car.rotation = (1.0, 2.0, 3.0), np.array([4.0, 5.0, 6.0])
    car.velocity[:] = 7.0, 8.0, 9.0
    car.angular_velocity[2], car.acceleration[0] = 12.0, 13.0
    assert car.motion.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0, 12, 13, 0, 0]


def test_a_vector_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="broadcast"):
        Vehicle(7, MKZ).location = (1.0, 2.0)


def test_a_copy_of_an_actor_stays_where_it_was() -> None:
    car = Vehicle(7, MKZ)
    other = copy.deepcopy(car)
    car.location = 5.0, 0.0, 0.0
    assert other.location.tolist() == [0.0, 0.0, 0.0]


def test_cars_that_left_the_world_do_not_move_with_it_and_saved_ones_neither(eight) -> None:
    world = World(eight)
    first = world.spawn(MKZ, {}, (-40.0, 0.0, 0.5), (0.0, 0.0, 0.0))
    gone = world.spawn(MKZ, {}, (60.0, 0.0, 0.5), (0.0, 0.0, 0.0))
    for car in (first, gone):
        car.constant_velocity = 10.0
    for _ in range(12):  # until both are on their wheels
        world.step(DT)
    state, place = saved.save(world), first.location.copy()
    world.destroy(gone.id)
    left = gone.location.copy()
    for _ in range(10):
        world.step(DT)
    assert (gone.location == left).all()
    assert first.location[0] - place[0] == pytest.approx(10 * DT * 10.0, abs=0.01)
    saved.restore(world, state)
    assert (world.actors[first.id].location == place).all()
    world.step(DT)
    assert world.actors[gone.id].location[0] - left[0] == pytest.approx(DT * 10.0, abs=0.01)


def test_the_nearest_lane_alone_is_that_of_the_whole_answer(eight) -> None:
    for x, y in np.random.default_rng(3).uniform(-120.0, 120.0, (300, 2)).tolist():
        assert eight.lane_grid.nearest_lane(x, y) == eight.lane_grid.nearest(x, y)[0]


def test_circles_before_boxes_change_no_answer() -> None:
    rng = np.random.default_rng(5)
    bodies, boxes = (rng.uniform(-9.0, 9.0, (60, c.BODY_COLUMNS)) for _ in range(2))
    for rows in (bodies, boxes):
        rows[:, c.HX : c.HZ + 1] = rng.uniform(0.3, 2.5, (60, 3))
    found = np.empty(60, np.int64)
    c.first_overlaps(bodies, boxes, found)
    expected = [next((k for k, box in enumerate(boxes) if c.overlap(body, box)), -1) for body in bodies]
    assert found.tolist() == expected
    assert 10 < sum(number >= 0 for number in expected) < 60


def test_the_span_of_an_offset_is_the_first_that_ends_beyond_it() -> None:
    path = Path((Span(4, -3.0, 10.0), Span(5, 10.0, 25.0), Span(6, 25.0, 60.0)), np.zeros(0), np.zeros(0), 60.0, False)
    assert [path.span_at(at) for at in (-1.0, 0.0, 9.9, 10.0, 24.9, 25.0, 59.0, 60.0, 99.0)] == [
        0, 0, 0, 1, 1, 2, 2, 2, 2,
    ]  # fmt: skip
    assert path.last_span_at == 25.0


def considered(**columns: float) -> dict[str, float]:
    """One driver at 8 m/s, 2 m half length, who wants 10 m/s, after its tick of thought."""
    row = np.zeros(t.DRIVER_COLUMNS)
    row[[t.GAP, t.LINE_AT, t.LINE_END, t.LAST_LANE_AT, t.FINISH]] = np.inf
    row[t.CHANGES_UNTIL], row[t.PATIENCE_S] = -1.0, 3.0
    for name, value in columns.items():
        row[getattr(t, name)] = value
    states, bodies = np.zeros((1, v.STATE_COLUMNS)), np.zeros((1, c.BODY_COLUMNS))
    states[0, v.FORWARD], bodies[0, c.HX] = 8.0, 2.0
    drivers = row[None]
    t.consider(drivers, np.zeros(1, np.int64), np.full((1, POINTS), 10.0), states, bodies, DT)
    names = ("HELD_UP_S", "REST_S", "CHANGES_UNTIL", "THINKS", "HAS_CHANGED", "REVIEWS", "STOP_AT")
    return {name: float(drivers[0, getattr(t, name)]) for name in names}


def test_who_has_a_free_road_has_nothing_to_decide() -> None:
    after = considered()
    assert (after["THINKS"], after["HAS_CHANGED"], after["REVIEWS"]) == (0.0, 0.0, 0.0)
    assert after["STOP_AT"] == np.inf


def test_a_junction_is_looked_at_from_twelve_metres_and_three_seconds_away() -> None:
    # 12 m + 3 s x 8 m/s = 36 m from the bumper, 2 m before the centre
    assert considered(AT=10.0, LINE_AT=48.1, LINE_END=70.0)["REVIEWS"] == 0.0
    assert considered(AT=10.0, LINE_AT=48.0, LINE_END=70.0)["REVIEWS"] == 1.0
    assert considered(AT=90.0, LINE_AT=48.0, LINE_END=70.0)["REVIEWS"] == 1.0, "it has passed, and gives its lanes back"


def test_patience_ends_after_its_seconds_behind_something_slow() -> None:
    slow = {"GAP": 20.0, "LEAD": 4.0}
    assert considered(**slow, HELD_UP_S=2.9)["THINKS"] == 0.0
    assert considered(**slow, HELD_UP_S=2.96)["THINKS"] == 1.0
    assert considered(**slow, HELD_UP_S=2.96, REST_S=0.2)["THINKS"] == 0.0
    assert considered(GAP=40.0, LEAD=4.0, HELD_UP_S=2.96)["HELD_UP_S"] == 0.0, "too far ahead to hold it up"


def test_where_the_lane_ends_one_must_think_and_a_change_that_is_over_is_told() -> None:
    assert considered(AT=30.0, LAST_LANE_AT=29.0)["THINKS"] == 1.0
    under_way = considered(AT=30.0, CHANGES_UNTIL=40.0, LAST_LANE_AT=29.0)
    assert (under_way["THINKS"], under_way["HAS_CHANGED"]) == (0.0, 0.0)
    over = considered(AT=41.0, CHANGES_UNTIL=40.0)
    assert (over["HAS_CHANGED"], over["CHANGES_UNTIL"]) == (1.0, -1.0)
