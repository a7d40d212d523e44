"""A NAVSIM evaluation as the devkit's result table: ``python -m training.navsim_results RESULTS --out result.csv``.

Columns: row number, token, valid, the terms, score; the last row is the average, named as the devkit names it. A plan
that failed has ``valid`` False and no numbers, and the average is over the others, as in the devkit; ``summary.json``
counts it as 0 instead.

v2 compares a plan with the one made 0.5 s before. With ``--root`` and ``--index`` of the evaluation this is done here
for every moment whose predecessor was planned for too, as the devkit's one-stage program does; without, the column is
empty and its weight left out. A two-stage split (navhard) has another table, see ``navsim_two_stage``.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from autovla_core.errors import AutoVLAError
from autovla_core.scoring.pdm_types import Version
from training import navsim_two_stage
from training.datasets import navsim_splits, registry
from training.datasets.navsim_judge import TERMS, terms_of
from training.datasets.sample import DatasetError, Reader, Sample

AVERAGE = {Version.V1: "average", Version.V2: "average_all_frames"}  # the devkit's names of its last row
COLUMNS = {version: list(terms) for version, terms in TERMS.items()}
Scores = Mapping[str, float | None]


def table(rows: Sequence[tuple[str, Scores | None]]) -> str:
    """CSV of (token, terms) rows; None: the plan failed. The terms decide between the first and the second score.

    Raises:
        DatasetError: no row has all terms of one of the scores.
    """
    version = _version([scores for _, scores in rows if scores is not None])
    columns = COLUMNS[version]
    lines = [
        [token, scores is not None, *(_cell((scores or {}).get(name)) for name in columns)] for token, scores in rows
    ]
    lines.append(
        [
            AVERAGE[version],
            all(line[1] for line in lines),
            *(_mean([line[2 + i] for line in lines]) for i in range(len(columns))),
        ]
    )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["", "token", "valid", *columns])
    writer.writerows([i, *line] for i, line in enumerate(lines))
    return text.getvalue()


def _version(scored: Sequence[Scores]) -> Version:
    for version, columns in COLUMNS.items():
        if scored and all(name in scores for scores in scored for name in columns):
            return version
    raise DatasetError(f"{len(scored)} scored plans, without all terms of {' or '.join(v.value for v in Version)}")


def _cell(value: float | None) -> float | str:
    return "" if value is None or math.isnan(value) else float(value)


def _mean(cells: Sequence[float | str]) -> float | str:
    known = [cell for cell in cells if not isinstance(cell, str)]
    return sum(known) / len(known) if known else ""


def read(folder: Path) -> list[tuple[str, Scores | None]]:
    """Rows out of the folder that ``training.evaluate_open_loop`` left.

    Raises:
        DatasetError: a file is missing or broken.
    """
    try:
        plans = [json.loads(line) for line in (folder / "plans.jsonl").read_text().splitlines()]
        scores = [json.loads(line) for line in (folder / "scores.jsonl").read_text().splitlines()]
        failed = {plan["id"] for plan in plans if plan["error"]}
        return [(row["id"], None if row["id"] in failed else row["scores"][0]) for row in scores]
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise DatasetError(f"{folder} holds no whole evaluation ({type(error).__name__}: {error})") from None


def with_predecessors(rows: Sequence[tuple[str, Scores | None]], folder: Path, reader: Reader) -> list[tuple]:
    """The rows of a v2 evaluation with extended comfort, where the plan of 0.5 s before is in ``folder`` too.

    Raises:
        DatasetError: the reader's split lacks a sample of the evaluation, or has no judge of v2.
    """
    plans = _plans(folder)
    samples = _samples(folder, reader, plans)
    known = {(sample.extra["log"], sample.extra["record"]): token for token, sample in samples.items()}
    found = []
    for token, scores in tqdm(rows, desc="extended comfort", unit="plan"):
        sample = samples.get(token)
        # a clip has no gap, so that the record before is the one 0.5 s before
        before = known.get((sample.extra["log"], sample.extra["record"] - 1)) if sample and scores else None
        if before is not None:
            judged = reader.judge(plans[token][None], sample, (plans[before], samples[before]))
            scores = {**scores, **terms_of(judged)}
        found.append((token, scores))
    return found


def _samples(folder: Path, reader: Reader, tokens: Iterable[str]) -> dict[str, Sample]:
    """The samples that were planned for, out of a reader that can score them as v2 does."""
    if reader.judge is None or reader.judge.version is not Version.V2:
        raise DatasetError(f"{folder} was not evaluated with score=epdms; extended comfort is a term of v2 alone")
    places = {token: place for place, token in enumerate(reader.tokens())}
    lost = sorted(set(tokens) - set(places))
    if lost:
        raise DatasetError(f"{len(lost)} samples of {folder} are not in this index, the first is {lost[0]}")
    return {token: reader[places[token]] for token in tokens}


def two_stages(rows: Sequence[tuple[str, Scores | None]], folder: Path, reader: Reader) -> str:
    """The table of an evaluation on a two-stage split.

    Raises:
        DatasetError: no v2 evaluation, or one that lacks scenes that belong together.
    """
    samples = _samples(folder, reader, [token for token, _ in rows])
    planned = navsim_two_stage.Planned(samples, _plans(folder), dict(rows))
    scored = navsim_two_stage.score(planned, navsim_splits.groups(reader.root, reader.split), reader.judge)
    return navsim_two_stage.table(scored)


def _plans(folder: Path) -> dict[str, np.ndarray]:
    """The plan (10, 3) of each sample that has one."""
    rows = [json.loads(line) for line in (folder / "plans.jsonl").read_text().splitlines()]
    return {row["id"]: np.array(row["poses"][0]) for row in rows if not row["error"]}


def _run(folder: Path) -> dict:
    """What was evaluated."""
    try:
        run = json.loads((folder / "run.json").read_text())
        dataset, _, _ = run["dataset"], run["split"], run["options"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{folder} holds no whole evaluation ({type(error).__name__}: {error})") from None
    if dataset != "navsim":
        raise DatasetError(f"{folder} is an evaluation on {dataset}; this table is NAVSIM's")
    return run


def _reader(folder: Path, root: Path, index: Path) -> Reader:
    """The split that was evaluated, as it was opened."""
    run = _run(folder)
    return registry.open_split("navsim", root, index, run["split"], True, run["options"])


def _table_of(folder: Path, root: Path | None, index: Path | None) -> str:
    rows = read(folder)
    two = navsim_splits.split(_run(folder)["split"]).two_stage
    if root is None and two:
        raise DatasetError(f"{folder}: the table of a two-stage split needs --root and --index of the evaluation")
    if root is None:
        return table(rows)
    reader = _reader(folder, root, index)
    return two_stages(rows, folder, reader) if two else table(with_predecessors(rows, folder, reader))


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="the --out of evaluate_open_loop")
    parser.add_argument("--out", type=Path, required=True, help="the CSV to write")
    parser.add_argument("--root", type=Path, help="v2: the --root of the evaluation")
    parser.add_argument("--index", type=Path, help="v2: the --index of the evaluation")
    options = parser.parse_args(arguments)
    if (options.root is None) != (options.index is None):
        parser.error("--root and --index go together")
    try:
        text = _table_of(options.results, options.root, options.index)
    except AutoVLAError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    partial = options.out.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
