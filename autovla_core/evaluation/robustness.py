"""One agent under growing difficulty: settings from YAML, one results file each, scores with intervals side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import yaml

from autovla_core import config as configs
from autovla_core.errors import ConfigError
from autovla_core.evaluation.evaluator import Run
from autovla_core.evaluation.report.collect import RunResults
from autovla_core.evaluation.report.figures import MEASURES, SCORE, Figure, figure, p_text
from autovla_core.evaluation.results import BAD_SENSORS, SETUP_FAILED, Record
from autovla_core.evaluation.weathers import PRESETS
from autovla_core.files import write_whole
from autovla_core.scoring.statistics import Paired, holm, paired_difference
from autovla_core.sensing.faults import NO_FAULTS, SensorFaults

WEATHERS = (*PRESETS, "ClearNight")
ROUTES_OWN = ""  # weather of a setting that leaves the routes theirs


@dataclass(frozen=True)
class Setting:
    """One point of a sweep.

    Raises:
        ConfigError: an unknown weather.
    """

    label: str
    value: float | None = None  # on the axis; None: the sweep has names, no axis
    agent: dict = field(default_factory=dict)  # keys of the agent YAML, put over the user's own
    faults: SensorFaults = NO_FAULTS
    weather: str = ROUTES_OWN

    def __post_init__(self) -> None:
        if self.weather and self.weather not in WEATHERS:
            raise ConfigError(f"weather of {self.label!r}: found {self.weather!r}, expected one of {list(WEATHERS)}")


@dataclass(frozen=True)
class Sweep:
    """One YAML file; the first setting is what the others are compared with.

    Raises:
        ConfigError: fewer than two settings, labels that are not distinct, values that are missing or do not ascend.
    """

    title: str
    axis: str  # what grows, with its unit
    settings: tuple[Setting, ...]

    def __post_init__(self) -> None:
        labels = [setting.label for setting in self.settings]
        if len(labels) < 2 or len(set(labels)) < len(labels):
            raise ConfigError(f"{self.title}: found settings {labels}, expected two or more with distinct labels")
        values = [setting.value for setting in self.settings]
        if all(value is None for value in values):
            return
        if None in values or any(b <= a for a, b in zip(values, values[1:])):
            raise ConfigError(f"{self.title}: found values {values}, expected ascending numbers, or none at all")

    @property
    def numeric(self) -> bool:
        """Whether the settings lie on an axis."""
        return self.settings[0].value is not None


def read_sweep(file: Path) -> Sweep:
    """A sweep from YAML.

    Raises:
        ConfigError: see ``Sweep`` and ``Setting``; the message names the file.
    """
    try:
        return configs.load(Sweep, file)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None


def run_of(base: Run, setting: Setting, folder: Path) -> Run:
    """The evaluation of one setting; an agent YAML of its own is written below ``folder`` if it needs one.

    Raises:
        ConfigError: the setting changes the agent, but there is no agent YAML to change.
    """
    config = base.agent_config
    if setting.agent:
        config = str(_agent_yaml(Path(config), setting, folder))
    episode = replace(base.episode, faults=setting.faults)
    return replace(base, agent_config=config, episode=episode, weather=setting.weather)


def expect_driven(record: Record) -> None:
    """A setting under which the agent could not be readied is a mistake in the sweep, not a score of 0.

    Raises:
        ConfigError: this is such a record.
    """
    if record.status in (SETUP_FAILED, BAD_SENSORS):
        raise ConfigError(
            f"{record.route_id}: {record.status} ({record.detail}); the sweep or the agent's YAML is wrong"
        )


def _agent_yaml(base: Path, setting: Setting, folder: Path) -> Path:
    if not base.is_file():
        raise ConfigError(f"setting {setting.label!r} changes the agent's YAML, but found none at {str(base)!r}")
    values = yaml.safe_load(base.read_text(encoding="utf-8")) or {}
    text = yaml.safe_dump(merged(values, setting.agent), sort_keys=True)
    file = folder / f"{slug(setting.label)}.yaml"
    write_whole(file, text)
    return file


def merged(base: Mapping, over: Mapping) -> dict:
    """``over`` put over ``base``; mappings inside are merged in their turn."""
    out = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(out.get(key), Mapping)
        out[key] = merged(out[key], value) if both else value
    return out


def slug(label: str) -> str:
    """A label as a file name."""
    return "".join(c if c.isalnum() or c in ".-" else "_" for c in label)


@dataclass(frozen=True)
class Point:
    """One setting's figures."""

    setting: Setting
    figures: Mapping[str, Figure]  # by the names of ``MEASURES``
    against: Paired | None  # driving score against the first setting; None for itself or without a common drive
    p_holm: float
    total: int  # drives that it was to make
    first: bool = False

    @property
    def verdict(self) -> str:
        """In words."""
        if self.against is None:
            return "what the others are compared with" if self.first else "no drive in common"
        if not (self.against.shown and self.p_holm <= 0.05):
            return "no difference shown"
        return "higher" if self.against.difference.mean > 0 else "lower"


def points_of(sweep: Sweep, runs: Mapping[str, RunResults]) -> list[Point]:
    """Figures of all settings that have drives, each paired with the first, Holm-corrected over the sweep.

    Args:
        runs: by label.
    """
    tables = {label: {(d.route, d.seed): SCORE.value(d) for d in run.drives} for label, run in runs.items()}
    reference = tables.get(sweep.settings[0].label, {})
    found: list[Point] = []
    for setting in sweep.settings:
        if setting.label not in runs:
            continue
        run = runs[setting.label]
        common = reference.keys() & tables[setting.label].keys()
        first = setting is sweep.settings[0]
        compared = common and not first
        against = paired_difference(reference, tables[setting.label], np.random.default_rng(0)) if compared else None
        figures = {measure.name: figure(measure, run.drives) for measure in MEASURES}
        found.append(Point(setting, figures, against, 1.0, run.total, first))
    corrected = iter(holm([point.against.p_value for point in found if point.against]))
    return [replace(point, p_holm=next(corrected)) if point.against else point for point in found]


def as_json(sweep: Sweep, points: Sequence[Point]) -> dict[str, object]:
    """What a drawing is made from, for other programs."""
    return {"title": sweep.title, "axis": sweep.axis, "points": [_point_json(point) for point in points]}


def _point_json(point: Point) -> dict[str, object]:
    gap = point.against
    return {
        **{key: value for key, value in configs.to_dict(point.setting).items() if value not in (None, {}, "")},
        "total": point.total,
        **{name: _figure_json(found) for name, found in point.figures.items()},
        "score_against_first": None
        if gap is None
        else {
            "mean": gap.difference.mean,
            "low": gap.difference.low,
            "high": gap.difference.high,
            "drives": gap.pairs,
            "routes": gap.groups,
            "p_holm": point.p_holm,
            "smallest_that_could_be_shown": gap.detectable,
        },
        "verdict": point.verdict,
    }


def _figure_json(found: Figure) -> dict[str, object]:
    bounds = (found.interval.low, found.interval.high) if found.units > 1 else (None, None)
    return {
        "mean": found.interval.mean,
        "low": bounds[0],
        "high": bounds[1],
        "drives": found.drives,
        f"{found.unit}s": found.units,
    }


def as_markdown(sweep: Sweep, points: Sequence[Point]) -> str:
    """A table for a terminal or a README."""
    head = [sweep.axis, "drives", *(measure.name for measure in MEASURES), "against the first", "p (Holm)", "verdict"]
    rows = [head, ["---"] * len(head), *map(_row, points)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _row(point: Point) -> list[str]:
    cells = [point.figures[m.name].text(2 if m.kind == "rate" else 1) for m in MEASURES]
    drives = str(point.figures[SCORE.name].drives)
    drives += f" of {point.total}" if point.total > point.figures[SCORE.name].drives else ""
    if point.against is None:
        return [point.setting.label, drives, *cells, "", "", point.verdict]
    gap = point.against.difference
    bounds = f"[{gap.low:+.1f}, {gap.high:+.1f}]" if point.against.groups > 1 else "[no interval: 1 route]"
    return [point.setting.label, drives, *cells, f"{gap.mean:+.1f} {bounds}", p_text(point.p_holm), point.verdict]


def write_json(file: Path, value: Mapping[str, object]) -> None:
    """Write as a whole."""
    write_whole(file, json.dumps(value, indent=1) + "\n")
