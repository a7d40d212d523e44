"""Reference lines of OpenDRIVE: poses, pieces, paths of pieces, heights along them. Standard library only.

OpenDRIVE's frame: right-handed, metres, radians; s along a reference line, t to its left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

Cubic = tuple[float, float, float, float]
Profile = tuple[tuple[float, Cubic], ...]  # (s of the start, cubic of the metres since it)

FLAT: Cubic = (0.0, 0.0, 0.0, 0.0)
STRAIGHT_ENOUGH_RAD = 1e-6


@dataclass(frozen=True)
class Pose:
    """A point and a heading of a reference line."""

    x: float
    y: float
    heading: float

    def beside(self, t: float) -> Pose:
        """The pose t metres to the left."""
        return Pose(self.x - t * math.sin(self.heading), self.y + t * math.cos(self.heading), self.heading)

    def ahead(self, metres: float) -> Pose:
        """The pose so far along its heading."""
        return Line(metres).end(self)

    def turned(self) -> Pose:
        """The same point, looking back."""
        return Pose(self.x, self.y, self.heading + math.pi)


@dataclass(frozen=True)
class Line:
    length: float

    def end(self, start: Pose) -> Pose:
        x = start.x + self.length * math.cos(start.heading)
        return Pose(x, start.y + self.length * math.sin(start.heading), start.heading)

    def xml(self) -> str:
        return "<line/>"


@dataclass(frozen=True)
class Arc:
    """A circle of signed radius, positive to the left."""

    length: float
    radius: float

    def end(self, start: Pose) -> Pose:
        heading = start.heading + self.length / self.radius
        x = start.x + self.radius * (math.sin(heading) - math.sin(start.heading))
        return Pose(x, start.y - self.radius * (math.cos(heading) - math.cos(start.heading)), heading)

    def xml(self) -> str:
        return f'<arc curvature="{number(1 / self.radius)}"/>'


@dataclass(frozen=True)
class Curve:
    """Cubics u(p), v(p), p from 0 to 1, in the frame of the start."""

    length: float
    u: Cubic
    v: Cubic

    def end(self, start: Pose) -> Pose:
        u, v = sum(self.u), sum(self.v)
        du, dv = self.u[1] + 2 * self.u[2] + 3 * self.u[3], self.v[1] + 2 * self.v[2] + 3 * self.v[3]
        cos, sin = math.cos(start.heading), math.sin(start.heading)
        return Pose(start.x + u * cos - v * sin, start.y + u * sin + v * cos, start.heading + math.atan2(dv, du))

    def xml(self) -> str:
        parts = [
            f'{name}{axis}="{number(value)}"'
            for axis, cubic in (("U", self.u), ("V", self.v))
            for name, value in zip("abcd", cubic, strict=True)
        ]
        return f'<paramPoly3 {" ".join(parts)} pRange="normalized"/>'


Geometry = Line | Arc | Curve


def curve_between(start: Pose, end: Pose) -> Curve | Line:
    """Return a Hermite cubic that leaves and arrives along the headings, near a circle where one fits."""
    cos, sin = math.cos(start.heading), math.sin(start.heading)
    dx, dy = end.x - start.x, end.y - start.y
    u, v = dx * cos + dy * sin, -dx * sin + dy * cos
    turn = wrap(end.heading - start.heading)
    if abs(v) < 1e-6 and abs(turn) < 1e-6:
        return Line(u)
    chord = math.hypot(u, v)
    pull = chord if abs(turn) < 0.05 else 2 * chord * math.tan(turn / 4) / math.sin(turn / 2)
    tu, tv = pull * math.cos(turn), pull * math.sin(turn)
    cubic_u = (0.0, pull, 3 * u - 2 * pull - tu, -2 * u + pull + tu)
    cubic_v = (0.0, 0.0, 3 * v - tv, -2 * v + tv)
    return Curve(_cubic_length(cubic_u, cubic_v), cubic_u, cubic_v)


def _cubic_length(u: Cubic, v: Cubic, steps: int = 400) -> float:
    points = [(value_of(u, k / steps), value_of(v, k / steps)) for k in range(steps + 1)]
    return math.fsum(math.dist(a, b) for a, b in pairwise(points))


def wrap(angle: float) -> float:
    """Return the same direction in [-pi, pi)."""
    return (angle + math.pi) % (2 * math.pi) - math.pi


def number(value: float) -> str:
    """Nine digits; rounding noise around zero becomes 0."""
    return f"{round(value, 11) + 0.0:.9g}"


def value_of(cubic: Cubic, s: float) -> float:
    """The cubic at s."""
    a, b, c, d = cubic
    return a + b * s + c * s**2 + d * s**3


def ramp(start: float, end: float, length: float) -> Cubic:
    """A cubic from one value to another, flat at both ends."""
    rise = end - start
    return (start, 0.0, 3 * rise / length**2, -2 * rise / length**3)


def smooth_profile(stations: Sequence[float], values: Sequence[float]) -> Profile:
    """Cubics through values at rising stations, flat at both ends, without a kink or an overshoot between."""
    means = [(z1 - z0) / (s1 - s0) for (s0, s1), (z0, z1) in zip(pairwise(stations), pairwise(values), strict=True)]
    slopes = [0.0, *(2 * a * b / (a + b) if a * b > 0 else 0.0 for a, b in pairwise(means)), 0.0]
    pieces = []
    for i, (s0, s1) in enumerate(pairwise(stations)):
        run, mean, (m0, m1) = s1 - s0, means[i], slopes[i : i + 2]
        pieces.append((s0, (values[i], m0, (3 * mean - 2 * m0 - m1) / run, (m0 + m1 - 2 * mean) / run**2)))
    return tuple(pieces)


@dataclass(frozen=True)
class Path:
    """A start and the lines and arcs behind it."""

    start: Pose
    pieces: tuple[Line | Arc, ...]

    @property
    def length(self) -> float:
        return math.fsum(piece.length for piece in self.pieces)

    @property
    def end(self) -> Pose:
        return self.at(self.length)

    def at(self, s: float) -> Pose:
        """The pose s metres along."""
        pose, rest = self.start, s
        for piece in self.pieces:
            if rest <= piece.length:
                return _shortened(piece, rest).end(pose)
            pose, rest = piece.end(pose), rest - piece.length
        return pose

    def part(self, first: float, last: float) -> Path:
        """What lies between two stations.

        Raises:
            ValueError: the stations do not rise within the path.
        """
        if not -1e-9 <= first < last <= self.length + 1e-9:
            raise ValueError(f"no part from {first} m to {last} m of a path of {self.length:.3f} m")
        kept, s = [], 0.0
        for piece in self.pieces:
            run = min(last, s + piece.length) - max(first, s)
            if run > 1e-9:
                kept.append(_shortened(piece, run))
            s += piece.length
        return Path(self.at(first), tuple(kept))

    def beside(self, t: float) -> Path:
        """The parallel t metres to the left."""
        moved = []
        for piece in self.pieces:
            if isinstance(piece, Arc):
                moved.append(Arc(piece.length * (piece.radius - t) / piece.radius, piece.radius - t))
            else:
                moved.append(piece)
        return Path(self.start.beside(t), tuple(moved))

    def reversed(self) -> Path:
        """The same line, walked back."""
        back = [Arc(p.length, -p.radius) if isinstance(p, Arc) else p for p in reversed(self.pieces)]
        return Path(self.end.turned(), tuple(back))


def _shortened(piece: Line | Arc, length: float) -> Line | Arc:
    return Arc(length, piece.radius) if isinstance(piece, Arc) else Line(length)


def rounded(points: Sequence[tuple[float, float]], radius: float) -> tuple[Path, list[float]]:
    """A polyline with its corners rounded off, and the stations nearest to its points.

    Raises:
        ValueError: a leg is too short for the arcs at its ends.
    """
    headings = [math.atan2(b[1] - a[1], b[0] - a[0]) for a, b in pairwise(points)]
    turns = [0.0, *(wrap(b - a) for a, b in pairwise(headings)), 0.0]
    taken = [radius * math.tan(abs(turn) / 2) for turn in turns]
    pieces: list[Line | Arc] = []
    stations, s = [0.0], 0.0
    for i, (a, b) in enumerate(pairwise(points)):
        straight = math.dist(a, b) - taken[i] - taken[i + 1]
        if straight < 0.0:
            raise ValueError(f"the leg {a} to {b} is {-straight:.2f} m too short for curves of {radius} m at its ends")
        if straight > STRAIGHT_ENOUGH_RAD:
            pieces.append(Line(straight))
        turn = turns[i + 1]
        arc = abs(turn) * radius
        stations.append(s + straight + arc / 2)
        s += straight
        if abs(turn) > STRAIGHT_ENOUGH_RAD:
            pieces.append(Arc(arc, math.copysign(radius, turn)))
            s += arc
    return Path(Pose(*points[0], headings[0]), tuple(pieces)), stations
