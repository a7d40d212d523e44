"""Everything that is needed to replay a drive and to ask what the planner thought: one log folder a drive.

<logs>/<route id>_rep<k>/   a route log (``logs/schema.py``), plans.jsonl (``logs/plans.py``), flight.json
<logs>/superseded/          logs of drives that were made again, and what was left of killed ones
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from autovla_core.contracts import Control
from autovla_core.driving.driver import Attempt
from autovla_core.errors import LogError
from autovla_core.evaluation.flight import Flight, write_flight
from autovla_core.evaluation.insight import driver_of, plan_of
from autovla_core.evaluation.provenance import Provenance
from autovla_core.evaluation.recording import CAMERA_PREFIX, Recorder
from autovla_core.evaluation.results import Record
from autovla_core.evaluation.watching import Scenery, Subscriber, TickFacts, Watcher
from autovla_core.logs.plans import PLAN_LINES, LoggedPlan, PlanWriter, logged, logged_failure
from autovla_core.logs.salvage import BROKEN_OFF, is_broken_off, salvage
from autovla_core.logs.writer import partial_folder
from autovla_core.sensing import rig as rigs
from autovla_core.sensing.faults import NO_FAULTS, FaultySensors, SensorFaults, chance_of
from autovla_core.sensing.rig import CameraSpec

logger = logging.getLogger(__name__)

SUPERSEDED = "superseded"


def recorders(root: Path, name: str, provenance: Provenance, rig: str = "") -> list[Subscriber]:
    """What records one drive into ``root/name``; an older log of that name is set aside.

    Args:
        rig: cameras of the log, in place of the agent's; "": what the agent itself sees.
    """
    set_aside(root, name)
    recorder = DriveRecorder(root, name, rigs.rig(rig) if rig else None, provenance.episode.faults)
    return [recorder, FlightRecorder(recorder, provenance)]


def set_aside(root: Path, name: str) -> None:
    """Make room for a log; nothing is thrown away."""
    left, partial = root / name, partial_folder(root / name)
    if left.exists():
        _superseded(root, name).parent.mkdir(exist_ok=True)
        left.rename(_superseded(root, name))
    if is_broken_off(partial):
        _set_aside_broken(partial, _superseded(root, name))


def _set_aside_broken(partial: Path, target: Path) -> None:
    """As a log if one can be made of it, else as it lies."""
    try:
        saved = salvage(partial, target)
        logger.info("%s: %d ticks of a killed drive were saved", saved.folder, saved.ticks)
    except LogError as error:
        if partial.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            partial.rename(target)
        logger.warning("%s: no log can be made of what a killed drive left: %s", target, error)


def _superseded(root: Path, name: str) -> Path:
    taken = root / SUPERSEDED
    return next(folder for i in range(10_000) if not (folder := taken / f"{name}.{i}").exists())


class DriveRecorder(Recorder):
    """Keeps every log, also of a drive that broke off. Without cameras of its own it keeps what the agent was given.

    Args:
        cameras: to mount and keep; None: the agent's.
        faults: of the agent's sensors.
    """

    def __init__(
        self, root: Path, name: str, cameras: tuple[CameraSpec, ...] | None = None, faults: SensorFaults = NO_FAULTS
    ) -> None:
        super().__init__(root, name, cameras or (), sort_out=False)
        self._mounts, self._faults = cameras is not None, faults

    @property
    def working_folder(self) -> Path:
        """Where the log lies while the drive goes on."""
        return partial_folder(self._root / self._name)

    def sensors(self) -> list[dict[str, object]]:
        """Cameras of its own, if it was given any."""
        return super().sensors() if self._mounts else []

    def begin(self, scenery: Scenery) -> None:
        """Open the log."""
        if not self._mounts:
            self._cameras = cameras_of(scenery.agent_sensors)
        self._sensors = FaultySensors(self._faults, chance_of(scenery.route.id, scenery.seed))
        super().begin(scenery)

    def tick(self, facts: TickFacts) -> None:
        """Write one tick, and images where cameras fired."""
        if not self._mounts:
            facts = replace(facts, input_data=self._own(facts))
        super().tick(facts)

    def end(self, record: Record | None) -> None:
        """Close the log."""
        if record is not None or self._writer is None:
            super().end(record)
            return
        self.reason = BROKEN_OFF
        self.folder = self._writer.close({"status": "", "reason": BROKEN_OFF})

    def _own(self, facts: TickFacts) -> Mapping[str, tuple[int, object]]:
        """The agent's images under the names that the recorder looks for."""
        ids = {camera.id for camera in self._cameras}
        images = {id: value for id, value in facts.input_data.items() if id in ids}
        seen = self._sensors(facts.number, facts.moment.time_s, images)
        return {CAMERA_PREFIX + id: value for id, value in seen.items()}


def cameras_of(specs: Sequence[Mapping[str, object]]) -> tuple[CameraSpec, ...]:
    """The RGB cameras among the sensors that an agent asks for."""
    return tuple(camera_of(spec) for spec in specs if spec["type"] == "sensor.camera.rgb")


def camera_of(spec: Mapping[str, object]) -> CameraSpec:
    """A leaderboard specification as a value."""
    pose = [float(spec.get(key, 0.0)) for key in ("x", "y", "z", "roll", "pitch", "yaw")]
    return CameraSpec(str(spec["id"]), *pose, int(spec["width"]), int(spec["height"]), float(spec["fov"]))


class FlightRecorder(Watcher):
    """Writes each plan as it is made, and what the drive depends on; stands behind its ``DriveRecorder``."""

    def __init__(
        self, recorder: DriveRecorder, provenance: Provenance, others: Sequence[Subscriber] | None = None
    ) -> None:
        self._recorder, self._provenance = recorder, provenance
        self._others = [recorder] if others is None else others  # all that mount sensors, in order
        self._plans: PlanWriter | None = None
        self._last: object = None  # the newest plan that was written
        self._reversed: list[int] = []

    def begin(self, scenery: Scenery) -> None:
        """Write the flight, open the list of plans."""
        self._agent = scenery.agent
        self._flight = Flight(
            route=scenery.route,
            seed=scenery.seed,
            agent=type(scenery.agent).__name__,
            agent_sensors=scenery.agent_sensors,
            other_sensors=tuple(spec for other in self._others for spec in other.sensors()),
            episode=self._provenance.episode,
            start=scenery.start,
            facts={**self._provenance.facts(), "simulator": scenery.session.client.get_server_version()},
        )
        write_flight(self._recorder.working_folder, self._flight)
        self._plans = PlanWriter(self._recorder.working_folder / PLAN_LINES)

    def tick(self, facts: TickFacts) -> None:
        """Write the plan that was asked for at this tick, if one was."""
        if facts.control.reverse:
            self._reversed.append(facts.number)
        line = self._new_line(facts.number, facts.control)
        if line is not None:
            self._plans.write(line)

    def end(self, record: Record | None) -> None:
        """Close the list."""
        if self._plans is None:
            return
        self._plans.close()
        if self._reversed and self._recorder.folder is not None:
            write_flight(self._recorder.folder, replace(self._flight, reversed_ticks=tuple(self._reversed)))

    def _new_line(self, tick: int, control: Control) -> LoggedPlan | None:
        driver = driver_of(self._agent)
        newest: Attempt | object | None = driver.attempt if driver else plan_of(self._agent)
        if newest is None or newest is self._last:
            return None
        self._last = newest
        if not isinstance(newest, Attempt):
            return logged(tick, None, plan_of(self._agent), control)
        if newest.plan is None:
            times = newest.asked_at_s, newest.ready_at_s
            return logged_failure(tick, *times, newest.failure, newest.observation, control)
        return logged(tick, newest.observation, newest.plan, control)
