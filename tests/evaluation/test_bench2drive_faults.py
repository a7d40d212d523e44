"""Whatever is killed, hangs or lies: in the end every route has one result, equal to that of an undisturbed run.

The evaluator here is a small program in a folder that looks like a clone; launcher, supervisor and tool are the real
ones, and so are the processes and the signals.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autovla_core.errors import RouteError, SetupError
from autovla_core.evaluation.bench2drive.attempt import MARK, marked
from autovla_core.evaluation.bench2drive.clone import NEEDED, open_clone, open_routes
from autovla_core.evaluation.bench2drive.fleet import Driven, Fleet, drive_routes, machine_folders, waiting_of
from autovla_core.evaluation.bench2drive.jobs import Jobs
from autovla_core.evaluation.bench2drive.merge import merge
from autovla_core.evaluation.bench2drive.orders import Run, slots_of
from autovla_core.evaluation.bench2drive.supervisor import HOPELESS, Supervisor
from autovla_core.evaluation.bench2drive.watch import Limits
from autovla_core.evaluation.queue import run_jobs

TOOL = Path(__file__).resolve().parents[2] / "tools" / "run_bench2drive.py"
IDS = [str(i) for i in range(1711, 1717)]
LIMITS = Limits(first_tick_s=60.0, silence_s=4.0, route_s=120.0, ending_s=0.5, server_gone_s=0.5)
BASE_PORT, BASE_MANAGER_PORT = 21400, 26400
PATIENCE_S = 120.0

BASE_CLASS = """
class AutonomousAgent:
    hero_actor = "ego"

    def __init__(self):
        self.ticks = 0

    def get_metric_info(self):
        keys = ("acceleration", "angular_velocity", "forward_vector", "right_vector", "location", "rotation")
        return {key: [float(self.ticks), 0.0, 0.0] for key in keys}

    def __call__(self):
        self.ticks += 1
        print("=== [Agent] -- Wallclock = now -- Ratio = 1x", flush=True)
"""

EVALUATOR = """
# knows --gpu-rank
import argparse, json, os, signal, subprocess, sys, time
import pkg_resources
from distutils.version import LooseVersion
from leaderboard.autoagents.autonomous_agent import AutonomousAgent

parser = argparse.ArgumentParser()
for name in ("port", "traffic-manager-port", "traffic-manager-seed", "routes", "routes-subset", "repetitions", "track",
             "checkpoint", "debug-checkpoint", "agent", "agent-config", "gpu-rank", "timeout"):
    parser.add_argument("--" + name)
args = parser.parse_args()
assert open("leaderboard/data/weather.xml").read()
id = args.routes_subset
script = json.load(open(os.environ["FAKE_SCRIPT"]))
count = os.environ["FAKE_SCRIPT"] + "." + id
attempt = os.path.getsize(count) if os.path.exists(count) else 0
open(count, "a").write("x")
acts = script.get(id, [])
act = acts[attempt] if attempt < len(acts) else "drive"
server = subprocess.Popen(
    [sys.executable, "-c", "import time; time.sleep(600)", "-carla-rpc-port=" + args.port], start_new_session=True)

def record(status, score):
    lists = ("collisions_layout collisions_pedestrian collisions_vehicle red_light stop_infraction outside_route_lanes "
             "min_speed_infractions yield_emergency_vehicle_infractions scenario_timeouts route_dev vehicle_blocked "
             "route_timeout").split()
    return {"index": 0, "route_id": "RouteScenario_%s_rep0" % id, "scenario_name": "x", "weather_id": None,
            "save_name": "RouteScenario_%s_rep0_TownX" % id, "status": status, "num_infractions": 0,
            "infractions": {key: [] for key in lists},
            "scores": {"score_route": score, "score_penalty": 1.0, "score_composed": score},
            "meta": {"route_length": 100.0, "duration_game": 9.0, "duration_system": 0.0}, "town_name": "TownX"}

def write(status, score, cut=None):
    inner = {"global_record": {}, "progress": [1, 1], "records": [record(status, score)]}
    outer = {"entry_status": "Finished", "eligible": True, "sensors": [], "values": [], "labels": []}
    text = json.dumps({"_checkpoint": inner, **outer}, indent=4)
    open(args.checkpoint, "w").write(text[:cut])

if act == "no manager":
    print("traffic_manager init fail, try_time=3", flush=True)
    time.sleep(600)
if act == "silent start":
    time.sleep(600)
if act == "agent kills":
    write("Failed - Agent couldn't be set up", 0.0)
    sys.exit(255)
if act == "bad sensors":
    write("Failed - Agent's sensors were invalid", 0.0)
    sys.exit(255)
agent = AutonomousAgent()
for tick in range(25):
    agent()
    if act in ("slow", "server dies"):
        time.sleep(0.1)
if act == "hang":
    write("Started", 0.0)
    time.sleep(600)
if act == "die":
    os._exit(3)
if act == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if act == "server dies":
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()
    time.sleep(600)
if act == "half":
    write("Completed", 100.0, cut=200)
    os._exit(0)
if act == "simulation crashed":
    write("Failed - Simulation crashed", 3.0)
    sys.exit(255)
if act == "no scenario":
    print("Skipping scenario 'x' due to setup error: none", flush=True)
write("Completed", 40.0 + int(id) % 7)
if act == "linger":
    time.sleep(600)
os.killpg(server.pid, signal.SIGKILL)
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder that looks like a clone, with a program of ours for the evaluator."""
    folder = tmp_path / "clone"
    for name in (*NEEDED, "leaderboard/leaderboard/__init__.py", "leaderboard/leaderboard/autoagents/__init__.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("# nothing\n")
    (folder / NEEDED[0]).write_text(EVALUATOR)
    (folder / "leaderboard/leaderboard/autoagents/autonomous_agent.py").write_text(BASE_CLASS)
    agents = folder / "scenario_runner/srunner/tests/carla_mocks/agents"
    agents.mkdir(parents=True)
    (agents / "__init__.py").write_text("")
    return folder


@pytest.fixture
def routes(tmp_path: Path) -> Path:
    file = tmp_path / "routes.xml"
    inner = (
        '<waypoints><position x="0" y="0" z="0"/><position x="9" y="0" z="0"/></waypoints><scenarios>'
        '<scenario name="x" type="ControlLoss"><trigger_point x="0" y="0" z="0" yaw="0"/></scenario></scenarios>'
    )
    rows = [f'<route id="{id}" town="TownX">{inner}</route>' for id in IDS]
    file.write_text(f"<routes>{''.join(rows)}</routes>")
    return file


class Scene:
    """One run folder, and what its evaluators are told to do."""

    def __init__(self, tmp_path: Path, clone: Path, routes: Path, name: str) -> None:
        self.clone, self.routes, self.out = clone, routes, tmp_path / name
        self.script = tmp_path / f"{name}.script.json"
        self.agent = tmp_path / "agent.py"
        self.agent.write_text("# an agent\n")
        (tmp_path / "carla").mkdir(exist_ok=True)
        self.carla_root = tmp_path / "carla"
        self.said: list[str] = []

    def run(self, acts: dict[str, list[str]], ids=IDS, retries: int = 2, workers: int = 2, again: bool = False) -> Jobs:
        """Drive in this process until nothing waits."""
        self.script.write_text(json.dumps(acts))
        opened = open_clone(self.clone)
        file = open_routes(self.routes)
        run = Run(opened, file, self.agent, "", self.carla_root, self.out, sys.executable, limits=LIMITS)
        supervisor = Supervisor(run, {**os.environ, "FAKE_SCRIPT": str(self.script)}, self.said.append)
        try:
            jobs = Jobs(self.out, ids, retries, again)
            slots = slots_of(workers, ["0"], ["0"], BASE_PORT, BASE_MANAGER_PORT)
            supervisor.drive(jobs, slots, time.monotonic, lambda _: time.sleep(0.02))
        finally:
            supervisor.close()
        assert marked(supervisor.mark) == []
        return jobs

    def records(self) -> dict[str, dict]:
        """What the result files hold, by file name."""
        files = sorted((self.out / "results").iterdir())
        return {file.name: json.loads(file.read_text())["_checkpoint"]["records"] for file in files}

    def mark(self) -> str:
        return json.loads((self.out / "run.json").read_text())["mark"]

    def metrics(self) -> dict[str, dict]:
        files = sorted((self.out / "metrics").glob("*/metric_info.json"))
        return {file.parent.name: json.loads(file.read_text()) for file in files}


@pytest.fixture
def scene(tmp_path: Path, clone: Path, routes: Path):
    return lambda name="run": Scene(tmp_path, clone, routes, name)


@pytest.fixture
def undisturbed(scene) -> Scene:
    calm = scene("calm")
    calm.run({})
    return calm


def test_an_undisturbed_run_has_one_result_and_all_ticks_of_each_route(undisturbed):
    records = undisturbed.records()
    assert list(records) == [f"route_{id}.json" for id in IDS]
    assert [rows[0]["scores"]["score_composed"] for rows in records.values()] == [40.0 + int(id) % 7 for id in IDS]
    ticks = undisturbed.metrics()["RouteScenario_1711_rep0_TownX"]
    assert list(ticks) == [str(i) for i in range(25)]
    assert ticks["7"]["acceleration"] == [7.0, 0.0, 0.0]
    assert list((undisturbed.out / "work").iterdir()) == []


def test_faults_of_every_kind_leave_the_same_results(scene, undisturbed):
    stormy = scene("stormy")
    acts = ["hang", "die", "killed", "server dies", "half", "no manager"]
    jobs = stormy.run({id: [act] for id, act in zip(IDS, acts)})
    assert stormy.records() == undisturbed.records()
    assert stormy.metrics() == undisturbed.metrics()
    assert jobs.given_up == set()
    faults = {e["route"]: e["state"] for e in jobs.journal.events if e["event"] == "fault"}
    assert faults == dict(
        zip(IDS, ["hang", "evaluator died", "evaluator died", "server died", "evaluator died", "traffic manager dead"])
    )


def test_an_evaluator_that_does_not_end_after_its_result_is_ended_and_its_result_counts(scene, undisturbed):
    stuck = scene("stuck")
    jobs = stuck.run({IDS[0]: ["linger"]})
    assert stuck.records() == undisturbed.records()
    done = next(e for e in jobs.journal.events if e["event"] == "done" and e["route"] == IDS[0])
    assert done["attempt"] == 1 and "did not end" in done["note"]


def test_a_route_that_always_fails_is_given_up_after_the_stated_number_and_does_not_block_the_others(scene):
    run = scene()
    jobs = run.run({IDS[1]: ["die"] * 9}, IDS[:3], retries=2)
    assert jobs.given_up == {IDS[1]} and sorted(jobs.done) == [IDS[0], IDS[2]]
    assert sum(e["event"] == "fault" for e in jobs.journal.events) == 3
    assert run.run({IDS[1]: ["die"] * 9}, IDS[:3]).given_up == {IDS[1]}  # a second call does not try again by itself
    assert run.run({}, IDS[:3], again=True).given_up == set()
    logs = {file.name for file in (run.out / "logs").glob(f"route_{IDS[1]}_attempt?.log")}
    assert logs == {f"route_{IDS[1]}_attempt{n}.log" for n in (1, 2, 3, 4)}, "the logs of the faults are kept"
    assert sorted(run.records()) == [f"route_{id}.json" for id in IDS[:3]]


def test_a_crashed_simulation_is_driven_again_and_kept_as_it_is_when_no_attempt_is_left(scene):
    run = scene()
    run.run({IDS[0]: ["simulation crashed"], IDS[1]: ["simulation crashed"] * 2}, IDS[:2], retries=1)
    records = run.records()
    assert records[f"route_{IDS[0]}.json"][0]["status"] == "Completed"
    assert records[f"route_{IDS[1]}.json"][0]["status"] == "Failed - Simulation crashed"


def test_a_route_that_ends_before_its_first_tick_is_merged_as_a_drive_without_comfort(scene):
    run = scene()
    run.run({IDS[0]: ["agent kills"]}, IDS[:2], retries=0)
    assert list(run.metrics()) == [f"RouteScenario_{IDS[1]}_rep0_TownX"]  # nothing was recorded, so no file
    merged = merge(open_routes(run.routes), [run.out], [], None)
    assert merged.report["driving score"].corrected == (40.0 + int(IDS[1]) % 7) / len(IDS)
    smooth = merged.report["driving smoothness"]
    assert smooth.official is None and smooth.note.startswith("1 of 2 records have no metric_info.json")
    empty = run.out / "metrics" / f"RouteScenario_{IDS[0]}_rep0_TownX" / "metric_info.json"
    empty.parent.mkdir()
    empty.write_text("{}\n")  # as an agent of others may leave it
    assert merge(open_routes(run.routes), [run.out], [], None).report == merged.report


def test_sensors_that_are_not_allowed_stop_the_run_at_once(scene):
    run = scene()
    with pytest.raises(SetupError, match="sensors were invalid.*attempt1.log"):
        run.run({id: ["bad sensors"] for id in IDS}, workers=1)
    assert run.records() == {}


def test_nothing_but_faults_stops_the_run_with_the_log_to_read(scene):
    run = scene()
    with pytest.raises(SetupError, match=f"{HOPELESS} attempts in a row failed.*check_setup"):
        run.run({id: ["die"] * 3 for id in IDS})


def test_a_route_that_drove_without_its_scenario_is_remarked(scene):
    jobs = scene().run({IDS[0]: ["no scenario"]}, IDS[:1])
    assert [e["remarks"] for e in jobs.journal.events if e["event"] == "done"] == [["drove without its scenario"]]


def test_a_folder_of_another_run_and_a_folder_in_use_are_refused(scene, tmp_path):
    run = scene()
    run.run({}, IDS[:1])
    run.agent.write_text("# another agent\n")
    with pytest.raises(RouteError, match="another run .differs in agent_sha256"):
        run.run({}, IDS[:2])
    opened, file = open_clone(run.clone), open_routes(run.routes)
    other = Run(opened, file, run.agent, "", run.carla_root, tmp_path / "other", sys.executable)
    first = Supervisor(other, {}, print)
    with pytest.raises(SetupError, match="another process drives"):
        Supervisor(other, {}, print)
    first.close()


def _command(scene: Scene) -> list[str]:
    options = {
        "--clone": scene.clone,
        "--carla-root": scene.carla_root,
        "--routes": scene.routes,
        "--agent": scene.agent,
        "--agent-config": "",
        "--out": scene.out,
        "--workers": 2,
        "--base-port": BASE_PORT + 200,
        "--base-traffic-manager-port": BASE_MANAGER_PORT + 200,
    }
    return [sys.executable, str(TOOL), *(f"{name}={value}" for name, value in options.items())]


def _wait_for(condition) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def test_kill_9_of_the_supervisor_at_any_moment_changes_no_result(scene, undisturbed):
    """Killed with an evaluator driving, with three results, and with an evaluator that hangs: each call goes on."""
    hurt = scene("hurt")
    hurt.script.write_text(json.dumps({id: ["slow"] for id in IDS[:4]} | {IDS[5]: ["hang"]}))
    environment = {**os.environ, "FAKE_SCRIPT": str(hurt.script)}
    results = hurt.out / "results"
    moments = [
        lambda: any((hurt.out / "logs").glob("*.log")) and any(f.stat().st_size for f in (hurt.out / "logs").iterdir()),
        lambda: results.is_dir() and len(list(results.iterdir())) >= 3,
        lambda: "route_1716_attempt" in " ".join(f.name for f in (hurt.out / "logs").iterdir()),
    ]
    for moment in moments:
        process = subprocess.Popen(
            _command(hurt), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _wait_for(moment)
        process.send_signal(signal.SIGKILL)
        process.wait()
        _wait_for(lambda: marked(hurt.mark()) == [])  # no simulator outlives the call
    hurt.script.write_text("{}")
    last = subprocess.run(_command(hurt), env=environment, capture_output=True, text=True, timeout=PATIENCE_S)
    assert last.returncode == 0, last.stderr
    assert hurt.records() == undisturbed.records()
    assert "records      6 for 6 routes" in last.stdout and "missing      0" in last.stdout
    assert marked(hurt.mark()) == []


def test_processes_are_found_by_their_mark_alone():
    mark = f"test-{os.getpid()}"
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env={MARK: f"{mark}/0/"})
    try:
        _wait_for(lambda: marked(mark) == [child.pid])
        assert marked(f"{mark}/0/") == [child.pid] and marked(f"{mark}/1/") == []
    finally:
        child.kill()
        child.wait()
    assert marked(mark) == []


def test_workers_with_a_folder_each_leave_one_result_a_route_whatever_dies(scene, undisturbed, tmp_path):
    """As over ray: what a machine has finished no other drives again, also after a call that was cut short."""
    many = scene("many")
    # The second hang keeps the first worker busy until the other has begun.
    many.script.write_text(json.dumps({IDS[0]: ["hang"], IDS[2]: ["hang", "killed"], IDS[5]: ["die"] * 3}))
    file = open_routes(many.routes)
    carla, python = many.carla_root, sys.executable
    run = Run(open_clone(many.clone), file, many.agent, "", carla, many.out, python, limits=LIMITS)
    environment = {**os.environ, "FAKE_SCRIPT": str(many.script)}
    fleet = Fleet(run, 2, ("0",), ("0",), BASE_PORT + 400, BASE_MANAGER_PORT + 400, environment)
    driven: list[Driven] = []
    run_jobs(drive_routes, fleet, IDS[:2], 1, driven.append)
    assert waiting_of(many.out, IDS, 2, False) == (IDS[2:], set())
    run_jobs(drive_routes, fleet, IDS, 2, driven.append)  # also those that are done: an answer may be lost
    assert sorted(d.route for d in driven) == sorted([*IDS, *IDS[:2]])
    assert [d.route for d in driven if d.given_up] == [IDS[5]]
    assert waiting_of(many.out, IDS, 2, False) == ([], {IDS[5]})
    many.script.write_text("{}")
    waiting, given_up = waiting_of(many.out, IDS, 2, True)
    assert (waiting, given_up) == ([IDS[5]], set())
    run_jobs(drive_routes, fleet, waiting, 1, driven.append)
    folders = machine_folders(many.out)
    found = [json.loads(f.read_text())["_checkpoint"]["records"] for m in folders for f in (m / "results").iterdir()]
    assert len(folders) == 2 and sorted(found, key=str) == sorted(undisturbed.records().values(), key=str)
    merged, calm = merge(file, folders, [], None), merge(file, [undisturbed.out], [], None)
    assert merged.report == calm.report
