"""A model folder: an ordinary Hugging Face folder, plus what makes it a driver.

config.json model.safetensors tokenizer.json ...   readable by transformers alone
codebook.npz                                       what the action tokens mean
autovla.json                                       Record: rig, hashes, where it comes from
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import AutoTokenizer, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as hub_logging

from autovla_core import config
from autovla_core.action.codebook import Codebook
from autovla_core.errors import CheckpointError, CodebookError, ConfigError
from autovla_core.files import sync_tree, take_place
from autovla_core.model.encoding import CameraView, action_start
from autovla_core.model.families import SPECIALS, family_of, read_config, write_processor
from autovla_core.prompt.render import WORDING_HASH

SCHEMA = "autovla-checkpoint/1"
RECORD_FILE, CODEBOOK_FILE = "autovla.json", "codebook.npz"
REPLACEABLE = (RECORD_FILE, "autovla_adapter.json")  # folders that hold one of these may be written anew


@dataclass(frozen=True)
class Record:
    """What a model folder says about itself in ``autovla.json``."""

    cameras: tuple[CameraView, ...]
    codebook_hash: str
    wording_hash: str = WORDING_HASH
    vocabulary_hash: str = ""  # of the tokenizer; folders from before it was stored have none
    schema: str = SCHEMA
    training: dict[str, object] = field(default_factory=dict)  # data, steps, scores: for people


def save(
    folder: str | Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    codebook: Codebook,
    cameras: tuple[CameraView, ...],
    training: Mapping[str, object],
) -> Path:
    """Write a model folder with bfloat16 weights; it appears, or replaces an older one, when complete."""
    with writing(folder) as partial:
        hub_logging.disable_progress_bar()
        laid = {name: tensor.detach().to("cpu", torch.bfloat16) for name, tensor in model.state_dict().items()}
        weights = {
            name: tensor.contiguous() for name, tensor in laid.items()
        }  # a decoder may have laid them its own way
        if model.config.tie_word_embeddings:
            del weights["lm_head.weight"]  # the same rows as the input embedding
        model.save_pretrained(partial, state_dict=weights)
        for file in partial.glob("*.safetensors"):
            file.chmod(0o644)  # safetensors writes for the owner only
        set_dtype(partial / "config.json")
        describe(partial, model.config, tokenizer, codebook, cameras, training)
    return Path(folder)


@contextmanager
def writing(folder: str | Path) -> Iterator[Path]:
    """A folder to fill under a temporary name; it takes the place of ``folder`` at the end, or nothing happened.

    Raises:
        CheckpointError: ``folder`` holds something else than a model or adapter of ours, which would be lost, or it
            cannot be written (a full disk).
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()) and not any((folder / name).is_file() for name in REPLACEABLE):
        raise CheckpointError(f"{folder} exists and is no model folder of ours; name another one, or remove it")
    partial, old = (folder.with_name(f".{folder.name}.{state}") for state in ("partial", "old"))
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        sync_tree(partial)  # before the old one goes
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise CheckpointError(f"{folder} cannot be written: {error}; what stood there is as it was") from None
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)  # gigabytes, for a large model
        raise
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    take_place(partial, folder)
    shutil.rmtree(old, ignore_errors=True)


def describe(
    folder: Path,
    model_config: PreTrainedConfig,
    tokenizer: PreTrainedTokenizerBase,
    codebook: Codebook,
    cameras: tuple[CameraView, ...],
    training: Mapping[str, object],
) -> None:
    """Write all that makes weights and config.json a driver: tokenizer, processor, codebook and record."""
    tokenizer.save_pretrained(folder)
    write_processor(folder, model_config)
    codebook.save(folder / CODEBOOK_FILE)
    record = Record(
        cameras=cameras,
        codebook_hash=codebook.hash,
        vocabulary_hash=vocabulary_hash(tokenizer),
        training=dict(training),
    )
    (folder / RECORD_FILE).write_text(json.dumps(config.to_dict(record), indent=1, sort_keys=True) + "\n")


def vocabulary_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """sha256 over every token and its id."""
    digest = hashlib.sha256()
    for token, id in sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1]):
        digest.update(f"{id} {json.dumps(token)}\n".encode())
    return digest.hexdigest()


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


def load(folder: str | Path, dtype: torch.dtype = torch.float32) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Weights and tokenizer, every tensor and every special token accounted for.

    Raises:
        CheckpointError: files missing, a vocabulary that is not the model's, or weights that do not fit the
            configuration.
    """
    hub_logging.disable_progress_bar()
    record = read_record(folder)
    codebook = read_codebook(folder, record)
    model_config = read_config(folder)
    tokenizer = read_tokenizer(folder, model_config, len(codebook), record.vocabulary_hash)
    try:
        model, report = family_of(model_config.model_type, folder).model.from_pretrained(
            folder, dtype=dtype, attn_implementation="sdpa", output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, AssertionError, SafetensorError) as error:
        raise CheckpointError(f"{folder}: cannot load the model: {error}") from None
    wrong = {name: sorted(map(str, keys)) for name, keys in report.items() if keys}
    if wrong:
        raise CheckpointError(f"{folder}: the weights do not fit the configuration: {_shortened(wrong)}")
    return model, tokenizer


def read_tokenizer(
    folder: str | Path, model_config: PreTrainedConfig, actions: int, expected_hash: str = ""
) -> PreTrainedTokenizerBase:
    """The folder's tokenizer, checked by ``check_vocabulary``."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder}: cannot read the tokenizer: {error}") from None
    check_vocabulary(folder, tokenizer, model_config, actions, expected_hash)
    return tokenizer


def check_vocabulary(
    folder: str | Path,
    tokenizer: PreTrainedTokenizerBase,
    model_config: PreTrainedConfig,
    actions: int,
    expected_hash: str = "",
) -> None:
    """Refuse a tokenizer that is not the one the model was trained with.

    Raises:
        CheckpointError: another hash, action tokens missing or beyond the embedding, special tokens of other ids.
    """
    found_hash = vocabulary_hash(tokenizer) if expected_hash else ""
    if found_hash != expected_hash:
        raise CheckpointError(
            f"{folder}: the tokenizer's vocabulary hashes to {found_hash[:12]}, "
            f"but the model was trained with {expected_hash[:12]}"
        )
    rows = model_config.get_text_config().vocab_size
    last = action_start(tokenizer, actions) + actions - 1
    if last >= rows:
        raise CheckpointError(f"{folder}: <action_{actions - 1}> is token {last}, but the embedding has {rows} rows")
    for name, token in SPECIALS.items():
        found, expected = tokenizer.convert_tokens_to_ids(token), getattr(model_config, name)
        if found != expected:
            raise CheckpointError(f"{folder}: {token} is token {found}, but config.json's {name} is {expected}")


def set_dtype(file: Path) -> None:
    """Say in config.json that the stored weights are bfloat16, whatever they were trained in."""
    document = json.loads(file.read_text())
    for part in (document, document.get("text_config", {}), document.get("vision_config", {})):
        if "dtype" in part:
            part["dtype"] = "bfloat16"
    file.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")


def _shortened(wrong: Mapping[str, list[str]], most: int = 6) -> str:
    """The first names of each kind, and how many there are."""
    parts = [f"{len(names)} {kind.replace('_', ' ')}: {', '.join(names[:most])}" for kind, names in wrong.items()]
    return "; ".join(parts)
