"""The table of remote calls, without a socket: forms of answers, refusals, and the whole catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgpack
import pytest

from autovla_core.minicarla import methods
from autovla_core.minicarla.blueprints import BLUEPRINTS
from autovla_core.minicarla.handlers.files import UnknownFile, request_file
from autovla_core.minicarla.simulation import Session, Simulation
from autovla_core.minicarla.wire import stream
from autovla_core.minicarla.wire.rpc import Call

STREAM_PORT = 2001
CATALOGUE = """
version get_available_maps load_new_episode copy_opendrive_to_file load_map_layer unload_map_layer get_episode_info
get_map_info get_map_data get_required_files request_file get_navigation_mesh get_episode_settings
set_episode_settings tick_cue get_actor_definitions get_spectator get_weather_parameters set_weather_parameters
get_imui_gravity set_imui_gravity is_traffic_manager_running get_traffic_manager_running add_traffic_manager_running
destroy_traffic_manager get_actors_by_id spawn_actor spawn_actor_with_parent destroy_actor get_sensor_token
set_actor_location set_actor_transform set_actor_target_velocity set_actor_target_angular_velocity
enable_actor_constant_velocity disable_actor_constant_velocity add_actor_impulse add_actor_impulse_at_location
add_actor_force add_actor_force_at_location add_actor_angular_impulse add_actor_torque set_actor_simulate_physics
set_actor_collisions set_actor_dead set_actor_enable_gravity set_actor_autopilot get_actor_bounding_box
get_actor_component_names get_actor_bone_names get_actor_socket_names get_actor_component_world_transform
get_actor_component_relative_transform get_actor_bone_world_transforms get_actor_bone_relative_transforms
get_actor_socket_world_transforms get_actor_socket_relative_transforms get_vehicle_bone_world_transforms
apply_control_to_vehicle apply_ackermann_control_to_vehicle get_ackermann_controller_settings
apply_ackermann_controller_settings get_physics_control apply_physics_control get_vehicle_light_state
set_vehicle_light_state get_vehicle_light_states open_vehicle_door close_vehicle_door set_wheel_steer_direction
get_wheel_steer_angle set_wheel_pitch_angle get_wheel_pitch_angle get_telemetry_data show_vehicle_debug_telemetry
enable_carsim use_carsim_road enable_chrono_physics restore_physx_physics apply_control_to_walker get_bones_transform
set_bones_transform blend_pose get_pose_from_animation set_traffic_light_state set_traffic_light_green_time
set_traffic_light_yellow_time set_traffic_light_red_time freeze_traffic_light reset_traffic_light_group
freeze_all_traffic_lights reset_all_traffic_lights get_group_traffic_lights get_light_boxes
get_traffic_sign_trigger_volume query_lights_state update_lights_state update_day_night_cycle get_all_level_BBs
get_environment_objects enable_environment_objects get_names_of_all_objects apply_color_texture_to_objects
apply_float_color_texture_to_objects project_point cast_ray draw_debug_shape clear_debug_shape clear_debug_string
set_annotations_traverse_translucency start_recorder show_recorder_file_info show_recorder_collisions
show_recorder_actors_blocked replay_file stop_recorder stop_replayer set_replayer_time_factor set_replayer_ignore_hero
set_replayer_ignore_spectator apply_batch enable_gbuffers are_gbuffers_enabled get_gbuffer_token set_ignored_vehicles
send console_command
"""
SYNCHRONOUS = [True, False, [True, 0.05], True, 0.01, 10, 0.0, True, 3000.0, 2000.0, True]


def no_renderer(town: object) -> None:
    raise AssertionError("no test here takes a picture")


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return Simulation("Havenbrook", STREAM_PORT, no_renderer, wall_clock=lambda: 1e9)


@pytest.fixture
def session(simulation: Simulation) -> Iterator[Session]:
    session = Session(simulation)
    ask(session, "set_episode_settings", SYNCHRONOUS)
    yield session
    simulation.forget(session)


def ask(session: Session, name: str, *params: object, asynchronous: bool = False) -> object:
    """The result part of an answer."""
    kind, number, error, result = msgpack.unpackb(
        methods.answer(session, Call(name, params, 7, asynchronous)), strict_map_key=False
    )
    assert (kind, number, error) == (1, 7, None)
    return result


def value(session: Session, name: str, *params: object) -> object:
    """What a call returns."""
    ((form, content),) = ask(session, name, *params)
    assert form == 1, content
    return content


def failure(session: Session, name: str, *params: object) -> str:
    """The text of a refusal."""
    ((form, content),) = ask(session, name, *params)
    assert form in (0, True)
    return content[0]


def spawn(session: Session, type_id: str, number: int = 0) -> int:
    point = value(session, "get_map_info")[1][number]
    return value(session, "spawn_actor", [0, type_id, []], point)[0]


@pytest.mark.parametrize("name", CATALOGUE.split())
def test_every_call_of_carla_is_answered_or_refused_by_name(name: str) -> None:
    known = [name in table for table in (methods.METHODS, methods.ABSENT, methods.ABSENT_VOID)]
    assert known.count(True) == 1


def test_nothing_is_in_the_table_that_carla_does_not_have() -> None:
    ours = {name for name in methods.METHODS if name.startswith("minicarla_")}
    assert set(methods.METHODS) - ours | methods.ABSENT | methods.ABSENT_VOID == set(CATALOGUE.split())


@pytest.mark.parametrize("name", sorted(methods.ABSENT))
def test_a_missing_call_that_returns_something_says_not_in_minicarla(session: Session, name: str) -> None:
    assert ask(session, name) == [[0, [f"{name} is not in minicarla"]]]


@pytest.mark.parametrize("name", sorted(methods.ABSENT_VOID))
def test_a_missing_call_that_returns_nothing_says_so_in_the_void_form(session: Session, name: str) -> None:
    assert ask(session, name) == [[True, [f"{name} is not in minicarla"]]]


def test_an_asynchronous_call_is_answered_although_nobody_reads_it(session: Session) -> None:
    assert ask(session, "set_actor_dead", 1, asynchronous=True) == [[False]]
    assert ask(session, "set_weather_parameters", [0.0] * 14, asynchronous=True) == [[False]]


def test_a_notification_is_not_answered(session: Session) -> None:
    assert methods.answer(session, Call("version", (), None)) is None


def test_an_unknown_function_is_a_transport_error(session: Session) -> None:
    reply = msgpack.unpackb(methods.answer(session, Call("make_coffee", (), 3)))
    assert reply[2] is not None and reply[3] is None


@pytest.mark.parametrize(("name", "params"), [("version", (1, 2)), ("spawn_actor", ()), ("apply_batch", ())])
def test_a_wrong_number_of_parameters_is_refused(session: Session, name: str, params: tuple) -> None:
    assert "parameters" in str(ask(session, name, *params))


def test_a_call_returning_nothing_uses_the_void_form(session: Session) -> None:
    assert ask(session, "reset_all_traffic_lights") == [[False]]
    assert ask(session, "load_new_episode", "Nowhere", True, 0)[0][0] is True


def test_a_tick_advances_time_by_the_fixed_delta(session: Session) -> None:
    before = session.world.time
    first = value(session, "tick_cue")
    assert value(session, "tick_cue") == first + 1
    assert session.world.time - before == pytest.approx(0.1)


def test_an_asynchronous_world_does_not_tick_on_demand(session: Session) -> None:
    ask(session, "set_episode_settings", [False, False, [False], *SYNCHRONOUS[3:]])
    frame = session.world.frame
    assert value(session, "tick_cue") == frame + 1
    assert session.world.frame == frame


def test_no_frame_is_made_that_nobody_hears(session: Session, simulation: Simulation) -> None:
    simulation.outbox.clear()
    value(session, "tick_cue")
    assert not simulation.outbox
    simulation.listeners[stream.WORLD_STREAM_ID] = 1
    value(session, "tick_cue")
    (stream_id, pieces), records = simulation.outbox.popleft(), len(simulation.world.actors)
    del simulation.listeners[stream.WORLD_STREAM_ID]
    assert stream_id == stream.WORLD_STREAM_ID
    assert sum(map(len, pieces)) == 4 + 48 + 36 + 119 * records


def test_streams_of_sensors_are_never_used_twice(session: Session) -> None:
    seen = set()
    for _ in range(3):
        car = spawn(session, "vehicle.audi.tt")
        place = [[0.0] * 3, [0.0] * 3]
        sensor = value(session, "spawn_actor_with_parent", [0, "sensor.other.imu", []], place, car, 0, "")
        seen.add(sensor[5][:4])
        for actor in (sensor[0], car):
            assert value(session, "destroy_actor", actor) is True
        ask(session, "load_new_episode", "", False, 0)
    assert len(seen) == 3


def test_lane_invasion_has_no_stream(session: Session) -> None:
    place = [[0.0] * 3, [0.0] * 3]
    sensor = value(session, "spawn_actor", [0, "sensor.other.lane_invasion", []], place)
    assert sensor[5] == b""


def test_the_definitions_are_the_blueprints(session: Session) -> None:
    assert [definition[1] for definition in value(session, "get_actor_definitions")] == list(BLUEPRINTS)


def test_refusals_have_the_texts_that_scripts_know(session: Session) -> None:
    place = value(session, "get_map_info")[1][0]
    assert failure(session, "destroy_actor", 10**6) == "unable to destroy actor: not found"
    assert failure(session, "spawn_actor", [0, "vehicle.no.such", []], place) == (
        "Spawn failed because of invalid actor description"
    )
    assert failure(session, "spawn_actor_with_parent", [0, "sensor.other.imu", []], place, 10**6, 0, "") == (
        "unable to attach actor: parent actor not found"
    )
    car = spawn(session, "vehicle.audi.tt", 3)
    assert failure(session, "spawn_actor", [0, "vehicle.audi.tt", []], value(session, "get_map_info")[1][3]) == (
        "Spawn failed because of collision at spawn position"
    )
    value(session, "destroy_actor", car)


def test_the_spectator_is_no_vehicle(session: Session) -> None:
    spectator = value(session, "get_spectator")[0]
    assert "vehicle" in failure(session, "get_physics_control", spectator)


def test_a_batch_is_a_plain_array_of_responses(session: Session) -> None:
    point = value(session, "get_map_info")[1][5]
    spawn_command = [[0, [[0, "vehicle.audi.tt", []], point, [False], 0, "", [[[18, [0, 1]]]]]]]
    (answer, refused) = ask(session, "apply_batch", [spawn_command, [[1, [10**6]]]], False)
    (form, car) = answer[0]
    assert form == 1
    assert refused == [[0, ["unable to destroy actor: not found"]]]
    assert value(session, "get_vehicle_light_state", car) == [1], "do_after ran for the new actor"
    assert ask(session, "apply_batch", [[[1, [car]]]], False) == [[[1, car]]]


def test_a_batch_of_nonsense_is_refused_command_by_command(session: Session) -> None:
    answers = ask(session, "apply_batch", [5, [[99, []]], [[2, [1]]], [[13, [1, [0, 0, 0]]]]], False)
    assert [answer[0][0] for answer in answers] == [0] * 4


def test_a_traffic_manager_is_forgotten_with_its_client(simulation: Simulation) -> None:
    session, other = Session(simulation), Session(simulation)
    assert value(session, "add_traffic_manager_running", ["10.0.0.1", 8000]) is True
    assert value(other, "add_traffic_manager_running", ["10.0.0.2", 8000]) is False
    assert value(other, "get_traffic_manager_running", 8000) == ["10.0.0.1", 8000]
    simulation.forget(session)
    assert value(other, "is_traffic_manager_running", 8000) is False


def test_a_port_that_another_client_freed_and_a_third_took_stays_when_its_first_owner_leaves(
    simulation: Simulation,
) -> None:
    first, second, third = (Session(simulation) for _ in range(3))
    value(first, "add_traffic_manager_running", ["", 8000])
    assert value(second, "destroy_traffic_manager", 8000) is True
    assert first.traffic_manager_ports == []
    value(third, "add_traffic_manager_running", ["", 8000])
    simulation.forget(first)
    assert third.traffic_manager_ports == [8000]
    simulation.forget(third)
    assert value(first, "is_traffic_manager_running", 8000) is False


def test_light_bits_that_other_clients_could_not_read_are_refused(session: Session) -> None:
    car = spawn(session, "vehicle.audi.tt", 11)
    assert "0..4294967295" in failure(session, "set_vehicle_light_state", car, [2**40])
    ask(session, "set_vehicle_light_state", car, [2**32 - 1])
    assert [car, 2**32 - 1] in value(session, "get_vehicle_light_states")
    value(session, "destroy_actor", car)


def test_settings_wait_for_a_snapshot_without_the_dead_if_a_traffic_manager_looks(session: Session) -> None:
    value(session, "add_traffic_manager_running", ["", 8100])
    car = spawn(session, "vehicle.audi.tt", 7)
    value(session, "tick_cue")
    value(session, "destroy_actor", car)
    frame = session.world.frame
    assert methods.may_tick(session.simulation, Call("set_episode_settings", (SYNCHRONOUS,), 1))
    assert value(session, "set_episode_settings", SYNCHRONOUS) == frame + 1
    assert value(session, "set_episode_settings", SYNCHRONOUS) == frame + 1


@pytest.mark.parametrize("call", [("stop_replayer", False), ("replay_file", "short")])
def test_they_wait_too_if_the_dead_are_those_of_a_replay(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: tuple
) -> None:
    monkeypatch.setattr(session.simulation.recordings, "folder", tmp_path)
    value(session, "add_traffic_manager_running", ["", 8100])
    car = spawn(session, "vehicle.audi.tt", 7)
    value(session, "start_recorder", "short")
    value(session, "tick_cue")
    ask(session, "stop_recorder")
    value(session, "destroy_actor", car)
    value(session, "replay_file", "short")
    value(session, "tick_cue")
    assert not session.simulation.needs_clean_snapshot
    ask(session, *call)
    assert session.simulation.needs_clean_snapshot
    frame = session.world.frame
    assert value(session, "set_episode_settings", SYNCHRONOUS) == frame + 1
    ask(session, "stop_replayer", False)


def test_only_the_file_that_was_named_is_served(session: Session) -> None:
    (named,) = value(session, "get_required_files", "Nav")
    assert len(request_file(session, named)) > 1000
    for name in ("../../etc/passwd", "/etc/passwd", "", f"../{named}"):
        with pytest.raises(UnknownFile, match=f"served is {named}"):
            request_file(session, name)


def test_a_new_episode_has_a_new_id_and_its_time_starts_at_zero(session: Session) -> None:
    value(session, "tick_cue")
    old, frame = value(session, "get_episode_info")[0], session.world.frame
    assert ask(session, "load_new_episode", "Carla/Maps/Havenbrook", False, 0) == [[False]]
    assert value(session, "get_episode_info")[0] != old
    assert value(session, "tick_cue") == frame + 1
    assert session.world.time == pytest.approx(0.05)


def test_a_failure_inside_is_answered_and_logged(
    session: Session, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(session: Session) -> None:
        raise KeyError("a bug")

    monkeypatch.setitem(methods.METHODS, "version", methods.Method(broken))
    assert "failed inside minicarla" in failure(session, "version")
    assert "a bug" in caplog.text


def test_the_box_of_an_actor_destroyed_since_the_last_tick_is_still_told(session: Session) -> None:
    car = spawn(session, "vehicle.audi.tt", 9)
    box = value(session, "get_actor_bounding_box", car)
    value(session, "destroy_actor", car)
    gone = f"unable to find actor {car}: actor not found"
    assert value(session, "get_actor_bounding_box", car) == box
    assert failure(session, "get_physics_control", car) == gone
    value(session, "tick_cue")
    assert failure(session, "get_actor_bounding_box", car) == gone
