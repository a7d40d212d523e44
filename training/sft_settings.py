"""One recipe of supervised fine-tuning as values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from autovla_core.errors import ConfigError
from autovla_core.model.encoding import CameraView
from autovla_core.model.lora import LoraSpec
from training.augment import AugmentConfig
from training.datasets.mixture import MixtureConfig
from training.schedule import LoopConfig

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class DataConfig(MixtureConfig):
    """A mixture, what of it is taught and how much of it is validated on."""

    thoughts: bool = False  # teach slow answers where a log has reasons (docs/reasons.md)
    held_out_samples: int = 384


@dataclass(frozen=True)
class ModelConfig:
    """A size of ``model.tiny.SIZES`` from scratch, or ``init``: a model folder to go on from."""

    size: str = "n1"
    init: Path | None = None
    codebook: Path | None = None  # None: the shipped one
    cameras: tuple[CameraView, ...] = (CameraView("front", 140, 280),)
    freeze_vision: bool = False


@dataclass(frozen=True)
class LossConfig:
    """Weights of the loss terms."""

    action: float = 1.0  # lambda_a of the paper
    waypoints: float = 1.0  # auxiliary head, dropped from the saved model
    outlook: float = 0.5  # another: which rule binds, what is how near (losses.outlook_loss)
    evidence: float = 0.0  # a third, on the image tokens: is there a light, a sign, a leader (losses.evidence_loss)
    reasoning: float = 1.0  # of a sample with a thought; lambda_cot of the paper, which takes 40
    mode: float | None = None  # of the token that chooses fast or slow, outside the mean; None: inside, as the paper
    soft_sigma: float = 0.0  # m; 0 trains on the one right token


@dataclass(frozen=True)
class SftConfig:
    """One recipe file.

    Raises:
        ConfigError: values that do not go together.
    """

    data: DataConfig
    out: Path
    loop: LoopConfig
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    augment: AugmentConfig = AugmentConfig()
    batch_size: int = 32  # over all ranks
    accumulate: int = 1  # parts that a batch is cut into and learnt one after the other; each rank takes its share
    lora: LoraSpec | None = None  # None: all weights
    dtype: str = "float32"  # of the arithmetic (``DTYPES``); what is trained is kept in float32
    recompute: bool = False  # activations in the way back instead of keeping them: a third slower, far less memory
    shard: bool = False  # weights, gradients and moments over the ranks (FSDP2); one rank alone has nothing to share
    seed: int = 0
    threads: int = 2
    device: str = "cpu"  # cpu or cuda
    compile: bool = False  # torch.compile the loss: a fifth faster after a minute, where a C++ compiler is at hand
    tensorboard: bool = False  # log.jsonl as curves too; needs the package tensorboard

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ConfigError(f"dtype {self.dtype!r}; known: {', '.join(DTYPES)}")
        if not 1 <= self.accumulate <= self.batch_size:
            raise ConfigError(f"accumulate {self.accumulate}: expected 1 to {self.batch_size}, the samples of a batch")
        if self.lora and self.model.init is None:
            raise ConfigError("lora adapts a model that knows something: name it in model.init")
        if self.lora and self.shard:
            raise ConfigError("shard with lora: an adapter and its moments are small; take shard out")
        if self.lora and self.model.freeze_vision:
            raise ConfigError("model.freeze_vision with lora: what lora.targets does not name is frozen; take it out")

    @property
    def compute(self) -> torch.dtype:
        """What ``dtype`` names."""
        return DTYPES[self.dtype]

    def parts(self, ranks: int) -> int:
        """How many parts a batch is cut into, so that every rank gets as many.

        Raises:
            ConfigError: more of them than samples.
        """
        count = -(-self.accumulate // ranks) * ranks
        if count > self.batch_size:
            raise ConfigError(
                f"batch_size {self.batch_size}, accumulate {self.accumulate}: no {count} parts for {ranks} ranks"
            )
        return count
