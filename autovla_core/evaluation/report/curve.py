"""A sweep as one SVG file that stands alone: means with their intervals over an axis, or by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from autovla_core.evaluation.report.figures import Figure

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 48, 56
ROW, NAMES = 24, 190  # of a drawing by name: height of a row, width of the names
TOP_SCORE = 100.0
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#222}.t{font-size:15px;font-weight:600}.a{font-size:12px;fill:#666}"
    ".g{stroke:#ddd}.l{stroke:#2a6fb0;stroke-width:2;fill:none}.b{stroke:#2a6fb0;stroke-width:1.5}.m{fill:#2a6fb0}"
    ".p{fill:#fff}@media(prefers-color-scheme:dark){text{fill:#ddd}.a{fill:#999}.g{stroke:#444}.l,.b{stroke:#6fb1ea}"
    ".m{fill:#6fb1ea}.p{fill:#1b1b1b}}"
)


@dataclass(frozen=True)
class Mark:
    """One setting."""

    label: str
    figure: Figure  # of a value from 0 to 100
    value: float | None = None  # on the axis


def curve(title: str, axis: str, measure: str, marks: Sequence[Mark]) -> str:
    """Means joined by a line over a numeric axis, with their intervals as bars.

    Raises:
        ValueError: no marks, or one without a value.
    """
    if not marks or any(mark.value is None for mark in marks):
        raise ValueError(f"expected marks with values, found {[mark.value for mark in marks]}")
    low, high = marks[0].value, max(mark.value for mark in marks)
    span = (high - low) or 1.0
    places = [LEFT + (WIDTH - LEFT - RIGHT) * (mark.value - low) / span for mark in marks]
    line = " ".join(f"{x:.1f},{_y(mark.figure.interval.mean):.1f}" for x, mark in zip(places, marks))
    parts = [_grid(), f'<polyline class="l" points="{line}"/>']
    for x, mark in zip(places, marks):
        parts += [_bar(x, mark.figure), _text(x, HEIGHT - BOTTOM + 18, mark.label, "middle")]
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, axis, "middle", "a"))
    parts.append(_text(LEFT, TOP - 10, _said(measure, marks), "start", "a"))
    return _svg(title, WIDTH, HEIGHT, parts)


def rows(title: str, measure: str, marks: Sequence[Mark]) -> str:
    """One row a setting, in the order given, with the interval as a bar.

    Raises:
        ValueError: no marks.
    """
    if not marks:
        raise ValueError("expected at least one mark")
    height = TOP + ROW * len(marks) + 40
    span = WIDTH - NAMES - RIGHT - 40
    parts = [_text(NAMES, TOP - 10, _said(measure, marks), "start", "a")]
    for share in (0, 25, 50, 75, 100):
        x = NAMES + span * share / TOP_SCORE
        parts.append(f'<line class="g" x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{height - 34}"/>')
        parts.append(_text(x, height - 16, str(share), "middle", "a"))
    for number, mark in enumerate(marks):
        y, interval = TOP + ROW * (number + 0.5), mark.figure.interval
        low, mean, high = (NAMES + span * v / TOP_SCORE for v in (interval.low, interval.mean, interval.high))
        parts.append(_text(NAMES - 8, y + 4, mark.label, "end"))
        if mark.figure.units > 1:
            parts.append(f'<line class="b" x1="{low:.1f}" y1="{y:.1f}" x2="{high:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<circle class="m" cx="{mean:.1f}" cy="{y:.1f}" r="4"/>')
        parts.append(_text(WIDTH - RIGHT, y + 4, f"{interval.mean:.1f}", "end", "a"))
    return _svg(title, WIDTH, height, parts)


def _said(measure: str, marks: Sequence[Mark]) -> str:
    """What the marks are, and on how much they rest."""
    drives = sorted({mark.figure.drives for mark in marks})
    units = max(mark.figure.units for mark in marks)
    many = f"{drives[0]}" if len(drives) == 1 else f"{drives[0]} to {drives[-1]}"
    bars = "bars: 95 % over routes" if units > 1 else "no interval: 1 route"
    return f"{measure}; {many} drives of {units} {'route' if units == 1 else 'routes'} each; {bars}"


def _grid() -> str:
    lines = []
    for share in (0, 25, 50, 75, 100):
        y = _y(share)
        lines.append(f'<line class="g" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>')
        lines.append(_text(LEFT - 8, y + 4, str(share), "end", "a"))
    return "".join(lines)


def _bar(x: float, found: Figure) -> str:
    interval = found.interval
    dot = f'<circle class="m" cx="{x:.1f}" cy="{_y(interval.mean):.1f}" r="4"/>'
    if found.units < 2:
        return dot
    high, low = _y(interval.high), _y(interval.low)
    ends = "".join(
        f'<line class="b" x1="{x - 5:.1f}" y1="{y:.1f}" x2="{x + 5:.1f}" y2="{y:.1f}"/>' for y in (low, high)
    )
    return f'<line class="b" x1="{x:.1f}" y1="{high:.1f}" x2="{x:.1f}" y2="{low:.1f}"/>{ends}{dot}'


def _y(score: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(max(score, 0.0), TOP_SCORE) / TOP_SCORE


def _text(x: float, y: float, said: str, anchor: str, kind: str = "") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(said)}</text>'


def _svg(title: str, width: int, height: int, parts: Sequence[str]) -> str:
    heading = _text(16, 24, title, "start", "t")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escape(title)}"><style>{STYLE}</style>'
        f'<rect class="p" width="{width}" height="{height}"/>{heading}{"".join(parts)}</svg>\n'
    )
