"""DAgger as a loop: the model drives, the expert labels what it got into, training goes on, and again.

    python -m training.dagger --config training/recipes/tiny_dagger.yaml --routes data/havenbrook \
        --init runs/tiny_sft/model --rounds 3 --hours 0.9 --minutes 25 --out runs/dagger

Round n lies in ``<out>/round_<n>``: ``logs`` (tools/collect_routes.py --student), ``run`` (training.sft) and, once it
is finished, ``round.json``. The newest logs count three times in a round, those before twice, older ones and
``--routes`` once. The same command goes on where it was interrupted; ``<out>/model`` is the last round's.
"""

from __future__ import annotations

import argparse
import json
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
        command += ["--student", AGENT, "--student-config", folder / "agent.yaml"]
        return [sys.executable, *map(str, command)]

    def training(self, number: int) -> list[str]:
        """Command that goes on training."""
        command = ["training.sft", "--config", self.config, "--init", self.driver(number), "--minutes", self.minutes]
        command += ["--out", self.folder(number) / "run", "--routes", *self.logs(number)]
        return [sys.executable, "-m", *map(str, command)]


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
    agent = yaml.safe_load(loop.agent_config.read_text()) | {"checkpoint": str(loop.driver(number).resolve())}
    folder.mkdir(parents=True, exist_ok=True)
    files.write_whole(folder / "agent.yaml", yaml.safe_dump(agent, sort_keys=False))
    for name, command in (("collecting", loop.collecting(number)), ("training", loop.training(number))):
        print(f"round {number}, {name}: {' '.join(command)}", flush=True)
        code = _run(command)
        if code == STOPPED:
            raise KeyboardInterrupt
        if code:
            raise DaggerError(f"round {number}: {name} ended with exit code {code}; mend it and give the command again")
    model = folder / "run" / "model"
    facts = {
        "driver": str(loop.driver(number)),
        "logs": [str(path) for path in loop.logs(number)],
        "model_sha256": files.sha256(model / "model.safetensors"),
        "wall_s": round(time.monotonic() - began),
    }
    _publish(model, loop.out / "model")
    files.write_whole(folder / "round.json", json.dumps(facts, indent=1) + "\n")


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
    options = vars(parser.parse_args(arguments))
    rounds = options.pop("rounds")
    loop = Loop(**options)
    signal.signal(signal.SIGTERM, _terminated)
    try:
        for number in range(1, rounds + 1):
            drive_round(loop, number)
    except DaggerError as error:
        print(f"training.dagger: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return STOPPED
    return 0


if __name__ == "__main__":
    sys.exit(main())
