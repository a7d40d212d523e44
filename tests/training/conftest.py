"""Small genuine route logs, drives on a made-up road whose pictures show how fast and where it bends; and a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from autovla_core.action.codebook import SHIPPED, Codebook
from autovla_core.logs.schema import RouteMeta, Tick
from autovla_core.logs.writer import RouteWriter
from autovla_core.model import checkpoint, tiny
from tests.training import toys
from tests.training.toys import CAMERAS, FAST
from training.build_codebook import MotionConfig, synthetic_plans
from training.datasets.mixture import MixtureConfig
from training.rewards import RewardConfig
from training.rft_settings import GrpoConfig, RftConfig, StepsConfig, ValidationConfig
from training.schedule import LoopConfig
from training.sft_settings import DataConfig, ModelConfig, SftConfig

HEIGHT, WIDTH = 56, 84


def write_route(folder: Path, seed: int, plans: int, height: int = HEIGHT, width: int = WIDTH) -> Path:
    """One route of ``plans`` planning times, 5 ticks apart; a picture's colours tell its plan."""
    rng = np.random.default_rng(seed)
    poses = synthetic_plans(plans, MotionConfig(speed=9.0), rng)
    rig = {"front": {"id": "front", "width": width, "height": height, "fov_deg": 80.0}}
    ramp = np.linspace(0.0, 1.0, width)[None, :, None] * np.linspace(0.2, 1.0, height)[:, None, None]
    with RouteWriter(folder, RouteMeta(town="Nowhere", route_id=folder.name, seed=seed, rig=rig)) as writer:
        for plan in poses:
            speed = float(np.linalg.norm(plan[0, :2])) * 2.0
            colour = np.clip(plan[-1] / [60.0, 30.0, 2.0] + [0.0, 0.5, 0.5], 0.0, 1.0)
            first = len(writer._ticks)
            for i in range(5):
                time_s = 0.05 * (first + i)
                writer.tick(Tick(time_s, 0.0, 0.0, 0.0, 0.0, speed, 0.0, 0.0, perturbed=seed % 2 == 0 and i == 0))
            image = (255 * (0.7 * colour + 0.3 * ramp)).astype(np.uint8)
            writer.image("front", first, image)
            writer.plan(first, plan)
    return folder


@pytest.fixture(scope="session")
def codebook() -> Codebook:
    return Codebook.load(SHIPPED)


@pytest.fixture(scope="session")
def route_logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six routes of 24 planning times."""
    root = tmp_path_factory.mktemp("routes")
    for seed in range(6):
        write_route(root / f"route_{seed:03d}", seed, 24)
    return root


@pytest.fixture(scope="session")
def roads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three drives along a straight road, logged with truth and reasons."""
    root = tmp_path_factory.mktemp("roads")
    for number, speed in enumerate((6.0, 8.0, 10.0)):
        toys.write_reasons(toys.write_route(root / f"route_{number}", speed))
    return root


@pytest.fixture(scope="session")
def init(codebook: Codebook, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model that ends a thought now and then."""
    tokenizer = tiny.build_tokenizer(len(codebook))
    model = tiny.build_model("n01", tokenizer, codebook, 56, 84)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and "embed" not in name:
                parameter.mul_(4.0)
    return checkpoint.save(
        tmp_path_factory.mktemp("init") / "model", model, tokenizer, codebook, CAMERAS, {"by": "test"}
    )


@pytest.fixture(scope="session")
def thinker(codebook: Codebook, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model whose tokenizer knows the words of thoughts."""
    tokenizer = tiny.build_tokenizer(len(codebook), True)
    model = tiny.build_model("n01", tokenizer, codebook, 56, 84)
    return checkpoint.save(tmp_path_factory.mktemp("thinker") / "model", model, tokenizer, codebook, CAMERAS, {})


@pytest.fixture
def recipe(roads: Path, init: Path, tmp_path: Path) -> RftConfig:
    """Three steps of reinforcement fine-tuning on ``roads``."""
    torch.set_num_threads(1)
    return RftConfig(
        out=tmp_path / "run",
        init=init,
        data=MixtureConfig((roads,), tmp_path / "cache", held_out=0.0),
        loop=StepsConfig(steps=3, lr=1e-3, warmup=1, validate_every=2),
        grpo=GrpoConfig(group=4, prompts=3),
        reward=RewardConfig({"ade": 1.0, "progress": 0.5}),
        thinking=FAST,
        validation=ValidationConfig(samples=6, batch=4),
        threads=1,
    )


@pytest.fixture
def taught(route_logs: Path, tmp_path: Path) -> SftConfig:
    """Six steps of supervised fine-tuning on ``route_logs``."""
    torch.set_num_threads(1)
    return SftConfig(
        data=DataConfig((route_logs,), tmp_path / "cache", held_out=0.4, held_out_samples=8),
        out=tmp_path / "run",
        loop=LoopConfig(steps=6, warmup=2, log_every=2),
        model=ModelConfig("n01", cameras=CAMERAS),
        batch_size=4,
        threads=1,
    )
