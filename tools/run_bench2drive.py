"""Drive Bench2Drive's routes with its own evaluator, from your own clone, over several simulators of this machine.

    python tools/run_bench2drive.py --clone ~/Bench2Drive --carla-root ~/CARLA_0.9.15 --routes 220 \\
        --agent agents/autovla_agent.py --agent-config leaderboard_configs/autovla_agent.yaml \\
        --out runs/bench2drive --workers 2 --gpus 0,1

It starts, watches and ends the simulators, drives a route again after a fault, and continues after any interruption
when called again with the same arguments. At the end it prints what tools/merge_bench2drive.py prints. Check the
machine first with tools/check_setup.py, which takes the same arguments. docs/bench2drive.md explains all.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from autovla_core.errors import AutoVLAError
from autovla_core.evaluation import program
from autovla_core.evaluation.bench2drive import merge
from autovla_core.evaluation.bench2drive.agent_config import checkpoint_of, config_file, weights_hash
from autovla_core.evaluation.bench2drive.clone import RouteFile, choose, open_clone, open_routes, shard
from autovla_core.evaluation.bench2drive.fleet import Driven, Fleet, drive_routes, machine_folders, waiting_of
from autovla_core.evaluation.bench2drive.jobs import Jobs
from autovla_core.evaluation.bench2drive.options import add_run_options
from autovla_core.evaluation.bench2drive.orders import Run, slots_of
from autovla_core.evaluation.bench2drive.supervisor import Supervisor
from autovla_core.evaluation.bench2drive.watch import Limits
from autovla_core.evaluation.queue import Cluster, run_jobs
from autovla_core.evaluation.server_process import stop_on_terminate

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """0: all routes have a result; 1: an error; 3: some routes were given up; 130: stopped."""
    options = _options()
    stop_on_terminate()
    try:
        clone = open_clone(options.clone)
        routes = open_routes(options.routes, clone)
        ids = shard(choose(routes, options.routes_subset), options.shard)
        run, cluster = _run(options, clone, routes), program.cluster_of(options)
        given_up = _drive_over(cluster, run, ids, options) if cluster else _drive(run, ids, options)
        _print(routes, options.out)
    except AutoVLAError as error:
        print(f"run_bench2drive: {error}", file=sys.stderr)
        return 1
    except OSError as error:  # a full disk, a folder that may not be written
        print(f"run_bench2drive: {error}; nothing is lost, the same command continues", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; the same command continues", file=sys.stderr)
        return 130
    if given_up:
        print(
            f"given up after {options.retries + 1} attempts: {', '.join(sorted(given_up))}; --retry-failed tries again"
        )
    return 3 if given_up else 0


def _run(options: argparse.Namespace, clone, routes: RouteFile) -> Run:
    config = config_file(options.agent_config, ROOT)
    checkpoint = checkpoint_of(config, ROOT) if config else None
    limits = Limits(options.first_tick_s, options.silence_s, options.route_s)
    return Run(
        clone,
        routes,
        options.agent.resolve(),
        str(config or options.agent_config),  # absolute: the evaluator works in the clone
        options.carla_root,
        options.out,
        options.python,
        options.seed,
        weights_sha256=weights_hash(checkpoint) if checkpoint else "",
        timeout_s=options.timeout,
        limits=limits,
    )


def _drive(run: Run, ids: Sequence[str], options: argparse.Namespace) -> set[str]:
    """Drive and return the routes that were given up."""
    gpus, adapters = options.gpus.split(","), (options.adapters or options.gpus).split(",")
    slots = slots_of(options.workers, gpus, adapters, options.base_port, options.base_traffic_manager_port)
    supervisor = Supervisor(run, os.environ, tqdm.write)
    try:
        jobs = Jobs(run.out, ids, options.retries, options.retry_failed)
        print(f"{run.routes}: {len(ids)} asked for, {len(jobs.done)} done, {len(jobs.given_up)} given up before")
        with tqdm(total=len(ids), initial=len(jobs.done), unit="route") as bar:

            def pause(seconds: float) -> None:
                if len(jobs.done) != bar.n:
                    bar.update(len(jobs.done) - bar.n)
                time.sleep(seconds)

            supervisor.drive(jobs, slots, time.monotonic, pause)
            bar.update(len(jobs.done) - bar.n)
        return jobs.given_up
    finally:
        supervisor.close()


def _drive_over(cluster: Cluster, run: Run, ids: Sequence[str], options: argparse.Namespace) -> set[str]:
    """Drive on many machines and return the routes that were given up."""
    gpus, adapters = options.gpus.split(","), (options.adapters or options.gpus).split(",")
    ports = options.base_port, options.base_traffic_manager_port
    fleet = Fleet(run, options.retries, tuple(gpus), tuple(adapters), *ports, dict(os.environ))
    waiting, given_up = waiting_of(run.out, ids, options.retries, options.retry_failed)
    print(f"{run.routes}: {len(ids)} asked for, {len(waiting)} to be driven, {len(given_up)} given up before")
    with tqdm(total=len(ids), initial=len(ids) - len(waiting) - len(given_up), unit="route") as bar:

        def take(driven: Driven) -> None:
            given_up.update([driven.route] if driven.given_up else [])
            bar.update(not driven.given_up)
            for sentence in driven.said:
                bar.write(sentence)

        run_jobs(drive_routes, fleet, waiting, options.workers, take, cluster)
    return given_up


def _print(routes: RouteFile, out: Path) -> None:
    own = [out] if (out / "run.json").exists() else []
    merged = merge.merge(routes, [*own, *machine_folders(out)], [], None)
    merge.write_json(out / "merged.json", merge.official_merged(merged))
    merge.write_json(out / "figures.json", merge.as_json(merged))
    print(merge.as_text(merged))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_run_options(parser, ROOT)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
