"""Say on one page what this machine lacks for tools/run_bench2drive.py, with the remedy for each.

    python tools/check_setup.py --clone ~/Bench2Drive --carla-root ~/CARLA_0.9.15 --workers 2 --gpus 0,1

It takes the arguments of that program; those that no check needs (--retries, --seed ...) it leaves alone. Exit code 0:
nothing is missing; 1: something is. Reads PYTHONPATH of its caller.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from autovla_core.evaluation.bench2drive.options import add_run_options
from autovla_core.evaluation.bench2drive.setup_checks import check
from autovla_core.evaluation.bench2drive.setup_page import MISSING, Plan, as_text

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Return the exit code."""
    options = _options()
    plan = Plan(
        options.clone.expanduser(),
        options.carla_root.expanduser(),
        options.routes,
        options.routes_subset,
        options.agent,
        options.agent_config,
        options.out,
        options.python,
        options.workers,
        tuple(options.gpus.split(",")),
        options.base_port,
        options.base_traffic_manager_port,
        os.environ.get("PYTHONPATH", ""),
        ROOT,
        options.shard,
    )
    findings = check(plan)
    print(as_text(findings))
    return int(any(finding.state == MISSING for finding in findings))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_run_options(parser, ROOT, Path("runs"))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
