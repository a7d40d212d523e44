"""The loop of minicarla: one thread, one selector, two listening ports.

Calls are answered in the order of their arrival, except where ``pacing`` holds one back. Streams are
written as far as the peer takes them; the rest waits in its backlog.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import reprlib
import selectors
import socket
import time

from autovla_core.minicarla import connections, methods
from autovla_core.minicarla.connections import Ledger, Limits, Peer, RpcPeer, StreamPeer, listen
from autovla_core.minicarla.pacing import SILENCE_S, Episode, Subscriptions
from autovla_core.minicarla.simulation import Session, Simulation
from autovla_core.minicarla.wire.packing import PackingError
from autovla_core.minicarla.wire.rpc import Call
from autovla_core.minicarla.wire.stream import WORLD_STREAM_ID

__all__ = ["Server", "listen"]

logger = logging.getLogger(__name__)

READ_BYTES = 1 << 20
WAIT_S = 0.001  # granularity of held calls
IDLE_S = 0.5
QUIET_S = 1.0
FULL_S = 1.0  # no accepting after the machine had no room for a connection
LOST_WAKE_UP = (
    "%s has said nothing for %g s since the reply to its tick %d, and it runs a Traffic Manager (port %s): most "
    "likely that lost its wake-up, a race inside CARLA's own client in which both of its threads wait for ever. Only "
    "ending that program and starting it again helps; server-driven traffic (--traffic N, role_name "
    "minicarla_traffic) has no such race"
)


class Server:
    """Serves one simulation to any number of clients, until ``stop``."""

    def __init__(
        self,
        simulation: Simulation,
        rpc_listener: socket.socket,
        stream_listener: socket.socket,
        limits: Limits | None = None,
        silence_s: float = SILENCE_S,
    ) -> None:
        self._simulation = simulation
        self._limits = limits or Limits()
        self._silence_s = silence_s  # of the owner of a Traffic Manager, until somebody is told
        self._numbers = itertools.count(1)
        self._ledger = Ledger()
        self._peers: set[Peer] = set()
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
        self._full_until: float | None = None  # while nobody is accepted
        self._said_full = False
        self._begin_accepting()

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
                if self._full_until is not None and time.monotonic() >= self._full_until:
                    self._begin_accepting()
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

    def _begin_accepting(self) -> None:
        self._full_until = None
        for listener, welcome in zip(self._listeners, (self._welcome_client, self._welcome_subscriber), strict=True):
            self._selector.register(listener, selectors.EVENT_READ, welcome)

    def _welcome_client(self, listener: socket.socket) -> None:
        accepted = self._accept(listener)
        if accepted is not None:
            connection, address = accepted
            session = Session(self._simulation, f"client {next(self._numbers)} ({address})")
            peer = RpcPeer(connection, session, self._ledger, self._silence_s)
            self._rpc_peers.append(peer)
            self._welcome(peer)

    def _welcome_subscriber(self, listener: socket.socket) -> None:
        accepted = self._accept(listener)
        if accepted is not None:
            connection, address = accepted
            peer = StreamPeer(connection, f"subscriber {next(self._numbers)} ({address})", self._ledger)
            self._stream_peers.setdefault(None, []).append(peer)
            self._welcome(peer)

    def _welcome(self, peer: Peer) -> None:
        logger.debug("%s connects", peer.name)
        self._peers.add(peer)
        self._watch(peer)

    def _accept(self, listener: socket.socket) -> tuple[socket.socket, str] | None:
        """The next connection and its address, if there is room for it."""
        if self._full_until is not None:
            return None  # the other listener found out a moment ago
        try:
            accepted = connections.accept(listener)
        except connections.NoRoomForConnections as error:
            self._say_full(f"the machine has no room for more: {error.strerror}")
            self._full_until = time.monotonic() + FULL_S
            for each in self._listeners:
                self._selector.unregister(each)
            return None
        if accepted is not None and len(self._peers) >= self._limits.peers:
            self._say_full(f"{self._limits.peers} is the most there may be")
            accepted[0].close()
            return None
        self._said_full = False
        return accepted

    def _say_full(self, why: str) -> None:
        """Once, until there is room again: a crowd that knocks must not fill the log."""
        if not self._said_full:
            logger.warning("%d connections are open; new ones must wait or are closed: %s", len(self._peers), why)
        self._said_full = True

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
        peer.wake_up.heard()
        try:
            peer.hear(data)
        except PackingError as error:
            logger.warning("%s sent nonsense and was disconnected: %s", peer.name, error)
            self._close(peer)
        self._stay_within_bounds()

    def _subscribe(self, peer: StreamPeer, data: bytes) -> None:
        stream_id = peer.reader.feed(data)
        if stream_id is None:
            return
        self._stream_peers[None].remove(peer)
        self._stream_peers.setdefault(stream_id, []).append(peer)
        peer.stream_id = stream_id
        logger.debug("%s subscribes to stream %d, %s", peer.name, stream_id, self._simulation.stream_of(stream_id))
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
        """Ask to be told when a peer speaks, if there is room for that, and when it takes bytes, if some are left."""
        if peer.closed:
            return
        wanted = selectors.EVENT_READ if peer.wants_reading(self._limits) else 0
        wanted |= selectors.EVENT_WRITE if peer.backlog else 0
        if wanted == peer.events:
            return
        if not peer.events:
            self._selector.register(peer.connection, wanted, peer)
        elif not wanted:
            self._selector.unregister(peer.connection)
        else:
            self._selector.modify(peer.connection, wanted, peer)
        peer.events = wanted

    def _deliver(self, peer: Peer, pieces: list) -> None:
        """Send something whole; who has stopped reading is disconnected."""
        if peer.closed:
            return
        peer.send(pieces)
        if peer.backlog_bytes > self._limits.backlog_bytes:
            waiting = peer.backlog_bytes >> 20
            logger.warning("%s does not read what it asked for (%d MB wait) and was disconnected", peer.name, waiting)
            self._close(peer)
        self._stay_within_bounds()
        self._watch(peer)

    def _stay_within_bounds(self) -> None:
        """Disconnect whoever burdens the server most, if all together are too much."""
        while self._ledger.bytes > self._limits.all_bytes:
            peer = connections.most_burdensome(self._peers)
            logger.warning(
                "all connections together hold more than %d MB; %s was disconnected: %d MB are not read by it, "
                "%d MB of what it said are not complete or not answered",
                *(self._limits.all_bytes >> 20, peer.name, peer.backlog_bytes >> 20, peer.unanswered_bytes >> 20),
            )
            self._close(peer)

    def _close(self, peer: Peer) -> None:
        if peer.closed:
            return
        logger.debug("%s leaves", peer.name)
        if peer.events:
            self._selector.unregister(peer.connection)
        peer.close()
        self._peers.discard(peer)
        if isinstance(peer, RpcPeer):
            self._rpc_peers.remove(peer)
            self._simulation.forget(peer.session)
        elif isinstance(peer, StreamPeer):
            self._stream_peers[peer.stream_id].remove(peer)
            if peer.stream_id is not None:
                self._count_listeners(peer.stream_id)

    def _close_all(self) -> None:
        self._simulation.recordings.forget()  # a recording gets its name
        for peer in list(self._peers):
            self._close(peer)
        for listener in (*self._listeners, self._waker, self._wakened):
            listener.close()
        self._selector.close()

    # ------------------------------------------------------------------------- calls

    def _serve(self, peer: RpcPeer) -> None:
        """Answer whatever may be answered now."""
        if peer.closed:  # it was disconnected while another was served
            return
        if peer.held_tick and peer.pause.over(time.monotonic()) and self._may_tick():
            call, peer.held_tick = peer.held_tick, None
            self._answer(peer, call)
        if peer.episode.late(time.monotonic()):
            self._episode_goes_on(peer)
        self._answer_all(peer)
        peer.settle()
        self._watch(peer)  # there may be room for more, or no longer
        if peer.wake_up.suspected(time.monotonic()) and self._steps_traffic_manager(peer):
            ports = ", ".join(map(str, sorted(peer.session.traffic_manager_ports)))
            logger.warning(LOST_WAKE_UP, peer.name, self._silence_s, self._simulation.world.frame, ports)

    def _answer_all(self, peer: RpcPeer) -> None:
        while peer.waiting and not peer.closed and not self._stopping:
            call = peer.waiting[0]
            if peer.episode.keeps(call.name):
                peer.kept.append(peer.waiting.popleft())
                if peer.episode.state is Episode.LOADING:
                    self._episode_goes_on(peer)
            elif self._holds_for_traffic_manager(call):
                if peer.held_tick:
                    return  # of another thread of the same client
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
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("%s calls %s%s", peer.name, call.name, reprlib.repr(call.params))
        episode_id, xodr = self._simulation.world.episode_id, self._simulation.world.town.xodr
        frame = self._simulation.world.frame
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
        if self._simulation.world.frame != frame and self._steps_traffic_manager(peer):
            peer.wake_up.ticked(time.monotonic())
        self._after(peer, call)

    def _steps_traffic_manager(self, peer: RpcPeer) -> bool:
        return self._simulation.synchronous and bool(peer.session.traffic_manager_ports)

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
        if self._simulation.stream_of(stream_id) is not None:
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
