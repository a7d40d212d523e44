"""What is true at one planning time and can be seen: the ground of a thought, and of judging one.

SI, ego frame x forward, y left. ``pixels`` count what of a thing the cameras of the rig show; 0 = hidden.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from autovla_core import config
from autovla_core.errors import AutoVLAError, ConfigError

KINDS = (
    "car",
    "van",
    "truck",
    "bus",
    "emergency",
    "motorcycle",
    "bicycle",
    "pedestrian",
    "cone",
    "barrier",
    "obstacle",
)
PERSONS = ("bicycle", "pedestrian")
THINGS = ("cone", "barrier", "obstacle")
VEHICLES = tuple(kind for kind in KINDS if kind not in (*THINGS, "pedestrian"))
MIN_PIXELS = {"pedestrian": 8, "bicycle": 8, "cone": 6, "light": 4, "sign": 6}  # fewer are not seen
MIN_PIXELS_ELSE = 12
STANDING = {"pedestrian": 0.2, "bicycle": 0.3}  # m/s
STANDING_ELSE = 0.5
AHEAD_LEFT_M = 1.6  # beside the ego's own axis
BESIDE_RAD = math.radians(50.0)
SAME_WAY_RAD, ONCOMING_RAD = math.radians(45.0), math.radians(135.0)


class FactsError(AutoVLAError):
    """A line of facts cannot be read."""


@dataclass(frozen=True)
class SeenObject:
    """A road user or a thing; positions are those of its box centre."""

    id: int
    kind: str  # of KINDS
    ahead_m: float
    left_m: float
    heading: float  # rad, against the ego's, in [-pi, pi)
    speed: float  # m/s along its heading, signed
    length: float = 0.0  # m
    width: float = 0.0
    pixels: int = 0
    camera: str = ""  # that shows most of it

    @property
    def seen(self) -> bool:
        """Whether enough of it is in the pictures."""
        return self.pixels >= MIN_PIXELS.get(self.kind, MIN_PIXELS_ELSE)

    @property
    def distance_m(self) -> float:
        """From the ego's centre to its own."""
        return math.hypot(self.ahead_m, self.left_m)

    @property
    def side(self) -> str:
        """ahead, ahead_left, ahead_right, left, right or behind."""
        if self.ahead_m < 0.0:
            return "behind"
        if abs(self.left_m) < AHEAD_LEFT_M:
            return "ahead"
        hand = "left" if self.left_m > 0.0 else "right"
        return hand if abs(math.atan2(self.left_m, self.ahead_m)) > BESIDE_RAD else f"ahead_{hand}"

    @property
    def motion(self) -> str:
        """standing, same_way, oncoming, to_left or to_right."""
        if abs(self.speed) < STANDING.get(self.kind, STANDING_ELSE) or self.kind in THINGS:
            return "standing"
        heading = self.heading if self.speed > 0.0 else math.remainder(self.heading + math.pi, math.tau)
        if abs(heading) < SAME_WAY_RAD:
            return "same_way"
        if abs(heading) > ONCOMING_RAD:
            return "oncoming"
        return "to_left" if heading > 0.0 else "to_right"


@dataclass(frozen=True)
class SeenLight:
    """The next traffic light of the route."""

    id: int
    state: str  # red, yellow, green, off
    ahead_m: float  # from the front bumper to its line
    pixels: int = 0

    @property
    def seen(self) -> bool:
        """Whether a lamp of it is in the pictures."""
        return self.pixels >= MIN_PIXELS["light"] and self.state != "off"


@dataclass(frozen=True)
class SeenSign:
    """The next stop sign of the route that was not obeyed yet."""

    id: int
    ahead_m: float  # from the front bumper to its line
    pixels: int = 0

    @property
    def seen(self) -> bool:
        """Whether its board is in the pictures."""
        return self.pixels >= MIN_PIXELS["sign"]


@dataclass(frozen=True)
class Sky:
    """Weather, in CARLA's own numbers."""

    sun_deg: float = 45.0  # above the horizon
    cloudiness: float = 0.0  # percent, as the next two
    rain: float = 0.0
    fog: float = 0.0


@dataclass(frozen=True)
class Facts:
    """One planning time."""

    tick: int
    speed: float  # m/s
    command: int  # contracts.Command
    rule: str = ""  # what binds the expert most: contracts.RULES, or one of the expert's own finer words
    rule_id: int = 0  # of the actor, light or sign that it is about, 0: none
    junction_m: float | None = None  # along the route to the next junction, 0 inside one, None: none within 60 m
    sky: Sky = Sky()
    light: SeenLight | None = None
    sign: SeenSign | None = None
    objects: tuple[SeenObject, ...] = ()  # within 60 m, hidden ones too

    @property
    def seen(self) -> tuple[SeenObject, ...]:
        """The objects that the pictures show, nearest first."""
        return tuple(sorted((o for o in self.objects if o.seen), key=lambda o: (o.distance_m, o.id)))

    def object(self, id: int) -> SeenObject | None:
        """The object of this id."""
        return next((o for o in self.objects if o.id == id), None)


def to_line(facts: Facts) -> str:
    """One line of JSON; centimetres and centiradians are kept."""
    return json.dumps(_rounded(config.to_dict(facts)), sort_keys=True, separators=(",", ":"))


def from_line(line: str) -> Facts:
    """The facts of one line.

    Raises:
        FactsError: no JSON, or another set of fields.
    """
    try:
        facts = config.from_dict(Facts, json.loads(line))
    except (json.JSONDecodeError, ConfigError) as error:
        raise FactsError(f"no facts in {line[:80]!r}: {error}") from None
    unknown = {o.kind for o in facts.objects} - set(KINDS)
    if unknown:
        raise FactsError(f"unknown kinds {sorted(unknown)}; known: {', '.join(KINDS)}")
    return facts


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return round(value, 2)
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    return [_rounded(part) for part in value] if isinstance(value, list) else value
