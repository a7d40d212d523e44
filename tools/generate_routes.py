"""Draw random routes in a town and write them as a route file of the leaderboard.

    python tools/generate_routes.py --out leaderboard_configs/routes/havenbrook_test20.xml --count 20 --seed 1020

    python tools/generate_routes.py --out runs/scenarios.xml --scenarios all --each 3 --seed 7

The same arguments give the same file. ``--apart-from`` keeps clear of the first and last lanes of other files.
With ``--scenarios`` every route is a short one with one scenario of a named type (docs/scenarios.md lists them); a
type that finds no place in the town is named and left out. ``--along N`` puts up to N scenarios on each random route.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.random import Generator

from autovla_core.carla_bridge.wheel import carla
from autovla_core.evaluation import program
from autovla_core.evaluation.route_file import Route
from autovla_core.evaluation.scenarios.setting import NoPlace

if TYPE_CHECKING:
    from autovla_core.carla_bridge.route_planner import LaneGraph


RANDOM_ONLY = ("count", "along", "length", "turns", "apart_from")  # options that --scenarios would not heed
SCENARIOS_ONLY = ("each",)


def main() -> int:
    """Return the exit code."""
    options = _options()
    return program.run("generate_routes", lambda: _generate(options))


def _generate(options: argparse.Namespace) -> None:
    from autovla_core.carla_bridge.route_planner import LaneGraph
    from autovla_core.evaluation.evaluator import simulator
    from autovla_core.evaluation.route_file import write_routes

    rng = np.random.default_rng(options.seed)
    with simulator(options.host, options.port) as there:
        draw, routes = _scenario_routes if options.scenarios else _random_routes, []
        for town in options.town:
            there.session.load(town)
            routes += draw(options, LaneGraph(there.session.map), there.session.map, rng, len(routes))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_routes(options.out, routes)
    print(f"{len(routes)} routes in {options.out}")


def _random_routes(
    options: argparse.Namespace, graph: LaneGraph, carla_map: carla.Map, rng: Generator, first: int
) -> list[Route]:
    from autovla_core.evaluation.collection import held_out_pairs
    from autovla_core.evaluation.route_generator import RouteStyle, random_route
    from autovla_core.evaluation.scenarios.decoration import with_scenarios

    style = RouteStyle(*options.length, turns=options.turns)
    taken = set(held_out_pairs(graph, options.apart_from, carla_map.name.split("/")[-1]))
    routes = []
    for number in range(first, first + options.count):
        route, pair = random_route(graph, carla_map, rng, str(number), _weather(options, rng), style, taken)
        taken.add(pair)
        routes.append(with_scenarios(route, graph, carla_map, rng, options.along) if options.along else route)
    return routes


def _scenario_routes(
    options: argparse.Namespace, graph: LaneGraph, carla_map: carla.Map, rng: Generator, first: int
) -> list[Route]:
    from autovla_core.evaluation.scenarios.places import scenario_route
    from autovla_core.evaluation.scenarios.registry import SCENARIOS

    names = list(SCENARIOS) if options.scenarios == ["all"] else options.scenarios
    routes = []
    for name in names:
        for _ in range(options.each):
            weather = _weather(options, rng)
            try:
                routes.append(scenario_route(graph, carla_map, rng, str(first + len(routes)), weather, name))
            except NoPlace as reason:
                print(f"left out: {reason}", file=sys.stderr)
                break
    return routes


def _weather(options: argparse.Namespace, rng: Generator) -> Mapping[str, float]:
    from autovla_core.evaluation.weathers import preset, random_weather

    return preset(options.weather) if options.weather else random_weather(rng)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=20, help="of random routes")
    parser.add_argument("--scenarios", nargs="+", metavar="TYPE", help="types by name, or all")
    parser.add_argument("--along", type=int, default=0, metavar="N", help="scenarios on each random route, at most")
    parser.add_argument("--each", type=int, default=1, help="routes of each type")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--town", nargs="+", default=["Havenbrook"], help="each has so many routes")
    parser.add_argument("--length", type=float, nargs=2, default=(200.0, 500.0), metavar=("SHORTEST", "LONGEST"))
    parser.add_argument("--turns", type=int, default=1, help="left and right turns at least")
    parser.add_argument("--weather", help="one of CARLA's presets for all routes (default: drawn)")
    parser.add_argument("--apart-from", nargs="*", default=(), metavar="XML")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="of a running server; 0 starts minicarla")
    options = parser.parse_args()
    idle = RANDOM_ONLY if options.scenarios else SCENARIOS_ONLY
    given = [f"--{name.replace('_', '-')}" for name in idle if getattr(options, name) != parser.get_default(name)]
    if given:
        parser.error(f"{', '.join(given)} mean nothing {'with' if options.scenarios else 'without'} --scenarios")
    return options


if __name__ == "__main__":
    sys.exit(main())
