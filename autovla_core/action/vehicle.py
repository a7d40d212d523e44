"""Which car a codebook is for: its box measures distances, its wheel base bounds its curves."""

from __future__ import annotations

import math
from dataclasses import dataclass

from autovla_core.action.codebook import Codebook
from autovla_core.errors import CodebookError

SAME_SIZE = 0.05  # relative difference of length or width below which two boxes count as one


@dataclass(frozen=True)
class Vehicle:
    """Sizes in metres; the default is CARLA's vehicle.lincoln.mkz_2020.

    Raises:
        CodebookError: a size that is not positive and finite, or an axle outside the box.
    """

    length: float = 4.89
    width: float = 1.84
    wheel_base: float = 2.86
    rear_axle: float = 1.418  # behind the box centre

    def __post_init__(self) -> None:
        sizes = (self.length, self.width, self.wheel_base)
        if not all(math.isfinite(v) and v > 0.0 for v in sizes) or not 0.0 <= self.rear_axle <= self.length:
            raise CodebookError(f"{self}: expected positive sizes and a rear axle inside the box")

    @property
    def radius(self) -> float:
        """Half diagonal of the box in metres: an error of yaw moves a corner by ``radius`` times it."""
        return 0.5 * math.hypot(self.length, self.width)

    def tightest_curvature(self, wheel_angle: float = 0.6) -> float:
        """1/m, of the rear axle at a full lock of ``wheel_angle`` rad."""
        return math.tan(wheel_angle) / self.wheel_base


def require_vehicle(codebook: Codebook, length: float, width: float) -> None:
    """Do nothing if the codebook was made for a box of this size.

    Raises:
        CodebookError: it was made for another, so neither its distances nor its curves fit.
    """
    off = max(abs(length / codebook.length - 1.0), abs(width / codebook.width - 1.0))
    if not off <= SAME_SIZE:
        raise CodebookError(
            f"the codebook is for a box of {codebook.length:.2f} x {codebook.width:.2f} m, the vehicle is "
            f"{length:.2f} x {width:.2f} m; build one for it (python -m training.build_codebook --length {length:.2f} "
            f"--width {width:.2f} ...) or declare that scaled motions will do: vehicle.scaled(..., declared=True)"
        )


def scaled(codebook: Codebook, length: float, width: float, *, declared: bool = False) -> Codebook:
    """The same motions for another box: lengths grow with the box, headings stay; tokens change their meaning.

    A similar car that takes similar curves moves like this; a lorry does not move like a long car. That is
    why nobody scales in silence: the new codebook has another hash, and its provenance says what it came from.

    Raises:
        CodebookError: the size differs and nobody declared that scaling is meant.
    """
    if not declared:
        require_vehicle(codebook, length, width)
        return codebook
    scale = length / codebook.length
    provenance = {"scaled_from": codebook.hash, "scale": scale, "source": dict(codebook.provenance)}
    return Codebook(codebook.motions * [scale, scale, 1.0], length, width, provenance)
