"""The PDM score of plans: prepare a scene once, then score any number of plans on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autovla_core.scoring.pdm import comfort, tracker
from autovla_core.scoring.pdm.areas import build_index
from autovla_core.scoring.pdm.contacts import overlapping
from autovla_core.scoring.pdm.obstacles import ignore, red_steps, replay
from autovla_core.scoring.pdm.reference import closed_loop_reference
from autovla_core.scoring.pdm.route_line import line_of
from autovla_core.scoring.pdm.scene_shapes import ego_box, polygon_of
from autovla_core.scoring.pdm.terms import OBSERVED_STEPS, STATES, Surroundings, Terms, seconds, terms_of
from autovla_core.scoring.pdm.weighing import aggregate, shares_of_best
from autovla_core.scoring.pdm_types import EgoState, PdmScene, PdmScores, PosePlan, ScoringError, Version

SUB_SCORES = (
    "no_at_fault_collisions",
    "drivable_area_compliance",
    "driving_direction_compliance",
    "traffic_light_compliance",
    "ego_progress",
    "time_to_collision_within_bound",
    "comfort",
    "lane_keeping",
    "extended_comfort",
)


@dataclass(frozen=True)
class PreparedScene:
    """What does not depend on the plan."""

    scene: PdmScene
    around: Surroundings
    reference_m: float  # progress of the reference
    reference_product: float  # its factors multiplied
    past: np.ndarray | None  # (14, 11)
    earlier: np.ndarray | None  # (41, 11) the plan of the previous frame, simulated
    forgiven: frozenset[str]  # sub-scores where the human gets 0


def prepare(scene: PdmScene, version: Version = Version.V1) -> PreparedScene:
    """Everything that scoring plans on ``scene`` shares: boxes at 10 Hz, map index, the reference.

    Raises:
        ScoringError: a scene that cannot be scored; the message says what is missing or wrong.
    """
    version = Version(version)
    _check(scene)
    try:
        around = _surroundings(scene, version)
    except ValueError as error:
        raise ScoringError(f"this scene cannot be scored: {error}") from None
    reference = terms_of(_drive(_reference(scene, around), scene.ego, scene), around)
    is_v2 = version is Version.V2
    past = comfort.past_states(scene.history, scene.ego) if is_v2 and scene.history is not None else None
    return PreparedScene(
        scene,
        around,
        float(reference.progress_m[0]),
        float(reference.product(version)[0]),
        past if past is not None and len(past) else None,
        _earlier(scene) if is_v2 else None,
        _forgiven(scene, around) if is_v2 else frozenset(),
    )


def score(
    scene: PdmScene | PreparedScene, plans: np.ndarray, period_s: float = 0.5, version: Version = Version.V1
) -> PdmScores:
    """Score plans (P, N, 3), or one (N, 3): rear-axle poses in the ego frame at ``period_s``, 2 ``period_s`` ...

    Only the first 4 s count; a shorter plan is held at its last pose. ``version`` matters for a
    scene that is not prepared yet.

    Raises:
        ScoringError: plans of another shape or with NaN, or a scene that cannot be scored.
    """
    prepared = scene if isinstance(scene, PreparedScene) else prepare(scene, version)
    plans = np.asarray(plans, float)
    plans = plans[None] if plans.ndim == 2 else plans
    if plans.ndim != 3 or plans.shape[2] != 3 or 0 in plans.shape or not np.isfinite(plans).all():
        raise ScoringError(f"found plans {plans.shape} or NaN in them, expected finite (P, N, 3): x, y, yaw")
    if not period_s > 0.0:
        raise ScoringError(f"found a plan period of {period_s} s, expected a positive one")
    world = tracker.on_grid(tracker.to_world(plans, prepared.scene.ego), period_s)
    states = _drive(world, prepared.scene.ego, prepared.scene)
    return _assemble(prepared, states, terms_of(states, prepared.around))


def _assemble(prepared: PreparedScene, states: np.ndarray, terms: Terms) -> PdmScores:
    version, nothing = prepared.around.version, np.full(len(states), np.nan)
    values = terms.values(version)
    values |= {"ego_progress": _progress(terms, prepared), "comfort": _comfort(prepared, states)}
    unfiltered = aggregate(values, version)
    values |= {name: np.ones(len(states)) for name in prepared.forgiven}
    if prepared.earlier is not None:
        values["extended_comfort"] = comfort.extended_comfort(states, prepared.earlier)
    return PdmScores(
        version=version,
        **{name: values.get(name, nothing) for name in SUB_SCORES},
        unfiltered_score=unfiltered,
        score=aggregate(values, version),
        progress_m=terms.progress_m,
        reference_progress_m=prepared.reference_m,
        collision_time_s=seconds(terms.collision_step),
        ttc_time_s=seconds(terms.ttc_step),
        states=states,
    )


def _progress(terms: Terms, prepared: PreparedScene) -> np.ndarray:
    """Each plan alone against the reference, as the benchmark compares them."""
    version = prepared.around.version
    product = terms.product(version)
    best = np.maximum(terms.progress_m * product, prepared.reference_m * prepared.reference_product)
    return shares_of_best(terms.progress_m, product, best, version)


def _comfort(prepared: PreparedScene, states: np.ndarray) -> np.ndarray:
    if prepared.around.version is Version.V1:
        return comfort.within_bounds(comfort.signals_v1(states))
    return comfort.history_comfort(states, prepared.past, prepared.scene.vehicle.rear_axle_to_center)


def _check(scene: PdmScene) -> None:
    line = np.asarray(scene.centerline)
    if line.ndim != 2 or len(line) < 2 or line.shape[1] != 3 or not np.isfinite(line).all():
        raise ScoringError(f"found a centreline {line.shape}, expected at least two finite points (M, 3): x, y, yaw")
    ego = scene.ego
    numbers = (*np.ravel(ego.pose), ego.vx, ego.vy, ego.ax, ego.ay, ego.steering_angle, ego.yaw_rate)
    if np.shape(ego.pose) != (3,) or not np.isfinite(numbers).all():
        raise ScoringError(f"found the ego state {ego}, expected a pose (3,) and finite numbers")
    lanes = {area.id for area in scene.areas}
    if not any(name in lanes for name in scene.route_lane_ids):
        raise ScoringError("none of the route's lanes is among the map areas: all driving would count as oncoming")


def _surroundings(scene: PdmScene, version: Version) -> Surroundings:
    obstacles = replay(scene.tracks, OBSERVED_STEPS[version])
    if version is Version.V2:
        obstacles = ignore(obstacles, overlapping(ego_box(scene), obstacles))
    areas = {area.id: area for area in scene.areas}
    lights = [name for name in scene.red_lights if name in scene.route_lane_ids and name in areas]
    red = np.array([red_steps(scene.red_lights[name], STATES) for name in lights], bool).reshape(-1, STATES)
    return Surroundings(
        version,
        scene.vehicle,
        build_index(scene.areas, scene.route_lane_ids),
        line_of(scene.centerline),
        obstacles,
        np.array([polygon_of(areas[name]) for name in lights], object),
        red if version is Version.V2 else np.zeros_like(red),
    )


def _reference(scene: PdmScene, around: Surroundings) -> np.ndarray:
    """Poses (1, 41, 3) that the reference wants to drive."""
    if scene.reference is None:
        return closed_loop_reference(scene, around)[None, :STATES]
    return _on_grid(scene.reference, scene.ego)


def _on_grid(plan: PosePlan, ego: EgoState) -> np.ndarray:
    return tracker.on_grid(tracker.to_world(np.asarray(plan.poses, float)[None], ego), plan.period_s)


def _drive(world: np.ndarray, ego: EgoState, scene: PdmScene) -> np.ndarray:
    return tracker.simulate(world, ego, scene.vehicle)


def _earlier(scene: PdmScene) -> np.ndarray | None:
    if scene.previous is None:
        return None
    return _drive(_on_grid(scene.previous.plan, scene.previous.ego), scene.previous.ego, scene)[0]


def _forgiven(scene: PdmScene, around: Surroundings) -> frozenset[str]:
    """The human filter: what the human gets exactly 0 for is held against no plan."""
    if scene.human is None:
        return frozenset()
    terms = terms_of(_drive(_on_grid(scene.human, scene.ego), scene.ego, scene), around)
    return frozenset(name for name, value in terms.values(around.version).items() if value[0] == 0.0)
