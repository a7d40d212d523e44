"""Drive the expert over random routes and write training logs.

    python tools/collect_routes.py --out data/havenbrook --routes 200 --workers 2

With ``--student agents/autovla_agent.py --student-config leaderboard_configs/autovla_agent.yaml`` the model drives, the
expert plans along and takes over just before a fault (DAgger); nothing is kicked then.

``--ray`` drives on a cluster (docs/distribution.md); ``--out`` must then lie where every machine sees it.

A second call with the same arguments continues; finished routes are kept. A route that went wrong lies in
``failed/`` with its reason in ``route.json``.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
import time
from pathlib import Path

from tqdm import tqdm

from autovla_core.evaluation import program

MORE_THAN_ANYBODY_WANTS = 1_000_000


class _Enough(Exception):
    """As many hours, or minutes, as were asked for."""


def main() -> int:
    """Return the exit code."""
    options = _options()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    stopped = "stopped; finished routes are kept, the same command continues"
    return program.run("collect_routes", lambda: _collect(options), stopped)


def _collect(options: argparse.Namespace) -> None:
    from autovla_core.evaluation.collection import Collected, Collection, collect_jobs, simulated_seconds
    from autovla_core.evaluation.queue import run_jobs

    options.out.mkdir(parents=True, exist_ok=True)
    held_out = tuple(str(file) for file in options.held_out)
    collection = Collection(
        options.out,
        options.seed,
        options.rig,
        options.town,
        tuple(options.traffic),
        not (options.no_kicks or options.student),
        not options.no_lapses,
        held_out,
        truth=options.truth,
        student=str(options.student or ""),
        student_config=options.student_config,
        scenarios=options.scenarios,
    )
    count = options.routes or MORE_THAN_ANYBODY_WANTS
    numbers = [i for i in range(min(count, 100_000)) if not collection.is_done(i)]
    began, total = time.monotonic(), simulated_seconds(options.out)
    kept: list[Collected] = []
    failed: list[Collected] = []
    with tqdm(total=len(numbers) if options.routes else None, unit="route", smoothing=0.1) as bar:

        def take(done: Collected) -> None:
            nonlocal total
            (failed if done.reason else kept).append(done)
            total += 0.0 if done.reason else done.simulated_s
            bar.update()
            simulated = sum(c.simulated_s for c in (*kept, *failed))
            bar.set_postfix(hours=f"{total / 3600:.2f}", speed=f"{simulated / (time.monotonic() - began):.1f}x")
            if done.reason:
                bar.write(f"{done.name} failed: {done.reason}")
            late = options.minutes and time.monotonic() - began > 60.0 * options.minutes
            if late or (options.hours and total >= 3600.0 * options.hours):
                raise _Enough

        with contextlib.suppress(_Enough):
            run_jobs(collect_jobs, collection, numbers, options.workers, take, program.cluster_of(options))
    _report(options.out, kept, failed, total, time.monotonic() - began)


def _report(out: Path, kept: list, failed: list, total_s: float, wall_s: float) -> None:
    simulated = sum(c.simulated_s for c in (*kept, *failed))
    print(f"{len(kept)} routes kept, {len(failed)} failed; {out} holds {total_s / 3600:.2f} h")
    if simulated > 0:
        megabytes = sum(c.size for c in (*kept, *failed)) / 1e6
        print(f"{megabytes / simulated * 3600:.0f} MB an hour; {simulated / wall_s:.1f} simulated hours a wall hour")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the logs")
    amount = parser.add_mutually_exclusive_group(required=True)
    amount.add_argument("--routes", type=int, help="routes in all")
    amount.add_argument("--hours", type=float, help="simulated hours in the folder")
    amount.add_argument("--minutes", type=float, help="of the wall clock")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="simulators at the same time")
    program.add_cluster_options(parser)
    parser.add_argument("--rig", default="front")
    parser.add_argument("--town", default="Havenbrook")
    parser.add_argument("--traffic", type=int, nargs=2, default=(10, 25), metavar=("FEWEST", "MOST"))
    parser.add_argument("--no-kicks", action="store_true", help="do not perturb the ego")
    parser.add_argument("--no-lapses", action="store_true", help="do not let the expert brake late and dawdle")
    parser.add_argument("--truth", action="store_true", help="also log what scores plans and what thoughts need")
    parser.add_argument(
        "--scenarios", type=_share, default=0.0, metavar="SHARE", help="of the routes with scenarios along, 0 to 1"
    )
    parser.add_argument("--student", type=Path, help="agent file that drives while the expert plans (DAgger)")
    parser.add_argument("--student-config", default="", help="what the student's setup() gets")
    parser.add_argument(
        "--held-out",
        type=Path,
        nargs="*",
        default=sorted(Path(__file__).parents[1].glob("leaderboard_configs/routes/*.xml")),
        help="route files whose first and last lanes are not driven (default: all that are shipped)",
    )
    return parser.parse_args()


def _share(text: str) -> float:
    share = float(text)
    if not 0.0 <= share <= 1.0:
        raise argparse.ArgumentTypeError(f"{text} is no share, expected 0 to 1")
    return share


if __name__ == "__main__":
    sys.exit(main())
