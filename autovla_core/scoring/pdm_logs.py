"""A PDM scene from a driven route: the frame of a log whose future is in the same log.

Two differences from NAVSIM, both meant: the reference of ego progress is the logged expert (driven
through the same tracker), not PDM-Closed; and the poses of this project are those of the box
centre, so plans pass ``axle_plans`` before they are scored.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from autovla_core.contracts import LightState
from autovla_core.geometry import arc_length, compose, relative, wrap_angle
from autovla_core.logs.truth import ACTOR_KINDS, LIGHT_STATES, PolygonKind, RouteMap, RouteTracks
from autovla_core.scoring.pdm_types import (
    AreaKind,
    EgoState,
    MapArea,
    PdmScene,
    PosePlan,
    ScoringError,
    Track,
    TrackKind,
    VehicleShape,
)

HORIZON_FRAMES = 50
TRACK_STRIDE = 5  # frames between sightings of a track
HISTORY_FRAMES = (15, 10, 5)  # before now
RADIUS_M = 100.0
ROUTE_BEHIND_M, ROUTE_AHEAD_M = 30.0, 200.0
AREA_KINDS: Mapping[PolygonKind, AreaKind] = {
    PolygonKind.LANE: AreaKind.LANE,
    PolygonKind.CONNECTOR: AreaKind.LANE_CONNECTOR,
    PolygonKind.ROAD: AreaKind.ROADBLOCK,
    PolygonKind.JUNCTION: AreaKind.INTERSECTION,
    PolygonKind.PARKING: AreaKind.CARPARK_AREA,
}
TRACK_KINDS: Mapping[str, TrackKind] = {
    "vehicle": TrackKind.VEHICLE,
    "walker": TrackKind.PEDESTRIAN,
    "bicycle": TrackKind.BICYCLE,
    "static": TrackKind.GENERIC_OBJECT,
}


def scorable_frames(tracks: RouteTracks) -> range:
    """Frames with 5 s of future; the end of a route cannot be scored."""
    return range(max(len(tracks.time_s) - HORIZON_FRAMES, 0))


def scene_at(route_map: RouteMap, tracks: RouteTracks, frame: int) -> PdmScene:
    """The scene of one frame.

    Raises:
        ScoringError: a frame without 5 s of future, or a map without a lane of the route near the ego.
    """
    if frame not in scorable_frames(tracks):
        count = len(scorable_frames(tracks))
        raise ScoringError(
            f"frame {frame} cannot be scored; the log of {len(tracks.time_s)} has {count} with 5 s ahead"
        )
    shape = vehicle_shape(tracks)
    areas = _areas(route_map, tracks.ego[frame, :2])
    route_lanes = tuple(name for name, on_route in _lane_names(route_map, areas) if on_route)
    if not route_lanes:
        raise ScoringError(f"no lane of the route within {RADIUS_M:g} m of the ego at frame {frame}")
    return PdmScene(
        _ego(tracks, frame, shape),
        tuple(areas.values()),
        route_lanes,
        _centerline(route_map.route, tracks.ego[frame, :3]),
        _tracks(tracks, frame),
        _red_lights(route_map, tracks, areas, frame),
        shape,
        PosePlan(_expert(tracks, frame, shape), period_s=0.1),
        _history(tracks, frame, shape),
    )


def axle_plans(plans: np.ndarray, vehicle: VehicleShape) -> np.ndarray:
    """Plans (..., N, 3) of the box centre in the box-centre frame to rear-axle poses in the rear-axle frame."""
    center_from_axle = np.array([-vehicle.rear_axle_to_center, 0.0, 0.0])
    return relative(center_from_axle, compose(np.asarray(plans, float), center_from_axle))


def vehicle_shape(tracks: RouteTracks) -> VehicleShape:
    """The ego's box and wheel base."""
    return VehicleShape(*(float(value) for value in tracks.vehicle))


def _ego(tracks: RouteTracks, frame: int, shape: VehicleShape) -> EgoState:
    row = _axle_rows(tracks.ego[frame : frame + 1], shape)[0]
    return EgoState(row[:3], *(float(value) for value in row[3:7]), float(row[8]), float(row[7]))


def _axle_rows(rows: np.ndarray, shape: VehicleShape) -> np.ndarray:
    """Ego rows (N, 9) moved from the box centre to the rear axle; angular acceleration is not logged and left out."""
    moved, offset = rows.copy(), shape.rear_axle_to_center
    moved[:, :3] = compose(rows[:, :3], np.array([-offset, 0.0, 0.0]))
    moved[:, 4] -= rows[:, 7] * offset
    moved[:, 5] += rows[:, 7] ** 2 * offset
    return moved


def _expert(tracks: RouteTracks, frame: int, shape: VehicleShape) -> np.ndarray:
    """Where the logged ego went: rear-axle poses (50, 3) at 10 Hz in the frame of now."""
    poses = _axle_rows(tracks.ego[frame : frame + HORIZON_FRAMES + 1], shape)[:, :3]
    return relative(poses[0], poses[1:])


def _history(tracks: RouteTracks, frame: int, shape: VehicleShape) -> np.ndarray | None:
    if frame < HISTORY_FRAMES[0]:
        return None
    rows = _axle_rows(tracks.ego[[frame - back for back in HISTORY_FRAMES]], shape)
    return np.column_stack([-0.1 * np.array(HISTORY_FRAMES), rows[:, :7]])


def _areas(route_map: RouteMap, position: np.ndarray) -> dict[int, MapArea]:
    """Areas near the ego, by polygon number. A map without road surfaces lends its lanes for them."""
    surfaces = bool((route_map.kind == PolygonKind.ROAD).any())
    areas: dict[int, MapArea] = {}
    for i, kind in enumerate(route_map.kind):
        polygon = route_map.xy[route_map.offsets[i] : route_map.offsets[i + 1]].astype(float)
        gap = np.maximum(polygon.min(0) - position, position - polygon.max(0)).clip(0.0)
        if np.hypot(*gap) > RADIUS_M:
            continue
        areas[i] = _area(route_map, i, polygon, AREA_KINDS[PolygonKind(kind)])
        if not surfaces and kind == PolygonKind.LANE:
            areas[-1 - i] = MapArea(f"surface {i}", AreaKind.DRIVABLE_AREA, polygon)
    return areas


def _area(route_map: RouteMap, i: int, polygon: np.ndarray, kind: AreaKind) -> MapArea:
    baseline = route_map.baseline[route_map.baseline_offsets[i] : route_map.baseline_offsets[i + 1]].astype(float)
    limit = float(route_map.speed_limit[i])
    return MapArea(str(i), kind, polygon, baseline if len(baseline) else None, None if np.isnan(limit) else limit)


def _lane_names(route_map: RouteMap, areas: Mapping[int, MapArea]) -> list[tuple[str, bool]]:
    """Lanes among ``areas`` and whether each belongs to the route."""
    lanes = (AreaKind.LANE, AreaKind.LANE_CONNECTOR)
    return [(area.id, bool(route_map.on_route[i])) for i, area in areas.items() if area.kind in lanes]


def _centerline(route: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """The part of the route around the ego; of places equally near, one that leads the ego's way."""
    gap = np.hypot(*(route[:, :2] - pose[:2]).T)
    against = np.abs(wrap_angle(route[:, 2] - pose[2])) > np.pi / 2
    along = arc_length(route)
    here = along[np.argmin(np.where(against & ~against.all(), gap + RADIUS_M, gap))]
    return route[(along >= here - ROUTE_BEHIND_M) & (along <= here + ROUTE_AHEAD_M)]


def _tracks(tracks: RouteTracks, frame: int) -> tuple[Track, ...]:
    frames = range(frame, frame + HORIZON_FRAMES + 1, TRACK_STRIDE)
    states = np.full((len(tracks.actor_id), len(frames), 5), np.nan)
    for k, at in enumerate(frames):
        rows = slice(tracks.offsets[at], tracks.offsets[at + 1])
        states[tracks.actor[rows], k, :3] = tracks.pose[rows]
        states[tracks.actor[rows], k, 3:] = tracks.velocity[rows]
    seen = np.flatnonzero(np.isfinite(states[..., 0]).any(1))
    return tuple(
        Track(
            str(tracks.actor_id[a]),
            TRACK_KINDS[ACTOR_KINDS[tracks.actor_kind[a]]],
            *(float(size) for size in tracks.actor_size[a]),
            states[a],
        )
        for a in seen
    )


def _red_lights(
    route_map: RouteMap, tracks: RouteTracks, areas: Mapping[int, MapArea], frame: int
) -> dict[str, np.ndarray]:
    red = tracks.light_state[frame : frame + HORIZON_FRAMES + 1 : TRACK_STRIDE] == LIGHT_STATES.index(LightState.RED)
    column = {int(light): k for k, light in enumerate(tracks.light_id)}
    lights = {i: int(route_map.light_id[i]) for i in areas if i >= 0}
    return {str(i): red[:, column[light]] for i, light in lights.items() if light in column}
