"""Several results files in Markdown: scores with intervals, then every pair drive by drive.

    python tools/compare_results.py expert=runs/expert.json model=runs/vla.json

Takes results files and folders of tools/run_bench2drive.py, whose official figures stand beside the corrected ones.

Runs on different route files, scoring rules or traffic get tables of their own and are not compared.
"""

from __future__ import annotations

import argparse
import sys

from autovla_core.errors import AutoVLAError
from autovla_core.evaluation.report.collect import by_benchmark, read_run
from autovla_core.evaluation.report.markdown import as_markdown


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", metavar="NAME=PATH")
    runs = []
    for given in parser.parse_args().results:
        name, _, file = given.partition("=")
        if not name or not file or name in [run.name for run in runs]:
            print(f"compare_results: found {given!r}, expected NAME=PATH with a name of its own", file=sys.stderr)
            return 1
        try:
            runs.append(read_run(name, file))
        except AutoVLAError as error:
            print(f"compare_results: {error}", file=sys.stderr)
            return 1
    print(as_markdown(by_benchmark(runs)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
