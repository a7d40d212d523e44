"""Say on one page what this machine lacks for tools/run_bench2drive.py, with the remedy for each.

    python tools/check_setup.py --clone ~/Bench2Drive --carla-root ~/CARLA_0.9.15 --workers 2 --gpus 0,1

Exit code 0: nothing is missing; 1: something is. Reads PYTHONPATH of its caller.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

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
    )
    findings = check(plan)
    print(as_text(findings))
    return int(any(finding.state == MISSING for finding in findings))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clone", type=Path, required=True)
    parser.add_argument("--carla-root", type=Path, required=True)
    parser.add_argument("--routes", default="220")
    parser.add_argument("--routes-subset", default="")
    parser.add_argument("--agent", type=Path, default=ROOT / "agents" / "autovla_agent.py")
    parser.add_argument("--agent-config", default="leaderboard_configs/autovla_agent.yaml")
    parser.add_argument("--out", type=Path, default=Path("runs"))
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--gpus", default="0")
    parser.add_argument("--base-port", type=int, default=20000)
    parser.add_argument("--base-traffic-manager-port", type=int, default=25000)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
