"""The folder of an open-loop evaluation, and what is made of the plans in it.

run.json       what was evaluated; another evaluation is refused
plans.jsonl    one line a sample, appended batch by batch: a run that was interrupted goes on after the last whole batch
scores.jsonl   every metric of every sample       summary.json   means with intervals
table.md       the same for people                worst/         pictures of the worst samples
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from autovla_core.contracts import Mode
from autovla_core.errors import AutoVLAError
from autovla_core.scoring.rater_feedback import mean_over_clusters
from autovla_core.scoring.statistics import bootstrap_mean
from training import best_of
from training.datasets import registry
from training.datasets.sample import Sample
from training.open_loop_planners import STOPPED, Planned

WORST_CASE = {  # start of a metric's name -> its value without a plan; others keep those of standing still
    "collision_": 1.0,
    "score": 0.0,  # NAVSIM: the PDM score and each of its terms
    "no_at_fault_collisions": 0.0,
    "drivable_area_compliance": 0.0,
    "driving_direction_compliance": 0.0,
    "traffic_light_compliance": 0.0,
    "ego_progress": 0.0,
    "time_to_collision": 0.0,
    "lane_keeping": 0.0,
    "comfort": 0.0,
    "history_comfort": 0.0,
    "two_frame": 0.0,
}
DECIMALS = 4
HEADLINES = ("rfs",)  # metrics whose mean over clusters is what a challenge ranks by

Row = dict[str, object]


class ResultsError(AutoVLAError):
    """The folder holds the results of another evaluation, or broken ones."""


class PlanFile:
    """The plans made so far."""

    def __init__(self, folder: Path, run: Mapping[str, object], chunks: Sequence[Sequence[int]]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._chunks = folder, chunks
        self._file = folder / "plans.jsonl"
        _same_run(folder / "run.json", run)
        self.rows = self._whole_chunks(_read_lines(self._file))

    def todo(self) -> list[Sequence[int]]:
        """The batches that have no plans yet."""
        return [chunk for chunk in self._chunks if any(index not in self.rows for index in chunk)]

    def add(self, indices: Sequence[int], samples: Sequence[Sample], plans: Sequence[Planned]) -> None:
        """Append one whole batch."""
        made = [_row(index, sample, planned) for index, sample, planned in zip(indices, samples, plans)]
        with self._file.open("a", encoding="utf-8") as stream:
            stream.write("".join(json.dumps(row) + "\n" for row in made))
        self.rows |= {row["index"]: row for row in made}

    def _whole_chunks(self, found: dict[int, Row]) -> dict[int, Row]:
        """Plans of whole batches; the file is rewritten without the rest, so that a torn line is gone."""
        kept = {i: found[i] for chunk in self._chunks if all(i in found for i in chunk) for i in chunk}
        partial = self._file.with_suffix(".partial")
        partial.write_text("".join(json.dumps(row) + "\n" for row in kept.values()))
        partial.replace(self._file)
        return kept


def _same_run(file: Path, run: Mapping[str, object]) -> None:
    wanted = json.loads(json.dumps(run))
    if not file.exists():
        partial = file.with_suffix(".partial")
        partial.write_text(json.dumps(wanted, indent=1) + "\n")
        partial.replace(file)
        return
    found = json.loads(file.read_text())
    other = sorted(key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key))
    if other:
        key = other[0]
        raise ResultsError(
            f"{file.parent} holds another evaluation: {key} is {found.get(key)!r} there and {wanted.get(key)!r} here; "
            "name another --out, or delete it"
        )


def _read_lines(file: Path) -> dict[int, Row]:
    found = {}
    for line in file.read_text().splitlines() if file.exists() else ():
        try:
            row = json.loads(line)
            found[row["index"]] = row
        except (json.JSONDecodeError, KeyError, TypeError):
            break  # the last line of a run that was killed while it wrote
    return found


def _row(index: int, sample: Sample, planned: Planned) -> Row:
    return {
        "index": int(index),
        "id": sample.id,
        "scene": sample.scene or sample.id,
        "poses": np.round(planned.poses, DECIMALS).tolist(),
        "log_probs": np.round(planned.log_probs, DECIMALS).tolist(),
        "mode": planned.mode,
        "thought": planned.thought,
        "ms": round(planned.ms, 3),
        "error": planned.error,
    }


def score_row(dataset: str, row: Row, sample: Sample) -> list[dict[str, float]]:
    """The metrics of each plan of one sample; one that failed is scored as the stopped plan, collisions as hits."""
    if row["error"]:
        return [without_a_plan(registry.score(dataset, STOPPED, sample))]
    return [registry.score(dataset, np.array(poses), sample) for poses in row["poses"]]


def without_a_plan(stopped: Mapping[str, float]) -> dict[str, float]:
    """The metrics of a sample whose plan failed, from those of standing still; unknown ones stay NaN."""
    found = dict(stopped)
    for name, value in stopped.items():
        worst_values = [worst for start, worst in WORST_CASE.items() if name.startswith(start)]
        if worst_values and not math.isnan(value):
            found[name] = worst_values[0]
    return found


def summarise(dataset: str, rows: Sequence[Row], scores: Sequence[Sequence[Mapping[str, float]]], seed: int = 0) -> Row:
    """What ``summary.json`` holds; intervals are 95 % by bootstrap over whole scenes."""
    scenes = [str(row["scene"]) for row in rows]
    failed = [row for row in rows if row["error"]]
    made = [row for row in rows if not row["error"]]
    summary: Row = {
        "samples": len(rows),
        "scenes": len(set(scenes)),
        "failed": len(failed),
        "failures": [{"id": row["id"], "error": row["error"]} for row in failed],
        "thinking_share": sum(row["mode"] == Mode.SLOW.value for row in made) / max(len(made), 1),
        "ms_per_plan": _timing([float(row["ms"]) for row in made]),
        "metrics": means([plans[0] for plans in scores], scenes, seed),
    }
    drawn = max((len(row["poses"]) - 1 for row in rows), default=0)
    if drawn > 0:
        summary["best_of"] = {"plans": drawn, **best_of_summary(dataset, rows, scores, scenes, seed)}
    return summary


def means(scores: Sequence[Mapping[str, float]], scenes: Sequence[str], seed: int) -> dict[str, Row]:
    """Mean, interval and number of samples of each metric, over the samples that have it."""
    found = {}
    for name in dict.fromkeys(name for one in scores for name in one):
        values = np.array([one.get(name, np.nan) for one in scores], float)
        known = np.isfinite(values)
        if not known.any():
            found[name] = {"mean": None, "low": None, "high": None, "samples": 0}
            continue
        groups = [scene for scene, there in zip(scenes, known) if there]
        interval = bootstrap_mean(values[known], np.random.default_rng(seed), groups, resamples=2000)
        bounds = {key: round(getattr(interval, key), 6) for key in ("mean", "low", "high")}
        found[name] = {**bounds, "samples": int(known.sum())}
    return found


def over_clusters(scores: Sequence[Mapping[str, float]], clusters: Sequence[str]) -> Row:
    """The mean of the cluster means of each metric, as a challenge counts, over samples that tell their cluster."""
    told = {str(place): cluster for place, cluster in enumerate(clusters) if cluster}
    found: Row = {"samples_without_cluster": len(clusters) - len(told), "metrics": {}}
    for name in dict.fromkeys(name for one in scores for name in one):
        known = {place: scores[int(place)].get(name, np.nan) for place in told}
        known = {place: value for place, value in known.items() if np.isfinite(value)}
        if known:
            mean, parts = mean_over_clusters(known, told)
            found["metrics"][name] = {"mean": mean, "clusters": parts}
    return found


def best_of_summary(
    dataset: str,
    rows: Sequence[Row],
    scores: Sequence[Sequence[Mapping[str, float]]],
    scenes: Sequence[str],
    seed: int,
) -> dict[str, object]:
    """The metrics of the plan that each picker chooses among the drawn ones."""
    entry = registry.entry(dataset)
    sign = 1.0 if entry.higher_is_better else -1.0
    found: dict[str, object] = {"ranked_by": entry.rank}
    for name in best_of.PICKERS:
        chosen = []
        for row, plans in zip(rows, scores):
            ranks = [sign * plan.get(entry.rank, np.nan) for plan in plans[1:]]
            number = best_of.pick(name, ranks, row["log_probs"][1:]) + 1 if ranks else 0
            chosen.append(plans[number])
        found[name] = means(chosen, scenes, seed)
    return found


def _timing(ms: Sequence[float]) -> Row:
    if not ms:
        return {"mean": None, "median": None, "p95": None}
    return {
        "mean": round(float(np.mean(ms)), 2),
        "median": round(float(np.median(ms)), 2),
        "p95": round(float(np.quantile(ms, 0.95)), 2),
    }


def worst(dataset: str, scores: Sequence[Sequence[Mapping[str, float]]], count: int) -> list[int]:
    """Places of the ``count`` worst samples by the data set's ranking metric, the worst first; unknown ones never."""
    entry = registry.entry(dataset)
    sign = 1.0 if entry.higher_is_better else -1.0
    ranks = np.array([sign * plans[0].get(entry.rank, np.nan) for plans in scores])
    order = np.argsort(ranks, kind="stable")  # NaN goes last
    return [int(i) for i in order[:count] if np.isfinite(ranks[i])]


def table(run: Mapping[str, object], summary: Row) -> str:
    """The summary for people, in Markdown."""
    timing = summary["ms_per_plan"]
    lines = [
        f"# {run['dataset']} {run['split']}: {run['planner']}",
        "",
        f"{summary['samples']} samples of {summary['scenes']} scenes, {summary['failed']} without a plan (scored as "
        f"standing still, with a collision); thought in {100.0 * summary['thinking_share']:.1f} %; "
        f"{timing['mean']} ms a plan (median {timing['median']}, batches of {run['batch']}).",
        "",
        *_rows("metric", summary["metrics"]),
    ]
    for name, value in summary.get("over_clusters", {}).get("metrics", {}).items():
        if name in HEADLINES:
            lines += ["", f"{name}, mean over {len(value['clusters'])} scenario clusters: {value['mean']:.3f}"]
    best = summary.get("best_of")
    for name in best_of.PICKERS if best else ():
        lines += ["", f"## Best of {best['plans']} by {name} (ranked by {best['ranked_by']})", ""]
        lines += _rows("metric", best[name])
    return "\n".join(lines) + "\n"


def _rows(title: str, metrics: Mapping[str, Row]) -> Iterable[str]:
    yield f"| {title} | mean | 95 % interval | samples |"
    yield "|---|---|---|---|"
    for name, value in metrics.items():
        if value["mean"] is None:
            yield f"| {name} | - | - | 0 |"
        else:
            yield f"| {name} | {value['mean']:.3f} | {value['low']:.3f} to {value['high']:.3f} | {value['samples']} |"
