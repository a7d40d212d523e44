"""The ends of minicarla's connections: listening, accepting, and peers with what they have not taken yet.

Sockets are used here and in ``server``, which decides what is said to whom.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import resource
import socket
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from autovla_core.errors import SetupError
from autovla_core.minicarla.pacing import Episode, EpisodeChange, LostWakeUp, TickPause
from autovla_core.minicarla.simulation import Session
from autovla_core.minicarla.wire.rpc import Call, CallReader
from autovla_core.minicarla.wire.stream import SubscriptionReader

logger = logging.getLogger(__name__)

PIECES_PER_WRITE = 64
SPARE_FILES = 64  # descriptors that connections may not use up: recordings, libraries
MOST_PEERS = 10_000
EXHAUSTED = frozenset([errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])


class NoRoomForConnections(OSError):
    """The machine has no descriptor or memory left for a connection that waits; nothing but time helps."""


@dataclass(frozen=True)
class Limits:
    """What strangers may make the server hold."""

    peers: int = MOST_PEERS  # connections, of calls and of streams
    backlog_bytes: int = 1 << 29  # of one peer that stopped reading
    all_bytes: int = 1 << 31  # backlogs, and what was said and is not answered yet, of all peers together
    calls: int = 10_000  # of one client that wait to be answered; then it is not read from
    unanswered_bytes: int = 1 << 27  # that they arrived in


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket; port 0 takes any free one.

    Raises:
        SetupError: the port is taken, or the host is not ours.
    """
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(64)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise SetupError(f"port {port} of {host} is taken: stop what uses it, or choose another --port") from error
        raise SetupError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    listener.setblocking(False)
    return listener


def allow_many_files() -> int:
    """Raise the soft limit of open files to the hard one; return how many connections there is room for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_PEERS + SPARE_FILES
    reachable = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    if soft != resource.RLIM_INFINITY and soft < reachable:
        with contextlib.suppress(OSError, ValueError):  # a sandbox may forbid it; what there is must do then
            resource.setrlimit(resource.RLIMIT_NOFILE, (reachable, hard))
            soft = reachable
    return MOST_PEERS if soft == resource.RLIM_INFINITY else max(1, min(MOST_PEERS, soft - SPARE_FILES))


def accept(listener: socket.socket) -> tuple[socket.socket, str] | None:
    """The next connection and its address; None if it vanished before it was taken.

    Raises:
        NoRoomForConnections: it waits on, and would be reported as ready again at once.
    """
    try:
        connection, address = listener.accept()
    except OSError as error:
        if error.errno in EXHAUSTED:
            raise NoRoomForConnections(*error.args) from error
        logger.debug("a connection was lost while it was accepted: %s", error)
        return None
    return connection, _readable(address)


def _readable(address: object) -> str:
    return ":".join(map(str, address[:2])) if isinstance(address, tuple) else str(address)


class Ledger:
    """How many bytes are held for all peers together."""

    def __init__(self) -> None:
        self.bytes = 0


class Peer:
    """One accepted connection and the bytes that it has not taken yet."""

    def __init__(self, connection: socket.socket, name: str, ledger: Ledger) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection = connection
        self.name = name
        self.backlog: deque[memoryview] = deque()
        self.backlog_bytes = 0
        self.unanswered_bytes = 0  # that it said
        self.closed = False
        self.events = 0  # that its selector waits for
        self._ledger = ledger

    def wants_reading(self, limits: Limits) -> bool:
        """Whether there is room for what it says next."""
        return True

    def send(self, pieces: Iterable[bytes | memoryview]) -> None:
        """Queue bytes and write what the socket takes now."""
        for piece in pieces:
            view = memoryview(piece)
            self.backlog.append(view)
            self._count(len(view))
        self.flush()

    def flush(self) -> None:
        """Write until the socket takes no more; a dead socket shows at the next read."""
        while self.backlog:
            try:
                written = self.connection.sendmsg(
                    [self.backlog[i] for i in range(min(len(self.backlog), PIECES_PER_WRITE))]
                )
            except BlockingIOError:
                return
            except OSError:
                self._forget_backlog()
                return
            self._written(written)

    def close(self) -> None:
        """Close the socket and let go of what it has not taken and of what it said."""
        self.closed = True
        self._forget_backlog()
        self._hold(-self.unanswered_bytes)
        self.connection.close()

    def _written(self, count: int) -> None:
        self._count(-count)
        while count:
            head = self.backlog[0]
            if count < len(head):
                self.backlog[0] = head[count:]
                return
            count -= len(head)
            self.backlog.popleft()

    def _forget_backlog(self) -> None:
        self._count(-self.backlog_bytes)
        self.backlog.clear()

    def _count(self, more: int) -> None:
        self.backlog_bytes += more
        self._ledger.bytes += more

    def _hold(self, more: int) -> None:
        self.unanswered_bytes += more
        self._ledger.bytes += more


class RpcPeer(Peer):
    """A client."""

    def __init__(self, connection: socket.socket, session: Session, ledger: Ledger, silence_s: float) -> None:
        super().__init__(connection, session.name, ledger)
        self.session = session
        self.reader = CallReader()
        self.waiting: deque[Call] = deque()  # in order
        self.held_tick: Call | None = None  # overtaken by the Traffic Manager's calls
        self.kept: list[Call] = []  # until the client knows the new episode
        self.load_reply: bytes | None = None
        self.pause = TickPause()
        self.episode = EpisodeChange()
        self.wake_up = LostWakeUp(silence_s)
        self._is_whole = True  # no message has begun and not ended, as far as the last words show

    @property
    def busy(self) -> bool:
        return bool(self.waiting or self.held_tick or self.episode.state is not Episode.KNOWN)

    def hear(self, data: bytes) -> None:
        """Take what the client said.

        Raises:
            PackingError: it is nonsense.
        """
        self._hold(len(data))
        before = len(self.waiting)
        self.waiting.extend(self.reader.feed(data))
        self._is_whole = len(self.waiting) > before

    def settle(self) -> None:
        """Count off what has been answered."""
        if self._is_whole and not self.waiting and not self.kept:
            self._hold(-self.unanswered_bytes)

    def wants_reading(self, limits: Limits) -> bool:
        queued = len(self.waiting) + len(self.kept)
        return queued < limits.calls and (not queued or self.unanswered_bytes < limits.unanswered_bytes)


class StreamPeer(Peer):
    """A subscriber of one stream."""

    def __init__(self, connection: socket.socket, name: str, ledger: Ledger) -> None:
        super().__init__(connection, name, ledger)
        self.reader = SubscriptionReader()
        self.stream_id: int | None = None


def most_burdensome(peers: Iterable[Peer]) -> Peer:
    """For whom the server holds most."""
    return max(peers, key=lambda peer: peer.backlog_bytes + peer.unanswered_bytes)
