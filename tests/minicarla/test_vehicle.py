"""Vehicles accelerate, brake and turn like CARLA's ego, and never blow up."""

from __future__ import annotations

import math

import numpy as np
import pytest

from autovla_core.minicarla import catalogue
from autovla_core.minicarla.blueprints import BLUEPRINTS
from autovla_core.minicarla.world import physics, spawning
from autovla_core.minicarla.world import vehicle as v

DT = 0.05
# Published 20 Hz fit of CARLA's Lincoln MKZ, km/h to km/h (carla_garage kinematic_bicycle_model.py).
FIT = (0.963873001, 4.37535692e-4, -0.380192912, 1.74950069, 0.0916787414, -0.0705461530, -1.05996152e-3, 6.71079346e-4)


def fitted_speed(speed: float, throttle: float) -> float:
    """The fit's speed in m/s one tick later."""
    k, t = 3.6 * speed, throttle
    terms = (k, k * k, t, t * t, k * t, k * t * t, k * k * t, k * k * t * t)
    return max(0.0, sum(a * b for a, b in zip(FIT, terms)) / 3.6)


class Car:
    """One vehicle on a plane, without a world."""

    def __init__(self, row: np.ndarray, speed: float = 0.0) -> None:
        self.rows, self.states = row[None].copy(), np.zeros((1, v.STATE_COLUMNS))
        self.state = self.states[0]
        self.state[v.FORWARD] = speed

    def tick(self, throttle: float = 0.0, steer: float = 0.0, brake: float = 0.0, hand: float = 0.0, dt: float = DT):
        inputs = np.array([[throttle, steer, brake, hand, math.nan, 1.0]])
        v.advance(self.states, inputs, self.rows, 9.81, dt)
        return self.state

    @property
    def speed(self) -> float:
        return float(self.state[v.FORWARD])


@pytest.mark.parametrize("throttle", [0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 1.0])
def test_acceleration_follows_the_published_fit_of_carlas_ego(mkz_row, throttle):
    car, fit, errors = Car(mkz_row), 0.0, []
    for _ in range(240):
        car.tick(throttle)
        fit = fitted_speed(fit, throttle)
        errors.append(car.speed - fit)
    assert math.sqrt(np.mean(np.square(errors))) < 1.1


def test_full_braking_from_100_kmh_takes_about_51_metres(mkz_row):
    car, seconds = Car(mkz_row, 100.0 / 3.6), 0.0
    while car.speed > 0.01:
        car.tick(brake=1.0)
        seconds += DT
    assert 48.0 < car.state[v.X] < 54.0
    assert 3.0 < seconds < 3.6


@pytest.mark.parametrize("steer", [0.05, 0.1, -0.2, 0.4])
def test_curvature_is_0_278_times_steer_at_town_speed(mkz_row, steer):
    car = Car(mkz_row, 5.5)
    for _ in range(20):
        car.tick(steer=steer)
        car.state[v.FORWARD] = 5.5
    assert car.state[v.YAW_RATE] / 5.5 == pytest.approx(0.278 * steer, rel=0.06)


def test_steering_weakens_with_speed(mkz_row):
    gains = [v.curvature_per_steer(speed, mkz_row) for speed in (0.0, 5.0, 12.0, 30.0)]
    assert gains == sorted(gains, reverse=True)
    assert gains[-1] == pytest.approx(0.72 * gains[0], rel=0.05)


def test_curvature_stays_continuous_where_the_models_change(mkz_row):
    turned = []
    for speed in (5.9, 6.1):
        car = Car(mkz_row, speed)
        for _ in range(30):
            car.tick(steer=0.1)
            car.state[v.FORWARD] = speed
        turned.append(car.state[v.YAW_RATE] / speed)
    assert turned[1] == pytest.approx(turned[0], rel=0.08)


def test_left_and_right_are_mirror_images(mkz_row):
    right, left = Car(mkz_row, 12.0), Car(mkz_row, 12.0)
    for _ in range(60):
        right.tick(0.6, 0.2)
        left.tick(0.6, -0.2)
    assert left.state[v.X] == pytest.approx(right.state[v.X])
    assert left.state[v.Y] == pytest.approx(-right.state[v.Y])
    assert right.state[v.Y] > 1.0


def test_reverse_gear_drives_backwards_and_brakes_to_a_halt(mkz_row):
    car = Car(mkz_row)
    for _ in range(40):
        car.tick(-0.7)
    assert car.speed < -2.0 and car.state[v.X] < -2.0
    for _ in range(40):
        car.tick(brake=1.0)
    assert car.speed == 0.0


def test_hand_brake_stops_the_car_more_gently_than_the_pedal(mkz_row):
    pedal, hand, coasting = Car(mkz_row, 12.0), Car(mkz_row, 12.0), Car(mkz_row, 12.0)
    for _ in range(20):
        pedal.tick(brake=1.0)
        hand.tick(hand=1.0)
        coasting.tick()
    assert pedal.speed < hand.speed < coasting.speed
    assert 5.0 < 12.0 - hand.speed < 8.0


def test_a_parked_car_stays_where_it_is(mkz_row):
    car = Car(mkz_row)
    for _ in range(200):
        car.tick(brake=0.3, steer=0.5)
    assert car.state[[v.X, v.Y, v.YAW, v.FORWARD]].tolist() == [0.0] * 4


def test_a_tick_may_be_cut_into_smaller_ones(mkz_row):
    coarse, fine = Car(mkz_row, 9.0), Car(mkz_row, 9.0)
    for _ in range(20):
        coarse.tick(0.7, 0.1, dt=0.1)
    for _ in range(100):
        fine.tick(0.7, 0.1, dt=0.02)
    assert coarse.state == pytest.approx(fine.state, abs=1e-6)


@pytest.mark.parametrize("speed", [0.5, 4.0, 12.0, 25.0])
@pytest.mark.parametrize("acceleration", [-6.0, -2.0, -0.3, 0.0, 0.8, 1.5])
def test_pedals_give_the_acceleration_that_was_asked_for(mkz_row, speed, acceleration):
    throttle, brake = v.pedals(acceleration, speed, 0.0, mkz_row)
    car = Car(mkz_row, speed)
    car.tick(throttle, brake=brake, dt=0.01)
    assert (car.speed - speed) / 0.01 == pytest.approx(max(acceleration, -speed / 0.01), abs=0.5)


@pytest.mark.parametrize("type_id", sorted(i for i in BLUEPRINTS if i.startswith("vehicle.")))
def test_random_controls_never_give_nonsense(type_id):
    blueprint = BLUEPRINTS[type_id]
    row = physics.parameters(
        spawning.physics_of(blueprint), blueprint.base_type, blueprint.mass, blueprint.wheel_base, blueprint.extent[1]
    )
    car, rng = Car(row), np.random.default_rng(1)
    for _ in range(2000):
        controls = rng.uniform([-1, -1, 0, 0], [1, 1, 1, 1]) * (rng.random(4) < [0.9, 0.7, 0.2, 0.1])
        car.tick(*controls.tolist())
        assert np.isfinite(car.state).all()
        assert abs(car.speed) < 90.0 and abs(car.state[v.LATERAL]) < 30.0 and abs(car.state[v.YAW_RATE]) < 12.0


def test_a_heavier_load_makes_the_same_car_lazier(mkz_row):
    blueprint = BLUEPRINTS["vehicle.lincoln.mkz_2020"]
    control = spawning.physics_of(blueprint)
    control["mass"] *= 2.0
    loaded = Car(physics.parameters(control, "car", blueprint.mass, blueprint.wheel_base, blueprint.extent[1]))
    empty = Car(mkz_row)
    for _ in range(40):
        loaded.tick(1.0)
        empty.tick(1.0)
    assert loaded.speed < 0.6 * empty.speed


@pytest.mark.parametrize(
    "change, throttle, brake, steer",
    [
        (lambda c: c.update(drag_coefficient=5.0), 1.0, 0.0, 0.0),
        (lambda c: c.update(torque_curve=[[0.0, 250.0], [5000.0, 250.0]]), 1.0, 0.0, 0.0),
        (lambda c: c.update(steering_curve=[[0.0, 0.3], [100.0, 0.3]]), 0.3, 0.0, 0.3),
        (lambda c: [w.update(max_steer_angle=w["max_steer_angle"] / 2) for w in c["wheels"]], 0.3, 0.0, 0.3),
        (lambda c: [w.update(max_brake_torque=500.0) for w in c["wheels"]], 0.0, 1.0, 0.0),
        (lambda c: [w.update(tire_friction=0.7) for w in c["wheels"]], 0.0, 1.0, 0.0),
        (lambda c: c.update(mass=4000.0), 1.0, 0.0, 0.0),
        (lambda c: c.update(final_ratio=2.0), 1.0, 0.0, 0.0),
        (lambda c: c.update(max_rpm=2000.0), 1.0, 0.0, 0.0),
    ],
    ids=["drag", "torque", "steering curve", "wheel angle", "brake torque", "friction", "mass", "final ratio", "rpm"],
)
def test_the_main_physics_fields_change_the_drive(mkz_row, change, throttle, brake, steer):
    blueprint = BLUEPRINTS["vehicle.lincoln.mkz_2020"]
    control = spawning.physics_of(blueprint)
    change(control)
    row = physics.parameters(control, "car", blueprint.mass, blueprint.wheel_base, blueprint.extent[1])
    changed, normal = Car(row, 15.0), Car(mkz_row, 15.0)
    for _ in range(20):
        changed.tick(throttle, steer, brake)
        normal.tick(throttle, steer, brake)
    assert np.abs(changed.state - normal.state).max() > 0.3


CONTROL = spawning.physics_of(BLUEPRINTS["vehicle.lincoln.mkz_2020"])
OTHER = {
    "torque_curve": [[0.0, 250.0]],
    "forward_gears": [],
    "center_of_mass": [0.5, 0.0, 0.5],
    "steering_curve": [[0.0, 0.3]],
    "use_gear_autobox": False,
    "use_sweep_wheel_collision": True,
}  # fields that are no single number


def row_of(control: dict) -> np.ndarray:
    blueprint = BLUEPRINTS["vehicle.lincoln.mkz_2020"]
    return physics.parameters(control, "car", blueprint.mass, blueprint.wheel_base, blueprint.extent[1])


@pytest.mark.parametrize("name", [name for name in CONTROL if name != "wheels"])
def test_a_field_changes_no_drive_only_if_the_catalogue_says_so(mkz_row, name):
    other = OTHER[name] if name in OTHER else CONTROL[name] * 0.5
    assert np.array_equal(row_of({**CONTROL, name: other}), mkz_row) == (name in catalogue.IDLE_PHYSICS)


@pytest.mark.parametrize("name", [name for name in CONTROL["wheels"][0] if name != "position"])
def test_a_field_of_the_wheels_changes_no_drive_only_if_the_catalogue_says_so(mkz_row, name):
    wheels = [{**wheel, name: wheel[name] * 0.5} for wheel in CONTROL["wheels"]]
    assert np.array_equal(row_of({**CONTROL, "wheels": wheels}), mkz_row) == (name in catalogue.IDLE_WHEEL)
