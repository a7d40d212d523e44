"""The model that supervised fine-tuning teaches, plain, with an adapter or in shards, and the copy that is judged."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from peft import PeftModel
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from autovla_core.action.codebook import SHIPPED, Codebook
from autovla_core.errors import CheckpointError
from autovla_core.model import checkpoint, lora, tiny
from autovla_core.model.checkpoint import Record, vocabulary_hash
from autovla_core.model.encoding import Encoder
from autovla_core.model.mirror import Mirror
from autovla_core.model.patches import batch_vision
from autovla_core.model.tiny_thoughts import with_thoughts
from training.rft_tally import Team
from training.sampler import Sampler
from training.saving import whole
from training.sft_settings import SftConfig
from training.trainee import Trainee


def build(settings: SftConfig) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, Codebook]:
    """The model to train, its tokenizer and its codebook.

    Raises:
        CheckpointError: ``model.init`` was trained for another rig, or lacks words that an adapter could not teach it.
    """
    given = settings.model
    if given.init is None:
        codebook = Codebook.load(given.codebook or SHIPPED)
        tokenizer = tiny.build_tokenizer(len(codebook), settings.data.thoughts)
        height = max(camera.height for camera in given.cameras)
        width = max(camera.width for camera in given.cameras)
        model = tiny.build_model(given.size, tokenizer, codebook, height, width, settings.seed)
        return model, tokenizer, codebook
    record = checkpoint.read_record(given.init)
    if record.cameras != given.cameras:
        raise CheckpointError(f"{given.init} sees {record.cameras}, the recipe {given.cameras}")
    # what is frozen below an adapter needs no more digits than the arithmetic has
    model, tokenizer = checkpoint.load(given.init, settings.compute if settings.lora else torch.float32)
    codebook = checkpoint.read_codebook(given.init, record)
    if settings.data.thoughts:
        wider, tokenizer = with_thoughts(model, tokenizer, len(codebook), settings.seed)
        if settings.lora and wider is not model:
            raise CheckpointError(
                f"{given.init} does not know the words of thoughts, and LoRA trains no rows for them; "
                "teach it without lora first"
            )
        model = wider
    return model, tokenizer, codebook


class Student:
    """A recipe's model, ready to be trained.

    Attributes:
        encoder, tokenizer, codebook: that belong to it.
        model: what is trained, adapters inside.

    Raises:
        CheckpointError: as ``build``.
    """

    def __init__(self, settings: SftConfig, team: Team, device: torch.device) -> None:
        self._settings, self._team, self._device = settings, team, device
        self.model, self.tokenizer, self.codebook = build(settings)
        batch_vision(self.model)
        self.model.to(device)
        self.encoder = Encoder(self.model, self.tokenizer, settings.model.cameras, len(self.codebook))
        if settings.model.freeze_vision:
            self.model.model.visual.requires_grad_(False)
        self._sharded = settings.shard and team.size > 1
        self._mirror: Mirror | None = None
        self._adapted: PeftModel | None = None

    def trainee(self) -> Trainee:
        """The module to train; call it once, before anything else."""
        settings = self._settings
        apart = settings.data.thoughts or self._sharded or settings.lora is not None
        plain = copy.deepcopy(self.model) if apart and self._team.leads else None
        if settings.lora is not None:
            self._adapted = lora.attach(self.model, self.encoder.first_action, len(self.codebook), settings.lora)
        if plain is not None:
            self._mirror = Mirror(plain, self._adapted or self.model)
        trainee = Trainee(self.model, self.encoder, self.codebook, settings.loss, settings.compute).to(self._device)
        if settings.recompute:
            self.model.gradient_checkpointing_enable({"use_reentrant": False})
        if self._sharded:
            shard(trainee, self._team.size, self._device, settings.compute)
        return trainee

    def follow(self) -> None:
        """Bring the copy up to the weights as they are now; every rank must call it."""
        if self._sharded:
            _gather(self.model, self.plain if self._team.leads else None)
        elif self._mirror is not None:
            self._mirror.follow()

    @property
    def plain(self) -> PreTrainedModel:
        """The model without adapters and whole, as of the last ``follow``; on the rank that leads."""
        return self.model if self._mirror is None else self._mirror.plain

    def sampler(self) -> Sampler | None:
        """Answers as the car will, if it is taught to think; a new one remembers nothing of earlier weights."""
        if not self._settings.data.thoughts:
            return None
        return Sampler(self.plain, self.tokenizer, self._settings.model.cameras, self.codebook, parts=False)

    def save(self, training: Mapping[str, object]) -> None:
        """Write ``out/model``, ready to drive, and ``out/adapter`` where there is one.

        Raises:
            CheckpointError: they cannot be written.
        """
        out, cameras = self._settings.out, self._settings.model.cameras
        if self._adapted is not None:
            record = Record(cameras, self.codebook.hash, vocabulary_hash=vocabulary_hash(self.tokenizer))
            lora.save_adapter(self._adapted, out / "adapter", record)
        checkpoint.save(out / "model", self.plain, self.tokenizer, self.codebook, cameras, training)


def shard(trainee: Trainee, ranks: int, device: torch.device, compute: torch.dtype) -> None:
    """Spread weights, gradients and moments over the ranks, layer by layer; gradients are summed, not averaged."""
    mesh = init_device_mesh(device.type, (ranks,))
    arithmetic = None if compute is torch.float32 else compute
    policy = MixedPrecisionPolicy(param_dtype=arithmetic, reduce_dtype=torch.float32, cast_forward_inputs=False)
    inner = trainee.vlm.model
    for layer in (*inner.language_model.layers, *inner.visual.blocks):
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(trainee, mesh=mesh, mp_policy=policy)
    for module in trainee.modules():
        if isinstance(module, FSDPModule):
            module.set_force_sum_reduction_for_comms(True)  # gloo knows no other
            module.set_gradient_divide_factor(1.0)


@torch.no_grad()
def _gather(model: nn.Module, plain: nn.Module | None) -> None:
    """Copy weights that lie in shards into ``plain``, on the rank that has it."""
    own = {} if plain is None else dict(plain.named_parameters())
    for name, parameter in model.named_parameters():
        value = whole(parameter, keep=False)
        if plain is not None:
            own[name].copy_(value)
