"""``flight.json`` of a log: all that a drive depends on besides its controls, so that it can be driven again."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from autovla_core import config as configs
from autovla_core.errors import ConfigError, LogError
from autovla_core.evaluation.episode import EpisodeConfig
from autovla_core.evaluation.route_file import Route
from autovla_core.evaluation.watching import Start
from autovla_core.files import write_whole

FLIGHT_FILE = "flight.json"
FLIGHT_SCHEMA = "autovla-flight/1"


@dataclass(frozen=True)
class Flight:
    """One drive of one route."""

    route: Route
    seed: int
    agent: str  # its class
    agent_sensors: tuple[dict, ...]
    other_sensors: tuple[dict, ...] = ()  # of recorders and pictures, in order
    episode: EpisodeConfig = field(default_factory=EpisodeConfig)
    start: Start = field(default_factory=Start)
    facts: dict[str, str] = field(default_factory=dict)  # ``Provenance.facts`` and the simulator's version
    reversed_ticks: tuple[int, ...] = ()  # in reverse gear, which the ticks of a log do not say
    schema: str = FLIGHT_SCHEMA


def write_flight(folder: Path, flight: Flight) -> None:
    """Replace ``flight.json`` as a whole."""
    write_whole(folder / FLIGHT_FILE, json.dumps(configs.to_dict(flight), indent=1) + "\n")


def read_flight(folder: str | Path) -> Flight:
    """The flight of a log.

    Raises:
        LogError: the log has none, or one of another schema.
    """
    file = Path(folder) / FLIGHT_FILE
    try:
        flight = configs.from_dict(Flight, json.loads(file.read_text(encoding="utf-8")))
    except OSError:
        raise LogError(
            f"{folder} holds no {FLIGHT_FILE}: only drives that were recorded with --logs can be driven again"
        ) from None
    except (ValueError, ConfigError) as error:
        raise LogError(f"{file} cannot be read: {error}") from None
    if flight.schema != FLIGHT_SCHEMA:
        raise LogError(f"{file}: found schema {flight.schema!r}, expected {FLIGHT_SCHEMA!r}")
    return flight
