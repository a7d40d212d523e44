"""Which sensors an agent may ask for: the leaderboard's tracks.

Source: carla-simulator/leaderboard, branches leaderboard-2.0 and 2.1, ``agent_wrapper.py`` (facts only).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from autovla_core.errors import AutoVLAError

SENSORS, MAP, SENSORS_QUALIFIER, MAP_QUALIFIER = TRACKS = ("SENSORS", "MAP", "SENSORS_QUALIFIER", "MAP_QUALIFIER")
OWN, ANY = "own", "any"  # the track that the agent says it is of; no rules at all, for sensors that see the truth
OPENDRIVE_MAP = "sensor.opendrive_map"
MOST: Mapping[str, tuple[int, int]] = {  # by type: in a full track, in a qualifier
    "sensor.camera.rgb": (8, 4),
    "sensor.lidar.ray_cast": (2, 1),
    "sensor.other.radar": (4, 2),
    "sensor.other.gnss": (1, 1),
    "sensor.other.imu": (1, 1),
    OPENDRIVE_MAP: (1, 1),
    "sensor.speedometer": (1, 1),
}
RADIUS_M = 3.0  # around the ego's origin


class SensorsInvalid(AutoVLAError):
    """An agent asks for what its track does not allow, or is of another track."""


def expect_lawful(specs: Sequence[Mapping[str, object]], agents_track: str, track: str = OWN) -> None:
    """Hold sensors against the rules of a track.

    Args:
        specs: with ``type`` and ``id`` each.
        agents_track: that the agent says it is of.
        track: of the evaluation; ``OWN`` takes the agent's word, ``ANY`` allows all.

    Raises:
        SensorsInvalid: the first rule that is broken.
    """
    if track == ANY:
        return
    if agents_track not in TRACKS or track not in (OWN, agents_track):
        wanted = " or ".join(TRACKS) if track == OWN else track
        raise SensorsInvalid(f"the agent is of the track {agents_track!r}, expected {wanted}")
    for id, count in Counter(str(spec["id"]) for spec in specs).items():
        if count > 1:
            raise SensorsInvalid(f"found {count} sensors with the id {id!r}, expected one")
    for spec in specs:
        _expect_lawful_alone(spec, agents_track)
    for type_id, count in Counter(str(spec["type"]) for spec in specs).items():
        most = MOST[type_id][agents_track in (SENSORS_QUALIFIER, MAP_QUALIFIER)]
        if count > most:
            raise SensorsInvalid(f"found {count} of {type_id}, the track {agents_track} allows {most}")


def _expect_lawful_alone(spec: Mapping[str, object], track: str) -> None:
    named = f"sensor {str(spec['id'])!r} ({spec['type']})"
    if spec["type"] == OPENDRIVE_MAP and track == SENSORS:
        raise SensorsInvalid(f"{named} is not for the track {track}, only for {MAP}")
    if spec["type"] not in MOST:
        raise SensorsInvalid(f"{named} is of no allowed type, expected one of {', '.join(MOST)}")
    if {"x", "y", "z"} <= spec.keys():
        radius = math.hypot(*(float(spec[axis]) for axis in "xyz"))
        if radius > RADIUS_M:
            raise SensorsInvalid(f"{named} sits {radius:.2f} m from the ego's origin, expected at most {RADIUS_M:g} m")
