"""The only sockets of minicarla: one thread, one selector, two listening ports.

Calls are answered in the order of their arrival, except where ``pacing`` holds one back. Streams are
written as far as the peer takes them; the rest waits in its backlog.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import selectors
import socket
import time
from collections import deque
from collections.abc import Iterable

from autovla_core.errors import SetupError
from autovla_core.minicarla import methods
from autovla_core.minicarla.pacing import Episode, EpisodeChange, Subscriptions, TickPause
from autovla_core.minicarla.simulation import Session, Simulation
from autovla_core.minicarla.wire.packing import PackingError
from autovla_core.minicarla.wire.rpc import Call, CallReader
from autovla_core.minicarla.wire.stream import WORLD_STREAM_ID, SubscriptionReader

logger = logging.getLogger(__name__)

READ_BYTES = 1 << 20
MAX_BACKLOG_BYTES = 1 << 29  # of a peer that stopped reading
PIECES_PER_WRITE = 64
WAIT_S = 0.001  # granularity of held calls
IDLE_S = 0.5
QUIET_S = 1.0


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


def _accept(listener: socket.socket) -> socket.socket | None:
    """The next connection; None if it vanished before it was taken."""
    try:
        return listener.accept()[0]
    except OSError as error:
        logger.warning("a connection was lost while it was accepted: %s", error)
        return None


class Peer:
    """One accepted connection and the bytes that it has not taken yet."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection = connection
        self.backlog: deque[memoryview] = deque()
        self.backlog_bytes = 0
        self.closed = False

    def send(self, pieces: Iterable[bytes | memoryview]) -> None:
        """Queue bytes and write what the socket takes now."""
        for piece in pieces:
            view = memoryview(piece)
            self.backlog.append(view)
            self.backlog_bytes += len(view)
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
                self.backlog.clear()
                self.backlog_bytes = 0
                return
            self._written(written)

    def _written(self, count: int) -> None:
        self.backlog_bytes -= count
        while count:
            head = self.backlog[0]
            if count < len(head):
                self.backlog[0] = head[count:]
                return
            count -= len(head)
            self.backlog.popleft()


class RpcPeer(Peer):
    """A client."""

    def __init__(self, connection: socket.socket, session: Session) -> None:
        super().__init__(connection)
        self.session = session
        self.reader = CallReader()
        self.waiting: deque[Call] = deque()  # in order
        self.held_tick: Call | None = None  # overtaken by the Traffic Manager's calls
        self.kept: list[Call] = []  # until the client knows the new episode
        self.load_reply: bytes | None = None
        self.pause = TickPause()
        self.episode = EpisodeChange()

    @property
    def busy(self) -> bool:
        return bool(self.waiting or self.held_tick or self.episode.state is not Episode.KNOWN)


class StreamPeer(Peer):
    """A subscriber of one stream."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection)
        self.reader = SubscriptionReader()
        self.stream_id: int | None = None


class Server:
    """Serves one simulation to any number of clients, until ``stop``."""

    def __init__(self, simulation: Simulation, rpc_listener: socket.socket, stream_listener: socket.socket) -> None:
        self._simulation = simulation
        self._selector = selectors.DefaultSelector()
        self._rpc_peers: list[RpcPeer] = []
        self._stream_peers: dict[int | None, list[StreamPeer]] = {}
        self._subscriptions = Subscriptions()
        self._quiet_until = 0.0  # no tick while a client has closed its old stream and not opened the new one
        self._announces_episode = False  # to the next who subscribes to the world's stream
        self._next_free_tick = 0.0
        self._stopping = False
        self._waker, self._wakened = socket.socketpair()
        self._listeners = (rpc_listener, stream_listener)
        self._selector.register(self._wakened, selectors.EVENT_READ, None)
        self._selector.register(rpc_listener, selectors.EVENT_READ, self._accept_rpc)
        self._selector.register(stream_listener, selectors.EVENT_READ, self._accept_stream)

    def stop(self) -> None:
        """Leave ``run`` after the call at hand; may be called from a signal handler."""
        self._stopping = True
        with contextlib.suppress(OSError):  # ``run`` may have seen the flag, and closed its sockets, in between
            self._waker.send(b"\0")

    def run(self) -> None:
        """Serve until ``stop``, then close every socket."""
        try:
            while not self._stopping:
                for key, events in self._selector.select(self._patience()):
                    self._ready(key.fileobj, key.data, events)
                for peer in list(self._rpc_peers):
                    self._serve(peer)
                self._run_freely()
        finally:
            self._close_all()

    # ------------------------------------------------------------------------- sockets

    def _ready(self, connection: socket.socket, data: object, events: int) -> None:
        if isinstance(data, Peer):
            if events & selectors.EVENT_WRITE:
                data.flush()
                self._watch(data)
            if events & selectors.EVENT_READ and not data.closed:
                self._read(data)
        elif data is not None:
            data(connection)

    def _accept_rpc(self, listener: socket.socket) -> None:
        connection = _accept(listener)
        if connection is not None:
            peer = RpcPeer(connection, Session(self._simulation))
            self._rpc_peers.append(peer)
            self._selector.register(connection, selectors.EVENT_READ, peer)

    def _accept_stream(self, listener: socket.socket) -> None:
        connection = _accept(listener)
        if connection is not None:
            peer = StreamPeer(connection)
            self._stream_peers.setdefault(None, []).append(peer)
            self._selector.register(connection, selectors.EVENT_READ, peer)

    def _read(self, peer: Peer) -> None:
        try:
            data = peer.connection.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close(peer)
        elif isinstance(peer, RpcPeer):
            self._receive_calls(peer, data)
        elif isinstance(peer, StreamPeer) and peer.stream_id is None:
            self._subscribe(peer, data)

    def _receive_calls(self, peer: RpcPeer, data: bytes) -> None:
        try:
            peer.waiting.extend(peer.reader.feed(data))
        except PackingError as error:
            logger.warning("a client sent nonsense and was disconnected: %s", error)
            self._close(peer)

    def _subscribe(self, peer: StreamPeer, data: bytes) -> None:
        stream_id = peer.reader.feed(data)
        if stream_id is None:
            return
        self._stream_peers[None].remove(peer)
        self._stream_peers.setdefault(stream_id, []).append(peer)
        peer.stream_id = stream_id
        self._count_listeners(stream_id)
        self._subscriptions.connected(stream_id)
        if stream_id == WORLD_STREAM_ID and self._announces_episode:
            self._announces_episode = False
            self._simulation.announce_episode()
            self._publish()

    def _count_listeners(self, stream_id: int) -> None:
        count = len(self._stream_peers.get(stream_id, ()))
        if count:
            self._simulation.listeners[stream_id] = count
        else:
            self._stream_peers.pop(stream_id, None)
            self._simulation.listeners.pop(stream_id, None)

    def _watch(self, peer: Peer) -> None:
        """Ask to be told when a peer takes more bytes, if some are left."""
        if not peer.closed:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if peer.backlog else 0)
            if self._selector.get_key(peer.connection).events != events:
                self._selector.modify(peer.connection, events, peer)

    def _deliver(self, peer: Peer, pieces: list) -> None:
        """Send something whole; who has stopped reading is disconnected."""
        peer.send(pieces)
        if peer.backlog_bytes > MAX_BACKLOG_BYTES:
            logger.warning("a peer does not read what it asked for and was disconnected")
            self._close(peer)
        else:
            self._watch(peer)

    def _close(self, peer: Peer) -> None:
        if peer.closed:
            return
        peer.closed = True
        self._selector.unregister(peer.connection)
        peer.connection.close()
        if isinstance(peer, RpcPeer):
            self._rpc_peers.remove(peer)
            self._simulation.forget(peer.session)
        elif isinstance(peer, StreamPeer):
            self._stream_peers[peer.stream_id].remove(peer)
            if peer.stream_id is not None:
                self._count_listeners(peer.stream_id)

    def _close_all(self) -> None:
        self._simulation.recordings.forget()  # a recording gets its name
        streams = [peer for peers in self._stream_peers.values() for peer in peers]
        for peer in [*self._rpc_peers, *streams]:
            self._close(peer)
        for listener in (*self._listeners, self._waker, self._wakened):
            listener.close()
        self._selector.close()

    # ------------------------------------------------------------------------- calls

    def _serve(self, peer: RpcPeer) -> None:
        """Answer whatever may be answered now."""
        if peer.held_tick and peer.pause.over(time.monotonic()) and self._may_tick():
            call, peer.held_tick = peer.held_tick, None
            self._answer(peer, call)
        if peer.episode.late(time.monotonic()):
            self._episode_goes_on(peer)
        while peer.waiting and not peer.closed and not self._stopping:
            call = peer.waiting[0]
            if peer.episode.keeps(call.name):
                peer.kept.append(peer.waiting.popleft())
                if peer.episode.state is Episode.LOADING:
                    self._episode_goes_on(peer)
            elif self._holds_for_traffic_manager(call):
                peer.pause.touch(time.monotonic())
                peer.held_tick = peer.waiting.popleft()
            elif methods.may_tick(self._simulation, call) and not self._may_tick():
                return
            else:
                self._answer(peer, peer.waiting.popleft())

    def _may_tick(self) -> bool:
        now = time.monotonic()
        return now >= self._quiet_until and self._subscriptions.settled(now)

    def _holds_for_traffic_manager(self, call: Call) -> bool:
        simulation = self._simulation
        return call.name == "tick_cue" and simulation.synchronous and bool(simulation.traffic_managers)

    def _answer(self, peer: RpcPeer, call: Call) -> None:
        episode_id, xodr = self._simulation.world.episode_id, self._simulation.world.town.xodr
        reply = methods.answer(peer.session, call)
        self._publish()
        loaded = self._simulation.world.episode_id != episode_id
        if loaded:
            self._quiet_until = time.monotonic() + QUIET_S
            other_map = self._simulation.world.town.xodr != xodr
            peer.session.believes = episode_id if other_map and peer.session.traffic_manager_ports else None
        if loaded and self._simulation.traffic_managers and reply is not None:
            peer.load_reply = reply
            peer.episode.loading(time.monotonic())
        elif reply is not None:
            self._deliver(peer, [reply])
        self._after(peer, call)

    def _after(self, peer: RpcPeer, call: Call) -> None:
        """What an answered call means for those that follow."""
        now = time.monotonic()
        if call.name == "get_episode_settings":
            peer.pause.touch(now)
        elif call.name == "set_episode_settings":
            self._next_free_tick = now
        elif call.name == "tick_cue":
            peer.episode.ticked()
        elif call.name == "get_sensor_token" and call.params:
            self._token_given(peer, call.params[0], now)

    def _token_given(self, peer: RpcPeer, stream_id: object, now: float) -> None:
        if isinstance(stream_id, int):
            self._subscriptions.announce(stream_id, now)
        if stream_id == WORLD_STREAM_ID:
            self._quiet_until = 0.0
            if peer.session.believes is not None:
                peer.session.believes, self._announces_episode = None, True
                peer.episode.announced()
            peer.episode.fetched()
            self._release(peer)

    def _episode_goes_on(self, peer: RpcPeer) -> None:
        """Next state of a client that loads: reply to it, or give up waiting for its questions."""
        if peer.episode.state is Episode.LOADING:
            peer.episode.replied(time.monotonic())
            self._deliver(peer, [peer.load_reply])
            peer.load_reply = None
        else:
            peer.episode.fetched()
            self._release(peer)

    def _release(self, peer: RpcPeer) -> None:
        peer.waiting.extendleft(reversed(peer.kept))
        peer.kept.clear()

    # ------------------------------------------------------------------------- time and streams

    def _run_freely(self) -> None:
        """Tick an asynchronous world in real time, while anybody is there to see it."""
        now = time.monotonic()
        idle = self._simulation.synchronous or not self._rpc_peers
        if idle or now < self._next_free_tick or not self._may_tick():
            return
        methods.tick_freely(self._simulation)
        self._publish()
        delta_s = self._simulation.delta_s
        self._next_free_tick = max(self._next_free_tick + delta_s, now)

    def _publish(self) -> None:
        """Send the frames of a tick; drop them for slow subscribers of an asynchronous world only."""
        simulation = self._simulation
        while simulation.closed_streams:
            for peer in list(self._stream_peers.get(simulation.closed_streams.popleft(), ())):
                self._close(peer)
        while simulation.outbox:
            stream_id, pieces = simulation.outbox.popleft()
            for peer in list(self._stream_peers.get(stream_id, ())):
                if simulation.synchronous or not peer.backlog:
                    self._deliver(peer, pieces)

    def _patience(self) -> float:
        """How long to sleep if no socket stirs, seconds."""
        if any(peer.busy for peer in self._rpc_peers):
            return WAIT_S
        if self._simulation.synchronous or not self._rpc_peers:
            return IDLE_S
        return max(WAIT_S, self._next_free_tick - time.monotonic())
