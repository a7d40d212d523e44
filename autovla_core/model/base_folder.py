"""A downloaded base model and a codebook become a model folder: action tokens, their rows, processor, record.

The rows of the action tokens start from the geometry of their motions, spread like the rows of the base: motions that
are near each other start near each other, and none of them is louder than a word.
"""

from __future__ import annotations

import copy
import math
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import AddedToken
from transformers import AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase

from autovla_core.action.codebook import Codebook
from autovla_core.errors import CheckpointError, ConfigError
from autovla_core.model import checkpoint, families, tiny, weights
from autovla_core.model.encoding import CameraView, action_start
from autovla_core.model.weights import HEAD, Inventory, Shape
from autovla_core.prompt import text

ROWS = 64  # the embedding is rounded up to a multiple of this, which matrix products like
SAMPLED = 4096  # rows of the base that tell how its rows are spread
COPIED = ("generation_config.json", "chat_template.jinja", "chat_template.json")


@dataclass(frozen=True)
class Base:
    """A folder as its makers publish it, checked against its own configuration."""

    config: PreTrainedConfig
    tokenizer: PreTrainedTokenizerBase
    inventory: Inventory

    @property
    def tables(self) -> list[str]:
        """Names of the tensors with a row for each token: the embedding, and the head if it is another one."""
        embedding = [name for name in self.inventory.files if name.endswith("embed_tokens.weight")]
        return embedding + [name for name in self.inventory.files if name == HEAD and not self.tied]

    @property
    def tied(self) -> bool:
        """Whether the head is the embedding."""
        return bool(self.config.tie_word_embeddings)


def read_base(folder: str | Path) -> Base:
    """Configuration, tokenizer and headers of a base folder; no weights are read.

    Raises:
        CheckpointError: a file is missing or damaged, tensors do not fit, or the tokenizer is another model's.
    """
    config, found = families.read_config(folder), weights.inventory(folder)
    weights.check(folder, found.shapes, config)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder}: cannot read the tokenizer: {error}") from None
    for name, token in families.SPECIALS.items():
        id, expected = tokenizer.convert_tokens_to_ids(token), getattr(config, name)
        if id != expected:
            raise CheckpointError(f"{folder}: {token} is token {id}, but config.json's {name} is {expected}")
    rows = config.get_text_config().vocab_size
    if len(tokenizer) > rows:
        raise CheckpointError(f"{folder}: the tokenizer has {len(tokenizer)} tokens, the embedding {rows} rows")
    return Base(config, tokenizer, found)


def make(
    base_folder: str | Path, codebook: Codebook, cameras: tuple[CameraView, ...], out: str | Path, seed: int = 0
) -> Path:
    """Write a model folder that has yet to learn driving.

    Args:
        base_folder: Qwen2.5-VL or Qwen3-VL as downloaded, of any size.
        cameras: the rig and its picture sizes.
        seed: of the new rows.

    Raises:
        CheckpointError: see ``read_base``; or pictures whose sides are no multiples of the model's cells.
    """
    base = read_base(base_folder)
    check_cameras(cameras, families.cell_of(base.config))
    words = len(base.tokenizer)
    first = add_actions(base.tokenizer, len(codebook))
    rows = max(base.config.get_text_config().vocab_size, math.ceil(len(base.tokenizer) / ROWS) * ROWS)

    def table(name: str) -> torch.Tensor:
        return action_table(base.inventory, name, words, rows, first, codebook, seed)

    source = {"program": "make_checkpoint", "base": Path(base_folder).resolve().name, "seed": seed}
    return write_folder(out, base, rows, table, base.inventory.tensor, codebook, cameras, source)


def write_folder(
    out: str | Path,
    base: Base,
    rows: int,
    table: Callable[[str], torch.Tensor],
    other: Callable[[str], torch.Tensor],
    codebook: Codebook,
    cameras: tuple[CameraView, ...],
    source: Mapping[str, object],
) -> Path:
    """The base's files with ``rows`` rows in its tables; its tokenizer must hold the actions by now.

    Args:
        table, other: give a tensor with a row for each token, or any other one, by name.
    """
    config = copy.deepcopy(base.config)
    config.get_text_config().vocab_size = rows
    tables = set(base.tables)
    shards = [(f, [n for n in names if n != HEAD or n in tables]) for f, names in base.inventory.shards.items()]
    checkpoint.check_vocabulary(out, base.tokenizer, config, len(codebook))
    with checkpoint.writing(out) as partial:
        shapes: dict[str, Shape] = weights.write(
            partial, [s for s in shards if s[1]], lambda name: table(name) if name in tables else other(name)
        )
        weights.check(out, shapes, config)
        config.save_pretrained(partial)
        checkpoint.set_dtype(partial / "config.json")
        for name in COPIED:
            if (base.inventory.folder / name).is_file():
                shutil.copyfile(base.inventory.folder / name, partial / name)
        checkpoint.describe(partial, config, base.tokenizer, codebook, cameras, source)
    return Path(out)


def camera(spec: str) -> CameraView:
    """A view from ``front:448x224``: id, width, height.

    Raises:
        ConfigError: another form.
    """
    match = re.fullmatch(r"(\w+):(\d+)x(\d+)", spec)
    if match is None:
        raise ConfigError(f"camera: found {spec!r}, expected id:WIDTHxHEIGHT as front:448x224")
    return CameraView(match[1], height=int(match[3]), width=int(match[2]))


def check_cameras(cameras: tuple[CameraView, ...], cell: int) -> None:
    """Refuse pictures that do not consist of whole cells.

    Raises:
        CheckpointError: a side that is no multiple of ``cell`` pixels, or a rig that the prompt does not know.
    """
    ids = tuple(camera.id for camera in cameras)
    if ids not in text.RIGS:
        raise CheckpointError(f"cameras {ids}; the prompt knows {', '.join(map(str, text.RIGS))}")
    for camera in cameras:
        if camera.height % cell or camera.width % cell or not camera.height or not camera.width:
            raise CheckpointError(
                f"camera {camera.id!r} has {camera.width}x{camera.height} pixels, expected multiples of {cell}"
            )


def add_actions(tokenizer: PreTrainedTokenizerBase, actions: int) -> int:
    """Append the action tokens to a tokenizer that has none; the id of the first.

    Raises:
        CheckpointError: it has some already.
    """
    known = [t for t in (text.ACTION.format(i) for i in range(actions)) if t in tokenizer.get_vocab()]
    if known:
        raise CheckpointError(f"the base's tokenizer has {len(known)} action tokens already, expected none")
    tokens = [AddedToken(text.ACTION.format(i), special=False, normalized=False) for i in range(actions)]
    tokenizer.add_tokens(tokens)
    return action_start(tokenizer, actions)


def action_table(
    inventory: Inventory, name: str, words: int, rows: int, first: int, codebook: Codebook, seed: int
) -> torch.Tensor:
    """The base's table (rows, D) with rows for the actions; places that no token has get the mean row.

    Args:
        words: tokens of the base; rows beyond them were never trained.
    """
    old = inventory.tensor(name)
    sample = inventory.rows(name, SAMPLED, words)
    mean, deviation = sample.mean(dim=0), float((sample - sample.mean(dim=0)).std())
    new = tiny.motion_rows(codebook, old.shape[1], np.random.default_rng(seed), deviation) + mean
    out = mean.to(old.dtype).repeat(rows, 1)
    out[:words] = old[:words]
    out[first : first + len(codebook)] = new.to(old.dtype)
    return out
