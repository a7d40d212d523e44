"""Agents come as files, the way CARLA's leaderboard loads them."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Protocol

from autovla_core.carla_bridge.wheel import carla
from autovla_core.errors import SetupError
from autovla_core.evaluation.sensor_rules import SENSORS


def track_of(agent: LeaderboardAgent) -> str:
    """That it says it is of: a text, or a member of the leaderboard's ``Track``. One that says nothing has SENSORS."""
    track = getattr(agent, "track", SENSORS)  # our own pilots have none
    return str(track.value if isinstance(track, Enum) else track)


class LeaderboardAgent(Protocol):
    """What we use of the leaderboard's ``AutonomousAgent``."""

    def set_global_plan(self, gps_route: list, world_route: list) -> None:
        """The dense route, once in degrees and once in world coordinates."""
        ...

    def setup(self, config: str) -> None:
        """Make ready; called once, after the plan is known."""
        ...

    def sensors(self) -> list[dict[str, object]]:
        """Wanted sensors."""
        ...

    def run_step(self, input_data: Mapping[str, tuple[int, object]], timestamp: float) -> carla.VehicleControl:
        """One tick."""
        ...

    def destroy(self) -> None:
        """Let go of everything."""
        ...


def load_agent_class(file: str | Path) -> type[LeaderboardAgent]:
    """Import an agent file and return the class that its ``get_entry_point`` names.

    The file's folder becomes importable, as in the leaderboard, so agents may use their neighbours.

    Raises:
        SetupError: no such file, no entry point, or no class of that name.
    """
    file = Path(file).resolve()
    if not file.is_file():
        raise SetupError(f"no agent file at {file}")
    module = _import(file)
    entry_point = getattr(module, "get_entry_point", None)
    if entry_point is None:
        raise SetupError(f"{file} has no get_entry_point(); the leaderboard's agents need it")
    name = entry_point()
    if not hasattr(module, name):
        raise SetupError(f"{file}: get_entry_point() says {name!r}, but the file has no such class")
    return getattr(module, name)


def global_plan(carla_map: carla.Map, dense: Sequence[tuple[carla.Transform, int]]) -> tuple[list, list]:
    """The two forms in which agents get the route: in degrees, and in world coordinates."""
    gps = []
    for transform, command in dense:
        place = carla_map.transform_to_geolocation(transform.location)
        gps.append(({"lat": place.latitude, "lon": place.longitude, "z": place.altitude}, command))
    return gps, list(dense)


def _import(file: Path) -> ModuleType:
    name = file.name.split(".")[0]
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__file__", None) == str(file):
        return loaded
    if str(file.parent) not in sys.path:
        sys.path.insert(0, str(file.parent))
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise SetupError(f"{file} cannot be imported as a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
