"""Other road users as boxes at 10 Hz, as the scorer sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autovla_core.footprints import corners
from autovla_core.geometry import YAW
from autovla_core.scoring.pdm_types import AGENTS, GRID_S, TRACK_PERIOD_S, Track

STOPPED_SPEED = 0.05  # m/s
PER_PERIOD = round(TRACK_PERIOD_S / GRID_S)


@dataclass(frozen=True)
class Obstacles:
    """K boxes over T steps of 0.1 s; whether one moves is decided by its first sighting and never again."""

    boxes: np.ndarray  # (T, K, 4, 2) corners FL, RL, RR, FR
    present: np.ndarray  # (T, K) bool
    stopped: np.ndarray  # (K,) bool
    agent: np.ndarray  # (K,) bool; else a static object
    ignored: np.ndarray  # (K,) bool: never counts


def replay(tracks: Sequence[Track], steps: int) -> Obstacles:
    """Tracks interpolated to ``steps`` grid steps.

    A track is present from its first to its last sighting, gaps bridged; one that is seen once
    stands there from beginning to end, as in NAVSIM (AutoVLA's copy of it drops such a track).
    Sightings after the last grid step do not exist. Length and width are constants of a track.

    Raises:
        ValueError: states of a wrong shape, or a sighting that is partly NaN.
    """
    seen = [track for track in tracks if _sightings(track, steps).size]
    poses = np.stack([_interpolate(track, steps) for track in seen], 1) if seen else np.zeros((steps, 0, 3))
    speeds = np.array([np.hypot(*track.states[_sightings(track, steps)[0], 3:5]) for track in seen])
    agent = np.array([track.kind in AGENTS for track in seen], bool)
    present = np.isfinite(poses[..., 0])
    sizes = np.array([(track.length, track.width) for track in seen], float).reshape(-1, 2)
    return Obstacles(
        np.ascontiguousarray(corners(np.nan_to_num(poses), sizes[:, 0], sizes[:, 1])),
        present,
        ~agent | (speeds <= STOPPED_SPEED) if seen else np.zeros(0, bool),
        agent,
        np.zeros(len(seen), bool),
    )


def ignore(obstacles: Obstacles, ignored: np.ndarray) -> Obstacles:
    """The same with ``ignored`` (K,) bool."""
    return Obstacles(obstacles.boxes, obstacles.present, obstacles.stopped, obstacles.agent, ignored)


def red_steps(states: np.ndarray, steps: int) -> np.ndarray:
    """Light states (K,) bool every 0.5 s to (steps,) bool: each is held until the next, the last one to the end."""
    held = np.asarray(states, bool)
    return held[np.minimum(np.arange(steps) // PER_PERIOD, len(held) - 1)]


def red_at_start(red_lights: Mapping[str, np.ndarray]) -> list[str]:
    """Lane connectors that are red now."""
    return [name for name, states in red_lights.items() if len(states) and bool(states[0])]


def _sightings(track: Track, steps: int) -> np.ndarray:
    """Rows of ``track.states`` that hold a sighting within the horizon."""
    states = np.asarray(track.states, float)
    if states.ndim != 2 or states.shape[1] != 5:
        raise ValueError(f"track {track.id!r}: found states {states.shape}, expected (K, 5) x, y, yaw, vx, vy")
    finite = np.isfinite(states)
    if (finite.any(1) & ~finite.all(1)).any():
        raise ValueError(f"track {track.id!r}: a sighting must be finite or NaN throughout")
    rows = np.flatnonzero(finite[:, 0])
    return rows[rows * PER_PERIOD < steps]


def _interpolate(track: Track, steps: int) -> np.ndarray:
    """Poses (steps, 3), NaN where the track is absent."""
    rows = _sightings(track, steps)
    poses = np.array(track.states[rows, :3], float)
    if len(rows) == 1:
        return np.repeat(poses, steps, axis=0)
    poses[:, YAW] = np.unwrap(poses[:, YAW])
    times = np.arange(steps) / PER_PERIOD
    return np.stack([np.interp(times, rows, poses[:, c], np.nan, np.nan) for c in range(3)], -1)
