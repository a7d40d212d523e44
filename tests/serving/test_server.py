from __future__ import annotations

import dataclasses
import socket
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from autovla_core.contracts import Clip, Mode, Observation, Plan
from autovla_core.errors import AutoVLAError, ConfigError, ObservationError, SetupError
from autovla_core.serving import client as wire
from autovla_core.serving.client import Client, Framer, Message, RemoteError, TimedOut, Unreachable, dial, receive, send
from autovla_core.serving.remote import RemotePlanner, ServingError, read_token
from autovla_core.serving.server import PlannerServer, ServerConfig, is_loopback

TOKEN = "correct horse battery"


def assert_same(found: Plan, expected: Plan) -> None:
    for field in dataclasses.fields(Plan):
        if field.name != "timings_ms":
            assert np.array_equal(getattr(found, field.name), getattr(expected, field.name)), field.name


def test_a_remote_plan_is_the_plan_made_in_process(planner, serve, observe) -> None:
    remote = RemotePlanner(serve(planner).address)
    for seed, changes in enumerate(
        [{}, {"instruction": "biege links ab, \U0001f6a6 " * 500}, {"route": np.zeros((0, 2))}, {"clips": {}}]
    ):
        observation = observe(seed, ("front", "front_left", "front_right"), **changes)
        plan = remote.plan(observation)
        assert_same(plan, planner.plan(observation))
        assert plan.mode is Mode.SLOW and plan.timings_ms["model"] == 1.5
        assert plan.timings_ms["server"] >= plan.timings_ms["wait"] >= 0.0
    remote.close()


def test_images_that_are_not_contiguous_arrive_right(planner, serve, observe) -> None:
    clip = observe(3).clips["front"]
    observation = observe(clips={"front": Clip(clip.images[:, :, ::-1, ::-1], clip.times_s)})
    assert_same(RemotePlanner(serve(planner).address).plan(observation), planner.plan(observation))


def test_the_planners_errors_arrive_under_their_own_names(planner, serve, connect, observe) -> None:
    address = serve(planner).address
    remote = RemotePlanner(address)
    with pytest.raises(ObservationError, match=r"^speed is -1.0$"):
        remote.plan(observe(speed=-1.0))
    with pytest.raises(ObservationError, match="images of 'front' are float64"):
        remote.plan(observe(clips={"front": Clip(np.zeros((4, 28, 28, 3)), np.zeros(4))}))
    with pytest.raises(AutoVLAError, match="PlannerFailure: ZeroDivisionError: a mistake in the planner"):
        remote.plan(observe(speed=101.0))
    assert remote.plan(observe()).tokens is not None  # none of them broke the connection
    assert remote.client.connections == 1
    with pytest.raises(RemoteError) as caught:
        connect(address).plan(0.0, {}, -2.0, 0.0)
    assert caught.value.name == "ObservationError"


@pytest.mark.parametrize(
    "fields, arrays, text",
    [
        ({"command": 9}, {}, "command is '9', expected one of"),
        ({"command": 1.0}, {}, "command is '1.0'"),
        ({"speed": "fast"}, {}, "speed is 'fast', expected a number"),
        ({"time_s": float("nan")}, {}, "time_s is 'nan', expected a finite"),
        ({"instruction": "x" * 20_001}, {}, "at most 20000 characters"),
        ({"cameras": ["rear"]}, {}, "no array 'images.rear'"),
        ({"cameras": [str(i) for i in range(9)]}, {}, "at most 8 camera ids"),
        ({}, {"pose": np.zeros(2)}, r"'pose' is \(2,\), expected \(3,\)"),
        ({}, {"route": np.zeros((4, 3))}, r"'route' is \(4, 3\), expected \(-1, 2\)"),
    ],
)
def test_a_malformed_request_is_answered_not_dropped(planner, serve, connect, fields, arrays, text) -> None:
    client = connect(serve(planner).address)
    good = {"time_s": 0.0, "speed": 1.0, "acceleration": 0.0, "command": 4, "instruction": None, "cameras": []}
    good_arrays = {"pose": np.zeros(3), "route": np.zeros((0, 2))}
    with pytest.raises(RemoteError, match=text) as caught:
        client.call("plan", {**good, **fields}, {**good_arrays, **arrays})
    assert caught.value.name == "MessageError"
    assert client.call("plan", good, good_arrays).arrays["poses"].shape == (10, 3)
    with pytest.raises(RemoteError, match="client asks for 'fly'; known: drive, health, plan"):
        client.call("fly")
    assert client.connections == 1


def test_health_and_statistics_say_what_happened(planner, serve, connect, observe) -> None:
    server = serve(planner)
    remote, monitor = RemotePlanner(server.address), connect(server.address)
    for seed in range(3):
        remote.plan(observe(seed))
    with pytest.raises(ObservationError):
        remote.plan(observe(speed=-1.0))
    health, statistics = monitor.health(), monitor.statistics()
    assert health["ok"] is True and health["connections"] == 2 and health["name"] == "sum"
    assert statistics["counts"]["plans"] == 3
    assert statistics["counts"]["failed: ObservationError"] == 1
    assert statistics["counts"]["batches of 1"] == 4
    assert statistics["recent_ms"]["forward"]["n"] == 4
    assert statistics["recent_ms"]["wait"]["p50"] <= statistics["recent_ms"]["wait"]["p99"]


def test_health_is_answered_while_the_planner_is_busy(planner, serve, connect, observe) -> None:
    server, planner.gate = serve(planner), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        plan = pool.submit(RemotePlanner(server.address).plan, observe())
        assert connect(server.address).health()["ok"] is True
        assert not plan.done()
        planner.gate.set()
        assert_same(plan.result(timeout=20.0), planner.plan(observe()))


def test_simulators_that_ask_together_share_a_forward_and_each_gets_its_own_plan(planner, serve, observe) -> None:
    server = serve(planner, window_s=0.5)
    remotes = [RemotePlanner(server.address) for _ in range(6)]
    planner.gate = threading.Event()
    with ThreadPoolExecutor(6) as pool:
        for round in range(3):
            observations = [observe(10 * round + i) for i in range(6)]
            asked = [pool.submit(r.plan, o) for r, o in zip(remotes, observations)]
            planner.gate.set()
            for plan, observation in zip(asked, observations):
                assert_same(plan.result(timeout=20.0), SumOf(planner).plan(observation))
    assert max(planner.batches) == 6 and sum(planner.batches) == 18
    assert planner.batches[-1] == 6  # all six are known by then, so the window waits for them and no longer


class SumOf:
    """The same planner without counting."""

    def __init__(self, planner) -> None:
        self.plan = planner._one


def test_one_bad_observation_spoils_nobody_elses_plan(planner, serve, observe) -> None:
    server = serve(planner, window_s=0.5)
    remotes = [RemotePlanner(server.address) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for speed, error in ((-1.0, ObservationError), (101.0, AutoVLAError)):
            observations = [observe(i, **({"speed": speed} if i == 2 else {})) for i in range(4)]
            asked = [pool.submit(r.plan, o) for r, o in zip(remotes, observations)]
            for i, (plan, observation) in enumerate(zip(asked, observations)):
                if i == 2:
                    assert isinstance(plan.exception(timeout=20.0), error)
                else:
                    assert_same(plan.result(timeout=20.0), SumOf(planner).plan(observation))


def test_a_planner_with_a_memory_never_mixes_two_simulators(planner, serve, observe) -> None:
    server = serve(planner)
    a, b = RemotePlanner(server.address), RemotePlanner(server.address)
    for remote, resets in ((a, 1), (a, 1), (b, 2), (b, 2), (a, 3)):
        remote.plan(observe())
        assert planner.resets == resets
    a.reset()
    a.plan(observe())
    assert planner.resets == 4


def test_only_loopback_may_do_without_a_token(planner, serve) -> None:
    for host in ("0.0.0.0", "", "::", "192.168.1.5", "gpu.lan"):
        with pytest.raises(ConfigError, match="expected at least 16"):
            PlannerServer(planner, config_of(host))
    with pytest.raises(ConfigError, match="has 5 characters"):
        PlannerServer(planner, config_of("0.0.0.0", "guess"))
    assert all(is_loopback(host) for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost"))
    serve(planner, host="0.0.0.0", token=TOKEN)


def config_of(host: str, token: str = "") -> ServerConfig:
    return ServerConfig(host=host, port=0, token=token)


def test_the_token_opens_the_server_and_never_travels(planner, serve, connect, observe) -> None:
    server = serve(planner, token=TOKEN)
    assert connect(server.address, token=TOKEN).health()["ok"] is True
    assert RemotePlanner(server.address, TOKEN).plan(observe()).mode is Mode.SLOW
    for wrong in ("", "correct horse", TOKEN + "!"):
        with pytest.raises(RemoteError, match="the token is not this server's"):
            connect(server.address, token=wrong).health()
    with_patience(lambda: check_count(server, "refused", 3), AssertionError)
    proofs = {wire.proof(TOKEN, nonce) for nonce in ("00", "01")}
    assert len(proofs) == 2 and not any(TOKEN in proof for proof in proofs)


def test_a_stranger_gets_nothing_and_may_send_little(planner, serve) -> None:
    server = serve(planner, token=TOKEN)
    for first in (Message("plan", 1), Message("health", 1), Message("open", 0, {"x": "y" * 5000})):
        connection, framer = stranger(server.address)
        assert receive(connection, framer).kind == "hello"
        send(connection, first)
        with pytest.raises(ConnectionError):
            receive(connection, framer)
        connection.close()
    assert planner.batches == []


def stranger(address: str) -> tuple[socket.socket, Framer]:
    return socket.create_connection(wire.split_address(address), timeout=20.0), Framer()


def test_one_client_too_many_is_told_so(planner, serve, connect) -> None:
    server = serve(planner, max_connections=2)
    first, second = connect(server.address), connect(server.address)
    assert first.health()["connections"] == 1 and second.health()["connections"] == 2
    with pytest.raises(RemoteError, match="2 clients are connected already"):
        connect(server.address).health()
    first.close()
    with_patience(lambda: connect(server.address).health(), RemoteError)


def with_patience(call: Callable[[], object], error: type[Exception]) -> object:
    """The server notices a closed connection a moment later."""
    until = time.monotonic() + 20.0
    while True:
        try:
            return call()
        except error:
            if time.monotonic() > until:
                raise


def test_a_client_finds_the_server_again_after_a_restart(planner, serve, observe) -> None:
    server = serve(planner)
    port = wire.split_address(server.address)[1]
    remote = RemotePlanner(server.address, reconnect_s=20.0)
    remote.plan(observe())
    server.close()
    serve(planner, port=port)
    assert_same(remote.plan(observe(1)), planner.plan(observe(1)))
    assert remote.client.connections == 2


def test_an_absent_server_is_one_clear_sentence_and_waited_for_as_long_as_asked() -> None:
    now, pauses = [0.0], []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        now[0] += seconds

    client = Client(f"127.0.0.1:{free_port()}", reconnect_s=5.0, clock=lambda: now[0], sleep=sleep)
    with pytest.raises(Unreachable, match="no planner server at 127.0.0.1:.*start one with tools/serve_policy.py"):
        client.health()
    assert pauses[:4] == [0.05, 0.1, 0.2, 0.4] and max(pauses) == 1.0
    assert 4.0 <= sum(pauses) / 2 <= 5.0  # twice: a lost connection is tried once more
    with pytest.raises(ServingError, match="no planner server"):
        RemotePlanner(f"127.0.0.1:{free_port()}", reconnect_s=0.0).plan(Observation(0.0, {}, 0, 0, np.zeros(3), 4, []))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_taken_port_is_named(planner, serve) -> None:
    port = wire.split_address(serve(planner).address)[1]
    with pytest.raises(SetupError, match=f"127.0.0.1:{port}.*choose another --port"):
        serve(planner, port=port)


def test_a_late_answer_is_a_time_out_and_never_meets_the_next_question(planner, serve, connect, observe) -> None:
    server, planner.gate = serve(planner), threading.Event()
    client = connect(server.address, timeout_s=0.2)
    with pytest.raises(TimedOut, match="did not answer in 0.2 s"):
        client.plan(0.0, {}, 1.0, 0.0)
    planner.gate.set()
    assert client.plan(7.0, {}, 2.0, 0.0).observed_at_s == 7.0
    assert client.connections == 2


def test_a_message_that_drips_in_and_a_silent_client_are_dropped(planner, serve) -> None:
    server = serve(planner, message_s=0.3, idle_s=0.3, open_s=0.3)
    for first_bytes in (b"", b"AVP1", wire.PREFIX.pack(b"AVP1", 50, 0) + b"{"):
        connection, framer = stranger(server.address)
        assert receive(connection, framer).kind == "hello"
        connection.sendall(first_bytes)
        with pytest.raises(ConnectionError):
            receive(connection, framer)
        connection.close()
    with_patience(lambda: check_count(server, "dropped: too slow", 3), AssertionError)


def test_whatever_a_client_sends_only_its_own_connection_suffers(planner, serve, observe) -> None:
    server = serve(planner)
    good = RemotePlanner(server.address)
    rng = np.random.default_rng(11)
    plan_message = b"".join(
        wire.pack(
            Message("plan", 1, {"time_s": 0.0, "speed": 1.0, "cameras": ["front"]}, {"images.front": np.ones(999)})
        )
    )
    for attempt in range(150):
        connection, framer = stranger(server.address)
        try:
            assert receive(connection, framer).kind == "hello"
            if attempt % 3:  # two of three get past the greeting
                send(connection, Message("open", 0, {"proof": ""}))
                assert receive(connection, framer).kind == "result"
            connection.sendall(garbage(attempt, plan_message, rng))
            if attempt % 2:
                connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the server may hang up before we are done
        finally:
            connection.close()  # dies in the middle
        if attempt % 10 == 0:
            assert_same(good.plan(observe(attempt % 7)), SumOf(planner).plan(observe(attempt % 7)))
    assert good.client.connections == 1
    assert server.statistics.snapshot()["counts"]["dropped: not our protocol"] > 20
    with_patience(lambda: check_alone(server), AssertionError)


def check_count(server: PlannerServer, name: str, expected: int) -> None:
    assert server.statistics.snapshot()["counts"].get(name, 0) == expected


def check_alone(server: PlannerServer) -> None:
    assert server.health()["connections"] == 1


def garbage(kind: int, message: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(message)
    for place in rng.integers(0, len(changed), 4):
        changed[place] = rng.integers(0, 256)
    return [
        rng.bytes(int(rng.integers(1, 5000))),
        message[: int(rng.integers(1, len(message)))],
        bytes(changed),
        wire.PREFIX.pack(b"AVP1", 2**31, 2**62) + b"x" * 100,
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        message + message[: len(message) // 2],
        wire.PREFIX.pack(b"AVP1", 60, 64 * 1024 * 1024) + b"{" * 60,
    ][kind % 7]


def test_a_token_file_holds_its_token_in_the_first_line(tmp_path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN} \n# made on Tuesday\n")
    assert read_token(file) == TOKEN and read_token(None) == ""
    file.write_text("\n")
    with pytest.raises(ConfigError, match="empty first line"):
        read_token(file)
    with pytest.raises(ConfigError, match="no token file"):
        read_token(tmp_path / "absent")


def test_clips_that_the_model_does_not_look_at_stay_at_home(planner, observe) -> None:
    about = {"cameras": [["front", 28, 56], ["rear", 28, 56]]}
    seen = observe(cameras=("front", "front_left", "front_right"))
    with PlannerServer(planner, ServerConfig(port=0), about) as server:
        remote = RemotePlanner(server.address)
        assert remote.plan(seen).tokens[0] == 3  # before the greeting nobody knows
        assert_same(remote.plan(seen), planner.plan(observe()))  # the front alone
        unknown = observe(cameras=("roof",))
        assert_same(remote.plan(unknown), planner.plan(unknown))
        remote.close()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="abstract sockets are Linux's")
def test_a_client_on_this_machine_needs_no_tcp_and_one_elsewhere_does(planner, serve) -> None:
    host, port = serve(planner).address.split(":")
    with dial((host, int(port)), 5.0) as near, socket.create_connection((host, int(port)), 5.0) as far:
        assert near.family == socket.AF_UNIX and far.family == socket.AF_INET
        for connection in (near, far):
            assert receive(connection, Framer()).kind == "hello"


def test_a_port_without_a_local_name_is_reached_by_tcp() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, dial(listener.getsockname(), 5.0) as connection:
        assert connection.family == socket.AF_INET
