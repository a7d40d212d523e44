"""One drive of one route: spawn, tick, judge, record."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from autovla_core import frames
from autovla_core.carla_bridge.actuate import control_of
from autovla_core.carla_bridge.route_planner import plan_route
from autovla_core.carla_bridge.sensor_suite import SensorRefused, SensorSuite
from autovla_core.carla_bridge.session import Session
from autovla_core.carla_bridge.wheel import carla
from autovla_core.errors import AutoVLAError, RouteError, SetupError, SimulatorError
from autovla_core.evaluation import map_facts
from autovla_core.evaluation.agent_file import LeaderboardAgent, global_plan, track_of
from autovla_core.evaluation.criteria import CriteriaConfig
from autovla_core.evaluation.insight import driver_of
from autovla_core.evaluation.judge import Judge
from autovla_core.evaluation.minimum_speed import MinimumSpeed
from autovla_core.evaluation.moments import moment_now
from autovla_core.evaluation.results import BAD_SENSORS, CRASHED, SETUP_FAILED, Record
from autovla_core.evaluation.route_file import Route
from autovla_core.evaluation.route_track import RouteTrack
from autovla_core.evaluation.route_weather import ChangingWeather, changes
from autovla_core.evaluation.scenarios.player import ScenarioPlayer
from autovla_core.evaluation.sensor_rules import OWN, SensorsInvalid, expect_lawful
from autovla_core.evaluation.traffic import mean_speed, spawn_traffic
from autovla_core.evaluation.watchdog import AgentSilent, limit
from autovla_core.evaluation.watching import Disturbance, EpisodeStopped, Scenery, Start, Subscriber, TickFacts
from autovla_core.scoring.closed_loop import score
from autovla_core.sensing.faults import NO_FAULTS, FaultySensors, SensorFaults, chance_of, expect_sensors

logger = logging.getLogger(__name__)

COLLISION_ID = "judge_collision"
AGENT_CRASHED = "Failed - Agent crashed"
NUMBERS = {"x", "y", "z", "roll", "pitch", "yaw", "sensor_tick"}  # of a sensor's specification


@dataclass(frozen=True)
class EpisodeConfig:
    """What a benchmark fixes for all its routes."""

    traffic: int = 0  # other cars
    warm_up_ticks: int = 10
    rule: str = "product"  # of scoring.closed_loop
    criteria: CriteriaConfig = field(default_factory=CriteriaConfig)
    traffic_manager_port: int = 0  # of a server that does not drive traffic by itself; 0 = minicarla
    agent_timeout_s: float = 600.0  # of the wall clock, for setup and for each answer; Bench2Drive's; 0: none
    track: str = OWN  # of sensor_rules: which sensors the agent may ask for
    faults: SensorFaults = NO_FAULTS  # of the agent's sensors; cameras of recorders and pictures stay well


class EpisodeLost(SimulatorError):
    """The simulator failed; ``record`` is the official one, with what was driven until then."""

    def __init__(self, message: str, record: Record) -> None:
        super().__init__(message)
        self.record = record


class EpisodeUnfinished(AutoVLAError):
    """The drive was made and judged, but one who looked on could not finish: a full disk. ``record`` stands."""

    def __init__(self, message: str, record: Record) -> None:
        super().__init__(message)
        self.record = record


def run_episode(
    session: Session,
    route: Route,
    agent: LeaderboardAgent,
    agent_config: str,
    seed: int,
    repetition: int = 0,
    config: EpisodeConfig = EpisodeConfig(),
    subscribers: Sequence[Subscriber] = (),
    disturbance: Disturbance | None = None,
) -> Record:
    """Drive one route in a freshly loaded world and judge it.

    An agent that raises, or asks for sensors that there are not, ends its route, not the run: the record says so.

    Raises:
        EpisodeLost: the simulator failed, vanished, or cannot mount the sensors of a subscriber.
        EpisodeUnfinished: a subscriber could not end.
        RouteError: the route does not lie on the map.
        ConfigError: ``config.faults`` are of a sensor that the agent does not have.
    """
    started = time.monotonic()
    player = ScenarioPlayer()
    if route.scenarios:
        subscribers = [player, *subscribers]
    if changes(route):
        subscribers = [ChangingWeather(), *subscribers]
    record: Record | None = None
    begun: list[Subscriber] = []
    scenery: Scenery | None = None
    try:
        scenery = _prepare(session, route, agent, seed, config, disturbance)
        try:
            scenery = replace(scenery, agent_sensors=_set_up(scenery, agent_config, config))
            _expect_lawful(scenery, config.track)
            suite = _mount(scenery, subscribers, config)
        except _NotReady as failure:
            outcome = failure.outcome
        else:
            for subscriber in subscribers:
                begun.append(subscriber)
                subscriber.begin(scenery)
            outcome = _drive(scenery, suite, config, subscribers, disturbance)
        outcome = replace(outcome, detail="; ".join(filter(None, (outcome.detail, player.remarks))))
        record = _record(scenery, outcome, repetition, config, time.monotonic() - started)
        return record
    except (SimulatorError, SetupError, RuntimeError) as error:  # carla's client knows no other error than RuntimeError
        lost = _lost(route, seed, repetition, scenery, config, time.monotonic() - started, error)
        raise EpisodeLost(str(error), lost) from error
    finally:
        _leave(session, agent, scenery, begun, record)


@dataclass(frozen=True)
class _Outcome:
    """How the loop ended."""

    status: str
    ticks: int = 0
    detail: str = ""


class _NotReady(Exception):
    """The agent's fault, before the first tick."""

    def __init__(self, status: str, error: BaseException) -> None:
        super().__init__(status)
        self.outcome = _Outcome(status, detail=f"{type(error).__name__}: {error}")


def _prepare(
    session: Session,
    route: Route,
    agent: LeaderboardAgent,
    seed: int,
    config: EpisodeConfig,
    disturbance: Disturbance | None,
) -> Scenery:
    _restart(session, route)
    world = session.world
    world.set_weather(carla.WeatherParameters(**{k: float(v) for k, v in route.weather.items()}))
    dense = plan_route(session.map, [carla.Location(*point) for point in route.carla_points])
    if len(dense) < 2:
        raise RouteError(f"route {route.id} has no way from its first to its last point")
    start = disturbance.start() if disturbance else Start()
    ego = session.spawn_ego(_moved(dense[0][0], start))
    rng = np.random.default_rng(seed)
    traffic = spawn_traffic(session.client, config.traffic, rng, dense[0][0].location, config.traffic_manager_port)
    session.tick()
    actors = world.get_actors()
    lights = {light.id: light for light in actors.filter("traffic.traffic_light*")}
    signs = list(actors.filter("traffic.stop*"))
    track = _track(dense)
    judge = Judge(
        track,
        map_facts.CarlaLanes(session.map),
        [map_facts.light_fact(light, session.map) for light in lights.values()],
        [map_facts.sign_fact(sign) for sign in signs],
        ego.bounding_box.extent.x,
        config.criteria,
    )
    if traffic:
        pace = MinimumSpeed(track, lambda: mean_speed(traffic))
        judge.add(pace, at_end=pace.finish)
    return Scenery(session, route, dense, track, ego, traffic, lights, agent, judge, seed, start)


def _restart(session: Session, route: Route) -> None:
    """Load the town afresh; one that the simulator lacks is the route's fault."""
    try:
        session.restart(route.town)
    except SimulatorError:
        towns = sorted({name.split("/")[-1] for name in session.client.get_available_maps()})
        if route.town in towns:
            raise
        raise RouteError(
            f"route {route.id}: the simulator has no town {route.town!r}; it has {', '.join(towns)}"
        ) from None


def _set_up(scenery: Scenery, agent_config: str, config: EpisodeConfig) -> tuple[Mapping[str, object], ...]:
    """Ready the agent; return the sensors that it asks for.

    Raises:
        _NotReady: it cannot be readied, or asks in no form that there is.
    """
    try:
        scenery.agent.set_global_plan(*global_plan(scenery.session.map, scenery.dense))
        with limit(config.agent_timeout_s):
            scenery.agent.setup(agent_config)
            specs = tuple(dict(spec) for spec in scenery.agent.sensors())
        for spec in specs:
            _check_form(spec)
    except SimulatorError:
        raise
    except (Exception, AgentSilent) as error:  # the edge: what an agent raises must not end the run
        logger.exception("agent could not be set up for route %s", scenery.route.id)
        raise _NotReady(SETUP_FAILED, error) from None
    return specs


def _check_form(spec: Mapping[str, object]) -> None:
    """A type, an id, and numbers where they belong; whether there is such a sensor the simulator says."""
    missing = {"type", "id"} - spec.keys()
    if missing:
        raise ValueError(f"sensor {dict(spec)} has no {' and no '.join(sorted(missing))}")
    for key in NUMBERS & spec.keys():
        float(spec[key])


def _expect_lawful(scenery: Scenery, track: str) -> None:
    """The agent's sensors against the rules of its track.

    Raises:
        _NotReady: it asks for too much.
    """
    try:
        expect_lawful(scenery.agent_sensors, track_of(scenery.agent), track)
    except SensorsInvalid as error:
        logger.error("route %s: %s", scenery.route.id, error)
        raise _NotReady(BAD_SENSORS, error) from None


def _mount(scenery: Scenery, subscribers: Sequence[Subscriber], config: EpisodeConfig) -> SensorSuite:
    """The agent's sensors, the judge's, then those of the subscribers.

    Raises:
        _NotReady: the simulator lives but refuses one of the agent's.
        ConfigError: faults of a sensor that the agent does not have.
    """
    own = {str(spec["id"]): str(spec["type"]) for spec in scenery.agent_sensors}
    expect_sensors(config.faults, own)
    specs = [*scenery.agent_sensors, {"type": "sensor.other.collision", "id": COLLISION_ID}]
    for subscriber in subscribers:
        specs += subscriber.sensors()
    try:
        return scenery.session.spawn_sensors(scenery.ego, specs, config.warm_up_ticks)
    except SensorRefused as error:
        scenery.session.client.get_server_version()  # one that is gone refuses everything
        if str(error.id) not in own:
            raise
        logger.error("route %s: %s", scenery.route.id, error)
        raise _NotReady(BAD_SENSORS, error) from None


def _drive(
    scenery: Scenery,
    suite: SensorSuite,
    config: EpisodeConfig,
    subscribers: Sequence[Subscriber],
    disturbance: Disturbance | None,
) -> _Outcome:
    own_ids = {str(spec["id"]) for spec in scenery.agent_sensors}
    sensors, number = FaultySensors(config.faults, chance_of(scenery.route.id, scenery.seed)), 0
    while True:
        input_data = suite.collect(scenery.session.tick())
        time_s = (number + 1) * scenery.session.tick_s
        moment = moment_now(scenery, time_s, input_data.get(COLLISION_ID, (0, ()))[1])
        scenery.judge.update(moment)
        if scenery.judge.over:
            scenery.judge.finish()  # before the status: the end of the route may hold something against the driver
            return _Outcome(scenery.judge.status, number)
        try:
            own = {k: v for k, v in input_data.items() if k in own_ids}
            with limit(config.agent_timeout_s):
                command = scenery.agent.run_step(sensors(number, time_s, own), time_s)
        except SimulatorError:
            raise
        except (Exception, AgentSilent) as error:  # the edge: an agent's failure ends its route, not the run
            logger.exception("agent crashed on route %s after %.2f s", scenery.route.id, time_s)
            return _Outcome(AGENT_CRASHED, number, f"{type(error).__name__}: {error}")
        command.manual_gear_shift = False
        wanted = control_of(command)
        control = disturbance.disturb(time_s, wanted) if disturbance else wanted
        if control != wanted:
            command.steer = -float(np.clip(control.steer, -1.0, 1.0))
            command.throttle, command.brake = float(control.throttle), float(control.brake)
            command.reverse = bool(control.reverse)
        scenery.ego.apply_control(command)
        facts = TickFacts(number, moment, control, control != wanted, input_data)
        number += 1
        try:
            for subscriber in subscribers:
                subscriber.tick(facts)
        except EpisodeStopped:
            return _Outcome("Failed", number, "stopped by the person watching")


def _record(scenery: Scenery, outcome: _Outcome, repetition: int, config: EpisodeConfig, wall_s: float) -> Record:
    judge, driver = scenery.judge, driver_of(scenery.agent)
    judge.finish()
    infractions = tuple(judge.infractions)
    return Record(
        route=scenery.route.id,
        repetition=repetition,
        seed=scenery.seed,
        town=scenery.route.town,
        status=outcome.status,
        scores=score(judge.completion.percent, infractions, config.rule),
        infractions=infractions,
        route_length=scenery.track.length,
        duration_game=outcome.ticks * scenery.session.tick_s,
        duration_system=wall_s,
        detail=outcome.detail,
        planner=driver.summary() if driver else {},
    )


def _lost(
    route: Route,
    seed: int,
    repetition: int,
    scenery: Scenery | None,
    config: EpisodeConfig,
    wall_s: float,
    error: Exception,
) -> Record:
    """The record of a drive that the simulator spoilt, perhaps before it began."""
    if scenery is None:
        nothing = score(0.0, (), config.rule)
        town, detail = route.town, str(error)
        return Record(route.id, repetition, seed, town, CRASHED, nothing, (), 0.0, 0.0, wall_s, detail)
    ticks = round(scenery.judge.time_s / scenery.session.tick_s)
    return _record(scenery, _Outcome(CRASHED, ticks, str(error)), repetition, config, wall_s)


def _leave(
    session: Session,
    agent: LeaderboardAgent,
    scenery: Scenery | None,
    begun: Sequence[Subscriber],
    record: Record | None,
) -> None:
    """End the subscribers in their order, then put everything back, whatever fails on the way.

    Raises:
        EpisodeUnfinished: a subscriber could not end after a drive that was judged.
    """
    try:
        with contextlib.ExitStack() as leaving:  # the last one in is the first one out
            leaving.callback(session.clear)
            leaving.callback(_destroy, agent)
            if scenery is not None:
                leaving.callback(_clear_traffic, scenery)
            for subscriber in reversed(begun):
                leaving.callback(subscriber.end, record)
    except (AutoVLAError, OSError) as error:
        if record is None:
            raise
        raise EpisodeUnfinished(
            f"{record.route_id} was driven, but not all of it could be kept: {error}", record
        ) from error


def _destroy(agent: LeaderboardAgent) -> None:
    try:
        agent.destroy()
    except Exception:  # the edge: as the leaderboard, which only prints it
        logger.exception("agent.destroy() failed")


def _clear_traffic(scenery: Scenery) -> None:
    session = scenery.session
    try:
        session.client.apply_batch_sync([carla.command.DestroyActor(car) for car in scenery.traffic], False)
    except RuntimeError as error:  # the simulator is gone, and the traffic with it
        logger.warning("could not remove the traffic: %s", error)


def _track(dense: Sequence[tuple[carla.Transform, int]]) -> RouteTrack:
    points = np.array([map_facts.position_of(transform.location) for transform, _ in dense])
    yaws = np.array([frames.yaw_from_carla(transform.rotation.yaw) for transform, _ in dense])
    return RouteTrack(points, yaws)


def _moved(carla_pose: carla.Transform, start: Start) -> carla.Transform:
    left = -start.left_m * carla_pose.get_right_vector()
    rotation = carla_pose.rotation
    yaw = rotation.yaw + np.degrees(-start.yaw)
    return carla.Transform(
        carla_pose.location + carla.Location(left.x, left.y, left.z),
        carla.Rotation(rotation.pitch, float(yaw), rotation.roll),
    )
