"""What a run leaves beside its checkpoint, to be told apart by: its recipe in full, and what it began with."""

from __future__ import annotations

import hashlib
import json
import logging
import subprocess
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import numpy as np
import yaml

from autovla_core.files import sha256, write_whole
from training.rft_tally import Team
from training.saving import newest
from training.schedule import TrainingError

logger = logging.getLogger(__name__)
RECIPE_FILE, ORIGIN_FILE = "recipe.yaml", "origin.json"
ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("autovla_core", "training")
PATIENCE_S = 30


def claim(out: Path, recipe: Mapping[str, object], free: Collection[str], team: Team) -> None:
    """Write a recipe into ``out``.

    Args:
        free: names of the recipe that may change between two parts of one run.

    Raises:
        TrainingError: the folder of another recipe's run, or of one that did not say which.
    """
    file = out / RECIPE_FILE
    if newest(out):
        if not file.exists():
            raise TrainingError(
                f"{out} holds a checkpoint without {RECIPE_FILE}, so of an unknown run; give another out"
            )
        other = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        changed = [name for name in recipe if name not in free and recipe[name] != other.get(name)]
        if changed:
            raise TrainingError(f"{out} holds a run of another recipe: {changed} differ; give another out")
    team.wait()  # until all have read it
    if team.leads:
        write_whole(file, yaml.safe_dump(dict(recipe), sort_keys=False))


def begin(out: Path, own: Mapping[str, object], team: Team, hint: str) -> dict[str, object]:
    """Write names of what a run begins with into ``out``, and the code that it runs with; return them.

    Args:
        own: a hash, or several by name, for each thing that must not change between two parts of one run.
        hint: for the error: where these things come from.

    Raises:
        TrainingError: the run that goes on there began with others.
    """
    file, code = out / ORIGIN_FILE, source()
    if file.exists() and newest(out):
        first = json.loads(file.read_text(encoding="utf-8"))
        changed = [name for name in own if own[name] != first.get(name)]
        if changed:
            raise TrainingError(
                f"{out} holds a run that began with other {changed} than {hint} are now; "
                "bring them back, or give another out"
            )
        if first.get("code", code) != code and team.leads:
            logger.warning("this run began with code %s, and goes on with %s", first["code"], code)
    team.wait()
    names = {**own, "code": code}
    if team.leads:
        write_whole(file, json.dumps(names) + "\n")
    return names


def weights_of(folder: Path) -> dict[str, str]:
    """Hashes of a model folder's weights, by file."""
    return {weights.name: sha256(weights) for weights in sorted(folder.glob("*.safetensors"))}


def hash_columns(columns: Iterable[np.ndarray]) -> str:
    """One hash of arrays; those of objects hold texts or None."""
    digest = hashlib.sha256()
    for column in columns:
        if column.dtype == object:
            digest.update(json.dumps(column.tolist()).encode())
        else:
            digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


def source(root: Path = ROOT) -> dict[str, object]:
    """The code that runs: git commit and whether files differ from it; without git a hash of the source files."""
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != root:
        return {"sources": _hash_sources(root)}
    changed = _git(root, "status", "--porcelain", "--untracked-files=all", "--", *SOURCES)
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None or changed is None:  # no commit yet
        return {"sources": _hash_sources(root)}
    return {"commit": commit, "dirty": bool(changed)} | ({"sources": _hash_sources(root)} if changed else {})


def _git(root: Path, *command: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *command], capture_output=True, text=True, check=True, timeout=PATIENCE_S
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _hash_sources(root: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(file for top in SOURCES for file in (root / top).rglob("*.py")):
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
