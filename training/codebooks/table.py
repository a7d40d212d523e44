"""The table of docs/codebook.md: every method at every size, on drives that no codebook saw.

python -m training.codebooks.table --train data/routes --held-out data/other_routes [--sizes 256 1024]
python -m training.codebooks.table --time            # K-disk on two million motions, processor seconds
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from pathlib import Path

import numpy as np

from autovla_core.action import beam, kinematics, report, tokenizer
from autovla_core.action.codebook import SHIPPED, Codebook
from autovla_core.action.vehicle import Vehicle
from autovla_core.errors import AutoVLAError
from training.build_codebook import Order, make
from training.codebooks import sources
from training.codebooks.kdisk import kdisk
from training.codebooks.synthetic import MotionConfig, motions_of, synthetic_plans

SIZES = (256, 1024, 2048, 4096)
ORDERS = {"k-means": ("kmeans", False), "K-disk, plain": ("kdisk", True), "K-disk": ("kdisk", False)}
ORDERS |= {"grid": ("grid", False)}
MADE_UP_PLANS, JUDGED_PLANS, MADE_UP_JUDGED = 40_000, 6_000, 3_000
LONG, FAST = 204_800, MotionConfig(speed=28.0, usual_speed=12.0)  # the drives of --time


def gentle(plans: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """At most ``count`` of the plans (N, 10, 3) with no more lateral acceleration than ``report.LATERAL_AIM``."""
    lateral = np.abs(kinematics.lateral_accelerations(report.motions_of(plans))).max(axis=1)
    rows = np.flatnonzero(lateral <= report.LATERAL_AIM)
    return plans[np.sort(rng.choice(rows, min(count, len(rows)), replace=False))]


def row(codebook: Codebook, judges: list[np.ndarray]) -> list[str]:
    """Cells of one codebook: greedy, beam, covered, used, for each set of plans."""
    cells = []
    for plans in judges:
        greedy, wide = tokenizer.encode(codebook, plans), beam.encode(codebook, plans)
        cells += [_error(codebook, greedy, plans), _error(codebook, wide, plans)]
        cells.append(f"{100 * float(report.coverage(codebook, plans)[f'within {report.DELTA_M} m']):.1f} %")
        cells.append(f"{100 * float(report.use(codebook, greedy)['used']):.1f} %")
    return cells


def _error(codebook: Codebook, tokens: np.ndarray, plans: np.ndarray) -> str:
    found = report.reconstruction(codebook, plans, tokens)["all"]
    return f"{found['ADE, m']:.4f}/{found['FDE, m']:.4f}"


def print_table(train: Path, held_out: Path, sizes: list[int]) -> None:
    """One line a codebook, as soon as it is measured."""
    motions = sources.route_logs(train).motions
    made_up = motions_of(synthetic_plans(MADE_UP_PLANS, MotionConfig(), np.random.default_rng(0)))
    both = np.concatenate([motions, made_up])
    rng = np.random.default_rng(0)
    unseen = synthetic_plans(4_000, MotionConfig(), np.random.default_rng(991))
    judges = [gentle(sources.route_logs(held_out).plans, JUDGED_PLANS, rng), gentle(unseen, MADE_UP_JUDGED, rng)]
    judged = " and ".join(str(len(j)) for j in judges)
    print(f"built from {len(motions)} driven and {len(made_up)} made-up motions, judged on {judged} plans")
    print("| entries | method | " + " | ".join(["greedy", "beam", "covered", "used"] * 2) + " |")
    print("|" + "---|" * 10)
    print(f"| 2048 | shipped | {' | '.join(row(Codebook.load(SHIPPED), judges))} |")
    for size in sizes:
        for name, (method, plain) in ORDERS.items():
            order = Order(method=method, size=size, plain=plain)
            codebook = Codebook(make(both, order, np.random.default_rng(1), Vehicle()))
            print(f"| {len(codebook)} | {name} | {' | '.join(row(codebook, judges))} |", flush=True)


def print_time() -> None:
    """Processor seconds of K-disk on two million motions."""
    motions = motions_of(synthetic_plans(LONG, FAST, np.random.default_rng(5)))
    for count in (2048, len(motions)):
        started = time.process_time()
        disks = kdisk(motions, count, np.random.default_rng(0), Vehicle())
        spent = time.process_time() - started
        print(
            f"{len(motions)} motions: {len(disks.centres)} entries, {100 * disks.covered:.1f} % covered, {spent:.2f} s"
        )


def main() -> int:
    """Parse the command line, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, help="route logs to build from")
    parser.add_argument("--held-out", type=Path, help="route logs to judge on")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--time", action="store_true", help="only the time of K-disk on two million motions")
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    if not args.time and not (args.train and args.held_out):
        parser.error("give --train and --held-out, or --time")
    try:
        print_time() if args.time else print_table(args.train, args.held_out, args.sizes)
    except AutoVLAError as error:
        print(f"table: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
