"""The numbers behind vehicle bodies: cross-sections and side views by category, as fractions of the real size."""

from __future__ import annotations

from dataclasses import dataclass

Station = tuple[float, float, float, float]  # x / half length, half width / half width, low and top / height


@dataclass(frozen=True)
class BodyShape:
    """Cross-sections of the lower body from tail to nose, and the four corners of the cabin's side view."""

    stations: tuple[Station, ...]
    cabin: tuple[float, float, float, float]  # x of rear window's foot, roof's rear, roof's front, windscreen's foot
    roof_width: float
    pillars: tuple[float, ...]  # x of the pillars between the side windows
    wheel: float  # radius / height
    glazed_rear: bool = True


SEDAN = BodyShape(
    (
        (-1.00, 0.78, 0.28, 0.60),
        (-0.95, 0.92, 0.20, 0.66),
        (-0.70, 0.99, 0.15, 0.67),
        (-0.10, 1.00, 0.14, 0.64),
        (0.38, 1.00, 0.14, 0.62),
        (0.74, 0.97, 0.15, 0.56),
        (0.94, 0.88, 0.18, 0.47),
        (1.00, 0.72, 0.25, 0.40),
    ),
    (-0.80, -0.44, 0.06, 0.42),
    0.70,
    (-0.13,),
    0.222,
)
HATCHBACK = BodyShape(
    (
        (-1.00, 0.80, 0.28, 0.58),
        (-0.96, 0.94, 0.20, 0.63),
        (-0.60, 1.00, 0.15, 0.62),
        (0.00, 1.00, 0.14, 0.60),
        (0.48, 1.00, 0.14, 0.58),
        (0.78, 0.96, 0.15, 0.52),
        (0.95, 0.87, 0.18, 0.44),
        (1.00, 0.72, 0.24, 0.38),
    ),
    (-0.98, -0.76, 0.08, 0.52),
    0.74,
    (-0.58, -0.08),
    0.205,
)
SUV = BodyShape(
    (
        (-1.00, 0.86, 0.30, 0.58),
        (-0.97, 0.96, 0.22, 0.61),
        (-0.60, 1.00, 0.18, 0.61),
        (0.00, 1.00, 0.17, 0.60),
        (0.46, 1.00, 0.17, 0.59),
        (0.80, 0.97, 0.18, 0.56),
        (0.96, 0.90, 0.20, 0.50),
        (1.00, 0.80, 0.26, 0.44),
    ),
    (-0.99, -0.88, 0.12, 0.44),
    0.80,
    (-0.56, -0.06),
    0.205,
)
VAN = BodyShape(
    (
        (-1.00, 0.94, 0.20, 0.50),
        (-0.98, 0.99, 0.14, 0.52),
        (0.00, 1.00, 0.12, 0.52),
        (0.74, 1.00, 0.12, 0.50),
        (0.92, 0.96, 0.13, 0.44),
        (1.00, 0.86, 0.18, 0.36),
    ),
    (-0.998, -0.985, 0.52, 0.86),
    0.90,
    (0.18,),
    0.145,
    glazed_rear=False,
)
BUS = BodyShape(
    (
        (-1.00, 0.96, 0.14, 0.42),
        (-0.99, 1.00, 0.10, 0.43),
        (0.00, 1.00, 0.09, 0.43),
        (0.98, 1.00, 0.10, 0.43),
        (1.00, 0.96, 0.14, 0.42),
    ),
    (-0.995, -0.985, 0.95, 0.99),
    0.96,
    (-0.66, -0.33, 0.0, 0.33, 0.66),
    0.115,
)
CAB = BodyShape(
    (
        (0.40, 0.97, 0.16, 0.50),
        (0.42, 1.00, 0.13, 0.51),
        (0.96, 1.00, 0.13, 0.50),
        (1.00, 0.94, 0.17, 0.48),
    ),
    (0.405, 0.42, 0.90, 0.985),
    0.93,
    (),
    0.15,
    glazed_rear=False,
)
SHAPES_BY_NAME = {
    "audi.a2": HATCHBACK,
    "citroen.c3": HATCHBACK,
    "seat.leon": HATCHBACK,
    "mini.cooper_s": HATCHBACK,
    "mini.cooper_s_2021": HATCHBACK,
    "micro.microlino": HATCHBACK,
    "nissan.micra": HATCHBACK,
    "toyota.prius": HATCHBACK,
    "audi.etron": SUV,
    "jeep.wrangler_rubicon": SUV,
    "nissan.patrol": SUV,
    "nissan.patrol_2021": SUV,
    "tesla.cybertruck": SEDAN,
}
SHAPES_BY_TYPE = {"car": SEDAN, "van": VAN, "bus": BUS, "truck": CAB}
