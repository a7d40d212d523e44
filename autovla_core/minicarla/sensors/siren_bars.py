"""The bar of blue and red lamps on the roof of an emergency vehicle. Local frame as in vehicle_meshes.

It is drawn only while the siren is on: its lamps borrow the materials of the blinkers, left and right.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from autovla_core.minicarla.blueprints import BLUEPRINTS, Blueprint
from autovla_core.minicarla.sensors.body_shapes import SHAPES_BY_NAME, SHAPES_BY_TYPE
from autovla_core.minicarla.sensors.vehicle_meshes import DARK, LEFT, RIGHT
from autovla_core.minicarla.world.mesh import Material, Mesh, box, join

BAR_HALF_M = (0.14, 0.07)  # along and up; the width follows the roof
BLUE, RED = (0.02, 0.10, 1.0), (1.0, 0.02, 0.02)


def is_emergency(blueprint: Blueprint) -> bool:
    """Does it have a siren?"""
    return blueprint.defaults().get("special_type") == "emergency"


def bar_place(blueprint: Blueprint) -> tuple[np.ndarray, float]:
    """Middle of the bar (3,) and half its width, in metres."""
    shape = SHAPES_BY_NAME.get(blueprint.id.removeprefix("vehicle."), SHAPES_BY_TYPE[blueprint.base_type])
    length, width, height = blueprint.extent
    _, roof_rear, roof_front, _ = shape.cabin
    along = 0.25 * roof_rear + 0.75 * roof_front
    return np.array([along * length, 0.0, 2 * height + BAR_HALF_M[1] - 0.02]), 0.8 * shape.roof_width * width


def siren_bar(blueprint: Blueprint) -> Mesh:
    """A dark middle with a blue lamp on the left and a red one on the right."""
    (x, _, z), half = bar_place(blueprint)
    deep, high = BAR_HALF_M
    parts = [box((x, 0, z), (deep, 0.2 * half, high), 0.0, DARK, Material.FLAT, 0)]
    for side, color, lamp in ((1.0, BLUE, LEFT), (-1.0, RED, RIGHT)):
        parts.append(box((x, side * 0.6 * half, z), (deep, 0.4 * half, high), 0.0, color, lamp, 0))
    return join(parts)


def siren_bars() -> Mapping[str, Mesh]:
    """Bars of all emergency vehicles by key of their template, "siren:<type_id>"."""
    return {f"siren:{b.id}": siren_bar(b) for b in BLUEPRINTS.values() if is_emergency(b)}
