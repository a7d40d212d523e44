"""Bench2Drive's figures from result files: the official number and, beside it, the corrected one.

    python tools/merge_bench2drive.py --routes ~/Bench2Drive/leaderboard/data/bench2drive220.xml runs/bench2drive

Takes folders of tools/run_bench2drive.py (several shards of one run, too), folders of the official evaluator, or result
files. The exact Traffic_Signs ability needs the maps' junctions: give --clone and --carla-root once, and --junctions to
keep them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from autovla_core.errors import AutoVLAError, SetupError
from autovla_core.evaluation.bench2drive import merge
from autovla_core.evaluation.bench2drive.clone import RouteFile, open_clone, open_routes
from autovla_core.evaluation.bench2drive.orders import LAUNCHER


def main() -> int:
    """0: complete; 1: an error; 3: routes are missing."""
    options = _options()
    try:
        clone = open_clone(options.clone) if options.clone else None
        routes = open_routes(options.routes, clone)
        marks = options.junctions
        if clone and options.carla_root and not (marks and marks.is_file()):
            marks = _make_junctions(options, clone.folder, routes)
        merged = merge.merge(routes, options.results, options.metrics, marks)
        if options.out:
            options.out.mkdir(parents=True, exist_ok=True)
            merge.write_json(options.out / "merged.json", merge.official_merged(merged))
            merge.write_json(options.out / "figures.json", merge.as_json(merged))
    except AutoVLAError as error:
        print(f"merge_bench2drive: {error}", file=sys.stderr)
        return 1
    print(merge.as_text(merged))
    return 3 if merged.report.coverage.missing else 0


def _make_junctions(options: argparse.Namespace, clone: Path, routes: RouteFile) -> Path:
    """Let the user's CARLA find the first junction of each route; needs its maps, no server.

    Raises:
        SetupError: it could not.
    """
    target = options.junctions or (options.out or Path(".")) / "junctions.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    command = [options.python, LAUNCHER, "--clone", clone, "junctions", routes.path, target.resolve()]
    environment = {**os.environ, "CARLA_ROOT": str(options.carla_root.resolve())}
    done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise SetupError(f"the junctions could not be found: {last}")
    return target


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+", help="run folders, folders of result files, or files")
    parser.add_argument("--routes", default="220", help='route file, or with --clone "220" or "0.0.4"')
    parser.add_argument("--metrics", type=Path, nargs="*", default=[], help="folders with <save_name>/metric_info.json")
    parser.add_argument(
        "--junctions", type=Path, help="file of the junction marks; made if --clone and --carla-root are given"
    )
    parser.add_argument("--clone", type=Path)
    parser.add_argument("--carla-root", type=Path)
    parser.add_argument("--python", default=sys.executable, help="interpreter that has carla and networkx")
    parser.add_argument("--out", type=Path, help="folder for merged.json (Bench2Drive's form) and figures.json")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
