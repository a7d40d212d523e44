"""A model folder: an ordinary Hugging Face folder, plus what makes it a driver.

config.json model.safetensors tokenizer.json ...   readable by transformers alone
codebook.npz                                       what the action tokens mean
autovla.json                                       Record: rig, hashes, where it comes from
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import (
    AutoTokenizer,
    PreTrainedTokenizerBase,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
)
from transformers.utils import logging as hub_logging

from autovla_core import config
from autovla_core.action.codebook import Codebook
from autovla_core.errors import CheckpointError, CodebookError, ConfigError
from autovla_core.model.encoding import CameraView
from autovla_core.model.patches import CELL
from autovla_core.model.processor import CONFIG as PROCESSOR_CONFIG
from autovla_core.prompt.render import WORDING_HASH

SCHEMA = "autovla-checkpoint/1"
RECORD_FILE, CODEBOOK_FILE = "autovla.json", "codebook.npz"


@dataclass(frozen=True)
class Record:
    """What a model folder says about itself in ``autovla.json``."""

    cameras: tuple[CameraView, ...]
    codebook_hash: str
    wording_hash: str = WORDING_HASH
    schema: str = SCHEMA
    training: dict[str, object] = field(default_factory=dict)  # data, steps, scores: for people


def save(
    folder: str | Path,
    model: Qwen2_5_VLForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    codebook: Codebook,
    cameras: tuple[CameraView, ...],
    training: Mapping[str, object],
) -> Path:
    """Write a model folder with bfloat16 weights; it appears, or replaces an older one, when complete."""
    folder = Path(folder)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    hub_logging.disable_progress_bar()
    weights = {name: tensor.detach().to("cpu", torch.bfloat16) for name, tensor in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        del weights["lm_head.weight"]  # the same rows as the input embedding
    model.save_pretrained(partial, state_dict=weights)
    for file in partial.glob("*.safetensors"):
        file.chmod(0o644)  # safetensors writes for the owner only
    _set_dtype(partial / "config.json")
    tokenizer.save_pretrained(partial)
    _write_processor(partial)
    codebook.save(partial / CODEBOOK_FILE)
    record = Record(cameras=cameras, codebook_hash=codebook.hash, training=dict(training))
    (partial / RECORD_FILE).write_text(json.dumps(config.to_dict(record), indent=1, sort_keys=True) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    return partial.rename(folder)


def read_record(folder: str | Path) -> Record:
    """Read and check ``autovla.json``.

    Raises:
        CheckpointError: missing, of another schema, or trained with another wording of the prompt.
    """
    file = Path(folder) / RECORD_FILE
    try:
        record = config.from_dict(Record, json.loads(file.read_text()), RECORD_FILE)
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(f"{folder} is not a model folder: {RECORD_FILE} is missing") from None
    except (json.JSONDecodeError, ConfigError) as error:
        raise CheckpointError(f"{file} cannot be read: {error}") from None
    if record.schema != SCHEMA:
        raise CheckpointError(f"{file}: found schema {record.schema!r}, expected {SCHEMA!r}")
    if record.wording_hash != WORDING_HASH:
        raise CheckpointError(
            f"{file}: the model was trained with the wording {record.wording_hash[:12]}, "
            f"this code writes {WORDING_HASH[:12]}; train again or use the code it came with"
        )
    return record


def read_codebook(folder: str | Path, record: Record) -> Codebook:
    """The folder's own codebook.

    Raises:
        CheckpointError: missing, damaged, or not the one that the model was trained with.
    """
    try:
        book = Codebook.load(Path(folder) / CODEBOOK_FILE)
    except CodebookError as error:
        raise CheckpointError(f"{folder}: {error}") from None
    if book.hash != record.codebook_hash:
        raise CheckpointError(
            f"{folder}: codebook {book.hash[:12]}, but the model was trained with {record.codebook_hash[:12]}"
        )
    return book


def load(
    folder: str | Path, dtype: torch.dtype = torch.float32
) -> tuple[Qwen2_5_VLForConditionalGeneration, PreTrainedTokenizerBase]:
    """Weights and tokenizer, every tensor accounted for.

    Raises:
        CheckpointError: files missing, or weights that do not fit the configuration.
    """
    hub_logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model, report = Qwen2_5_VLForConditionalGeneration.from_pretrained(
            folder, dtype=dtype, attn_implementation="sdpa", output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{folder}: cannot load the model: {error}") from None
    wrong = {name: sorted(map(str, keys)) for name, keys in report.items() if keys}
    if wrong:
        raise CheckpointError(f"{folder}: the weights do not fit the configuration: {wrong}")
    return model, tokenizer


def _set_dtype(file: Path) -> None:
    """Say in config.json that the stored weights are bfloat16, whatever they were trained in."""
    document = json.loads(file.read_text())
    for part in (document, document.get("text_config", {}), document.get("vision_config", {})):
        if "dtype" in part:
            part["dtype"] = "bfloat16"
    file.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")


def _write_processor(folder: Path) -> None:
    """processor_config.json under the standard class names; images keep their size if it is a multiple of 28."""
    values = Qwen2VLImageProcessorPil(size={"shortest_edge": CELL * CELL, "longest_edge": 768 * CELL * CELL}).to_dict()
    values.pop("image_processor_type", None)
    document = {key: {**values, **part} if isinstance(part, dict) else part for key, part in PROCESSOR_CONFIG.items()}
    (folder / "processor_config.json").write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")
    (folder / "preprocessor_config.json").write_text(
        json.dumps({**values, "image_processor_type": "Qwen2VLImageProcessor"}, indent=2, sort_keys=True) + "\n"
    )
