from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autovla_core import footprints
from autovla_core.action import report
from autovla_core.action.codebook import SHIPPED, Codebook
from training.build_codebook import MotionConfig, synthetic_plans

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "inspect_codebook.py"


@pytest.fixture(scope="module")
def plans() -> np.ndarray:
    return synthetic_plans(200, MotionConfig(), np.random.default_rng(3))


def test_entries_are_counted_by_kind() -> None:
    rows = [[0, 0, 0], [0.02, 0, 0], [2, 0, 0], [2, 0.1, 0.1], [2, -0.1, -0.1], [2, -0.2, -0.2], [-0.5, 0, 0]]
    found = report.entries(Codebook(np.array(rows)))
    kinds = ("count", "standing", "exact standstill", "reverse", "straight", "left", "right", "top speed, m/s")
    assert [found[k] for k in kinds] == [7, 2, 1, 1, 2, 1, 2, pytest.approx(4.03, abs=0.02)]


def test_duplicates_and_close_neighbours_are_counted() -> None:
    found = report.separation(Codebook(np.array([[0, 0, 0], [2, 0, 0], [2, 0, 0], [2.03, 0, 0], [3, 0, 0]])))
    assert found["duplicates"] == 2
    assert found["nearer than 0.05 m"] == 3
    assert found["least, m"] == 0.0


def test_a_codebook_without_its_mirror_images_is_not_complete() -> None:
    half = report.symmetry(Codebook(np.array([[0, 0, 0], [2, 0, 0], [2, 0.4, 0.2], [3, 0.4, 0.2]])))
    assert half["complete"] == 0.5
    assert half["worst, m"] > 0.5
    assert report.symmetry(Codebook.load(SHIPPED)) == {"complete": 1.0, "median, m": 0.0, "worst, m": 0.0}


def test_impossible_entries_are_named_by_what_they_break() -> None:
    rows = np.array([[0, 0, 0], [40, 0, 0], [-5, 0, 0], [2, 1.6, 0], [8, 1.6, 0.4]])
    found = report.measure(Codebook(rows))["impossible"]
    assert (found["too fast"], found["reverse too fast"], found["sideways"], found["lateral acceleration"]) == (
        1,
        1,
        1,
        1,
    )


def test_coverage_use_and_errors_worked_by_hand() -> None:
    book = Codebook(np.array([[0.0, 0, 0], [1.0, 0, 0], [2.0, 0, 0], [9.0, 0, 0]]))
    steps = np.arange(1, 11)[:, None] * np.array([1.0, 0, 0])
    plans = np.stack([steps * 1.04, 2.0 * steps])  # 2.08 m/s and 4 m/s
    found = report.measure(book, plans)
    assert found["coverage"]["within 0.05 m"] == 1.0
    assert found["coverage"]["median, m"] == 0.02
    assert found["use"]["used"] == 0.5 and found["use"]["never used"] == 2
    assert found["use"]["perplexity"] == 2.0
    assert found["use"]["most used"].split()[:2] == ["1", "2"]
    # ten motions of 1.04 m told as 1.00: 0.04, 0.08 ... 0.40 m
    assert found["greedy"]["2 to 5 m/s"]["plans"] == 2
    assert found["greedy"]["all"]["ADE, m"] == pytest.approx(0.11)
    assert found["greedy"]["all"]["FDE, m"] == pytest.approx(0.2)


def test_beams_are_better_than_greedy_and_everything_is_json(plans: np.ndarray) -> None:
    found = report.measure(Codebook.load(SHIPPED), plans)
    assert found["beam"]["all"]["ADE, m"] < 0.9 * found["greedy"]["all"]["ADE, m"]
    assert found["reach"]["true tokens excluded"] == 0.0
    assert sum(v["plans"] for k, v in found["greedy"].items() if k.endswith(" m/s")) == len(plans)
    assert json.loads(json.dumps(found)) == found


def test_two_reports_stand_side_by_side_and_what_one_lacks_is_a_dash(plans: np.ndarray) -> None:
    a, b = Codebook.load(SHIPPED), Codebook(np.array([[0.0, 0, 0], [1.0, 0, 0]]))
    text = report.as_text([report.measure(a, plans), report.measure(b)], ["shipped", "small"])
    lines = text.splitlines()
    assert [w for line in lines if line.startswith("entries: count") for w in line.split()[2:]] == ["2048", "2"]
    assert next(line for line in lines if line.startswith("coverage: within")).split()[-1] == "-"
    assert len({len(line) for line in lines}) == 1


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TOOL), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=200)


def test_the_tool_compares_two_codebooks_as_text_json_and_picture(tmp_path: Path, plans: np.ndarray) -> None:
    small = tmp_path / "small.npz"
    Codebook(Codebook.load(SHIPPED).motions[::8]).save(small)
    np.savez(tmp_path / "plans.npz", plans=plans)
    outputs = ("--json", tmp_path / "out.json", "--picture", tmp_path / "out.png")
    done = run(SHIPPED, small, "--plans", tmp_path / "plans.npz", *outputs)
    assert done.returncode == 0, done.stderr
    assert "7a6aaaf7454b" in done.stdout and "256" in done.stdout
    document = json.loads((tmp_path / "out.json").read_text())
    assert document[str(small)]["entries"]["count"] == 256
    assert sum(document[str(small)]["use per token"]) == 10 * len(plans)
    errors = [document[str(p)]["greedy"]["all"]["ADE, m"] for p in (SHIPPED, small)]
    assert errors[0] < errors[1]
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.size == (1280, 1360)
        assert len(set(picture.resize((64, 68)).getdata())) > 100  # something is drawn


def test_the_tool_converts_the_released_layout_and_refuses_what_is_not_arrays(tmp_path: Path) -> None:
    motions = np.array([[0.0, 0.0, 0.0], [2.0, 0.1, 0.1], [2.0, -0.1, -0.1]])
    boxes = footprints.corners(motions, 4.8, 2.0)[:, None, [0, 3, 2, 1]].astype(np.float32)
    (tmp_path / "vocab.pkl").write_bytes(pickle.dumps({"token_all": {"veh": boxes}}))
    done = run(tmp_path / "vocab.pkl", "--convert", tmp_path / "book.npz")
    assert done.returncode == 0, done.stderr
    assert np.allclose(Codebook.load(tmp_path / "book.npz").motions, motions, atol=1e-6)
    (tmp_path / "evil.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    done = run(tmp_path / "evil.pkl")
    assert done.returncode == 1
    assert "'os.system', which is refused" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_tool_names_bad_input(tmp_path: Path) -> None:
    np.savez(tmp_path / "bad.npz", plans=np.zeros((3, 4)))
    for arguments in (
        (tmp_path / "none.npz",),
        (SHIPPED, "--plans", tmp_path / "bad.npz"),
        (SHIPPED, "--picture", "x"),
    ):
        done = run(*arguments)
        assert done.returncode == 1
        assert done.stderr.startswith("inspect_codebook: ") and "Traceback" not in done.stderr
