"""What of an agent's YAML tells two models apart."""

from __future__ import annotations

import hashlib
from pathlib import Path

import yaml

from autovla_core.errors import ConfigError

WEIGHTS = ("*.safetensors", "codebook.npz")
PIECE = 1 << 20


def config_file(config: str, checkout: Path) -> Path | None:
    """The file that ``--agent-config`` names, from here or from the checkout; None if it names none."""
    for path in (Path(config), checkout / config):
        if config and path.is_file():
            return path.resolve()
    return None


def checkpoint_of(file: Path, checkout: Path) -> Path | None:
    """The model folder in an agent's YAML, None without ``checkpoint``.

    Raises:
        ConfigError: the file is no YAML mapping, or the folder does not exist.
    """
    try:
        settings = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: {error}") from None
    if not isinstance(settings, dict):
        raise ConfigError(f"{file}: found {type(settings).__name__}, expected the agent's settings")
    if not settings.get("checkpoint"):
        return None
    folder = (checkout / str(settings["checkpoint"])).resolve()
    if not folder.is_dir():
        raise ConfigError(f"{file}: checkpoint {folder} is no folder")
    return folder


def weights_hash(folder: Path) -> str:
    """sha256 over weights and codebook."""
    digest = hashlib.sha256()
    for file in sorted(path for pattern in WEIGHTS for path in folder.glob(pattern)):
        digest.update(file.name.encode())
        with open(file, "rb") as stream:
            while piece := stream.read(PIECE):
                digest.update(piece)
    return digest.hexdigest()
