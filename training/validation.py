"""How far greedy plans on held-out routes lie from the expert's, with real, black and exchanged images.

A model that is taught to think is validated as it will drive: it chooses itself between fast and slow. Forced to answer
fast where it is taught to think, it would be judged by what it never learnt.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import numpy as np
import torch
from transformers import Qwen2_5_VLForConditionalGeneration

from autovla_core.action import tokenizer
from autovla_core.action.codebook import Codebook
from autovla_core.contracts import Mode
from autovla_core.model.encoding import Encoder
from autovla_core.model.generate import decode_actions
from autovla_core.model.thinking import ThinkingConfig
from training.datasets.mixture import Part
from training.datasets.routes import EVENTS
from training.datasets.sampled import Columns
from training.sampler import Sampler, greedy_answers, prompt_of

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
    """Greedy fast plans (N, 10, 3) for samples ``indices`` (N,); ``images`` names one of ``IMAGES``."""
    samples = Columns.of(dataset.samples)
    prompts = [prompt_of(encoder, samples, index) + encoder.fast_ids for index in indices]
    groups = defaultdict(list)  # prompts of one length decode together
    for row, prompt in enumerate(prompts):
        groups[len(prompt)].append(row)
    poses = np.zeros((len(indices), 10, 3))
    for rows in groups.values():
        for part in (rows[i : i + batch] for i in range(0, len(rows), batch)):
            clips = _shown(dataset, images)(indices[part])
            ids = torch.tensor([prompts[row] for row in part], device=model.device)
            tokens, _ = decode_actions(model, encoder, ids, encoder.patches(clips).to(model.device))
            poses[part] = tokenizer.decode(codebook, tokens.cpu().numpy())
    return poses


def chosen_poses(
    sampler: Sampler, dataset: Part, indices: np.ndarray, images: str = "", batch: int = 64
) -> tuple[np.ndarray, np.ndarray]:
    """Greedy plans (N, 10, 3) for different samples ``indices`` (N,), fast or slow as the model chooses; (N,) slow."""
    samples = Columns.of(dataset.samples)
    prompts = {int(index): prompt_of(sampler.encoder, samples, index) for index in indices}
    clips = _shown(dataset, images)

    def shown(numbers: np.ndarray) -> dict[str, np.ndarray]:
        return {camera: each.numpy() for camera, each in clips(numbers).items()}

    ways = {"": ThinkingConfig("adaptive")}
    found = {index: ways[""] for index, ways in greedy_answers(sampler, prompts, shown, ways, batch)}
    answers = [found[int(index)] for index in indices]
    return sampler.plans(answers), np.array([answer.mode is Mode.SLOW for answer in answers])


def validate(
    model: Qwen2_5_VLForConditionalGeneration,
    encoder: Encoder,
    codebook: Codebook,
    dataset: Part,
    indices: np.ndarray,
    sampler: Sampler | None = None,
) -> dict[str, float]:
    """Mean (ADE) and final (FDE) distance in metres over samples ``indices``; per event for the real images.

    With a ``sampler`` of the same weights the model chooses itself between fast and slow; ``slow_complex`` and
    ``slow_simple`` are how often it takes slow, where the sample has a thought and where it has none. Only poses that
    are known count; a sample without any counts nowhere.
    """
    model.eval()
    samples = Columns.of(dataset.samples)
    truth, known, scores = samples.poses[indices], samples.mask[indices], {}
    for name in IMAGES:
        if sampler is None:
            planned, slow = plan_poses(model, encoder, codebook, dataset, indices, name), None
        else:
            planned, slow = chosen_poses(sampler, dataset, indices, name)
        distance = np.linalg.norm(planned[..., :2] - truth[..., :2], axis=-1)
        scores[f"ade{name}_m"] = _mean(distance, known)
        if name:
            continue
        scores["fde_m"] = _mean(distance[:, -1], known[:, -1])
        for event, found in EVENTS.items():
            chosen = found(samples)[indices]
            if known[chosen].any():
                scores[f"ade_{event}_m"] = _mean(distance[chosen], known[chosen])
        if slow is not None:
            thoughts = np.array([text is not None for text in samples.thought[indices]])
            kinds = {"slow_complex": slow[thoughts], "slow_simple": slow[~thoughts]}
            scores |= {kind: float(found.mean()) for kind, found in kinds.items() if len(found)}
    return {name: round(value, 3) for name, value in scores.items()}


def _shown(dataset: Part, images: str) -> Callable[[np.ndarray], dict[str, torch.Tensor]]:
    """Clips of samples as ``images`` of ``IMAGES`` shows them."""
    return lambda numbers: {c: IMAGES[images](torch.from_numpy(x)) for c, x in dataset.clips(numbers).items()}


def _mean(distance: np.ndarray, known: np.ndarray) -> float:
    """Mean over what is known; NaN where nothing is."""
    return float(distance[known].mean()) if known.any() else float("nan")
