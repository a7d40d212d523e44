"""Traffic lights take turns, keep still when frozen, and cars know which light they stand at."""

from __future__ import annotations

import pytest

from autovla_core.minicarla.world.actor import LightColor, TrafficLight
from autovla_core.minicarla.world.traffic_light import LightControl, LightGroup
from autovla_core.minicarla.world.world import World

DT = 0.05
MKZ = "vehicle.lincoln.mkz_2020"


@pytest.fixture
def lights() -> list[TrafficLight]:
    return [TrafficLight(i, "traffic.traffic_light", phase=i % 2, group=3) for i in range(4)]


def colors(group: list[TrafficLight]) -> list[LightColor]:
    return [light.state for light in group]


def run(group: LightGroup, seconds: float) -> None:
    for _ in range(round(seconds / DT)):
        group.step(DT)


G, Y, R = LightColor.GREEN, LightColor.YELLOW, LightColor.RED


def test_phases_take_turns_with_yellow_and_all_red_between(lights):
    group, seen = LightGroup(lights), []
    for seconds in (5.0, 6.0, 3.0, 2.0, 10.0, 3.0, 2.0):
        run(group, seconds)
        seen.append(colors(lights))
    assert seen == [
        [G, R, G, R],
        [Y, R, Y, R],
        [R, R, R, R],
        [R, G, R, G],
        [R, Y, R, Y],
        [R, R, R, R],
        [G, R, G, R],
    ]


def test_two_phases_never_have_the_way_together(lights):
    group = LightGroup(lights)
    for _ in range(2000):
        group.step(DT)
        assert len({light.phase for light in lights if light.state != R}) <= 1


def test_times_set_by_the_client_count(lights):
    for light in lights:
        light.green_time, light.yellow_time, light.red_time = 1.0, 0.5, 0.5
    group = LightGroup(lights)
    assert group.cycle_s == pytest.approx(4.0)
    run(group, 1.2)
    assert colors(lights) == [Y, R, Y, R]


def test_one_frozen_light_stops_its_whole_junction(lights):
    group = LightGroup(lights)
    run(group, 4.0)
    lights[2].frozen = True
    run(group, 60.0)
    assert colors(lights) == [G, R, G, R]
    assert lights[0].elapsed_time == pytest.approx(4.0)
    lights[2].frozen = False
    run(group, 7.0)
    assert colors(lights) == [Y, R, Y, R]


def test_a_colour_set_by_hand_holds_until_the_next_change(lights):
    group = LightGroup(lights)
    lights[1].state = LightColor.OFF
    run(group, 9.0)
    assert lights[1].state == LightColor.OFF
    run(group, 2.0)
    assert lights[1].state == R


def test_elapsed_time_starts_again_with_every_stage(lights):
    group = LightGroup(lights)
    run(group, 10.5)
    assert lights[0].elapsed_time == pytest.approx(0.5, abs=DT)


def test_resetting_one_junction_leaves_the_others_alone():
    ours = [TrafficLight(i, "traffic.traffic_light", phase=i, group=1) for i in range(2)]
    theirs = [TrafficLight(i, "traffic.traffic_light", phase=i, group=2) for i in range(2)]
    control = LightControl([*ours, *theirs])
    for _ in range(240):
        control.step(DT)
    elapsed = theirs[0].elapsed_time
    control.reset(1)
    assert (ours[0].state, ours[0].elapsed_time) == (G, 0.0)
    assert theirs[0].elapsed_time == elapsed


def test_junctions_are_out_of_step_but_always_in_the_same_way():
    def fresh() -> list[TrafficLight]:
        made = [TrafficLight(i, "traffic.traffic_light", phase=i % 2, group=i // 2) for i in range(20)]
        LightControl(made)
        return made

    first = [(light.state, light.elapsed_time) for light in fresh()]
    assert first == [(light.state, light.elapsed_time) for light in fresh()]
    assert len(set(first)) > 4


def test_a_car_in_the_trigger_box_knows_its_light(eight):
    world = World(eight)
    east = next(light for light in world.lights() if light.sign_id == "east light")
    car = world.spawn(MKZ, {}, (-11.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    world.step(DT)
    assert (car.at_light_id, car.at_light_state) == (east.id, east.state)
    world.set_transform(car.id, (-30.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    world.step(DT)
    assert (car.at_light_id, car.at_light_state) == (0, G)


def test_a_car_beside_the_approach_is_at_no_light(eight):
    world = World(eight)
    car = world.spawn(MKZ, {}, (-9.0, -3.5, 0.0), (0.0, 180.0, 0.0))
    world.step(DT)
    assert car.at_light_id == 0


def test_resetting_all_lights_goes_back_to_the_start(eight):
    world = World(eight)
    start = [(light.state, light.elapsed_time) for light in world.lights()]
    for _ in range(333):
        world.step(DT)
    world.lights()[0].frozen = True
    world.reset_lights()
    assert [(light.state, light.elapsed_time) for light in world.lights()] == start
    assert not world.lights()[0].frozen
