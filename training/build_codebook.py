"""Build an action codebook: k-means over 0.5 s motions of the ego, mirrored left and right.

    python -m training.build_codebook --out autovla_core/action/codebooks/tiny_2048.npz [--logs data/routes]

Motions come from a seeded generator of bicycle-model drives, and from the plans in route logs where
they are given. Entry 0 stands still; an odd number of entries goes straight; the rest are pairs,
one the mirror image of the other, so that the car is as good at left as at right.
"""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from autovla_core import geometry
from autovla_core.action import tokenizer
from autovla_core.action.codebook import Codebook
from autovla_core.contracts import PLAN_STEPS, STEP_S
from autovla_core.logs.reader import RouteLog, route_folders

logger = logging.getLogger(__name__)

LENGTH, WIDTH = 4.89, 1.84
RADIUS = 0.5 * float(np.hypot(LENGTH, WIDTH))  # m: an error of yaw moves a corner by radius * error


@dataclass(frozen=True)
class MotionConfig:
    """The drives that the generator makes up."""

    speed: float = 14.0  # m/s, the fastest
    usual_speed: float = 9.0  # m/s, most motions start below it
    acceleration: tuple[float, float] = (-8.0, 4.0)  # m/s2
    lateral_acceleration: float = 4.0  # m/s2
    curvature: float = 0.2  # 1/m, at full lock
    rear_axle: float = 1.418  # m behind the box centre


def synthetic_plans(count: int, config: MotionConfig, rng: np.random.Generator, steps: int = PLAN_STEPS) -> np.ndarray:
    """Poses (count, steps, 3) of drives whose acceleration and curvature wander within ``config``.

    The box centre of a turning car moves sideways by its slip angle, between none (a path that is
    followed ideally) and that of a kinematic bicycle turning about its rear axle.
    """
    fast = np.where(rng.random(count) < 0.3, config.speed, config.usual_speed)
    speed = rng.uniform(-0.15, 1.0, count) * fast
    speed = np.where(speed < 0, speed * 0.5, speed)
    goal = np.where(rng.random(count) < 0.2, 0.0, rng.uniform(0.0, 1.0, count) * fast)
    pace = np.where(goal < speed, rng.exponential(2.5, count), rng.exponential(1.5, count))
    limit = np.minimum(config.curvature, config.lateral_acceleration / np.maximum(np.abs(speed), 1.0) ** 2)
    straight = rng.random(count) < 0.35
    target = np.where(straight, 0.0, rng.uniform(-1.0, 1.0, count) * limit * rng.choice([0.15, 0.5, 1.0], count))
    curvature = target * rng.uniform(0.0, 1.0, count)
    slip = np.where(rng.random(count) < 0.6, 1.0, rng.uniform(-0.2, 1.0, count))
    pose = np.zeros((count, 3))
    poses, inner = [], 10
    for _ in range(steps):
        for _ in range(inner):
            dt = STEP_S / inner
            acceleration = np.clip((goal - speed) / 0.5, -pace, pace).clip(*config.acceleration)
            speed = speed + acceleration * dt
            now = np.minimum(config.curvature, config.lateral_acceleration / np.maximum(np.abs(speed), 1.0) ** 2)
            curvature = np.clip(curvature + (target - curvature) * dt, -now, now)
            heading = pose[:, 2] + slip * np.arcsin(config.rear_axle * curvature)
            pose = pose + np.stack([speed * np.cos(heading), speed * np.sin(heading), speed * curvature], -1) * dt
        poses.append(pose)
    return np.stack(poses, 1)


def motions_of(plans: np.ndarray) -> np.ndarray:
    """The 0.5 s motions (N * T, 3) inside plans (N, T, 3)."""
    starts = np.concatenate([np.zeros_like(plans[:, :1]), plans[:, :-1]], axis=1)
    return geometry.relative(starts, plans).reshape(-1, 3)


def logged_plans(root: Path) -> np.ndarray:
    """Plans (N, 10, 3) of all route logs below ``root``."""
    return np.concatenate([RouteLog(folder).plans["poses"] for folder in route_folders(root)]).astype(float)


def features(motions: np.ndarray) -> np.ndarray:
    """Points (N, 4) whose Euclidean distance is the root mean square distance of the box corners."""
    x, y, yaw = motions.T
    return np.stack([x, y, RADIUS * np.cos(yaw), RADIUS * np.sin(yaw)], axis=1)


def kmeans(points: np.ndarray, count: int, rng: np.random.Generator, rounds: int = 25) -> np.ndarray:
    """Centres (count, D) of points (N, D) by Lloyd's rounds; an empty cluster takes a random point."""
    points = points.astype(np.float32)
    centres = points[rng.choice(len(points), count, replace=False)]
    for _ in range(rounds):
        labels = np.concatenate([_closest(part, centres) for part in np.array_split(points, len(points) // 4096 + 1)])
        sizes = np.bincount(labels, minlength=count)
        sums = np.stack([np.bincount(labels, column, count) for column in points.T.astype(np.float64)], axis=1)
        refill = points[rng.choice(len(points), count)]
        centres = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], refill).astype(np.float32)
    return centres.astype(np.float64)


def _closest(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    return ((centres**2).sum(1) - 2.0 * (points @ centres.T)).argmin(axis=1)


def build(motions: np.ndarray, size: int, rng: np.random.Generator, straight: int = 191) -> np.ndarray:
    """Entries (size, 3): standstill, ``straight`` (odd) motions along x, then mirrored pairs; sorted by reach."""
    if (size - 1 - straight) % 2:
        raise ValueError(f"{size} entries less standstill and {straight} straight ones do not pair up")
    straight_on = (np.abs(motions[:, 1]) < 0.03) & (np.abs(motions[:, 2]) < 0.012)
    along = kmeans(motions[straight_on & (np.abs(motions[:, 0]) > 0.02), :1], straight, rng)
    motions = motions[~straight_on]  # a nearly straight motion and its mirror image would be two names for one
    left = np.where((motions[:, 2] < 0) | ((motions[:, 2] == 0) & (motions[:, 1] < 0)), -1.0, 1.0)
    folded = motions * np.stack([np.ones_like(left), left, left], axis=1)
    centres = kmeans(features(folded), (size - 1 - straight) // 2, rng)
    turning = np.stack([centres[:, 0], centres[:, 1], np.arctan2(centres[:, 3], centres[:, 2])], axis=1)
    moving = np.concatenate([np.pad(along, ((0, 0), (0, 2))), turning, turning * [1.0, -1.0, -1.0]])
    moving = np.round(moving, 5) + 0.0
    return np.concatenate([np.zeros((1, 3)), moving[np.lexsort((moving[:, 2], moving[:, 0]))]])


def report(book: Codebook, plans: np.ndarray) -> dict[str, float]:
    """How well the codebook says held-out plans (N, 10, 3): metres, degrees, share of entries used."""
    tokens = tokenizer.encode(book, plans)
    decoded = tokenizer.decode(book, tokens)
    distance = np.linalg.norm(decoded[..., :2] - plans[..., :2], axis=-1)
    yaw = np.degrees(np.abs(geometry.wrap_angle(decoded[..., 2] - plans[..., 2])))
    return {
        "mean_m": round(float(distance.mean()), 4),
        "p99_m": round(float(np.quantile(distance, 0.99)), 4),
        "final_m": round(float(distance[:, -1].mean()), 4),
        "yaw_deg": round(float(yaw.mean()), 3),
        "used": round(len(np.unique(tokens)) / len(book), 3),
    }


def main() -> None:
    """Parse the command line, build, save, print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--logs", type=Path, help="folder of route logs whose plans are mixed in")
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--plans", type=int, default=40_000, help="synthetic drives of 5 s")
    parser.add_argument("--samples", type=int, default=200_000, help="motions that k-means sees")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    rng, config = np.random.default_rng(args.seed), MotionConfig()
    plans = synthetic_plans(args.plans, config, rng)
    if args.logs:
        logged = logged_plans(args.logs)
        plans = np.concatenate([plans, logged[rng.choice(len(logged), min(len(logged), args.plans), replace=False)]])
    motions = rng.permutation(motions_of(plans))[: args.samples]
    provenance = {"program": "training.build_codebook", "seed": args.seed, "plans": len(plans), **asdict(config)}
    book = Codebook(build(motions, args.size, rng), LENGTH, WIDTH, {**provenance, "logs": bool(args.logs)})
    book.save(args.out)
    held_out = synthetic_plans(1000, config, np.random.default_rng(args.seed + 1))
    print(json.dumps({"out": str(args.out), "hash": book.hash[:12], "entries": len(book), **report(book, held_out)}))


if __name__ == "__main__":
    main()
