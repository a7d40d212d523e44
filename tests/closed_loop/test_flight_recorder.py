"""Drives are recorded with all that a replay needs, replayed to the last bit, and survive their simulator's death."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from autovla_core.errors import LogError, SimulatorError
from autovla_core.evaluation.agent_file import load_agent_class
from autovla_core.evaluation.criteria import CriteriaConfig
from autovla_core.evaluation.episode import EpisodeConfig, EpisodeLost, EpisodeUnfinished
from autovla_core.evaluation.evaluator import Job, Run, drive, drive_jobs, simulator
from autovla_core.evaluation.flight import FLIGHT_FILE, read_flight
from autovla_core.evaluation.flight_recorder import SUPERSEDED, recorders
from autovla_core.evaluation.provenance import Provenance
from autovla_core.evaluation.replanning import moment_of, observation_of
from autovla_core.evaluation.replay import drive_again
from autovla_core.evaluation.results import CRASHED, Record
from autovla_core.evaluation.route_file import Route
from autovla_core.evaluation.watching import Watcher
from autovla_core.logs.plans import PLAN_LINES, read_plans
from autovla_core.logs.reader import RouteLog
from autovla_core.sensing.faults import NO_FAULTS, SensorFaults, chance_of, is_lost

pytestmark = [pytest.mark.xdist_group("flight_recorder"), pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
BASELINE = ROOT / "agents/autovla_baseline_agent.py"
ROUTE = Route("a", "Havenbrook", ((361.75, -296.0, 4.296), (361.75, -336.0, 5.93)))  # 55 m of the demo route
TICKS = 70
SEEING_AGENT = """
from pathlib import Path
import numpy as np
from autovla_leaderboard import AutonomousAgent, Track
from autovla_core.carla_bridge.actuate import vehicle_control
from autovla_core.carla_bridge.observe import Observer
from autovla_core.carla_bridge.route_planner import route_plan
from autovla_core.contracts import Mode, Plan
from autovla_core.driving.driver import Driver
from autovla_core.driving.latency import Latency, LatencyConfig
from autovla_core.errors import ActionDecodeError
from autovla_core.sensing import rig as rigs

def get_entry_point():
    return "SeeingAgent"

class Planner:
    def __init__(self): self.count = 0
    def plan(self, seen):
        self.count += 1
        if self.count == 3:
            raise ActionDecodeError("nine tokens")
        speed = 4.0 + float(seen.clips["front"].images[-1].mean()) / 64.0  # what it sees matters
        ahead = speed * 0.5 * np.arange(1, 11)
        poses = np.stack([ahead, np.zeros(10), np.zeros(10)], 1)
        thought = f"plan {self.count}"
        return Plan(poses, seen.time_s, seen.time_s, tokens=np.arange(10), thought=thought, mode=Mode.SLOW,
                    timings_ms={"model": 12.0}, thinking_tokens=2)
    def reset(self): pass

class SeeingAgent(AutonomousAgent):
    def setup(self, path_to_conf_file, *args, **kwargs):
        self.track = Track.SENSORS
        self.cameras, self.observer = rigs.rig("front"), None
        self.driver = Driver(Planner(), latency=Latency(LatencyConfig(fixed=float(path_to_conf_file or 0))))
    def sensors(self): return rigs.sensors(self.cameras)
    def run_step(self, input_data, timestamp):
        if self.observer is None:
            self.observer = Observer(self.cameras, route_plan(self._global_plan_world_coord))
        m = self.observer.update(input_data, timestamp)
        return vehicle_control(self.driver.step(self.observer.observe, m.time_s, m.speed, m.yaw_rate))
    def destroy(self, *args): pass
"""


@pytest.fixture(scope="module")
def there():
    with simulator(threads=1) as there:
        yield there


@pytest.fixture(scope="module")
def seeing(tmp_path_factory):
    file = tmp_path_factory.mktemp("agents") / "autovla_seeing_agent.py"
    file.write_text(SEEING_AGENT)
    load_agent_class(BASELINE)  # its folder becomes importable, for autovla_leaderboard
    return file


def run_of(agent: Path, config: str = "", faults: SensorFaults = NO_FAULTS) -> Run:
    limits = CriteriaConfig(max_ticks=TICKS)
    return Run(agent, config, EpisodeConfig(traffic=6, criteria=limits, faults=faults), server_threads=1)


def record_drive(there, run: Run, root: Path, name: str = "drive", rig: str = "", seed: int = 5) -> Record:
    watchers = recorders(root, name, Provenance(run.agent, run.agent_config, run.episode), rig)
    return drive(run, load_agent_class(run.agent), there, Job(ROUTE, 0, seed), watchers)


@pytest.fixture(scope="module")
def driven(there, seeing, tmp_path_factory):
    """A recorded drive of an agent that sees, plans late and fails once."""
    root = tmp_path_factory.mktemp("logs")
    return record_drive(there, run_of(seeing, "0.25"), root), root / "drive"


def test_every_plan_is_logged_with_its_thought_its_delay_and_what_was_done(driven):
    record, folder = driven
    found = read_plans(folder / PLAN_LINES)
    assert found.torn == 0 and [plan.tick for plan in found.plans] == [0, 10, 20, 30, 40, 50, 60]
    first, failed = found.plans[0], found.plans[2]
    assert (first.thought, first.mode, first.tokens, first.latency_ms) == ("plan 1", "slow", tuple(range(10)), 12.0)
    assert first.ready_at_s - first.observed_at_s == pytest.approx(0.25) and first.control["brake"] == 1.0
    assert failed.failure == "ActionDecodeError: nine tokens" and failed.poses == () and failed.speed > 0.0
    assert np.shape(found.plans[1].poses) == (10, 3)
    rows = RouteLog(folder).plans  # to train on: what was asked for at these ticks, though it counted only later
    assert list(rows["tick"]) == [0, 10, 30, 40, 50, 60]
    assert np.allclose(rows["poses"][1], found.plans[1].poses, atol=1e-5)


def test_the_record_says_how_the_planner_thought_and_when_faults_appeared(driven):
    record, _ = driven
    assert record.status == "Failed - TickRuntime"
    assert record.planner["plans"] == 6 and record.planner["failures"] == 1 and record.planner["slow_share"] == 1.0
    assert record.planner["latency_s_mean"] == pytest.approx(0.25)
    row = record.to_json(0)
    assert row["planner"]["thinking_tokens_mean"] == 2.0
    assert all(len(times) == len(row["infractions"][kind]) for kind, times in row["infraction_times_s"].items())


def test_a_log_says_on_what_it_was_driven(driven):
    _, folder = driven
    flight = read_flight(folder)
    assert flight.route == ROUTE and flight.seed == 5 and flight.episode.traffic == 6
    assert {spec["id"] for spec in flight.agent_sensors} == {"front", "GPS", "IMU", "SPEED"}
    assert flight.facts["simulator"] == flight.facts["carla"] == "0.9.16" and len(flight.facts["code"]) == 64
    log = RouteLog(folder)
    assert log.cameras == ("front",) and len(log.image_ticks["front"]) == len(range(0, len(log), 5))


def test_a_replay_is_equal_to_the_last_bit_pictures_included(there, driven, tmp_path):
    replay = drive_again(there.session, driven[1], tmp_path, {"code": "another"})
    assert replay.difference is None, str(replay.difference)
    assert replay.ticks == TICKS - 1 and replay.images == 14
    assert list(replay.changed) == ["code"]


def replay_log(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "tools/replay_log.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


def test_the_tool_drives_a_log_again_on_a_simulator_of_its_own(driven):
    done = replay_log("drive", driven[1])
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"equal to the last bit: {TICKS - 1} ticks, 14 images, and how it ended" in done.stdout


def test_the_tool_lets_a_model_plan_what_was_seen(driven, tmp_path):
    out = tmp_path / "new" / "plans.jsonl"
    done = replay_log("replan", driven[1], "--model", ROOT / "models/autovla-tiny", "--ticks", "40,55", "--out", out)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("   2.05 s  ") and " apart" in lines[0] and "no plan in the log" in lines[1]
    assert lines[2] == "0 of 2 plans have the tokens of the log"
    found = read_plans(out)
    assert [plan.tick for plan in found.plans] == [40, 55] and len(found.plans[0].tokens) == 10
    assert found.plans[0].control == read_plans(driven[1] / PLAN_LINES).plans[4].control
    assert [file.name for file in out.parent.iterdir()] == ["plans.jsonl"]


def test_a_replay_says_at_which_tick_it_differs(there, driven, tmp_path):
    _, folder = driven
    copy = tmp_path / "log"
    copy.mkdir()
    for file in folder.rglob("*"):
        if file.is_file():
            (copy / file.relative_to(folder)).parent.mkdir(exist_ok=True)
            (copy / file.relative_to(folder)).write_bytes(file.read_bytes())
    with np.load(folder / "ticks.npz") as table:
        columns = {name: table[name].copy() for name in table.files}
    columns["brake"][52] = 0.7  # acted upon in the tick after it
    np.savez(copy / "ticks.npz", **columns)
    (tmp_path / "scratch").mkdir()
    replay = drive_again(there.session, copy, tmp_path / "scratch", {})
    assert replay.difference is not None and replay.difference.tick == 53


def test_a_drive_with_faulty_sensors_is_replayed_too_and_its_log_holds_what_the_agent_saw(there, seeing, tmp_path):
    faults = SensorFaults(lost=0.5, noise=8.0, gnss_drift_m=2.0)
    record_drive(there, run_of(seeing, faults=faults), tmp_path)
    log = RouteLog(tmp_path / "drive")
    assert 2 < len(log.image_ticks["front"]) < 12
    lost = [is_lost(faults, chance_of("a", 5), "front", tick) for tick in range(0, len(log), 5)]
    assert list(log.image_ticks["front"]) == [tick for tick, gone in zip(range(0, len(log), 5), lost) if not gone]
    (tmp_path / "scratch").mkdir()
    replay = drive_again(there.session, tmp_path / "drive", tmp_path / "scratch", {})
    assert replay.difference is None, str(replay.difference)


def test_an_agent_without_cameras_can_be_filmed_by_the_log_and_replayed(there, tmp_path):
    record_drive(there, run_of(BASELINE), tmp_path, rig="front")
    assert len(RouteLog(tmp_path / "drive").image_ticks["front"]) == 14
    (tmp_path / "scratch").mkdir()
    assert drive_again(there.session, tmp_path / "drive", tmp_path / "scratch", {}).difference is None


def test_what_was_seen_can_be_planned_again(driven):
    _, folder = driven
    log, plans = RouteLog(folder), read_plans(folder / PLAN_LINES).plans
    seen = observation_of(log, plans[3], ["front"])
    assert seen.clips["front"].images.shape == (4, 140, 280, 3) and seen.speed == plans[3].speed
    assert seen.clips["front"].times_s[-1] == pytest.approx(seen.time_s)
    between = moment_of(log, plans, 33)
    assert between.speed == log.ticks["speed"][33] and observation_of(log, between, ["front"]).time_s > seen.time_s
    with pytest.raises(LogError, match="has no tick 500"):
        moment_of(log, plans, 500)


def test_a_second_drive_of_the_same_name_sets_the_first_log_aside(there, tmp_path):
    for _ in range(3):
        record_drive(there, run_of(BASELINE), tmp_path)
    assert sorted(f.name for f in (tmp_path / SUPERSEDED).iterdir()) == ["drive.0", "drive.1"]
    assert (tmp_path / SUPERSEDED / "drive.0" / FLIGHT_FILE).is_file() and RouteLog(tmp_path / "drive").meta.seed == 5


def test_a_log_without_a_flight_says_so(tmp_path):
    with pytest.raises(LogError, match="only drives that were recorded with --logs can be driven again"):
        read_flight(tmp_path)


class Killer(Watcher):
    """Ends the server in the middle of a drive."""

    def __init__(self, port: int, at: int) -> None:
        self._port, self._at = port, at

    def tick(self, facts) -> None:
        if facts.number == self._at:
            os.kill(_server_on(self._port), signal.SIGKILL)


def test_a_server_that_dies_gives_the_official_record_and_a_log_up_to_the_last_tick(tmp_path):
    run = run_of(BASELINE)
    watchers = recorders(tmp_path, "drive", Provenance(run.agent, "", run.episode))
    with pytest.raises(SimulatorError, match="signal SIGKILL"), simulator(threads=1) as there:
        with pytest.raises(EpisodeLost) as lost:
            killers = [*watchers, Killer(there.port, 40)]
            drive(run, load_agent_class(BASELINE), there, Job(ROUTE, 0, 5), killers)
        raise lost.value
    record = lost.value.record
    assert record.status == CRASHED and 0.0 < record.scores.route < 100.0
    assert record.duration_game == pytest.approx(41 * 0.05) and record.planner["plans"] == 5
    log = RouteLog(tmp_path / "drive")
    assert len(log) == 41 and log.outcome == {"status": "", "reason": "the recording broke off"}
    assert len(read_plans(tmp_path / "drive" / PLAN_LINES).plans) == 5


def test_the_run_goes_on_with_a_fresh_server_and_a_bad_route_costs_itself_alone(tmp_path, monkeypatch):
    """The first route kills its servers, both times; the second has no town; the third is driven."""
    from autovla_core.carla_bridge import session
    from autovla_core.evaluation import evaluator

    monkeypatch.setattr(session, "TICK_TIMEOUT_S", 8.0)  # of 20, so that the test is short
    monkeypatch.setattr(session, "GONE_TIMEOUT_S", 0.2)
    jobs = [
        Job(dataclasses.replace(ROUTE, id=id, town=town), 0, 5)
        for id, town in (("killed", "Havenbrook"), ("nowhere", "Atlantis"), ("driven", "Havenbrook"))
    ]
    ports = []
    plain = evaluator.drive

    def spoilt(run, agent_class, there, job, subscribers=(), disturbance=None):
        ports.append(there.port)
        killer = [Killer(there.port, 10)] if job.route.id == "killed" else []
        return plain(run, agent_class, there, job, [*subscribers, *killer], disturbance)

    monkeypatch.setattr(evaluator, "drive", spoilt)
    records: list[Record] = []
    drive_jobs(dataclasses.replace(run_of(BASELINE), logs=tmp_path), jobs, records.append)
    assert [record.status for record in records] == [CRASHED, CRASHED, "Failed - TickRuntime"]
    assert "ended by itself (signal SIGKILL)" in records[0].detail
    assert "the simulator has no town 'Atlantis'; it has" in records[1].detail
    assert len(set(ports[:3])) == 3 and ports[2] == ports[3]
    logs = ["RouteScenario_driven_rep0", "RouteScenario_killed_rep0"]
    assert sorted(f.name for f in tmp_path.iterdir()) == [*logs, "superseded"]  # what the first attempt left
    assert json.loads((tmp_path / "RouteScenario_driven_rep0" / FLIGHT_FILE).read_text())["seed"] == 5


def test_a_log_that_cannot_be_finished_ends_the_run_and_its_record_stands(monkeypatch):
    from autovla_core.evaluation import evaluator

    record = evaluator._undriven(run_of(BASELINE), Job(ROUTE, 0, 0), "")

    def full(run, agent_class, there, job, subscribers=(), disturbance=None):
        raise EpisodeUnfinished("no space left", record)

    monkeypatch.setattr(evaluator, "drive", full)
    monkeypatch.setattr(evaluator, "simulator", lambda *where: contextlib.nullcontext())
    records: list[Record] = []
    with pytest.raises(EpisodeUnfinished, match="no space left"):
        drive_jobs(run_of(BASELINE), [Job(ROUTE, k, k) for k in range(2)], records.append)
    assert records == [record]


def test_a_machine_on_which_no_simulator_lasts_ends_the_run(monkeypatch):
    from autovla_core.evaluation import evaluator

    def always_lost(run, agent_class, there, job, subscribers=(), disturbance=None):
        record = evaluator._undriven(run, job, "gone")
        raise EpisodeLost("gone", record)

    monkeypatch.setattr(evaluator, "drive", always_lost)
    records: list[Record] = []
    with pytest.raises(SimulatorError, match="3 drives in a row were lost, the last one: gone"):
        drive_jobs(run_of(BASELINE), [Job(ROUTE, k, k) for k in range(9)], records.append)
    assert [record.route_id for record in records] == [Job(ROUTE, k, k).route_id for k in range(2)]


def test_an_agent_that_falls_silent_once_is_driven_again_on_the_same_simulator(monkeypatch):
    from autovla_core.evaluation import evaluator

    well = dataclasses.replace(evaluator._undriven(run_of(BASELINE), Job(ROUTE, 0, 0), ""), status="Perfect")
    silent = dataclasses.replace(well, status="Failed - Agent crashed", detail="AgentSilent: no answer within 600 s")
    told, opened = iter([silent, well, silent, silent]), []
    monkeypatch.setattr(evaluator, "drive", lambda *_, **__: next(told))
    monkeypatch.setattr(evaluator, "simulator", lambda *where: opened.append(1) or contextlib.nullcontext())
    records: list[Record] = []
    drive_jobs(run_of(BASELINE), [Job(ROUTE, k, k) for k in range(2)], records.append)
    assert records == [well, silent] and len(opened) == 1


def _server_on(port: int) -> int:
    for pid in (int(p) for p in os.listdir("/proc") if p.isdigit()):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"autovla_core.minicarla" in words and str(port).encode() in words:
            return pid
    raise AssertionError(f"no server on port {port}")


SILENT_AGENT = """
import time

def get_entry_point():
    return "SilentAgent"

class SilentAgent:
    def __init__(self, host, port, debug): self.ticks = 0
    def set_global_plan(self, gps, world): pass
    def setup(self, config): pass
    def sensors(self): return []
    def run_step(self, input_data, timestamp):
        import carla
        self.ticks += 1
        while self.ticks == 5:
            time.monotonic()
        return carla.VehicleControl(brake=1.0)
    def destroy(self): pass
"""


def test_an_agent_that_never_answers_ends_its_route_as_crashed_and_the_run_goes_on(there, tmp_path):
    (tmp_path / "autovla_silent_agent.py").write_text(SILENT_AGENT)
    silent = load_agent_class(tmp_path / "autovla_silent_agent.py")
    run = Run(tmp_path, episode=EpisodeConfig(agent_timeout_s=1.0))
    record = drive(run, silent, there, Job(ROUTE, 0, 0))
    assert (record.status, record.detail) == ("Failed - Agent crashed", "AgentSilent: no answer within 1 s")
    assert record.duration_game == pytest.approx(4 * 0.05)
    after = drive(run_of(BASELINE), load_agent_class(BASELINE), there, Job(ROUTE, 0, 0))
    assert after.status == "Failed - TickRuntime"
