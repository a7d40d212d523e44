"""Plans of a checkpoint on a data set's held-out split, against what was driven there, as the benchmarks score it.

    python -m training.prepare nuscenes --root ~/nuscenes --out data/index --split val
    python -m training.evaluate_open_loop --dataset nuscenes --root ~/nuscenes --index data/index \\
        --checkpoint models/mine --out runs/nuscenes_val

Leaves run.json, plans.jsonl, scores.jsonl, summary.json, table.md and pictures of the worst samples. The same command
goes on after an interrupt. ``--baseline`` scores a rule instead of a checkpoint; ``--best-of 6`` draws six more plans a
sample and reports the one that the truth picks (oracle) and the one that the model holds most likely (own_probability).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from autovla_core.errors import AutoVLAError
from autovla_core.model.thinking import MODES, ThinkingConfig
from autovla_core.model.vla import AutoVLA
from training import open_loop_results as results
from training.datasets import pictures, registry
from training.datasets.sample import Reader
from training.open_loop_planners import (
    BASELINES,
    STOPPED,
    Baseline,
    Batched,
    OpenLoopPlanner,
    Sampling,
    Thinking,
)
from training.open_loop_results import PlanFile, Row

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluationConfig:
    """One evaluation."""

    dataset: str
    root: Path
    index: Path
    out: Path
    split: str = ""  # empty: the data set's own
    checkpoint: Path | None = None  # exactly one of these two
    baseline: str = ""
    thinking: str = "fast"  # of ``model.thinking.MODES``
    batch: int = 16
    limit: int | None = None  # so many samples, evenly over the split; None: all
    sampling: Sampling = Sampling()
    options: Mapping[str, str] = field(default_factory=dict)  # of the data set
    skip_broken: bool = False
    blind: bool = False  # show black images: what a model knows without looking
    device: str = "cpu"
    workers: int = 2
    pictures: int = 20

    def __post_init__(self) -> None:
        if (self.checkpoint is None) == (not self.baseline):
            raise ValueError("expected exactly one of a checkpoint and a baseline")
        if self.thinking not in MODES or self.batch < 1:
            raise ValueError(f"thinking {self.thinking!r} of {MODES}, batch {self.batch} of at least 1")
        if self.thinking != "fast" and self.sampling.count:
            raise ValueError("best-of draws fast plans; leave out --thinking or --best-of")


def evaluate(settings: EvaluationConfig) -> Row:
    """Plan for every sample that has no plan yet, score all, write the results; return the summary.

    Raises:
        DatasetError, CheckpointError: the split or the checkpoint cannot be opened.
        ResultsError: ``out`` holds another evaluation.
    """
    split = settings.split or registry.entry(settings.dataset).evaluate
    reader = registry.open_split(
        settings.dataset, settings.root, settings.index, split, settings.skip_broken, settings.options
    )
    planner, cameras, seen = _planner(settings, split)
    run = _run(settings, split, len(reader))
    file = PlanFile(settings.out, run, _chunks(len(reader), settings.limit, settings.batch))
    _plan_all(file, reader, planner)
    rows = [file.rows[index] for index in sorted(file.rows)]
    scores, clusters = [], []
    for row in tqdm(rows, desc="scoring"):
        sample = reader[row["index"]]
        scores.append(results.score_row(settings.dataset, row, sample))
        clusters.append(registry.cluster(settings.dataset, sample))
    summary = {
        **run,
        "broken": len(reader.broken),
        "trained_on_this_split": seen,
        **results.summarise(settings.dataset, rows, scores),
    }
    if any(clusters):
        summary["over_clusters"] = results.over_clusters([plans[0] for plans in scores], clusters)
    _write(settings, reader, rows, scores, summary, cameras)
    return summary


def _planner(settings: EvaluationConfig, split: str) -> tuple[OpenLoopPlanner, tuple[str, ...], bool]:
    """The planner, the cameras that pictures show, and whether the checkpoint says it was trained on ``split``."""
    if settings.baseline:
        return Baseline(settings.baseline), pictures.ORDER, False
    thinking = ThinkingConfig(mode=settings.thinking)
    vla = AutoVLA.from_pretrained(settings.checkpoint, settings.device, settings.blind, thinking=thinking)
    cameras = tuple(camera.id for camera in vla.cameras)
    trained = trained_on(vla.record.training)
    seen = any(name == settings.dataset and registry.share(name, split, other) for name, other in trained)
    if seen:
        logger.warning("%s was trained on %s %s: its score there is none", settings.checkpoint, settings.dataset, split)
    if settings.thinking != "fast":
        return Thinking(vla, settings.workers), cameras, seen
    return Batched(vla, settings.sampling, settings.workers, settings.blind), cameras, seen


def trained_on(training: Mapping[str, object]) -> set[tuple[str, str]]:
    """Data sets and splits of the recipe that a checkpoint carries; a model that went on from another knows no more."""
    sources = training
    for key in ("recipe", "data", "sources"):
        sources = sources.get(key) if isinstance(sources, Mapping) else None
    return {
        (source["dataset"], source["split"] or registry.entry(source["dataset"]).train)
        for source in sources or ()
        if source["dataset"] in registry.DATASETS
    }


def _run(settings: EvaluationConfig, split: str, samples: int) -> Row:
    """What makes this evaluation another one than a second: it is compared before a run goes on."""
    planner = settings.baseline or f"{settings.checkpoint.name} {_identity(settings.checkpoint)}"
    return {
        "dataset": settings.dataset,
        "split": split,
        "split_samples": samples,
        "options": dict(settings.options),
        "planner": planner,
        "thinking": settings.thinking,
        "batch": settings.batch,
        "limit": settings.limit,
        "blind": settings.blind,
        "best_of": settings.sampling.count,
        "temperature": settings.sampling.temperature,
        "seed": settings.sampling.seed,
    }


def _identity(checkpoint: Path) -> str:
    """Tells one set of weights from another."""
    digest = hashlib.sha256()
    for file in sorted([*checkpoint.glob("*.safetensors"), checkpoint / "autovla.json"]):
        with file.open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()[:16]


def _chunks(samples: int, limit: int | None, batch: int) -> list[list[int]]:
    """Sample numbers in batches: all, or ``limit`` of them, evenly spread."""
    count = samples if limit is None else min(limit, samples)
    numbers = np.unique(np.linspace(0, samples - 1, count).round().astype(int)).tolist() if count else []
    return [numbers[i : i + batch] for i in range(0, len(numbers), batch)]


def _plan_all(file: PlanFile, reader: Reader, planner: OpenLoopPlanner) -> None:
    todo = file.todo()
    with tqdm(total=sum(map(len, todo)), desc="planning", unit="sample", disable=not todo) as bar:
        for chunk in todo:
            samples = [reader[index] for index in chunk]
            file.add(chunk, samples, planner.plan(samples))
            bar.update(len(chunk))


def _write(
    settings: EvaluationConfig,
    reader: Reader,
    rows: Sequence[Row],
    scores: Sequence[Sequence[Mapping[str, float]]],
    summary: Row,
    cameras: tuple[str, ...],
) -> None:
    lines = (json.dumps({"id": row["id"], "scores": _known(plans)}) + "\n" for row, plans in zip(rows, scores))
    for name, text in (
        ("scores.jsonl", "".join(lines)),
        ("summary.json", json.dumps(summary, indent=1) + "\n"),
        ("table.md", results.table(summary, summary)),
    ):
        partial = settings.out / f".{name}.partial"
        partial.write_text(text)
        partial.replace(settings.out / name)
    for old in (settings.out / "worst").glob("*.jpg"):
        old.unlink()
    for place, number in enumerate(results.worst(settings.dataset, scores, settings.pictures)):
        row, sample = rows[number], reader[rows[number]["index"]]
        plan = np.array(row["poses"][0]) if row["poses"] else STOPPED
        file = settings.out / "worst" / f"{place + 1:02d}_{row['id'][:40]}.jpg"
        pictures.draw(file, sample, plan, row["thought"], scores[number][0], cameras, row["error"])


def _known(plans: Sequence[Mapping[str, float]]) -> list[dict[str, float | None]]:
    """Null for a metric that a sample does not have: NaN is no JSON."""
    return [{name: value if np.isfinite(value) else None for name, value in plan.items()} for plan in plans]


def _options(pairs: Sequence[str]) -> dict[str, str]:
    wrong = [pair for pair in pairs if "=" not in pair]
    if wrong:
        raise argparse.ArgumentTypeError(f"found {wrong}, expected name=value")
    return dict(pair.split("=", 1) for pair in pairs)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=sorted(registry.DATASETS), required=True)
    parser.add_argument("--root", type=Path, required=True, help="folder of the downloaded files")
    parser.add_argument("--index", type=Path, required=True, help="--out of training.prepare")
    parser.add_argument("--out", type=Path, required=True)
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--checkpoint", type=Path, help="model folder")
    who.add_argument("--baseline", choices=sorted(BASELINES), help="a rule instead of a model")
    parser.add_argument("--split", default="", help="default: the split that the data set is scored on")
    parser.add_argument("--thinking", choices=MODES, default="fast", help="adaptive: the model chooses")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--limit", type=int, help="so many samples, evenly over the split")
    parser.add_argument("--best-of", type=int, default=0, metavar="N", help="draw N more plans a sample")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--option", nargs="+", default=[], metavar="NAME=VALUE", help="of the data set")
    parser.add_argument("--skip-broken", action="store_true")
    parser.add_argument("--blind", action="store_true", help="show the model black images")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pictures", type=int, default=20, help="of the worst samples")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, evaluate, print the table."""
    args = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    torch.set_num_threads(args.threads)
    try:
        settings = EvaluationConfig(
            dataset=args.dataset,
            root=args.root,
            index=args.index,
            out=args.out,
            split=args.split,
            checkpoint=args.checkpoint,
            baseline=args.baseline or "",
            thinking=args.thinking,
            batch=args.batch,
            limit=args.limit,
            sampling=Sampling(args.best_of, args.temperature, args.seed),
            options=_options(args.option),
            skip_broken=args.skip_broken,
            blind=args.blind,
            device=args.device,
            workers=args.threads,
            pictures=args.pictures,
        )
        evaluate(settings)
    except (AutoVLAError, argparse.ArgumentTypeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    print((args.out / "table.md").read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
