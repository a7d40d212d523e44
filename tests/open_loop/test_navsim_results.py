"""The devkit's result table out of an evaluation's folder."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from training import navsim_results
from training.datasets.sample import DatasetError


def test_each_token_has_a_row_and_the_last_is_the_average_of_the_valid(tmp_path: Path) -> None:
    names = navsim_results.COLUMNS[navsim_results.Version.V1]
    scores = {"a": 1.0, "b": 0.5, "c": 0.0}
    plans = [{"id": id, "error": "too late" if id == "c" else None} for id in scores]
    rows = [{"id": id, "scores": [{**dict.fromkeys(names, value), "ade": 3.0}]} for id, value in scores.items()]
    (tmp_path / "plans.jsonl").write_text("".join(json.dumps(plan) + "\n" for plan in plans))
    (tmp_path / "scores.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert navsim_results.main([str(tmp_path), "--out", str(tmp_path / "r.csv")]) == 0
    head, *found = csv.reader((tmp_path / "r.csv").open())
    assert head == ["", "token", "valid", *names] and head[-1] == "score"
    assert [row[:3] for row in found] == [
        ["0", "a", "True"],
        ["1", "b", "True"],
        ["2", "c", "False"],
        ["3", "average", "False"],
    ]
    assert found[2][-1] == "" and float(found[3][-1]) == 0.75


def test_the_second_score_may_lack_its_extended_comfort() -> None:
    terms = dict.fromkeys(navsim_results.COLUMNS[navsim_results.Version.V2], 1.0) | {"two_frame_extended_comfort": None}
    head, row, average = csv.reader(navsim_results.table([("a", terms)]).splitlines())
    assert row[head.index("two_frame_extended_comfort")] == average[head.index("two_frame_extended_comfort")] == ""
    assert float(average[head.index("lane_keeping")]) == 1.0


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds no whole evaluation"):
        navsim_results.read(tmp_path)
    with pytest.raises(DatasetError, match="without all terms of pdms or epdms"):
        navsim_results.table([("a", {"ade": 1.0})])
