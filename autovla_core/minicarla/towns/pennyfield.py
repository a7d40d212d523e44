"""Writes the town Pennyfield as OpenDRIVE: python -m autovla_core.minicarla.towns.pennyfield [--out FILE].

The small one, for quick starts and quick tests: a main street with parking lanes, a loop to its north and one to
its south. One junction has lights and crosswalks, the other a stop sign.
"""

from __future__ import annotations

from autovla_core.minicarla.towns import plan, writing
from autovla_core.minicarla.towns.cross_sections import street
from autovla_core.minicarla.towns.plan import Node, Street
from autovla_core.minicarla.world.opendrive import Network

NAME = "Pennyfield"

NODES = {
    "West": Node(0.0, 0.0, control="lights", cut=18.0),
    "East": Node(190.0, 0.0, control="stop", cut=18.0, crosswalks=True),
}
STREETS = (
    Street("West", "East", street(1, parking=True)),
    Street("West", "East", street(1), via=((0.0, 80.0), (190.0, 80.0)), radius=28.0),
    Street("West", "East", street(1), via=((0.0, -65.0), (95.0, -95.0), (190.0, -65.0)), radius=28.0, speed_kmh=30.0),
)


def build() -> Network:
    """Return Pennyfield."""
    return plan.build(NAME, NODES, STREETS)


if __name__ == "__main__":
    writing.main(NAME, build)
