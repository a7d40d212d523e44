"""Errors of the system end a program with one sentence, also when they happen in a worker process."""

from __future__ import annotations

import errno
import os

import pytest

from autovla_core.errors import SimulatorError
from autovla_core.evaluation import program
from autovla_core.evaluation.workers import run_jobs


def fill_the_disk(shared: object, jobs, answer) -> None:
    """Answers each job; the third finds no room."""
    for job in jobs:
        if job == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/logs/a")
        answer(job)


@pytest.mark.timeout(300)
def test_the_reason_of_a_worker_that_finds_no_room_is_told():
    answers: list[object] = []
    with pytest.raises(SimulatorError, match=r"No space left on device: '/logs/a'"):
        run_jobs(fill_the_disk, None, [1, 3], 2, answers.append)


def test_a_full_disk_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr(program, "stop_on_terminate", lambda: None)
    code = program.run("a_tool", lambda: run_jobs(fill_the_disk, None, [1, 3], 1, lambda answer: None))
    assert code == 1 and capsys.readouterr().err == "a_tool: [Errno 28] No space left on device: '/logs/a'\n"
