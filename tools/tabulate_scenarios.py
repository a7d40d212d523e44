"""Print the results of a route file with scenarios by scenario type, as a Markdown table.

python tools/tabulate_scenarios.py --routes runs/scenarios.xml --results runs/expert_scenarios.json
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from autovla_core.errors import AutoVLAError, RouteError
from autovla_core.evaluation.route_file import read_routes
from autovla_core.evaluation.scenarios.table import as_markdown, as_sentence, by_type
from autovla_core.evaluation.shielding import expect_unmixed


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--routes", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True, nargs="+", help="files of tools/evaluate_routes.py")
    options = parser.parse_args()
    try:
        records = [record for file in options.results for record in _records(file)]
        expect_unmixed(records)
        routes = read_routes(options.routes)
        print(as_markdown(by_type(routes, records)))
        print(f"\n{as_sentence(routes, records)}")
    except AutoVLAError as error:
        print(f"tabulate_scenarios: {error}", file=sys.stderr)
        return 1
    return 0


def _records(file: Path) -> list[dict]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))["_checkpoint"]["records"]
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise RouteError(f"{file} is no results file of tools/evaluate_routes.py: {error!r}") from None


if __name__ == "__main__":
    sys.exit(main())
