"""Drives NAVSIM's own evaluation with a planner server; runs inside the user's ``navsim`` environment (Python 3.9).

Pictures and states go to ``tools/serve_policy.py``, plans come back: the model needs a newer Python than the devkit.
The devkit is not changed; both folders of this checkout must be on its path, see docs/datasets.md:

    PYTHONPATH=<checkout>:<checkout>/agents python .../run_pdm_score.py \\
        --config-dir <checkout>/leaderboard_configs/navsim agent=autovla ...

A plan has ten poses (5 s) of the box centre, the benchmark wants eight (4 s) of the rear axle: the poses are moved to
the rear axle, the two after the devkit's horizon are left out. Nothing is interpolated. For NAVSIM v1.1 and v2.
"""

from __future__ import annotations

import inspect
import math

import numpy as np
from navsim.agents.abstract_agent import AbstractAgent
from navsim.common.dataclasses import SensorConfig, Trajectory
from nuplan.planning.simulation.trajectory.trajectory_sampling import TrajectorySampling

from autovla_core.model.images import crop, fit
from autovla_core.serving import client as wire

CAMERAS = {  # ours -> the devkit's
    "front": "cam_f0",
    "front_left": "cam_l0",
    "front_right": "cam_r0",
    "left": "cam_l1",
    "right": "cam_r1",
    "back_left": "cam_l2",
    "back_right": "cam_r2",
    "back": "cam_b0",
}
COMMANDS = (1, 4, 2, -1)  # of the one-hot left, forward, right, unknown: CARLA's RoadOption, as in training
AHEAD_M = {"centre": 1.461, "rear_axle": 0.0}  # of what the model's poses are, ahead of the Pacifica's rear axle
STEP_S = 0.5
CLIP = 4
TIMES_S = STEP_S * np.arange(1 - CLIP, 1)


class NavsimAgentError(Exception):
    """The devkit and the planner server do not fit each other, or the agent is told something impossible."""


class AutoVLANavsimAgent(AbstractAgent):
    """The devkit's agent around a planner server.

    Args:
        trajectory_sampling: what the devkit wants; poses every 0.5 s (or a multiple), at most 5 s.
        server: ``host:port`` of ``tools/serve_policy.py``.
        token_file: the one that the server was started with, if it was.
        point: whose poses the model was taught: ``centre`` of the box (the default of our readers) or ``rear_axle``.
        timeout_s: longest wait for one plan; a thinking 3B model needs some.
    """

    def __init__(
        self,
        trajectory_sampling: TrajectorySampling,
        server: str = f"127.0.0.1:{wire.DEFAULT_PORT}",
        token_file: str | None = None,
        point: str = "centre",
        timeout_s: float = 120.0,
    ) -> None:
        v2 = "trajectory_sampling" in inspect.signature(AbstractAgent.__init__).parameters
        super().__init__(**({"trajectory_sampling": trajectory_sampling} if v2 else {}))
        if point not in AHEAD_M:
            raise NavsimAgentError(f"point is {point!r}, expected one of {', '.join(AHEAD_M)}")
        self._trajectory_sampling = trajectory_sampling
        self._wanted = wanted_steps(trajectory_sampling.num_poses, trajectory_sampling.interval_length)
        self._ahead_m = AHEAD_M[point]
        self._client = wire.Client(server, _read_token(token_file), timeout_s, name="navsim agent")

    def name(self) -> str:
        """Names the devkit's result file."""
        return "autovla"

    def initialize(self) -> None:
        """Connect; every worker of the devkit has a connection of its own, and the server batches them."""
        self._cameras()

    def get_sensor_config(self) -> SensorConfig:
        """The model's cameras with their history, nothing else."""
        wanted = {CAMERAS[camera] for camera, _, _ in self._cameras()}
        return SensorConfig(**{name: name in wanted for name in CAMERAS.values()}, lidar_pc=False)

    def compute_trajectory(self, agent_input) -> Trajectory:
        """A plan for the devkit's ``AgentInput``.

        Raises:
            PlannerError, NavsimAgentError, ObservationError: no plan; the devkit then marks the scene as not valid.
        """
        speed, acceleration, command = state_of(agent_input.ego_statuses[-1])
        clips = {c: clip_of(agent_input.cameras, c, height, width) for c, height, width in self._cameras()}
        plan = self._client.plan(0.0, clips, speed, acceleration, command=command)
        poses = rear_axle_poses(plan.poses, self._ahead_m)
        if len(poses) <= self._wanted[-1]:
            raise NavsimAgentError(f"the server planned {len(poses)} poses, the devkit wants {self._wanted[-1] + 1}")
        return Trajectory(poses[self._wanted].astype(np.float32), self._trajectory_sampling)

    def _cameras(self) -> list[tuple[str, int, int]]:
        """(id, height, width) of every camera of the served model."""
        self._client.connect()
        told = self._client.server.get("cameras") or []
        unknown = sorted({camera for camera, _, _ in told} - set(CAMERAS))
        if unknown or not told:
            raise NavsimAgentError(f"the server's model has the cameras {told}; NAVSIM has {', '.join(CAMERAS)}")
        return [(camera, height, width) for camera, height, width in told]


def wanted_steps(count: int, interval_s: float) -> list[int]:
    """Which of a plan's ten poses the devkit gets.

    Raises:
        NavsimAgentError: poses between those that a plan has, or after its end.
    """
    every = round(interval_s / STEP_S)
    steps = [every * (k + 1) - 1 for k in range(count)]
    if every < 1 or not math.isclose(every * STEP_S, interval_s, abs_tol=1e-6) or not 0 <= steps[-1] < 10:
        raise NavsimAgentError(
            f"the devkit wants {count} poses every {interval_s} s; a plan has 10 every {STEP_S} s. "
            "Set trajectory_sampling to time_horizon 4, interval_length 0.5"
        )
    return steps


def state_of(status) -> tuple[float, float, int]:
    """Speed m/s and acceleration m/s2 along the car, signed, and the command, of an ``EgoStatus``."""
    one_hot = np.asarray(status.driving_command)
    if one_hot.shape != (len(COMMANDS),) or sorted(one_hot.tolist()) != [0, 0, 0, 1]:
        raise NavsimAgentError(
            f"driving_command is {one_hot.tolist()}, expected a 1 for left, forward, right or unknown"
        )
    return float(status.ego_velocity[0]), float(status.ego_acceleration[0]), COMMANDS[int(one_hot.argmax())]


def clip_of(history, camera: str, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The clip (4, height, width, 3) of one camera out of the devkit's ``Cameras``, oldest first, and its times.

    Raises:
        NavsimAgentError: fewer than four moments, or one without this picture.
    """
    pictures = [getattr(moment, CAMERAS[camera]).image for moment in history[-CLIP:]]
    missing = [k for k, picture in enumerate(pictures) if picture is None]
    if len(pictures) < CLIP or missing:
        raise NavsimAgentError(
            f"{CAMERAS[camera]}: {len(pictures)} moments, without a picture {missing}; a clip is {CLIP} pictures, "
            "so num_history_frames must be 4 and the sensor blobs complete"
        )
    cropped = [crop(np.asarray(picture), height, width) for picture in pictures]
    return np.stack([fit(np.ascontiguousarray(picture), height, width) for picture in cropped]), TIMES_S


def rear_axle_poses(poses: np.ndarray, ahead_m: float) -> np.ndarray:
    """Poses (N, 3) of a point ``ahead_m`` ahead of the rear axle, relative to it now, as those of the rear axle."""
    x, y, yaw = np.asarray(poses, float).T
    return np.column_stack([x + ahead_m * (1.0 - np.cos(yaw)), y - ahead_m * np.sin(yaw), yaw])


def _read_token(file: str | None) -> str:
    if not file:
        return ""
    with open(file, encoding="utf-8") as stream:
        return stream.readline().strip()
