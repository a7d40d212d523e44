"""What moves in a scenario: cars along a line, walkers across a road, a stream of cars. One ``tick`` a tick."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np

from autovla_core import footprints, frames, geometry
from autovla_core.carla_bridge.wheel import carla
from autovla_core.control import lateral
from autovla_core.evaluation.scenarios.road import Line

TICK_S = 0.05
LOOK_AHEAD_M, LOOK_AHEAD_S = 3.0, 0.35
TOUCHING_M = 0.15  # boxes this near have met: the script lets go of the pedals
NEAR_M = 12.0
EASY, HARD = 3.0, 8.0  # m/s2


class Body(Protocol):
    """Where the ego is, as movers may know it."""

    pose: np.ndarray  # (3,) world, box centre
    speed: float
    length: float
    width: float


class Mover(Protocol):
    """Something that acts at every tick until it is done."""

    done: bool

    def tick(self, ego: Body) -> None:
        """One tick."""
        ...


class LineFollower:
    """Drives a vehicle along a line at a speed that changes at ``acceleration``; brakes at the line's end.

    The speed is held with ``enable_constant_velocity``, as scenario_runner's actor flows do, so that it is the same on
    every simulator; nothing but the ego stops it, if ``heeds_m`` says so, or by touching it.

    Args:
        line: (N, 2) points of the world, about 1 m apart.
        heeds_m: brakes when the ego is within so many metres ahead on the line; 0 never.
    """

    def __init__(self, vehicle: carla.Vehicle, line: np.ndarray, speed: float, heeds_m: float = 0.0) -> None:
        self.vehicle, self.target, self.acceleration = vehicle, speed, EASY
        self._heeds_m = heeds_m
        self._line = np.asarray(line, float)
        self._s = geometry.arc_length(self._line)
        self._at = 0.0
        self._speed = self._held = 0.0
        self._box = vehicle.bounding_box
        self.done = False

    def start_at(self, speed: float) -> None:
        """Be as fast at once."""
        self._speed = speed
        self._hold()

    @property
    def pose(self) -> np.ndarray:
        """World pose (3,) of the box centre."""
        at = self.vehicle.get_transform()
        pose = frames.pose_from_carla(at.location.x, at.location.y, at.rotation.yaw)
        return geometry.compose(pose, np.array([self._box.location.x, 0.0, 0.0]))

    @property
    def end(self) -> np.ndarray:
        """The line's last point (2,)."""
        return self._line[-1]

    def tick(self, ego: Body) -> None:
        """Steer, and approach the wanted speed."""
        pose = self.pose
        self._at = self._nearest(pose)
        if self._at > self._s[-1] - 1.5:
            self.let_go()
            return
        if _touch(pose, self._box, ego):
            self.let_go()
            return
        wanted = 0.0 if self._blocked(pose, ego) else self.target
        most = (HARD if wanted < self.target else self.acceleration) * TICK_S
        self._speed += min(max(wanted - self._speed, -most), most)
        self._hold()
        steer, brake = self._steer(pose), 0.0 if self._speed > 0.05 else 1.0
        self.vehicle.apply_control(carla.VehicleControl(steer=steer, brake=brake))

    def let_go(self) -> None:
        """Brake for good."""
        self.vehicle.disable_constant_velocity()
        self.vehicle.apply_control(carla.VehicleControl(brake=1.0, hand_brake=True))
        self.done = True

    def _hold(self) -> None:
        if self._speed > 0.05:
            if self._speed != self._held:
                self.vehicle.enable_constant_velocity(carla.Vector3D(self._speed, 0.0, 0.0))
        elif self._held > 0.05:
            self.vehicle.disable_constant_velocity()
        self._held = self._speed

    def _nearest(self, pose: np.ndarray) -> float:
        first = max(int(np.searchsorted(self._s, self._at)) - 3, 0)
        window = self._line[first : first + 12]
        if len(window) == 0:
            return float(self._s[-1])
        return float(self._s[first + int(np.argmin(np.hypot(*(window - pose[:2]).T)))])

    def _steer(self, pose: np.ndarray) -> float:
        """CARLA's steering value."""
        aim = self._at + LOOK_AHEAD_M + LOOK_AHEAD_S * self._speed
        target = np.array([np.interp(aim, self._s, self._line[:, k]) for k in (0, 1)])
        x, y = geometry.transform_points(geometry.invert(pose), target)
        return -lateral.steer_for(lateral.pursuit_curvature(float(x), float(y)))

    def _blocked(self, pose: np.ndarray, ego: Body) -> bool:
        if self._heeds_m <= 0.0:
            return False
        x, y = geometry.transform_points(geometry.invert(pose), ego.pose[:2])
        reach = self._box.extent.x + ego.length / 2 + self._heeds_m
        return 0.0 < x < reach and abs(y) < self._box.extent.y + ego.width / 2 + 0.2


class Walk:
    """Lets a walker go a distance along a heading."""

    def __init__(self, walker: carla.Walker, yaw: float, speed: float, distance_m: float) -> None:
        """``yaw``: rad, counter-clockwise, world; ``speed``: m/s."""
        self._walker, self._yaw, self._speed = walker, yaw, speed
        self._left_s = distance_m / speed
        self.done = False

    def tick(self, ego: Body) -> None:
        """Keep walking."""
        self._left_s -= TICK_S
        self.done = self._left_s <= 0.0
        direction = carla.Vector3D(math.cos(self._yaw), -math.sin(self._yaw), 0.0)
        self._walker.apply_control(carla.WalkerControl(direction, 0.0 if self.done else self._speed, False))


class Flow:
    """A stream of cars along a line: a new one whenever the last has gone a drawn gap; they leave at its end.

    Args:
        spawn: makes a vehicle at the beginning of the line, or None where there is no room now.
        destroy: takes one away.
        gaps_m: bounds from which each gap is drawn, bumper to bumper.
    """

    def __init__(
        self,
        spawn: Callable[[], carla.Vehicle | None],
        destroy: Callable[[carla.Actor], None],
        line: Line,
        speed: float,
        gaps_m: tuple[float, float],
        rng: np.random.Generator,
        heeds_m: float = 0.0,
    ) -> None:
        self._spawn, self._destroy, self._line, self._speed = spawn, destroy, line, speed
        self._gaps_m, self._rng, self._heeds_m = gaps_m, rng, heeds_m
        self._cars: list[LineFollower] = []
        self._to_wait_m = 0.0
        self._open = True
        self.done = False

    def close(self) -> None:
        """No new cars; those that are under way drive on."""
        self._open = False

    def tick(self, ego: Body) -> None:
        """Move all cars."""
        self._to_wait_m -= self._speed * TICK_S
        if self._open and self._to_wait_m <= 0.0 and self._has_room(ego):
            self._add()
        for car in self._cars:
            if not car.done:
                car.tick(ego)
        for car in [c for c in self._cars if c.done and _left(c)]:
            self._destroy(car.vehicle)
            self._cars.remove(car)
        self.done = not self._open and not self._cars

    def _has_room(self, ego: Body) -> bool:
        return float(np.hypot(*(self._line.points[0] - ego.pose[:2]))) > NEAR_M

    def _add(self) -> None:
        vehicle = self._spawn()
        if vehicle is None:
            return
        car = LineFollower(vehicle, self._line.points, self._speed, self._heeds_m)
        car.start_at(self._speed)
        self._cars.append(car)
        self._to_wait_m = float(self._rng.uniform(*self._gaps_m)) + 2.0 * vehicle.bounding_box.extent.x


def _left(car: LineFollower) -> bool:
    """Whether a car that is done stands at the end of its line; one that was hit stays where it is."""
    return bool(np.hypot(*(car.pose[:2] - car.end)) < 8.0)


def _touch(pose: np.ndarray, box: carla.BoundingBox, ego: Body) -> bool:
    if np.hypot(*(pose[:2] - ego.pose[:2])) > NEAR_M:
        return False
    mine = footprints.corners(pose, 2 * box.extent.x + TOUCHING_M, 2 * box.extent.y + TOUCHING_M)
    return bool(footprints.overlap(mine, footprints.corners(ego.pose, ego.length, ego.width)))
