"""The processors of Qwen2.5-VL and Qwen3-VL on a machine without torchvision.

transformers 5.23 has no PIL video processor and cannot build either processor without
torchvision. These classes fill the gap; driving and training do not need them (``encoding.py``),
tools and comparisons with Hugging Face's own path do.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import (
    AutoConfig,
    AutoTokenizer,
    ProcessorMixin,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessorPil,
    Qwen3VLProcessor,
)
from transformers.image_processing_utils import BatchFeature
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize
from transformers.processing_utils import VideosKwargs
from transformers.video_processing_utils import VideoProcessorMixin
from transformers.video_utils import make_batched_metadata, make_batched_videos

from autovla_core.errors import CheckpointError
from autovla_core.model.backbone import Pixels
from autovla_core.model.patches import CELL, PAIR, grid_of, pixel_patches


class _PilVideoKwargs(VideosKwargs, total=False):
    min_pixels: int
    max_pixels: int
    patch_size: int
    temporal_patch_size: int
    merge_size: int
    min_frames: int
    max_frames: int
    cap_pixels_per_frame: bool


class PilVideoProcessor(VideoProcessorMixin, Qwen2VLImageProcessorPil):
    """What Qwen2VLVideoProcessor does, by PIL and our own patchifier. Videos without metadata count as 2 Hz."""

    size = {"shortest_edge": 128 * CELL * CELL, "longest_edge": 768 * CELL * CELL}
    temporal_patch_size = PAIR
    do_sample_frames = False
    return_metadata = True
    fps = 2.0
    model_input_names = ["pixel_values_videos", "video_grid_thw"]
    valid_kwargs = _PilVideoKwargs

    def preprocess(self, videos: object, **kwargs: object) -> BatchFeature:
        """Patches of all videos in a row, their grids (N, 3), and their metadata."""
        batch = [np.stack([np.asarray(image) for image in video]) for video in make_batched_videos(videos)]
        metadata = make_batched_metadata(batch, video_metadata=kwargs.get("video_metadata"))
        for entry in metadata:
            entry.fps = self.fps if entry.fps is None else entry.fps
        clips = [self._fit(video, dict(kwargs.get("size") or self.size)) for video in batch]
        pixels = Pixels(self.patch_size, tuple(self.image_mean), tuple(self.image_std))
        parts = [pixel_patches(torch.from_numpy(clip)[None], pixels=pixels)[0] for clip in clips]
        data = {
            "pixel_values_videos": torch.cat(parts),
            "video_grid_thw": torch.tensor([grid_of(*clip.shape[:3], self.patch_size) for clip in clips]),
        }
        return BatchFeature({**data, "video_metadata": metadata})

    def _fit(self, video: np.ndarray, size: dict[str, int]) -> np.ndarray:
        """Resize (T, H, W, 3) to multiples of a cell within the pixel budget, and make T even."""
        height, width = video.shape[1:3]
        cell = self.patch_size * self.merge_size
        wanted = smart_resize(height, width, cell, size["shortest_edge"], size["longest_edge"])
        if wanted != (height, width):
            shape = wanted[1], wanted[0]
            video = np.stack([np.asarray(Image.fromarray(i).resize(shape, Image.Resampling.BICUBIC)) for i in video])
        return np.concatenate([video, video[-1:]]) if len(video) % PAIR else video


class _WithPil(ProcessorMixin):
    """A processor that accepts our video processor."""

    def check_argument_for_proper_class(self, argument_name: str, argument: object) -> object:
        """Let a ``VideoProcessorMixin`` pass; everything else as upstream."""
        if argument_name == "video_processor" and isinstance(argument, VideoProcessorMixin):
            return VideoProcessorMixin
        return super().check_argument_for_proper_class(argument_name, argument)


class AutoVLAProcessor(_WithPil, Qwen2_5_VLProcessor):
    """Qwen2_5_VLProcessor with our video processor."""


class AutoVLAProcessor3(_WithPil, Qwen3VLProcessor):
    """Qwen3VLProcessor with our video processor."""


PROCESSORS = {"qwen2_5_vl": AutoVLAProcessor, "qwen3_vl": AutoVLAProcessor3}


def load_processor(folder: str | Path) -> ProcessorMixin:
    """Instead of ``AutoProcessor``, which without torchvision fails or returns a bare tokenizer.

    Raises:
        CheckpointError: a folder of another architecture.
    """
    model_type = AutoConfig.from_pretrained(folder).model_type
    if model_type not in PROCESSORS:
        raise CheckpointError(f"{folder}: model_type {model_type!r}, expected one of {sorted(PROCESSORS)}")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return PROCESSORS[model_type](
        image_processor=Qwen2VLImageProcessorPil.from_pretrained(folder),
        tokenizer=tokenizer,
        video_processor=PilVideoProcessor.from_pretrained(folder),
        chat_template=tokenizer.chat_template,
    )
