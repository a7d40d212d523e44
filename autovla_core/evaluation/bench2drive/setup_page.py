"""The page of a setup check: what is meant to be run, and what was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

GOOD, LOOK, MISSING = "ok", "look", "MISSING"  # LOOK: may be meant so


@dataclass(frozen=True)
class Plan:
    """What is meant to be run."""

    clone: Path
    carla_root: Path
    routes: str
    subset: str
    agent: Path
    agent_config: str
    out: Path
    python: str
    workers: int
    gpus: tuple[str, ...]
    base_port: int
    base_traffic_manager_port: int
    python_path: str  # PYTHONPATH of the caller
    checkout: Path  # relative paths of an agent's YAML start here
    shard: str = ""  # i/n, this machine's part of the routes


@dataclass(frozen=True)
class Finding:
    """One line of the page; a remedy where the state is not ``ok``."""

    name: str
    state: str
    found: str
    remedy: str = ""


def as_text(findings: Sequence[Finding]) -> str:
    """One page."""
    lines = []
    for finding in findings:
        lines.append(f"{finding.state:8s}{finding.name:18s}{finding.found}")
        lines += [f"{'':26s}-> {finding.remedy}"] if finding.remedy else []
    bad = sum(finding.state == MISSING for finding in findings)
    return "\n".join([*lines, "", f"{bad} things are missing" if bad else "nothing is missing"])
