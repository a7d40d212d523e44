"""The library's own processor and ours read the same clip and write the same prompt, for both families."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from autovla_core.action.codebook import SHIPPED, Codebook
from autovla_core.contracts import Command
from autovla_core.model import checkpoint
from autovla_core.model.encoding import CameraView, Encoder
from autovla_core.model.processor import load_processor
from autovla_core.prompt import render

THREE = ("front", "front_left", "front_right")


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl"])
@pytest.mark.parametrize("rig", [("front",), THREE])
def test_ids_pixels_and_positions_are_the_librarys(
    family: str, rig: tuple[str, ...], family_builder, tmp_path: Path
) -> None:
    model, tokenizer, view = family_builder(family)
    cameras = tuple(CameraView(name, view.height, view.width) for name in rig)
    checkpoint.save(tmp_path / "m", model, tokenizer, Codebook.load(SHIPPED), cameras, {})
    encoder, processor = Encoder(model, tokenizer, cameras, 2048), load_processor(tmp_path / "m")
    clips = np.random.default_rng(0).integers(0, 256, (len(rig), 4, view.height, view.width, 3), dtype=np.uint8)
    prompt = render.render(5.0, 0.1, Command.LEFT, rig)
    theirs = processor(text=[prompt], videos=list(clips), return_tensors="pt")
    ids = encoder.prompt(5.0, 0.1, Command.LEFT)
    assert theirs["input_ids"][0].tolist() == list(ids)
    ours = encoder.patches({name: torch.from_numpy(clip)[None] for name, clip in zip(rig, clips)})
    assert torch.allclose(ours, theirs["pixel_values_videos"], atol=1e-5)
    assert theirs["video_grid_thw"].tolist() == [list(grid) for grid in encoder.grids]
    names = ("input_ids", "mm_token_type_ids", "video_grid_thw", "second_per_grid_ts", "attention_mask")
    given = {name: torch.as_tensor(theirs[name]) for name in names if name in theirs}
    positions, _ = model.model.get_rope_index(**given)
    assert torch.equal(positions, encoder.positions(len(ids)))
