"""DAgger as a loop: the model drives, the expert labels what it got into, training goes on, and again.

    python -m training.dagger --config training/recipes/tiny_dagger.yaml --routes data/havenbrook \
        --init runs/tiny_sft/model --rounds 3 --hours 0.9 --minutes 25 --out runs/dagger

Round n lies in ``<out>/round_<n>``: ``logs`` (tools/collect_routes.py --student), ``run`` (training.sft) and, once it
is finished, ``round.json``. The newest logs count three times in a round, those before twice, older ones and
``--routes`` once. ``--collect`` hands words on to the collection (``--collect "--truth --scenarios 0.3"``). The same
command goes on where it was interrupted. ``<out>/model`` is the last round's or, with ``--choose`` a route file on
which each round's model drives, the one with the best driving score; choose on other routes than you test on.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from autovla_core import files
from autovla_core.errors import AutoVLAError

ROOT = Path(__file__).resolve().parents[1]
AGENT, AGENT_CONFIG = ROOT / "agents/autovla_agent.py", ROOT / "leaderboard_configs/autovla_agent.yaml"
NEWEST = 3  # times that the newest logs count; one less for each round of age, once at least
STOPPED = 130
CHOOSING_TRAFFIC = 10
MAY_CHANGE = ("workers",)  # of a loop that goes on


class DaggerError(AutoVLAError):
    """A part of a round failed."""


@dataclass(frozen=True)
class Loop:
    """What stays the same in all rounds."""

    config: Path  # recipe of training.sft
    routes: Sequence[Path]  # the expert's own logs
    init: Path  # model folder of the first driver
    out: Path
    hours: float  # of driving a round
    minutes: float  # of training a round
    seed: int = 31
    workers: int = 2
    agent_config: Path = AGENT_CONFIG
    collect: tuple[str, ...] = ()  # more words for tools/collect_routes.py
    choose: Path | None = None  # route file that chooses the round

    def folder(self, number: int) -> Path:
        """Of round ``number``, from 1."""
        return self.out / f"round_{number}"

    def driver(self, number: int) -> Path:
        """The model that drives in a round: what the round before it made."""
        return self.init if number == 1 else self.folder(number - 1) / "run" / "model"

    def logs(self, number: int) -> list[Path]:
        """Folders that round ``number`` trains on, some several times."""
        found = list(self.routes)
        for earlier in range(1, number + 1):
            found += [self.folder(earlier) / "logs"] * max(1, NEWEST - (number - earlier))
        return found

    def collecting(self, number: int) -> list[str]:
        """Command that lets the model drive and the expert label."""
        folder = self.folder(number)
        command = [ROOT / "tools/collect_routes.py", "--out", folder / "logs", "--hours", self.hours]
        command += ["--workers", self.workers, "--seed", self.seed + number - 1]
        command += ["--student", AGENT, "--student-config", folder / "agent.yaml", *self.collect]
        return [sys.executable, *map(str, command)]

    def training(self, number: int) -> list[str]:
        """Command that goes on training."""
        command = ["training.sft", "--config", self.config, "--init", self.driver(number), "--minutes", self.minutes]
        command += ["--out", self.folder(number) / "run", "--routes", *self.logs(number)]
        return [sys.executable, "-m", *map(str, command)]

    def trying(self, number: int) -> list[str]:
        """Command that drives what the round made over the routes that choose."""
        folder = self.folder(number)
        command = [ROOT / "tools/evaluate_routes.py", "--routes", self.choose, "--agent", AGENT]
        command += ["--agent-config", folder / "made.yaml", "--out", folder / "chosen.json"]
        command += ["--seeds", 0, "--traffic", CHOOSING_TRAFFIC, "--workers", self.workers]
        return [sys.executable, *map(str, command)]

    def settings(self) -> dict[str, object]:
        """All of it in JSON's types."""
        found = dataclasses.asdict(self)
        return json.loads(json.dumps(found, default=str))


def claim(loop: Loop) -> None:
    """Write the loop's settings into its folder, or hold them against those that began it.

    Raises:
        DaggerError: other settings began it; which ones.
    """
    file = loop.out / "loop.json"
    if file.exists():
        began, now = json.loads(file.read_text()), loop.settings()
        other = sorted(name for name in now if began.get(name) != now[name] and name not in MAY_CHANGE)
        if other:
            raise DaggerError(
                f"{loop.out} was begun with another {', '.join(other)}; go on as it began, or take another --out"
            )
    loop.out.mkdir(parents=True, exist_ok=True)
    files.write_whole(file, json.dumps(loop.settings(), indent=1) + "\n")


def drive_round(loop: Loop, number: int) -> None:
    """Do what is left of a round.

    Raises:
        DaggerError: collecting or training failed; what it printed says why.
    """
    folder = loop.folder(number)
    if (folder / "round.json").exists():
        print(f"round {number} is finished")
        return
    began = time.monotonic()
    model = folder / "run" / "model"
    folder.mkdir(parents=True, exist_ok=True)
    for file, checkpoint in (("agent.yaml", loop.driver(number)), ("made.yaml", model)):
        agent = yaml.safe_load(loop.agent_config.read_text()) | {"checkpoint": str(checkpoint.resolve())}
        files.write_whole(folder / file, yaml.safe_dump(agent, sort_keys=False))
    parts = [("collecting", loop.collecting(number)), ("training", loop.training(number))]
    if loop.choose is not None:
        parts.append(("choosing", loop.trying(number)))
    for name, command in parts:
        print(f"round {number}, {name}: {' '.join(command)}", flush=True)
        code = _run(command)
        if code == STOPPED:
            raise KeyboardInterrupt
        if code:
            raise DaggerError(f"round {number}: {name} ended with exit code {code}; mend it and give the command again")
    score = _score(folder / "chosen.json") if loop.choose is not None else None
    facts = {
        "driver": str(loop.driver(number)),
        "logs": [str(path) for path in loop.logs(number)],
        "model_sha256": files.sha256(model / "model.safetensors"),
        "driving_score": score,
        "wall_s": round(time.monotonic() - began),
    }
    if score is None or score > _best_before(loop, number):
        _publish(model, loop.out / "model")
    files.write_whole(folder / "round.json", json.dumps(facts, indent=1) + "\n")


def _score(results: Path) -> float:
    """Mean driving score of a results file."""
    return float(json.loads(results.read_text())["_checkpoint"]["global_record"]["scores_mean"]["score_composed"])


def _best_before(loop: Loop, number: int) -> float:
    earlier = [json.loads((loop.folder(i) / "round.json").read_text()) for i in range(1, number)]
    return max((found["driving_score"] for found in earlier), default=-1.0)


def _run(command: Sequence[str]) -> int:
    """Exit code of a part; when this program is stopped the part is stopped too, and saves what it has."""
    process = subprocess.Popen(command, cwd=Path.cwd())
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise


def _publish(model: Path, place: Path) -> None:
    """Copy a model folder; under its name stands the old one or the new one, whole."""
    new, old = place.with_name(".model.new"), place.with_name(".model.old")
    for left in (new, old):
        shutil.rmtree(left, ignore_errors=True)
    shutil.copytree(model, new)
    if place.exists():
        place.rename(old)
    new.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def _terminated(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code: 0 all rounds are finished, 1 an error, 130 stopped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="recipe of training.sft")
    parser.add_argument("--routes", type=Path, nargs="+", required=True, help="folders of the expert's own logs")
    parser.add_argument("--init", type=Path, required=True, help="model folder that drives first")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--hours", type=float, default=0.9, help="of driving a round")
    parser.add_argument("--minutes", type=float, default=25.0, help="of training a round")
    parser.add_argument("--seed", type=int, default=31, help="of the first round's routes; the next takes the next")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--agent-config", type=Path, default=AGENT_CONFIG, help="how the model drives")
    parser.add_argument("--collect", type=shlex.split, default=[], help="more words for tools/collect_routes.py")
    parser.add_argument("--choose", type=Path, help="route file on which the rounds' models compete")
    options = vars(parser.parse_args(arguments))
    rounds = options.pop("rounds")
    loop = Loop(**options | {"collect": tuple(options["collect"])})
    signal.signal(signal.SIGTERM, _terminated)
    try:
        claim(loop)
        for number in range(1, rounds + 1):
            drive_round(loop, number)
    except (DaggerError, OSError, yaml.YAMLError) as error:
        print(f"training.dagger: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return STOPPED
    return 0


if __name__ == "__main__":
    sys.exit(main())
