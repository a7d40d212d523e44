"""The seconds before each fault: pictures from a film or a route log, and what the planner thought then.

Our records say when a fault appeared. Others say only where: then a route log of the same drive (route and seed)
gives the time, the first closest pass of the ego by that place. Faults that end a drive need no log.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from autovla_core.errors import LogError
from autovla_core.evaluation.report.collect import UNCOUNTED, Drive, Fault, RunResults
from autovla_core.evaluation.report.film import jpeg, mp4, read_seconds, seconds_of
from autovla_core.logs.plans import PLAN_LINES, LoggedPlan, read_plans
from autovla_core.logs.reader import RouteLog

BEFORE_S, AFTER_S = 4.0, 0.5
SAME_S = 1e-3  # times that are told in milliseconds are not equal to the last bit
NEAR_M = 15.0  # a log that never comes this close to the place of a fault is of another drive
FINAL = {"vehicle_blocked", "route_dev", "route_timeout"}  # kinds that end a drive
FAILED = "failed"
_PLACE = re.compile(r"\(x=(-?[\d.]+), y=(-?[\d.]+), z=-?[\d.]+\)")


@dataclass(frozen=True)
class PlanNote:
    """What one plan said besides its poses."""

    observed_at_s: float
    mode: str  # fast, slow or failed
    thought: str
    latency_ms: float


@dataclass(frozen=True)
class Media:
    """What was kept of drives of one run, by (route, seed)."""

    logs: Mapping[tuple[str, int], RouteLog] = field(default_factory=dict)
    films: Mapping[tuple[str, int], Path] = field(default_factory=dict)
    plans: Mapping[tuple[str, int], Sequence[PlanNote]] = field(default_factory=dict)
    torn: int = 0  # plans that a crash cut off while they were written


@dataclass(frozen=True)
class Scene:
    """One fault, with what is known of the moment."""

    run: str
    drive: Drive
    fault: Fault
    time_s: float | None = None  # of the drive
    poster: bytes = b""  # JPEG
    clip: bytes = b""  # mp4; both empty when nothing was filmed
    note: PlanNote | None = None
    trouble: str = ""  # why there is no picture


def read_logs(folders: Sequence[str | Path]) -> Media:
    """Route logs and, where a folder holds them, their plans.

    Raises:
        LogError: a damaged log, or two of one route and seed.
    """
    logs: dict[tuple[str, int], RouteLog] = {}
    plans: dict[tuple[str, int], Sequence[PlanNote]] = {}
    torn = 0
    for folder in folders:
        log = RouteLog(folder)
        key = (log.meta.route_id, log.meta.seed)
        if key in logs:
            raise LogError(f"{folder} and {logs[key].folder} both hold route {key[0]} with seed {key[1]}")
        logs[key] = log
        if (Path(folder) / PLAN_LINES).is_file():
            found = read_plans(Path(folder) / PLAN_LINES)
            plans[key], torn = notes_of(found.plans), torn + found.torn
    return Media(logs, {}, plans, torn)


def notes_of(plans: Sequence[LoggedPlan]) -> list[PlanNote]:
    """Plans as notes; one that failed has the mode ``failed`` and its error as thought."""
    return [
        PlanNote(
            plan.observed_at_s, FAILED if plan.failure else plan.mode, plan.failure or plan.thought, plan.latency_ms
        )
        for plan in plans
    ]


def scenes_of(run: RunResults, media: Media, limit: int = 24) -> list[Scene]:
    """Faults with pictures, at most ``limit`` of them, in the order of the drives."""
    return [_scene(run.name, drive, fault, media) for drive, fault in filmed(run, media)[:limit]]


def filmed(run: RunResults, media: Media) -> list[tuple[Drive, Fault]]:
    """Faults of the drives that were filmed or logged, in the order of the drives; driving slowly is none."""
    kept = [drive for drive in run.drives if (key := (drive.route, drive.seed)) in media.logs or key in media.films]
    return [(drive, fault) for drive in kept for fault in drive.faults if fault.kind != UNCOUNTED]


def shares(counts: Sequence[int], limit: int) -> list[int]:
    """How many of each of ``counts`` are shown, ``limit`` in all: one after the other in turn, as long as each has."""
    left, found = limit, [0] * len(counts)
    while left > 0 and found != list(counts):
        for number, count in enumerate(counts):
            if found[number] < count and left > 0:
                found[number], left = found[number] + 1, left - 1
    return found


def moment(fault: Fault, drive: Drive, log: RouteLog | None) -> float | None:
    """When a fault happened, in s of the drive; None where neither record nor log tell."""
    if fault.time_s is not None:
        return fault.time_s
    place = _PLACE.search(fault.message)
    if fault.kind in FINAL:
        return drive.game_s
    if place is None or log is None:
        return None
    target = np.array([float(place[1]), -float(place[2])])  # CARLA's y points right
    away = np.hypot(*(log.poses[:, :2] - target).T)
    if away.min() > NEAR_M:
        return None
    return float(log.ticks["time_s"][int(np.argmin(away))])


def _scene(run: str, drive: Drive, fault: Fault, media: Media) -> Scene:
    key = (drive.route, drive.seed)
    log = media.logs.get(key)
    time_s = moment(fault, drive, log)
    if time_s is None:
        return Scene(run, drive, fault, trouble="the record does not tell when it happened")
    try:
        images, times = _from_film(media.films[key], time_s) if key in media.films else _from_log(log, time_s)
    except LogError as error:
        return Scene(run, drive, fault, time_s, trouble=str(error))
    note = max(
        (n for n in media.plans.get(key, ()) if n.observed_at_s <= time_s), key=lambda n: n.observed_at_s, default=None
    )
    at_fault = images[max(int(np.searchsorted(times, time_s + SAME_S)) - 1, 0)]  # the last one before it
    return Scene(run, drive, fault, time_s, jpeg(at_fault), mp4(images, _rate(times)), note)


def _rate(times: np.ndarray) -> float:
    """Images a second that play as fast as they were taken: (N,) s, of which some may be missing."""
    return 1.0 / float(np.median(np.diff(times))) if len(times) > 1 else 1.0


def _from_film(film: Path, time_s: float) -> tuple[list[np.ndarray], np.ndarray]:
    end = min(time_s, seconds_of(film))  # a film may end a little before the drive does
    return read_seconds(film, end - BEFORE_S, end + AFTER_S)


def _from_log(log: RouteLog, time_s: float) -> tuple[list[np.ndarray], np.ndarray]:
    if not log.cameras:
        raise LogError(f"the log {log.folder.name} holds no images")
    camera = log.cameras[0]
    ticks = log.image_ticks[camera]
    times = log.ticks["time_s"][ticks]
    near = (times >= time_s - BEFORE_S) & (times <= time_s + AFTER_S)
    if not near.any():
        raise LogError(f"the log {log.folder.name} has no image of {camera!r} around {time_s:.1f} s")
    return [log.image(camera, tick) for tick in ticks[near]], times[near]
