"""A model folder with random weights, small enough for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

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
