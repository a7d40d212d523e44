"""LoRA adapters of a model folder: attach, save, load, merge. An adapter knows its base and refuses another.

The rows of the action tokens can be trained with it (``trainable_token_indices``): in a tied model these are input and
output rows at once, and the model stays tied when the adapter is merged.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel

from autovla_core import config
from autovla_core.errors import CheckpointError, ConfigError
from autovla_core.model.checkpoint import Record, writing
from autovla_core.model.weights import some

SCHEMA = "autovla-adapter/1"
RECORD_FILE, CONFIG_FILE, WEIGHTS_FILE = "autovla_adapter.json", "adapter_config.json", "adapter_model.safetensors"
ADDED = ("lora_", "trainable_tokens_")  # in the names of what peft adds
WRAPPED = (".token_adapter", ".base_layer", ".original_module")  # in the names of what it wraps
SAMPLED = 64  # values of each tensor that enter the fingerprint


@dataclass(frozen=True)
class LoraSpec:
    """What is adapted; the defaults are the paper's, and the attention of the language model."""

    rank: int = 8
    alpha: float = 8.0
    dropout: float = 0.1
    targets: str = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj)"  # a regular expression over module names
    actions: bool = True  # train the rows of the action tokens too


@dataclass(frozen=True)
class AdapterRecord:
    """What an adapter was trained on, in ``autovla_adapter.json``."""

    codebook_hash: str
    wording_hash: str
    vocabulary_hash: str
    base: str  # ``fingerprint`` of the weights below it
    schema: str = SCHEMA


def attach(model: PreTrainedModel, first_action: int, actions: int, spec: LoraSpec | None = None) -> PeftModel:
    """The model with a fresh adapter that changes nothing yet; only the adapter is trainable.

    Args:
        first_action, actions: where the action tokens are, as ``Encoder`` has them.
    """
    spec = spec or LoraSpec()
    rows = list(range(first_action, first_action + actions)) if spec.actions else None
    settings = LoraConfig(
        r=spec.rank,
        lora_alpha=spec.alpha,
        lora_dropout=spec.dropout,
        target_modules=spec.targets,
        trainable_token_indices=rows,
        bias="none",
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(model, settings)
    except ValueError as error:
        raise CheckpointError(f"no adapter can be attached: {error}") from None


def fingerprint(model: torch.nn.Module) -> str:
    """sha256 over some values of every weight, the same with and without an adapter, in float32 and bfloat16."""
    values = {}
    for name, tensor in model.state_dict().items():
        if not any(part in name for part in ADDED):
            for part in WRAPPED:
                name = name.replace(part, "")
            values[name.removeprefix("base_model.model.")] = tensor
    digest = hashlib.sha256()
    for name in sorted(values):
        flat = values[name].detach().reshape(-1)
        sample = flat[:: max(flat.numel() // SAMPLED, 1)].to("cpu", torch.bfloat16)
        digest.update(name.encode() + sample.view(torch.int16).numpy().tobytes())
    return digest.hexdigest()


def save_adapter(adapted: PeftModel, folder: str | Path, record: Record) -> Path:
    """Write the adapter alone; the folder appears when complete.

    Args:
        record: of the model folder below the adapter.
    """
    hashes = record.codebook_hash, record.wording_hash, record.vocabulary_hash
    with writing(folder) as partial:
        adapted.save_pretrained(partial, save_embedding_layers=False)
        (partial / "README.md").unlink(missing_ok=True)  # peft's model card, full of blanks
        file = partial / CONFIG_FILE
        document = {**json.loads(file.read_text()), "base_model_name_or_path": ""}  # else a path of this machine
        file.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")
        (partial / WEIGHTS_FILE).chmod(0o644)
        own = AdapterRecord(*hashes, fingerprint(adapted))
        (partial / RECORD_FILE).write_text(json.dumps(config.to_dict(own), indent=1, sort_keys=True) + "\n")
    return Path(folder)


def load_adapter(model: PreTrainedModel, folder: str | Path, record: Record, trainable: bool = False) -> PeftModel:
    """The model with a saved adapter, every tensor of which found its place.

    Args:
        model, record: of the model folder that the adapter was trained on.

    Raises:
        CheckpointError: no adapter, one for another model, or one that lacks tensors or has others.
    """
    folder = Path(folder)
    _check_base(folder, record, model)
    try:
        with safe_open(folder / WEIGHTS_FILE, "pt") as file:
            found = set(file.keys())
        with warnings.catch_warnings():  # peft only warns of missing tensors; they are counted below
            warnings.simplefilter("ignore")
            adapted = PeftModel.from_pretrained(model, folder, is_trainable=trainable)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        raise CheckpointError(f"{folder}: the adapter cannot be loaded: {error}") from None
    expected = set(get_peft_model_state_dict(adapted, save_embedding_layers=False))
    if found != expected:
        raise CheckpointError(
            f"{folder}: {len(expected - found)} tensors of the adapter are missing ({some(expected - found)}), "
            f"{len(found - expected)} are unknown ({some(found - expected)})"
        )
    return adapted


def merge(adapted: PeftModel) -> PreTrainedModel:
    """The plain model that computes what model and adapter compute together, to be saved as a model folder.

    Raises:
        CheckpointError: merging would untie what the configuration ties.
    """
    tied = adapted.get_base_model().config.tie_word_embeddings
    model = adapted.merge_and_unload()
    if tied and model.get_output_embeddings().weight.data_ptr() != model.get_input_embeddings().weight.data_ptr():
        raise CheckpointError("merging this adapter unties the head from the embedding; train rows by token instead")
    return model


def _check_base(folder: Path, record: Record, model: PreTrainedModel) -> None:
    for name in (RECORD_FILE, CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder} is not an adapter folder: {name} is missing")
    try:
        own = config.from_dict(AdapterRecord, json.loads((folder / RECORD_FILE).read_text()), RECORD_FILE)
    except (json.JSONDecodeError, ConfigError) as error:
        raise CheckpointError(f"{folder / RECORD_FILE} cannot be read: {error}") from None
    hashes = record.codebook_hash, record.wording_hash, record.vocabulary_hash
    expected = config.to_dict(AdapterRecord(*hashes, fingerprint(model)))
    for name, found in config.to_dict(own).items():
        if found != expected[name]:
            raise CheckpointError(
                f"{folder}: the adapter was trained on {name} {found[:12]!r}, this model has {expected[name][:12]!r}"
            )
