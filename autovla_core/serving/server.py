"""The planner behind a socket: all of the server's sockets and the threads that serve them.

A thread for each listening socket accepts, one serves each connection, one plans (``batching.py``). Whatever a client
sends, or stops sending, ends at most its own connection.
"""

from __future__ import annotations

import hmac
import ipaddress
import itertools
import logging
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from autovla_core.contracts import Control, Observation, Plan, Planner
from autovla_core.errors import AutoVLAError, ConfigError, SetupError
from autovla_core.serving import messages
from autovla_core.serving.batching import Batcher
from autovla_core.serving.client import (
    DEFAULT_PORT,
    VERSION,
    Framer,
    Limits,
    Message,
    ProtocolError,
    local_name,
    proof,
    send,
    tune,
)
from autovla_core.serving.messages import DriveStart, DriveTick, MessageError
from autovla_core.serving.statistics import Statistics

logger = logging.getLogger(__name__)

EVERYWHERE = ("0.0.0.0", "::")
SHORTEST_TOKEN = 16
STRANGER = Limits(header=4096, body=0)  # before a client has shown its token


@dataclass(frozen=True)
class ServerConfig:
    """Where to listen and how long to bear with a client."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT  # 0: any free one
    token: str = ""
    window_s: float = 0.004  # how long a batch waits for those who plan too
    max_batch: int = 16
    max_connections: int = 64
    open_s: float = 10.0  # to show the token
    message_s: float = 20.0  # from a message's first byte to its last
    idle_s: float = 3600.0  # between two messages
    limits: Limits = field(default_factory=Limits)


class Cockpit(Protocol):
    """Drives one episode for an agent that only carries sensors and controls."""

    def start(self, start: DriveStart) -> Mapping[str, object]:
        """Begin; what the agent must know, as plain values."""
        ...

    def tick(self, tick: DriveTick) -> Control:
        """One tick."""
        ...


class _Refused(AutoVLAError):
    """A client that may not use this server."""


def check(config: ServerConfig) -> None:
    """Refuse to listen to the world without a token.

    Raises:
        ConfigError: bound elsewhere than to loopback with no token, or with one that can be guessed.
    """
    if not is_loopback(config.host) and len(config.token) < SHORTEST_TOKEN:
        raise ConfigError(
            f"host {config.host!r} can be reached from other machines, the token has {len(config.token)} characters; "
            f"expected at least {SHORTEST_TOKEN} (--token-file), or a loopback host such as 127.0.0.1"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``; a name other than localhost counts as reachable."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class PlannerServer:
    """Serves a planner until closed; a context manager.

    Args:
        planner: called from one thread only.
        about: plain values that every client is told: model, cameras.
        cockpit: makes a ``Cockpit`` around a planner, for agents that have no driver of their own.

    Attributes:
        address: ``host:port`` for clients on this machine.
    """

    def __init__(
        self,
        planner: Planner,
        config: ServerConfig | None = None,
        about: Mapping[str, object] | None = None,
        cockpit: Callable[[Planner], Cockpit] | None = None,
    ) -> None:
        self.config = config or ServerConfig()
        check(self.config)
        self.about = dict(about or {})
        self.cockpit = cockpit
        self.statistics = Statistics()
        self._ids = itertools.count(1)
        self._connections: dict[int, socket.socket] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        listener = _listen(self.config)
        host, port = listener.getsockname()[:2]
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._listeners = [listener, *_listen_locally(self.config, port)]
        self.batcher = Batcher(planner, self.config.window_s, self.config.max_batch, self.statistics)
        self._acceptors = [
            threading.Thread(target=self._accept, args=(listener,), name="accept", daemon=True)
            for listener in self._listeners
        ]
        for acceptor in self._acceptors:
            acceptor.start()

    def __enter__(self) -> PlannerServer:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening, hang up on everybody, end the planner's thread."""
        self._stopped.set()
        for listener in self._listeners:
            _hang_up(listener)
        with self._lock:
            for connection in self._connections.values():
                _hang_up(connection)
        for acceptor in self._acceptors:
            acceptor.join(timeout=10.0)
        for listener in self._listeners:
            listener.close()
        self.batcher.close()

    def health(self) -> dict[str, object]:
        """Plain values: whether it serves, since when, whom."""
        with self._lock:
            count = len(self._connections)
        about = {"version": VERSION, "batch": self.config.max_batch, **self.about}
        return {"ok": not self._stopped.is_set(), "uptime_s": self.statistics.uptime_s, "connections": count, **about}

    def _accept(self, listener: socket.socket) -> None:
        while not self._stopped.is_set():
            try:
                connection, peer = listener.accept()
            except OSError as error:
                if not self._stopped.is_set():
                    logger.warning("cannot accept: %s", error)  # too many open files, for one
                    self._stopped.wait(0.2)
                continue
            self._serve(connection, str(peer[0]) if peer else "this machine")

    def _serve(self, connection: socket.socket, peer: str) -> None:
        id = next(self._ids)
        with self._lock:
            full = len(self._connections) >= self.config.max_connections
            self._connections[id] = connection
        self.statistics.count("connections")
        handler = _Connection(self, id, connection, full)
        threading.Thread(target=self._run, args=(handler, peer), name=f"client {id}", daemon=True).start()

    def _run(self, handler: _Connection, peer: str) -> None:
        try:
            handler.serve()
        except ProtocolError as error:
            self.statistics.count("dropped: not our protocol")
            logger.warning("client %d at %s dropped: %s", handler.id, peer, error)
        except _Refused as error:
            self.statistics.count("refused")
            logger.warning("client %d at %s refused: %s", handler.id, peer, error)
        except TimeoutError:
            self.statistics.count("dropped: too slow")
            logger.info("client %d at %s was silent for too long", handler.id, peer)
        except OSError as error:
            logger.debug("client %d at %s left: %s", handler.id, peer, error)
        finally:
            with self._lock:
                self._connections.pop(handler.id, None)
            self.batcher.forget(handler.id)
            _hang_up(handler.connection)
            handler.connection.close()


class _Connection:
    """One client, from its greeting to its end; lives in a thread of its own."""

    def __init__(self, server: PlannerServer, id: int, connection: socket.socket, full: bool) -> None:
        self.id, self.connection = id, connection
        self._server, self._config, self._full = server, server.config, full
        self._framer = Framer(STRANGER)
        self._bearing_s = 0.0  # the time-out that the socket has now
        self._cockpit: Cockpit | None = None

    def serve(self) -> None:
        """Greet, then answer until the client leaves (ConnectionError) or misbehaves."""
        tune(self.connection)
        self._open()
        while True:
            message = self._receive(self._config.idle_s)
            started = time.perf_counter()
            try:
                answer = self._answer(message)
            except AutoVLAError as error:
                answer = messages.write_error(message.id, error)
            self._server.statistics.count(f"answered: {message.kind if message.kind in METHODS else 'unknown'}")
            self._server.statistics.took("answer", (time.perf_counter() - started) * 1e3)
            self._send(answer)

    def _open(self) -> None:
        nonce = secrets.token_hex(16)
        self._send(Message("hello", 0, {"version": VERSION, "nonce": nonce}))
        opened = self._receive(self._config.open_s)
        try:
            self._admit(opened, nonce)
        except _Refused as error:
            self._send(Message("error", 0, {"name": "Refused", "text": str(error)}))
            raise
        self._send(Message("result", 0, self._server.health()))
        self._framer = Framer(self._config.limits)

    def _admit(self, opened: Message, nonce: str) -> None:
        token = self._config.token
        if opened.kind != "open":
            raise ProtocolError(f"client begins with {opened.kind!r}, expected 'open'")
        if token and not hmac.compare_digest(str(opened.fields.get("proof")).encode(), proof(token, nonce).encode()):
            raise _Refused("the token is not this server's")
        if self._full:
            raise _Refused(f"{self._config.max_connections} clients are connected already")

    def _receive(self, patience_s: float) -> Message:
        """One whole message; the clock for its rest starts with its first byte, however slowly the rest drips in."""
        until = time.monotonic() + patience_s
        while True:
            self._bear(max(until - time.monotonic(), 1e-3))
            idle = self._framer.idle
            count = self.connection.recv_into(self._framer.space())
            if not count:
                raise ConnectionResetError("closed by the client")
            message = self._framer.filled(count)
            if message is not None:
                return message
            if idle:
                until = time.monotonic() + min(self._config.message_s, patience_s)

    def _bear(self, left_s: float) -> None:
        """Let the next call last ``left_s`` or a tenth more: a large message is read in many calls, and telling the
        socket before each of them costs as much as the call."""
        if not left_s <= self._bearing_s <= 1.1 * left_s:
            self.connection.settimeout(left_s)
            self._bearing_s = left_s

    def _send(self, message: Message) -> None:
        self._bear(self._config.message_s)
        send(self.connection, message)

    def _answer(self, message: Message) -> Message:
        try:
            method = METHODS[message.kind]
        except KeyError:
            raise MessageError(f"client asks for {message.kind[:40]!r}; known: {', '.join(sorted(METHODS))}") from None
        return method(self, message)

    def plan(self, message: Message) -> Message:
        """A plan for one observation."""
        started = time.perf_counter()
        plan = self.submit(messages.read_observation(message)).result()
        plan.timings_ms["server"] = (time.perf_counter() - started) * 1e3
        return messages.write_plan(message.id, plan)

    def submit(self, observation: Observation) -> Future[Plan]:
        """Into the batch."""
        return self._server.batcher.submit(self.id, observation)

    def reset(self, message: Message) -> Message:
        """An episode ended."""
        self._server.batcher.forget(self.id)
        return Message("result", message.id)

    def health(self, message: Message) -> Message:
        """Is it up."""
        return Message("result", message.id, self._server.health())

    def statistics(self, message: Message) -> Message:
        """What has it done."""
        return Message("result", message.id, self._server.statistics.snapshot())

    def start_drive(self, message: Message) -> Message:
        """Begin an episode that the server drives."""
        if self._server.cockpit is None:
            raise MessageError("this server plans but does not drive; start it with tools/serve_policy.py")
        cockpit = self._server.cockpit(_Batched(self))
        facts = cockpit.start(messages.read_start(message))
        self._cockpit = cockpit
        return Message("result", message.id, facts)

    def drive(self, message: Message) -> Message:
        """One tick of it."""
        if self._cockpit is None:
            raise MessageError("drive: no episode on this connection; send 'start_drive' first")
        return messages.write_control(message.id, self._cockpit.tick(messages.read_tick(message)))


METHODS: dict[str, Callable[[_Connection, Message], Message]] = {
    "plan": _Connection.plan,
    "start_drive": _Connection.start_drive,
    "drive": _Connection.drive,
    "reset": _Connection.reset,
    "health": _Connection.health,
    "statistics": _Connection.statistics,
}


class _Batched:
    """The planner as a cockpit on a connection sees it: through the batch."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    def plan(self, observation: Observation) -> Plan:
        return self._connection.submit(observation).result()

    def reset(self) -> None:
        """Every episode has a cockpit of its own."""


def _listen(config: ServerConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((config.host, config.port))
        listener.listen(config.max_connections)
    except OSError as error:
        listener.close()
        raise SetupError(f"cannot listen on {config.host}:{config.port}: {error}; choose another --port") from None
    return listener


def _listen_locally(config: ServerConfig, port: int) -> list[socket.socket]:
    """The same port for clients on this machine as a Unix socket, where there are abstract names (Linux) and the host
    takes clients from this machine at all."""
    if not (is_loopback(config.host) or config.host in EVERYWHERE) or not sys.platform.startswith("linux"):
        return []
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(local_name(port))
        listener.listen(config.max_connections)
    except OSError as error:
        listener.close()
        raise SetupError(f"cannot listen at {local_name(port)!r}: {error}; choose another --port") from None
    return [listener]


def _hang_up(connection: socket.socket) -> None:
    """End a connection in use by another thread, which notices; ``close`` alone would not wake it."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        logger.debug("already gone")
