"""Where a run computes."""

from __future__ import annotations

import torch

from autovla_core.errors import SetupError


def device_of(name: str) -> torch.device:
    """cpu or cuda.

    Raises:
        SetupError: a GPU is asked for where there is none.
    """
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SetupError(f"device {name!r}: this torch sees no GPU; use device cpu, or a torch built for CUDA")
    return device
