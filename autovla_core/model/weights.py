"""Safetensors on disk, one tensor or one shard at a time: a 7B model passes through without being held in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from tqdm import tqdm
from transformers import PreTrainedConfig

from autovla_core.errors import CheckpointError
from autovla_core.model.families import family_of

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
HEAD = "lm_head.weight"
SHOWN = 5  # names in an error

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Inventory:
    """Which tensor lies in which file of a folder, and its shape; read from the headers."""

    folder: Path
    files: Mapping[str, str]  # name of a tensor: name of a file
    shapes: Mapping[str, Shape]

    def tensor(self, name: str) -> torch.Tensor:
        """One tensor, as stored."""
        with safe_open(self.folder / self.files[name], "pt") as file:
            return file.get_tensor(name)

    def rows(self, name: str, count: int, end: int) -> torch.Tensor:
        """About ``count`` of the first ``end`` rows of a matrix, evenly spaced, float32: the rest is not read."""
        with safe_open(self.folder / self.files[name], "pt") as file:
            part = file.get_slice(name)
            return torch.cat([part[i : i + 1] for i in range(0, end, max(end // count, 1))]).float()

    @property
    def shards(self) -> dict[str, list[str]]:
        """Names of the tensors in each file."""
        shards: dict[str, list[str]] = {}
        for name, file in self.files.items():
            shards.setdefault(file, []).append(name)
        return shards


def inventory(folder: str | Path) -> Inventory:
    """The tensors of a folder with one safetensors file, or with shards and their index.

    Raises:
        CheckpointError: no safetensors, a file missing or cut off, or an index that names other tensors.
    """
    folder = Path(folder)
    files, shapes = {}, {}
    for file in _files(folder):
        try:
            with safe_open(folder / file, "pt") as opened:
                for name in opened.keys():  # noqa: SIM118 (no iterator)
                    files[name], shapes[name] = file, tuple(opened.get_slice(name).get_shape())
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{folder / file} is missing or damaged: {error}") from None
    index = _index(folder)
    if index is not None and index != files:
        differ = sorted(name for name in index.keys() | files.keys() if index.get(name) != files.get(name))
        raise CheckpointError(f"{folder / INDEX} and the files disagree about {some(differ)}")
    return Inventory(folder, files, shapes)


def _files(folder: Path) -> list[str]:
    index = _index(folder)
    if index is not None:
        return sorted(set(index.values()))
    if not (folder / SINGLE).is_file():
        found = sorted(p.name for p in folder.glob("*")) if folder.is_dir() else "no folder"
        raise CheckpointError(f"{folder}: found {found}, expected {SINGLE} or {INDEX}")
    return [SINGLE]


def _index(folder: Path) -> dict[str, str] | None:
    try:
        weight_map = json.loads((folder / INDEX).read_text())["weight_map"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder / INDEX} cannot be read: {error}") from None
    if not isinstance(weight_map, dict) or any(Path(str(f)).name != f for f in weight_map.values()):
        raise CheckpointError(f"{folder / INDEX} names files outside its folder")
    return weight_map


def model_name(name: str) -> str:
    """A tensor's name in the library's modules; Qwen2.5-VL's files use the shorter names of older releases."""
    if name.startswith("visual."):
        return f"model.{name}"
    if name.startswith("model.") and not name.startswith(("model.language_model.", "model.visual.")):
        return f"model.language_model.{name.removeprefix('model.')}"
    return name


def expected_shapes(config: PreTrainedConfig) -> dict[str, Shape]:
    """What a model of this configuration needs, by ``model_name``; built without memory.

    Raises:
        CheckpointError: sizes that do not go together.
    """
    try:
        with torch.device("meta"):
            model = family_of(config.model_type, "config.json").model._from_config(config)
    except (AssertionError, ValueError, RuntimeError, TypeError, ZeroDivisionError) as error:
        raise CheckpointError(f"config.json describes no model: {error}") from None
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if config.tie_word_embeddings:
        del shapes[HEAD]
    return shapes


def check(where: object, found: Mapping[str, Shape], config: PreTrainedConfig) -> None:
    """Refuse tensors that are not exactly what the configuration needs; a tied head may be stored again.

    Raises:
        CheckpointError: which are missing, unknown, or of another shape.
    """
    named = {model_name(name): shape for name, shape in found.items()}
    expected = expected_shapes(config)
    if config.tie_word_embeddings:
        named.pop(HEAD, None)
    missing, unknown = expected.keys() - named.keys(), named.keys() - expected.keys()
    wrong = [
        f"{name} {named[name]} instead of {expected[name]}"
        for name in expected.keys() & named.keys()
        if named[name] != expected[name]
    ]
    parts = {"missing": missing, "unknown": unknown, "of another shape": wrong}
    text = "; ".join(f"{len(names)} {kind}: {some(names)}" for kind, names in parts.items() if names)
    if text:
        raise CheckpointError(f"{where}: the tensors are not those of its config.json: {text}")


def write(
    folder: Path, shards: Iterable[tuple[str, list[str]]], tensor: Callable[[str], torch.Tensor]
) -> dict[str, Shape]:
    """Write tensors in bfloat16, shard by shard, with an index if there are several; their shapes.

    Args:
        shards: (file name, names of its tensors).
        tensor: gives a tensor by its name, when it is its turn.
    """
    weight_map, shapes, size = {}, {}, 0
    shards = list(shards)
    for file, names in tqdm(shards, "weights", unit="file", disable=len(shards) < 2):
        tensors = dict(_stored(names, tensor))
        save_file(tensors, folder / file, metadata={"format": "pt"})
        (folder / file).chmod(0o644)  # safetensors writes for the owner only
        weight_map |= dict.fromkeys(names, file)
        shapes |= {name: tuple(value.shape) for name, value in tensors.items()}
        size += sum(value.numel() * value.element_size() for value in tensors.values())
    if len(shards) > 1:
        document = {"metadata": {"total_size": size}, "weight_map": dict(sorted(weight_map.items()))}
        (folder / INDEX).write_text(json.dumps(document, indent=2) + "\n")
    return shapes


def _stored(names: list[str], tensor: Callable[[str], torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
    for name in names:
        value = tensor(name)
        if not torch.isfinite(value).all():
            raise CheckpointError(f"{name} holds values that are not finite")
        yield name, value.to(torch.bfloat16).contiguous()


def some(names: Iterable[str]) -> str:
    """The first of many names."""
    names = sorted(names)
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
