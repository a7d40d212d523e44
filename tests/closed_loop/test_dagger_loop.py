"""The DAgger loop: one command, rounds of driving and training, on minicarla through the real client."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from training import dagger
from training.dagger import Loop

ROOT = Path(__file__).resolve().parents[2]
RECIPE = {  # a log's name alone decides whether it is held out: at 0.172 route 1 of seed 3 is, route 0 is not
    "out": "unused",
    "threads": 1,
    "batch_size": 4,
    "data": {"routes": ["unused"], "cache": "", "held_out": 0.172, "held_out_samples": 8},
    "model": {"size": "n01", "cameras": [{"id": "front", "height": 140, "width": 280}]},
    "loop": {"steps": 3, "warmup": 1, "log_every": 1},
}


def run(*command: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, *map(str, command)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=600)


def test_the_newest_logs_count_most_and_each_round_goes_on_from_the_one_before(tmp_path: Path) -> None:
    loop = Loop(tmp_path / "r.yaml", [Path("expert")], Path("first"), tmp_path, 0.9, 25.0)
    names = [path.parent.name for path in loop.logs(3)[1:]]
    assert loop.logs(3)[0] == Path("expert")
    assert names == ["round_1", *["round_2"] * 2, *["round_3"] * 3]
    assert loop.driver(1) == Path("first") and loop.driver(3) == tmp_path / "round_2/run/model"
    seeds = [loop.collecting(number)[loop.collecting(number).index("--seed") + 1] for number in (1, 2)]
    assert seeds == ["31", "32"], "no round drives the routes of another"


def test_words_for_the_collection_are_handed_on_and_a_loop_goes_on_as_it_began(tmp_path: Path) -> None:
    loop = Loop(tmp_path / "r.yaml", [Path("expert")], Path("first"), tmp_path, 0.9, 25.0, collect=("--truth",))
    assert loop.collecting(1)[-1] == "--truth"
    dagger.claim(loop)
    dagger.claim(dataclasses.replace(loop, workers=7))  # how fast is nobody's business
    with pytest.raises(dagger.DaggerError, match="begun with another collect, hours"):
        dagger.claim(dataclasses.replace(loop, hours=0.1, collect=()))


def test_the_round_that_drives_best_is_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "agent.yaml").write_text("rig: front\n")
    scores = {1: 60.0, 2: 80.0, 3: 70.0}

    def play(command: list[str]) -> int:  # the parts of a round, as they would leave their files
        number = next(n for n in scores if f"round_{n}/" in " ".join(command).replace("--init", ""))
        if "training.sft" in command:
            number = max(n for n in scores if f"round_{n}/run" in command[command.index("--out") + 1])
            model = tmp_path / f"round_{number}/run/model"
            model.mkdir(parents=True)
            (model / "model.safetensors").write_text(str(number))
        elif "--agent-config" in command:
            mean = {"scores_mean": {"score_composed": scores[number]}}
            results = {"_checkpoint": {"global_record": mean}}
            Path(command[command.index("--out") + 1]).write_text(json.dumps(results))
        return 0

    monkeypatch.setattr(dagger, "_run", play)
    own = {"agent_config": tmp_path / "agent.yaml", "choose": tmp_path / "choose.xml"}
    loop = Loop(tmp_path / "r.yaml", [Path("expert")], Path("first"), tmp_path, 0.9, 25.0, **own)
    for number in scores:
        dagger.drive_round(loop, number)
    assert (tmp_path / "model/model.safetensors").read_text() == "2"
    assert json.loads((tmp_path / "round_3/round.json").read_text())["driving_score"] == 70.0


def test_a_round_drives_trains_and_is_not_done_twice(tmp_path: Path) -> None:
    expert, recipe = tmp_path / "expert", tmp_path / "recipe.yaml"
    made = run(
        "tools/collect_routes.py", "--out", expert, "--routes", 2, "--workers", 1, "--traffic", 0, 1, "--seed", 3
    )
    assert made.returncode == 0, made.stderr
    recipe.write_text(yaml.safe_dump({**RECIPE, "data": {**RECIPE["data"], "cache": str(tmp_path / "cache")}}))
    first = run("-m", "training.sft", "--config", recipe, "--routes", expert, "--out", tmp_path / "sft")
    assert first.returncode == 0, first.stderr
    command = ["-m", "training.dagger", "--config", recipe, "--routes", expert, "--init", tmp_path / "sft/model"]
    command += ["--out", tmp_path / "loop", "--rounds", 1, "--hours", 0.001, "--minutes", 0.05, "--workers", 1]
    done = run(*command)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "loop" / "round_1"
    facts = json.loads((folder / "round.json").read_text())
    assert facts["driver"] == str(tmp_path / "sft/model") and facts["logs"].count(str(folder / "logs")) == 3
    logs = [path for path in (folder / "logs").iterdir() if (path / "route.json").exists()]
    assert logs, "the model drove, the expert labelled"
    weights = [(place / "model.safetensors").read_bytes() for place in (folder / "run/model", tmp_path / "loop/model")]
    assert weights[0] == weights[1] != (tmp_path / "sft/model/model.safetensors").read_bytes()
    again = run(*command)
    assert again.returncode == 0 and again.stdout == "round 1 is finished\n"


def test_a_part_that_fails_stops_the_loop_and_says_which(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = ["--config", "none.yaml", "--routes", "none", "--init", str(tmp_path / "none")]
    assert dagger.main([*command, "--out", str(tmp_path / "loop"), "--hours", "0.001", "--workers", "1"]) == 1
    assert "round 1: collecting ended with exit code 1; mend it" in capfd.readouterr().err
    assert not (tmp_path / "loop/round_1/round.json").exists() and not (tmp_path / "loop/model").exists()
