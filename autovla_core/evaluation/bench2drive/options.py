"""The options that tools/run_bench2drive.py and tools/check_setup.py have in common: all of them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from autovla_core.evaluation import program
from autovla_core.evaluation.bench2drive.watch import Limits

CONFIG = "leaderboard_configs/autovla_agent.yaml"


def add_run_options(parser: argparse.ArgumentParser, checkout: Path, out: Path | None = None) -> None:
    """What is driven by whom, on which simulators, and how patiently.

    Args:
        checkout: of this project, where the agents lie.
        out: folder of the run where none is given; None: it must be given.
    """
    _add_drive(parser, checkout, out)
    _add_machine(parser)
    _add_patience(parser)


def _add_drive(parser: argparse.ArgumentParser, checkout: Path, out: Path | None) -> None:
    parser.add_argument(
        "--clone", type=Path, required=True, help="your clone of Bench2Drive; nothing is written into it"
    )
    parser.add_argument("--carla-root", type=Path, required=True, help="CARLA's folder, or one of make_carla_root.py")
    parser.add_argument("--routes", default="220", help='"220", "0.0.4" (files of the clone) or a route file')
    parser.add_argument(
        "--routes-subset", default="", help='ids and ranges in the file\'s order, such as "1711,2082-2100"'
    )
    parser.add_argument(
        "--shard", default="", help="i/n: this machine's part of the routes; a folder each, merged later"
    )
    parser.add_argument("--agent", type=Path, default=checkout / "agents" / "autovla_agent.py")
    parser.add_argument("--agent-config", default=CONFIG, help="what its setup() gets")
    parser.add_argument("--out", type=Path, default=out, required=out is None, help="folder of this run")
    parser.add_argument("--python", default=sys.executable, help="interpreter of the evaluator (default: this one)")
    parser.add_argument("--seed", type=int, default=0, help="of the Traffic Manager")


def _add_machine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=int, default=1, help="simulators at the same time")
    parser.add_argument("--gpus", default="0", help="CUDA indices, dealt to the workers in turn")
    parser.add_argument("--adapters", default="", help="-graphicsadapter of the simulators (default: as --gpus)")
    parser.add_argument("--base-port", type=int, default=20000, help="each simulator has twenty from here on")
    parser.add_argument("--base-traffic-manager-port", type=int, default=25000)
    program.add_cluster_options(parser)


def _add_patience(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--retries", type=int, default=2, help="how often a route is driven again after a fault")
    parser.add_argument("--retry-failed", action="store_true", help="try given-up and spoilt routes again")
    parser.add_argument("--timeout", type=float, default=600.0, help="s, of the evaluator's own watchdogs")
    parser.add_argument("--first-tick-s", type=float, default=Limits.first_tick_s, help="patience with the start")
    parser.add_argument("--silence-s", type=float, default=Limits.silence_s, help="patience between two ticks")
    parser.add_argument("--route-s", type=float, default=Limits.route_s, help="longest attempt at a route")
