"""Drive a route in a window: watch, pause, step, or take over.

    python tools/drive_live.py [--agent agents/autovla_expert_agent.py --agent-config ""]

Keys: space pause, n one step while paused, v switch the view, m take over with the arrow keys, q quit.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from pathlib import Path

from autovla_core.carla_bridge.wheel import require
from autovla_core.errors import AutoVLAError
from autovla_core.evaluation.server_process import stop_on_terminate

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Return the exit code."""
    options = _options()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    stop_on_terminate()
    try:
        require()
        return _live(options)
    except AutoVLAError as error:
        print(f"drive_live: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _live(options: argparse.Namespace) -> int:
    from autovla_core.evaluation.agent_file import load_agent_class
    from autovla_core.evaluation.episode import EpisodeConfig
    from autovla_core.evaluation.evaluator import Job, Run, drive, simulator
    from autovla_core.evaluation.live import Live
    from autovla_core.evaluation.route_file import read_routes
    from autovla_core.view import hud
    from autovla_core.view.window import Window

    route = read_routes(options.routes)[options.number]
    run = Run(options.agent, str(options.agent_config), EpisodeConfig(traffic=options.traffic), port=options.server)
    agent_class = load_agent_class(run.agent)
    window = Window(hud.SIZE)
    try:
        with simulator(run.host, run.port, own_port=options.port) as there:
            live = Live(window, options.agent.stem, time.monotonic, time.sleep, options.ticks)
            record = drive(run, agent_class, there, Job(route, 0, options.seed), [live], live)
    finally:
        window.close()
    print(f"{record.status}: driving score {record.scores.composed:.1f} {record.detail}".rstrip())
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--routes", type=Path, default=ROOT / "leaderboard_configs/routes/havenbrook_demo.xml")
    parser.add_argument("--number", type=int, default=0, help="which route of the file")
    parser.add_argument("--agent", type=Path, default=ROOT / "agents/autovla_agent.py")
    parser.add_argument("--agent-config", default=ROOT / "leaderboard_configs/autovla_agent.yaml")
    parser.add_argument("--traffic", type=int, default=10, help="other cars")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ticks", type=int, default=0, help="stop after so many (default: at the end of the route)")
    parser.add_argument("--port", type=int, default=0, help="for the simulator that is started; 0 takes a free one")
    parser.add_argument("--server", type=int, default=0, metavar="PORT", help="use a running server instead")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
