"""Build an action codebook from drives: k-means, K-disk as in the AutoVLA paper, or a kinematic grid.

    python -m training.build_codebook --out book.npz                                   # k-means, drives made up
    python -m training.build_codebook --out book.npz --method kdisk --logs data/routes --plans 0
    python -m training.build_codebook --out book.npz --bench2drive Bench2Drive-Base --length 12.0 --width 2.5 ...
    python -m training.build_codebook --plans-out held_out.npz --bench2drive clips --plans 0   # for inspect_codebook

Drives come from a seeded generator (``--plans``), route logs (``--logs`` as driven, ``--planned`` as the expert
planned), Bench2Drive clips and npz files; each may be given more than once. Entry 0 stands still exactly. Every
method but ``--method kdisk --plain`` gives each entry its mirror image.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from autovla_core.action import kinematics, report
from autovla_core.action.codebook import Codebook
from autovla_core.action.vehicle import Vehicle
from autovla_core.errors import AutoVLAError
from training.codebooks import kdisk, kmeans, sources
from training.codebooks.grid import GridConfig, kinematic_grid
from training.codebooks.kmeans import build
from training.codebooks.sources import Driving
from training.codebooks.synthetic import MotionConfig, motions_of, synthetic_plans

__all__ = ["MotionConfig", "build", "motions_of", "synthetic_plans"]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Order:
    """What to build."""

    method: str = "kmeans"
    size: int = 2048
    seed: int = 0
    delta: float = kdisk.DELTA_M  # m, of K-disk
    plain: bool = False  # K-disk without mirror images, as the paper's
    samples: int = 200_000  # motions that k-means sees


def by_kmeans(motions: np.ndarray, order: Order, rng: np.random.Generator, vehicle: Vehicle) -> np.ndarray:
    motions = rng.permutation(motions)[: order.samples]
    return build(motions, order.size, rng, kmeans.straight_entries(order.size), vehicle)


def by_kdisk(motions: np.ndarray, order: Order, rng: np.random.Generator, vehicle: Vehicle) -> np.ndarray:
    draw = kdisk.kdisk if order.plain else kdisk.mirrored_kdisk
    disks = draw(motions, order.size, rng, vehicle, order.delta)
    logger.info("K-disk: %d of %d entries drawn, %.2f %% covered", len(disks.centres), order.size, 100 * disks.covered)
    return disks.centres


def by_grid(motions: np.ndarray, order: Order, rng: np.random.Generator, vehicle: Vehicle) -> np.ndarray:
    return kinematic_grid(order.size, vehicle, GridConfig())


METHODS: dict[str, Callable[[np.ndarray, Order, np.random.Generator, Vehicle], np.ndarray]] = {
    "kmeans": by_kmeans,
    "kdisk": by_kdisk,
    "grid": by_grid,
}


def make(motions: np.ndarray, order: Order, rng: np.random.Generator, vehicle: Vehicle) -> np.ndarray:
    """Entries (K, 3) of a codebook: standing still first, the others by how far they go."""
    entries = METHODS[order.method](motions, order, rng, vehicle)
    moving = np.round(entries[entries.any(axis=1)], 5) + 0.0
    return np.concatenate([np.zeros((1, 3)), moving[np.lexsort((moving[:, 2], moving[:, 1], moving[:, 0]))]])


def gather(
    named: list[tuple[str, Path]], made_up: np.ndarray, limits: kinematics.Limits
) -> tuple[Driving, dict[str, dict[str, object]]]:
    """All drives as one, glitches of recordings left out, and what each source gave."""
    parts, found = [sources.from_plans(made_up)], {}
    for index, (kind, driving) in enumerate(sources.read(named)):
        possible = kinematics.feasible(driving.motions, limits)
        whole = kinematics.feasible(sources.motions_of(driving.plans).reshape(-1, 10, 3), limits).all(axis=1)
        parts.append(Driving(driving.motions[possible], driving.plans[whole]))
        dropped = int((~possible).sum())
        found[f"{kind}_{index}"] = {"motions": len(possible), "glitches": dropped, "sha256": driving.digest}
        logger.info("%s: %d motions, %d impossible ones left out", kind, len(possible), dropped)
    return sources.joined(parts), found


def main() -> int:
    """Parse the command line, build, save, print the report."""
    args = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        return _run(args)
    except AutoVLAError as error:
        print(f"build_codebook: {error}", file=sys.stderr)
        return 1


def _run(args: argparse.Namespace) -> int:
    vehicle = Vehicle(args.length, args.width, args.wheel_base, args.rear_axle)
    order = Order(args.method, args.size, args.seed, args.delta, args.plain, args.samples)
    tightest = MotionConfig.curvature * Vehicle.wheel_base / vehicle.wheel_base
    rng, config = np.random.default_rng(args.seed), MotionConfig(curvature=tightest, rear_axle=vehicle.rear_axle)
    named = [(kind, path) for kind in sources.READERS for path in getattr(args, kind)]
    driving, found = gather(named, synthetic_plans(args.plans, config, rng), kinematics.Limits())
    if args.plans_out:
        sources.save_plans(args.plans_out, driving.plans)
        print(json.dumps({"plans": str(args.plans_out), "count": len(driving.plans)}))
    if not args.out:
        return 0
    provenance = {"program": "training.build_codebook", **asdict(order), "vehicle": asdict(vehicle)}
    provenance |= {"sources": found, "synthetic": {"plans": args.plans, **asdict(config)}}
    book = Codebook(make(driving.motions, order, rng, vehicle), vehicle.length, vehicle.width, provenance)
    book.save(args.out)
    held_out = synthetic_plans(1000, config, np.random.default_rng(args.seed + 1))
    print(report.as_text([report.measure(book, held_out)], [f"{args.out.name}, on drives made up"]))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write the codebook there")
    parser.add_argument("--plans-out", type=Path, help="write the plans of all sources there, for inspect_codebook")
    for kind in sources.READERS:
        parser.add_argument(f"--{kind}", type=Path, action="append", default=[], help=sources.READERS[kind].__doc__)
    parser.add_argument("--method", choices=METHODS, default="kmeans")
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--delta", type=float, default=kdisk.DELTA_M, help="m, of K-disk")
    parser.add_argument("--plain", action="store_true", help="K-disk as in the paper: no mirror images")
    parser.add_argument("--plans", type=int, default=40_000, help="drives of 5 s made up beside those of the sources")
    parser.add_argument("--samples", type=int, default=200_000, help="motions that k-means sees")
    parser.add_argument("--seed", type=int, default=0)
    default = Vehicle()
    for name in ("length", "width", "wheel_base", "rear_axle"):
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=float, default=getattr(default, name), help="m, of the vehicle")
    args = parser.parse_args()
    if not args.out and not args.plans_out:
        parser.error("nothing to write: give --out, --plans-out or both")
    return args


if __name__ == "__main__":
    sys.exit(main())
