"""Worker processes that end, are killed or find no room; the processes and the signals are real."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from autovla_core.errors import SetupError, SimulatorError
from autovla_core.evaluation import program, queue
from autovla_core.evaluation.queue import Cluster, run_jobs

pytestmark = pytest.mark.timeout(300)


def fill_the_disk(shared: object, jobs, answer) -> None:
    """Answers each job; the third finds no room."""
    for job in jobs:
        if job == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/logs/a")
        answer(job)


def die_over_three(folder: Path, jobs, answer) -> None:
    """Answers each job with its square; the first to meet a 3, and all that meet a 7, kill themselves."""
    for job in jobs:
        if job == 7 or (job == 3 and not (folder / "met").exists()):
            (folder / "met").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        answer(job * job)


def test_the_reason_of_a_worker_that_finds_no_room_is_told():
    answers: list[object] = []
    with pytest.raises(SimulatorError, match=r"No space left on device: '/logs/a'"):
        run_jobs(fill_the_disk, None, [1, 3], 2, answers.append)


def test_a_full_disk_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr(program, "stop_on_terminate", lambda: None)
    code = program.run("a_tool", lambda: run_jobs(fill_the_disk, None, [1, 3], 1, lambda answer: None))
    assert code == 1 and capsys.readouterr().err == "a_tool: [Errno 28] No space left on device: '/logs/a'\n"


def test_a_worker_that_is_killed_is_replaced_and_its_job_is_done_again(tmp_path, caplog):
    answers: list[object] = []
    run_jobs(die_over_three, tmp_path, [1, 2, 3, 4], 2, answers.append)
    assert sorted(answers) == [1, 4, 9, 16]
    assert [record.getMessage().split(" ended ")[1] for record in caplog.records] == [
        "by itself (signal SIGKILL); what it did is done again by another"
    ]


def test_a_job_that_kills_every_worker_is_given_up_after_all_others(tmp_path):
    answers: list[object] = []
    with pytest.raises(SimulatorError, match="1 of 3 jobs were given up.*number 1, worker process .*signal SIGKILL"):
        run_jobs(die_over_three, tmp_path, [7, 1, 2], 2, answers.append)
    assert sorted(answers) == [1, 4]


PARENT = """
import sys
from pathlib import Path
sys.path.insert(0, {folder!r})
from late import wait
from autovla_core.evaluation.queue import run_jobs
if __name__ == "__main__":
    run_jobs(wait, None, [1, 2], 2, print)
"""
LATE = """
import signal
def wait(shared, jobs, answer):
    for job in jobs:
        print("drawn", flush=True)
        signal.pause()
"""


def test_workers_end_with_the_program_that_is_killed(tmp_path):
    (tmp_path / "late.py").write_text(LATE)
    (tmp_path / "parent.py").write_text(PARENT.format(folder=str(tmp_path)))
    parent = subprocess.Popen([sys.executable, str(tmp_path / "parent.py")], stdout=subprocess.PIPE, text=True)
    assert [parent.stdout.readline() for _ in range(2)] == ["drawn\n"] * 2
    parent.kill()
    parent.wait()
    assert parent.stdout.read() == ""  # it ends when the last process ends that holds its other end


def test_without_ray_the_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SetupError, match=r"found no ray.*pip install -c constraints.txt -e .\[cluster\]"):
        run_jobs(fill_the_disk, None, [1], 1, print, Cluster())


def test_a_worker_takes_what_was_asked_for_and_nothing_else():
    assert Cluster().needs == {"CPU": 1.0}
    assert Cluster(cpus=2.0, gpus=0.5, simulators=1).needs == {"CPU": 2.0, "GPU": 0.5, queue.SIMULATOR: 1.0}
