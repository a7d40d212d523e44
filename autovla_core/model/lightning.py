"""The authors' checkpoints: a Lightning ``.ckpt`` whose weights are called ``autovla.vlm.*``.

Read by ``torch.load(weights_only=True)``, which admits tensors and plain values and runs nothing. Every tensor of the
model must be there, and nothing else may be, unless it was named to be dropped.

The names after the prefix are those of the transformers release that trained: ``visual.*`` and ``model.layers.*``
before 4.52, ``model.visual.*`` and ``model.language_model.*`` since. Base folders come in both, too; all pairs fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch

from autovla_core.action.codebook import Codebook
from autovla_core.errors import CheckpointError
from autovla_core.model.base_folder import add_actions, check_cameras, read_base, write_folder
from autovla_core.model.encoding import CameraView
from autovla_core.model.families import cell_of
from autovla_core.model.weights import HEAD, model_name, some
from autovla_core.restricted_pickle import BROKEN

PREFIX = "autovla.vlm."
ADAPTED = "base_model.model."  # what peft puts before every name
PARTS = {".base_layer.weight": "weight", ".lora_A.default.weight": "a", ".lora_B.default.weight": "b"}

State = Mapping[str, torch.Tensor]


def convert(
    file: str | Path,
    base_folder: str | Path,
    codebook: Codebook,
    cameras: tuple[CameraView, ...],
    out: str | Path,
    lora_alpha: float | None = None,
    drop: Sequence[str] = (),
) -> Path:
    """Write a model folder with the weights of ``file`` and all else of the base that they were trained from.

    Args:
        codebook: the one that they were trained with; the file does not hold it.
        lora_alpha: needed if the file holds adapters, which are merged with weight alpha / rank.
        drop: beginnings of names that are left out on purpose, such as a reference model.

    Raises:
        CheckpointError: not such a file, tensors missing, unknown or of other shapes, or adapters without an alpha.
    """
    base = read_base(base_folder)
    state = merged(own_tensors(read_state(file), file, drop), file, lora_alpha)
    state = renamed(state, file, base.inventory.files)
    check_cameras(cameras, cell_of(base.config))
    first = add_actions(base.tokenizer, len(codebook))
    _check_names(file, state, set(base.inventory.files), base.tied)
    rows = {len(state[name]) for name in base.tables}
    if len(rows) != 1 or min(rows) < first + len(codebook):
        raise CheckpointError(
            f"{file}: the tables have {sorted(rows)} rows, expected one number of at least {first + len(codebook)}: "
            f"{first} tokens of the base and {len(codebook)} actions"
        )
    if base.tied and HEAD in state and not torch.equal(state[HEAD], state[base.tables[0]]):
        raise CheckpointError(f"{file}: {HEAD} differs from the embedding, but the base ties them")
    source = {"program": "convert_checkpoint", "file": Path(file).name, "base": Path(base_folder).resolve().name}
    return write_folder(out, base, rows.pop(), state.__getitem__, state.__getitem__, codebook, cameras, source)


def read_state(file: str | Path) -> State:
    """The ``state_dict`` of a Lightning file; tensors stay on disk until they are used.

    Raises:
        CheckpointError: no such file, no ``state_dict`` of tensors, or a pickle that asks for more than tensors.
    """
    if not Path(file).is_file():
        raise CheckpointError(f"no checkpoint at {file}")
    try:
        document = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except (*BROKEN, RuntimeError, OSError) as error:
        reason = str(error).split("\n")[0][:300]
        raise CheckpointError(
            f"{file} is refused, it holds more than tensors and plain values, or is no checkpoint: {reason}; "
            "whoever trusts it can save its state_dict alone"
        ) from None
    state = document.get("state_dict") if isinstance(document, dict) else None
    if not isinstance(state, dict) or not all(isinstance(t, torch.Tensor) for t in state.values()) or not state:
        found = sorted(map(str, document)) if isinstance(document, dict) else type(document).__name__
        raise CheckpointError(f"{file}: found {found}, expected a 'state_dict' of tensors")
    return state


def own_tensors(state: State, file: str | Path, drop: Sequence[str]) -> State:
    """The model's tensors under the names of its base folder.

    Raises:
        CheckpointError: a tensor that is neither the model's nor to be dropped.
    """
    kept = {name: tensor for name, tensor in state.items() if not name.startswith(tuple(drop))}
    foreign = [name for name in kept if not name.startswith(PREFIX)]
    if foreign or not kept:
        raise CheckpointError(
            f"{file}: {len(foreign)} of {len(kept)} tensors are not called {PREFIX}*: {some(foreign)}; "
            "--drop BEGINNING leaves tensors out on purpose"
        )
    return {name.removeprefix(PREFIX).removeprefix(ADAPTED): tensor for name, tensor in kept.items()}


def renamed(state: State, file: str | Path, base: Iterable[str]) -> State:
    """The tensors under the names that the base folder has for them; names unknown to it stay as they are.

    Raises:
        CheckpointError: one tensor under its older and its newer name.
    """
    names = {model_name(name): name for name in base}
    found: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        own = names.get(model_name(name), name)
        if own in found:
            raise CheckpointError(f"{file}: {own} is there twice, under its older and its newer name")
        found[own] = tensor
    return found


def merged(state: State, file: str | Path, alpha: float | None) -> State:
    """Adapters added to the weights that they adapt: W + alpha / rank * B A, computed in float32.

    Raises:
        CheckpointError: adapters without an alpha, or an adapter without its other half.
    """
    plain: dict[str, torch.Tensor] = {}
    adapted: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in state.items():
        ending = next((e for e in PARTS if name.endswith(e)), None)
        if ending is not None:
            adapted.setdefault(name.removesuffix(ending), {})[PARTS[ending]] = tensor
        else:
            plain[name.replace(".base_layer.bias", ".bias")] = tensor
    incomplete = [name for name, parts in adapted.items() if set(parts) != set(PARTS.values())]
    if incomplete:
        raise CheckpointError(
            f"{file}: {len(incomplete)} adapters lack a part, expected {list(PARTS)}: {some(incomplete)}"
        )
    if adapted and alpha is None:
        raise CheckpointError(
            f"{file}: {len(adapted)} weights have LoRA adapters; say with which --lora-alpha (paper: 8)"
        )
    for name, parts in adapted.items():
        rank = len(parts["a"])
        change = parts["b"].float() @ parts["a"].float() * (alpha / rank)
        plain[f"{name}.weight"] = (parts["weight"].float() + change).to(parts["weight"].dtype)
    return plain


def _check_names(file: str | Path, state: State, expected: set[str], tied: bool) -> None:
    found = set(state)
    if tied:
        found, expected = found - {HEAD}, expected - {HEAD}
    if found != expected:
        missing, unknown = expected - found, found - expected
        raise CheckpointError(
            f"{file}: {len(missing)} tensors of the base are missing ({some(missing)}), "
            f"{len(unknown)} are unknown to it ({some(unknown)})"
        )
