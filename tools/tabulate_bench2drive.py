"""Print what became of each scenario of a run of tools/run_bench2drive.py: built, triggered, ended, scored.

    python tools/tabulate_bench2drive.py --routes runs/types.xml runs/types_expert

"Triggered" and "ended" are read from the evaluator's own blackboard at each tick. A route ends, and may score 100,
also when its scenario could not be set up; only this table and the run's remarks tell.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from autovla_core.errors import AutoVLAError
from autovla_core.evaluation.bench2drive.clone import open_routes
from autovla_core.evaluation.bench2drive.type_table import as_markdown, fates


def main() -> int:
    """0, or 1 after an error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--routes", type=Path, required=True, help="the route file of the run")
    parser.add_argument("runs", type=Path, nargs="+", metavar="FOLDER", help="of a run")
    options = parser.parse_args()
    try:
        routes = open_routes(options.routes).routes
        for run in options.runs:
            print(f"{run.name}\n\n{as_markdown(fates(run, routes))}")
    except AutoVLAError as error:
        print(f"tabulate_bench2drive: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
