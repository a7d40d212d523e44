"""When a call may be answered: the waits that keep CARLA's client from its own races. No sockets, no clock.

Times are seconds of any monotonic clock, handed in. The pitfalls are those of CARLA 0.9.16's client:
first frames lost because a stream is opened late, a Traffic Manager that looks at an episode which is
being replaced, and a Traffic Manager that misses its wake-up.
"""

from __future__ import annotations

from collections import defaultdict
from enum import Enum

SUBSCRIBE_WITHIN_S = 1.0
TRAFFIC_MANAGER_PAUSE_S = 0.001
TRAFFIC_MANAGER_ASKS_WITHIN_S = 0.1
MAP_TAKEN_UP_WITHIN_S = 4.0  # a large map, a busy machine
EPISODE_FETCHED_WITHIN_S = 1.0
SILENCE_S = 10.0


class Subscriptions:
    """Streams that a client asked the token of, and has not connected to yet.

    The client connects right after it got the token, in another thread; a tick in between would be
    lost to it, so ticks wait, for a second at most.
    """

    def __init__(self) -> None:
        self._deadlines: dict[int, list[float]] = defaultdict(list)

    def announce(self, stream_id: int, now: float) -> None:
        """Somebody got the token of a stream."""
        self._deadlines[stream_id].append(now + SUBSCRIBE_WITHIN_S)

    def connected(self, stream_id: int) -> None:
        """Somebody connected to a stream."""
        if self._deadlines.get(stream_id):
            self._deadlines[stream_id].pop(0)

    def settled(self, now: float) -> bool:
        """Whether nobody is under way any more; who came too late is forgotten."""
        for stream_id, deadlines in list(self._deadlines.items()):
            alive = [deadline for deadline in deadlines if deadline > now]
            if alive:
                self._deadlines[stream_id] = alive
            else:
                del self._deadlines[stream_id]
        return not self._deadlines


class TickPause:
    """Holds a tick while the Traffic Manager's thread may be between two steps.

    A snapshot that arrives just then can be missed by it for ever. The pause makes that rare, not
    impossible.
    """

    def __init__(self, pause_s: float = TRAFFIC_MANAGER_PAUSE_S) -> None:
        self._pause_s = pause_s
        self._free_at = 0.0

    def touch(self, now: float) -> None:
        """A tick was asked for, or the settings were read."""
        self._free_at = max(self._free_at, now + self._pause_s)

    def over(self, now: float) -> bool:
        return now >= self._free_at


class LostWakeUp:
    """Notices a client whose Traffic Manager sleeps for ever.

    After the reply to a tick a Traffic Manager that is awake asks for the settings, however slow its script is. If
    its client says nothing at all, its two threads wait for each other.
    """

    def __init__(self, silence_s: float = SILENCE_S) -> None:
        self.silence_s = silence_s
        self._since: float | None = None

    def ticked(self, now: float) -> None:
        """A tick of the owner of a Traffic Manager was answered."""
        self._since = now

    def heard(self) -> None:
        """It said something."""
        self._since = None

    def suspected(self, now: float) -> bool:
        """Whether it has been silent for too long; said once for each tick."""
        lost = self._since is not None and now - self._since >= self.silence_s
        if lost:
            self._since = None
        return lost


class Episode(Enum):
    """What one client knows of the episode."""

    KNOWN = "known"
    LOADING = "loading"  # loaded here; the reply waits until the client's Traffic Manager is parked
    UNKNOWN = "unknown"  # the reply is out; the client has no episode until it has the world's stream


class EpisodeChange:
    """Keeps a client's Traffic Manager inside a call while the client has no episode.

    Without that it dereferences null. ``LOADING``: its next question for the settings is not answered
    but kept, then the reply to the load goes out. ``UNKNOWN``: only what the client needs to fetch
    the episode is answered, all else is kept. With the token of the world's stream it is over.
    """

    FETCHING = frozenset({"version", "get_episode_info", "get_sensor_token"})

    def __init__(self) -> None:
        self.state = Episode.KNOWN
        self._deadline = 0.0
        self._ticks_to_settle = 0

    def loading(self, now: float) -> None:
        patience = MAP_TAKEN_UP_WITHIN_S if self.settling else TRAFFIC_MANAGER_ASKS_WITHIN_S
        self.state, self._deadline = Episode.LOADING, now + patience

    def replied(self, now: float) -> None:
        self.state, self._deadline = Episode.UNKNOWN, now + EPISODE_FETCHED_WITHIN_S

    def fetched(self) -> None:
        self.state = Episode.KNOWN

    def announced(self) -> None:
        """The client's Traffic Manager is told of a new episode: it is not there until it has read the map.

        A client asks for a second tick only after it has handled the first, and so the change before that.
        """
        self._ticks_to_settle = 2

    def ticked(self) -> None:
        """The client asked for a tick."""
        self._ticks_to_settle = max(0, self._ticks_to_settle - 1)

    @property
    def settling(self) -> bool:
        """Whether its Traffic Manager may still be busy with the map of the last change."""
        return self._ticks_to_settle > 0

    def late(self, now: float) -> bool:
        """Whether the present state has lasted long enough."""
        return self.state is not Episode.KNOWN and now >= self._deadline

    def keeps(self, method: str) -> bool:
        """Whether a call must be kept for later."""
        if self.state is Episode.LOADING:
            return method == "get_episode_settings"
        return self.state is Episode.UNKNOWN and method not in self.FETCHING
