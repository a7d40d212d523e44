"""Drive an agent over a route file and write the leaderboard's results.

    python tools/evaluate_routes.py --routes leaderboard_configs/routes/havenbrook_test40.xml \\
        --agent agents/autovla_agent.py --agent-config leaderboard_configs/autovla_agent.yaml \\
        --out runs/vla.json --seeds 0,1,2 --traffic 20 --workers 2

Without ``--port`` every worker starts a minicarla of its own. A second call continues the file. A simulator that dies
costs one drive, which the record says; a second call drives it again. ``--logs`` keeps everything that is needed to
replay (tools/replay_log.py) and to see in the report what the planner thought.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from tqdm import tqdm

from autovla_core.evaluation import program
from autovla_core.evaluation.summary import as_text, summarise
from autovla_core.sensing.rig import RIGS


def main() -> int:
    """Return the exit code."""
    options = _options()
    logging.basicConfig(level=logging.INFO if options.verbose else logging.ERROR, format="%(levelname)s %(message)s")
    return program.run("evaluate_routes", lambda: _report(options), "stopped; the same command continues")


def _report(options: argparse.Namespace) -> None:
    print(as_text(summarise(_evaluate(options))))
    print(f"results: {options.out}")


def _evaluate(options: argparse.Namespace) -> list[dict]:
    from autovla_core.evaluation.episode import EpisodeConfig
    from autovla_core.evaluation.evaluator import Run, evaluate, fingerprint, jobs_of
    from autovla_core.evaluation.results import ResultsFile
    from autovla_core.evaluation.route_file import read_routes

    routes = read_routes(options.routes)
    if options.subset:
        routes = [route for route in routes if route.id in options.subset.split(",")]
    seeds = [int(seed) for seed in options.seeds.split(",")]
    episode = EpisodeConfig(
        traffic=options.traffic, rule=options.rule, traffic_manager_port=options.traffic_manager_port
    )
    threads = 1 if options.workers > 1 else 2
    run = Run(
        options.agent,
        options.agent_config,
        episode,
        options.host,
        options.port,
        threads,
        logs=options.logs,
        log_rig=options.log_rig,
    )
    jobs = jobs_of(routes, seeds)
    results = ResultsFile(options.out, [job.route_id for job in jobs], fingerprint(run, options.routes, seeds))
    done = sum(results.has(job.route_id) for job in jobs)
    with tqdm(total=len(jobs), initial=done, unit="route") as bar:

        def show(record) -> None:
            bar.update()
            bar.write(f"{record.route_id}: {record.status}, {record.scores.composed:.1f} {record.detail}".rstrip())

        evaluate(run, jobs, results, 1 if options.port else options.workers, show)
    return results.records


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--routes", type=Path, required=True)
    parser.add_argument("--agent", type=Path, required=True)
    parser.add_argument("--agent-config", default="", help="what the agent's setup() gets")
    parser.add_argument("--out", type=Path, required=True, help="results file")
    program.add_drive_options(parser)
    parser.add_argument("--logs", type=Path, help="folder for the flight recorder, one log a drive")
    parser.add_argument(
        "--log-rig", default="", choices=["", *sorted(RIGS)], help="cameras for the logs, in place of the agent's"
    )
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    if options.log_rig and options.logs is None:
        parser.error("--log-rig is of the logs; give --logs FOLDER too")
    return options


if __name__ == "__main__":
    sys.exit(main())
