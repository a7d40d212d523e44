"""What the reach mask does to a model's plans: how many of its tokens it excludes, and what that does to the error.

    python -m training.measure_reach --checkpoint models/autovla-tiny --logs data/held_out

Moments are spread evenly over the logs; each is planned without and with the mask, as likely as the model can
(temperature 0) and drawn at higher temperatures. Errors are against the expert's plan of that moment. Prints one
table; what the mask does to a driving score is asked of ``tools/evaluate_routes.py`` with ``reach: true``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from autovla_core.action import reach
from autovla_core.contracts import CLIP_IMAGES, CLIP_PERIOD_S, Clip, Command, Observation
from autovla_core.errors import AutoVLAError
from autovla_core.model.sampling import Sampling
from autovla_core.model.thinking import ThinkingConfig
from autovla_core.model.vla import AutoVLA
from training.datasets.routes import RouteDataset, find_routes

TEMPERATURES = (0.0, 1.0, 1.5, 2.0)
BATCH = 16


@dataclass(frozen=True)
class Effect:
    """Of one temperature; shares of tokens, errors in metres."""

    temperature: float
    first_excluded: float  # of the first tokens without the mask
    next_excluded: float  # of the others
    ade: float  # without the mask
    ade_masked: float


def observations(dataset: RouteDataset, indices: np.ndarray) -> Iterator[Observation]:
    """What the planner saw at these samples."""
    samples, times = dataset.samples, CLIP_PERIOD_S * np.arange(1 - CLIP_IMAGES, 1)
    for index in indices:
        clips = {camera: Clip(images[0], times) for camera, images in dataset.clips(np.array([index])).items()}
        state = float(samples.speed[index]), float(samples.acceleration[index]), np.zeros(3)
        yield Observation(float(index), clips, *state, Command(samples.command[index]), np.zeros((0, 2)))


def measure(folder: Path, logs: Path, moments: int, cache: Path, temperatures: tuple[float, ...]) -> list[Effect]:
    """The effect at each temperature, over ``moments`` moments of the logs.

    Raises:
        CheckpointError, LogError: see ``AutoVLA.from_pretrained`` and ``RouteDataset``.
    """
    free, masked = (AutoVLA.from_pretrained(folder, threads=1, reach=on) for on in (False, True))
    dataset = RouteDataset(find_routes([logs]), free.cameras, free.codebook, cache)
    indices = np.unique(np.linspace(0, len(dataset) - 1, moments).astype(int))
    return [_effect(free, masked, dataset, indices, temperature) for temperature in temperatures]


def _effect(free: AutoVLA, masked: AutoVLA, dataset: RouteDataset, indices: np.ndarray, temperature: float) -> Effect:
    thinking = ThinkingConfig(actions=Sampling(temperature))
    tokens, poses = _plans(free.thinking_as(thinking), dataset, indices)
    _, masked_poses = _plans(masked.thinking_as(thinking), dataset, indices)
    first = reach.first_masks(free.codebook, dataset.samples.speed[indices])
    following = reach.next_masks(free.codebook)
    truth = dataset.samples.poses[indices, :, :2]
    return Effect(
        temperature,
        float(1.0 - first[np.arange(len(tokens)), tokens[:, 0]].mean()),
        float(1.0 - following[tokens[:, :-1], tokens[:, 1:]].mean()),
        *(float(np.linalg.norm(found[..., :2] - truth, axis=-1).mean()) for found in (poses, masked_poses)),
    )


def _plans(planner: AutoVLA, dataset: RouteDataset, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tokens (N, 10) and poses (N, 10, 3)."""
    plans = []
    for start in tqdm(range(0, len(indices), BATCH), desc=f"temperature {planner.thinking.actions.temperature}"):
        plans += planner.plan_many(list(observations(dataset, indices[start : start + BATCH])))
    return np.stack([plan.tokens for plan in plans]), np.stack([plan.poses for plan in plans])


def table(effects: list[Effect]) -> str:
    """Markdown."""
    lines = [
        "| temperature | first tokens excluded | next ones | ADE, m | ADE inside the mask, m |",
        "|---|---|---|---|---|",
    ]
    for e in effects:
        shares = f"{100 * e.first_excluded:.2f} % | {100 * e.next_excluded:.2f} %"
        lines.append(f"| {e.temperature:g} | {shares} | {e.ade:.3f} | {e.ade_masked:.3f} |")
    return "\n".join(lines)


def main() -> int:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=Path("models/autovla-tiny"))
    parser.add_argument("--logs", type=Path, required=True, help="route logs that the model was not trained on")
    parser.add_argument("--moments", type=int, default=240)
    parser.add_argument("--temperatures", type=float, nargs="+", default=list(TEMPERATURES))
    args = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as cache:
            effects = measure(args.checkpoint, args.logs, args.moments, Path(cache), tuple(args.temperatures))
    except AutoVLAError as error:
        print(f"measure_reach: {error}", file=sys.stderr)
        return 1
    print(table(effects))
    return 0


if __name__ == "__main__":
    sys.exit(main())
