"""What a drive was made with: programs, versions and hashes, for logs that are to be believed later."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path

import numpy as np
import yaml

import autovla_core
from autovla_core.evaluation.episode import EpisodeConfig
from autovla_core.files import sha256

TEXTS = (".yaml", ".yml")  # of a configuration that is kept as a text; of any other the hash


@dataclass(frozen=True)
class Provenance:
    """Who drives, and under which rules."""

    agent: Path
    agent_config: str  # what the agent's setup() gets
    episode: EpisodeConfig

    def facts(self) -> dict[str, str]:
        """By name, all text; what is not there is left out."""
        config = Path(self.agent_config.split("+")[0])
        return {
            **versions(),
            **({"agent": sha256(self.agent)} if self.agent.is_file() else {}),
            **({"agent_config": _text_of(config) or f"sha256 {sha256(config)}"} if config.is_file() else {}),
            **{f"weights {name}": digest for name, digest in weights(self.agent, self.agent_config).items()},
        }


def versions() -> dict[str, str]:
    """Of what runs here; ``code`` is a hash of this package."""
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "carla": metadata.version("carla"),
        "code": source_sha256(Path(autovla_core.__file__).parent),
    }


def weights(agent: Path, agent_config: str) -> dict[str, str]:
    """SHA-256 by file of the model folder that an agent's YAML names; relative ones are relative to its checkout."""
    try:
        values = yaml.safe_load(_text_of(Path(agent_config.split("+")[0])))
    except yaml.YAMLError:  # the agent's own business
        return {}
    if not isinstance(values, dict) or not isinstance(values.get("checkpoint"), str):
        return {}
    folder = agent.resolve().parents[1] / values["checkpoint"]
    return {file.name: sha256(file) for file in sorted(folder.glob("*.safetensors"))}


def _text_of(config: Path) -> str:
    """Of a YAML file; "" for anything else that an agent may be given: a checkpoint, a Python file, no file."""
    if config.suffix not in TEXTS or not config.is_file():
        return ""
    try:
        return config.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


@lru_cache(maxsize=4)
def source_sha256(folder: Path) -> str:
    """Of every Python file and map below a folder, names included."""
    digest = hashlib.sha256()
    for file in sorted(p for p in folder.rglob("*") if p.suffix in (".py", ".xodr")):
        digest.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
