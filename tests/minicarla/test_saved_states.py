"""Back to a saved tick: the same future, whatever happened in between."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autovla_core.minicarla.blueprints import BLUEPRINTS
from autovla_core.minicarla.recorder.replayer import ReplayOptions
from autovla_core.minicarla.sensors.renderer import Renderer
from autovla_core.minicarla.simulation import MOST_SAVED_STATES, Simulation
from autovla_core.minicarla.wire.values import Description, Pose
from autovla_core.minicarla.world import acts, saved
from autovla_core.minicarla.world.actor import VehicleControl, WalkerControl
from autovla_core.minicarla.world.saved import SavedStateError
from autovla_core.minicarla.world.town import load_town
from autovla_core.minicarla.world.weather import Weather
from autovla_core.minicarla.world.world import World

DT = 0.05
MKZ = "vehicle.lincoln.mkz_2020"


@pytest.fixture(scope="module")
def busy_world() -> World:
    """Havenbrook with thirty cars that the server drives, one that is driven by hand, and a walker."""
    world = World(load_town("Havenbrook"), seed=3)
    world.spawn_traffic(30, 3)
    hero = next(a for a in world.actors.values() if a.type_id.startswith("vehicle."))
    hero.autopilot = False
    acts.apply_control(hero, VehicleControl(throttle=0.4, steer=0.05))
    walker = world.spawn("walker.pedestrian.0001", {}, (0.0, 60.0, 1.0), (0.0, 0.0, 0.0))
    walker.control = WalkerControl((1.0, 0.0, 0.0), 1.4)
    for _ in range(40):
        world.step(DT)
    return world


def moment(world: World) -> bytes:
    names = ("location", "rotation", "velocity", "angular_velocity", "acceleration")
    parts = [getattr(actor, name) for actor in world.actors.values() for name in names]
    lights = [light.state for light in world.lights()] + [light.elapsed_time for light in world.lights()]
    return np.concatenate([*parts, lights, [world.time]]).tobytes()


def future(world: World, ticks: int) -> list[bytes]:
    moments = []
    for _ in range(ticks):
        world.step(DT)
        moments.append(moment(world))
    return moments


def test_the_next_two_hundred_ticks_are_those_of_the_first_time(busy_world: World) -> None:
    state = saved.save(busy_world)
    first = future(busy_world, 200)
    saved.restore(busy_world, state)
    assert future(busy_world, 200) == first
    saved.restore(busy_world, state)
    assert future(busy_world, 200) == first, "a state can be restored more than once"


def test_what_happens_after_saving_does_not_reach_the_state(busy_world: World) -> None:
    state = saved.save(busy_world)
    first = future(busy_world, 20)
    busy_world.weather = Weather(fog_density=90.0)
    for vehicle in [a for a in busy_world.actors.values() if a.kind == "vehicle"][:5]:
        busy_world.destroy(vehicle.id)
    newcomer = busy_world.spawn(MKZ, {}, (1000.0, 1000.0, 0.0), (0.0, 0.0, 0.0))
    future(busy_world, 5)
    saved.restore(busy_world, state)
    assert newcomer.id not in busy_world.actors and busy_world.weather == Weather()
    assert future(busy_world, 20) == first


def test_frames_and_ids_go_on_growing(busy_world: World) -> None:
    state, frame = saved.save(busy_world), busy_world.frame
    future(busy_world, 7)
    newest = busy_world.spawn(MKZ, {}, (1000.0, 1000.0, 0.0), (0.0, 0.0, 0.0)).id
    saved.restore(busy_world, state)
    busy_world.step(DT)
    assert busy_world.frame == frame + 8
    assert busy_world.spawn(MKZ, {}, (1000.0, 1000.0, 0.0), (0.0, 0.0, 0.0)).id > newest


def test_a_state_of_another_episode_is_refused(busy_world: World) -> None:
    other = World(busy_world.town)
    state = saved.save(other)
    other.load(other.town, reset_settings=True)
    with pytest.raises(SavedStateError, match="save again after a load"):
        saved.restore(other, state)


@pytest.fixture
def simulation() -> Simulation:
    return Simulation("Havenbrook", 2001, lambda town: Renderer(town.mesh, 1), wall_clock=lambda: 1e9)


def frames(simulation: Simulation, ticks: int) -> list[list[bytes]]:
    """What every stream sends, without what every header begins with: size, type and frame number."""
    simulation.outbox.clear()
    sent = []
    for _ in range(ticks):
        simulation.tick()
        sent.append([(number, b"".join(bytes(p) for p in pieces)[20:]) for number, pieces in simulation.outbox])
        simulation.outbox.clear()
    return sent


def test_pictures_and_noisy_sensors_repeat_too(simulation: Simulation) -> None:
    simulation.world.settings["synchronous_mode"] = True
    simulation.world.settings["fixed_delta_seconds"] = DT
    simulation.world.spawn_traffic(10, 1)
    x, y, z, *rotation = simulation.world.town.spawn_points[0]
    place = Pose(np.array([x, y, z + 1.6]), np.array(rotation))
    size = {"image_size_x": "64", "image_size_y": "32", "fov": "80"}
    camera = simulation.spawn(Description(0, "sensor.camera.rgb", size, {}), place)
    gnss = simulation.spawn(Description(0, "sensor.other.gnss", {"noise_lat_stddev": "1e-5"}, {}), place)
    simulation.listeners = {camera.stream_id: 1, gnss.stream_id: 1}
    frames(simulation, 3)
    number = simulation.save_state()
    first = frames(simulation, 10)
    late = simulation.spawn(Description(0, "sensor.other.imu", {}, {}), place)
    simulation.restore_state(number)
    assert list(simulation.closed_streams) == [late.stream_id], "a sensor of the lost future closes its stream"
    again = frames(simulation, 10)
    assert len(first[0]) == 2 and first[0] != first[1] and again == first


def test_scans_repeat_with_their_angle_and_their_noise(simulation: Simulation) -> None:
    simulation.world.settings["synchronous_mode"] = True
    simulation.world.settings["fixed_delta_seconds"] = 0.03  # a third of a turn: the angle is part of the state
    simulation.world.spawn_traffic(10, 1)
    x, y, z, *rotation = simulation.world.town.spawn_points[0]
    place = Pose(np.array([x, y, z + 1.6]), np.array(rotation))
    changes = {
        "sensor.lidar.ray_cast": {"noise_stddev": "0.1", "range": "80"},
        "sensor.lidar.ray_cast_semantic": {"range": "80"},
        "sensor.other.radar": {"points_per_second": "5000"},
        "sensor.camera.optical_flow": {"image_size_x": "64", "image_size_y": "32"},
    }
    sensors = [
        simulation.spawn(Description(0, type_id, BLUEPRINTS[type_id].defaults() | changed, {}), place)
        for type_id, changed in changes.items()
    ]
    simulation.listeners = {sensor.stream_id: 1 for sensor in sensors}
    frames(simulation, 2)
    number = simulation.save_state()
    first = frames(simulation, 5)
    simulation.restore_state(number)
    assert frames(simulation, 5) == first
    assert [len(tick) for tick in first] == [4] * 5 and all(first[0][i] != first[1][i] for i in range(3))


def test_no_state_is_saved_during_a_replay(simulation: Simulation, tmp_path: Path) -> None:
    """Its lights would stay frozen and its actors without physics for ever: the replay ends with the return."""
    simulation.recordings.folder = tmp_path
    simulation.recordings.start(simulation.world, "lights")
    frames(simulation, 3)
    simulation.recordings.stop()
    simulation.recordings.replay(simulation.world, "lights", ReplayOptions())
    with pytest.raises(SavedStateError, match="a replay is under way"):
        simulation.save_state()
    simulation.recordings.stop_replay(simulation.world, keep_actors=True)
    assert simulation.save_state() > 0


def test_states_are_numbered_limited_and_freed(simulation: Simulation) -> None:
    numbers = [simulation.save_state() for _ in range(MOST_SAVED_STATES)]
    assert len(set(numbers)) == MOST_SAVED_STATES
    with pytest.raises(SavedStateError, match="forget one first"):
        simulation.save_state()
    simulation.forget_state(numbers[0])
    assert simulation.save_state() not in numbers
    with pytest.raises(SavedStateError, match=f"no saved state {numbers[0]}"):
        simulation.restore_state(numbers[0])
