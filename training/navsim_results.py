"""A NAVSIM evaluation as the devkit's v1 result table: ``python -m training.navsim_results RESULTS --out result.csv``.

Columns: row number, token, valid, the terms, score; the last row is the average. A plan that failed has ``valid``
False and no numbers, and the average is over the others, as in the devkit; ``summary.json`` counts it as 0 instead.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from autovla_core.scoring.pdm_types import Version
from training.datasets.navsim_judge import TERMS
from training.datasets.sample import DatasetError

COLUMNS = {version: list(terms) for version, terms in TERMS.items()}
Scores = Mapping[str, float | None]


def table(rows: Sequence[tuple[str, Scores | None]]) -> str:
    """CSV of (token, terms) rows; None: the plan failed. The terms decide between the first and the second score.

    Raises:
        DatasetError: no row has all terms of one of the scores.
    """
    columns = _columns([scores for _, scores in rows if scores is not None])
    lines = [
        [token, scores is not None, *(_cell((scores or {}).get(name)) for name in columns)] for token, scores in rows
    ]
    lines.append(
        [
            "average",
            all(line[1] for line in lines),
            *(_mean([line[2 + i] for line in lines]) for i in range(len(columns))),
        ]
    )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["", "token", "valid", *columns])
    writer.writerows([i, *line] for i, line in enumerate(lines))
    return text.getvalue()


def _columns(scored: Sequence[Scores]) -> list[str]:
    for columns in COLUMNS.values():
        if scored and all(name in scores for scores in scored for name in columns):
            return columns
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, help="the --out of evaluate_open_loop")
    parser.add_argument("--out", type=Path, required=True, help="the CSV to write")
    options = parser.parse_args(arguments)
    partial = options.out.with_suffix(".partial")
    partial.write_text(table(read(options.results)))
    partial.replace(options.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
