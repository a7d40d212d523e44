"""Writes the town Rowanfold as OpenDRIVE: python -m autovla_core.minicarla.towns.rowanfold [--out FILE].

The suburb without a single light: two roundabouts, an all-way stop, a two-way stop, stems that stop or yield, one
junction without any sign. Bowed streets at 30 km/h, parking along the road between the roundabouts, gentle slopes.
"""

from __future__ import annotations

from autovla_core.minicarla.towns import plan, writing
from autovla_core.minicarla.towns.cross_sections import street
from autovla_core.minicarla.towns.plan import Node, Street
from autovla_core.minicarla.world.opendrive import Network

NAME = "Rowanfold"

ROUND_CUT_M = 30.0
HOME_KMH = 30.0

NODES = {
    "Ring West": Node(0.0, 0.0, control="roundabout", cut=ROUND_CUT_M),
    "Ring East": Node(270.0, 0.0, control="roundabout", cut=ROUND_CUT_M),
    "Mill": Node(-170.0, 0.0, control="yield"),
    "Church": Node(0.0, 170.0, 2.0, control="all_way_stop", crosswalks=True),
    "School": Node(0.0, -170.0, control="stop", minor=("E", "W"), crosswalks=True),
    "Hill": Node(270.0, 170.0, 4.0, control="stop"),
    "Brook": Node(270.0, -170.0, -1.5),
}
STREETS = (
    Street("Ring West", "Ring East", street(1, parking=True)),
    Street("Mill", "Ring West", street(1)),
    Street("Ring West", "Church", street(1), via=((14.0, 66.0), (14.0, 104.0)), radius=40.0, speed_kmh=HOME_KMH),
    Street("Ring West", "School", street(1), via=((-14.0, -66.0), (-14.0, -104.0)), radius=40.0, speed_kmh=HOME_KMH),
    Street("Ring East", "Hill", street(1)),
    Street("Ring East", "Brook", street(1)),
    Street("Mill", "Church", street(1), via=((-170.0, 95.0), (-95.0, 170.0)), radius=45.0, speed_kmh=HOME_KMH),
    Street("Mill", "School", street(1), via=((-170.0, -170.0),), radius=40.0, speed_kmh=HOME_KMH),
    Street(
        "Church",
        "Hill",
        street(1, parking=True),
        via=((110.0, 170.0, 2.0), (150.0, 184.0), (200.0, 170.0)),
        radius=35.0,
    ),
    Street(
        "Church",
        "Hill",
        street(1),
        via=((0.0, 280.0, 3.0), (90.0, 300.0, 5.0), (180.0, 270.0, 6.0), (270.0, 290.0, 5.0)),
        radius=30.0,
        speed_kmh=HOME_KMH,
    ),
    Street("School", "Brook", street(1, parking=True)),
    Street(
        "School",
        "Brook",
        street(1),
        via=((0.0, -270.0), (135.0, -300.0), (270.0, -270.0)),
        radius=35.0,
        speed_kmh=HOME_KMH,
    ),
)


def build() -> Network:
    """Return Rowanfold."""
    return plan.build(NAME, NODES, STREETS)


if __name__ == "__main__":
    writing.main(NAME, build)
