"""CARLA's own town names, answered with the nearest of ours: only when the user asked for it, and never silently.

A look-alike is no copy: lanes, lights and distances are others, and a route written for Town03 lies beside our roads.
"""

from __future__ import annotations

import logging
import re

from autovla_core.minicarla.simulation import Simulation

logger = logging.getLogger(__name__)

ALIASES = {
    "Town01": "Pennyfield",  # small, T junctions, lights
    "Town02": "Pennyfield",  # smaller still
    "Town03": "Havenbrook",  # a bit of everything, a roundabout, a hill
    "Town04": "Kestrelway",  # a motorway around a village
    "Town05": "Ironmere",  # a grid of multi-lane streets with lights
    "Town06": "Kestrelway",  # long roads with entrances and exits
    "Town07": "Fellside",  # the countryside
    "Town08": "Ironmere",
    "Town09": "Rowanfold",
    "Town10": "Ironmere",  # inner city
    "Town11": "Fellside",
    "Town12": "Havenbrook",  # large and mixed
    "Town13": "Havenbrook",  # large and mixed
    "Town14": "Rowanfold",
    "Town15": "Rowanfold",  # a campus with curved streets
}
_CARLA_TOWN = re.compile(r"(Town\d\d)(HD)?(_Opt)?")


def nearest(name: str) -> str | None:
    """Our town for a map name of CARLA such as ``Carla/Maps/Town10HD_Opt``; None for any other name."""
    found = _CARLA_TOWN.fullmatch(name.rstrip("/").rsplit("/", 1)[-1])
    return ALIASES.get(found[1]) if found else None


def resolve(name: str) -> str:
    """The name to load instead of ``name``, with a warning if it is another."""
    ours = nearest(name)
    if ours is None:
        return name
    logger.warning("TOWN ALIAS: %s was asked for and is NOT here; loading %s of minicarla instead", name, ours)
    return ours


def hint(name: str) -> str:
    """What to add to the refusal of one of CARLA's towns; "" for any other name."""
    ours = nearest(name)
    return f"; with the flag --town-aliases minicarla would load its {ours} for it" if ours else ""


class AliasingSimulation(Simulation):
    """A simulation that takes CARLA's town names for ours."""

    def load(self, name: str, reset_settings: bool) -> None:
        """As ``Simulation.load``.

        Raises:
            TownError: unknown town.
        """
        super().load(resolve(name), reset_settings)
