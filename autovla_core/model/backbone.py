"""What differs between the families of backbones: Qwen2.5-VL and Qwen3-VL. Everything else asks here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl as qwen2_5
from transformers.models.qwen3_vl import modeling_qwen3_vl as qwen3
from transformers.vision_utils import (
    get_vision_cu_seqlens,
    get_vision_interpolation_indices_and_weights,
    get_vision_position_ids,
    get_vision_window_index,
)

from autovla_core.contracts import CLIP_IMAGES, CLIP_PERIOD_S
from autovla_core.errors import CheckpointError
from autovla_core.prompt import text

MERGE, PAIR = 2, 2  # patches a side that become one token; images that a patch spans


@dataclass(frozen=True)
class Pixels:
    """How bytes become the tower's input: patch side in pixels, and per-channel mean and deviation of 0..1 values."""

    patch: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def cell(self) -> int:
        """Image sides are multiples of this."""
        return self.patch * MERGE


@dataclass(frozen=True)
class Family:
    """One architecture, as far as it differs from the other."""

    model_type: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    stamped: bool  # each pair of images has its time and its own vision tags in the prompt
    attention: type[nn.Module]  # of the vision tower
    embedding: type[nn.Module]  # of patches


CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
HALF = (0.5, 0.5, 0.5)
FAMILIES = {
    family.model_type: family
    for family in (
        Family(
            "qwen2_5_vl",
            CLIP_MEAN,
            CLIP_STD,
            False,
            qwen2_5.Qwen2_5_VLVisionAttention,
            qwen2_5.Qwen2_5_VisionPatchEmbed,
        ),
        Family("qwen3_vl", HALF, HALF, True, qwen3.Qwen3VLVisionAttention, qwen3.Qwen3VLVisionPatchEmbed),
    )
}
QWEN2_5 = Pixels(14, CLIP_MEAN, CLIP_STD)


def family_of(model: PreTrainedModel) -> Family:
    """The family of a model.

    Raises:
        CheckpointError: another architecture.
    """
    try:
        return FAMILIES[model.config.model_type]
    except KeyError:
        raise CheckpointError(f"a {model.config.model_type!r} model; known: {', '.join(FAMILIES)}") from None


def pixels_of(model: PreTrainedModel) -> Pixels:
    """Patch size and normalisation that the model's vision tower expects."""
    family = family_of(model)
    return Pixels(model.config.vision_config.patch_size, family.mean, family.std)


def video_text(family: Family, tokens: int) -> str:
    """What stands in the prompt for one clip's ``<|video_pad|>``; ``tokens`` places in all."""
    if not family.stamped:
        return text.VIDEO_PAD * tokens
    pairs, (opening, closing) = CLIP_IMAGES // PAIR, text.VISION.split(text.VIDEO_PAD)
    times = [(PAIR * pair + 0.5 * (PAIR - 1)) * CLIP_PERIOD_S for pair in range(pairs)]
    return "".join(f"<{t:.1f} seconds>{opening}{text.VIDEO_PAD * (tokens // pairs)}{closing}" for t in times)


def tower_indices(model: PreTrainedModel, grid: torch.Tensor) -> dict[str, torch.Tensor]:
    """What the vision tower derives from ``grid`` (N, 3) on every call, computed once: arguments of the tower."""
    tower = model.model.visual
    indices = {
        "position_ids": get_vision_position_ids(grid, tower.spatial_merge_size),
        "cu_seqlens": get_vision_cu_seqlens(grid),
    }
    if family_of(model).stamped:
        indices["interp_indices"], indices["interp_weights"] = get_vision_interpolation_indices_and_weights(
            grid,
            num_grid_per_side=tower.num_grid_per_side,
            mode=tower.interpolation_mode,
            align_corners=tower.interpolation_align_corners,
            spatial_merge_size=tower.spatial_merge_size,
        )
    else:
        indices["window_index"], indices["cu_window_seqlens"] = get_vision_window_index(
            grid, tower.spatial_merge_size, tower.window_size, tower.patch_size
        )
    return indices


def features(
    model: PreTrainedModel, pixels: torch.Tensor, indices: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, ...]:
    """The tower's output (N, D), and for Qwen3-VL what its first text layers get on top, each (N, D)."""
    out = model.model.visual(pixels.to(model.model.visual.dtype), **indices)
    return (out.pooler_output, *(getattr(out, "deepstack_features", None) or ()))


@lru_cache
def scale(pixels: Pixels) -> tuple[torch.Tensor, torch.Tensor]:
    """Per-channel gain (3, 1) and offset (3, 1) that turn bytes into normalised pixels."""
    mean, std = torch.tensor(pixels.mean), torch.tensor(pixels.std)
    return (1.0 / (255.0 * std)).view(3, 1), (-mean / std).view(3, 1)
