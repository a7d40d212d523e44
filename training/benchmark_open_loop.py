"""How fast a prepared data set is read, and how fast plans are scored on it. docs/datasets.md, "Speed", has figures.

    python -m training.benchmark_open_loop --dataset nuscenes --root DATA --index INDEX --split val
    python -m training.benchmark_open_loop --dataset navsim --root DATA --index INDEX --split navmini --scores 12000

Processor time is that of this process, so that a busy machine changes it less; ``samples_per_s`` is by the clock,
with ``--threads`` decoding: for an idle machine alone. ``--prepare`` makes the index first and times that.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from autovla_core.contracts import CLIP_IMAGES
from autovla_core.errors import AutoVLAError
from autovla_core.model.encoding import CameraView
from training.datasets import registry
from training.datasets.sample import Reader, Sample
from training.open_loop_planners import Pictures, constant_velocity

Figures = dict[str, object]
HEIGHT, WIDTH = 140, 252  # what pictures are resized to, as the shipped recipes do
CAMERAS = ("front", "front_left", "front_right")
QUARTERS = 4
MANY = 64


def cost(work: Callable[[], object]) -> tuple[float, float]:
    """Processor seconds and seconds by the clock."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def peak_mib() -> float:
    """The most memory that this process ever held; Linux counts KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def reading(reader: Reader, count: int) -> Figures:
    """Milliseconds a sample without its pictures, over ``count`` of them, evenly spread."""
    chosen = _spread(len(reader), count)
    cpu_s, _ = cost(lambda: [reader[i] for i in chosen])
    return {"samples": len(chosen), "sample_ms": 1e3 * cpu_s / len(chosen)}


def pictures(reader: Reader, count: int, threads: int) -> Figures:
    """Decode, crop and resize: a new picture, and whole samples, in the order of the drives and each by itself.

    In order, neighbours share pictures, as in an evaluation; alone, as in the first epoch of a shuffled training.
    """
    views = tuple(CameraView(name, HEIGHT, WIDTH) for name in CAMERAS if name in reader[0].images)
    ordered = [reader[i] for i in range(min(count, len(reader)))]
    found: Figures = {
        "cameras": [view.id for view in views],
        "size": list(ordered[0].images[views[0].id][0].read().shape),
    }
    for name, together in (("in_order", len(ordered)), ("alone", 1)):
        groups = [ordered[i : i + together] for i in range(0, len(ordered), together)]
        cpu_s, wall_s = cost(partial(_decode, groups, views, threads))
        new = sum(len({(v.id, image) for s in group for v in views for image in s.images[v.id]}) for group in groups)
        found[name] = {
            "new_pictures": new / (CLIP_IMAGES * len(views) * len(ordered)),
            "picture_cpu_ms": 1e3 * cpu_s / new,
            "samples_per_cpu_s": len(ordered) / cpu_s,
            "samples_per_s": len(ordered) / wall_s,
        }
    return found


def _decode(groups: Sequence[Sequence[Sample]], views: tuple[CameraView, ...], threads: int) -> None:
    """With the cache that an evaluation has, a new one for every group: what samples of it share is decoded once."""
    for group in groups:
        shared = Pictures(views, threads)
        for sample in group:
            shared.clips(sample)


def scoring(name: str, reader: Reader, count: int) -> Figures:
    """One plan each, constant velocity: seconds after each quarter (linear or not), milliseconds a plan, memory."""
    chosen = _spread(len(reader), count)
    first = reader[chosen[0]]
    registry.score(name, constant_velocity(first), first)  # compiles and reads the map; not counted
    before = peak_mib()
    marks, cpu, wall = [], time.process_time(), time.perf_counter()
    for number, index in enumerate(tqdm(chosen, desc="scoring", unit="plan"), start=1):
        sample = reader[index]
        registry.score(name, constant_velocity(sample), sample)
        if number * QUARTERS % len(chosen) < QUARTERS:
            marks.append([number, round(time.process_time() - cpu, 2), round(peak_mib())])
    spent = time.process_time() - cpu
    return {
        "plans": len(chosen),
        "plan_ms": 1e3 * spent / len(chosen),
        f"plan_of_{MANY}_ms": _together(name, first),
        "clock_s": time.perf_counter() - wall,
        "quarters_plans_cpu_s_mib": marks,
        "memory_mib_before": before,
        "memory_mib_after": peak_mib(),
    }


def _together(name: str, sample: Sample) -> float:
    """Milliseconds a plan where many of one sample are scored at once, as reinforcement fine-tuning does."""
    plans = np.linspace(0.5, 1.0, MANY)[:, None, None] * constant_velocity(sample)
    registry.scores(name, plans, sample)  # prepares the scene, which is then kept
    cpu_s, _ = cost(partial(registry.scores, name, plans, sample))
    return 1e3 * cpu_s / MANY


def _spread(samples: int, count: int) -> list[int]:
    return np.unique(np.linspace(0, samples - 1, min(count, samples)).round().astype(int)).tolist()


def _options(pairs: Sequence[str]) -> dict[str, str]:
    wrong = [pair for pair in pairs if "=" not in pair]
    if wrong:
        raise ValueError(f"found {wrong}, expected name=value")
    return dict(pair.split("=", 1) for pair in pairs)


def measure(args: argparse.Namespace) -> Figures:
    """All figures of one run."""
    place = (args.dataset, args.root, args.index, args.split)
    found: Figures = {"dataset": args.dataset, "split": args.split, "threads": args.threads}
    if args.prepare:
        cpu_s, wall_s = cost(lambda: registry.prepare(*place))
        found["prepare"] = {"cpu_s": cpu_s, "clock_s": wall_s, "memory_mib": peak_mib()}
    opened: list[Reader] = []
    cpu_s, _ = cost(lambda: opened.append(registry.open_split(*place, args.skip_broken, _options(args.option))))
    (reader,) = opened
    found |= {"split_samples": len(reader), "open_ms": 1e3 * cpu_s, "reading": reading(reader, args.samples)}
    if args.pictures:
        found["pictures"] = pictures(reader, args.pictures, args.threads)
    if args.scores:
        found["scoring"] = scoring(args.dataset, reader, args.scores)
    return found


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, measure, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=sorted(registry.DATASETS), required=True)
    parser.add_argument("--root", type=Path, required=True, help="folder of the downloaded files")
    parser.add_argument("--index", type=Path, required=True, help="--out of training.prepare")
    parser.add_argument("--split", required=True)
    parser.add_argument("--prepare", action="store_true", help="make the index first, and time it")
    parser.add_argument("--samples", type=int, default=1000, help="to read without pictures")
    parser.add_argument("--pictures", type=int, default=100, help="samples whose pictures are decoded; 0: none")
    parser.add_argument("--scores", type=int, default=200, help="plans to score; 0: none")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--option", nargs="+", default=[], metavar="NAME=VALUE", help="of the data set")
    parser.add_argument("--skip-broken", action="store_true")
    parser.add_argument("--out", type=Path, help="write the figures there too")
    args = parser.parse_args(arguments)
    try:
        text = json.dumps(measure(args), indent=1)
    except (AutoVLAError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(text)
    if args.out:
        partial = args.out.with_suffix(".partial")
        partial.write_text(text + "\n")
        partial.replace(args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
