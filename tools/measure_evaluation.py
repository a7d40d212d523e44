"""Measure routes per hour by workers, and what the recorder and the film cost a tick.

    python tools/measure_evaluation.py [--count 6] [--ray 127.0.0.1:6379] [--json docs/benchmark_evaluation.json]

The first ``--count`` routes are driven by the shipped model with one worker, with two, and over ray if an address is
given; the clock runs from the first record of the last worker to begin to the last record, so that no start counts.
Then the first 400 ticks of the demo route four times: plain, with the flight recorder, with the film, with both.
Nothing else should run on the machine. Ten minutes or so.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from autovla_core.evaluation import program
from autovla_core.evaluation.evaluator import Job, Run, drive, evaluate, jobs_of, simulator
from autovla_core.evaluation.watching import Scenery, Subscriber, TickFacts, Watcher

ROOT = Path(__file__).resolve().parents[1]
ROUTES = ROOT / "leaderboard_configs/routes"
TICKS = 400


def main() -> int:
    """Return the exit code."""
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        return program.run("measure_evaluation", lambda: _measure(options, Path(folder)))


def _measure(options: argparse.Namespace, out: Path) -> None:
    crews = {"1 worker": (1, False), "2 workers": (2, False)} | ({"ray, 2 workers": (2, True)} if options.ray else {})
    figures: dict[str, dict[str, float]] = {"routes per hour": {}, "ms a tick": {}}
    for name, (workers, over_ray) in crews.items():
        figures["routes per hour"][name] = round(_pace(options, out, name, workers, over_ray), 1)
        print(f"{name:16s} {figures['routes per hour'][name]:7.1f} routes an hour", flush=True)
    for name, (cpu_ms, wall_ms) in _costs(options, out).items():
        figures["ms a tick"][name] = round(wall_ms, 2)
        print(f"{name:16s} {wall_ms:7.2f} ms a tick; processor time of those who look on {cpu_ms:.2f} ms")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


def _run(options: argparse.Namespace, **more: object) -> Run:
    return Run(options.agent, options.agent_config, server_threads=1, **more)


def _pace(options: argparse.Namespace, out: Path, name: str, workers: int, over_ray: bool) -> float:
    from autovla_core.evaluation.episode import EpisodeConfig
    from autovla_core.evaluation.results import ResultsFile
    from autovla_core.evaluation.route_file import read_routes

    jobs = jobs_of(read_routes(options.routes)[: options.count + workers], [0])
    results = ResultsFile(out / f"{name}.json", [job.route_id for job in jobs], {"crew": name})
    times: list[float] = []
    run, cluster = _run(options, episode=EpisodeConfig(traffic=10)), program.cluster_of(options) if over_ray else None
    evaluate(run, jobs, results, workers, lambda record: times.append(time.monotonic()), cluster)
    return 3600.0 * (len(times) - workers) / (times[-1] - times[workers - 1])


class Timed(Watcher):
    """Passes all on and counts the processor time that it takes."""

    def __init__(self, inner: Subscriber) -> None:
        self._inner, self.cpu_s = inner, 0.0

    def sensors(self) -> list[dict[str, object]]:
        return self._inner.sensors()

    def begin(self, scenery: Scenery) -> None:
        self._inner.begin(scenery)

    def tick(self, facts: TickFacts) -> None:
        began = time.process_time()
        self._inner.tick(facts)
        self.cpu_s += time.process_time() - began

    def end(self, record: object) -> None:
        self._inner.end(record)


def _costs(options: argparse.Namespace, out: Path) -> dict[str, tuple[float, float]]:
    """(processor ms a tick of those who look on, wall ms a tick of the whole drive) by who looks on."""
    from autovla_core.evaluation.agent_file import load_agent_class
    from autovla_core.evaluation.criteria import CriteriaConfig
    from autovla_core.evaluation.episode import EpisodeConfig
    from autovla_core.evaluation.flight_recorder import recorders
    from autovla_core.evaluation.provenance import Provenance
    from autovla_core.evaluation.route_file import read_routes
    from autovla_core.evaluation.showing import Showing
    from autovla_core.view import hud
    from autovla_core.view.video import VideoWriter

    route = read_routes(ROUTES / "havenbrook_demo.xml")[0]
    run = _run(options, episode=EpisodeConfig(traffic=10, criteria=CriteriaConfig(max_ticks=TICKS)))
    agent_class, found = load_agent_class(run.agent), {}

    def cost(name: str, looking_on: Sequence[Subscriber]) -> None:
        timed = [Timed(one) for one in looking_on]
        record = drive(run, agent_class, there, Job(route, 0, 0), timed)
        ticks = record.duration_game / 0.05
        found[name] = (1e3 * sum(one.cpu_s for one in timed) / ticks, 1e3 * record.duration_system / ticks)

    facts = Provenance(run.agent, run.agent_config, run.episode)
    with simulator(threads=1) as there:
        cost("(warm-up)", [])
        cost("plain", [])
        cost("recorder", recorders(out, "recorded", facts))
        with VideoWriter(out / "film.mp4", hud.SIZE, 10) as film:
            showing = [Showing(lambda view: film.write(hud.compose(view, showing[0].bird)))]
            cost("film", showing)
            cost("recorder, film", [*recorders(out, "both", facts), *showing])
    del found["(warm-up)"]
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=6, help="routes that count, for each number of workers")
    parser.add_argument("--routes", type=Path, default=ROUTES / "havenbrook_test20.xml")
    parser.add_argument("--agent", type=Path, default=ROOT / "agents/autovla_agent.py")
    parser.add_argument("--agent-config", default=str(ROOT / "leaderboard_configs/autovla_agent.yaml"))
    parser.add_argument("--json", type=Path, help="also write the figures here")
    program.add_cluster_options(parser)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
