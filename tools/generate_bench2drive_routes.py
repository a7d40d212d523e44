"""Write a route file with one route for each of Bench2Drive's 44 scenario types, for its own evaluator.

    python tools/generate_bench2drive_routes.py --out runs/types.xml --seed 1
    python tools/generate_bench2drive_routes.py --out runs/mine.xml --towns my.xodr --types Accident --each 5

Towns are looked at in the order in which they are given (default: all of ours), and a type's places are those of the
first town that has any. They are found on the OpenDRIVE map alone; no simulator is started. The same arguments give
the same file. ``--count`` only prints how many places each town has. docs/scenario_types.md tells how they were driven.

tools/generate_routes.py writes routes for the scenarios of our own evaluator instead.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from autovla_core.carla_bridge import wheel
from autovla_core.errors import AutoVLAError, RouteError
from autovla_core.evaluation.bench2drive.map_survey import Survey, survey
from autovla_core.evaluation.bench2drive.type_places import TYPES
from autovla_core.evaluation.bench2drive.type_routes import counts, draw_routes
from autovla_core.evaluation.route_file import write_routes
from autovla_core.evaluation.weathers import preset

TOWNS = ("Ironmere", "Kestrelway", "Rowanfold", "Fellside", "Pennyfield", "Havenbrook")
OUR_TOWNS = Path(__file__).resolve().parents[1] / "autovla_core" / "minicarla" / "towns"


def main() -> int:
    """0: written; 1: an error; 3: written, but some types found no place."""
    options = _options()
    try:
        wheel.require()
        surveys = [_survey(name) for name in tqdm(options.towns, unit="town", disable=None)]
        if options.count:
            print(_table(surveys))
            return 0
        drawn = draw_routes(surveys, options.types or TYPES, options.each, preset(options.weather), options.seed)
    except AutoVLAError as error:
        print(f"generate_bench2drive_routes: {error}", file=sys.stderr)
        return 1
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_routes(options.out, drawn.routes)
    print(f"{len(drawn.routes)} routes in {options.out}")
    if drawn.missing:
        print(f"no place for {', '.join(drawn.missing)}", file=sys.stderr)
    return 3 if drawn.missing else 0


def _survey(name: str) -> Survey:
    file = Path(name) if name.endswith(".xodr") else OUR_TOWNS / f"{name}.xodr"
    try:
        return survey(file.stem, file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, RuntimeError) as error:
        raise RouteError(f"no map could be read from {file}: {error}; ours are {', '.join(TOWNS)}") from None


def _table(surveys: Sequence[Survey]) -> str:
    rows = {s.town: counts(s) for s in surveys}
    lines = [f"{'':42}" + " ".join(f"{town:>10}" for town in rows)]
    lines += [f"{type:42}" + " ".join(f"{rows[town][type]:10d}" for town in rows) for type in TYPES]
    return "\n".join(lines)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/bench2drive_types.xml"))
    parser.add_argument("--towns", nargs="+", default=TOWNS, metavar="TOWN", help="of ours by name, or .xodr files")
    parser.add_argument("--types", nargs="+", metavar="TYPE", help="(default: all 44)")
    parser.add_argument("--each", type=int, default=1, help="routes of each type, where the town has so many places")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weather", default="ClearNoon", help="one of CARLA's presets")
    parser.add_argument("--count", action="store_true", help="print how many places each town has, write nothing")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
