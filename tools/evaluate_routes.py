"""Drive an agent over a route file and write the leaderboard's results.

    python tools/evaluate_routes.py --routes leaderboard_configs/routes/havenbrook_test40.xml \\
        --agent agents/autovla_agent.py --agent-config leaderboard_configs/autovla_agent.yaml \\
        --out runs/vla.json --seeds 0,1,2 --traffic 20 --workers 2

Without ``--port`` every worker starts a minicarla of its own. A second call continues. What a simulator or a worker
that dies has spoilt is driven again. ``--logs`` keeps everything that is needed to replay (tools/replay_log.py) and to
see in the report what the planner thought.

``--ray`` drives on a cluster. ``--shard 2/8`` drives every eighth route only, so that eight machines may drive into the
same ``--out``; ``--merge`` then drives nothing and puts the file together. docs/distribution.md explains both.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from autovla_core.evaluation import program
from autovla_core.evaluation.summary import as_text, summarise
from autovla_core.sensing.rig import RIGS

if TYPE_CHECKING:
    from autovla_core.evaluation.evaluator import Run


def main() -> int:
    """Return the exit code."""
    options = _options()
    logging.basicConfig(level=logging.INFO if options.verbose else logging.ERROR, format="%(levelname)s %(message)s")
    return program.run("evaluate_routes", lambda: _report(options), "stopped; the same command continues")


def _report(options: argparse.Namespace) -> None:
    records = _evaluate(options)
    print(as_text(summarise(records)) if records else "nothing was driven yet")
    print(f"results: {_parts(options) if options.shard else options.out}")


def _parts(options: argparse.Namespace) -> Path:
    """Folder of one file a drive."""
    return options.out.with_suffix(".parts")


def _evaluate(options: argparse.Namespace) -> list[dict]:
    from autovla_core.evaluation.choice import choose, seeds_of
    from autovla_core.evaluation.evaluator import evaluate, fingerprint, jobs_of, simulator_name
    from autovla_core.evaluation.parts import Parts, share
    from autovla_core.evaluation.results import ResultsFile
    from autovla_core.evaluation.route_file import read_routes

    routes, seeds = choose(read_routes(options.routes), options.subset), seeds_of(options.seeds)
    run = _run(options)
    jobs = jobs_of(routes, seeds)
    there = "" if options.merge or options.ray else simulator_name(run, routes)
    stamp = fingerprint(run, options.routes, seeds, there)
    parts = Parts(_parts(options), stamp)
    names = [job.route_id for job in jobs]
    results = ResultsFile(options.out, names, stamp, parts=parts, whole=not options.shard)
    own = [] if options.merge else share(jobs, options.shard)
    done = sum(results.has(job.route_id) for job in own)
    with tqdm(total=len(own), initial=done, unit="route") as bar:

        def show(record) -> None:
            bar.update()
            bar.write(f"{record.route_id}: {record.status}, {record.scores.composed:.1f} {record.detail}".rstrip())

        workers = 1 if options.port and options.ray is None else options.workers
        evaluate(run, own, results, workers, show, program.cluster_of(options, simulators=bool(options.port)))
    if not options.shard:
        results.write()
    return results.records


def _run(options: argparse.Namespace) -> Run:
    from autovla_core.evaluation.episode import EpisodeConfig
    from autovla_core.evaluation.evaluator import Run

    episode = EpisodeConfig(
        traffic=options.traffic,
        rule=options.rule,
        traffic_manager_port=options.traffic_manager_port,
        track=options.track,
    )
    alone = options.workers <= 1 and options.ray is None
    return Run(
        options.agent,
        options.agent_config,
        episode,
        options.host,
        options.port,
        server_threads=2 if alone else 1,
        logs=options.logs,
        log_rig=options.log_rig,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--routes", type=Path, required=True)
    parser.add_argument("--agent", type=Path, required=True)
    parser.add_argument("--agent-config", default="", help="what the agent's setup() gets")
    parser.add_argument("--out", type=Path, required=True, help="results file")
    program.add_drive_options(parser)
    program.add_cluster_options(parser)
    parser.add_argument("--shard", default="", help="i/n: every n-th drive, from the i-th on; --merge comes after all")
    parser.add_argument("--merge", action="store_true", help="drive nothing, put together what shards have driven")
    parser.add_argument("--logs", type=Path, help="folder for the flight recorder, one log a drive")
    parser.add_argument(
        "--log-rig", default="", choices=["", *sorted(RIGS)], help="cameras for the logs, in place of the agent's"
    )
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    if options.log_rig and options.logs is None:
        parser.error("--log-rig is of the logs; give --logs FOLDER too")
    if options.merge and options.shard:
        parser.error("--merge is for all shards, after they have driven; leave --shard out")
    return options


if __name__ == "__main__":
    sys.exit(main())
