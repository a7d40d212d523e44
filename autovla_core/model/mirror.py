"""A plain copy of a model that is being trained, for drawing answers: adapters merged in, weights where our own decoder
wants them. The trained model itself is left alone, so that its weights can be saved as they lie."""

from __future__ import annotations

import copy

import torch
from peft import PeftModel
from peft.tuners.lora import Linear as LoraLinear
from peft.utils.other import TrainableTokensWrapper
from torch import nn
from transformers import PreTrainedModel

from autovla_core.errors import CheckpointError

ADAPTER = "default"


class Mirror:
    """``plain`` computes what ``trained`` computes, as of the last ``follow``."""

    def __init__(self, plain: PreTrainedModel, trained: PreTrainedModel | PeftModel) -> None:
        self.plain = plain.eval().requires_grad_(False)
        self._trained = trained

    @classmethod
    def of(cls, model: PreTrainedModel) -> Mirror:
        """The mirror of a model without adapters."""
        return cls(copy.deepcopy(model), model)

    @torch.no_grad()
    def follow(self) -> None:
        """Take over the weights that can have changed.

        Raises:
            CheckpointError: an adapter of a kind that this does not know.
        """
        if isinstance(self._trained, PeftModel):
            self._follow_adapter(self._trained.get_base_model())
            return
        own = dict(self.plain.named_parameters())
        for name, parameter in self._trained.named_parameters():
            if parameter.requires_grad:
                own[name].copy_(parameter)

    def _follow_adapter(self, base: nn.Module) -> None:
        known = 0
        for name, module in base.named_modules():
            if isinstance(module, LoraLinear):
                merged = module.base_layer.weight + module.get_delta_weight(ADAPTER)
                known += 2  # the two factors
            elif isinstance(module, TrainableTokensWrapper):
                tokens = module.token_adapter
                merged = tokens.get_merged_weights(tokens.active_adapters)
                known += tokens.tied_adapter is None
            else:
                continue
            self.plain.get_submodule(name).weight.copy_(merged)
        trained = sum(parameter.requires_grad for parameter in base.parameters())
        if trained != known:
            raise CheckpointError(f"{trained} tensors are trained, {known} of them by LoRA or as rows of tokens")
