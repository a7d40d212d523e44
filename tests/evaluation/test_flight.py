"""What a replay needs survives the file, and no log is ever thrown away."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from autovla_core.errors import LogError
from autovla_core.evaluation.criteria import CriteriaConfig
from autovla_core.evaluation.episode import EpisodeConfig
from autovla_core.evaluation.flight import FLIGHT_FILE, Flight, read_flight, write_flight
from autovla_core.evaluation.flight_recorder import SUPERSEDED, camera_of, set_aside
from autovla_core.evaluation.provenance import Provenance
from autovla_core.evaluation.replay import first_difference
from autovla_core.evaluation.route_file import Route, Scenario
from autovla_core.evaluation.watching import Start
from autovla_core.logs.reader import RouteLog
from autovla_core.logs.schema import RouteMeta, Tick
from autovla_core.logs.writer import RouteWriter
from autovla_core.sensing import rig as rigs
from autovla_core.sensing.faults import SensorFaults

ROOT = Path(__file__).resolve().parents[2]
SCENARIO = Scenario("Accident_1", "Accident", (1.5, -2.0, 0.1, 90.0), {"distance": {"value": "40"}})
FLIGHT = Flight(
    route=Route("7", "Havenbrook", ((1.25, 2.0, 0.1), (9.0, 2.0, 0.1)), ((0.0, {"fog_density": 3.5}),), (SCENARIO,)),
    seed=11,
    agent="BaselineAgent",
    agent_sensors=tuple(rigs.sensors(rigs.rig("front"))),
    other_sensors=({"type": "sensor.camera.rgb", "id": "log_front"},),
    episode=EpisodeConfig(traffic=20, criteria=CriteriaConfig(max_ticks=50), faults=SensorFaults(lost=0.25)),
    start=Start(0.3, 0.01),
    facts={"carla": "0.9.16"},
    reversed_ticks=(4, 5),
)


def log(folder: Path, ticks: int = 6, x: float = 0.1, status: str = "Perfect", infractions=()) -> RouteLog:
    writer = RouteWriter(folder, RouteMeta("Havenbrook", "7", 11, rig={"front": {"id": "front"}}))
    for number in range(ticks):
        writer.tick(Tick(0.05 * number, x * number, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0))
        if number % 3 == 0:
            writer.image("front", number, np.full((8, 8, 3), 20 * number, np.uint8))
    scores = {"score_route": 100.0, "score_composed": 100.0}
    return RouteLog(writer.close({"status": status, "infractions": list(infractions), **scores}))


def test_a_flight_comes_back_as_it_was_written(tmp_path):
    write_flight(tmp_path, FLIGHT)
    assert read_flight(tmp_path) == FLIGHT
    assert [f.name for f in tmp_path.iterdir()] == [FLIGHT_FILE]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"seed": "eleven"}, "seed: found 'eleven'"),
        ({"schema": "autovla-flight/9"}, "expected 'autovla-flight/1'"),
        ({"wind": 3}, r"unknown \['wind'\]"),
    ],
)
def test_a_flight_with_a_mistake_is_refused(tmp_path, change, message):
    write_flight(tmp_path, FLIGHT)
    document = json.loads((tmp_path / FLIGHT_FILE).read_text())
    (tmp_path / FLIGHT_FILE).write_text(json.dumps(document | change))
    with pytest.raises(LogError, match=message):
        read_flight(tmp_path)


def test_a_camera_is_what_the_agent_asked_for():
    camera = rigs.rig("front")[0]
    assert camera_of({**camera.sensor(), "sensor_tick": 0.25}) == camera


def test_equal_logs_do_not_differ_and_the_first_place_of_others_is_named(tmp_path):
    first = log(tmp_path / "a")
    assert first_difference(first, log(tmp_path / "b")) is None
    moved = first_difference(first, log(tmp_path / "c", x=0.2))
    assert (moved.tick, moved.what, moved.logged, moved.replayed) == (1, "x", 0.1, 0.2)
    shorter = first_difference(first, log(tmp_path / "d", ticks=4))
    assert str(shorter) == "tick 4: length is 4, the log has 6"
    ended = log(tmp_path / "e", status="Failed - Agent got blocked")
    assert first_difference(first, ended).what == "status" and first_difference(first, ended, ended=False) is None


def test_checkpoints_of_minimum_speed_which_older_logs_do_not_have_are_no_difference(tmp_path):
    old, slow = log(tmp_path / "old"), "Average speed is 62.5% of the surrounding traffic's one"
    new = log(tmp_path / "new", status="Completed", infractions=[slow] * 20)
    assert first_difference(old, new) is None
    crashed = log(tmp_path / "crashed", status="Completed", infractions=[slow, "Agent ran a red light 7"])
    assert first_difference(old, crashed).what == "infractions"


def test_a_picture_that_differs_is_found(tmp_path):
    first, again = log(tmp_path / "a"), log(tmp_path / "b")
    file = tmp_path / "b" / "camera_front" / "000003.jpg"
    file.write_bytes(file.read_bytes() + b"x")
    assert first_difference(first, again).tick == 3 and "camera front" in first_difference(first, again).what
    file.unlink()
    assert first_difference(first, RouteLog(tmp_path / "b")).replayed == 0


def test_a_log_of_the_same_name_and_what_a_killed_drive_left_are_set_aside(tmp_path):
    log(tmp_path / "drive")
    killed = RouteWriter(tmp_path / "other", RouteMeta("Havenbrook", "7", 11))
    killed.working_folder.rename(tmp_path / ".drive.partial")
    set_aside(tmp_path, "drive")
    assert sorted(f.name for f in tmp_path.iterdir()) == [SUPERSEDED]
    logs = [RouteLog(tmp_path / SUPERSEDED / name) for name in ("drive.0", "drive.1")]
    assert [len(each) for each in logs] == [6, 0]
    assert logs[1].outcome["reason"] == "the recording broke off"
    set_aside(tmp_path, "drive")  # nothing there: nothing happens
    assert sorted(f.name for f in (tmp_path / SUPERSEDED).iterdir()) == ["drive.0", "drive.1"]


def test_what_no_log_can_be_made_of_is_set_aside_as_it_lies_and_blocks_nothing(tmp_path, caplog):
    """A program that was killed while it opened its journal."""
    partial = tmp_path / ".drive.partial"
    partial.mkdir()
    (partial / "journal.json").touch()
    with caplog.at_level("WARNING"):
        set_aside(tmp_path, "drive")
    assert [f.name for f in tmp_path.iterdir()] == [SUPERSEDED] and "no log can be made" in caplog.text
    assert (tmp_path / SUPERSEDED / "drive.0" / "journal.json").is_file()
    log(tmp_path / "drive")  # the next drive


@pytest.mark.parametrize(
    "name, data, suffix, kept",
    [
        ("x.ckpt", b"\x80\x02\xff", "", "sha256 "),
        ("cfg.py", b"model = dict()", "+x.ckpt", "sha256 "),
        ("latin.yaml", "name: Jérôme".encode("latin-1"), "", "sha256 "),
        ("odd.yaml", b"key: [1, 2", "+a+b", "key: [1, 2"),
        ("list.yml", b"- 1\n", "", "- 1\n"),
    ],
)
def test_a_strangers_configuration_is_recorded_whatever_it_is(tmp_path, name, data, suffix, kept):
    (tmp_path / name).write_bytes(data)
    facts = Provenance(ROOT / "agents/autovla_agent.py", f"{tmp_path / name}{suffix}", EpisodeConfig()).facts()
    digest = hashlib.sha256(data).hexdigest()
    assert facts["agent_config"] == (kept + digest if kept == "sha256 " else kept)
    assert not any(key.startswith("weights") for key in facts)


def test_provenance_names_the_weights_of_the_agents_model():
    agent, config = ROOT / "agents/autovla_agent.py", ROOT / "leaderboard_configs/autovla_agent.yaml"
    facts = Provenance(agent, str(config), EpisodeConfig()).facts()
    assert len(facts["weights model.safetensors"]) == len(facts["agent"]) == len(facts["code"]) == 64
    assert facts["agent_config"] == config.read_text()
    assert not any(name.startswith("weights") for name in Provenance(agent, "", EpisodeConfig()).facts())
