"""Qwen2.5-VL's processor on a machine without torchvision.

transformers 5.23 has no PIL video processor and cannot build ``Qwen2_5_VLProcessor`` without
torchvision. These two classes fill the gap; driving and training do not need them (``encoding.py``),
tools and comparisons with Hugging Face's own path do.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import AutoTokenizer, Qwen2_5_VLProcessor, Qwen2VLImageProcessorPil
from transformers.image_processing_utils import BatchFeature
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize
from transformers.processing_utils import VideosKwargs
from transformers.video_processing_utils import VideoProcessorMixin
from transformers.video_utils import make_batched_metadata, make_batched_videos

from autovla_core.model.patches import CELL, PAIR, grid_of, pixel_patches

CONFIG = {  # the standard names, so that AutoProcessor reads the folder where torchvision is installed
    "processor_class": "Qwen2_5_VLProcessor",
    "image_processor": {"image_processor_type": "Qwen2VLImageProcessor"},
    "video_processor": {"video_processor_type": "Qwen2VLVideoProcessor"},
}


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
        data = {
            "pixel_values_videos": torch.cat([pixel_patches(torch.from_numpy(clip)[None])[0] for clip in clips]),
            "video_grid_thw": torch.tensor([grid_of(*clip.shape[:3]) for clip in clips]),
        }
        return BatchFeature({**data, "video_metadata": metadata})

    def _fit(self, video: np.ndarray, size: dict[str, int]) -> np.ndarray:
        """Resize (T, H, W, 3) to multiples of 28 within the pixel budget, and make T even."""
        height, width = video.shape[1:3]
        wanted = smart_resize(height, width, CELL, size["shortest_edge"], size["longest_edge"])
        if wanted != (height, width):
            shape = wanted[1], wanted[0]
            video = np.stack([np.asarray(Image.fromarray(i).resize(shape, Image.Resampling.BICUBIC)) for i in video])
        return np.concatenate([video, video[-1:]]) if len(video) % PAIR else video


class AutoVLAProcessor(Qwen2_5_VLProcessor):
    """Qwen2_5_VLProcessor that accepts our video processor."""

    def check_argument_for_proper_class(self, argument_name: str, argument: object) -> object:
        """Let a ``VideoProcessorMixin`` pass; everything else as upstream."""
        if argument_name == "video_processor" and isinstance(argument, VideoProcessorMixin):
            return VideoProcessorMixin
        return super().check_argument_for_proper_class(argument_name, argument)


def load_processor(folder: str | Path) -> AutoVLAProcessor:
    """Instead of ``AutoProcessor``, which without torchvision fails or returns a bare tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return AutoVLAProcessor(
        image_processor=Qwen2VLImageProcessorPil.from_pretrained(folder),
        tokenizer=tokenizer,
        video_processor=PilVideoProcessor.from_pretrained(folder),
        chat_template=tokenizer.chat_template,
    )
