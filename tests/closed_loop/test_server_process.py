"""minicarla as a process: how it starts, what it refuses, how it ends."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time

import carla
import msgpack
import pytest


def refused(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "autovla_core.minicarla", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=10.0)
    return connection


def ask(connection: socket.socket, name: str, *params: object) -> list:
    connection.sendall(msgpack.packb([0, 1, name, [[False], *params]]))
    unpacker = msgpack.Unpacker()
    while True:
        unpacker.feed(connection.recv(1 << 16))
        for reply in unpacker:
            return reply


def test_sigterm_ends_it_quickly_with_code_0(start_minicarla) -> None:
    server = start_minicarla()
    assert server.client().get_world().id > 0
    began = time.monotonic()
    assert server.stop(signal.SIGTERM) == (0, "")
    assert time.monotonic() - began < 3.0


def test_carlas_own_command_line_is_understood_and_sigint_ends_it(start_minicarla) -> None:
    server = start_minicarla("-carla-rpc-port=0", "-RenderOffScreen", "-nosound", "-quality-level=Epic", "-frobnicate")
    assert server.client().get_server_version() == "0.9.16"
    code, log = server.stop(signal.SIGINT)
    assert code == 0
    assert "'-frobnicate' is ignored" in log
    assert "RenderOffScreen" not in log


def test_a_taken_port_is_one_clear_sentence_and_code_1(server) -> None:
    done = refused("--port", str(server.port))
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert f"port {server.port} of 127.0.0.1 is taken" in done.stderr


def test_an_unknown_town_is_refused_with_the_known_ones() -> None:
    done = refused("--town", "Atlantis")
    assert done.returncode == 2
    assert "Havenbrook" in done.stderr


def test_other_machines_are_let_in_only_with_a_warning(start_minicarla) -> None:
    """127.0.0.2 stands for an address of another network."""
    command = [sys.executable, "-m", "autovla_core.minicarla", "--port", "0", "--host", "127.0.0.2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert "listening on 127.0.0.2:" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert "no password" in process.communicate(timeout=10)[1]


@pytest.mark.parametrize(
    "garbage",
    [b"GET / HTTP/1.1\r\n\r\n", b"\xc1\xc1\xc1\xc1", b"\xdd\xff\xff\xff\xff", msgpack.packb([9, 9, 9, 9])],
    ids=["http", "reserved bytes", "huge array", "no call"],
)
def test_a_client_that_sends_garbage_is_disconnected_and_the_others_go_on(server, world: carla.World, garbage) -> None:
    with connect(server.port) as stranger:
        stranger.sendall(garbage)
        assert stranger.recv(100) == b""
    assert world.tick() > 0
    assert "nonsense" in server.log()


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("spawn_actor", ("not a description", None)),
        ("spawn_actor", ()),
        ("get_actor_bounding_box", ("x",)),
        ("get_physics_control", (1,)),
        ("set_episode_settings", ([1, 2],)),
        ("destroy_actor", (10**9,)),
        ("get_actors_by_id", (7,)),
        ("cast_ray", ([0, 0, float("nan")], [0, 0, 0])),
    ],
)
def test_a_malformed_call_is_answered_inside_the_reply(server, world: carla.World, name: str, params: tuple) -> None:
    with connect(server.port) as stranger:
        kind, number, transport_error, result = ask(stranger, name, *params)
    assert (kind, number, transport_error) == (1, 1, None)
    assert result[0][0] == 0
    assert result[0][1][0]
    assert world.tick() > 0


def test_a_call_that_carla_does_not_have_is_a_transport_error(server, world: carla.World) -> None:
    with connect(server.port) as stranger:
        _, _, transport_error, result = ask(stranger, "make_coffee")
    assert "make_coffee" in transport_error
    assert result is None


def test_a_call_that_arrives_byte_by_byte_is_answered(server) -> None:
    with connect(server.port) as slow:
        slow.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in msgpack.packb([0, 5, "version", [[False]]]):
            slow.sendall(bytes([byte]))
        assert msgpack.unpackb(slow.recv(1000)) == [1, 5, None, [[1, "0.9.16"]]]


def test_traffic_of_the_command_line_drives(start_minicarla, synchronous) -> None:
    server = start_minicarla("--traffic", "8", "--seed", "3")
    world = server.client().get_world()
    synchronous(world)
    vehicles = list(world.get_actors().filter("vehicle.*"))
    assert len(vehicles) == 8
    start = {vehicle.id: vehicle.get_location() for vehicle in vehicles}
    for _ in range(100):
        world.tick()
    moved = sorted(vehicle.get_location().distance(start[vehicle.id]) for vehicle in vehicles)
    assert moved[4] > 5.0
    server.stop()
