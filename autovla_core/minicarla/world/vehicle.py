"""How vehicles move: kinematic bicycle below 6 m/s, dynamic bicycle above, resting on the ground.

CARLA's left-handed frame; radians inside the state's rates and the wheel angle, degrees in its rotation.
One compiled call advances the whole fleet by one tick.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from autovla_core.minicarla.world import collision as c
from autovla_core.minicarla.world import physics as p
from autovla_core.minicarla.world.actor import MOTION_COLUMNS

# Columns of a state row.
X, Y, Z, PITCH, YAW, ROLL, CLIMB, FORWARD, LATERAL, YAW_RATE, WHEEL, AIRBORNE = range(12)
STATE_COLUMNS = 12
# Columns of a wheel row: what a vehicle knows of itself besides its motion; deg, m/s, 0 or 1.
FORWARD_SPEED, LATERAL_SPEED, WHEEL_DEG, IN_THE_AIR = range(4)
WHEEL_COLUMNS = 4
# Columns of a motion row, where its five vectors begin.
LOCATION, ROTATION, VELOCITY, SPIN, PUSH = range(0, MOTION_COLUMNS, 3)
# Columns of an input row. DRIVE is the throttle signed by the gear; HELD a constant forward speed or NaN,
# WEIGHTLESS 1 if gravity does not pull.
DRIVE, STEER, BRAKE, HAND, HELD, ACTIVE, WEIGHTLESS = range(7)
INPUT_COLUMNS = 7

SUBSTEP_S = 0.01
GRAVITY = 9.81  # of tyre grip; the world's own gravity pulls on slopes and in the air
DYNAMIC_FROM = 6.0  # m/s
THROTTLE_EXPONENT = 2.61
ROLLING = 180.0 / 1845.0  # m/s2
ENGINE_BRAKING = 900.0 / 1845.0  # m/s2, with the throttle closed
STEER_LAG_S = 0.05
SPIN_LIMIT = 40.0  # rad/s2: how fast the tyres pull a turning rate towards the wheels' one
FASTEST = 300.0  # m/s
DROP_M = 0.25  # a ground that falls away by more in one tick leaves the car in the air

_BRAKE_SPEEDS = np.array(p.BRAKE_KMH, float) / 3.6
_BRAKE_TABLE = np.array(p.BRAKE_DECELERATION, float)


@njit(cache=True)
def brake_deceleration(speed: float, row: np.ndarray) -> float:
    """What the full brake adds to rolling and engine in m/s2, at a speed in m/s; the table holds their sum."""
    return row[p.BRAKE] * (np.interp(speed, _BRAKE_SPEEDS, _BRAKE_TABLE) - ROLLING - ENGINE_BRAKING)


@njit(cache=True)
def curvature_per_steer(speed: float, row: np.ndarray) -> float:
    """Curvature in 1/m of full right steer at a speed in m/s, before the tyres slip."""
    at = min(abs(speed) * 3.6 / p.CURVE_STEP_KMH, p.CURVE_POINTS - 1.000001)
    low = int(at)
    factor = row[p.CURVE + low] + (at - low) * (row[p.CURVE + low + 1] - row[p.CURVE + low])
    return row[p.CURVATURE] * factor


@njit(cache=True)
def pedals(acceleration: float, speed: float, slope: float, row: np.ndarray) -> tuple[float, float]:
    """Return (throttle, brake) for a wanted acceleration in m/s2; ``slope`` is the pitch in radians."""
    wanted = acceleration + ROLLING + row[p.DRAG] * speed * speed / row[p.MASS] + GRAVITY * math.sin(slope)
    if wanted > 0.0:
        full = min(row[p.DRIVE_FORCE], row[p.DRIVE_POWER] / max(speed, 1.0)) / row[p.MASS]
        return min(1.0, (wanted / full) ** (1.0 / THROTTLE_EXPONENT)), 0.0
    rest = -wanted - ENGINE_BRAKING
    return 0.0, min(1.0, max(0.0, rest / brake_deceleration(speed, row)))


@njit(cache=True)
def _clip(value: float, limit: float) -> float:
    return min(limit, max(-limit, value))


@njit(cache=True)
def _longitudinal(s: np.ndarray, u: np.ndarray, row: np.ndarray, drive: float, downhill: float, h: float) -> None:
    """Update the forward speed; what resists motion never turns it around."""
    v = s[FORWARD]
    force = drive * min(row[p.DRIVE_FORCE], row[p.DRIVE_POWER] / max(abs(v), 1.0))
    force -= row[p.DRAG] * v * abs(v)
    v += h * (force / row[p.MASS] - downhill)
    resist = ROLLING + u[HAND] * row[p.HAND_BRAKE]
    if u[BRAKE] != 0.0:
        resist = ROLLING + u[BRAKE] * brake_deceleration(abs(v), row) + u[HAND] * row[p.HAND_BRAKE]
    if abs(u[DRIVE]) < 0.05:
        resist += ENGINE_BRAKING
    s[FORWARD] = math.copysign(max(0.0, abs(v) - h * resist), v)


@njit(cache=True)
def _slide(s: np.ndarray, u: np.ndarray, row: np.ndarray, h: float) -> None:
    """Dynamic bicycle: linear tyres that saturate."""
    v, side, rate, wheel = s[FORWARD], s[LATERAL], s[YAW_RATE], s[WHEEL]
    front_m, rear_m = row[p.FRONT_M], row[p.REAR_M]
    load = row[p.MASS] * GRAVITY * row[p.GRIP] / (front_m + rear_m)
    front = row[p.FRONT_STIFFNESS] * (wheel - math.atan2(side + front_m * rate, v))
    rear = -row[p.REAR_STIFFNESS] * math.atan2(side - rear_m * rate, v)
    front = _clip(front, load * rear_m)
    rear = _clip(rear, load * front_m * (1.0 - 0.6 * u[HAND]))
    across = front * math.cos(wheel)
    s[LATERAL] = side + h * ((across + rear) / row[p.MASS] - v * rate)
    s[YAW_RATE] = rate + h * (front_m * across - rear_m * rear) / row[p.TURN_INERTIA]
    s[FORWARD] = max(0.0, v + h * (side * rate - front * math.sin(wheel) / row[p.MASS]))


@njit(cache=True)
def _roll(s: np.ndarray, row: np.ndarray, h: float) -> None:
    """Kinematic bicycle: the wheels decide, within the grip."""
    v, grip = s[FORWARD], GRAVITY * row[p.GRIP]
    rate = v * math.tan(s[WHEEL]) / (row[p.FRONT_M] + row[p.REAR_M])
    rate = _clip(rate, grip / max(abs(v), 0.1))
    s[YAW_RATE] += _clip(rate - s[YAW_RATE], SPIN_LIMIT * h)
    s[LATERAL] += _clip(rate * row[p.REAR_M] - s[LATERAL], 1.5 * grip * h)


@njit(cache=True)
def _substep(s: np.ndarray, u: np.ndarray, row: np.ndarray, drive: float, downhill: float, h: float) -> None:
    wanted = math.atan((row[p.FRONT_M] + row[p.REAR_M]) * curvature_per_steer(s[FORWARD], row) * u[STEER])
    s[WHEEL] += (wanted - s[WHEEL]) * min(1.0, h / STEER_LAG_S)
    if s[AIRBORNE] == 0.0:
        _longitudinal(s, u, row, drive, downhill, h)
        if not math.isnan(u[HELD]):
            s[FORWARD] = u[HELD]
        if s[FORWARD] > DYNAMIC_FROM:
            _slide(s, u, row, h)
        else:
            _roll(s, row, h)
    yaw = math.radians(s[YAW])
    cos, sin = math.cos(yaw), math.sin(yaw)
    s[X] += h * (s[FORWARD] * cos - s[LATERAL] * sin)
    s[Y] += h * (s[FORWARD] * sin + s[LATERAL] * cos)
    s[YAW] += h * math.degrees(s[YAW_RATE])


@njit(cache=True)
def advance(states: np.ndarray, inputs: np.ndarray, rows: np.ndarray, gravity: float, dt: float) -> None:
    """Move every active vehicle over the plane, in place; substeps of at most 10 ms.

    Args:
        states: (n, STATE_COLUMNS)
        inputs: (n, INPUT_COLUMNS)
        rows: (n, physics.COLUMNS)
    """
    substeps = max(1, int(math.ceil(dt / SUBSTEP_S - 1e-6)))
    for i in range(len(states)):
        if inputs[i, ACTIVE] != 0.0:
            s, u, row = states[i], inputs[i], rows[i]
            drive = math.copysign(abs(u[DRIVE]) ** THROTTLE_EXPONENT, u[DRIVE])  # share of what the engine gives
            pull = 0.0 if u[WEIGHTLESS] != 0.0 else gravity
            downhill = pull * math.sin(math.radians(s[PITCH]))
            for _ in range(substeps):
                _substep(s, u, row, drive, downhill, dt / substeps)
            states[i, YAW] = (states[i, YAW] + 180.0) % 360.0 - 180.0


@njit(cache=True)
def ground_height(heights: np.ndarray, origin: np.ndarray, cell: float, x: float, y: float) -> float:
    """Bilinear z of a height grid (nx, ny), ``cell`` metres apart; outside that of its border."""
    nx, ny = heights.shape
    u = min(max((x - origin[0]) / cell, 0.0), nx - 1.000001)
    v = min(max((y - origin[1]) / cell, 0.0), ny - 1.000001)
    i, j = int(u), int(v)
    fu, fv = u - i, v - j
    low = heights[i, j] * (1.0 - fu) + heights[i + 1, j] * fu
    high = heights[i, j + 1] * (1.0 - fu) + heights[i + 1, j + 1] * fu
    return low * (1.0 - fv) + high * fv


@njit(cache=True)
def settle(
    states: np.ndarray,
    inputs: np.ndarray,
    rows: np.ndarray,
    heights: np.ndarray,
    origin: np.ndarray,
    cell: float,
    gravity: float,
    dt: float,
) -> None:
    """Rest every active vehicle on the ground under its wheels, or let it fall towards it, in place."""
    for i in range(len(states)):
        if inputs[i, ACTIVE] == 0.0:
            continue
        s, row = states[i], rows[i]
        yaw = math.radians(s[YAW])
        cos, sin = math.cos(yaw), math.sin(yaw)
        a, b, w = row[p.FRONT_M], row[p.REAR_M], max(row[p.HALF_WIDTH], 0.2)
        front = ground_height(heights, origin, cell, s[X] + a * cos, s[Y] + a * sin)
        rear = ground_height(heights, origin, cell, s[X] - b * cos, s[Y] - b * sin)
        left = ground_height(heights, origin, cell, s[X] + w * sin, s[Y] - w * cos)
        right = ground_height(heights, origin, cell, s[X] - w * sin, s[Y] + w * cos)
        ground = (front * b + rear * a) / (a + b)
        was = s[Z]
        if s[AIRBORNE] != 0.0 or was - ground > DROP_M:
            s[CLIMB] -= 0.0 if inputs[i, WEIGHTLESS] != 0.0 else gravity * dt
            s[Z] = was + s[CLIMB] * dt
            s[AIRBORNE] = 1.0
        if s[AIRBORNE] == 0.0 or s[Z] <= ground:
            s[Z] = ground
            s[CLIMB] = 0.0
            s[AIRBORNE] = 0.0
            s[PITCH] = math.degrees(math.atan2(front - rear, a + b))
            s[ROLL] = math.degrees(math.atan2(left - right, 2.0 * w))


@njit(cache=True)
def _bounded(value: float, low: float, high: float) -> float:
    """A value within limits; what is not a number stays so, and shows."""
    if value < low:
        return low
    return high if value > high else value


@njit(cache=True)
def bound(inputs: np.ndarray) -> None:
    """Cut input rows to the ranges of pedals, wheel and flags, in place."""
    for i in range(len(inputs)):
        for k in (DRIVE, STEER):
            inputs[i, k] = _bounded(inputs[i, k], -1.0, 1.0)
        for k in (BRAKE, HAND, ACTIVE, WEIGHTLESS):
            inputs[i, k] = _bounded(inputs[i, k], 0.0, 1.0)


@njit(cache=True)
def gather(motions: np.ndarray, wheels: np.ndarray, states: np.ndarray) -> None:
    """Fill ``states`` from the motion rows (at least n, MOTION_COLUMNS) and wheel rows (n, WHEEL_COLUMNS)."""
    for i in range(len(states)):
        states[i, X:CLIMB] = motions[i, LOCATION:VELOCITY]
        states[i, CLIMB] = motions[i, VELOCITY + 2] if wheels[i, IN_THE_AIR] != 0.0 else 0.0
        states[i, FORWARD] = _bounded(wheels[i, FORWARD_SPEED], -FASTEST, FASTEST)
        states[i, LATERAL] = _bounded(wheels[i, LATERAL_SPEED], -FASTEST, FASTEST)
        states[i, YAW_RATE] = math.radians(motions[i, SPIN + 2])
        states[i, WHEEL] = math.radians(wheels[i, WHEEL_DEG])
        states[i, AIRBORNE] = wheels[i, IN_THE_AIR]


@njit(cache=True)
def place(
    states: np.ndarray, lift: np.ndarray, yaw: np.ndarray, cos: np.ndarray, sin: np.ndarray, bodies: np.ndarray
) -> None:
    """Put the vehicles' bodies where their states are; ``lift`` m above, ``yaw`` rad with its cosine and sine."""
    for i in range(len(states)):
        bodies[i, c.CX : c.CZ + 1] = states[i, X : Z + 1]
        bodies[i, c.CZ] += lift[i]
        bodies[i, c.HEADING] = yaw[i]
        bodies[i, c.VX] = states[i, FORWARD] * cos[i] - states[i, LATERAL] * sin[i]
        bodies[i, c.VY] = states[i, FORWARD] * sin[i] + states[i, LATERAL] * cos[i]


@njit(cache=True)
def broken(states: np.ndarray, edge: float) -> bool:
    """Whether some numbers exploded: not finite, or a place beyond the edge of the world, m."""
    for i in range(len(states)):
        for k in range(STATE_COLUMNS):
            if not math.isfinite(states[i, k]) or (k <= Z and abs(states[i, k]) > edge):
                return True
    return False


@njit(cache=True)
def write(
    states: np.ndarray, inputs: np.ndarray, bodies: np.ndarray, dt: float, motions: np.ndarray, wheels: np.ndarray
) -> None:
    """Turn the states of the active vehicles back into motion rows and wheel rows, in place."""
    for i in range(len(states)):
        if inputs[i, ACTIVE] == 0.0:
            continue
        motion = motions[i]
        climb = states[i, CLIMB] if states[i, AIRBORNE] != 0.0 else (states[i, Z] - motion[LOCATION + 2]) / dt
        motion[LOCATION:VELOCITY] = states[i, X:CLIMB]
        new = (bodies[i, c.VX], bodies[i, c.VY], climb)
        for k in range(3):
            motion[PUSH + k] = (new[k] - motion[VELOCITY + k]) / dt
            motion[VELOCITY + k] = new[k]
            motion[SPIN + k] = 0.0
        motion[SPIN + 2] = math.degrees(states[i, YAW_RATE])
        wheels[i, FORWARD_SPEED], wheels[i, LATERAL_SPEED] = states[i, FORWARD], states[i, LATERAL]
        wheels[i, WHEEL_DEG], wheels[i, IN_THE_AIR] = math.degrees(states[i, WHEEL]), states[i, AIRBORNE]
