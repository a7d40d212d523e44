"""Latitude and longitude of a point of the map, by the projection that CARLA's agents assume.

It is the Mercator that the leaderboard writes its plans with. The offline function of the 0.9.16
client, ``Map.transform_to_geolocation``, is another: its latitude grows with y, and its scale is
0.9996. An agent that reads both must not mix them.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

EARTH_RADIUS_EQUA_M = 6378137.0


@dataclass(frozen=True)
class GeoReference:
    """Where the map's origin lies, degrees. CARLA assumes (42, 2) for a map that does not say."""

    latitude_deg: float = 42.0
    longitude_deg: float = 2.0

    @classmethod
    def of_map(cls, xodr: str) -> GeoReference:
        """Read ``+lat_0`` and ``+lon_0`` of an OpenDRIVE text."""
        return cls(
            _parameter(xodr, "lat_0", cls.latitude_deg),
            _parameter(xodr, "lon_0", cls.longitude_deg),
        )

    def locate(self, carla_x: float, carla_y: float) -> tuple[float, float]:
        """Return (latitude, longitude) in degrees; latitude falls as CARLA's y grows."""
        scale = math.cos(math.radians(self.latitude_deg)) * EARTH_RADIUS_EQUA_M
        east = scale * math.radians(self.longitude_deg) + carla_x
        north = scale * math.log(math.tan(math.radians(90.0 + self.latitude_deg) / 2)) - carla_y
        latitude = 2.0 * math.degrees(math.atan(math.exp(north / scale))) - 90.0
        return latitude, math.degrees(east / scale)


def _parameter(xodr: str, name: str, default: float) -> float:
    reference = re.search(r"<geoReference>(.*?)</geoReference>", xodr, re.DOTALL)
    found = re.search(rf"\+{name}=([-+.\deE]+)", reference.group(1)) if reference else None
    return float(found.group(1)) if found else default
