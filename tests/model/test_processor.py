"""The library's own processor and ours read the same clip and write the same prompt, for both families.

Where torchvision is installed, that is ``AutoProcessor`` itself; elsewhere the library's classes around PIL.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from transformers import AutoProcessor, PreTrainedModel, PreTrainedTokenizerBase

from autovla_core.action.codebook import SHIPPED, Codebook
from autovla_core.contracts import Command
from autovla_core.model import checkpoint
from autovla_core.model.encoding import CameraView, Encoder
from autovla_core.model.processor import load_processor
from autovla_core.prompt import render

THREE = ("front", "front_left", "front_right")
STOCK = {
    "qwen2_5_vl": {
        "processor": "Qwen2_5_VLProcessor",
        "image_processor": "Qwen2VLImageProcessor",
        "video_processor": "Qwen2VLVideoProcessor",
    },
    "qwen3_vl": {
        "processor": "Qwen3VLProcessor",
        "image_processor": "Qwen2VLImageProcessor",
        "video_processor": "Qwen3VLVideoProcessor",
    },
}  # the names that the makers' own folders have


Parts = tuple[PreTrainedModel, PreTrainedTokenizerBase, tuple[CameraView, ...], Path]


@pytest.fixture
def save(family_builder, tmp_path: Path):
    """A random model of a family and a rig, and its folder."""

    def saved(family: str, rig: tuple[str, ...]) -> Parts:
        model, tokenizer, view = family_builder(family)
        cameras = tuple(CameraView(name, view.height, view.width) for name in rig)
        folder = checkpoint.save(tmp_path / "m", model, tokenizer, Codebook.load(SHIPPED), cameras, {})
        return model, tokenizer, cameras, folder

    return saved


def noise(cameras: tuple[CameraView, ...]) -> np.ndarray:
    """A clip (4, H, W, 3) for each camera."""
    shape = (len(cameras), 4, cameras[0].height, cameras[0].width, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("family", STOCK)
@pytest.mark.parametrize("rig", [("front",), THREE])
def test_ids_pixels_and_positions_are_the_librarys(family: str, rig: tuple[str, ...], save) -> None:
    model, tokenizer, cameras, folder = save(family, rig)
    encoder, clips = Encoder(model, tokenizer, cameras, 2048), noise(cameras)
    prompt = render.render(5.0, 0.1, Command.LEFT, rig)
    theirs = load_processor(folder)(text=[prompt], videos=list(clips), return_tensors="pt")
    ids = encoder.prompt(5.0, 0.1, Command.LEFT)
    assert theirs["input_ids"][0].tolist() == list(ids)
    ours = encoder.patches({name: torch.from_numpy(clip)[None] for name, clip in zip(rig, clips)})
    assert torch.allclose(ours, theirs["pixel_values_videos"], atol=1e-5)
    assert theirs["video_grid_thw"].tolist() == [list(grid) for grid in encoder.grids]
    names = ("input_ids", "mm_token_type_ids", "video_grid_thw", "second_per_grid_ts", "attention_mask")
    given = {name: torch.as_tensor(theirs[name]) for name in names if name in theirs}
    positions, _ = model.model.get_rope_index(**given)
    assert torch.equal(positions, encoder.positions(len(ids)))


@pytest.mark.parametrize("family", STOCK)
def test_a_folder_names_the_standard_classes(family: str, save) -> None:
    *_, folder = save(family, ("front",))
    document = json.loads((folder / "processor_config.json").read_text())
    found = {"processor": document["processor_class"]}
    found |= {part: document[part][f"{part}_type"] for part in ("image_processor", "video_processor")}
    assert found == STOCK[family]
    assert all(hasattr(transformers, name) for name in found.values())
    assert json.loads((folder / "preprocessor_config.json").read_text()) == document["image_processor"]


@pytest.mark.parametrize("family", STOCK)
@pytest.mark.parametrize("rig", [("front",), THREE])
def test_the_stock_auto_processor_reads_our_folder_as_ours_does(family: str, rig: tuple[str, ...], save) -> None:
    pytest.importorskip("torchvision")
    model, tokenizer, cameras, folder = save(family, rig)
    stock = AutoProcessor.from_pretrained(folder)
    names = {"processor": stock, "image_processor": stock.image_processor, "video_processor": stock.video_processor}
    assert {part: type(value).__name__ for part, value in names.items()} == STOCK[family]
    encoder, clips = Encoder(model, tokenizer, cameras, 2048), noise(cameras)
    prompt = render.render(5.0, 0.1, Command.LEFT, rig)
    metadata = [{"fps": 2.0, "total_num_frames": 4, "frames_indices": [0, 1, 2, 3]}] * len(rig)
    theirs = stock(text=[prompt], videos=list(clips), video_metadata=metadata, return_tensors="pt")
    ids = encoder.prompt(5.0, 0.1, Command.LEFT)
    assert theirs["input_ids"][0].tolist() == list(ids)
    ours = encoder.patches({name: torch.from_numpy(clip)[None] for name, clip in zip(rig, clips)})
    assert torch.allclose(ours, theirs["pixel_values_videos"], atol=1e-5)
    names = ("input_ids", "mm_token_type_ids", "video_grid_thw", "second_per_grid_ts", "attention_mask")
    positions, _ = model.model.get_rope_index(**{n: torch.as_tensor(theirs[n]) for n in names if n in theirs})
    assert torch.equal(positions, encoder.positions(len(ids)))


def test_the_stock_auto_processor_reads_the_shipped_folder() -> None:
    pytest.importorskip("torchvision")
    folder = Path(__file__).resolve().parents[2] / "models" / "autovla-tiny"
    (camera,) = checkpoint.read_record(folder).cameras
    prompt, clips = render.render(5.0, 0.1, Command.LEFT, ("front",)), noise((camera,))
    stock, ours = AutoProcessor.from_pretrained(folder), load_processor(folder)
    found, expected = (p(text=[prompt], videos=list(clips), return_tensors="pt") for p in (stock, ours))
    assert found["input_ids"].tolist() == torch.as_tensor(expected["input_ids"]).tolist()
    assert torch.allclose(found["pixel_values_videos"], expected["pixel_values_videos"], atol=1e-5)
