"""The NAVSIM agent: against a stand-in of the devkit's documented interface, and against genuine clones where named.

NAVSIM_V1_CLONE, NAVSIM_V2_CLONE   clones of autonomousvision/navsim, branches v1.1 and v2.2
NUPLAN_DEVKIT_CLONE                a clone of motional/nuplan-devkit; the packages that both import must be installed
"""

from __future__ import annotations

import abc
import ast
import importlib
import json
import os
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import yaml

from autovla_core.contracts import Clip, Observation, Plan
from autovla_core.errors import ObservationError
from autovla_core.serving.client import RemoteError
from autovla_core.serving.server import PlannerServer, ServerConfig
from tests.open_loop.fixtures import write_navsim as writer
from training.datasets import navsim, navsim_logs
from training.datasets.rear_axle import rear_from_centre
from training.datasets.sample import Sample
from training.open_loop_planners import Pictures

ROOT = Path(__file__).resolve().parents[2]
AGENT = ROOT / "agents" / "autovla_navsim_agent.py"
YAML = ROOT / "leaderboard_configs" / "navsim" / "agent" / "autovla.yaml"
CAMERAS = [["front", 28, 42], ["left", 28, 50]]
CLONES = {"v1": "NAVSIM_V1_CLONE", "v2": "NAVSIM_V2_CLONE"}


class Recorder:
    """A planner that remembers what it saw and turns left, 8 m/s, on a circle; refuses a negative speed."""

    def __init__(self) -> None:
        self.seen: list[Observation] = []

    def plan(self, observation: Observation) -> Plan:
        clips = {c: Clip(clip.images.copy(), clip.times_s) for c, clip in observation.clips.items()}
        self.seen.append(SimpleNamespace(**{**vars(observation), "clips": clips}))
        if observation.speed < 0.0:
            raise ObservationError("reversing")
        return Plan(poses(), 0.0, 0.0)

    def reset(self) -> None:
        self.seen.clear()


def poses() -> np.ndarray:
    """(10, 3) of the box centre on the circle that its rear axle drives, radius 40 m, 0.1 rad a step."""
    yaw = 0.1 * np.arange(1, 11)
    rear = np.column_stack([40.0 * np.sin(yaw), 40.0 * (1.0 - np.cos(yaw)), yaw])
    return rear_from_centre(rear, -1.461)


@dataclass
class Sampling:
    """nuPlan's TrajectorySampling, as much as is documented."""

    time_horizon: float = 4
    interval_length: float = 0.5

    @property
    def num_poses(self) -> int:
        return round(self.time_horizon / self.interval_length)


@dataclass
class Trajectory:
    """NAVSIM's Trajectory with its checks."""

    poses: np.ndarray
    trajectory_sampling: Sampling

    def __post_init__(self) -> None:
        assert self.poses.shape == (self.trajectory_sampling.num_poses, 3)


def stand_in(version: str) -> dict[str, ModuleType]:
    """The devkit's modules that the agent imports; the base class of v1.1 takes no sampling, that of v2 demands it."""

    class AgentV1(abc.ABC):
        def __init__(self, requires_scene: bool = False) -> None:
            self.requires_scene = requires_scene

        @abc.abstractmethod
        def name(self) -> str: ...

        @abc.abstractmethod
        def get_sensor_config(self) -> object: ...

        @abc.abstractmethod
        def initialize(self) -> None: ...

    class AgentV2(AgentV1):
        def __init__(self, trajectory_sampling: Sampling, requires_scene: bool = False) -> None:
            super().__init__(requires_scene)
            self._trajectory_sampling = trajectory_sampling

    contents = {
        "navsim.agents.abstract_agent": {"AbstractAgent": AgentV1 if version == "v1" else AgentV2},
        "navsim.common.dataclasses": {"SensorConfig": SimpleNamespace, "Trajectory": Trajectory},
        "nuplan.planning.simulation.trajectory.trajectory_sampling": {"TrajectorySampling": Sampling},
    }
    made: dict[str, ModuleType] = {}
    for path, names in contents.items():
        parts = path.split(".")
        for depth in range(1, len(parts) + 1):
            made.setdefault(name := ".".join(parts[:depth]), types.ModuleType(name))
        vars(made[path]).update(names)
    return made


@pytest.fixture(scope="module")
def samples(navsim_data: Path) -> navsim.NavsimReader:
    return navsim.open_split(navsim_data, navsim_data / "index", "navmini", score="none")


@pytest.fixture
def planner() -> Recorder:
    return Recorder()


@pytest.fixture
def server(planner: Recorder) -> Iterator[PlannerServer]:
    with PlannerServer(planner, ServerConfig(port=0), {"cameras": CAMERAS}) as running:
        yield running


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """The agent's module with the stand-in of a version."""

    def loaded(version: str) -> ModuleType:
        for name, module in stand_in(version).items():
            monkeypatch.setitem(sys.modules, name, module)
        sys.modules.pop(AGENT.stem, None)
        return importlib.import_module(AGENT.stem)

    monkeypatch.syspath_prepend(str(AGENT.parent))
    yield loaded
    sys.modules.pop(AGENT.stem, None)


def agent_input(sample: Sample, cameras: tuple[str, ...] = ("front", "left")) -> SimpleNamespace:
    """What the devkit hands over for a sample: four moments, those of other cameras without a picture."""
    moments = [
        SimpleNamespace(
            **{
                devkit.lower(): SimpleNamespace(image=sample.images[c][k].read() if c in cameras else None)
                for c, devkit in navsim_logs.CAMERAS.items()
            }
        )
        for k in range(4)
    ]
    one_hot = np.eye(4, dtype=int)[navsim_logs.COMMANDS.index(sample.command)]
    status = SimpleNamespace(
        ego_velocity=np.array([sample.speed, 0.02], np.float32),
        ego_acceleration=np.array([sample.acceleration, -0.1], np.float32),
        driving_command=one_hot,
    )
    return SimpleNamespace(ego_statuses=[status] * 4, cameras=moments)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_eight_poses_of_the_rear_axle_come_back(
    version: str, load: Callable[[str], ModuleType], server: PlannerServer, samples: navsim.NavsimReader
) -> None:
    agent = load(version).AutoVLANavsimAgent(Sampling(), server.address)
    agent.initialize()
    found = agent.compute_trajectory(agent_input(samples[0]))
    yaw = 0.1 * np.arange(1, 9)  # the circle of the rear axle, to 4 s
    expected = np.column_stack([40.0 * np.sin(yaw), 40.0 * (1.0 - np.cos(yaw)), yaw])
    assert found.poses.dtype == np.float32 and agent.name() == "autovla" and not agent.requires_scene
    np.testing.assert_allclose(found.poses, expected, atol=1e-5)


def test_the_model_sees_what_our_own_evaluation_shows_it(
    load: Callable[[str], ModuleType], server: PlannerServer, planner: Recorder, samples: navsim.NavsimReader
) -> None:
    agent = load("v2").AutoVLANavsimAgent(Sampling(), server.address)
    views = tuple(SimpleNamespace(id=id, height=height, width=width) for id, height, width in CAMERAS)
    for sample in (samples[0], samples[8]):  # the second one turns left
        agent.compute_trajectory(agent_input(sample))
        seen = planner.seen[-1]
        assert (seen.speed, seen.acceleration, seen.command) == (sample.speed, sample.acceleration, sample.command)
        wanted = Pictures(views, 1).clips(sample)
        assert set(seen.clips) == set(wanted)
        for camera, clip in wanted.items():
            np.testing.assert_array_equal(seen.clips[camera].images, clip)
            np.testing.assert_array_equal(seen.clips[camera].times_s, [-1.5, -1.0, -0.5, 0.0])


def test_only_the_models_cameras_are_loaded(load: Callable[[str], ModuleType], server: PlannerServer) -> None:
    config = load("v1").AutoVLANavsimAgent(Sampling(), server.address).get_sensor_config()
    asked = {name for name, wanted in vars(config).items() if wanted}
    assert asked == {"cam_f0", "cam_l1"} and not config.lidar_pc and len(vars(config)) == 9


def test_tables_are_those_of_our_reader(load: Callable[[str], ModuleType]) -> None:
    module = load("v1")
    assert {ours: theirs.lower() for ours, theirs in navsim_logs.CAMERAS.items()} == module.CAMERAS
    assert tuple(int(command) for command in navsim_logs.COMMANDS) == module.COMMANDS
    assert pytest.approx(navsim.POINTS) == module.AHEAD_M
    rng = np.random.default_rng(5)
    plan = rng.normal(0.0, 3.0, (10, 3))
    np.testing.assert_allclose(module.rear_axle_poses(plan, 1.461)[:, :2], rear_from_centre(plan, 1.461)[:, :2])


@pytest.mark.parametrize(
    ("horizon", "interval", "steps"), [(4, 0.5, list(range(8))), (5, 0.5, list(range(10))), (4, 1.0, [1, 3, 5, 7])]
)
def test_ten_poses_become_those_that_the_devkit_wants(
    horizon: float, interval: float, steps: list[int], load: Callable[[str], ModuleType]
) -> None:
    wanted = Sampling(horizon, interval)
    assert load("v1").wanted_steps(wanted.num_poses, wanted.interval_length) == steps


@pytest.mark.parametrize(("horizon", "interval"), [(4, 0.1), (6, 0.5), (4, 0.75)])
def test_poses_that_no_plan_has_are_refused_at_once(
    horizon: float, interval: float, load: Callable[[str], ModuleType]
) -> None:
    module = load("v2")
    with pytest.raises(module.NavsimAgentError, match="a plan has 10 every 0.5 s"):
        module.AutoVLANavsimAgent(Sampling(horizon, interval))


def test_what_does_not_fit_is_named(
    load: Callable[[str], ModuleType], server: PlannerServer, samples: navsim.NavsimReader
) -> None:
    module = load("v2")
    agent = module.AutoVLANavsimAgent(Sampling(), server.address)
    with pytest.raises(module.NavsimAgentError, match=r"cam_l1: 4 moments, without a picture \[0, 1, 2, 3\]"):
        agent.compute_trajectory(agent_input(samples[0], cameras=("front",)))
    short = agent_input(samples[0])
    short.cameras = short.cameras[:3]
    with pytest.raises(module.NavsimAgentError, match="3 moments"):
        agent.compute_trajectory(short)
    odd = agent_input(samples[0])
    odd.ego_statuses[-1].driving_command = np.array([1, 1, 0, 0])
    with pytest.raises(module.NavsimAgentError, match="left, forward, right or unknown"):
        agent.compute_trajectory(odd)
    back = agent_input(samples[0])
    back.ego_statuses[-1] = SimpleNamespace(**{**vars(back.ego_statuses[-1]), "ego_velocity": np.array([-1.0, 0.0])})
    with pytest.raises(RemoteError, match="ObservationError: reversing"):
        agent.compute_trajectory(back)
    with pytest.raises(module.NavsimAgentError, match="centre, rear_axle"):
        module.AutoVLANavsimAgent(Sampling(), server.address, point="nose")


def test_a_model_with_a_camera_that_navsim_lacks_is_refused(
    load: Callable[[str], ModuleType], planner: Recorder
) -> None:
    module = load("v2")
    with (
        PlannerServer(planner, ServerConfig(port=0), {"cameras": [["roof", 28, 42]]}) as other,
        pytest.raises(module.NavsimAgentError, match="roof"),
    ):
        module.AutoVLANavsimAgent(Sampling(), other.address).initialize()


def test_the_hydra_file_names_the_class_and_its_arguments(load: Callable[[str], ModuleType]) -> None:
    values = yaml.safe_load(YAML.read_text())
    folder, _, name = values.pop("_target_").rpartition(".")
    assert folder == AGENT.stem and values.pop("_convert_") == "all"
    sampling = values.pop("trajectory_sampling")
    made = getattr(load("v2"), name)(Sampling(sampling["time_horizon"], sampling["interval_length"]), **values)
    assert made._wanted == list(range(8))


def test_an_old_python_can_read_all_that_the_agent_imports() -> None:
    """Python 3.8 syntax; nothing but the standard library, numpy, Pillow and the devkit."""
    package = {"autovla_core.errors", "autovla_core.model.images", "autovla_core.serving.client"}
    files = [AGENT, *(ROOT / f"{name.replace('.', '/')}.py" for name in package)]
    files += [ROOT / "autovla_core" / folder / "__init__.py" for folder in (".", "model", "serving")]
    for file in files:
        tree = ast.parse(file.read_text(), feature_version=(3, 8))
        for node in ast.walk(tree):
            if not isinstance(node, ast.Import | ast.ImportFrom):
                continue
            origin = node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
            names = {f"{origin}.{alias.name}" for alias in node.names} | {origin}
            known = origin.split(".")[0] in {*sys.stdlib_module_names, "numpy", "PIL", "navsim", "nuplan"}
            assert known or names & package, f"{file.name} imports {origin}"


GENUINE = """
import json, sys
from pathlib import Path
import shapely, types
if not hasattr(shapely, "vectorized"):  # gone since shapely 2.1
    gone = types.ModuleType("shapely.vectorized")
    gone.contains = shapely.contains_xy
    sys.modules["shapely.vectorized"] = shapely.vectorized = gone
root, log, split, address, config = sys.argv[1:]
from omegaconf import OmegaConf
from hydra.utils import instantiate
from navsim.common import dataloader
from navsim.common.dataclasses import SceneFilter
agent = instantiate(OmegaConf.load(config), server=address)
agent.initialize()
folder = Path(root)
blobs = {"sensor_blobs_path" if "v1" == split else "original_sensor_path": folder / "sensor_blobs/mini"}
chosen = SceneFilter(num_history_frames=4, num_future_frames=10, frame_interval=1)
loader = dataloader.SceneLoader(data_path=folder / "navsim_logs/mini", scene_filter=chosen,
                                sensor_config=agent.get_sensor_config(), **blobs)
found = {}
for token in loader.tokens[:3]:
    trajectory = agent.compute_trajectory(loader.get_agent_input_from_token(token))
    found[token] = [trajectory.poses.tolist(), trajectory.trajectory_sampling.num_poses]
print(json.dumps(found))
"""


@pytest.mark.parametrize("version", CLONES)
def test_the_genuine_devkit_instantiates_it_and_gets_the_same_plan(
    version: str, navsim_data: Path, server: PlannerServer, planner: Recorder, samples: navsim.NavsimReader
) -> None:
    wanted = (CLONES[version], "NUPLAN_DEVKIT_CLONE")
    if not all(os.environ.get(name) for name in wanted):
        pytest.skip(f"{' and '.join(wanted)} are not set")
    paths = [*(os.environ[name] for name in wanted), str(ROOT), str(AGENT.parent), *filter(None, sys.path)]
    where = {
        "OPENSCENE_DATA_ROOT": str(navsim_data),
        "NUPLAN_MAPS_ROOT": str(navsim_data / "maps"),
        "PYTHONPATH": ":".join(paths),
    }
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        GENUINE,
        str(navsim_data),
        writer.LOG,
        version,
        server.address,
        str(YAML),
    ]
    run = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **where})
    assert run.returncode == 0, run.stderr[-3000:]
    found = json.loads(run.stdout.splitlines()[-1])
    assert len(found) == 3 and all(count == 8 for _, count in found.values())
    for trajectory, _ in found.values():
        np.testing.assert_allclose(trajectory, rear_from_centre(poses(), 1.461)[:8], atol=1e-5)
    views = tuple(SimpleNamespace(id=id, height=height, width=width) for id, height, width in CAMERAS)
    ours = {sample.id: sample for sample in samples}
    first = ours[next(iter(found))]
    for camera, clip in Pictures(views, 1).clips(first).items():
        np.testing.assert_array_equal(planner.seen[0].clips[camera].images, clip)
    assert (planner.seen[0].speed, planner.seen[0].command) == (first.speed, first.command)
