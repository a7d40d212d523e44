"""Several results files in one Markdown table.

python tools/compare_results.py expert=runs/expert.json model=runs/vla.json
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from autovla_core.evaluation.summary import as_markdown, summarise


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", metavar="NAME=FILE")
    options = parser.parse_args()
    records = {}
    for given in options.results:
        name, _, file = given.partition("=")
        if not file or not Path(file).is_file():
            print(f"compare_results: found {given!r}, expected NAME=FILE with a results file", file=sys.stderr)
            return 1
        records[name] = json.loads(Path(file).read_text())["_checkpoint"]["records"]
    driven = {name: sorted(record["route_id"] for record in found) for name, found in records.items()}
    if len({tuple(ids) for ids in driven.values()}) > 1:
        counts = {name: len(ids) for name, ids in driven.items()}
        print(f"compare_results: the files do not hold the same drives: {counts}", file=sys.stderr)
        return 1
    print(as_markdown({name: summarise(found) for name, found in records.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
