"""Reinforcement fine-tuning (GRPO) in the closed loop: rewards are what becomes of a plan in a fork of the simulator.

    python -m training.rft_closed_loop --config training/recipes/tiny_rft_closed_loop.yaml [--init runs/x/model]
    python -m training.rft_closed_loop --ray [HOST:PORT] --ranks 4 --config ...     # as torchrun, over a ray cluster

The model drives minicarla by its greedy plans; now and then the world is saved, each of the drawn plans is tracked for
some seconds among cars that react, judged by the leaderboard's criteria, and taken back. Everything else is
``training.rft``: the update, the log, and that the same command goes on after an interrupt, bit for bit.
Method, cost and what was measured: docs/rft.md.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import signal
import sys
import threading

from autovla_core.carla_bridge.saved_states import SavedStates
from autovla_core.errors import AutoVLAError, ConfigError
from autovla_core.evaluation import program
from autovla_core.evaluation.evaluator import simulator
from autovla_core.evaluation.gang import run_gang
from autovla_core.files import sha256
from training import rft
from training.rft_drives import Drives
from training.rft_groups import Group
from training.rft_tally import Tally

JUDGED_ELSEWHERE = {"pdm", "pdm_progress", "faithfulness"}  # by recorded truth, which a fork has not


class ClosedLoopRun(rft.Run):
    """A run whose groups come from drives; each rank has a simulator of its own."""

    def open(self, i_know: bool) -> dict[str, str]:
        """Start the simulator; return hashes of the route files.

        Raises:
            ConfigError: no drives in the recipe, or rewards that need recorded truth.
            SetupError: no simulator can be had.
        """
        drives = self.settings.drives
        if drives is None:
            raise ConfigError("the recipe has no drives: run it with python -m training.rft, or name them")
        foreign = JUDGED_ELSEWHERE & set(self.settings.reward.weights)
        if foreign:
            raise ConfigError(f"reward.weights: {sorted(foreign)} need recorded truth; in a fork there is driven")
        with contextlib.ExitStack() as opened:
            there = opened.enter_context(simulator(threads=drives.server_threads))
            states = opened.enter_context(SavedStates(there.host, there.port))
            self._drives = Drives(there, states, self.policy.sampler, self.settings)
            self._opened = opened.pop_all()
        return {"data": sha256(drives.routes), "held_out": sha256(drives.held_out)}

    def close(self) -> None:
        """Stop the simulator."""
        self._opened.close()

    def deal(self, stop: threading.Event, tally: Tally) -> list[Group]:
        """This rank's groups of the step; fewer when it is stopped."""
        groups: list[Group] = []
        for place in self.team.share(self.settings.drives.drives):
            if stop.is_set():
                break
            groups += self._drives.groups(self.progress.step, place, tally, stop)
        return groups

    def held_out_values(self) -> dict[str, float]:
        """What greedy plans earn on held-out drives."""
        return self._drives.validate(self.team)

    def samples(self) -> int:
        """Prompts dealt so far: no two of them are the same."""
        return self.progress.step * self.settings.grpo.prompts


def main() -> int:
    """As ``rft.main``; with ``--ray`` each rank is a process somewhere in the cluster, and ``out`` must be seen by all.

    A rank that is lost ends the others, and all go on from the last checkpoint.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--ranks", type=int, default=2)
    program.add_cluster_options(parser)
    options, rest = parser.parse_known_args()
    cluster, stop = program.cluster_of(options), threading.Event()
    if cluster is None:
        return rft.main(ClosedLoopRun, __doc__)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        return run_gang([sys.executable, "-m", "training.rft_closed_loop", *rest], options.ranks, cluster, stop)
    except AutoVLAError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
