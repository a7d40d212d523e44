"""How true are a model's thoughts, and are they worth it? Over route logs with reasons (docs/reasons.md).

    python -m training.measure_faithfulness --checkpoint runs/tiny_thinking/model --routes data/unseen --out found.json

Plans as the model likes (``--thinking adaptive``) or always slow; every thought is held against the facts of its
moment. Prints and stores the rates, how often complex and simple scenes are thought about, and the mean distance to the
expert's plan of fast and of slow answers to the same scenes (``--thinking both``).
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from autovla_core.contracts import Command, Mode, Observation, Plan
from autovla_core.errors import AutoVLAError
from autovla_core.logs.reader import RouteLog, route_folders
from autovla_core.model.thinking import ThinkingConfig
from autovla_core.model.vla import AutoVLA
from autovla_core.scoring.faithfulness import Faithfulness, judge
from training.datasets.reasons import Reasoned, read_reasons

logger = logging.getLogger(__name__)

MODES = ("adaptive", "slow", "both")


@dataclass(frozen=True)
class Case:
    """One moment of a log: what the model sees, what was true, what the expert planned."""

    observation: Observation
    reasoned: Reasoned
    poses: np.ndarray  # (10, 3) of the expert


@dataclass(frozen=True)
class Group:
    """Sums over some scenes."""

    scenes: int = 0
    slow: int = 0
    thinking_tokens: int = 0
    distance_m: float = 0.0  # sum of the mean distances to the expert's plan

    def add(self, plan: Plan, expert: np.ndarray) -> Group:
        """The group with one more scene."""
        gap = float(np.linalg.norm(plan.poses[:, :2] - expert[:, :2], axis=1).mean())
        slow = self.slow + (plan.mode is Mode.SLOW)
        return Group(self.scenes + 1, slow, self.thinking_tokens + plan.thinking_tokens, self.distance_m + gap)

    @property
    def means(self) -> dict[str, float]:
        """Per scene; NaN for none."""
        count = self.scenes or float("nan")
        sums = {"slow_share": self.slow, "thinking_tokens": self.thinking_tokens, "ade_m": self.distance_m}
        return {"scenes": self.scenes, **{name: value / count for name, value in sums.items()}}


def cases(folders: Sequence[Path], cameras: Sequence[str], stride: int = 1) -> Iterator[Case]:
    """Every ``stride``-th plan of logs with reasons.

    Raises:
        LogError: a log without reasons.
    """
    for folder in folders:
        log = RouteLog(folder)
        for row, reasoned in list(zip(log.plan_rows(), read_reasons(log)))[::stride]:
            clips = {camera: log.clip(camera, row.tick) for camera in cameras}
            state = row.speed, row.acceleration, np.zeros(3), Command(row.command), np.zeros((0, 2))
            yield Case(Observation(row.time_s, clips, *state), reasoned, row.poses.astype(float))


def measure(planner: AutoVLA, scenes: Iterator[Case], batch: int = 8) -> dict[str, object]:
    """Rates of faithfulness, and means over complex and simple scenes."""
    faith = Faithfulness()
    groups = {"complex": Group(), "simple": Group()}
    for some in _batches(tqdm(scenes, unit="scene"), batch):
        for case, plan in zip(some, planner.plan_many([case.observation for case in some])):
            kind = "complex" if case.reasoned.complex else "simple"
            groups[kind] = groups[kind].add(plan, case.poses)
            if plan.mode is Mode.SLOW:
                faith += judge(plan.thought, case.reasoned.facts, case.reasoned.action, plan.poses)
    means = {kind: group.means for kind, group in groups.items()}
    return {"rates": faith.rates, "score": faith.score, "counts": asdict(faith), **means}


def _batches(scenes: Iterator[Case], size: int) -> Iterator[list[Case]]:
    waiting: list[Case] = []
    for case in scenes:
        waiting.append(case)
        if len(waiting) == size:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def run(options: argparse.Namespace) -> Mapping[str, object]:
    """Measure what the command line asks for; by mode."""
    folders = [folder for root in options.routes for folder in route_folders(root)]
    modes = ("fast", "slow") if options.thinking == "both" else (options.thinking,)
    found = {}
    for mode in modes:
        thinking = ThinkingConfig(mode, options.most_tokens)
        planner = AutoVLA.from_pretrained(options.checkpoint, thinking=thinking)
        wanted = cases(folders, [camera.id for camera in planner.cameras], options.stride)
        found[mode] = measure(planner, wanted, options.batch)
    return found


def _without_nan(value: object) -> object:
    """NaN is no JSON: a rate of nothing is null."""
    if isinstance(value, Mapping):
        return {key: _without_nan(part) for key, part in value.items()}
    return None if isinstance(value, float) and np.isnan(value) else value


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, measure, store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--routes", type=Path, nargs="+", required=True, help="folders of logs with reasons")
    parser.add_argument("--thinking", choices=MODES, default="adaptive")
    parser.add_argument("--stride", type=int, default=4, help="every so many plans")
    parser.add_argument("--most-tokens", type=int, default=400, help="of a thought")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    torch.set_num_threads(args.threads)
    try:
        found = _without_nan(run(args))
    except AutoVLAError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    partial = args.out.with_name(f".{args.out.name}.partial")
    partial.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    partial.replace(args.out)
    for mode, values in found.items():
        logger.info("%s: %s", mode, json.dumps(values))
    return 0


if __name__ == "__main__":
    sys.exit(main())
