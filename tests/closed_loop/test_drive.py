"""Our agents and bridge against a running minicarla, through the real client."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import carla
import numpy as np
import pytest

from autovla_core.carla_bridge.actuate import vehicle_control
from autovla_core.carla_bridge.observe import Observer
from autovla_core.carla_bridge.privileged import PrivilegedView
from autovla_core.carla_bridge.route_planner import LaneGraph, plan_route, route_plan
from autovla_core.carla_bridge.session import Session, connect
from autovla_core.contracts import LightState
from autovla_core.errors import SimulatorError
from autovla_core.expert.expert import Expert
from autovla_core.sensing import rig as rigs

ROOT = Path(__file__).resolve().parents[2]
COLLISION = {"type": "sensor.other.collision", "id": "HIT"}


@pytest.fixture(scope="module")
def drive_server(start_minicarla: Callable):
    """A server of its own, with a little traffic."""
    server = start_minicarla("--traffic", "10", "--seed", "3")
    yield server
    server.stop()


@pytest.fixture
def session(drive_server) -> Iterator[Session]:
    with Session(connect("127.0.0.1", drive_server.port)) as session:
        yield session


@pytest.fixture
def agents(monkeypatch):
    """Import agents as the evaluator does."""
    monkeypatch.syspath_prepend(str(ROOT / "agents"))
    yield importlib.import_module
    for name in ("autovla_baseline_agent", "autovla_expert_agent", "autovla_leaderboard"):
        sys.modules.pop(name, None)


def free_route(session: Session, seed: int, kinds: set[str], metres: tuple[int, int] = (150, 260)) -> list:
    """A route that begins where nobody is and meets all the given kinds of stop lines."""
    rng, graph = np.random.default_rng(seed), LaneGraph(session.map)
    points = session.map.get_spawn_points()
    taken = [a.get_location() for a in session.world.get_actors().filter("vehicle.*")]
    for _ in range(400):
        a, b = rng.choice(len(points), 2, replace=False)
        start = points[int(a)].location
        if min([start.distance(other) for other in taken], default=99.0) < 15.0:
            continue
        route = plan_route(session.map, [start, points[int(b)].location], graph)
        if metres[0] < len(route) < metres[1] and kinds <= kinds_on(session, route):
            return route
    raise AssertionError(f"no route with {kinds}")


def kinds_on(session: Session, route: list) -> set[str]:
    """Kinds of stop lines on a route."""
    actors, found = session.world.get_actors(), set()
    for kind, pattern in (("light", "traffic.traffic_light*"), ("stop", "traffic.stop*")):
        for actor in actors.filter(pattern):
            centre = actor.get_transform().transform(actor.trigger_volume.location)
            if min(centre.distance(t.location) for t, _ in route[::3]) < 2.5:
                found.add(kind)
    return found


def expert_drive(session: Session, route: list, seconds: float) -> dict:
    """Let the expert drive; say what happened."""
    ego = session.spawn_ego(route[0][0])
    suite = session.spawn_sensors(ego, [COLLISION])
    plan = route_plan(route)
    expert, view = Expert(plan), PrivilegedView(session.world, ego, plan)
    out = {"hits": [], "reasons": set(), "stood_at_sign": False, "ran_red": False, "offset": 0.0, "track": []}
    passed: dict[int, bool] = {}
    for _ in range(int(seconds * 20)):
        scene = view.scene(expert.progress.s)
        decision = expert.step(scene)
        ego.apply_control(vehicle_control(decision.control))
        out["hits"] += suite.collect(session.tick()).get("HIT", (0, []))[1]
        out["reasons"].add(decision.reason.rule)
        out["offset"] = max(out["offset"], abs(expert.progress.offset))
        out["track"].append((*scene.pose, scene.speed))
        for line in scene.stop_lines:
            before = passed.get(line.id, False)
            passed[line.id] = expert.progress.s - scene.length / 2 > line.route_s
            if line.kind == "light" and passed[line.id] and not before and line.state is LightState.RED:
                out["ran_red"] = True
            near = abs(line.route_s - expert.progress.s) < 6.0
            out["stood_at_sign"] |= line.kind == "stop" and near and scene.speed < 0.1
        if expert.progress.remaining < 5.0:
            break
    out["fraction"] = expert.progress.fraction
    return out


def test_the_expert_drives_a_route_with_a_light_and_a_stop_sign_and_hits_nobody(session):
    done = expert_drive(session, free_route(session, 3, {"stop", "light"}, (200, 420)), 110.0)
    assert done["hits"] == []
    assert done["fraction"] > 0.95
    assert done["offset"] < 0.5
    assert done["stood_at_sign"] and not done["ran_red"]
    assert {"cruise", "curve", "stop_sign"} <= done["reasons"]


def test_the_baseline_agent_follows_its_route_with_the_leaderboards_noise(session, agents):
    route = free_route(session, 5, set())
    agent = agents("autovla_baseline_agent").BaselineAgent("127.0.0.1", 0)
    agent.set_global_plan([], route)
    agent.setup(str(ROOT / "leaderboard_configs/autovla_baseline_agent.yaml") + "+save_name")
    ego = session.spawn_ego(route[0][0])
    suite = session.spawn_sensors(ego, agent.sensors())
    plan, frame, worst = route_plan(route), session.tick(), 0.0
    for tick in range(200):
        ego.apply_control(agent(suite.collect(frame), (tick + 1) * 0.05))
        frame = session.tick()
        at = ego.get_location()
        worst = max(worst, float(np.min(np.hypot(*(plan.points - (at.x, -at.y)).T))))
    agent.destroy()
    assert ego.get_location().distance(route[0][0].location) > 25.0
    assert worst < 1.2


def test_the_expert_agent_finds_the_hero_and_drives(session, drive_server, agents):
    route = free_route(session, 7, set())
    agent = agents("autovla_expert_agent").ExpertAgent("127.0.0.1", drive_server.port)
    agent.set_global_plan([], route)
    agent.setup("")
    ego = session.spawn_ego(route[0][0])
    suite = session.spawn_sensors(ego, agent.sensors())
    for tick in range(40):
        ego.apply_control(agent(suite.collect(session.tick()), (tick + 1) * 0.05))
    assert agent.decision.reason.rule in ("cruise", "curve", "lead", "light", "stop_sign", "conflict")
    assert agent.decision.poses.shape == (10, 3)
    agent.destroy()


def test_a_slow_camera_is_there_only_when_it_fired_and_makes_clips(session):
    route = free_route(session, 9, set())
    ego = session.spawn_ego(route[0][0])
    specs = rigs.sensors(rigs.rig("front"))
    specs[0]["sensor_tick"] = 0.5
    suite = session.spawn_sensors(ego, specs)
    observer, fired = Observer(rigs.rig("front"), route_plan(route)), []
    for tick in range(50):
        data = suite.collect(session.tick())
        if "front" in data:
            fired.append(tick)
        observer.update(data, tick * 0.05)
    assert np.diff(fired).tolist() == [10] * (len(fired) - 1) and len(fired) == 5
    clip = observer.observe().clips["front"]
    assert clip.images.shape == (4, 140, 280, 3) and clip.images.std() > 10
    at = ego.get_transform()
    assert observer.motion.pose[:2] == pytest.approx([at.location.x, -at.location.y], abs=0.5)


def test_a_session_leaves_the_world_as_it_was(drive_server):
    client = connect("127.0.0.1", drive_server.port)
    world = client.get_world()
    before, actors = world.get_settings(), {a.id for a in world.get_actors()}
    with Session(client) as session:
        ego = session.spawn_ego(free_route(session, 11, set())[0][0])
        session.spawn_sensors(ego, rigs.sensors(rigs.rig("front")))
        assert world.get_settings().synchronous_mode
        assert len(world.get_actors()) > len(actors)
    after = world.get_settings()
    assert (after.synchronous_mode, after.fixed_delta_seconds) == (before.synchronous_mode, before.fixed_delta_seconds)
    world.wait_for_tick(5.0)
    assert {a.id for a in world.get_actors()} == actors


def test_spawning_into_another_car_is_an_error_that_says_so(session):
    taken = session.world.get_actors().filter("vehicle.*")[0].get_transform()
    with pytest.raises(SimulatorError, match="cannot spawn"):
        session.spawn_ego(carla.Transform(taken.location - carla.Location(z=0.5), taken.rotation))
