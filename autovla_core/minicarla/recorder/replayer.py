"""Drives the actors of a recording through a world, without physics, at any speed forwards."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from autovla_core.minicarla.recorder import frames
from autovla_core.minicarla.recorder.frames import Frame
from autovla_core.minicarla.recorder.log_file import Reader, RecordingError
from autovla_core.minicarla.world.actor import Vehicle
from autovla_core.minicarla.world.spawning import ActorNotFound, SpawnError
from autovla_core.minicarla.world.world import World

BEHIND_M, ABOVE_M, DOWN_DEG = 8.0, 4.0, -15.0  # of the spectator that follows somebody
_EARLY_S = 1e-4  # ticks are sums of float deltas
PARKED_AT_M = 1e4  # an actor is born up there and put into its place at once


@dataclass(frozen=True)
class ReplayOptions:
    """CARLA's arguments of ``replay_file``, except that ``start_s`` always counts from the beginning."""

    start_s: float = 0.0
    duration_s: float = 0.0  # 0: until the end
    follow: int = 0  # id in the recording, 0: nobody


class Replay:
    """One replay under way. It reads ahead by one frame and holds no more."""

    def __init__(self, reader: Reader, options: ReplayOptions, ignore_hero: bool) -> None:
        self._reader = reader
        self._options, self._ignore_hero = options, ignore_hero
        self._frames: Iterator[Frame] = iter(frames.frames_of(reader.chunks()))
        self._before: Frame | None = None
        self._after: Frame | None = next(self._frames, None)
        if self._after is None:
            raise RecordingError("the recording has no frame")
        self.actors: dict[int, int] = {}  # id in the recording: id in the world
        self._frozen: dict[int, bool] = {}  # what the lights were before
        self.start_s = options.start_s
        self._time_s = self.start_s
        self._end_s = self.start_s + options.duration_s if options.duration_s > 0.0 else math.inf

    def advance(self, world: World, dt: float, follow: bool) -> bool:
        """Put everybody where the recording has them ``dt`` seconds later; False once it is over."""
        first = self._before is None
        self._time_s += 0.0 if first else dt
        while self._after is not None and self._after.time_s <= self._time_s + _EARLY_S:
            self._enter(world, self._after)
            self._before, self._after = self._after, next(self._frames, None)
        if self._before is None:
            return True
        over = self._after is None and self._time_s > self._before.time_s + _EARLY_S
        if over or self._time_s > self._end_s + _EARLY_S:
            return False
        self._place(world)
        if follow and self._options.follow in self.actors:
            self._watch(world, self.actors[self._options.follow])
        return True

    def end(self, world: World, keep_actors: bool) -> None:
        """Give physics and lights back, or take the actors away."""
        self.close()
        for light in world.lights():
            light.frozen = self._frozen.get(light.id, light.frozen)
        for actor_id in self.actors.values():
            if actor_id not in world.actors:
                continue
            if keep_actors:
                world.set_simulate_physics(actor_id, True)
            else:
                world.destroy(actor_id)

    def close(self) -> None:
        self._reader.close()

    def _enter(self, world: World, frame: Frame) -> None:
        """Births and deaths of a frame that has been reached."""
        for birth in frame.births:
            if not (self._ignore_hero and birth.attributes.get("role_name") == "hero"):
                self._bear(world, birth)
        for recorded in frame.deaths:
            try:
                world.destroy(self.actors.pop(recorded, 0))
            except ActorNotFound:
                continue  # a client has destroyed it, or it was never born

    def _bear(self, world: World, birth: frames.Birth) -> None:
        try:
            up = PARKED_AT_M + 10.0 * birth.id
            actor = world.spawn(birth.type_id, birth.attributes, (0.0, 0.0, up), (0.0, 0.0, 0.0))
        except SpawnError as error:
            raise RecordingError(f"{birth.type_id} of the recording cannot be spawned: {error}") from error
        world.set_simulate_physics(actor.id, False)
        if isinstance(actor, Vehicle):
            actor.autopilot = False
        self.actors[birth.id] = actor.id

    def _place(self, world: World) -> None:
        before, after = self._before, self._after
        gap = after.time_s - before.time_s if after is not None else 0.0
        share = (self._time_s - before.time_s) / gap if gap > 0.0 else 0.0
        share = 0.0 if share < _EARLY_S else min(share, 1.0)
        later = dict(zip(after.ids.tolist(), after.states)) if after is not None and share > 0.0 else {}
        for recorded, row in zip(before.ids.tolist(), before.states):
            actor = world.actors.get(self.actors.get(recorded, 0))
            if actor is not None:
                frames.put(actor, frames.between(row, later[recorded], share) if recorded in later else row)
        for light, state in zip(world.lights(), before.light_states):
            self._frozen.setdefault(light.id, light.frozen)
            light.frozen, light.state = True, state

    @staticmethod
    def _watch(world: World, actor_id: int) -> None:
        actor = world.actors.get(actor_id)
        if actor is not None:
            yaw = math.radians(float(actor.rotation[1]))
            back = np.array([-BEHIND_M * math.cos(yaw), -BEHIND_M * math.sin(yaw), ABOVE_M])
            world.set_transform(world.spectator_id, actor.location + back, (DOWN_DEG, float(actor.rotation[1]), 0.0))


def length_s(reader: Reader) -> float:
    """Seconds from the first to the last frame; reads to the end."""
    last = 0.0
    for frame in frames.frames_of(reader.chunks()):
        last = frame.time_s
    return last
