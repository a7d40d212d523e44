"""Score scenes with the genuine NAVSIM code: python genuine_navsim.py <navsim clone> <nuplan-devkit clone> < scenes

Not a test and never imported: a clone of NAVSIM, branch v1.1 or v2.2, cannot share a process with
another. Reads a list of scenes in the layout of ``shared/cases``, writes a list of sub-scores. Only
the map interface is replaced, by the polygons and the centreline of the scene. Needs numpy, scipy,
shapely, pandas and what nuplan-devkit imports (geopandas, rasterio and others).
"""

import json
import sys
import types
from types import SimpleNamespace as Bag

import numpy as np
import shapely

sys.path[:0] = sys.argv[1:3]
try:
    import shapely.vectorized  # gone since shapely 2.1
except ImportError:
    vectorized = types.ModuleType("shapely.vectorized")
    vectorized.contains = shapely.contains_xy
    sys.modules["shapely.vectorized"] = shapely.vectorized = vectorized

from navsim.common.dataclasses import Trajectory  # noqa: E402
from navsim.evaluate import pdm_score as evaluation  # noqa: E402
from navsim.planning.metric_caching.metric_cache_processor import MetricCacheProcessor  # noqa: E402
from navsim.planning.simulation.planner.pdm_planner.observation.pdm_occupancy_map import PDMDrivableMap  # noqa: E402
from navsim.planning.simulation.planner.pdm_planner.pdm_closed_planner import PDMClosedPlanner  # noqa: E402
from navsim.planning.simulation.planner.pdm_planner.proposal.batch_idm_policy import BatchIDMPolicy  # noqa: E402
from navsim.planning.simulation.planner.pdm_planner.scoring import pdm_scorer  # noqa: E402
from navsim.planning.simulation.planner.pdm_planner.simulation.pdm_simulator import PDMSimulator  # noqa: E402
from nuplan.common.actor_state.agent import Agent  # noqa: E402
from nuplan.common.actor_state.ego_state import EgoState  # noqa: E402
from nuplan.common.actor_state.oriented_box import OrientedBox  # noqa: E402
from nuplan.common.actor_state.scene_object import SceneObjectMetadata  # noqa: E402
from nuplan.common.actor_state.state_representation import StateSE2, StateVector2D, TimePoint  # noqa: E402
from nuplan.common.actor_state.static_object import StaticObject  # noqa: E402
from nuplan.common.actor_state.tracked_objects import TrackedObjects  # noqa: E402
from nuplan.common.actor_state.tracked_objects_types import AGENT_TYPES, TrackedObjectType  # noqa: E402
from nuplan.common.actor_state.vehicle_parameters import get_pacifica_parameters  # noqa: E402
from nuplan.common.maps.maps_datatypes import SemanticMapLayer, TrafficLightStatusType  # noqa: E402
from nuplan.planning.simulation.observation.observation_type import DetectionsTracks  # noqa: E402
from nuplan.planning.simulation.trajectory.interpolated_trajectory import InterpolatedTrajectory  # noqa: E402
from nuplan.planning.simulation.trajectory.trajectory_sampling import TrajectorySampling  # noqa: E402

IS_V2 = not hasattr(pdm_scorer.PDMScorerConfig(), "comfortable_weight")
HALF_SECOND = 0.5
GRID = TrajectorySampling(num_poses=40, interval_length=0.1)
LONGER = TrajectorySampling(num_poses=50, interval_length=0.1)
START_S = 100.0  # of the scene; any positive time
V1_NAMES = ["no_at_fault_collisions", "drivable_area_compliance", "driving_direction_compliance", "ego_progress"]
V1_NAMES += ["time_to_collision_within_bound", "comfort", "score"]
V2_NAMES = [name for name in V1_NAMES if name not in ("comfort", "score")]
V2_NAMES += ["traffic_light_compliance", "lane_keeping", "history_comfort", "pdm_score"]


def ego_of(value, time_s=0.0):
    return EgoState.build_from_rear_axle(
        StateSE2(value["x"], value["y"], value["heading"]),
        StateVector2D(value["vx"], value["vy"]),
        StateVector2D(value["ax"], value["ay"]),
        value.get("steering_angle", 0.0),
        TimePoint(round(1e6 * (START_S + time_s))),
        get_pacifica_parameters(),
        True,
        value.get("angular_velocity", 0.0),
    )


def plan_of(value):
    poses = np.array(value["poses"], float)
    return Trajectory(poses, TrajectorySampling(num_poses=len(poses), interval_length=value["dt"]))


class Log:
    """What the metric cache asks of a scenario."""

    database_interval = HALF_SECOND

    def __init__(self, scene):
        self.scene = scene

    def get_tracked_objects_at_iteration(self, iteration):
        rows = [(agent, state) for agent in self.scene["agents"] for state in agent["states"][iteration:][:1]]
        return DetectionsTracks(TrackedObjects([self.object_of(*row) for row in rows if row[1] is not None]))

    def get_traffic_light_status_at_iteration(self, iteration):
        status = {True: TrafficLightStatusType.RED, False: TrafficLightStatusType.GREEN}
        lights = {name: np.atleast_1d(red) for name, red in self.scene["red_lights"].items()}
        return [
            Bag(lane_connector_id=name, status=status[bool(red[min(iteration, len(red) - 1)])])
            for name, red in lights.items()
        ]

    @staticmethod
    def object_of(agent, state):
        kind, about = TrackedObjectType[agent["type"]], SceneObjectMetadata(0, agent["token"], 0, agent["token"])
        box = OrientedBox(StateSE2(*state[:3]), agent["length"], agent["width"], agent["height"])
        if kind in AGENT_TYPES:
            return Agent(kind, box, StateVector2D(*state[3:]), about)
        return StaticObject(kind, box, about)


def lane_of(value):
    polygon = shapely.Polygon(value["xy"])
    return Bag(
        id=value["id"],
        polygon=polygon,
        baseline_path=Bag(discrete_path=[StateSE2(*pose) for pose in value["baseline"]]),
        speed_limit_mps=value.get("speed_limit"),
        contains_point=lambda point: polygon.contains(shapely.Point(point.x, point.y)),
    )


def planner_of(scene):
    policies = BatchIDMPolicy(15.0, [0.2, 0.4, 0.6, 0.8, 1.0], 1.0, 1.5, 1.5, 3.0)
    planner = PDMClosedPlanner(LONGER, GRID, policies, [-1.0, 1.0], 100)
    areas = scene["map"]["polygons"]
    lanes = {area["id"]: lane_of(area) for area in areas if area["type"].startswith("LANE")}
    planner._route_lane_dict = {name: lanes[name] for name in scene["map"]["route_lane_ids"]}
    planner._drivable_area_map = PDMDrivableMap(
        [area["id"] for area in areas],
        [SemanticMapLayer[area["type"]] for area in areas],
        [shapely.Polygon(area["xy"]) for area in areas],
    )
    planner._get_discrete_centerline = lambda lane: [StateSE2(*pose) for pose in scene["centerline"]]
    return planner


def cache_of(scene, log):
    planner, ego = planner_of(scene), ego_of(scene["ego"])
    now = Bag(current_state=(ego, log.get_tracked_objects_at_iteration(0)))
    lights = log.get_traffic_light_status_at_iteration(0)
    plan = planner._get_closed_loop_trajectory(Bag(history=now, traffic_light_data=lights))
    return Bag(
        ego_state=ego,
        trajectory=plan,
        centerline=planner._centerline,
        route_lane_ids=list(planner._route_lane_dict),
        drivable_area_map=planner._drivable_area_map,
        lanes=planner._route_lane_dict,
    )


def score_v1(scene):
    log = Log(scene)
    cache, itself = cache_of(scene, log), Bag(_future_sampling=LONGER, _proposal_sampling=GRID, _map_radius=100)
    cache.observation = MetricCacheProcessor._interpolate_gt_observation(itself, log)
    plan, scorer = plan_of(scene["trajectory"]), pdm_scorer.PDMScorer(GRID)
    found = evaluation.pdm_score(cache, plan, GRID, PDMSimulator(GRID), scorer)
    return {name: float(getattr(found, name)) for name in V1_NAMES}


def score_v2(scene):
    from navsim.common.enums import SceneFrameType
    from navsim.traffic_agents_policies.log_replay_traffic_agents import LogReplayTrafficAgents

    log, processor, itself = Log(scene), MetricCacheProcessor, Bag(_proposal_sampling=GRID, _map_radius=100)
    cache, human, history = cache_of(scene, log), scene.get("human_trajectory"), scene.get("ego_history")
    tracks = processor._interpolate_gt_observation(itself, log)
    lights = processor._interpolate_traffic_light_status(itself, log)
    cache.observation = processor._build_pdm_observation(itself, tracks, lights, cache.lanes)
    cache.map_parameters = None
    cache.scene_type = SceneFrameType.ORIGINAL if human else SceneFrameType.SYNTHETIC
    cache.human_trajectory = plan_of(human) if human else None
    keys = ("x", "y", "heading", "vx", "vy", "ax", "ay")
    past = [ego_of(dict(zip(keys, row[1:])), row[0]) for row in history or ()]
    cache.past_human_trajectory = InterpolatedTrajectory([*past, cache.ego_state]) if past else None
    scorer = pdm_scorer.PDMScorer(GRID, pdm_scorer.PDMScorerConfig(human_penalty_filter=True))
    replay = LogReplayTrafficAgents(GRID)
    table, states = evaluation.pdm_score(cache, plan_of(scene["trajectory"]), GRID, PDMSimulator(GRID), scorer, replay)
    row = table.iloc[0]
    found = {name: float(row[name]) for name in V2_NAMES}
    found["two_frame_extended_comfort"] = extended_comfort(scene, states)
    values, weights = np.array(row["weighted_metrics"], float), np.array(row["weighted_metrics_array"], float)
    terms = 4 if found["two_frame_extended_comfort"] is None else 5
    values[4] = found["two_frame_extended_comfort"] or 0.0
    mean = (values * weights)[:terms].sum() / weights[:terms].sum()
    return found | {"score": float(row["multiplicative_metrics_prod"] * mean)}


def extended_comfort(scene, states):
    import pandas as pd
    from navsim.planning.simulation.planner.pdm_planner.scoring.scene_aggregator import SceneAggregator

    if not scene.get("previous"):
        return None
    ego = ego_of(scene["previous"]["ego"], -HALF_SECOND)
    plan = evaluation.transform_trajectory(plan_of(scene["previous"]["trajectory"]), ego)
    poses = evaluation.get_trajectory_as_array(plan, GRID, ego.time_point)
    earlier = PDMSimulator(GRID).simulate_proposals(poses[None], ego)[0]
    times = [START_S, START_S - HALF_SECOND]
    table = pd.DataFrame({"ego_simulated_states": [states, earlier], "start_time": times}, index=["now", "before"])
    return float(SceneAggregator("now", "before", table, GRID)._compute_two_frame_comfort("now", "before"))


if __name__ == "__main__":
    json.dump([(score_v2 if IS_V2 else score_v1)(scene) for scene in json.load(sys.stdin)], sys.stdout)
