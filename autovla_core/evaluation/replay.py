"""Drive a log again, control by control, and say at which tick it differs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from autovla_core.carla_bridge.actuate import vehicle_control
from autovla_core.carla_bridge.session import Session
from autovla_core.carla_bridge.wheel import carla
from autovla_core.contracts import FULL_BRAKE, Control
from autovla_core.evaluation.episode import run_episode
from autovla_core.evaluation.flight import Flight, read_flight
from autovla_core.evaluation.flight_recorder import DriveRecorder
from autovla_core.evaluation.minimum_speed import MESSAGE
from autovla_core.evaluation.recording import CAMERA_PREFIX
from autovla_core.evaluation.sensor_rules import ANY
from autovla_core.evaluation.watching import EpisodeStopped, Start, TickFacts, Watcher
from autovla_core.logs import schema
from autovla_core.logs.reader import RouteLog
from autovla_core.sensing.rig import CameraSpec

REPLAY = "replay"
DRIVERS_OWN = {"target_speed", "perturbed"}  # columns that say what the driver wanted, not what happened
SAME_DRIVE = ("status", "infractions", "score_route", "score_composed")  # of an outcome


@dataclass(frozen=True)
class Difference:
    """The first place where two drives part."""

    tick: int
    what: str  # a column of the ticks, a camera, "length" or part of the outcome
    logged: object
    replayed: object

    def __str__(self) -> str:
        return f"tick {self.tick}: {self.what} is {self.replayed!r}, the log has {self.logged!r}"


@dataclass(frozen=True)
class Replay:
    """A drive made again."""

    difference: Difference | None  # None: equal to the last bit
    ticks: int
    images: int
    changed: Mapping[str, tuple[str, str]]  # versions and hashes that are no longer what they were


class ReplayAgent:
    """Gives the controls of a log, tick by tick; asks for the sensors of the agent that drove it."""

    def __init__(self, log: RouteLog, flight: Flight) -> None:
        self._controls = [_control(log, flight, tick) for tick in range(len(log))]
        self._sensors = [dict(spec) for spec in flight.agent_sensors]
        self._tick = 0

    @property
    def exhausted(self) -> bool:
        """Whether more controls were asked for than there are."""
        return self._tick > len(self._controls)

    def set_global_plan(self, gps_route: list, world_route: list) -> None:
        """Not needed: the controls are known."""

    def setup(self, config: str) -> None:
        """Nothing to load."""

    def sensors(self) -> list[dict[str, object]]:
        """As in the log: what is mounted shifts when the drive begins."""
        return self._sensors

    def run_step(self, input_data: Mapping[str, tuple[int, object]], timestamp: float) -> carla.VehicleControl:
        """The control of this tick."""
        self._tick += 1
        return vehicle_control(FULL_BRAKE if self.exhausted else self._controls[self._tick - 1])

    def destroy(self) -> None:
        """Nothing is held."""


class _Mounts(Watcher):
    """Mounts what the recorders and pictures of the log had mounted; stops when the controls run out."""

    def __init__(self, agent: ReplayAgent, flight: Flight, on_tick: Callable[[], None]) -> None:
        self._agent, self._flight, self._on_tick = agent, flight, on_tick

    def sensors(self) -> list[dict[str, object]]:
        return [dict(spec) for spec in self._flight.other_sensors]

    def tick(self, facts: TickFacts) -> None:
        if self._agent.exhausted:
            raise EpisodeStopped
        self._on_tick()


class _Rerecorder(DriveRecorder):
    """Records through cameras that others mount."""

    def sensors(self) -> list[dict[str, object]]:
        return []


@dataclass(frozen=True)
class _SameStart:
    """Starts where the log did; disturbs nothing, since the log holds the disturbed controls."""

    at: Start

    def start(self) -> Start:
        return self.at

    def disturb(self, time_s: float, control: Control) -> Control:
        return control


def drive_again(
    session: Session,
    folder: str | Path,
    scratch: Path,
    facts: Mapping[str, str],
    on_tick: Callable[[], None] = lambda: None,
) -> Replay:
    """Re-drive a log.

    Args:
        session: with a simulator of the same version, for a chance to be equal.
        folder: a log with ``flight.json``.
        scratch: empty folder for the new log.
        facts: versions and hashes of now, by the names of ``Flight.facts``.
        on_tick: called after each tick.

    Raises:
        LogError: a damaged log, or one without ``flight.json``.
        SimulatorError: the simulator failed.
    """
    log, flight = RouteLog(folder), read_flight(folder)
    agent = ReplayAgent(log, flight)
    own = any(str(spec["id"]).startswith(CAMERA_PREFIX) for spec in flight.other_sensors)
    cameras = tuple(CameraSpec(**spec) for spec in log.meta.rig.values()) if own else None
    recorder = _Rerecorder(scratch, REPLAY, cameras, flight.episode.faults)
    watchers, start = [_Mounts(agent, flight, on_tick), recorder], _SameStart(flight.start)
    episode = replace(flight.episode, track=ANY)  # what was mounted then may be mounted again
    run_episode(session, flight.route, agent, "", flight.seed, 0, episode, watchers, start)
    again = RouteLog(scratch / REPLAY)
    changed = {k: (v, facts[k]) for k, v in flight.facts.items() if k in facts and facts[k] != v}
    images = sum(len(ticks) for ticks in log.image_ticks.values())
    return Replay(first_difference(log, again, ended=not agent.exhausted), len(again), images, changed)


def first_difference(log: RouteLog, again: RouteLog, ended: bool = True) -> Difference | None:
    """The earliest tick at which state, control or picture differ, then lengths, then how the drives ended.

    Args:
        ended: the judge ended the second drive; else nothing is to be learnt from its status.
    """
    found = [*_tick_differences(log, again), *_image_differences(log, again)]
    if found:
        return min(found, key=lambda difference: difference.tick)
    shorter = min(len(log), len(again))
    if len(log) != len(again):
        return Difference(shorter, "length", len(log), len(again))
    if not log.outcome.get("status"):  # a drive that broke off has no outcome
        return None
    for name in SAME_DRIVE if ended else SAME_DRIVE[1:]:
        ours, theirs = _judged(log, name), _judged(again, name)
        if ours != theirs:
            return Difference(shorter, name, ours, theirs)
    return None


def _judged(log: RouteLog, name: str) -> object:
    """Part of an outcome without the checkpoints of minimum speed, which cost nothing and older logs do not have."""
    value = log.outcome.get(name)
    if name == "infractions":
        return [message for message in value or () if not message.startswith(MESSAGE)]
    return "Completed" if value == "Perfect" else value


def _tick_differences(log: RouteLog, again: RouteLog) -> Iterable[Difference]:
    count = min(len(log), len(again))
    if count == 0:
        return
    for name in schema.TICK_COLUMNS:
        ours, theirs = log.ticks[name][:count], again.ticks[name][:count]
        unequal = np.flatnonzero(ours.view(np.uint8).reshape(count, -1) != theirs.view(np.uint8).reshape(count, -1))
        if name not in DRIVERS_OWN and len(unequal):
            tick = int(unequal[0]) // ours.dtype.itemsize
            yield Difference(tick, name, ours[tick].item(), theirs[tick].item())


def _image_differences(log: RouteLog, again: RouteLog) -> Iterable[Difference]:
    """Pictures are compared as files: equal pictures are equal bytes."""
    end = min(len(log), len(again))
    for camera in log.cameras:
        taken = {int(tick) for tick in log.image_ticks[camera] if tick < end}
        retaken = {int(tick) for tick in again.image_ticks.get(camera, ()) if tick < end}
        for tick in sorted(taken | retaken):
            files = [schema.image_file(each.folder, camera, tick) for each in (log, again)]
            sizes = [file.stat().st_size if file.is_file() else 0 for file in files]
            if 0 in sizes or files[0].read_bytes() != files[1].read_bytes():
                yield Difference(tick, f"camera {camera} (bytes)", *sizes)
                break


def _control(log: RouteLog, flight: Flight, tick: int) -> Control:
    values = {name: float(log.ticks[name][tick]) for name in ("steer", "throttle", "brake")}
    return Control(**values, reverse=tick in flight.reversed_ticks)
