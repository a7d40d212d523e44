"""The model that is trained, the one it must stay near to, and the plain copy that draws its answers."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel

from autovla_core.model import checkpoint, lora
from autovla_core.model.encoding import Encoder
from autovla_core.model.mirror import Mirror
from autovla_core.model.patches import batch_vision
from training.rft_settings import RftConfig
from training.sampler import Sampler


class Policy:
    """A model folder made trainable.

    Attributes:
        record, codebook: of the model folder.
        scored: the modules that score answers, adapters inside.
        trainable: what is trained, and nothing else: what a checkpoint holds.
        sampler: draws answers from a copy that ``follow`` keeps up.

    Raises:
        CheckpointError: the folder is not whole, or was written with another wording.
    """

    def __init__(self, settings: RftConfig, device: torch.device) -> None:
        folder = settings.init
        self.record = checkpoint.read_record(folder)
        self.codebook = checkpoint.read_codebook(folder, self.record)
        small = settings.lora is not None and device.type == "cuda"  # frozen weights need no float32
        model, self.tokenizer = checkpoint.load(folder, torch.bfloat16 if small else torch.float32)
        batch_vision(model)
        model.to(device).eval().requires_grad_(False)
        self._adapted: PeftModel | None = None
        self._frozen: PreTrainedModel | None = None
        plain = copy.deepcopy(model)
        if settings.lora is None:
            if settings.grpo.beta > 0.0:
                self._frozen = copy.deepcopy(model)
            self.scored = model
            model.model.language_model.requires_grad_(True)
            model.lm_head.requires_grad_(True)
        else:
            torch.manual_seed(settings.seed)  # of the adapter's first weights
            first = Encoder(plain, self.tokenizer, self.record.cameras, len(self.codebook)).first_action
            self._adapted = lora.attach(model, first, len(self.codebook), settings.lora).eval()
            self.scored = self._adapted.get_base_model()
        self.trainable = nn.ParameterList([p for p in self.scored.parameters() if p.requires_grad])
        self._mirror = Mirror(plain, self._adapted or model)
        self.sampler = Sampler(
            self._mirror.plain, self.tokenizer, self.record.cameras, self.codebook, settings.thinking.parts
        )

    def follow(self) -> None:
        """Let answers be drawn from the weights as they are now."""
        self._mirror.follow()

    @contextmanager
    def reference(self) -> Iterator[PreTrainedModel]:
        """The model that training began with: a frozen copy, or this one with its adapter off."""
        if self._adapted is None:
            yield self._frozen
            return
        with self._adapted.disable_adapter():
            yield self.scored

    def save(self, folder: Path, training: Mapping[str, object]) -> None:
        """Write ``folder/model``, ready to drive, and ``folder/adapter`` where there is one."""
        model = self.scored
        if self._adapted is not None:
            lora.save_adapter(self._adapted, folder / "adapter", self.record)
            model = lora.merge(copy.deepcopy(self._adapted).cpu())
        checkpoint.save(folder / "model", model, self.tokenizer, self.codebook, self.record.cameras, training)
