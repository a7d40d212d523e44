"""The devkit's result table out of an evaluation's folder."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from tests.open_loop.fixtures import write_navsim as writer
from training import evaluate_open_loop, navsim_results
from training.datasets import navsim
from training.datasets.sample import DatasetError


def test_each_token_has_a_row_and_the_last_is_the_average_of_the_valid(tmp_path: Path) -> None:
    names = navsim_results.COLUMNS[navsim_results.Version.V1]
    scores = {"a": 1.0, "b": 0.5, "c": 0.0}
    plans = [{"id": id, "error": "too late" if id == "c" else None} for id in scores]
    rows = [{"id": id, "scores": [{**dict.fromkeys(names, value), "ade": 3.0}]} for id, value in scores.items()]
    (tmp_path / "plans.jsonl").write_text("".join(json.dumps(plan) + "\n" for plan in plans))
    (tmp_path / "scores.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = {"dataset": "navsim", "split": "navtest", "options": {}}
    (tmp_path / "run.json").write_text(json.dumps(run))
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
    assert average[:2] == ["1", "average_all_frames"]  # as v2 calls it


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds no whole evaluation"):
        navsim_results.read(tmp_path)
    with pytest.raises(DatasetError, match="without all terms of pdms or epdms"):
        navsim_results.table([("a", {"ade": 1.0})])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The miniature with its records 3, 4, 5, 7 and 8 as ``navmini``, indexed in ``index``."""
    root = tmp_path_factory.mktemp("navsim")
    writer.write_root(root, pictures=True)
    writer.write_filter(root, "navmini", [writer.token(writer.LOG, i) for i in (3, 4, 5, 7, 8)], [writer.LOG])
    navsim.prepare(root, root / "index", "navmini")
    return root


def evaluated(data: Path, out: Path, rule: str, score: str) -> list[str]:
    """Plans of a rule; the arguments that name the evaluation to ``navsim_results``."""
    where = ["--root", str(data), "--index", str(data / "index")]
    command = ["--dataset", "navsim", "--split", "navmini", *where, "--baseline", rule, "--out", str(out)]
    assert evaluate_open_loop.main([*command, "--option", f"score={score}", "--pictures", "0"]) == 0
    return [str(out), *where, "--out", str(out / "table.csv")]


def test_a_plan_is_compared_with_the_one_half_a_second_before(data: Path, tmp_path: Path) -> None:
    """The truth goes on as it went on before; standing still after a plan at 8 m/s does not: braking from 8 m/s twice.

    The pairs are (3, 4), (4, 5), (7, 8). 3 and 7 have no predecessor and are weighed without the term.
    """
    arguments = evaluated(data, tmp_path / "truth", "truth", "epdms")
    assert navsim_results.main(arguments) == 0
    head, *rows, average = csv.reader((tmp_path / "truth" / "table.csv").open())
    column = head.index("two_frame_extended_comfort")
    assert [row[column] for row in rows] == ["", "1.0", "1.0", "", "1.0"] and average[column] == "1.0"
    plans = tmp_path / "truth" / "plans.jsonl"
    lines = [json.loads(line) for line in plans.read_text().splitlines()]
    lines[1]["poses"] = np.zeros((1, 10, 3)).tolist()  # record 4 stands still
    plans.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert navsim_results.main(arguments) == 0
    _, *rows, _ = csv.reader((tmp_path / "truth" / "table.csv").open())
    assert [row[column] for row in rows] == ["", "0.0", "0.0", "", "1.0"]
    terms = dict(zip(head, rows[2]))
    rest = ("ego_progress", "time_to_collision_within_bound", "lane_keeping", "history_comfort")
    weighted = sum(weight * float(terms[name]) for name, weight in zip(rest, (5, 5, 2, 2)))
    factors = [float(terms[name]) for name in head[3:7]]
    assert float(terms["score"]) == pytest.approx(np.prod(factors) * weighted / 16)  # the term's weight counts, it is 0


def test_extended_comfort_is_a_term_of_v2_alone(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert navsim_results.main(evaluated(data, tmp_path / "v1", "stopped", "pdms")) == 1
    assert "a term of v2 alone" in capsys.readouterr().err
    assert not (tmp_path / "v1" / "table.csv").exists()
    assert navsim_results.main([str(tmp_path / "none"), "--out", str(tmp_path / "r.csv")]) == 1
    assert "holds no whole evaluation" in capsys.readouterr().err
