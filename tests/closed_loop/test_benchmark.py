"""The benchmark measures what it says, through the real client; here with tiny numbers."""

from __future__ import annotations

import math

from autovla_core.evaluation.simulator_speed import PARTS, Extent, measure

TINY = Extent(ticks=8, ladder=(1, 2, 4), small_px=(64, 32), large_px=(96, 54), crowd=(5, 3))


def test_every_part_of_the_benchmark_gives_its_figures() -> None:
    said: list[str] = []
    figures = measure(TINY, said.append)
    assert said == list(PARTS)
    assert all(math.isfinite(value) for value in figures.values()), figures
    slopes = {name for name in figures if name.startswith("us a tick for one more vehicle")}
    assert len(slopes) == 2
    assert all(value > 0.0 for name, value in figures.items() if name not in slopes), figures
    for name in ("ticks/s, 4 vehicles", "ticks/s, 5 vehicles, 3 walkers, 3 cameras 64x32", "lidar rays a wall second"):
        assert name in figures
