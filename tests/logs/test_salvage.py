"""A program that is killed while it records loses at most what it was writing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from autovla_core.contracts import Outlook
from autovla_core.errors import LogError
from autovla_core.logs.plans import PLAN_LINES, read_plans
from autovla_core.logs.reader import RouteLog
from autovla_core.logs.salvage import is_broken_off, salvage
from autovla_core.logs.schema import RouteMeta, Tick
from autovla_core.logs.writer import RouteWriter, partial_folder

META = RouteMeta("Havenbrook", "7", 3, {"fog_density": 0.5}, {"front": {"id": "front"}})
POSES = np.arange(30, dtype=np.float32).reshape(10, 3)
RECORDER = """
import sys
from pathlib import Path
import numpy as np
from autovla_core.contracts import Control, Plan
from autovla_core.logs.plans import PLAN_LINES, PlanWriter, logged
from autovla_core.logs.schema import RouteMeta, Tick
from autovla_core.logs.writer import RouteWriter
writer = RouteWriter(Path(sys.argv[1]), RouteMeta("Havenbrook", "7", 3, rig={"front": {"id": "front"}}))
lines = PlanWriter(writer.working_folder / PLAN_LINES)
image = np.random.default_rng(0).integers(0, 256, (140, 280, 3)).astype(np.uint8)
number = 0
while True:
    writer.tick(Tick(0.05 * number, float(number), 0.0, 0.0, 0.0, 10.0, 0.0, 0.0))
    writer.image("front", number, image)
    lines.write(logged(number, None, Plan(np.zeros((10, 3)), 0.05 * number, 0.05 * number), Control()))
    number += 1
    if number == 20:
        print("driving", flush=True)
"""


def tick(number: int) -> Tick:
    return Tick(0.05 * number, 0.1 * number, -0.3, 0.01, 0.2, 7.0, 0.5, 0.1, 0.25, 0.5, 0.0, 4, 6.5, number % 2 == 0)


def write(folder: Path, ticks: int = 8) -> RouteWriter:
    """A log that nobody closes."""
    writer = RouteWriter(folder, META)
    for number in range(ticks):
        writer.tick(tick(number))
        if number % 4 == 0:
            writer.image("front", number, np.full((20, 30, 3), 10 * number, np.uint8))
            writer.plan(number, POSES + number, Outlook("light", red_m=12.5))
    return writer


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def test_a_salvaged_log_is_the_log_that_a_close_would_have_written(tmp_path):
    write(tmp_path / "closed").close({"status": "", "reason": "the recording broke off"})
    write(tmp_path / "killed")
    done = salvage(partial_folder(tmp_path / "killed"), tmp_path / "saved")
    assert (done.ticks, done.torn) == (8, 0)
    assert contents(tmp_path / "saved") == contents(tmp_path / "closed")
    assert sorted(contents(tmp_path / "closed")) == [
        "camera_front/000000.jpg",
        "camera_front/000004.jpg",
        "plans.npz",
        "route.json",
        "ticks.npz",
    ]


def test_half_a_row_and_half_an_image_are_left_out_and_counted(tmp_path):
    write(tmp_path / "killed")
    partial = partial_folder(tmp_path / "killed")
    for name, cut in (("ticks.part", 5), ("camera_front/000004.jpg", 200)):
        (partial / name).write_bytes((partial / name).read_bytes()[:-cut])
    done = salvage(partial, tmp_path / "saved")
    log = RouteLog(tmp_path / "saved")
    assert (done.ticks, done.torn, len(log)) == (7, 2, 7)
    assert list(log.image_ticks["front"]) == [0] and list(log.plans["tick"]) == [0, 4]
    assert log.ticks["x"][6] == pytest.approx(0.6) and log.ticks["perturbed"][6]


def test_a_log_that_was_whole_but_not_renamed_is_only_renamed(tmp_path):
    write(tmp_path / "log").close({"status": "Perfect"})
    (tmp_path / "log").rename(partial_folder(tmp_path / "log"))
    assert is_broken_off(partial_folder(tmp_path / "log"))
    assert salvage(partial_folder(tmp_path / "log"), tmp_path / "log").ticks == 8
    assert RouteLog(tmp_path / "log").outcome == {"status": "Perfect"}


def test_the_tool_salvages_and_says_what(tmp_path):
    write(tmp_path / "killed")
    tool = Path(__file__).resolve().parents[2] / "tools/replay_log.py"
    command = [sys.executable, str(tool), "salvage", str(partial_folder(tmp_path / "killed")), str(tmp_path / "saved")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"log": str(tmp_path / "saved"), "ticks": 8, "torn": 0}
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 1 and again.stderr.startswith("replay_log: ") and "exists already" in again.stderr


def test_a_folder_without_a_journal_and_a_taken_target_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(LogError, match="holds no journal of a drive"):
        salvage(tmp_path / "empty", tmp_path / "saved")
    write(tmp_path / "killed")
    with pytest.raises(LogError, match="exists already"):
        salvage(partial_folder(tmp_path / "killed"), tmp_path / "empty")


def test_after_kill_nine_everything_up_to_the_last_row_can_be_read(tmp_path):
    recorder = subprocess.Popen(
        [sys.executable, "-c", RECORDER, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True
    )
    assert recorder.stdout.readline() == "driving\n"
    recorder.send_signal(signal.SIGKILL)
    recorder.wait()
    recorder.stdout.close()
    done = salvage(partial_folder(tmp_path / "log"), tmp_path / "saved")
    log, lines = RouteLog(tmp_path / "saved"), read_plans(tmp_path / "saved" / PLAN_LINES)
    assert done.ticks == len(log) >= 20 and list(log.ticks["x"]) == list(range(len(log)))
    assert len(log) - 1 <= len(log.image_ticks["front"]) + 1 <= len(log) + 1
    assert len(log) - 1 <= len(lines.plans) + lines.torn <= len(log)
    log.image("front", int(log.image_ticks["front"][-1]))  # whole
