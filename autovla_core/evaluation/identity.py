"""What makes a run the same run: facts that a results file is compared by, some of which older files do not tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Protocol

UNTOLD = ("agent_sha256", "simulator")  # compared only where both sides tell them
MINICARLA = "minicarla"
OWN_TOWN = "Havenbrook"  # minicarla has it, no CARLA does


class Client(Protocol):
    """Of ``carla.Client`` what is asked here."""

    def get_server_version(self) -> str:
        """Of the server."""
        ...

    def get_available_maps(self) -> list[str]:
        """With folders before the names."""
        ...


def changed(stored: Mapping[str, object], ours: Mapping[str, object]) -> list[str]:
    """Names of the facts in which two runs differ; empty if one may continue the other."""
    told = {*stored, *ours} - {key for key in UNTOLD if key not in stored or key not in ours}
    return sorted(key for key in told if stored.get(key) != ours.get(key))


def told_by_all(stored: Sequence[Mapping[str, object]], ours: Mapping[str, object]) -> dict[str, object]:
    """What a file of all these drives may say of them; ``ours`` alone when nothing is stored yet."""
    told = list(stored) or [ours]
    return {key: value for key, value in told[0].items() if all(key in other for other in told)}


def own_simulator() -> str:
    """``SimulatorFacts.name`` of a minicarla that is started from here; it speaks the installed client's version."""
    return f"{MINICARLA} {metadata.version('carla')}"


@dataclass(frozen=True)
class SimulatorFacts:
    """What a server says of itself."""

    version: str = ""  # "" if it was not asked
    towns: frozenset[str] = frozenset()

    def name(self, wanted: Iterable[str] = ()) -> str:
        """``CARLA 0.9.15`` or ``minicarla 0.9.16``, and which of the towns ``wanted`` minicarla has look-alikes of."""
        if OWN_TOWN not in self.towns:
            return f"CARLA {self.version}" if self.version else ""
        foreign = sorted(set(wanted) - self.towns)
        return f"{MINICARLA} {self.version}" + (f", look-alikes of {', '.join(foreign)}" if foreign else "")


def ask(client: Client) -> SimulatorFacts:
    """Of a connected client's server."""
    towns = (name.split("/")[-1] for name in client.get_available_maps())
    return SimulatorFacts(client.get_server_version(), frozenset(towns))


def is_plain(simulator: str) -> bool:
    """Whether it is minicarla with its own towns, as files that tell nothing are taken to be."""
    return not simulator or (simulator.startswith(MINICARLA) and "," not in simulator)
