"""Compiled part of server traffic: where is the car on its path, who is in the way, which pedals and wheel."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from autovla_core.minicarla.world import collision as c
from autovla_core.minicarla.world import physics as p
from autovla_core.minicarla.world import vehicle as v
from autovla_core.minicarla.world.lane_change import STANDING_PATIENCE_S, STANDING_SPEED, is_held_up
from autovla_core.minicarla.world.traffic_path import POINTS

# Columns of a driver row.
AT, STOP_AT, LENGTH, OFF_PATH, GAP, THROTTLE, BRAKE, STEER, LEAD = range(9)
# Of the window, as offsets; infinity where there is none: its renewal, the end of the road, the last lane of one that
# ends, the line of the next junction and its far side.
RENEW_AT, FINISH, LAST_LANE_AT, LINE_AT, LINE_END = range(9, 14)
# Of lane changes: seconds held up, seconds to rest, the driver's patience, until which offset one goes on (or -1).
HELD_UP_S, REST_S, PATIENCE_S, CHANGES_UNTIL = range(14, 18)
# What is due in this tick, 0 or 1: a new window, thinking of a change, having ended one, a look at the junction.
RENEWS, THINKS, HAS_CHANGED, REVIEWS = range(18, 22)
DRIVER_COLUMNS = 22

ACCELERATION = 1.8  # m/s2
COMFORT_BRAKING = 2.5
HARDEST_BRAKING = 7.5
HEADWAY_S = 1.3
STANDSTILL_GAP_M = 2.5
STOP_SHORT_M = 0.5  # of a stopping place
SIDE_MARGIN_M = 0.3
REACH_MIN_M, REACH_MAX_M, REACH_S = 9.0, 45.0, 4.0
WALKER_FORESIGHT_S = (0.0, 0.7, 1.4)
INTRUDER_FORESIGHT_S = (0.4, 0.8, 1.2, 1.6, 2.0)
INTRUDER_WITHIN_M = 45.0
INTRUDER_ACROSS = 0.5  # sine of the angle between its way and ours: others are followed, or met in their own lane
LOOK_AHEAD_M, LOOK_AHEAD_S = 3.0, 0.45
HOLD_BRAKE = 0.4
LOST_M = 3.0  # off the path: look for a lane again
LOOK_AT_JUNCTION_M, LOOK_AT_JUNCTION_S = 12.0, 3.0


@njit(cache=True)
def progress(path: np.ndarray, x: float, y: float, at: float, length: float) -> tuple[float, float]:
    """Return (offset along the path, distance from it) of a point near the last known offset."""
    start = max(int(at) - 2, 0)
    best, best_at = np.inf, at
    for k in range(start, min(start + 8, POINTS - 1)):
        ux, uy = path[k + 1, 0] - path[k, 0], path[k + 1, 1] - path[k, 1]
        squared = ux * ux + uy * uy
        if squared < 1e-9:
            break
        dx, dy = x - path[k, 0], y - path[k, 1]
        t = min(max((dx * ux + dy * uy) / squared, 0.0), 1.0)
        ex, ey = dx - t * ux, dy - t * uy
        distance = ex * ex + ey * ey
        if distance < best:
            best, best_at = distance, k + t
    return min(best_at, length), math.sqrt(best)


@njit(cache=True)
def _blocks(other: np.ndarray, ox: float, oy: float, x: float, y: float, cos: float, sin: float, half: float) -> bool:
    """Whether a car of half width ``half`` at (x, y), heading (cos, sin), would touch a body placed at (ox, oy)."""
    oc, os = math.cos(other[c.HEADING]), math.sin(other[c.HEADING])
    dx, dy = x - ox, y - oy
    along, across = dx * oc + dy * os, -dx * os + dy * oc
    turned_cos, turned_sin = abs(cos * oc + sin * os), abs(sin * oc - cos * os)
    return abs(along) < other[c.HX] + half * turned_sin and abs(across) < other[c.HY] + half * turned_cos


@njit(cache=True)
def leader(
    path: np.ndarray, at: float, length: float, speed: float, me: int, bodies: np.ndarray, vehicles: int
) -> tuple[float, float]:
    """Return (gap from bumper to obstacle in metres, its speed along the path); infinity when the way is free."""
    reach = min(REACH_MAX_M, REACH_MIN_M + REACH_S * speed) + bodies[me, c.HX]
    half = bodies[me, c.HY] + SIDE_MARGIN_M
    first = int(at + 0.5 * bodies[me, c.HX]) + 1
    last = min(int(min(at + reach, length)), POINTS - 2)
    gap, lead_speed = np.inf, 0.0
    my_x, my_y, my_z = bodies[me, c.CX], bodies[me, c.CY], bodies[me, c.CZ]
    for k in range(len(bodies)):
        dx, dy = bodies[k, c.CX] - my_x, bodies[k, c.CY] - my_y
        far = reach + bodies[k, c.HX] + 3.0
        if k == me or dx * dx + dy * dy > far * far or abs(bodies[k, c.CZ] - my_z) > 3.0:
            continue
        other = bodies[k]
        for foresight in WALKER_FORESIGHT_S:
            if foresight > 0.0 and k < vehicles:
                break
            ox, oy = other[c.CX] + foresight * other[c.VX], other[c.CY] + foresight * other[c.VY]
            for j in range(first, last + 1):
                if j - at - bodies[me, c.HX] >= gap:
                    break
                ux, uy = path[j + 1, 0] - path[j, 0], path[j + 1, 1] - path[j, 1]
                norm = max(math.sqrt(ux * ux + uy * uy), 1e-6)
                ux, uy = ux / norm, uy / norm
                if _blocks(other, ox, oy, path[j, 0], path[j, 1], ux, uy, half):
                    gap = j - at - bodies[me, c.HX]
                    lead_speed = max(0.0, other[c.VX] * ux + other[c.VY] * uy)
                    break
    return gap, lead_speed


@njit(cache=True)
def intruder(path: np.ndarray, at: float, speed: float, me: int, bodies: np.ndarray, driven: np.ndarray) -> float:
    """Return the gap to where a vehicle of somebody else's is about to cross the path just when we come there.

    Cars of this traffic are left out: the rules of the junction keep them apart.
    """
    half, gap = bodies[me, c.HY] + SIDE_MARGIN_M, np.inf
    for k in range(len(driven)):
        if driven[k]:
            continue
        other = bodies[k]
        dx, dy = other[c.CX] - bodies[me, c.CX], other[c.CY] - bodies[me, c.CY]
        pace = math.sqrt(other[c.VX] ** 2 + other[c.VY] ** 2)
        if k == me or pace < 1.0 or dx * dx + dy * dy > INTRUDER_WITHIN_M**2:
            continue
        if abs(other[c.CZ] - bodies[me, c.CZ]) > 3.0:
            continue
        for foresight in INTRUDER_FORESIGHT_S:
            middle = at + speed * foresight
            first = int(max(middle - bodies[me, c.HX], at + 0.5 * bodies[me, c.HX])) + 1
            last = min(int(middle + bodies[me, c.HX]) + 2, POINTS - 2)
            ox, oy = other[c.CX] + foresight * other[c.VX], other[c.CY] + foresight * other[c.VY]
            for j in range(first, last + 1):
                ux, uy = path[j + 1, 0] - path[j, 0], path[j + 1, 1] - path[j, 1]
                norm = max(math.sqrt(ux * ux + uy * uy), 1e-6)
                ux, uy = ux / norm, uy / norm
                across = abs(ux * other[c.VY] - uy * other[c.VX]) > INTRUDER_ACROSS * pace
                if across and _blocks(other, ox, oy, path[j, 0], path[j, 1], ux, uy, half):
                    gap = min(gap, j - at - bodies[me, c.HX])
                    break
    return gap


@njit(cache=True)
def follow(speed: float, wanted: float, gap: float, lead_speed: float) -> float:
    """Intelligent-driver acceleration in m/s2."""
    free = 1.0 - (speed / max(wanted, 0.1)) ** 4
    dynamic = speed * HEADWAY_S + speed * (speed - lead_speed) / (2.0 * math.sqrt(ACCELERATION * COMFORT_BRAKING))
    keep = STANDSTILL_GAP_M + max(0.0, dynamic)
    return ACCELERATION * (free - (keep / max(gap, 0.05)) ** 2)


@njit(cache=True)
def stop_for(speed: float, distance: float) -> float:
    """Acceleration that comes to rest ``distance`` metres ahead, braking no earlier than comfort asks."""
    if distance < 0.2:
        return -HARDEST_BRAKING
    needed = speed * speed / (2.0 * distance)
    return -needed if needed > 0.7 * COMFORT_BRAKING else min(ACCELERATION, 0.6 * (0.7 * distance - speed))


@njit(cache=True)
def _steer(state: np.ndarray, row: np.ndarray, path: np.ndarray, at: float) -> float:
    """Pure pursuit from the rear axle."""
    yaw = math.radians(state[v.YAW])
    cos, sin = math.cos(yaw), math.sin(yaw)
    speed = max(state[v.FORWARD], 0.0)
    target = min(at + LOOK_AHEAD_M + LOOK_AHEAD_S * speed, POINTS - 1.001)
    k = int(target)
    tx = path[k, 0] + (target - k) * (path[k + 1, 0] - path[k, 0])
    ty = path[k, 1] + (target - k) * (path[k + 1, 1] - path[k, 1])
    dx = tx - state[v.X] + row[p.REAR_M] * cos
    dy = ty - state[v.Y] + row[p.REAR_M] * sin
    ahead, right = dx * cos + dy * sin, -dx * sin + dy * cos
    curvature = 2.0 * right / max(ahead * ahead + right * right, 1.0)
    return min(1.0, max(-1.0, curvature / v.curvature_per_steer(speed, row)))


@njit(cache=True)
def drive(
    drivers: np.ndarray,
    members: np.ndarray,
    paths: np.ndarray,
    speeds: np.ndarray,
    states: np.ndarray,
    rows: np.ndarray,
    bodies: np.ndarray,
    driven: np.ndarray,
) -> None:
    """Fill throttle, brake and steer of every driver, in place.

    Args:
        drivers: (n, DRIVER_COLUMNS)
        members: (n,) their rows in ``states``, ``rows`` and ``bodies``
        paths: (n, POINTS, 2)
        speeds: (n, POINTS) m/s
        driven: (vehicles,) bool, who of the vehicles belongs to this traffic
    """
    for i in range(len(drivers)):
        d, me = drivers[i], members[i]
        state, row = states[me], rows[me]
        speed = max(state[v.FORWARD], 0.0)
        gap, lead_speed = leader(paths[i], d[AT], d[LENGTH], speed, me, bodies, len(states))
        d[GAP], d[LEAD] = gap, lead_speed
        wanted = speeds[i, min(int(d[AT] + 0.5), POINTS - 1)]
        acceleration = follow(speed, wanted, gap, lead_speed)
        crossing = intruder(paths[i], d[AT], speed, me, bodies, driven)
        if crossing < np.inf:
            acceleration = min(acceleration, follow(speed, wanted, max(crossing, 0.05), 0.0))
        to_stop = d[STOP_AT] - d[AT] - bodies[me, c.HX] - STOP_SHORT_M
        if to_stop < 200.0:
            acceleration = min(acceleration, stop_for(speed, to_stop))
        acceleration = max(acceleration, -HARDEST_BRAKING)
        d[THROTTLE], d[BRAKE] = v.pedals(acceleration, speed, math.radians(state[v.PITCH]), row)
        if speed < 0.3 and acceleration < 0.1:
            d[THROTTLE], d[BRAKE] = 0.0, HOLD_BRAKE
        d[STEER] = _steer(state, row, paths[i], d[AT])


@njit(cache=True)
def locate(drivers: np.ndarray, members: np.ndarray, paths: np.ndarray, states: np.ndarray) -> None:
    """Update every driver's offset along its path, and whether it needs a new window, in place."""
    for i in range(len(drivers)):
        d, state = drivers[i], states[members[i]]
        d[AT], d[OFF_PATH] = progress(paths[i], state[v.X], state[v.Y], d[AT], d[LENGTH])
        d[RENEWS] = d[OFF_PATH] > LOST_M or d[AT] > d[RENEW_AT]


@njit(cache=True)
def consider(
    drivers: np.ndarray, members: np.ndarray, speeds: np.ndarray, states: np.ndarray, bodies: np.ndarray, dt: float
) -> None:
    """Sort out who has something to decide in this tick, and note where those stop who have not, in place."""
    for i in range(len(drivers)):
        d, speed, half = drivers[i], states[members[i], v.FORWARD], bodies[members[i], c.HX]
        _consider_change(d, speeds[i, min(int(d[AT] + 0.5), POINTS - 1)], speed, dt)
        to_line = d[LINE_AT] - d[AT] - half
        d[REVIEWS] = d[AT] > d[LINE_END] + half or to_line <= LOOK_AT_JUNCTION_M + LOOK_AT_JUNCTION_S * speed
        d[STOP_AT] = d[FINISH]


@njit(cache=True)
def _consider_change(d: np.ndarray, wanted: float, speed: float, dt: float) -> None:
    d[THINKS] = d[HAS_CHANGED] = 0.0
    if d[CHANGES_UNTIL] >= 0.0:
        if d[AT] > d[CHANGES_UNTIL]:
            d[CHANGES_UNTIL], d[HAS_CHANGED] = -1.0, 1.0
        return
    d[HELD_UP_S] = d[HELD_UP_S] + dt if is_held_up(d[GAP], d[LEAD], speed, wanted) else 0.0
    d[REST_S] = max(0.0, d[REST_S] - dt)
    patience = d[PATIENCE_S] if d[LEAD] > STANDING_SPEED else STANDING_PATIENCE_S
    d[THINKS] = d[REST_S] <= 0.0 and (d[AT] >= d[LAST_LANE_AT] or d[HELD_UP_S] > patience)
