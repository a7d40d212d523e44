"""Small questions about snapshots, time, sensors and who lives, each with the answer that CARLA would give."""

from __future__ import annotations

import carla
import pytest

MKZ = "vehicle.lincoln.mkz_2020"


def test_the_snapshot_lists_everybody(stage) -> None:
    car = stage.car()
    snapshot = stage.world.get_snapshot()
    assert snapshot.has_actor(car.id) and snapshot.find(car.id).get_transform() == car.get_transform()
    assert len(snapshot) == len(stage.world.get_actors())


def test_timestamps_agree(stage) -> None:
    stamp = stage.world.get_snapshot().timestamp
    frame = stage.tick()
    assert stage.world.get_snapshot().timestamp.frame == frame == stamp.frame + 1


def test_a_callback_may_be_removed(stage) -> None:
    seen: list[int] = []
    number = stage.world.on_tick(lambda snapshot: seen.append(snapshot.frame))
    stage.tick(2)
    stage.world.remove_on_tick(number)
    count = len(seen)
    stage.tick(3)
    assert count >= 1 and len(seen) <= count + 1


def test_try_spawn_gives_none_where_there_is_no_room(stage) -> None:
    car = stage.car()
    assert stage.world.try_spawn_actor(stage.blueprint(MKZ), car.get_transform()) is None


def test_actors_are_found_by_id_and_filter(stage) -> None:
    car = stage.car()
    assert stage.world.get_actor(car.id).type_id == MKZ
    assert car.id in {actor.id for actor in stage.world.get_actors().filter("vehicle.lincoln.*")}
    assert [actor.id for actor in stage.world.get_actors([car.id])] == [car.id]


def test_an_unknown_id_is_nobody(stage) -> None:
    assert stage.world.get_actor(10**8) is None


def test_a_sensor_without_a_parent_stands_free(stage) -> None:
    camera = stage.spawn("sensor.camera.rgb", carla.Transform(carla.Location(z=20.0)), image_size_x=32, image_size_y=32)
    stage.tick()
    assert camera.parent is None and camera.get_location().z == pytest.approx(20.0)


def test_a_listening_sensor_says_so(stage) -> None:
    sensor = stage.spawn("sensor.other.gnss", carla.Transform(), stage.car())
    assert not sensor.is_listening()
    sensor.listen(lambda data: None)
    assert sensor.is_listening()
    sensor.stop()
    assert not sensor.is_listening()


def test_the_gravity_of_the_imu_is_told(stage) -> None:
    before = stage.world.get_imui_sensor_gravity()
    assert before == pytest.approx(9.81, abs=0.01)


def test_a_batch_without_waiting_is_done_at_the_tick(stage, client: carla.Client) -> None:
    car = stage.car()
    client.apply_batch([carla.command.ApplyVehicleControl(car.id, carla.VehicleControl(throttle=1.0))])
    stage.tick(20)
    assert car.get_velocity().length() > 1.0
