"""How far greedy plans on held-out routes lie from the expert's, with real, black and exchanged images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import numpy as np
import torch
from transformers import Qwen2_5_VLForConditionalGeneration

from autovla_core.action import tokenizer
from autovla_core.action.codebook import Codebook
from autovla_core.contracts import Command
from autovla_core.model.encoding import Encoder
from autovla_core.model.generate import decode_actions
from training.datasets.mixture import Part
from training.datasets.routes import EVENTS
from training.datasets.sampled import Columns

IMAGES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "": lambda clips: clips,
    "_black": torch.zeros_like,
    "_exchanged": lambda clips: clips.roll(1, 0),
}


def plan_poses(
    model: Qwen2_5_VLForConditionalGeneration,
    encoder: Encoder,
    codebook: Codebook,
    dataset: Part,
    indices: np.ndarray,
    images: str = "",
    batch: int = 64,
) -> np.ndarray:
    """Greedy plans (N, 10, 3) for samples ``indices`` (N,); ``images`` names one of ``IMAGES``."""
    samples = Columns.of(dataset.samples)
    states = zip(samples.speed[indices], samples.acceleration[indices], samples.command[indices])
    prompts = [encoder.fast_prefix(v, a, Command(c), samples.instruction[i]) for i, (v, a, c) in zip(indices, states)]
    groups = defaultdict(list)  # prompts of one length decode together
    for row, prompt in enumerate(prompts):
        groups[len(prompt)].append(row)
    poses = np.zeros((len(indices), 10, 3))
    for rows in groups.values():
        for part in (rows[i : i + batch] for i in range(0, len(rows), batch)):
            clips = {c: IMAGES[images](torch.from_numpy(x)) for c, x in dataset.clips(indices[part]).items()}
            ids = torch.tensor([prompts[row] for row in part], device=model.device)
            tokens, _ = decode_actions(model, encoder, ids, encoder.patches(clips).to(model.device))
            poses[part] = tokenizer.decode(codebook, tokens.cpu().numpy())
    return poses


def validate(
    model: Qwen2_5_VLForConditionalGeneration,
    encoder: Encoder,
    codebook: Codebook,
    dataset: Part,
    indices: np.ndarray,
) -> dict[str, float]:
    """Mean (ADE) and final (FDE) distance in metres over samples ``indices``; per event for the real images.

    Only poses that are known count; a sample without any counts nowhere.
    """
    model.eval()
    samples = Columns.of(dataset.samples)
    truth, known, scores = samples.poses[indices], samples.mask[indices], {}
    for name in IMAGES:
        planned = plan_poses(model, encoder, codebook, dataset, indices, name)
        distance = np.linalg.norm(planned[..., :2] - truth[..., :2], axis=-1)
        scores[f"ade{name}_m"] = _mean(distance, known)
        if name:
            continue
        scores["fde_m"] = _mean(distance[:, -1], known[:, -1])
        for event, found in EVENTS.items():
            chosen = found(samples)[indices]
            if known[chosen].any():
                scores[f"ade_{event}_m"] = _mean(distance[chosen], known[chosen])
    return {name: round(value, 3) for name, value in scores.items()}


def _mean(distance: np.ndarray, known: np.ndarray) -> float:
    """Mean over what is known; NaN where nothing is."""
    return float(distance[known].mean()) if known.any() else float("nan")
