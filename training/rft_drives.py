"""Groups of answers from drives that branch: each plan is tried out in a fork of the simulator, and judged there.

A step's drives depend on (seed, step, place in the step) and the weights alone; nothing of a drive outlives its step.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from autovla_core.carla_bridge.saved_states import SavedStates
from autovla_core.contracts import Observation, Plan
from autovla_core.errors import ConfigError
from autovla_core.evaluation.branching import BranchingConfig, BranchingPilot, Crossing, Looker
from autovla_core.evaluation.episode import EpisodeConfig, run_episode
from autovla_core.evaluation.evaluator import Simulator
from autovla_core.evaluation.route_file import Route, read_routes
from autovla_core.model.generate import Generated
from autovla_core.model.images import fit
from autovla_core.model.sampling import Dice
from autovla_core.sensing.rig import rig
from training.rewards import Scene
from training.rft_groups import Group, earned, group_of
from training.rft_scenes import COMPLEX_RULES
from training.rft_settings import DrivesConfig, RftConfig
from training.rft_tally import Tally, Team
from training.rft_validation import judge, worth
from training.sampler import Sampler

HELD_OUT_SEED = 9_000  # of the traffic on held-out routes: no step's


class Drives:
    """Drives of one model on one simulator.

    Raises:
        ConfigError: a route with scenarios, or a rig that lacks a camera of the model.
    """

    def __init__(self, there: Simulator, states: SavedStates, sampler: Sampler, settings: RftConfig) -> None:
        self._there, self._states, self._sampler, self._settings = there, states, sampler, settings
        self._drives: DrivesConfig = settings.drives
        self._cameras = rig(self._drives.rig)
        lacking = {view.id for view in sampler.encoder.cameras} - {camera.id for camera in self._cameras}
        if lacking:
            raise ConfigError(f"drives.rig {self._drives.rig!r} lacks cameras {sorted(lacking)} of the model")
        self.routes, self.held_out = plain_routes(self._drives.routes), plain_routes(self._drives.held_out)

    def groups(self, step: int, place: int, tally: Tally, stop: threading.Event) -> list[Group]:
        """The groups of one drive of a step; fewer where the route ended before.

        Raises:
            RewardError: a reward is no number.
            SimulatorError: the simulator failed.
        """
        settings, found = self._settings, []
        rng = np.random.default_rng([settings.seed, step, place + 1])
        most = settings.grpo.prompts // self._drives.drives

        def decide(crossing: Crossing) -> Plan:
            noise = rng.standard_normal(2) * [settings.noise.speed, settings.noise.acceleration]
            group, plan = self._deal(crossing, [settings.seed, step, place, len(found)], noise, tally)
            found.append(group)
            return plan

        route = piece(self.routes[int(rng.integers(len(self.routes)))], rng)
        first_s = float(rng.uniform(1.0, max(self._drives.latest_s, 1.0)))
        self._drive(route, int(rng.integers(2**31)), first_s, most, decide, tally, stop.is_set)
        tally.add("groups_a_drive", len(found))
        return found

    def validate(self, team: Team) -> dict[str, float]:
        """Means over held-out drives of what greedy plans earn, beside ``rewards.STANDARDS``."""
        tally, most = Tally(), self._settings.grpo.prompts // self._drives.drives
        for number in team.share(self._drives.held_out_drives):

            def decide(crossing: Crossing) -> Plan:
                found = self._ways(crossing.observation)
                judge(self._sampler, scene_of(crossing), self._settings, found, tally)
                return self._as_plan(crossing.observation, found[""])

            route = piece(self.held_out[number % len(self.held_out)], np.random.default_rng(number))
            self._drive(route, HELD_OUT_SEED + number, 1.0, most, decide, tally, lambda: False)
        return worth(team.merge(tally).means())

    def _drive(
        self,
        route: Route,
        seed: int,
        first_s: float,
        most: int,
        decide: Callable[[Crossing], Plan],
        tally: Tally,
        stop: Callable[[], bool],
    ) -> None:
        config = BranchingConfig(self._drives.seconds, first_s, self._drives.every_s, most)
        pilot = BranchingPilot(self._cameras, self._states, config, self._greedy, decide, stop)
        episode = EpisodeConfig(traffic=self._drives.traffic, agent_timeout_s=0.0)
        record = run_episode(self._there.session, route, pilot, "", seed, config=episode, subscribers=[Looker(pilot)])
        if pilot.failure is not None:
            raise pilot.failure
        tally.add("driven_s", record.duration_game)
        if pilot.forks is not None and pilot.forks.branches:
            tally.add("branch_ms", 1e3 * pilot.forks.wall_s / pilot.forks.branches)

    def _deal(self, crossing: Crossing, key: list[int], noise: np.ndarray, tally: Tally) -> tuple[Group, Plan]:
        """The group of one moment, and the greedy plan to go on with."""
        settings, sampler, observation = self._settings, self._sampler, crossing.observation
        prompt, features = self._prompt(observation, noise), self._look(observation)
        dice = Dice([[*key, number] for number in range(settings.grpo.group)])
        answers = sampler.answer([prompt], features, settings.thinking, settings.grpo.group, dice)
        rewards = earned(sampler.outcome(scene_of(crossing), answers), settings, tally)
        whole = prompt + sampler.grammar.opening(settings.thinking.mode)
        group = group_of(whole, features, answers, rewards, settings)
        (greedy,) = sampler.answer([self._prompt(observation)], features, settings.greedy)
        return group, self._as_plan(observation, greedy)

    def _ways(self, observation: Observation) -> dict[str, Generated]:
        """Greedy answers by each way of thinking, as in ``rft_validation``."""
        ways = {"": self._settings.greedy}
        if self._settings.thinking.mode == "adaptive":
            ways |= {f"{mode}_": replace(self._settings.greedy, mode=mode) for mode in ("fast", "slow")}
        prompt, features = self._prompt(observation), self._look(observation)
        return {name: self._sampler.answer([prompt], features, way)[0] for name, way in ways.items()}

    def _greedy(self, observation: Observation) -> Plan:
        prompt, features = self._prompt(observation), self._look(observation)
        return self._as_plan(observation, self._sampler.answer([prompt], features, self._settings.greedy)[0])

    def _prompt(self, seen: Observation, noise: Sequence[float] | np.ndarray = (0.0, 0.0)) -> tuple[int, ...]:
        speed, acceleration = seen.speed + noise[0], seen.acceleration + noise[1]
        return self._sampler.encoder.prompt(speed, acceleration, seen.command, seen.instruction)

    def _look(self, observation: Observation) -> tuple[torch.Tensor, ...]:
        views = self._sampler.encoder.cameras
        clips = {v.id: fit(observation.clips[v.id].images, v.height, v.width) for v in views}
        return self._sampler.look({name: np.ascontiguousarray(images)[None] for name, images in clips.items()})

    def _as_plan(self, observation: Observation, found: Generated) -> Plan:
        poses = self._sampler.plans([found])[0]
        return Plan(poses, observation.time_s, observation.time_s, found.tokens)


def scene_of(crossing: Crossing) -> Scene:
    """A moment of a drive as rewards see it."""
    name = f"drive at {crossing.observation.time_s:.2f} s"
    worth_a_thought = crossing.rule in COMPLEX_RULES
    return Scene(name, crossing.expert, crossing.known, worth_a_thought, crossing.try_out)


def plain_routes(file: Path) -> list[Route]:
    """The routes of a file.

    Raises:
        ConfigError: one has scenarios, whose actors would stand in a fork.
        RouteError: the file cannot be read.
    """
    routes = read_routes(file)
    staged = [route.id for route in routes if route.scenarios]
    if staged or not routes:
        raise ConfigError(f"{file}: found {len(routes)} routes, {staged} with scenarios; expected some, all without")
    return routes


def piece(route: Route, rng: np.random.Generator) -> Route:
    """The route from one of its points on, so that drives begin everywhere."""
    return replace(route, carla_points=route.carla_points[int(rng.integers(len(route.carla_points) - 1)) :])
