"""Drive an agent under growing difficulty and draw its score against it.

    python tools/sweep_robustness.py --routes leaderboard_configs/routes/havenbrook_test20.xml \\
        --agent agents/autovla_agent.py --agent-config leaderboard_configs/autovla_agent.yaml \\
        --sweeps leaderboard_configs/robustness/delay.yaml --out runs/robustness --seeds 0,1,2

Without ``--sweeps`` all of leaderboard_configs/robustness are driven. A sweep gives one results file a setting
(``<out>/<sweep>/<setting>.json``), a table, ``<sweep>.json`` and ``<sweep>.svg``. The same command continues after an
interruption, and after a change of the list; ``--draw-only`` drives nothing.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from tqdm import tqdm

from autovla_core.evaluation import program

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Return the exit code."""
    options = _options()
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(message)s")
    return program.run("sweep_robustness", lambda: _sweeps(options), "stopped; the same command continues")


def _sweeps(options: argparse.Namespace) -> None:
    from autovla_core.evaluation.robustness import read_sweep

    sweeps = {file: read_sweep(file) for file in options.sweeps}  # all are read before any is driven
    for file, sweep in sweeps.items():
        folder = options.out / file.stem
        if not options.draw_only:
            for number, setting in enumerate(sweep.settings, 1):
                _drive(options, folder, setting, f"{file.stem} {setting.label} ({number}/{len(sweep.settings)})")
                _draw(folder, file.stem, sweep, options.out)
        print(_draw(folder, file.stem, sweep, options.out))
        print(f"drawing: {options.out / file.stem}.svg\n")


def _drive(options: argparse.Namespace, folder: Path, setting, name: str) -> None:
    from autovla_core.evaluation.choice import choose, seeds_of
    from autovla_core.evaluation.episode import EpisodeConfig
    from autovla_core.evaluation.evaluator import Run, evaluate, fingerprint, jobs_of, simulator_name
    from autovla_core.evaluation.results import ResultsFile
    from autovla_core.evaluation.robustness import expect_driven, run_of, slug
    from autovla_core.evaluation.route_file import read_routes

    port = options.traffic_manager_port
    episode = EpisodeConfig(options.traffic, rule=options.rule, traffic_manager_port=port, track=options.track)
    threads = 1 if options.workers > 1 else 2
    base = Run(options.agent, options.agent_config, episode, options.host, options.port, threads)
    run = run_of(base, setting, folder)
    routes, seeds = choose(read_routes(options.routes), options.subset), seeds_of(options.seeds)
    jobs = jobs_of(routes, seeds)
    stamp = fingerprint(run, options.routes, seeds, simulator_name(run, routes))
    results = ResultsFile(folder / f"{slug(setting.label)}.json", [job.route_id for job in jobs], stamp)
    done = sum(results.has(job.route_id) for job in jobs)
    with tqdm(total=len(jobs), initial=done, unit="route", desc=name) as bar:

        def take(record) -> None:
            expect_driven(record)
            bar.update()

        evaluate(run, jobs, results, 1 if options.port else options.workers, take)


def _draw(folder: Path, name: str, sweep, out: Path) -> str:
    """Write the drawing and the figures of what is there; return the table."""
    from autovla_core.evaluation.report.collect import by_benchmark, read_run
    from autovla_core.evaluation.report.curve import Mark, curve, rows
    from autovla_core.evaluation.report.figures import SCORE
    from autovla_core.evaluation.report.shield import shield_lines
    from autovla_core.evaluation.robustness import as_json, as_markdown, points_of, slug, write_json
    from autovla_core.files import write_whole

    files = {setting.label: folder / f"{slug(setting.label)}.json" for setting in sweep.settings}
    runs = {label: read_run(label, file) for label, file in files.items() if file.is_file()}
    points = points_of(sweep, runs)
    if not points:
        return f"{sweep.title}: nothing was driven yet"
    marks = [Mark(point.setting.label, point.figures[SCORE.name], point.setting.value) for point in points]
    drawing = (
        curve(sweep.title, sweep.axis, SCORE.name, marks) if sweep.numeric else rows(sweep.title, SCORE.name, marks)
    )
    write_whole(out / f"{name}.svg", drawing)
    write_json(out / f"{name}.json", as_json(sweep, points))
    shielded = [line for alike in by_benchmark(runs.values()).values() for line in shield_lines(alike)]
    return "\n\n".join([as_markdown(sweep, points), *shielded])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--routes", type=Path, required=True)
    parser.add_argument("--agent", type=Path, default=ROOT / "agents/autovla_agent.py")
    parser.add_argument("--agent-config", default=str(ROOT / "leaderboard_configs/autovla_agent.yaml"))
    shipped = sorted((ROOT / "leaderboard_configs/robustness").glob("*.yaml"))
    parser.add_argument("--sweeps", type=Path, nargs="+", default=shipped)
    parser.add_argument("--out", type=Path, required=True, help="folder")
    program.add_drive_options(parser)
    parser.add_argument("--draw-only", action="store_true", help="only draw what is there")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
