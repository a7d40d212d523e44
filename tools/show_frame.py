"""Draw one planning time of a route log with all its labels, as a PNG.

    python tools/show_frame.py data/havenbrook/021_00003 --tick 400 --out frame.png

Boxes: green where the cameras see the actor, yellow whoever binds the expert, grey hidden. Needs no more than the log;
boxes, street and scores need ``--truth`` logs, thoughts ``reasons.jsonl``.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autovla_core.contracts import RULES, Command
from autovla_core.errors import AutoVLAError, LogError
from autovla_core.logs import reasons, truth
from autovla_core.logs.reader import RouteLog
from autovla_core.prompt.reasoning_action import action_of
from autovla_core.prompt.reasoning_claims import cause_of, thought, why_complex
from autovla_core.prompt.reasoning_facts import Facts, from_line
from autovla_core.scoring import pdm_logs
from autovla_core.scoring.pdm import score
from autovla_core.view.log_frame import LogFrame, actors_at, draw, lamps_at, lanes_of, save

SUB_SCORES = {
    "collision": "no_at_fault_collisions",
    "area": "drivable_area_compliance",
    "TTC": "time_to_collision_within_bound",
    "progress": "ego_progress",
    "comfort": "comfort",
}


@dataclass(frozen=True)
class Truth:
    """The two files of truth and the frame of one plan in them."""

    tracks: truth.RouteTracks
    route_map: truth.RouteMap
    frame: int  # nearest one
    exact: bool  # the plan was made at that frame


def main() -> int:
    """Return the exit code."""
    options = _options()
    try:
        log = RouteLog(options.log)
        row = _row(log, options.tick)
        save(draw(_frame(log, row)), options.out)
    except AutoVLAError as error:
        print(f"show_frame: {error}", file=sys.stderr)
        return 1
    print(f"plan {row} of {len(log.plans['tick'])}, tick {int(log.plans['tick'][row])}: {options.out}")
    return 0


def _row(log: RouteLog, tick: int) -> int:
    """The plan made last at or before a tick; the first one for an earlier tick."""
    ticks = log.plans["tick"]
    if not len(ticks):
        raise LogError(f"{log.folder}: the log holds no plans")
    return max(int(np.searchsorted(ticks, tick, side="right")) - 1, 0)


def _frame(log: RouteLog, row: int) -> LogFrame:
    tick = int(log.plans["tick"][row])
    known, facts = _truth(log, row), _facts(log, row)
    lines = [_state(log, row), *(_words(log, row, facts) if facts else ["# no reasons in this log"])]
    lines.insert(1, _scores(log, row, known) if known else "# no truth in this log")
    images = {camera: log.image(camera, log.clip_ticks(camera, tick)[-1]) for camera in log.cameras}
    seen = frozenset(o.id for o in facts.seen) if facts else frozenset()
    plan = log.plans["poses"][row].astype(float)
    frame = LogFrame(images, log.meta.rig, log.poses[tick], plan, lines, seen=seen, bound=facts.rule_id if facts else 0)
    if known is None:
        return frame
    around = {
        "actors": actors_at(known.tracks, known.frame),
        "lanes": lanes_of(known.route_map),
        "lamps": lamps_at(known.route_map, known.tracks, known.frame),
    }
    return LogFrame(**(vars(frame) | around | {"route": known.route_map.route[:, :2]}))


def _truth(log: RouteLog, row: int) -> Truth | None:
    if not (log.folder / truth.TRACKS_FILE).exists():
        return None
    tracks, route_map = truth.read_tracks(log.folder), truth.read_map(log.folder)
    gap = np.abs(tracks.time_s - log.plans["time_s"][row])
    return Truth(tracks, route_map, int(gap.argmin()), bool(gap.min() < truth.FRAME_S / 10))


def _facts(log: RouteLog, row: int) -> Facts | None:
    return from_line(reasons.lines_of_plans(log)[row]) if reasons.has_lines(log.folder) else None


def _state(log: RouteLog, row: int) -> str:
    plans, meta = log.plans, log.meta
    ahead = ", ".join(
        f"{n[:-2]} {plans[n][row]:.0f} m" for n in ("red_m", "green_m", "sign_m", "lead_m") if plans[n][row] < 1e3
    )
    command = Command(int(plans["command"][row])).name.lower()
    return (
        f"{meta.town} {meta.route_id}  tick {int(plans['tick'][row])}  {plans['time_s'][row]:.2f} s  "
        f"{plans['speed'][row]:.1f} m/s  {plans['acceleration'][row]:+.1f} m/s2  {command}  "
        f"rule {RULES[plans['rule'][row]] or '-'}  {ahead}"
    )


def _scores(log: RouteLog, row: int, known: Truth) -> str:
    """The PDM score of the logged plan and of standing still."""
    if not known.exact or known.frame not in pdm_logs.scorable_frames(known.tracks):
        return "PDM score: this plan lies between two frames, or less than 5 s before the end"
    scene = pdm_logs.scene_at(known.route_map, known.tracks, known.frame)
    plans = np.stack([log.plans["poses"][row].astype(float), np.zeros((10, 3))])
    found = score(scene, pdm_logs.axle_plans(plans, scene.vehicle))
    terms = ", ".join(f"{name} {getattr(found, term)[0]:.2f}" for name, term in SUB_SCORES.items())
    return f"PDM score {found.score[0]:.2f} ({terms}); standing still {found.score[1]:.2f}"


def _words(log: RouteLog, row: int, facts: Facts) -> list[str]:
    action = action_of(log.plans["poses"][row])
    why = ", ".join(why_complex(facts, action)) or "simple"
    hidden = "" if cause_of(facts) is not None else "  (cause hidden from the cameras: no thought)"
    light = f"light {facts.light.state} {facts.light.ahead_m:.0f} m {facts.light.pixels} px  " if facts.light else ""
    sign = f"stop sign {facts.sign.ahead_m:.0f} m {facts.sign.pixels} px  " if facts.sign else ""
    others = "; ".join(
        f"{o.id} {o.kind} {o.distance_m:.0f} m {o.side} {o.motion} {o.pixels} px" for o in facts.objects if o.pixels
    )
    said = thought(facts, action, reasons.thought_seed(log.meta, facts.tick))
    return [
        f"expert: {facts.rule} {facts.rule_id or ''}  action {action.lateral}, {action.longitudinal}  {light}{sign}",
        f"seen: {others or 'nobody'}",
        f"# {why}{hidden}",
        *(line for line in (said or "").split("\n") if line.strip()),
    ]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", type=Path, help="folder of one route log")
    parser.add_argument("--tick", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("frame.png"))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
