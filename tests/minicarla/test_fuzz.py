"""100,000 mutated messages, and thousands more through sockets: every one is answered, nothing is left behind."""

from __future__ import annotations

import copy
import gc
import logging
import random
import resource
import socket
import sys
import threading
from collections.abc import Iterator
from typing import NamedTuple

import msgpack
import pytest

from autovla_core.minicarla import methods
from autovla_core.minicarla.server import Server, listen
from autovla_core.minicarla.simulation import Session, Simulation
from autovla_core.minicarla.wire import stream
from autovla_core.minicarla.wire.packing import PackingError
from autovla_core.minicarla.wire.rpc import CallReader

MESSAGES_A_SEED = 20_000
CLEAN_EVERY, TICK_EVERY = 500, 50
MOST_MORE_BLOCKS, MOST_MORE_KB = 50_000, 200_000  # of the interpreter's memory, and of the process at its peak

POSE = [[60.0, -20.0, 0.5], [0.0, 90.0, 0.0]]
VECTOR = [1.0, 2.0, 0.0]
CONTROL = [0.5, 0.1, 0.0, False, False, False, 1]
SETTINGS = [True, False, [True, 0.05], True, 0.01, 10, 0.0, True, 3000.0, 2000.0, True]
CAR = [1, "vehicle.audi.tt", [["role_name", 4, "hero"]]]
WALKER = [1, "walker.pedestrian.0001", []]
JUNK: tuple[object, ...] = (
    *(None, True, False, 0, -1, 1, 255, 2**31, 2**32, 2**63 - 1, -(2**63), 2**64 - 1),
    *(0.0, -1.5, 1e38, 1e308, -1e308, float("nan"), float("inf")),
    *("", "x", "/../..", "ä" * 300, b"\xff\xfe", b"", [], [[]], [[[[]]]], [1, 2, 3], {}, {"a": 1}, [None] * 40),
)


# One good call of each kind; who it is about is filled in once somebody lives.
VEHICLE, PERSON, LIGHT, NOBODY = "<vehicle>", "<walker>", "<light>", "<nobody>"
NO_PARAMETER = (
    *("version", "get_available_maps", "get_episode_info", "get_episode_settings", "get_weather_parameters"),
    *("get_imui_gravity", "get_vehicle_light_states", "reset_all_traffic_lights", "clear_debug_shape"),
)
ABOUT_A_VEHICLE = (
    *("get_actor_bounding_box", "get_physics_control", "get_vehicle_light_state", "get_telemetry_data"),
    *("get_ackermann_controller_settings", "disable_actor_constant_velocity"),
)
WITH_A_VECTOR = (
    *("set_actor_location", "set_actor_target_velocity", "set_actor_target_angular_velocity"),
    *("enable_actor_constant_velocity", "add_actor_impulse", "add_actor_force"),
)
WITH_A_FLAG = (
    *("set_actor_simulate_physics", "set_actor_collisions", "set_actor_enable_gravity", "set_actor_autopilot"),
)
CALLS: tuple[tuple[str, list], ...] = (
    *((name, []) for name in NO_PARAMETER),
    *((name, [VEHICLE]) for name in ABOUT_A_VEHICLE),
    *((name, [VEHICLE, VECTOR]) for name in WITH_A_VECTOR),
    *((name, [VEHICLE, True]) for name in WITH_A_FLAG),
    *((f"set_traffic_light_{name}_time", [LIGHT, 3.0]) for name in ("green", "yellow", "red")),
    ("get_required_files", ["TM"]),
    ("request_file", ["minicarla/none.bin"]),
    ("set_episode_settings", [SETTINGS]),
    ("set_weather_parameters", [[10.0] * 14]),
    ("set_imui_gravity", [9.81]),
    ("get_sensor_token", [3]),
    ("is_traffic_manager_running", [8000]),
    ("add_traffic_manager_running", [["", 8000]]),
    ("destroy_traffic_manager", [8000]),
    ("get_actors_by_id", [[VEHICLE, PERSON, LIGHT]]),
    ("spawn_actor", [CAR, POSE]),
    ("spawn_actor", [WALKER, POSE]),
    ("spawn_actor_with_parent", [[1, "sensor.other.imu", []], POSE, VEHICLE, 0, ""]),
    ("spawn_actor_with_parent", [[1, "sensor.other.gnss", []], POSE, VEHICLE, 0, ""]),
    ("destroy_actor", [NOBODY]),
    ("set_actor_transform", [VEHICLE, POSE]),
    ("apply_control_to_vehicle", [VEHICLE, CONTROL]),
    ("apply_ackermann_control_to_vehicle", [VEHICLE, [0.1, 0.0, 5.0, 1.0, 0.0]]),
    ("apply_ackermann_controller_settings", [VEHICLE, [0.15, 0.0, 0.25, 0.01, 0.0, 0.01]]),
    ("apply_control_to_walker", [PERSON, [VECTOR, 1.4, False]]),
    ("set_vehicle_light_state", [VEHICLE, [3]]),
    ("get_wheel_steer_angle", [VEHICLE, 0]),
    ("open_vehicle_door", [VEHICLE, 0]),
    ("set_traffic_light_state", [LIGHT, 2]),
    ("freeze_traffic_light", [LIGHT, True]),
    ("freeze_all_traffic_lights", [False]),
    ("get_group_traffic_lights", [LIGHT]),
    ("get_light_boxes", [LIGHT]),
    ("get_traffic_sign_trigger_volume", [LIGHT]),
    ("query_lights_state", [""]),
    ("get_environment_objects", [11]),
    ("project_point", [[60.0, -20.0, 5.0], [0.0, 0.0, -1.0], 20.0]),
    ("cast_ray", [[60.0, -20.0, 5.0], [62.0, -20.0, -5.0]]),
    ("draw_debug_shape", [[[1, [VECTOR, VECTOR, 0.1]], [255, 0, 0], 1.0, False]]),
    ("show_recorder_file_info", ["none.log", True]),
    ("replay_file", ["none.log", 0.0, 0.0, 0, False]),
    ("set_replayer_time_factor", [1.0]),
    ("stop_recorder", []),
    ("apply_batch", [[[[2, [VEHICLE, CONTROL]]], [[6, [VEHICLE, POSE]]], [[7, [PERSON, POSE, 1.0]]]], False]),
    ("apply_batch", [[[[0, [CAR, POSE, [False], 0, "", [[[18, [0, 1]]]]]]]], False]),
)


def about(ids: dict[str, int], value: object) -> object:
    """The value with every placeholder replaced."""
    if isinstance(value, list):
        return [about(ids, item) for item in value]
    return ids.get(value, value) if isinstance(value, str) else value


def mutated(rng: random.Random, name: str, params: list) -> bytes:
    """One message: some values replaced, dropped or doubled, and now and then some bytes flipped."""
    message = [0, rng.randrange(2**32), name, [[rng.random() < 0.2], *copy.deepcopy(params)]]
    for _ in range(rng.randrange(4)):
        _hurt(rng, message)
    data = bytearray(msgpack.packb(message, use_bin_type=True))
    if rng.random() < 0.15:
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data[: rng.randrange(1, len(data) + 1)] if rng.random() < 0.02 else data)


def _hurt(rng: random.Random, message: list) -> None:
    """Replace, drop or double something at a random depth below the parameters."""
    place = message[3]
    while place and rng.random() < 0.75:
        inner = [item for item in place if isinstance(item, list) and item]
        if not inner:
            break
        place = rng.choice(inner)
    at = rng.randrange(len(place)) if place else 0
    kind = rng.randrange(6)
    if not place or kind == 0:
        place.insert(at, copy.deepcopy(rng.choice(JUNK)))
    elif kind == 1:
        del place[at]
    else:
        place[at] = copy.deepcopy(rng.choice(JUNK))


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return Simulation("Havenbrook", 2001, lambda town: object(), wall_clock=lambda: 1e9)


def say(session: Session, name: str, *params: object) -> object:
    data = msgpack.packb([0, 1, name, [[False], *params]])
    (call,) = CallReader().feed(data)
    ((form, *value),) = msgpack.unpackb(methods.answer(session, call), strict_map_key=False)[3]
    assert form is False or form == 1, value  # False: no error, of a call that returns nothing
    return value[0] if value else None


def stand_in(session: Session) -> list[tuple[str, list]]:
    """A world of its own for the messages to be about."""
    for actor in list(session.world.actors.values()):
        if actor.id != session.world.spectator_id and actor.kind not in ("light", "sign"):
            session.simulation.destroy(actor.id)
    say(session, "set_episode_settings", SETTINGS)
    vehicle = say(session, "spawn_actor", CAR, say(session, "get_map_info")[1][0])[0]
    walker = say(session, "spawn_actor", WALKER, [[-500.0, -500.0, 2.0], POSE[1]])[0]
    ids = {VEHICLE: vehicle, PERSON: walker, LIGHT: session.world.lights()[0].id, NOBODY: vehicle + 1000}
    return [(name, about(ids, params)) for name, params in CALLS]


def tick_and_pack(session: Session) -> None:
    """A tick whose snapshot must fit into its bytes."""
    session.simulation.listeners[stream.WORLD_STREAM_ID] = 1
    session.simulation.tick()
    session.simulation.outbox.clear()


@pytest.mark.parametrize("seed", range(5))
def test_mutated_messages_get_an_answer_and_leave_nothing_behind(
    simulation: Simulation, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Five seeds of 20,000. An answer that admits a failure inside would be a bug of ours."""
    caplog.set_level(logging.ERROR)
    rng, session = random.Random(seed), Session(simulation)
    answered = refused = 0
    calls = stand_in(session)
    gc.collect()
    blocks, peak_kb = sys.getallocatedblocks(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(MESSAGES_A_SEED):
        if number % CLEAN_EVERY == 0:
            calls = stand_in(session)
        if number % TICK_EVERY == 0:
            tick_and_pack(session)
        try:
            for call in CallReader().feed(mutated(rng, *rng.choice(calls))):
                reply = methods.answer(session, call)
                answered += 1
                assert (reply is None) == (call.message_id is None)
        except PackingError:
            refused += 1
    stand_in(session)
    gc.collect()
    more_blocks = sys.getallocatedblocks() - blocks
    more_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak_kb
    simulation.forget(session)
    assert not caplog.records, caplog.text[-3000:]
    assert answered > 0.8 * MESSAGES_A_SEED and refused > 100
    assert more_blocks < MOST_MORE_BLOCKS and more_kb < MOST_MORE_KB


def test_the_server_is_right_after_all_that(simulation: Simulation) -> None:
    session = Session(simulation)
    say(session, "set_episode_settings", SETTINGS)
    say(session, "set_imui_gravity", 9.81)
    stand_in(session)
    car = next(a for a in session.world.actors.values() if a.type_id == CAR[1])
    for _ in range(40):
        simulation.tick()
    assert abs(car.location[2] - session.world.town.height(*car.location[:2])) < 0.05
    say(session, "apply_control_to_vehicle", car.id, [1.0, 0.0, 0.0, False, False, False, 1])
    for _ in range(40):
        simulation.tick()
    assert 5.0 < car.forward_speed < 15.0


# ------------------------------------------------------------------------------------------------ through sockets


class Served(NamedTuple):
    """A server and the ports of its calls and of its streams."""

    server: Server
    calls: int
    streams: int


@pytest.fixture
def served(simulation: Simulation) -> Iterator[Served]:
    """The simulation behind real sockets."""
    listeners = listen("127.0.0.1", 0), listen("127.0.0.1", 0)
    calls, streams = (listener.getsockname()[1] for listener in listeners)
    simulation.stream_port = streams
    server = Server(simulation, *listeners)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield Served(server, calls, streams)
    server.stop()
    thread.join(timeout=60)
    assert not thread.is_alive()


def ask(port: int, name: str, *params: object) -> object:
    """What a call returns over a connection of its own."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(msgpack.packb([0, 7, name, [[False], *params]]))
        unpacker = msgpack.Unpacker()
        while True:
            unpacker.feed(connection.recv(1 << 16))
            for reply in unpacker:
                return reply[3][0][1]


@pytest.mark.timeout(600)
def test_three_thousand_mutated_messages_through_sockets_leave_the_server_whole(
    simulation: Simulation, served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    """150 connections of 20 messages each; half of them vanish without reading a byte."""
    caplog.set_level(logging.ERROR)
    rng, calls = random.Random(11), stand_in(Session(simulation))
    for number in range(150):
        with socket.create_connection(("127.0.0.1", served.calls), timeout=60) as connection:
            try:
                connection.sendall(b"".join(mutated(rng, *rng.choice(calls)) for _ in range(20)))
                if number % 2:
                    connection.settimeout(0.02)
                    connection.recv(1 << 16)
            except (TimeoutError, ConnectionError):
                continue  # the server owes nothing to nonsense
    assert ask(served.calls, "version") == "0.9.16"
    assert not caplog.records, caplog.text[-3000:]


def test_connections_that_say_nothing_half_a_word_or_nonsense_do_not_hold_the_others_up(
    simulation: Simulation, served: Served
) -> None:
    stand_in(Session(simulation))
    silent = [socket.create_connection(("127.0.0.1", port), timeout=60) for port in served[1:] for _ in range(100)]
    for connection in silent[50:150]:
        connection.sendall(b"\x94\x00")  # an array of four, begun
    frame = ask(served.calls, "tick_cue")
    assert ask(served.calls, "tick_cue") == frame + 1
    for connection in silent:
        connection.close()
    assert ask(served.calls, "tick_cue") == frame + 2


def test_a_thousand_connects_and_disconnects_leave_no_peer_behind(simulation: Simulation, served: Served) -> None:
    for _ in range(500):
        for port in (served.calls, served.streams):
            socket.create_connection(("127.0.0.1", port), timeout=60).close()
    for _ in range(100):  # more than wait to be accepted; each question is a round of the server's loop at least
        assert ask(served.calls, "version") == "0.9.16"
    assert len(served.server._rpc_peers) <= 1, "who asked last may not have been missed yet"
    assert not any(served.server._stream_peers.values())
    assert len(served.server._selector.get_map()) <= 4, "two listeners, the waker, who asked last"


def test_a_server_may_be_stopped_again_after_it_has_ended(simulation: Simulation) -> None:
    server = Server(simulation, listen("127.0.0.1", 0), listen("127.0.0.1", 0))
    server.stop()
    server.run()  # sees the flag and closes its sockets
    server.stop()
