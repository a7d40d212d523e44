"""Who gets which job when workers die; the crew here only says what it is told to."""

from __future__ import annotations

from collections import deque

import pytest

from autovla_core.errors import SimulatorError
from autovla_core.evaluation.dealing import ANSWER, DRAW, ERROR, HOPELESS, LOST, TRIES, Table, Word, deal


class Crew:
    """Workers that answer a job with its square, die over some of them, and die at their birth so often."""

    def __init__(self, deaths: dict[int, int], births: int = 0) -> None:
        self.deaths, self.births = dict(deaths), births
        self.words: deque[Word] = deque()
        self.hired, self.given, self.closed = 0, [], []

    def hire(self) -> None:
        worker, self.hired = self.hired, self.hired + 1
        alive = worker >= self.births
        self.words.append(Word(worker, DRAW) if alive else Word(worker, LOST, "no machine"))

    def give(self, worker: int, job: object) -> None:
        self.given.append(job)
        if self.deaths.get(job, 0):
            self.deaths[job] -= 1
            self.words.append(Word(worker, LOST, f"died over {job}"))
        elif job == "bad":
            self.words.append(Word(worker, ERROR, "no such agent"))
        else:
            self.words += [Word(worker, ANSWER, job * job), Word(worker, DRAW)]

    def hear(self) -> Word:
        return self.words.popleft()

    def close(self, orderly: bool) -> None:
        self.closed.append(orderly)


def test_every_job_is_answered_once():
    crew, answers = Crew({}), []
    deal(crew, [3, 1, 2], 2, answers.append)
    assert sorted(answers) == [1, 4, 9] and crew.given == [3, 1, 2] and crew.closed == [True] and crew.hired == 2


def test_what_a_lost_worker_held_is_done_next_by_another_and_counts_once():
    crew, answers = Crew({1: TRIES - 1}), []
    deal(crew, [1, 2, 3], 1, answers.append)
    assert answers == [1, 4, 9] and crew.given == [1, 1, 1, 2, 3] and crew.hired == TRIES


def test_a_job_that_takes_every_worker_with_it_is_given_up_and_the_others_are_done():
    crew, answers = Crew({2: 99}), []
    with pytest.raises(
        SimulatorError, match="1 of 3 jobs were given up after 3 lost workers each.*number 2, died over 2"
    ):
        deal(crew, [1, 2, 3], 1, answers.append)
    assert answers == [1, 9] and crew.given.count(2) == TRIES and crew.closed == [True]


def test_machines_on_which_no_worker_lasts_end_the_run():
    crew = Crew({}, births=99)
    with pytest.raises(SimulatorError, match=f"{HOPELESS} workers in a row were lost, the last one: no machine"):
        deal(crew, [1, 2], 2, print)
    assert crew.closed == [False]


def test_an_error_of_one_ends_the_run():
    crew = Crew({})
    with pytest.raises(SimulatorError, match="no such agent"):
        deal(crew, ["bad", 1], 1, print)
    assert crew.closed == [False]


def test_an_idle_worker_takes_over_what_the_last_busy_one_held():
    table = Table(1)
    assert (table.draw(0), table.draw(1)) == (0, None)
    table.lose(0, "gone")
    assert not table.over and table.draw(1) == 0
    table.settle(1)
    assert table.over


def test_a_worker_that_is_lost_after_its_answer_costs_nothing():
    table = Table(2)
    table.draw(0)
    table.settle(0)
    table.lose(0, "gone")
    assert table.draw(1) == 1 and table.draw(1) is None


def test_an_answer_ends_a_row_of_losses():
    table = Table(20)
    for _ in range(3):
        for worker in range(HOPELESS - 1):
            table.lose(worker, "gone")
        table.draw(9)
        table.settle(9)
    assert not table.over
