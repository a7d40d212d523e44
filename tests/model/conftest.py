"""A model folder with random weights, small enough for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Qwen3VLConfig, Qwen3VLForConditionalGeneration

from autovla_core.action.codebook import SHIPPED, Codebook
from autovla_core.contracts import Clip, Command, Observation
from autovla_core.model import checkpoint, tiny
from autovla_core.model.encoding import CameraView

HEIGHT, WIDTH = 56, 84


@pytest.fixture(scope="session")
def cameras() -> tuple[CameraView, ...]:
    return (CameraView("front", HEIGHT, WIDTH),)


def build_folder(folder: Path, cameras: tuple[CameraView, ...], seed: int = 0) -> Path:
    """Random weights, rounded to what the folder stores."""
    book = Codebook.load(SHIPPED)
    tokenizer = tiny.build_tokenizer(len(book))
    model = tiny.build_model("n01", tokenizer, book, HEIGHT, WIDTH, seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)  # random weights of 0.02 give nearly equal scores to all tokens
    return checkpoint.save(folder, model, tokenizer, book, cameras, {"program": "tests"})


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory, cameras: tuple[CameraView, ...]) -> Path:
    return build_folder(tmp_path_factory.mktemp("model") / "random", cameras)


@pytest.fixture
def observation() -> Observation:
    return make_observation(0)


def make_observation(seed: int, cameras: tuple[str, ...] = ("front",), **changes: object) -> Observation:
    """Noise images, 5 m/s, keep forward."""
    rng = np.random.default_rng(seed)
    times = np.arange(4) * 0.5
    clips = {c: Clip(rng.integers(0, 256, (4, HEIGHT, WIDTH, 3), dtype=np.uint8), times) for c in cameras}
    values = {
        "time_s": 1.5,
        "clips": clips,
        "speed": 5.04,
        "acceleration": -0.51,
        "pose": np.zeros(3),
        "command": Command.FOLLOW,
        "route": np.zeros((0, 2)),
    }
    return Observation(**{**values, **changes})


@pytest.fixture(scope="session")
def observe() -> object:
    return make_observation


@pytest.fixture(scope="session")
def folder_builder() -> object:
    return build_folder


def build_qwen3(tokenizer: PreTrainedTokenizerBase, seed: int = 0) -> Qwen3VLForConditionalGeneration:
    """A Qwen3-VL of three text layers with deepstack, random weights; images are multiples of 32 pixels."""
    ids = {name: tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in ("video_pad", "image_pad")}
    tags = {name: tokenizer.convert_tokens_to_ids(f"<|vision_{name}|>") for name in ("start", "end")}
    text_config = {
        "vocab_size": -(-len(tokenizer) // 64) * 64,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "mrope_section": [4, 2, 2],
            "mrope_interleaved": True,
        },
    }
    vision_config = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 2,
        "out_hidden_size": 32,
        "patch_size": 16,
        "num_position_embeddings": 16,
        "deepstack_visual_indexes": [0, 1],
    }
    config = Qwen3VLConfig(
        text_config=text_config,
        vision_config=vision_config,
        image_token_id=ids["image_pad"],
        video_token_id=ids["video_pad"],
        vision_start_token_id=tags["start"],
        vision_end_token_id=tags["end"],
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    return Qwen3VLForConditionalGeneration._from_config(config, attn_implementation="sdpa").eval()


def build_family(family: str, seed: int = 0) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, CameraView]:
    """A random model of one family, with scores that differ, and the view that its images have.

    "spelled" after the family: the tokenizer has no tokens for sentences, it spells them as a real one does.
    """
    book, phrases = Codebook.load(SHIPPED), tiny.phrases
    try:
        tiny.phrases = (lambda thoughts: []) if family.endswith("spelled") else phrases
        tokenizer = tiny.build_tokenizer(len(book))
    finally:
        tiny.phrases = phrases
    if family.startswith("qwen2_5_vl"):
        model, view = tiny.build_model("n01", tokenizer, book, HEIGHT, WIDTH, seed).eval(), (HEIGHT, WIDTH)
    else:
        model, view = build_qwen3(tokenizer, seed), (64, 96)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and "embed" not in name:
                parameter.mul_(12.0)  # else a token's own embedding decides what follows it
    return model, tokenizer, CameraView("front", *view)


@pytest.fixture(scope="session")
def family_builder() -> object:
    return build_family
