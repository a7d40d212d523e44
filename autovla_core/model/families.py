"""The backbones that a model folder may hold; sizes always come from its config.json."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from transformers import (
    AutoConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
    Qwen3VLForConditionalGeneration,
)

from autovla_core.contracts import CLIP_IMAGES
from autovla_core.errors import CheckpointError
from autovla_core.model import backbone

MOST_CELLS = 768  # tokens of one image
SPECIALS = {  # what config.json calls them, and the tokenizer
    "image_token_id": "<|image_pad|>",
    "video_token_id": "<|video_pad|>",
    "vision_start_token_id": "<|vision_start|>",
    "vision_end_token_id": "<|vision_end|>",
}


@dataclass(frozen=True)
class Family:
    """Library class and processor of one ``model_type``; the processor's names are what ``AutoProcessor`` looks for."""

    model: type[PreTrainedModel]
    processor: str
    video_processor: str
    video_images: int  # images that a video's budget of pixels is for
    image_processor: str = "Qwen2VLImageProcessor"


FAMILIES = {
    "qwen2_5_vl": Family(Qwen2_5_VLForConditionalGeneration, "Qwen2_5_VLProcessor", "Qwen2VLVideoProcessor", 1),
    "qwen3_vl": Family(Qwen3VLForConditionalGeneration, "Qwen3VLProcessor", "Qwen3VLVideoProcessor", CLIP_IMAGES),
}


def family_of(model_type: str, where: object) -> Family:
    """The family of a ``model_type``.

    Raises:
        CheckpointError: one that this project cannot drive with.
    """
    try:
        return FAMILIES[model_type]
    except KeyError:
        raise CheckpointError(f"{where}: model_type {model_type!r}, expected one of {sorted(FAMILIES)}") from None


def read_config(folder: str | Path) -> PreTrainedConfig:
    """config.json of a model folder, also in the flat form of older Qwen2.5-VL folders.

    Raises:
        CheckpointError: missing, damaged, or of another family.
    """
    file = Path(folder) / "config.json"
    try:
        document = json.loads(file.read_text())
        family_of(str(document.get("model_type")), file)
        return AutoConfig.from_pretrained(folder)
    except FileNotFoundError:
        raise CheckpointError(f"{folder} is not a model folder: config.json is missing") from None
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise CheckpointError(f"{file} cannot be read: {error}") from None


def cell_of(config: PreTrainedConfig) -> int:
    """Pixels a side of what becomes one token: image sides are multiples of this."""
    return config.vision_config.patch_size * config.vision_config.spatial_merge_size


def write_processor(folder: Path, config: PreTrainedConfig) -> None:
    """processor_config.json under the standard class names; images of whole cells keep their size."""
    family, vision = family_of(config.model_type, folder), config.vision_config
    area, colours = cell_of(config) ** 2, backbone.FAMILIES[config.model_type]
    values = Qwen2VLImageProcessorPil(
        size={"shortest_edge": area, "longest_edge": MOST_CELLS * area},
        patch_size=vision.patch_size,
        merge_size=vision.spatial_merge_size,
        temporal_patch_size=vision.temporal_patch_size,
        image_mean=list(colours.mean),
        image_std=list(colours.std),
    ).to_dict()
    values.pop("image_processor_type", None)
    video = {**values, "video_processor_type": family.video_processor}
    if family.video_images > 1:
        video["size"] = {"shortest_edge": area, "longest_edge": MOST_CELLS * area * family.video_images}
        video["do_sample_frames"] = False  # a clip is sampled already
    document = {
        "processor_class": family.processor,
        "image_processor": {**values, "image_processor_type": family.image_processor},
        "video_processor": video,
    }
    _write(folder / "processor_config.json", document)
    _write(folder / "preprocessor_config.json", document["image_processor"])


def _write(file: Path, document: dict[str, object]) -> None:
    file.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")
