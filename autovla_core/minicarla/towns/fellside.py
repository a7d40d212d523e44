"""Writes the town Fellside as OpenDRIVE: python -m autovla_core.minicarla.towns.fellside [--out FILE].

The hills: country roads of two lanes without kerbs that wind at 70 km/h over a pass of 28 m, grades up to 9 %,
junctions without lights, and a village street at 40 km/h with sidewalks and parking.
"""

from __future__ import annotations

from autovla_core.minicarla.towns import plan, writing
from autovla_core.minicarla.towns.cross_sections import country_road, street
from autovla_core.minicarla.towns.plan import Node, Street
from autovla_core.minicarla.world.opendrive import Network

NAME = "Fellside"

COUNTRY_KMH, BEND_RADIUS_M = 70.0, 60.0

NODES = {
    "Village": Node(0.0, 0.0, control="stop", minor=("N", "S"), cut=18.0),
    "Tarn": Node(-290.0, 20.0, 1.0, control="yield", cut=20.0),
    "Farm": Node(620.0, 180.0, 14.0, control="stop", cut=20.0),
    "Gate": Node(30.0, 270.0, 14.0, cut=20.0),
    "Crag": Node(250.0, 480.0, 24.0, control="yield", cut=20.0),
}


def road(start: str, end: str, *via: tuple[float, ...]) -> Street:
    """A country road."""
    return Street(start, end, country_road(), via, BEND_RADIUS_M, COUNTRY_KMH, "rural")


STREETS = (
    Street("Tarn", "Village", street(1, parking=True), via=((-200.0, 20.0), (-120.0, 0.0)), radius=BEND_RADIUS_M),
    road("Village", "Farm", (170.0, 0.0, 4.0), (300.0, 70.0, 10.0), (450.0, 20.0, 12.0), (620.0, 20.0, 13.0)),
    road("Farm", "Crag", (620.0, 350.0, 22.0), (500.0, 480.0, 27.0)),
    road("Crag", "Gate", (250.0, 390.0, 22.0), (130.0, 370.0, 19.0), (30.0, 390.0, 16.0)),
    road("Gate", "Village", (30.0, 190.0, 10.5), (0.0, 110.0, 5.0)),
    road("Gate", "Farm", (140.0, 270.0, 19.0), (240.0, 210.0, 24.0), (370.0, 270.0, 28.0), (490.0, 180.0, 21.0)),
    road("Tarn", "Crag", (-290.0, 200.0, 8.0), (-170.0, 330.0, 16.0), (-60.0, 480.0, 22.0)),
    road("Tarn", "Village", (-290.0, -130.0, -2.0), (-130.0, -190.0, -3.0), (0.0, -150.0, -2.0)),
)


def build() -> Network:
    """Return Fellside."""
    return plan.build(NAME, NODES, STREETS)


if __name__ == "__main__":
    writing.main(NAME, build)
