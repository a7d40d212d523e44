"""Draw the maps of towns: every OpenDRIVE file becomes a PNG.

    python tools/draw_towns.py --out docs/pictures/towns
    python tools/draw_towns.py --out /tmp/maps --xodr my_town.xodr

Without ``--xodr`` the towns of minicarla are drawn.
"""

from __future__ import annotations

import argparse
import os
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from autovla_core import frames
from autovla_core.carla_bridge.wheel import carla, require
from autovla_core.errors import AutoVLAError, SetupError
from autovla_core.view import town_map
from autovla_core.view.town_map import MapSign, MapStrip

SHIPPED = Path(__file__).parents[1] / "autovla_core" / "minicarla" / "towns"
STEP_M, END_GAP_M = 2.0, 0.01
SIGN_KINDS = {"1000001": "light", "206": "stop", "205": "yield", "274": "limit"}


def main() -> int:
    """Return the exit code."""
    options = _options()
    try:
        require()
        for file in options.xodr or sorted(SHIPPED.glob("*.xodr")):
            print(_draw(file, options.out, options.width))
    except AutoVLAError as error:
        print(f"draw_towns: {error}", file=sys.stderr)
        return 1
    return 0


def _draw(file: Path, folder: Path, width_px: int) -> Path:
    """Write one map, whole or not at all; return its path.

    Raises:
        SetupError: the file is not there or no map.
    """
    try:
        text = file.read_text(encoding="utf-8")
        root, carla_map = ET.fromstring(text), carla.Map(file.stem, text)
    except (OSError, ET.ParseError, RuntimeError) as error:
        raise SetupError(f"{file} is not an OpenDRIVE map: {error}") from error
    strips = list(_strips(root, carla_map))
    sheet = town_map.draw_town(
        file.stem, _facts(root, carla_map), strips, _crosswalks(carla_map), list(_signs(carla_map)), width_px
    )
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / f"{file.stem.lower()}_map.png"
    partial = out.with_suffix(".partial")
    sheet.save(partial, "PNG", optimize=True)
    os.replace(partial, out)
    return out


def _strips(root: ET.Element, carla_map: carla.Map) -> Iterator[MapStrip]:
    for road in root.iter("road"):
        sections = road.findall("lanes/laneSection")
        starts = [float(section.get("s")) for section in sections] + [float(road.get("length"))]
        for number, section in enumerate(sections):
            for lane in [*section.iterfind("left/lane"), *section.iterfind("right/lane")]:
                if lane.get("type") in town_map.LANES:
                    span = starts[number] + END_GAP_M, starts[number + 1] - END_GAP_M
                    yield _strip(carla_map, int(road.get("id")), int(lane.get("id")), lane.get("type"), span)


def _strip(carla_map: carla.Map, road: int, lane: int, kind: str, span: tuple[float, float]) -> MapStrip:
    left, right = [], []
    for s in np.linspace(*span, max(2, int((span[1] - span[0]) / STEP_M) + 2)):
        waypoint = carla_map.get_waypoint_xodr(road, lane, float(s))
        if waypoint is None:
            raise SetupError(f"road {road} has no lane {lane} at {s:.1f} m")
        location, yaw = waypoint.transform.location, np.radians(waypoint.transform.rotation.yaw)
        across = np.array([-np.sin(yaw), np.cos(yaw)]) * waypoint.lane_width / 2
        left.append((location.x, location.y) - across)
        right.append((location.x, location.y) + across)
    return MapStrip(kind, frames.point_from_carla(np.array(left)), frames.point_from_carla(np.array(right)))


def _crosswalks(carla_map: carla.Map) -> list[np.ndarray]:
    corners = frames.point_from_carla(np.array([(p.x, p.y) for p in carla_map.get_crosswalks()]).reshape(-1, 2))
    return list(corners.reshape(-1, 5, 2)[:, :4])


def _signs(carla_map: carla.Map) -> Iterator[MapSign]:
    seen = set()
    for mark in carla_map.get_all_landmarks():  # one for every reference, too
        if mark.type in SIGN_KINDS and mark.id not in seen:
            seen.add(mark.id)
            kind = SIGN_KINDS[mark.type]
            location = mark.transform.location
            text = f"{mark.value:.0f}" if kind == "limit" else ""
            yield MapSign(kind, location.x, -location.y, text)


def _facts(root: ET.Element, carla_map: carla.Map) -> list[str]:
    junctions = len(root.findall("junction"))
    limits = sorted({float(speed.get("max")) for speed in root.iter("speed")})
    return [
        f"{len(root.findall('road'))} roads, {junctions} junctions; limits {', '.join(f'{x:.0f}' for x in limits)} km/h"
    ]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the pictures")
    parser.add_argument("--xodr", type=Path, nargs="*", help="maps to draw (default: the shipped towns)")
    parser.add_argument("--width", type=int, default=1000, help="of the pictures, pixels")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
