"""What ``make drive`` runs: start minicarla, drive one route with the shipped model, leave a film and the results.

python tools/drive_demo.py [--out runs/demo] [--agent agents/autovla_expert_agent.py --agent-config ...]
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import shutil
import sys
import time
from pathlib import Path

from tqdm import tqdm

from autovla_core.evaluation import program

ROOT = Path(__file__).resolve().parents[1]
FILM_FPS = 10


def main() -> int:
    """Return the exit code: 0 also for a route that was driven badly, 1 when nothing could be driven."""
    options = _options()
    return program.run("drive_demo", lambda: _demo(options))


def _demo(options: argparse.Namespace) -> int:
    from autovla_core.evaluation.agent_file import load_agent_class
    from autovla_core.evaluation.episode import EpisodeConfig
    from autovla_core.evaluation.evaluator import Job, Run, drive, fingerprint, simulator
    from autovla_core.evaluation.flight_recorder import DriveRecorder, FlightRecorder
    from autovla_core.evaluation.provenance import Provenance
    from autovla_core.evaluation.results import ResultsFile
    from autovla_core.evaluation.route_file import read_routes
    from autovla_core.evaluation.showing import Showing
    from autovla_core.sensing import rig as rigs
    from autovla_core.view import hud
    from autovla_core.view.video import VideoWriter

    route = read_routes(options.routes)[0]
    run = Run(options.agent, str(options.agent_config), EpisodeConfig(traffic=options.traffic), port=options.server)
    agent_class = load_agent_class(run.agent)
    _prepare(options.out)
    job = Job(route, 0, options.seed)
    results = ResultsFile(
        options.out / "results.json", [job.route_id], fingerprint(run, options.routes, [options.seed])
    )
    recorder = DriveRecorder(options.out, "log", rigs.rig("front"))
    began = time.monotonic()
    print(f"starting the simulator for {route.town} ...")
    with contextlib.ExitStack() as stack:
        there = stack.enter_context(simulator(run.host, run.port, own_port=options.port))
        subscribers = [recorder, _progress_bar()]
        if not options.no_video:
            film = stack.enter_context(VideoWriter(options.out / "drive.mp4", hud.SIZE, FILM_FPS))
            showing = Showing(lambda view: film.write(hud.compose(view, showing.bird)), options.agent.stem)
            subscribers.append(showing)
        facts = Provenance(run.agent, run.agent_config, run.episode)
        subscribers.append(FlightRecorder(recorder, facts, list(subscribers)))
        record = drive(run, agent_class, there, job, subscribers)
    results.add(record)
    _report(options.out, record, time.monotonic() - began, not options.no_video)
    return 0


def _progress_bar():
    from autovla_core.evaluation.watching import Watcher

    class Bar(Watcher):
        """Metres of the route that are done."""

        def begin(self, scenery) -> None:
            self._judge = scenery.judge
            layout = "{desc}{percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} m [{elapsed}]{postfix}"
            self._bar = tqdm(total=round(scenery.track.length), bar_format=layout, desc="driving ")

        def tick(self, facts) -> None:
            if facts.number % 10 == 0:
                self._bar.n = min(self._judge.completion.distance, self._bar.total)
                self._bar.set_postfix_str(f"{facts.moment.time_s:5.1f} s, {3.6 * facts.moment.speed:3.0f} km/h")

        def end(self, record) -> None:
            if record is not None:
                self._bar.n = round(self._bar.total * record.scores.route / 100.0)
            self._bar.close()

    return Bar()


def _prepare(out: Path) -> None:
    """A demo starts anew: what an earlier one left is removed."""
    out.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(out / "log", ignore_errors=True)
    for name in ("results.json", "drive.mp4"):
        (out / name).unlink(missing_ok=True)
    logging.basicConfig(
        filename=out / "drive.log", filemode="w", level=logging.INFO, format="%(levelname)s %(name)s: %(message)s"
    )


def _report(out: Path, record, wall_s: float, filmed: bool) -> None:
    print(
        f"\n{record.status}: {record.scores.route:.1f} % of {record.route_length:.0f} m in {record.duration_game:.1f} s"
    )
    if record.detail:
        print(f"  {record.detail}")
    for infraction in record.infractions:
        if infraction.kind == "min_speed_infractions":  # at every checkpoint, however fast; the results file has them
            continue
        when = "" if infraction.time_s is None else f", {infraction.time_s:.1f} s"
        print(f"  {infraction.message}{when}")
    print(f"driving score {record.scores.composed:.1f} of 100   (wall time {wall_s:.0f} s)")
    where = {"film": out / "drive.mp4", "results": out / "results.json", "log": out / "log", "text": out / "drive.log"}
    for name, path in where.items():
        if filmed or name != "film":
            print(f"  {name:8s} {path}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--routes", type=Path, default=ROOT / "leaderboard_configs/routes/havenbrook_demo.xml")
    parser.add_argument("--agent", type=Path, default=ROOT / "agents/autovla_agent.py")
    parser.add_argument("--agent-config", default=ROOT / "leaderboard_configs/autovla_agent.yaml")
    parser.add_argument("--out", type=Path, default=Path("runs/demo"))
    parser.add_argument("--traffic", type=int, default=10, help="other cars")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--port", type=int, default=0, help="for the simulator that is started; 0 takes a free one")
    parser.add_argument("--server", type=int, default=0, metavar="PORT", help="use a running server instead")
    parser.add_argument("--no-video", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
