"""Draw random routes in a town and write them as a route file of the leaderboard.

    python tools/generate_routes.py --out leaderboard_configs/routes/havenbrook_test20.xml --count 20 --seed 1020

The same arguments give the same file. ``--apart-from`` keeps clear of the first and last lanes of other files.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from autovla_core.carla_bridge.wheel import require
from autovla_core.errors import AutoVLAError


def main() -> int:
    """Return the exit code."""
    options = _options()
    try:
        require()
        _generate(options)
    except AutoVLAError as error:
        print(f"generate_routes: {error}", file=sys.stderr)
        return 1
    return 0


def _generate(options: argparse.Namespace) -> None:
    from autovla_core.carla_bridge.route_planner import LaneGraph
    from autovla_core.evaluation.collection import held_out_pairs
    from autovla_core.evaluation.evaluator import simulator
    from autovla_core.evaluation.route_file import write_routes
    from autovla_core.evaluation.route_generator import RouteStyle, random_route
    from autovla_core.evaluation.weathers import preset, random_weather

    style = RouteStyle(*options.length, turns=options.turns)
    rng = np.random.default_rng(options.seed)
    with simulator(options.host, options.port) as there:
        there.session.load(options.town)
        graph = LaneGraph(there.session.map)
        taken = set(held_out_pairs(graph, options.apart_from, options.town))
        routes = []
        for number in range(options.count):
            weather = preset(options.weather) if options.weather else random_weather(rng)
            route, pair = random_route(graph, there.session.map, rng, str(number), weather, style, taken)
            taken.add(pair)
            routes.append(route)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_routes(options.out, routes)
    print(f"{len(routes)} routes in {options.out}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--town", default="Havenbrook")
    parser.add_argument("--length", type=float, nargs=2, default=(200.0, 500.0), metavar=("SHORTEST", "LONGEST"))
    parser.add_argument("--turns", type=int, default=1, help="left and right turns at least")
    parser.add_argument("--weather", help="one of CARLA's presets for all routes (default: drawn)")
    parser.add_argument("--apart-from", nargs="*", default=(), metavar="XML")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="of a running server; 0 starts minicarla")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
