"""Small pictures as inline SVG; colours come from the page's style, so that they follow dark and light."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from autovla_core.scoring.statistics import Interval

HISTOGRAM_SIZE = (340, 150)


def whisker(interval: Interval, top: float, certain: bool = True) -> str:
    """The mean as a mark on a bar from 0 to ``top``, its interval as a band; stretches to the width given."""
    scale = 100.0 / top if top > 0 else 0.0
    low, high, mean = (min(max(value * scale, 0.0), 100.0) for value in (interval.low, interval.high, interval.mean))
    band = f'<rect class="band" x="{low:.2f}" y="3" width="{max(high - low, 0.4):.2f}" height="8"/>' if certain else ""
    return (
        '<svg class="whisker" viewBox="0 0 100 14" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="rail" x="0" y="6" width="100" height="2"/>'
        f'{band}<rect class="mean" x="{min(mean, 99.0):.2f}" y="1" width="1" height="12"/></svg>'
    )


def difference(interval: Interval, reach: float, shown: bool) -> str:
    """A difference on a bar from ``-reach`` to ``reach`` with zero in the middle."""
    scale = 50.0 / reach if reach > 0 else 0.0
    low, high, mean = (
        min(max(50.0 + value * scale, 0.0), 100.0) for value in (interval.low, interval.high, interval.mean)
    )
    return (
        '<svg class="whisker" viewBox="0 0 100 14" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="rail" x="0" y="6" width="100" height="2"/>'
        '<rect class="zero" x="49.8" y="0" width="0.4" height="14"/>'
        f'<rect class="{"band" if shown else "unsure"}" x="{low:.2f}" y="3" width="{max(high - low, 0.4):.2f}" '
        f'height="8"/><rect class="mean" x="{min(mean, 99.0):.2f}" y="1" width="1" height="12"/></svg>'
    )


def histogram(values: Sequence[float], unit: str, bins: int = 24) -> str:
    """Counts of ``values`` (N,), the axis from 0 to the largest.

    Raises:
        ValueError: no values.
    """
    if not len(values):
        raise ValueError("expected at least one value for a histogram")
    width, height = HISTOGRAM_SIZE
    top = float(np.max(values)) or 1.0
    counts, edges = np.histogram(values, bins=bins, range=(0.0, top))
    floor, left, span = height - 22, 8, width - 16
    bars = "".join(
        f'<rect class="bar" x="{left + span * edge / top:.1f}" y="{floor - 110 * count / counts.max():.1f}" '
        f'width="{span / bins - 1:.1f}" height="{110 * count / counts.max():.1f}"/>'
        for edge, count in zip(edges, counts)
        if count
    )
    labels = "".join(
        f'<text x="{left + span * share:.0f}" y="{height - 6}" text-anchor="{anchor}">{top * share:.0f}</text>'
        for share, anchor in ((0.0, "start"), (0.5, "middle"))
    )
    return (
        f'<svg class="histogram" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="histogram of {len(values)} values">'
        f'<line class="axis" x1="{left}" y1="{floor}" x2="{width - 8}" y2="{floor}"/>{bars}{labels}'
        f'<text x="{width - 8}" y="{height - 6}" text-anchor="end">{top:.0f} {escape(unit)}</text></svg>'
    )
