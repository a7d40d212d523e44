"""The vision-language-action agent: cameras, GNSS, IMU and speedometer in, VehicleControl out.

Configuration: a YAML file with the fields of ``AgentConfig``: the model in this process
(leaderboard_configs/autovla_agent.yaml) or behind a server (leaderboard_configs/autovla_server_agent.yaml);
relative paths are relative to the checkout.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from autovla_leaderboard import AutonomousAgent, Track

from autovla_core import config as configs
from autovla_core.action.vehicle import Vehicle
from autovla_core.carla_bridge.actuate import vehicle_control
from autovla_core.carla_bridge.observe import Motion, Observer
from autovla_core.carla_bridge.route_planner import route_plan
from autovla_core.contracts import Planner
from autovla_core.control.shield import Shield, ShieldConfig
from autovla_core.driving.driver import Driver
from autovla_core.driving.latency import Latency, LatencyConfig
from autovla_core.errors import ConfigError
from autovla_core.model.thinking import ThinkingConfig
from autovla_core.model.vla import AutoVLA
from autovla_core.sensing import radar
from autovla_core.sensing import rig as rigs
from autovla_core.serving.remote import RemotePlanner, read_token

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[1]
_MODELS: dict[tuple[object, ...], Planner] = {}  # a new agent is made for every route; a model is loaded once


@dataclass(frozen=True)
class AgentConfig:
    """One YAML file; either ``checkpoint`` or ``server``.

    Raises:
        ConfigError: both or neither, or a choice that is the server's own.
    """

    checkpoint: Path | None = None
    server: str = ""  # host:port of tools/serve_policy.py
    token_file: Path | None = None  # if that server wants a token
    rig: str = "front"
    replan_s: float = 0.5
    threads: int = 1  # of the processor; the simulator needs the others
    blind: bool = False  # black images: what a table compares the seeing model with
    thinking: ThinkingConfig = field(default_factory=ThinkingConfig)  # fast; the shipped model has learnt no thoughts
    reach: bool = False  # choose only among motions that the car can follow up with
    vehicle: Vehicle = field(default_factory=Vehicle)  # that is driven; a model for another size is refused
    latency: LatencyConfig = field(default_factory=LatencyConfig)  # when a plan counts; default: the simulator waits
    shield: ShieldConfig = field(default_factory=ShieldConfig)  # off; on, it has the last word and a radar to see by

    def __post_init__(self) -> None:
        if (self.checkpoint is None) == (not self.server):
            raise ConfigError(
                f"found checkpoint {str(self.checkpoint)!r} and server {self.server!r}, expected exactly one of them"
            )
        own = {"blind": self.blind, "reach": self.reach}
        own |= {"thinking": self.thinking != ThinkingConfig(), "vehicle": self.vehicle != Vehicle()}
        if self.server and any(own.values()):
            raise ConfigError(
                f"found {', '.join(name for name in own if own[name])} beside a server; tools/serve_policy.py takes "
                "such choices as its own flags"
            )


def get_entry_point() -> str:
    """Name of the agent class, for the evaluator."""
    return "AutoVLAAgent"


class AutoVLAAgent(AutonomousAgent):
    """Thin: translates between the leaderboard and the driver."""

    def setup(self, path_to_conf_file: str, *args: object, **kwargs: object) -> None:
        """Read the configuration and load the model; Bench2Drive appends '+name' to the path."""
        self.track = Track.SENSORS
        self.config = configs.load(AgentConfig, _config_path(path_to_conf_file))
        self._cameras = rigs.rig(self.config.rig)
        self.driver = Driver(
            _model(self.config),
            replan_s=self.config.replan_s,
            latency=Latency(self.config.latency, ROOT, _first_point(self._global_plan_world_coord)),
            shield=_shield(self.config),
        )
        self._observer: Observer | None = None

    def sensors(self) -> list[dict]:
        """The rig's cameras, GNSS, IMU and speedometer; with the shield a front radar."""
        own = rigs.sensors(self._cameras)
        return [*own, radar.RadarSpec().sensor()] if self.config.shield.enabled else own

    def run_step(self, input_data: dict, timestamp: float):
        """One tick: ``{id: (frame, payload)}`` and seconds in, ``carla.VehicleControl`` out."""
        if self._observer is None:
            self._observer = Observer(self._cameras, route_plan(self._global_plan_world_coord))
        motion = self._observer.update(input_data, timestamp)
        seen = self._returns(input_data, motion)
        control = self.driver.step(self._observer.observe, motion.time_s, motion.speed, motion.yaw_rate, seen)
        return vehicle_control(control)

    def _returns(self, input_data: dict, motion: Motion) -> np.ndarray | None:
        if not self.config.shield.enabled:
            return None
        payload = radar.payload_of(input_data)
        return radar.returns_of(payload, motion.speed, motion.yaw_rate, self.config.vehicle.rear_axle)

    def destroy(self, *args: object, **kwargs: object) -> None:
        """Report failed plans and forget the episode; the model stays loaded for the next route."""
        driver = getattr(self, "driver", None)  # setup may have failed
        if driver is None:
            return
        if driver.failures:
            logger.warning("%d of %d plans failed", driver.failures, driver.failures + driver.plans)
        driver.reset()
        self._observer = None


def _shield(config: AgentConfig) -> Shield | None:
    vehicle = config.vehicle
    return Shield(config.shield, vehicle.length, vehicle.width) if config.shield.enabled else None


def _first_point(plan: list) -> tuple[float, float]:
    at = plan[0][0].location
    return at.x, at.y


def _config_path(path_to_conf_file: str) -> Path:
    path = Path(str(path_to_conf_file).split("+")[0])
    return path if path.is_absolute() or path.exists() else ROOT / path


def _model(config: AgentConfig) -> Planner:
    if config.checkpoint is None:
        key: tuple[object, ...] = (config.server, config.token_file)
    else:
        key = ((ROOT / config.checkpoint).resolve(), config.blind, config.thinking, config.reach, config.vehicle)
    if key not in _MODELS:
        _MODELS[key] = _load(config)
    return _MODELS[key]


def _load(config: AgentConfig) -> Planner:
    if config.checkpoint is None:
        return RemotePlanner(config.server, read_token(config.token_file and ROOT / config.token_file))
    return AutoVLA.from_pretrained(
        (ROOT / config.checkpoint).resolve(),
        blind=config.blind,
        threads=config.threads,
        thinking=config.thinking,
        reach=config.reach,
        vehicle=config.vehicle,
    )
