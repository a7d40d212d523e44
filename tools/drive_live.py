"""Drive routes in a window: watch, pause, step, take over, change the weather, put a car in the way, talk to the model.

    python tools/drive_live.py [--agent agents/autovla_expert_agent.py --agent-config ""]

Keys: h lists them all, q quits. Without a screen SDL_VIDEODRIVER=dummy and --video FILE give the same as a film.
docs/live.md explains what is shown.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
import time
from pathlib import Path

from autovla_core.evaluation import program

ROOT = Path(__file__).resolve().parents[1]
FILM_FPS = 10
CARS = 10


def main() -> int:
    """Return the exit code."""
    options = _options()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    return program.run("drive_live", lambda: _live(options))


def _live(options: argparse.Namespace) -> int:
    from autovla_core.evaluation.agent_file import load_agent_class
    from autovla_core.evaluation.episode import EpisodeConfig
    from autovla_core.evaluation.evaluator import Job, Run, drive, simulator
    from autovla_core.evaluation.live import Live
    from autovla_core.evaluation.route_file import read_routes
    from autovla_core.evaluation.stepping_in import Person
    from autovla_core.view import hud
    from autovla_core.view.video import VideoWriter
    from autovla_core.view.window import Window

    routes, number, person = read_routes(options.routes), options.number, Person()
    episode = EpisodeConfig(traffic=_traffic(options), traffic_manager_port=options.traffic_manager_port)
    run = Run(options.agent, str(options.agent_config), episode, options.host, options.server)
    agent_class = load_agent_class(run.agent)
    with contextlib.ExitStack() as stack:
        window = stack.enter_context(contextlib.closing(Window(hud.SIZE)))
        film = stack.enter_context(VideoWriter(options.video, hud.SIZE, FILM_FPS)).write if options.video else _no_film
        there = stack.enter_context(simulator(run.host, run.port, own_port=options.port))
        while True:
            route = routes[number % len(routes)]
            title = f"{options.agent.stem}   {route.id}"
            live = Live(window, title, time.monotonic, time.sleep, options.ticks, person, options.pictures, film)
            record = drive(run, agent_class, there, Job(route, 0, options.seed), [live], live)
            print(f"{record.status}: driving score {record.scores.composed:.1f} {record.detail}".rstrip())
            print(live.pace.said())
            number += 1
            if not person.next_route:
                return 0


def _traffic(options: argparse.Namespace) -> int:
    """Other cars: CARLA's own server drives none by itself, so that they would stand in the way."""
    if options.traffic is not None:
        return options.traffic
    if options.server and not options.traffic_manager_port:
        print(f"no other cars: give --traffic-manager-port, or --traffic {CARS} if that server is a minicarla")
        return 0
    return CARS


def _no_film(picture: object) -> None:
    """Nobody films."""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--routes", type=Path, default=ROOT / "leaderboard_configs/routes/havenbrook_demo.xml")
    parser.add_argument("--number", type=int, default=0, help="which route of the file comes first")
    parser.add_argument("--agent", type=Path, default=ROOT / "agents/autovla_agent.py")
    parser.add_argument("--agent-config", default=ROOT / "leaderboard_configs/autovla_agent.yaml")
    parser.add_argument(
        "--traffic",
        type=int,
        help=f"other cars (default: {CARS}; with --server and no Traffic Manager's port 0, since only minicarla drives "
        "them by itself)",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ticks", type=int, default=0, help="stop after so many (default: at the end of the route)")
    parser.add_argument("--pictures", type=Path, default=Path("runs/live"), help="folder of the pictures saved with p")
    parser.add_argument("--video", type=Path, help="write what the window shows to this mp4 as well")
    parser.add_argument("--port", type=int, default=0, help="for the simulator that is started; 0 takes a free one")
    program.add_server_options(parser, "--server")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
