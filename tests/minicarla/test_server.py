"""The server behind real sockets: two ticks at once, too many strangers, silence, and what the log says of it all."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgpack
import pytest

from autovla_core.minicarla.connections import Ledger, Limits, Peer, RpcPeer, allow_many_files, most_burdensome
from autovla_core.minicarla.pacing import SUBSCRIBE_WITHIN_S
from autovla_core.minicarla.server import Server, listen
from autovla_core.minicarla.simulation import Session, Simulation

SYNCHRONOUS = [True, False, [True, 0.05], True, 0.01, 10, 0.0, True, 3000.0, 2000.0, True]
PATIENCE_S = 60.0


class Served(NamedTuple):
    """A server and the ports of its calls and of its streams."""

    server: Server
    calls: int
    streams: int


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return Simulation("Pennyfield", 2001, lambda town: object(), wall_clock=lambda: 1e9)


@pytest.fixture
def serve(simulation: Simulation) -> Iterator[Callable[..., Served]]:
    """Put the simulation behind sockets, with the limits of the test."""
    running = []

    def start(**options: object) -> Served:
        listeners = listen("127.0.0.1", 0), listen("127.0.0.1", 0)
        calls, streams = (listener.getsockname()[1] for listener in listeners)
        simulation.stream_port = streams
        server = Server(simulation, *listeners, **options)
        thread = threading.Thread(target=server.run)
        thread.start()
        running.append((server, thread))
        return Served(server, calls, streams)

    yield start
    for server, thread in running:
        server.stop()
        thread.join(timeout=PATIENCE_S)
        assert not thread.is_alive()


class Client:
    """One connection that calls by name."""

    def __init__(self, port: int) -> None:
        self.connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self._unpacker = msgpack.Unpacker(max_buffer_size=1 << 30)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def send(self, number: int, name: str, *params: object) -> None:
        self.connection.sendall(msgpack.packb([0, number, name, [[False], *params]]))

    def replies(self, count: int) -> list:
        """The next so many answers, whole."""
        found: list = []
        while len(found) < count:
            data = self.connection.recv(1 << 16)
            assert data, f"disconnected after {len(found)} of {count} answers"
            self._unpacker.feed(data)
            found += list(self._unpacker)
        return found

    def ask(self, name: str, *params: object) -> object:
        """What a call returns."""
        self.send(7, name, *params)
        ((form, *value),) = self.replies(1)[0][3]
        assert form in (False, 1), value
        return value[0] if value else None


class Heard(logging.Handler):
    """The lines of the log that hold some words; a test may wait for one."""

    def __init__(self, words: str) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self._words = words
        self._changed = threading.Condition()

    def emit(self, record: logging.LogRecord) -> None:
        if self._words in record.getMessage():
            with self._changed:
                self.lines.append(f"{record.levelname} {record.getMessage()}")
                self._changed.notify_all()

    def wait_for(self, words: str) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: any(words in line for line in self.lines), PATIENCE_S)


@contextlib.contextmanager
def hearing(words: str, level: int = logging.WARNING) -> Iterator[Heard]:
    logger, heard = logging.getLogger("autovla_core.minicarla"), Heard(words)
    before = logger.level
    logger.addHandler(heard)
    logger.setLevel(level)
    yield heard
    logger.removeHandler(heard)
    logger.setLevel(before)


def test_two_ticks_of_one_client_are_both_answered_while_a_traffic_manager_lives(serve) -> None:
    with Client(serve().calls) as client:
        client.ask("set_episode_settings", SYNCHRONOUS)
        client.ask("add_traffic_manager_running", ["", 8000])
        before = client.ask("tick_cue")
        for number in (11, 12, 13):
            client.send(number, "tick_cue")
        answered = [(reply[1], reply[3][0][1]) for reply in client.replies(3)]
    assert answered == [(11, before + 1), (12, before + 2), (13, before + 3)]


def test_a_traffic_manager_that_lost_its_wake_up_is_named_once_with_the_remedy(serve) -> None:
    with hearing("lost its wake-up") as heard, Client(serve(silence_s=0.05).calls) as client:
        client.ask("set_episode_settings", SYNCHRONOUS)
        client.ask("add_traffic_manager_running", ["", 8123])
        client.ask("tick_cue")
        assert heard.wait_for("")
        client.ask("get_episode_settings")
    (line,) = heard.lines
    assert line.startswith("WARNING client ") and "127.0.0.1:" in line
    assert "port 8123" in line and "0.05 s" in line and "starting it again" in line and "minicarla_traffic" in line


def test_tokens_of_streams_that_do_not_exist_hold_nobodys_tick(serve) -> None:
    with Client(serve().calls) as client, Client(client_port(client)) as stranger:
        client.ask("set_episode_settings", SYNCHRONOUS)
        stranger.ask("get_sensor_token", 987_654)
        began = time.monotonic()
        client.ask("tick_cue")
        assert time.monotonic() - began < SUBSCRIBE_WITHIN_S / 2
        stranger.ask("get_sensor_token", 1)  # the world's: it exists, and who asked is waited for
        client.ask("tick_cue")
        assert time.monotonic() - began > SUBSCRIBE_WITHIN_S


def client_port(client: Client) -> int:
    return client.connection.getpeername()[1]


def test_without_descriptors_the_server_rests_says_so_once_and_goes_on(serve) -> None:
    served = serve()
    with hearing("connections are open") as heard, Client(served.calls) as old, socket.socket() as late:
        old.ask("version")
        late.settimeout(PATIENCE_S)
        with no_descriptors_left():
            late.connect(("127.0.0.1", served.calls))
            assert heard.wait_for("")
            used = time.process_time()
            assert [old.ask("version") for _ in range(20)] == ["0.9.16"] * 20
            assert time.process_time() - used < 1.0
        late.sendall(msgpack.packb([0, 1, "version", [[False]]]))
        assert msgpack.unpackb(late.recv(1 << 16))[3] == [[1, "0.9.16"]]
    assert len(heard.lines) == 1
    assert "no room for more" in heard.lines[0]


@contextlib.contextmanager
def no_descriptors_left() -> Iterator[None]:
    """Let this process open no more files."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, limits[1]))
    filled = []
    try:
        with contextlib.suppress(OSError):
            while True:
                filled.append(os.dup(0))
        yield
    finally:
        for descriptor in filled:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_the_soft_limit_of_open_files_is_raised_and_some_stay_spare() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, limits[1]))
        room = allow_many_files()
        raised = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert 300 < raised <= limits[1]
    assert room <= raised - 64


def test_more_connections_than_may_be_are_closed_and_said_once(serve) -> None:
    served = serve(limits=Limits(peers=2))
    with hearing("the most there may be") as heard, Client(served.calls) as one:
        one.ask("version")
        with Client(served.streams):
            one.ask("version")
            for _ in range(5):
                with Client(served.calls) as surplus:
                    assert surplus.connection.recv(10) == b""
        for _ in range(10):  # until it has been noticed that the subscriber left
            one.ask("version")
        with Client(served.calls) as next_one:
            assert next_one.ask("version") == "0.9.16"
    assert len(heard.lines) == 1


def test_the_log_says_at_debug_which_client_does_what(serve) -> None:
    with hearing("", logging.DEBUG) as heard:
        served = serve()
        with Client(served.calls) as client:
            address = f"127.0.0.1:{client.connection.getsockname()[1]}"
            client.ask("get_actors_by_id", [1, 2])
            client.send(1, "destroy_actor", 10**6)
            client.replies(1)
            with Client(served.streams) as subscriber:
                subscriber.connection.sendall(b"\x01\x00\x00\x00")
                client.ask("get_map_data")
                client.ask("get_map_data")
        assert heard.wait_for(f"({address}) leaves")
    told = "\n".join(heard.lines)
    for sentence in (
        f"DEBUG client 1 ({address}) connects",
        f"DEBUG client 1 ({address}) calls get_actors_by_id([1, 2],)",
        f"DEBUG client 1 ({address}) is refused destroy_actor: unable to destroy actor",
        "subscribes to stream 1, the world",
        f"DEBUG client 1 ({address}) leaves",
    ):
        assert sentence in told, told


def test_who_does_not_read_is_disconnected_when_all_backlogs_together_are_too_large(serve) -> None:
    served = serve(limits=Limits(all_bytes=1 << 20))
    with hearing("are not read by it") as heard, Client(served.calls) as sleeper, Client(served.calls) as honest:
        for number in range(200):  # 40 kB each, far more than the sockets hold
            sleeper.send(number, "get_actor_definitions")
        assert heard.wait_for("")
        assert honest.ask("version") == "0.9.16"
        assert served.server._ledger.bytes < 1000, "an answer may not have been counted off yet"


def test_a_burst_of_calls_beyond_the_limit_is_answered_whole_and_in_order(serve) -> None:
    with Client(serve(limits=Limits(calls=5, unanswered_bytes=100)).calls) as client:
        packed = [msgpack.packb([0, number, "version", [[False]]]) for number in range(500)]
        client.connection.sendall(b"".join(packed))
        assert [reply[1] for reply in client.replies(500)] == list(range(500))


def test_messages_that_are_begun_and_never_ended_are_bounded_over_all_connections(serve) -> None:
    served = serve(limits=Limits(all_bytes=1 << 20))
    begun = b"\x94\x00\x01\xa7version\x91\xc6" + (1 << 24).to_bytes(4, "big")  # a binary of 16 MB
    with hearing("are not complete") as heard, Client(served.calls) as honest:
        strangers = [Client(served.calls) for _ in range(4)]
        for stranger in strangers:
            with contextlib.suppress(ConnectionError):  # it may have been thrown out by then
                stranger.connection.sendall(begun + bytes(400_000))
        assert heard.wait_for("")
        assert [honest.ask("version") for _ in range(10)] == ["0.9.16"] * 10
        for stranger in strangers:
            stranger.connection.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        with socket.create_connection(listener.getsockname()) as near, listener.accept()[0] as far:
            yield near, far


def test_a_client_with_too_many_calls_waiting_is_not_read_until_they_are_answered(pair, simulation) -> None:
    peer = RpcPeer(pair[0], Session(simulation), Ledger(), 10.0)
    call = msgpack.packb([0, 1, "version", [[False]]])
    peer.hear(call * 9)
    assert peer.wants_reading(Limits(calls=10))
    assert not peer.wants_reading(Limits(calls=10, unanswered_bytes=9 * len(call)))
    peer.kept.append(peer.waiting.pop())
    peer.hear(call)
    assert not peer.wants_reading(Limits(calls=10)), "what is kept for later counts too"
    peer.waiting.clear()
    peer.kept.clear()
    assert peer.wants_reading(Limits(calls=10, unanswered_bytes=1)), "half a message must be read to its end"


def test_what_a_client_said_counts_until_it_is_answered_and_half_a_message_until_it_ends(pair, simulation) -> None:
    ledger = Ledger()
    peer = RpcPeer(pair[0], Session(simulation), ledger, 10.0)
    call = msgpack.packb([0, 1, "version", [[False]]])
    peer.hear(call)
    peer.settle()
    assert ledger.bytes == len(call), "it waits for its answer"
    peer.waiting.clear()
    peer.settle()
    assert ledger.bytes == 0
    peer.hear(call[:5])
    peer.hear(call[5:8])
    peer.settle()
    assert ledger.bytes == 8
    peer.close()
    assert ledger.bytes == 0


def test_backlogs_are_counted_together_and_freed_with_the_connection(pair) -> None:
    ledger = Ledger()
    slow, idle = Peer(pair[0], "slow", ledger), Peer(pair[1], "idle", ledger)
    slow.send([bytes(30_000_000)])
    assert ledger.bytes == slow.backlog_bytes > 10_000_000
    assert most_burdensome([idle, slow]) is slow
    slow.close()
    assert ledger.bytes == 0
