"""Where the signals of a map stand, what they govern and where their lamps hang. CARLA's frame."""

from __future__ import annotations

import dataclasses
import math
import xml.etree.ElementTree as ET

import numpy as np

from autovla_core.minicarla.world.layout import Lane, Signal
from autovla_core.minicarla.world.opendrive import POST_BESIDE_LANE_M
from autovla_core.minicarla.world.survey import LaneRecord, Strip, beside_driving

KINDS = {"1000001": "traffic_light", "206": "stop", "205": "yield", "274": "speed_limit"}
GOVERNING = ("traffic_light", "stop", "yield")
NEAR_HEAD_AFTER_LINE_M = 1.6
PLATE_BEFORE_POST_M = 0.16
NEAR_HEAD_HEIGHT_M = 3.0
FAR_HEAD_HEIGHT_M = 4.8
FAR_POST_BESIDE_LANE_M = 5.0
FAR_POST_CLEARANCE_M = 1.2
FAR_HEAD_OVERHANG_M = 2.6  # the far head hangs this far from its post towards the road
TRIGGER_LENGTH_M = 3.0
SIGN_HALF_M = 1.5
NEAR_END_M, BENT_M = 30.0, 0.05


@dataclasses.dataclass(frozen=True, eq=False)
class _Approach:
    """The lanes that a signal speaks to, where its line crosses them."""

    lanes: tuple[Lane, ...]
    center: np.ndarray  # (3,) middle of all of them
    yaw_deg: float
    half_width: float
    beside_m: float  # what else lies before the kerb

    @property
    def post_at(self) -> float:
        """Metres to the right of the centre."""
        return self.half_width + self.beside_m + POST_BESIDE_LANE_M

    def at(self, forward: float, right: float, up: float = 0.0) -> np.ndarray:
        yaw = math.radians(self.yaw_deg)
        cos, sin = math.cos(yaw), math.sin(yaw)
        return self.center + (forward * cos - right * sin, forward * sin + right * cos, up)


def build_signals(root: ET.Element, lanes: list[Lane], strips: list[Strip]) -> list[Signal]:
    """Return the signals of all roads in file order; the driving ones of the strips are the lanes, one by one."""
    phases = _phases(root)
    beside = beside_driving(strips)
    records = [strip.record for strip in strips if strip.record.type == "driving"]
    by_road: dict[int, list[tuple[Lane, LaneRecord]]] = {}
    for lane, record in zip(lanes, records, strict=True):
        by_road.setdefault(lane.road_id, []).append((lane, record))
    signals = []
    for road in root.iter("road"):
        for element in road.iterfind("signals/signal"):
            kind = KINDS.get(element.get("type"))
            if kind is not None:
                approach = _approach(element, by_road[int(road.get("id"))], beside)
                signals.append(_signal(element, kind, approach, lanes, phases))
    return signals


def with_signals(lanes: list[Lane], signals: list[Signal]) -> list[Lane]:
    """Return the lanes with light_id and stop_id filled in."""
    lights = {i: s.id for s in signals if s.kind == "traffic_light" for i in s.lanes}
    stops = {i: s.id for s in signals if s.kind in ("stop", "yield") for i in s.lanes}
    return [
        dataclasses.replace(lane, light_id=lights.get(lane.index, ""), stop_id=stops.get(lane.index, ""))
        for lane in lanes
    ]


def _phases(root: ET.Element) -> dict[str, int]:
    controlled = {c.get("id"): [x.get("signalId") for x in c.iter("control")] for c in root.findall("controller")}
    return {
        signal: number
        for junction in root.iter("junction")
        for number, controller in enumerate(junction.findall("controller"))
        for signal in controlled.get(controller.get("id"), [])
    }


def _approach(
    element: ET.Element, lanes: list[tuple[Lane, LaneRecord]], beside: dict[tuple[int, int, int], float]
) -> _Approach:
    """Where the signal's s crosses the lanes of its validity; ``lanes`` are those of its road."""
    sign = -1 if element.get("orientation") == "+" else 1
    span = element.find("validity")
    low, high = sorted((int(span.get("fromLane")), int(span.get("toLane"))))
    s = float(element.get("s"))
    chosen = [
        (lane, record)
        for lane, record in lanes
        if low <= lane.lane_id <= high and lane.lane_id * sign > 0 and record.s_start <= s <= record.s_end
    ]
    chosen.sort(key=lambda pair: abs(pair[0].lane_id))
    driven = [_driven(lane, record, s) for lane, record in chosen]
    points = [_point_at(lane, along) for (lane, _), along in zip(chosen, driven, strict=True)]
    lane = chosen[0][0]
    yaw = float(lane.yaw_deg[int(np.searchsorted(lane.s, driven[0]).clip(0, len(lane.s) - 1))])
    governed = tuple(lane for lane, _ in chosen)
    half_width = sum(lane.width for lane in governed) / 2
    return _Approach(
        governed,
        (points[0] + points[-1]) / 2,
        yaw,
        half_width,
        beside.get((lane.road_id, lane.section_id, sign), 0.0),
    )


def _driven(lane: Lane, record: LaneRecord, s: float) -> float:
    """Metres along a lane's own line at the reference line's s.

    In a bend the lane is longer or shorter than the reference line; what stands near an end keeps its distance to it.
    """
    length = record.s_end - record.s_start
    driven = s - record.s_start if lane.lane_id < 0 else record.s_end - s
    longer = float(lane.s[-1]) - length
    near_end = length - driven < NEAR_END_M
    return driven + longer if near_end and abs(longer) > BENT_M else driven


def _point_at(lane: Lane, s: float) -> np.ndarray:
    return np.array([np.interp(s, lane.s, lane.points[:, axis]) for axis in range(3)])


def _signal(element: ET.Element, kind: str, approach: _Approach, lanes: list[Lane], phases: dict[str, int]) -> Signal:
    side = approach.post_at
    light = kind == "traffic_light"
    after_line = NEAR_HEAD_AFTER_LINE_M if light else 0.0
    half = _trigger_extent(light, approach)
    return Signal(
        id=element.get("id"),
        kind=kind,
        value=float(element.get("value")) if kind == "speed_limit" else 0.0,
        location=approach.at(after_line, side),
        yaw_deg=approach.yaw_deg + 90.0,
        trigger_center=np.array([-side, after_line + half[1], half[2]]),  # it ends at the stop line
        trigger_extent=half,
        heads=_heads(approach, lanes) if light else (),
        lanes=tuple(lane.index for lane in approach.lanes) if kind in GOVERNING else (),
        junction_id=_junction(approach, lanes) if kind in GOVERNING else -1,
        phase=phases.get(element.get("id"), 0),
        beside_m=approach.beside_m,
    )


def _trigger_extent(light: bool, approach: _Approach) -> np.ndarray:
    """Half sizes; those of signs are square, because scripts test them along the world's axes."""
    square = max(SIGN_HALF_M, approach.half_width)
    return np.array([approach.half_width, TRIGGER_LENGTH_M / 2, 1.0] if light else [square, square, 1.0])


def _junction(approach: _Approach, lanes: list[Lane]) -> int:
    return max((lanes[i].junction_id for lane in approach.lanes for i in lane.successors), default=-1)


def _heads(approach: _Approach, lanes: list[Lane]) -> tuple[tuple[np.ndarray, float], ...]:
    facing = (approach.yaw_deg + 180.0) % 360.0
    near = approach.at(NEAR_HEAD_AFTER_LINE_M - PLATE_BEFORE_POST_M, approach.post_at, NEAR_HEAD_HEIGHT_M)
    right = approach.half_width + approach.beside_m + FAR_POST_BESIDE_LANE_M
    far = approach.at(_far_side(approach, right, lanes), right - FAR_HEAD_OVERHANG_M, FAR_HEAD_HEIGHT_M)
    return (near, facing), (far, facing)


def _far_side(approach: _Approach, right: float, lanes: list[Lane]) -> float:
    """Metres from the stop line to the first free place behind the junction's middle, ``right`` of the approach."""
    inside = [lane for lane in lanes if lane.junction_id == _junction(approach, lanes)]
    points = np.concatenate([lane.points[:, :2] for lane in inside])
    reach = np.concatenate([np.full(len(lane.points), lane.width / 2) for lane in inside]) + FAR_POST_CLEARANCE_M
    yaw = math.radians(approach.yaw_deg)
    middle = float((points.mean(0) - approach.center[:2]) @ (math.cos(yaw), math.sin(yaw)))
    candidates = np.arange(middle, 2.5 * middle, 0.25)
    places = np.array([approach.at(forward, right)[:2] for forward in candidates])
    distances = np.linalg.norm(places[:, None] - points[None], axis=2)
    occupied = np.flatnonzero((distances < reach).any(1))
    return float(candidates[occupied[-1] + 1]) if len(occupied) else middle
