"""Weights of one byte for the steps of decoding, by torchao where it is installed.

A step of a large model takes as long as reading its weights; half the bytes is nearly half the time. Prompts are still
read with the full weights, which they are as fast with. Not exact: tokens may differ where two are nearly as likely.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from autovla_core.errors import ConfigError, SetupError

KINDS = ("int8", "fp8")


def quantised(tables: Mapping[str, torch.Tensor], kind: str) -> dict[str, list[nn.Module]]:
    """For each table (L, in, out) its L matrices as layers without bias.

    Raises:
        ConfigError: a kind that ``KINDS`` does not hold.
        SetupError: torchao is not installed.
    """
    if kind not in KINDS:
        raise ConfigError(f"quantisation {kind!r}; known: {', '.join(KINDS)}")
    try:
        from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig, quantize_
    except ImportError:
        raise SetupError("quantised steps need torchao: pip install torchao==0.18.0") from None
    config = {"int8": Int8WeightOnlyConfig, "fp8": Float8WeightOnlyConfig}[kind]()
    found: dict[str, list[nn.Module]] = {}
    for name, table in tables.items():
        found[name] = []
        for matrix in table:
            layer = nn.Linear(*matrix.shape, bias=False, device="meta")
            layer.weight = nn.Parameter(matrix.detach().t().contiguous(), requires_grad=False)
            quantize_(layer, config)
            found[name].append(layer)
    return found
