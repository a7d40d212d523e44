"""What the expert does about a scenario: another path, other speeds, places to wait; nothing in a plain scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from autovla_core.contracts import Actor, Scene
from autovla_core.expert import encounters
from autovla_core.expert.detour import ONCOMING, OWN, Detour, ramp_for, shifted
from autovla_core.expert.hazards import Nearby
from autovla_core.expert.obstacles import Extent, StandWatch, extents, obstructions
from autovla_core.expert.overtaking import EDGE_M, Choice, EgoState, Overtaking
from autovla_core.expert.path import DrivePath
from autovla_core.expert.scene import RoadScene, Room
from autovla_core.expert.speed import Constraint, SpeedConfig, Stop
from autovla_core.expert.yielding import Yielding

BOLD_ACCELERATION = 4.0  # m/s2, through gaps that do not wait
BOLD_WITHIN_M = 40.0
BACK_M, AHEAD_M = 80.0, 170.0  # where others matter for a detour
INVADED_M = 0.5  # kept to oncoming cars that come over the line
INVADER_AHEAD_M = 60.0


@dataclass(frozen=True)
class Response:
    """How this tick differs from a plain drive; ``rule`` names why the path does."""

    path: DrivePath
    cruise: float
    speed: SpeedConfig
    stops: tuple[Stop, ...] = ()
    rule: str = ""
    actor_id: int = 0


class Disturbances:
    """Remembers detours and who has stood since when."""

    def __init__(self, path: DrivePath, config: SpeedConfig, top_speed: float) -> None:
        self._path, self._config, self._top_speed = path, config, top_speed
        self.reset()

    def reset(self) -> None:
        """Forget the last episode."""
        self._standing, self._overtaking, self._yielding = StandWatch(), Overtaking(), Yielding()
        self._nudge: Detour | None = None
        self._shifted: tuple[tuple[Detour, ...], DrivePath] = ((), self._path)

    def respond(self, scene: Scene, s: float, cruise: float) -> Response:
        """The path to drive and where to wait; ``cruise`` is the wanted speed of a plain drive (m/s)."""
        if not isinstance(scene, RoadScene) or scene.room is None or not scene.staged:
            return Response(self._path_with(self._under_way(s)), cruise, self._config)
        ego = EgoState(s, scene.speed, cruise, scene.length / 2, scene.width / 2)
        standing = self._standing.update(scene)
        everybody = [a for a in (*scene.actors, *scene.far) if a.kind != "walker"]
        places = extents(everybody, self._path, s, BACK_M, AHEAD_M)
        things = obstructions([p for p in places if p.actor.id in scene.staged], standing, s, ego.half_width)
        others = [p for p in places if p.actor.id not in standing and p.actor.kind == "vehicle"]
        choice = self._overtaking.decide(things, others, scene.room, ego)
        yielding = self._yielding.decide(places, scene.emergency, scene.room, ego)
        self._make_way(others, scene, ego)
        detours = tuple(d for d in (choice.detour, yielding and yielding.detour, self._nudge) if d is not None)
        stream = _stream_speed(scene)
        facing = choice.detour is not None and choice.detour.lane == ONCOMING
        bold = facing or stream > 0.0
        # Who faces others does not linger: they may appear nearer than could be foreseen when it was decided.
        cruise = max(cruise, scene.speed_limit if facing else min(stream, scene.speed_limit))
        speed = replace(self._config, acceleration=BOLD_ACCELERATION) if bold else self._config
        rule, actor_id = _named(choice, detours, s)
        if yielding:
            rule, actor_id, cruise = "emergency", yielding.detour.actor_id, yielding.cruise
        stops = () if choice.stop is None else (choice.stop,)
        return Response(self._path_with(detours), cruise, speed, stops, rule, actor_id)

    def meet(self, scene: Scene, near: Sequence[Nearby], s: float, half_corridor: float) -> list[Constraint]:
        """Constraints by those who come from the side; ``near`` are placed along the path that is driven."""
        found: list[Constraint] = []
        if any(n.actor.kind in ("walker", "bicycle") for n in near):
            found += encounters.crossers(near, s, scene.speed, scene.length / 2, half_corridor)
        if isinstance(scene, RoadScene) and scene.staged:
            found += encounters.cut_ins(near, scene.staged, s, scene.length / 2, half_corridor)
        return found

    def _make_way(self, others: Sequence[Extent], scene: RoadScene, ego: EgoState) -> None:
        """Keep to the right while oncoming cars of a scenario come over the line."""
        if self._nudge is not None and ego.s > self._nudge.returns:
            self._nudge = None
        coming = [p for p in others if p.actor.id in scene.staged and _invades(p, ego, scene.room)]
        if not coming or self._overtaking.detour is not None:
            return
        need = min(p.right for p in coming) - INVADED_M - ego.half_width
        offset = max(need, -self._room_right(scene.room, ego))
        if self._nudge is None:
            ramp = ramp_for(offset, 0.03)
            self._nudge = Detour(ego.s + ramp, ego.s + ramp, offset, ramp, OWN, coming[0].actor.id)
        end = max(max(p.end for p in coming), self._nudge.end)
        self._nudge = replace(self._nudge, end=end, offset=min(self._nudge.offset, offset))

    @staticmethod
    def _room_right(room: Room, ego: EgoState) -> float:
        edge = room.least("own_right", ego.s, ego.s + INVADER_AHEAD_M)
        return max(edge - ego.half_width - EDGE_M / 2, 0.0)

    def _under_way(self, s: float) -> tuple[Detour, ...]:
        """The detours that the ego is on: driven to their end also when those whom they led around are gone."""
        return tuple(detour for detour in self._shifted[0] if detour.leaves < s < detour.returns)

    def _path_with(self, detours: tuple[Detour, ...]) -> DrivePath:
        if self._shifted[0] != detours:
            config, path = self._config, self._path
            if detours:
                path = shifted(path, detours, config.lateral_acceleration, 0.8 * config.braking, self._top_speed)
            self._shifted = (detours, path)
        return self._shifted[1]


def _named(choice: Choice, detours: Sequence[Detour], s: float) -> tuple[str, int]:
    """The rule and the actor behind the detour that the ego is on now."""
    for detour in detours:
        if detour.leaves - 5.0 < s < detour.returns:
            return ("overtake" if detour is choice.detour else "make_way"), detour.actor_id
    return "", 0


def _invades(p: Extent, ego: EgoState, room: Room) -> bool:
    if abs(p.turned) < 2.2 or p.actor.speed < 0.5:
        return False
    ahead = ego.s - ego.half_length < p.end and p.begin < ego.s + INVADER_AHEAD_M
    if not ahead or room.has_junction(ego.s, p.end + 5.0):
        return False
    return p.right < ego.half_width + INVADED_M and p.left > ego.half_width


def _stream_speed(scene: RoadScene) -> float:
    """The fastest car (m/s) of a stream so near that a gap in it may be used; 0 when there is none."""
    ids = scene.staged - scene.emergency
    return max((a.speed for a in scene.actors if a.id in ids and _streams_by(a, scene)), default=0.0)


def _streams_by(actor: Actor, scene: RoadScene) -> bool:
    dx, dy = actor.pose[:2] - scene.pose[:2]
    return actor.kind == "vehicle" and actor.speed > 3.0 and dx * dx + dy * dy < BOLD_WITHIN_M**2
