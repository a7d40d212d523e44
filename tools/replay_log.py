"""Drive a log again bit for bit, let another model plan what was seen, or save the log of a killed drive.

    python tools/replay_log.py drive   runs/logs/RouteScenario_3_rep0
    python tools/replay_log.py replan  runs/logs/RouteScenario_3_rep0 --model models/autovla-tiny --ticks 40,90
    python tools/replay_log.py salvage runs/logs/.RouteScenario_3_rep0.partial runs/saved

Logs are written by ``tools/evaluate_routes.py --logs``. ``drive`` exits with 0 when the second drive is equal to the
last bit, pictures included, and with 2 when it is not; it says where they part.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from pathlib import Path

from tqdm import tqdm

from autovla_core.evaluation import program

DIFFERENT = 2


def main() -> int:
    """Return the exit code."""
    options = _options()
    return program.run("replay_log", lambda: options.do(options), client=False)  # only ``drive`` needs it


def _drive(options: argparse.Namespace) -> int:
    from autovla_core.carla_bridge.wheel import require

    require()
    from autovla_core.evaluation.evaluator import simulator
    from autovla_core.evaluation.flight import read_flight
    from autovla_core.evaluation.provenance import Provenance
    from autovla_core.evaluation.replay import drive_again
    from autovla_core.logs.reader import RouteLog

    log, flight = RouteLog(options.log), read_flight(options.log)
    facts = Provenance(Path(), "", flight.episode).facts()
    with (
        simulator(options.host, options.port) as there,
        tempfile.TemporaryDirectory() as scratch,
        tqdm(total=len(log), unit="tick", desc="driving") as bar,
    ):
        facts["simulator"] = there.session.client.get_server_version()
        replay = drive_again(there.session, options.log, Path(scratch), facts, bar.update)
    for name, (then, now) in replay.changed.items():
        print(f"note: {name} was {then[:16]}, is {now[:16]}")
    if replay.difference is None:
        print(f"equal to the last bit: {replay.ticks} ticks, {replay.images} images, and how it ended")
        return 0
    print(f"different from {replay.difference}")
    return DIFFERENT


def _replan(options: argparse.Namespace) -> int:
    from autovla_core.evaluation.replanning import moment_of, replan
    from autovla_core.logs.plans import PLAN_LINES, read_plans
    from autovla_core.logs.reader import RouteLog
    from autovla_core.model.thinking import ThinkingConfig
    from autovla_core.model.vla import AutoVLA

    log, lines = RouteLog(options.log), read_plans(options.log / PLAN_LINES)
    if lines.torn:
        print("note: the last plan was cut off by a crash and is left out", file=sys.stderr)
    ticks = [int(tick) for tick in options.ticks.split(",")] if options.ticks else []
    plans = [moment_of(log, lines.plans, tick) for tick in ticks] or [p for p in lines.plans if not p.failure]
    planner = AutoVLA.from_pretrained(
        options.model, device=options.device, threads=1, thinking=ThinkingConfig(mode=options.thinking)
    )
    cameras = [camera.id for camera in planner.cameras]
    found = list(tqdm(replan(log, plans, planner, cameras), total=len(plans), unit="plan", desc="planning"))
    for each in found:
        print(_line(each))
    equal = sum(each.same_tokens for each in found)
    print(f"{equal} of {len(found)} plans have the tokens of the log")
    if options.out:
        _write(options.out, found)
        print(f"plans: {options.out}")
    return 0


def _line(each) -> str:
    then, now = each.then, each.now
    if now is None:
        return f"{then.observed_at_s:7.2f} s  {each.failure}"
    said = f"  {now.mode.value}: {now.thought}" if now.thought else ""
    same = "same tokens" if each.same_tokens else f"{each.shift_m:5.2f} m apart" if then.poses else "no plan in the log"
    return f"{then.observed_at_s:7.2f} s  {same}  {now.poses[-1, 0]:5.1f} m ahead, {now.poses[-1, 1]:5.1f} m left{said}"


def _write(file: Path, found: list) -> None:
    """The new plans in the form of ``plans.jsonl``, whole or not at all."""
    from autovla_core.contracts import Control
    from autovla_core.files import replacing
    from autovla_core.logs.plans import PlanWriter, logged

    with replacing(file) as partial, contextlib.closing(PlanWriter(partial)) as writer:
        for each in found:
            if each.now is not None:
                control = {name: each.then.control.get(name, 0.0) for name in ("steer", "throttle", "brake")}
                writer.write(logged(each.then.tick, None, each.now, Control(**control)))


def _salvage(options: argparse.Namespace) -> int:
    from autovla_core.logs.salvage import salvage

    done = salvage(options.partial, options.target)
    print(json.dumps({"log": str(done.folder), "ticks": done.ticks, "torn": done.torn}))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    drive = commands.add_parser("drive", help="drive a log again and compare")
    drive.add_argument("log", type=Path)
    drive.add_argument("--host", default="127.0.0.1")
    drive.add_argument("--port", type=int, default=0, help="of a running server; 0 starts minicarla")
    drive.set_defaults(do=_drive)
    again = commands.add_parser("replan", help="plan again what was seen")
    again.add_argument("log", type=Path)
    again.add_argument("--model", type=Path, required=True, help="model folder")
    again.add_argument("--ticks", default="", help="with commas between; default: every plan of the log")
    again.add_argument("--thinking", default="fast", help="fast, slow or adaptive")
    again.add_argument("--device", default="cpu")
    again.add_argument("--out", type=Path, help="write the new plans as JSON lines")
    again.set_defaults(do=_replan)
    save = commands.add_parser("salvage", help="make a log of what a killed drive left behind")
    save.add_argument("partial", type=Path, help="folder .<name>.partial")
    save.add_argument("target", type=Path)
    save.set_defaults(do=_salvage)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
