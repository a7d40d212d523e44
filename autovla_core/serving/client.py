"""Talk to a planner server. This file alone is the client: copy it anywhere.

It needs the standard library and numpy and runs on Python 3.7 and newer, so that an agent inside an old
CARLA evaluator can drive with a model that needs a new Python. Nothing else of this project is imported.

    client = Client("127.0.0.1:7667")
    plan = client.plan(time_s, {"front": (images, times_s)}, speed, acceleration, pose, command, route)

A message is 16 bytes of prefix, a JSON header, and the bytes of the arrays that the header lists, C order,
little-endian. No pickle. ``Framer`` knows the bytes and no socket; ``Client`` knows the socket.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import math
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

logger = logging.getLogger(__name__)

VERSION = 1
DEFAULT_PORT = 7667
MAGIC = b"AVP1"
PREFIX = struct.Struct("<4sIQ")  # magic, bytes of the header, bytes of the arrays
DTYPES = ("|u1", "<i8", "<f4", "<f8")
MOST_ARRAYS, MOST_AXES = 32, 5
LOOPBACK = ("127.0.0.1", "::1", "localhost")
MOST_PAUSE_S = 1.0  # between two attempts to connect


class PlannerError(Exception):
    """Root of every error that this file raises on purpose."""


class ProtocolError(PlannerError):
    """The bytes are no message of this protocol, or larger than agreed."""


class Unreachable(PlannerError):
    """No server, or the connection was lost and could not be made again in time."""


class TimedOut(PlannerError):
    """The server did not answer in time."""


class RemoteError(PlannerError):
    """The server answered with an error; ``name`` is the error's class there, as ``ObservationError``."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name
        self.text = text


class Limits(NamedTuple):
    """The largest message that is read."""

    header: int = 256 * 1024
    body: int = 64 * 1024 * 1024


class Message(NamedTuple):
    """One message; arrays that were read are views which the next message overwrites."""

    kind: str
    id: int = 0
    fields: Mapping[str, object] = {}
    arrays: Mapping[str, np.ndarray] = {}


class Plan(NamedTuple):
    """Poses 0.5, 1.0 ... 5.0 s after ``observed_at_s``, in the ego frame then: x forward, y left, yaw left."""

    poses: np.ndarray  # (10, 3) m, m, rad
    observed_at_s: float
    ready_at_s: float
    tokens: np.ndarray | None  # (10,)
    thought: str
    mode: str
    log_probs: np.ndarray | None  # (10,)
    timings_ms: dict[str, float]  # of the planner, and ``server``: from message read to answer written
    thinking_tokens: int
    forced: str  # "limit" or "deadline": why the answer came before the thought had ended; ""


class Steering(NamedTuple):
    """What the server's driver wants: steer left positive (CARLA's is right positive), all else as CARLA."""

    steer: float
    throttle: float
    brake: float
    reverse: bool


def pack(message: Message) -> list[memoryview]:
    """The bytes of a message, as buffers to be written one after the other; arrays are not copied.

    Raises:
        ProtocolError: an array of a type that the protocol does not know.
    """
    listed, buffers = [], []
    for name, array in message.arrays.items():
        array = np.asarray(array)
        if array.dtype.byteorder == ">":
            array = array.astype(array.dtype.newbyteorder("<"))
        if array.dtype.str not in DTYPES:
            raise ProtocolError(f"array {name!r} is {array.dtype.str}, expected one of {DTYPES}")
        listed.append([name, array.dtype.str, list(array.shape)])
        buffers.append(memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8)))
    head = {"kind": message.kind, "id": message.id, "fields": dict(message.fields), "arrays": listed}
    header = json.dumps(head, separators=(",", ":")).encode("ascii")
    size = sum(len(buffer) for buffer in buffers)
    return [memoryview(PREFIX.pack(MAGIC, len(header), size) + header)] + [b for b in buffers if len(b)]


class Framer:
    """Bytes to messages: fill ``space()``, then say how much with ``filled()``. Never asks beyond one message."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._body = bytearray()
        self._start()

    def _start(self) -> None:
        self._part = "prefix"
        self._head: tuple[str, int, dict, list] = ("", 0, {}, [])
        self._body_size = 0
        self._expect(bytearray(PREFIX.size), PREFIX.size)

    def _expect(self, buffer: bytearray, size: int) -> None:
        self._buffer, self._size, self._have = buffer, size, 0

    @property
    def idle(self) -> bool:
        """Whether no byte of the next message has come yet."""
        return self._part == "prefix" and self._have == 0

    def space(self) -> memoryview:
        """Where the next bytes belong; never empty."""
        return memoryview(self._buffer)[self._have : self._size]

    def filled(self, count: int) -> Message | None:
        """Take ``count`` bytes that were written to ``space()``; the message that they complete, if any.

        Raises:
            ProtocolError: no message of this protocol. The connection cannot be used any more.
        """
        self._have += count
        if self._have < self._size:
            return None
        if self._part == "prefix":
            self._read_prefix()
            return None
        if self._part == "header":
            self._head = read_header(bytes(self._buffer), self._body_size)
            if self._body_size:
                if len(self._body) < self._body_size:
                    self._body = bytearray(self._body_size)
                self._part = "body"
                self._expect(self._body, self._body_size)
                return None
        kind, id, fields, listed = self._head
        message = Message(kind, id, fields, _arrays(listed, self._body))
        self._start()
        return message

    def _read_prefix(self) -> None:
        magic, header, body = PREFIX.unpack(bytes(self._buffer))
        if magic != MAGIC:
            raise ProtocolError(f"message begins with {magic!r}, expected {MAGIC!r}")
        if not 2 <= header <= self.limits.header or body > self.limits.body:
            allowed = f"2 to {self.limits.header} + {self.limits.body}"
            raise ProtocolError(f"message of {header} + {body} bytes, allowed are {allowed}")
        self._part, self._body_size = "header", body
        self._expect(bytearray(header), header)


def read_header(header: bytes, body_size: int) -> tuple[str, int, dict, list]:
    """(kind, id, fields, [(name, dtype, shape)]) of a header, checked against the size of the arrays.

    Raises:
        ProtocolError: no JSON, another form, or arrays that do not fill the body exactly.
    """
    try:
        head = json.loads(header.decode("utf-8"))
        kind, id, fields, listed = (head[key] for key in ("kind", "id", "fields", "arrays"))
        listed = [(name, dtype, tuple(shape)) for name, dtype, shape in listed]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ProtocolError(f"the header is not one of ours: {error}") from None
    good = isinstance(kind, str) and type(id) is int and isinstance(fields, dict) and len(listed) <= MOST_ARRAYS
    if not good or not all(_is_listing(*entry) for entry in listed):
        raise ProtocolError(f"the header is not one of ours: {header[:200]!r}")
    size = sum(_bytes_of(dtype, shape) for _, dtype, shape in listed)
    if size != body_size or len({name for name, _, _ in listed}) != len(listed):
        raise ProtocolError(f"the header lists {size} bytes of arrays, the message carries {body_size}")
    return kind, id, fields, listed


def _is_listing(name: object, dtype: object, shape: Sequence[object]) -> bool:
    sizes = len(shape) <= MOST_AXES and all(type(n) is int and 0 <= n < 2**31 for n in shape)
    return isinstance(name, str) and dtype in DTYPES and sizes


def _bytes_of(dtype: str, shape: tuple[int, ...]) -> int:
    size = int(dtype[-1])
    for axis in shape:
        size *= axis
    return size


def _arrays(listed: list, body: bytearray) -> dict[str, np.ndarray]:
    arrays, at = {}, 0
    for name, dtype, shape in listed:
        size = _bytes_of(dtype, shape)
        flat = np.frombuffer(body, dtype, size // int(dtype[-1]), at) if size else np.zeros(0, dtype)
        try:
            arrays[name] = flat.reshape(shape)
        except ValueError as error:  # no bytes, but axes whose product numpy cannot hold
            raise ProtocolError(f"array {name!r} cannot have the shape {shape}: {error}") from None
        at += size
    return arrays


def send(connection: socket.socket, message: Message) -> None:
    """Write a whole message."""
    buffers = pack(message)
    while buffers:
        sent = connection.sendmsg(buffers)
        while buffers and sent >= len(buffers[0]):
            sent -= len(buffers.pop(0))
        if buffers and sent:
            buffers[0] = buffers[0][sent:]


def receive(connection: socket.socket, framer: Framer) -> Message:
    """Read one whole message.

    Raises:
        ConnectionError: the other side closed.
        ProtocolError: what came is no message.
    """
    while True:
        count = connection.recv_into(framer.space())
        if not count:
            raise ConnectionResetError("the other side closed the connection")
        message = framer.filled(count)
        if message is not None:
            return message


def tune(connection: socket.socket) -> None:
    """No waiting for more to send. The kernel sizes the buffers: a size set by hand it would cap, low by default."""
    if connection.family in (socket.AF_INET, socket.AF_INET6):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def local_name(port: int) -> bytes:
    """Where a server on this machine listens besides its port: an abstract Unix socket, gone with its owner."""
    return b"\0autovla-planner-%d" % port


def dial(address: tuple[str, int], timeout_s: float) -> socket.socket:
    """A connection; on this machine not by TCP where the server offers it: images take half the time.

    Raises:
        OSError: nobody there.
    """
    host, port = address
    if host in LOOPBACK and sys.platform.startswith("linux"):
        local = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            local.settimeout(timeout_s)
            local.connect(local_name(port))
            return local
        except OSError:  # an older server, or a system without such names
            local.close()
    return socket.create_connection(address, timeout=timeout_s)


def proof(token: str, nonce: str) -> str:
    """What shows that a client knows the token, without sending it."""
    return hmac.new(token.encode("utf-8"), nonce.encode("ascii"), hashlib.sha256).hexdigest()


def split_address(address: str) -> tuple[str, int]:
    """``host:port``, ``host`` or ``[::1]:port``.

    Raises:
        ValueError: the port is no number from 1 to 65535.
    """
    host, colon, port = address.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")):
        host, port = address, str(DEFAULT_PORT)
    if not port.isdigit() or not 0 < int(port) < 65536 or not host:
        raise ValueError(f"server: found {address!r}, expected host:port as 127.0.0.1:{DEFAULT_PORT}")
    return host.strip("[]"), int(port)


class Client:
    """One connection, made when it is needed and made again when it is lost. Safe to share between threads.

    Args:
        address: ``host:port``.
        token: what the server was started with, if it was.
        timeout_s: longest wait for one answer.
        reconnect_s: how long a lost or absent server is waited for; 0 gives up at once.
    """

    def __init__(
        self,
        address: str,
        token: str = "",
        timeout_s: float = 30.0,
        reconnect_s: float = 30.0,
        name: str = "",
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.address = split_address(address)
        self._where = "{}:{}".format(*self.address)
        self.server: Mapping[str, object] = {}  # what the server said about itself
        self.connections = 0  # made so far; another number means that the server forgot what was started
        self._token, self._timeout_s, self._reconnect_s, self._name = token, timeout_s, reconnect_s, name
        self._clock, self._sleep = clock, sleep
        self._lock = threading.RLock()
        self._socket: socket.socket | None = None
        self._framer = Framer()
        self._calls = 0

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._socket is not None

    def plan(
        self,
        time_s: float,
        clips: Mapping[str, tuple[np.ndarray, np.ndarray]],
        speed: float,
        acceleration: float,
        pose: Sequence[float] = (0.0, 0.0, 0.0),
        command: int = 4,
        route: np.ndarray | None = None,
        instruction: str | None = None,
    ) -> Plan:
        """A plan for one observation.

        Args:
            clips: {camera: (images (4, H, W, 3) uint8 RGB, oldest first, times (4,) s)}.
            speed, acceleration: m/s and m/s2, signed.
            pose: (x, y, yaw), own estimate, right-handed world frame.
            command: CARLA's RoadOption.
            route: (N, 2) points ahead, ego frame.

        Raises:
            RemoteError: the planner refused the observation, under the planner's own name.
            Unreachable, TimedOut, ProtocolError: the server is not there, too slow, or no such server.
        """
        clips = self._looked_at(clips)
        fields = {"time_s": float(time_s), "speed": float(speed), "acceleration": float(acceleration)}
        fields.update(command=int(command), instruction=instruction, cameras=list(clips))
        arrays = {"pose": np.asarray(pose, np.float64)}
        arrays["route"] = np.zeros((0, 2)) if route is None else np.asarray(route, np.float64)
        for camera, (images, times_s) in clips.items():
            arrays["images." + camera] = np.asarray(images)
            arrays["times." + camera] = np.asarray(times_s, np.float64)
        return _plan(self.call("plan", fields, arrays))

    def _looked_at(self, clips: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Mapping:
        """The clips that the model has cameras for, as the server told at the greeting: others need not travel. All of
        them, where it told nothing or knows none: what is missing it says best itself."""
        cameras = self.server.get("cameras")
        if not isinstance(cameras, list):
            return clips
        known = {entry[0] for entry in cameras if isinstance(entry, list) and entry and isinstance(entry[0], str)}
        return {camera: clip for camera, clip in clips.items() if camera in known} or clips

    def start_drive(self, poses: np.ndarray, commands: Sequence[int], resumed: bool = False) -> Mapping[str, object]:
        """Begin an episode that the server drives.

        Args:
            poses: the route as CARLA gives it, (N, 3) x, y in metres and yaw in degrees.
            commands: RoadOption (N,).
            resumed: the ego is somewhere on the route already, because the server was restarted.
        """
        arrays = {"carla_poses": np.asarray(poses, np.float64), "commands": np.asarray(commands, np.int64)}
        return self.call("start_drive", {"resumed": bool(resumed)}, arrays).fields

    def drive(self, time_s: float, speed: float, sensors: Mapping[str, np.ndarray]) -> Steering:
        """One tick of an episode: sensor payloads by id, images as CARLA gives them (H, W, 4) BGRA."""
        fields = {"time_s": float(time_s), "speed": float(speed)}
        got = self.call("drive", fields, sensors, retry=False).fields
        return Steering(float(got["steer"]), float(got["throttle"]), float(got["brake"]), bool(got["reverse"]))

    def health(self) -> Mapping[str, object]:
        """Whether the server is up, since when, with which model; answered at once, also under load."""
        return self.call("health").fields

    def statistics(self) -> Mapping[str, object]:
        """Plans, failures, batch sizes, times, connections and errors since the server was started."""
        return self.call("statistics").fields

    def reset(self) -> None:
        """An episode ended."""
        self.call("reset")

    def call(
        self,
        kind: str,
        fields: Mapping[str, object] | None = None,
        arrays: Mapping[str, np.ndarray] | None = None,
        retry: bool = True,
    ) -> Message:
        """Ask and wait for the answer; when the connection breaks, ask once more over a new one."""
        with self._lock:
            try:
                return self._call(kind, fields or {}, arrays or {})
            except Unreachable:
                if not retry:
                    raise
                return self._call(kind, fields or {}, arrays or {})

    def _call(self, kind: str, fields: Mapping[str, object], arrays: Mapping[str, np.ndarray]) -> Message:
        connection = self.connect()
        self._calls += 1
        answer = None
        try:
            send(connection, Message(kind, self._calls, fields, arrays))
            answer = receive(connection, self._framer)
        except socket.timeout:  # noqa: UP041 (not yet a TimeoutError in Python 3.7)
            raise TimedOut(f"{self._where} did not answer in {self._timeout_s} s") from None
        except OSError as error:
            raise Unreachable(f"lost the planner server at {self._where}: {error}") from None
        finally:
            if answer is None:  # also when a watchdog interrupts: a late answer must not meet the next question
                self.close()
        return self._checked(answer, self._calls)

    def _checked(self, answer: Message, expected_id: int) -> Message:
        if answer.kind == "error":
            raise RemoteError(str(answer.fields.get("name")), str(answer.fields.get("text")))
        if answer.kind != "result" or answer.id != expected_id:
            self.close()
            raise ProtocolError(f"answer {answer.kind!r} to call {answer.id}, expected 'result' to {expected_id}")
        return answer

    def connect(self) -> socket.socket:
        """The connection, made now if there is none.

        Raises:
            Unreachable: nobody answers within ``reconnect_s``.
            RemoteError: the server refuses this client, for instance for its token.
        """
        with self._lock:
            give_up, pause = self._clock() + self._reconnect_s, 0.05
            while self._socket is None:
                try:
                    self._open()
                except OSError as error:
                    self.close()
                    if self._clock() + pause > give_up:
                        what = f"no planner server at {self._where}: {error}; start one with tools/serve_policy.py"
                        raise Unreachable(what) from None
                    self._sleep(pause)
                    pause = min(2.0 * pause, MOST_PAUSE_S)
            return self._socket

    def _open(self) -> None:
        connection = dial(self.address, self._timeout_s)
        try:
            tune(connection)
            framer = Framer()
            hello = receive(connection, framer)
            if hello.kind != "hello" or hello.fields.get("version") != VERSION:
                found = f"{hello.kind!r} of version {hello.fields.get('version')!r}"
                raise ProtocolError(f"{self._where} greets with {found}, expected 'hello' of version {VERSION}")
            fields = {"proof": proof(self._token, str(hello.fields.get("nonce"))), "client": self._name}
            send(connection, Message("open", 0, fields))
            ready = receive(connection, framer)
            self._framer = framer
            self.server = dict(self._checked(ready, 0).fields)
        except (OSError, PlannerError):
            connection.close()
            raise
        self._socket = connection
        self.connections += 1

    def close(self) -> None:
        """Close the connection; the next call makes a new one."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None


def _plan(answer: Message) -> Plan:
    fields, arrays = answer.fields, {name: array.copy() for name, array in answer.arrays.items()}
    poses = arrays.get("poses")
    if poses is None or poses.ndim != 2 or poses.shape[1] != 3:
        raise ProtocolError(f"the answer holds no poses (N, 3) but {sorted(arrays)}")
    timings = {str(k): float(v) for k, v in dict(fields["timings_ms"]).items()}
    times = float(fields["observed_at_s"]), float(fields["ready_at_s"])
    if not all(math.isfinite(t) for t in times):
        raise ProtocolError(f"the plan was observed at {times[0]} s and ready at {times[1]} s")
    tokens, log_probs = arrays.get("tokens"), arrays.get("log_probs")
    thought, mode, forced = (str(fields[name]) for name in ("thought", "mode", "forced"))
    length = int(fields["thinking_tokens"])
    return Plan(poses, times[0], times[1], tokens, thought, mode, log_probs, timings, length, forced)
