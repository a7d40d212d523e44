"""Whole episodes against the real client and server: driven, judged, recorded, repeated."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from autovla_core.carla_bridge.route_planner import LaneGraph
from autovla_core.errors import ConfigError, SetupError, SimulatorError
from autovla_core.evaluation.agent_file import load_agent_class
from autovla_core.evaluation.collection import Collection, collect, simulated_seconds
from autovla_core.evaluation.criteria import CriteriaConfig
from autovla_core.evaluation.episode import EpisodeConfig, EpisodeLost, EpisodeUnfinished
from autovla_core.evaluation.evaluator import Job, Run, drive, evaluate, fingerprint, jobs_of, simulator
from autovla_core.evaluation.identity import own_simulator
from autovla_core.evaluation.results import ResultsFile
from autovla_core.evaluation.route_file import read_routes, write_routes
from autovla_core.evaluation.route_generator import RouteStyle, lane_pair, random_route
from autovla_core.evaluation.sensor_rules import ANY
from autovla_core.evaluation.server_process import MinicarlaServer, is_free
from autovla_core.evaluation.watching import TickFacts, Watcher
from autovla_core.evaluation.weathers import preset
from autovla_core.logs.reader import RouteLog
from autovla_core.sensing.faults import SensorFaults

pytestmark = pytest.mark.xdist_group("judged_episodes")

ROOT = Path(__file__).resolve().parents[2]
BASELINE, EXPERT = ROOT / "agents/autovla_baseline_agent.py", ROOT / "agents/autovla_expert_agent.py"
SHORT = RouteStyle(60.0, 110.0, turns=1)
BAD_AGENT = """
SENSORS = {
    "": [],
    "sonar": [{"type": "sensor.other.gnss", "id": "GPS"}, {"type": "sensor.other.sonar", "id": "sonar"}],
    "nameless": [{"type": "sensor.other.gnss"}],
}

def get_entry_point():
    return "BadAgent"

class BadAgent:
    def __init__(self, host, port, debug): self.ticks = 0
    def set_global_plan(self, gps, world): pass
    def setup(self, config):
        if config == "broken":
            raise ValueError("no such weights")
        self.config = config
    def sensors(self): return SENSORS[self.config]
    def run_step(self, input_data, timestamp):
        raise ZeroDivisionError("a tick too far")
    def destroy(self): pass
"""


@pytest.fixture(scope="module")
def there():
    with simulator(threads=1) as there:
        yield there


@pytest.fixture(scope="module")
def graph(there):
    return LaneGraph(there.session.map)


@pytest.fixture(scope="module")
def route(there, graph):
    return random_route(graph, there.session.map, np.random.default_rng(4), "short", preset("ClearNoon"), SHORT)[0]


def files(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def test_the_expert_drives_a_route_without_a_mark_against_it(there, route):
    record = drive(Run(EXPERT), load_agent_class(EXPERT), there, Job(route, 0, 0))
    assert record.status == "Perfect", (record.infractions, record.detail)
    assert record.scores.composed == 100.0 and 60.0 <= record.route_length <= 140.0
    assert 0.1 * record.route_length < record.duration_game < 60.0


def test_the_baseline_arrives_in_traffic_and_is_judged(there, route):
    run = Run(BASELINE, episode=EpisodeConfig(traffic=8))
    record = drive(run, load_agent_class(BASELINE), there, Job(route, 2, 5))
    assert record.scores.route == 100.0, (record.status, record.detail)
    assert record.route_id == "RouteScenario_short_rep2" and record.seed == 5
    speeds = [i.message for i in record.infractions if i.kind == "min_speed_infractions"]
    assert 17 <= len(speeds) <= 22 and speeds[-1] == speeds[-2], "checkpoints as in Bench2Drive, the last one twice"
    assert record.status == "Completed" and record.made_with["simulator"] == own_simulator()


def test_the_weather_changes_along_a_route_whose_file_says_so(there, route):
    class Sky(Watcher):
        def __init__(self) -> None:
            self.clouds: list[float] = []

        def tick(self, facts: TickFacts) -> None:
            self.clouds.append(there.session.world.get_weather().cloudiness)

    sky, night = Sky(), {**route.weather, "cloudiness": 80.0}
    changing = dataclasses.replace(route, weathers=((0.0, {**route.weather, "cloudiness": 0.0}), (100.0, night)))
    record = drive(Run(BASELINE), load_agent_class(BASELINE), there, Job(changing, 0, 0), [sky])
    assert record.scores.route == 100.0 and sky.clouds == sorted(sky.clouds)
    assert sky.clouds[0] < 2.0 and 78.0 <= sky.clouds[-1] <= 80.0
    assert len(set(sky.clouds)) <= 101, "in steps of one percent"


def test_an_agent_that_crashes_ends_its_route_and_not_the_run(there, route, tmp_path):
    (tmp_path / "autovla_bad_agent.py").write_text(BAD_AGENT)
    bad = load_agent_class(tmp_path / "autovla_bad_agent.py")
    crashed = drive(Run(tmp_path), bad, there, Job(route, 0, 0))
    assert crashed.status == "Failed - Agent crashed" and crashed.detail == "ZeroDivisionError: a tick too far"
    broken = drive(Run(tmp_path, "broken"), bad, there, Job(route, 0, 0))
    assert broken.status == "Failed - Agent couldn't be set up" and broken.detail == "ValueError: no such weights"


def test_an_agent_whose_sensors_there_are_not_ends_its_route_and_not_the_run(there, route, tmp_path):
    (tmp_path / "autovla_bad_agent.py").write_text(BAD_AGENT)
    bad = load_agent_class(tmp_path / "autovla_bad_agent.py")
    records = {
        config: drive(Run(tmp_path, config), bad, there, Job(route, 0, 0)) for config in ("sonar", "silent", "nameless")
    }
    assert records["sonar"].status == "Failed - Agent's sensors were invalid"
    assert "sensor 'sonar' (sensor.other.sonar) is of no allowed type" in records["sonar"].detail
    allowed = Run(tmp_path, "sonar", EpisodeConfig(track=ANY))
    refused = drive(allowed, bad, there, Job(route, 0, 0))
    assert refused.status == records["sonar"].status
    assert "cannot mount sensor 'sonar' (sensor.other.sonar)" in refused.detail
    assert records["silent"].status == records["nameless"].status == "Failed - Agent couldn't be set up"
    assert records["silent"].detail == "KeyError: 'silent'" and "has no id" in records["nameless"].detail
    there.session.tick()
    assert [a.type_id for a in there.session.world.get_actors() if a.type_id.startswith(("vehicle", "sensor"))] == []
    run = Run(BASELINE, episode=EpisodeConfig(criteria=CriteriaConfig(max_ticks=20)))
    assert drive(run, load_agent_class(BASELINE), there, Job(route, 0, 0)).status == "Failed - TickRuntime"


def test_a_recorder_that_asks_for_what_there_is_not_is_no_fault_of_the_agent(there, route):
    class Sonar(Watcher):
        def sensors(self) -> list[dict[str, object]]:
            return [{"type": "sensor.other.sonar", "id": "sonar"}]

    with pytest.raises(EpisodeLost, match="cannot mount sensor 'sonar'"):
        drive(Run(BASELINE), load_agent_class(BASELINE), there, Job(route, 0, 0), [Sonar()])


def test_a_fault_of_a_camera_that_the_agent_does_not_have_is_an_error(there, route):
    run = Run(BASELINE, episode=EpisodeConfig(faults=SensorFaults(lost=0.5)))
    with pytest.raises(ConfigError, match=r"found \['front'\], the agent's cameras are \[\]"):
        drive(run, load_agent_class(BASELINE), there, Job(route, 0, 0))


class Ended(Watcher):
    """Notes that it was ended, and may find the disk full."""

    def __init__(self, name: str, order: list[str], full: bool) -> None:
        self._name, self._order, self._full = name, order, full

    def end(self, record) -> None:
        self._order.append(f"{self._name} {record.status}")
        if self._full:
            raise OSError(28, "No space left on device")


def test_one_that_cannot_end_keeps_nobody_from_ending_and_the_record_stands(there, route):
    order: list[str] = []
    run = Run(BASELINE, episode=EpisodeConfig(traffic=3, criteria=CriteriaConfig(max_ticks=20)))
    watchers = [Ended("first", order, True), Ended("second", order, False)]
    with pytest.raises(EpisodeUnfinished, match="rep0 was driven.*No space left on device") as found:
        drive(run, load_agent_class(BASELINE), there, Job(route, 0, 0), watchers)
    assert found.value.record.status == "Failed - TickRuntime"
    assert order == ["first Failed - TickRuntime", "second Failed - TickRuntime"]
    there.session.tick()
    assert [a.type_id for a in there.session.world.get_actors() if a.type_id.startswith(("vehicle", "sensor"))] == []


def test_an_episode_leaves_nothing_in_the_world(there, route):
    run = Run(BASELINE, episode=EpisodeConfig(traffic=3, criteria=CriteriaConfig(max_ticks=20)))
    assert drive(run, load_agent_class(BASELINE), there, Job(route, 0, 0)).status == "Failed - TickRuntime"
    there.session.tick()
    left = [a.type_id for a in there.session.world.get_actors() if a.type_id.startswith(("vehicle", "sensor"))]
    assert left == []


class Seen(Watcher):
    """What an observer can tell of an episode."""

    def __init__(self) -> None:
        self.rows: list[tuple] = []

    def tick(self, facts) -> None:
        self.rows.append((*facts.moment.position, facts.moment.yaw, facts.control))


def test_the_same_seed_drives_the_same_to_the_last_bit_whatever_was_driven_between(there, route):
    run = Run(EXPERT, episode=EpisodeConfig(traffic=12, criteria=CriteriaConfig(max_ticks=150)))
    seen = []
    for seed in (1, 2, 1):
        watcher = Seen()
        drive(run, load_agent_class(EXPERT), there, Job(route, 0, seed), [watcher])
        seen.append(watcher.rows)
    assert seen[0] == seen[2]


def test_the_same_route_recorded_twice_is_the_same_bytes_images_included(there, graph, tmp_path):
    logs = []
    for name in ("first", "between", "second"):
        collection = Collection(tmp_path / name, seed=3, style=SHORT, traffic=(5, 9))
        collect(collection, there, graph, frozenset(), 1 if name == "between" else 0)
        logs.append(files(tmp_path / name))
    assert len(logs[0]) > 20 and any(name.endswith(".jpg") for name in logs[0])
    assert logs[0] == logs[2]


def test_a_recorded_route_is_a_training_route(there, graph, tmp_path):
    collection = Collection(tmp_path, seed=3, style=SHORT, traffic=(0, 4))
    done = collect(collection, there, graph, frozenset(), 0)
    assert done.reason == "" and collection.is_done(0) and not collection.is_done(1)
    log = RouteLog(tmp_path / done.name)
    assert list(log.plans["tick"]) == list(log.image_ticks["front"]) == list(range(0, len(log), 5))
    assert log.clip("front", 40).images.shape == (4, 140, 280, 3)
    assert log.ticks["perturbed"].any() and log.outcome["status"] in ("Perfect", "Completed")
    assert all(message.startswith("Average speed is") for message in log.outcome["infractions"])
    assert simulated_seconds(tmp_path) == pytest.approx(0.05 * len(log))


def test_a_second_run_continues_the_results(there, route, tmp_path):
    write_routes(tmp_path / "r.xml", [route])
    run = Run(BASELINE, port=there.port, episode=EpisodeConfig(criteria=CriteriaConfig(max_ticks=30)))
    jobs = jobs_of(read_routes(tmp_path / "r.xml"), [0, 1])
    stamp, names = fingerprint(run, tmp_path / "r.xml", [0, 1]), [job.route_id for job in jobs]
    driven = []
    evaluate(run, jobs[:1], ResultsFile(tmp_path / "out.json", names, stamp), 1, driven.append)
    evaluate(run, jobs, ResultsFile(tmp_path / "out.json", names, stamp), 1, driven.append)
    assert [record.route_id for record in driven] == names
    document = json.loads((tmp_path / "out.json").read_text())
    assert document["_checkpoint"]["progress"] == [2, 2] and document["entry_status"] == "Finished"


def test_random_routes_are_repeatable_fit_their_style_and_keep_apart(there, graph):
    def draw(exclude=()):
        rng = np.random.default_rng(9)
        return random_route(graph, there.session.map, rng, "x", preset("WetNoon"), RouteStyle(), exclude)

    route, pair = draw()
    assert draw() == (route, pair) and lane_pair(graph, route) == pair
    assert draw([pair])[1] != pair


def test_the_shipped_test_routes_share_no_pair_of_lanes_with_the_demo(graph):
    folder = ROOT / "leaderboard_configs/routes"
    pairs = [lane_pair(graph, r) for name in ("demo", "test40") for r in read_routes(folder / f"havenbrook_{name}.xml")]
    assert len(pairs) == 41 and len(set(pairs)) == 41


class Killer(Watcher):
    """Ends the server in the middle of a drive."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def tick(self, facts) -> None:
        if facts.number == 5:
            os.kill(self._pid, signal.SIGKILL)


def test_a_server_that_dies_is_one_sentence_and_its_ports_are_free_again(route):
    message = r"the simulator on port \d+ ended by itself \(signal SIGKILL\)"
    with pytest.raises(SimulatorError, match=message), simulator(threads=1) as there:
        pid = next(int(p) for p in os.listdir("/proc") if p.isdigit() and _serves(p, there.port))
        drive(Run(BASELINE), load_agent_class(BASELINE), there, Job(route, 0, 0), [Killer(pid)])
    assert is_free(there.port)


def test_a_taken_port_is_named(there):
    with pytest.raises(SetupError, match=f"port {there.port} is taken"), MinicarlaServer(port=there.port):
        pass


def _serves(pid: str, port: int) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"autovla_core.minicarla" in words and str(port).encode() in words


def test_the_expert_saves_a_student_that_stops_for_nothing_and_its_plans_are_logged(there, graph, tmp_path):
    collection = Collection(tmp_path, seed=3, style=SHORT, traffic=(10, 14), kicks=False, student=str(BASELINE))
    for number in range(2):
        done = collect(collection, there, graph, frozenset(), number)
        assert done.reason == ""
        log = RouteLog(tmp_path / done.name)
        assert log.meta.agent == "TaughtPilot" and len(log.plans["tick"]) == len(log.image_ticks["front"])
