"""The world: births and deaths, ids and frames, the ground underfoot, and the same drive twice."""

from __future__ import annotations

import numpy as np
import pytest

from autovla_core.minicarla.blueprints import BLUEPRINTS
from autovla_core.minicarla.sensors.appearance import instances_of
from autovla_core.minicarla.world import acts, pose
from autovla_core.minicarla.world.actor import VehicleControl, WalkerControl
from autovla_core.minicarla.world.world import ActorNotFound, SpawnError, World

DT = 0.05
MKZ = "vehicle.lincoln.mkz_2020"


def car_at(world: World, x: float, y: float, z: float = 0.0, yaw: float = 0.0, type_id: str = MKZ):
    return world.spawn(type_id, {}, (x, y, z), (0.0, yaw, 0.0))


def run(world: World, ticks: int) -> None:
    for _ in range(ticks):
        world.step(DT)


def state_bytes(world: World) -> bytes:
    """Everything that a snapshot would tell."""
    parts = []
    for actor in world.actors.values():
        parts += [np.array([actor.id])] + [
            getattr(actor, name) for name in ("location", "rotation", "velocity", "angular_velocity", "acceleration")
        ]
    return np.concatenate(parts).tobytes()


def test_a_fresh_world_holds_the_spectator_and_the_signals(eight):
    world = World(eight)
    kinds = [actor.type_id for actor in world.actors.values()]
    assert kinds == ["spectator", "traffic.traffic_light", "traffic.traffic_light"]
    assert world.actor(world.spectator_id).type_id == "spectator"


def test_ids_and_frames_grow_across_episodes(eight, eight_with_stops):
    world = World(eight)
    car = car_at(world, -40.0, 0.0)
    run(world, 3)
    ids, frame, episode = max(world.actors), world.frame, world.episode_id
    world.load(eight_with_stops, reset_settings=True)
    assert world.episode_id > episode
    assert min(world.actors) > ids >= car.id
    run(world, 1)
    assert world.frame == frame + 1
    assert [a.type_id for a in world.actors.values()] == ["spectator", "traffic.stop", "traffic.stop"]


def test_an_id_is_not_used_again_after_a_death(eight):
    world = World(eight)
    first = car_at(world, -40.0, 0.0)
    world.destroy(first.id)
    assert car_at(world, -40.0, 0.0).id > first.id
    with pytest.raises(ActorNotFound, match="unable to destroy actor: not found"):
        world.destroy(first.id)


def test_settings_survive_a_load_that_does_not_reset_them(eight):
    world = World(eight)
    world.settings["synchronous_mode"] = True
    world.load(eight, reset_settings=False)
    assert world.settings["synchronous_mode"]
    world.load(eight, reset_settings=True)
    assert not world.settings["synchronous_mode"]


def test_the_first_tick_after_a_load_says_that_the_map_changed(eight):
    world = World(eight)
    assert world.map_changed
    world.step(DT)
    assert world.map_changed
    world.step(DT)
    assert not world.map_changed


def test_spawn_speaks_carlas_words(eight):
    world = World(eight)
    with pytest.raises(SpawnError, match="Spawn failed because of invalid actor description"):
        world.spawn("vehicle.none.such", {}, (0, 0, 0), (0, 0, 0))
    with pytest.raises(SpawnError, match="unable to attach actor: parent actor not found"):
        world.spawn("sensor.other.imu", {}, (0, 0, 0), (0, 0, 0), parent_id=999)


def test_attributes_get_their_defaults_and_set_the_colour(eight):
    world = World(eight)
    car = world.spawn(MKZ, {"color": "10,20,30", "role_name": "hero"}, (-40, 0, 0), (0, 0, 0))
    assert car.color == (10, 20, 30)
    assert car.attributes["role_name"] == "hero" and car.attributes["number_of_wheels"] == "4"
    assert set(car.attributes) == set(car.attribute_types)


def test_a_car_spawned_in_the_air_settles_within_half_a_second(eight):
    world = World(eight)
    car = car_at(world, -40.0, 0.0, z=0.5)
    run(world, 10)
    assert car.location[2] == 0.0 and car.velocity[2] == 0.0 and not car.airborne


def test_a_car_lies_on_the_slope(eight, on_slope):
    world = World(on_slope(eight, 0.05))
    car = car_at(world, -40.0, 20.0, z=0.0)
    across = car_at(world, -60.0, 20.0, z=0.0, yaw=90.0)
    for vehicle in (car, across):
        acts.apply_control(vehicle, VehicleControl(hand_brake=True))
    run(world, 20)
    slope = np.degrees(np.arctan(0.05))
    assert car.location[2] == pytest.approx(-2.0, abs=0.01)
    assert car.rotation[[0, 2]] == pytest.approx([slope, 0.0], abs=0.01)
    # heading +y the hill rises on its left (-x is right): the right side lies lower
    assert across.rotation[[0, 2]] == pytest.approx([0.0, slope], abs=0.01)


def test_a_slope_slows_the_climb_and_a_steep_one_rolls_the_car_back(eight, on_slope):
    flat, hill, steep = (World(on_slope(eight, s)) for s in (0.0, 0.05, 0.15))
    cars = [car_at(world, -40.0, 20.0, z=-100.0) for world in (flat, hill, steep)]
    for vehicle in cars[:2]:
        acts.apply_control(vehicle, VehicleControl(throttle=0.7))
    for world in (flat, hill, steep):
        run(world, 60)
    assert 0.0 < cars[1].forward_speed < cars[0].forward_speed
    assert cars[2].forward_speed < -0.5


def test_a_camera_rides_on_its_car(eight, on_slope):
    world = World(on_slope(eight, 0.05))
    car = car_at(world, -40.0, 20.0, yaw=30.0)
    camera = world.spawn("sensor.camera.rgb", {}, (1.5, 0.0, 1.6), (-5.0, 0.0, 0.0), parent_id=car.id)
    acts.apply_control(car, VehicleControl(throttle=0.6, steer=0.2))
    run(world, 40)
    back = pose.relative((car.location, car.rotation), (camera.location, camera.rotation))
    assert back[0] == pytest.approx([1.5, 0.0, 1.6]) and back[1] == pytest.approx([-5.0, 0.0, 0.0], abs=1e-9)
    assert camera.velocity == pytest.approx(car.velocity)
    assert camera.stream_id > 1


def test_the_client_side_lane_sensor_has_no_stream(eight):
    world = World(eight)
    car = car_at(world, -40.0, 0.0)
    assert world.spawn("sensor.other.lane_invasion", {}, (0, 0, 0), (0, 0, 0), parent_id=car.id).stream_id == 0


def test_what_was_attached_to_a_dead_car_stays_behind(eight):
    world = World(eight)
    car = car_at(world, -40.0, 0.0)
    camera = world.spawn("sensor.camera.rgb", {}, (1.5, 0.0, 1.6), (0, 0, 0), parent_id=car.id)
    run(world, 2)
    world.destroy(car.id)
    run(world, 2)
    assert camera.location == pytest.approx([-38.5, 0.0, 1.6])


def test_velocity_and_acceleration_belong_to_the_motion(eight):
    world = World(eight)
    car = car_at(world, -100.0, 60.0, yaw=30.0)
    acts.apply_control(car, VehicleControl(throttle=0.8, steer=0.1))
    for _ in range(40):
        before = car.location.copy(), car.velocity.copy()
        world.step(DT)
        assert (car.location - before[0]) / DT == pytest.approx((car.velocity + before[1]) / 2, abs=0.2)
        assert car.acceleration == pytest.approx((car.velocity - before[1]) / DT)
    assert car.angular_velocity[2] > 1.0


def test_a_held_speed_ignores_the_pedals_until_released(eight):
    world = World(eight)
    car = car_at(world, -100.0, 60.0)
    car.constant_velocity = 7.0
    acts.apply_control(car, VehicleControl(brake=1.0))
    run(world, 40)
    assert car.forward_speed == pytest.approx(7.0)
    car.constant_velocity = None
    run(world, 40)
    assert car.forward_speed == 0.0


def test_a_car_without_physics_only_moves_when_it_is_put(eight):
    world = World(eight)
    car = car_at(world, -100.0, 60.0, z=2.0)
    world.set_simulate_physics(car.id, False)
    acts.apply_control(car, VehicleControl(throttle=1.0))
    run(world, 20)
    assert car.location.tolist() == [-100.0, 60.0, 2.0]
    world.set_transform(car.id, (-90.0, 60.0, 2.0), (0.0, 45.0, 0.0))
    run(world, 1)
    assert car.location.tolist() == [-90.0, 60.0, 2.0]


def test_a_moving_car_that_loses_its_physics_stands_and_starts_from_rest_when_it_has_them_again(eight):
    world = World(eight)
    car = car_at(world, -100.0, 60.0)
    acts.apply_control(car, VehicleControl(throttle=1.0, steer=0.2))
    run(world, 40)
    assert car.forward_speed > 5.0
    world.set_simulate_physics(car.id, False)
    acts.set_target_velocity(car, (9.0, 0.0, 0.0))
    acts.add_impulse(car, (9000.0, 0.0, 0.0))
    place = car.location.copy()
    run(world, 20)
    for motion in (car.velocity, car.acceleration, car.angular_velocity):
        assert motion.tolist() == [0.0, 0.0, 0.0]
    assert (car.forward_speed, car.lateral_speed) == (0.0, 0.0)
    assert car.location.tolist() == place.tolist()
    acts.apply_control(car, VehicleControl())
    world.set_simulate_physics(car.id, True)
    run(world, 20)
    assert np.abs(car.location - place).max() < 0.05


def test_an_impulse_changes_the_velocity_by_its_share_of_the_mass(eight):
    world = World(eight)
    car = car_at(world, -100.0, 60.0)
    run(world, 2)
    acts.add_impulse(car, (1845.0 * 5.0, 0.0, 0.0))
    world.step(DT)
    assert car.forward_speed == pytest.approx(5.0, abs=0.1)


def test_other_physics_take_effect_at_once(eight):
    world = World(eight)
    heavy, light = car_at(world, -100.0, 60.0), car_at(world, -100.0, 70.0)
    world.set_physics(heavy.id, {**heavy.physics, "mass": 6000.0})
    for car in (heavy, light):
        acts.apply_control(car, VehicleControl(throttle=1.0))
    run(world, 40)
    assert heavy.forward_speed < 0.5 * light.forward_speed
    with pytest.raises(ValueError, match="physics control"):
        world.set_physics(heavy.id, {"mass": 1.0})


def test_walkers_walk_on_the_ground_and_face_their_way(eight, on_slope):
    world = World(on_slope(eight, 0.05))
    walker = world.spawn("walker.pedestrian.0001", {}, (-100.0, 60.0, -4.0), (0, 0, 0))
    walker.control = WalkerControl((3.0, 0.0, 0.0), 1.4)
    run(world, 100)
    assert walker.location[0] == pytest.approx(-93.0)
    assert walker.location[2] == pytest.approx(0.05 * walker.location[0] + 0.93, abs=0.03)
    assert walker.rotation[1] == 0.0
    assert walker.velocity[0] == pytest.approx(1.4)


def test_an_actors_semantic_tag_is_the_one_that_cameras_draw(eight):
    world = World(eight)
    kinds = [n for n in BLUEPRINTS if n.startswith(("vehicle.", "static.prop.")) or n == "walker.pedestrian.0001"]
    made = {world.spawn(n, {}, (-100.0, 60.0, 10.0 * (i + 1)), (0.0, 0.0, 0.0)).id: n for i, n in enumerate(kinds)}
    drawn = {instance.actor_id: instance.tag for instance in instances_of(world) if instance.actor_id in made}
    assert len(drawn) == len(kinds)
    assert {made[i]: bytes([tag]) for i, tag in drawn.items()} == {
        n: world.actors[i].semantic_tags for i, n in made.items()
    }


def test_the_speed_limit_is_that_of_the_lane(eight):
    world = World(eight)
    assert car_at(world, -40.0, 0.0).speed_limit_kmh == 40.0


def test_traffic_spawns_apart_and_always_the_same(eight):
    def places(seed: int) -> list:
        world = World(eight)
        return [(world.actors[i].type_id, *world.actors[i].location.tolist()) for i in world.spawn_traffic(12, seed)]

    first = places(3)
    assert first == places(3) != places(5)
    xy = np.array([place[1:3] for place in first])
    gaps = np.linalg.norm(xy[:, None] - xy[None], axis=-1) + 1e9 * np.eye(len(xy))
    assert gaps.min() >= 12.0


def test_the_same_seed_twice_gives_identical_bytes(eight):
    def drive() -> list[bytes]:
        world = World(eight, seed=5)
        world.spawn_traffic(8, seed=2)
        ego = car_at(world, -120.0, 60.0)
        walker = world.spawn("walker.pedestrian.0001", {}, (-60.0, 60.0, 1.0), (0, 0, 0))
        walker.control = WalkerControl((0.0, -1.0, 0.0), 1.2)
        rng, states = np.random.default_rng(0), []
        for _ in range(300):
            steer, throttle = rng.uniform(-0.3, 0.3), rng.uniform(0.3, 1.0)
            acts.apply_control(ego, VehicleControl(throttle=throttle, steer=steer))
            world.step(DT)
            states.append(state_bytes(world))
        return states

    assert drive() == drive()


def test_rotations_compose_and_invert():
    rng = np.random.default_rng(2)
    for _ in range(50):
        parent = rng.normal(size=3), rng.uniform([-80, -180, -170], [80, 180, 170])
        child = rng.normal(size=3), rng.uniform([-80, -180, -170], [80, 180, 170])
        back = pose.relative(parent, pose.compose(parent, child))
        assert back[0] == pytest.approx(child[0]) and back[1] == pytest.approx(child[1], abs=1e-6)


def test_carlas_axes_pitch_lifts_the_nose_and_roll_lowers_the_right():
    forward, right = pose.rotation_matrix(np.array([10.0, 0.0, 0.0]))[:, 0], None
    assert forward[2] > 0.0
    right = pose.rotation_matrix(np.array([0.0, 0.0, 10.0]))[:, 1]
    assert right[2] < 0.0
    assert pose.rotation_matrix(np.array([0.0, 90.0, 0.0]))[:, 0] == pytest.approx([0.0, 1.0, 0.0])
