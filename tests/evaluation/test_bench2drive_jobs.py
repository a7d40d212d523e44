"""The queue's files: torn at any byte, they lose at most the event that was being written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autovla_core.errors import RouteError
from autovla_core.evaluation.bench2drive.jobs import Jobs, Journal, read_events, read_record

IDS = ["7", "8", "9"]


def write_result(file: Path, route: str, status: str = "Completed", score: float = 50.0) -> Path:
    record = {
        "route_id": f"RouteScenario_{route}_rep0",
        "status": status,
        "infractions": {},
        "scores": {"score_composed": score},
    }
    file.write_text(json.dumps({"_checkpoint": {"records": [record]}}))
    return file


def finish(jobs: Jobs, tmp_path: Path, status: str = "Completed") -> str:
    job = jobs.take()
    jobs.finish(job, write_result(tmp_path / "attempt.json", job.route, status))
    return job.route


def test_routes_are_given_out_once_and_repeated_ones_last(tmp_path):
    jobs = Jobs(tmp_path / "run", IDS, retries=1)
    first = jobs.take()
    jobs.fail(first, "hang", "no tick")
    order = [jobs.take() for _ in range(3)]
    assert [(job.route, job.attempt, job.last) for job in order] == [("8", 1, False), ("9", 1, False), ("7", 2, True)]
    assert jobs.take() is None and not jobs.is_finished


def test_a_second_call_drives_only_what_has_no_result(tmp_path):
    assert finish(Jobs(tmp_path / "run", IDS, 1), tmp_path) == "7"
    jobs = Jobs(tmp_path / "run", IDS, 1)
    assert jobs.done == {"7": "Completed"}
    assert [jobs.take().route, jobs.take().route, jobs.take()] == ["8", "9", None]


def test_a_result_counts_even_if_the_power_went_before_the_journal_was_written(tmp_path):
    jobs = Jobs(tmp_path / "run", IDS, 1)
    write_result(jobs.result_file("8"), "8")
    assert list(Jobs(tmp_path / "run", IDS, 1).done) == ["8"]


def test_a_route_asked_for_again_has_all_its_attempts_under_numbers_of_their_own(tmp_path):
    jobs = Jobs(tmp_path / "run", ["7", "8"], retries=1)
    for _ in range(2):  # 7 fails twice and is given up, 8 is spoilt in its only attempt
        jobs.fail(jobs.take(), "hang", "no tick")
        if not jobs.done:
            finish(jobs, tmp_path, "Failed - Agent crashed")
    assert jobs.given_up == {"7"} and list(jobs.done) == ["8"]
    again = Jobs(tmp_path / "run", ["7", "8"], retries=1, again=True)
    assert [(job.route, job.attempt, job.last) for job in (again.take(), again.take())] == [
        ("7", 3, False),
        ("8", 2, False),
    ]


def test_an_interrupted_attempt_is_not_the_routes_fault(tmp_path):
    jobs = Jobs(tmp_path / "run", IDS, retries=0)
    jobs.take()
    again = Jobs(tmp_path / "run", IDS, retries=0).take()
    assert (again.route, again.attempt) == ("7", 1)


def test_faults_are_counted_over_calls(tmp_path):
    jobs = Jobs(tmp_path / "run", IDS[:1], retries=1)
    jobs.fail(jobs.take(), "hang", "")
    second = Jobs(tmp_path / "run", IDS[:1], retries=1).take()
    assert (second.attempt, second.last) == (2, True)


@pytest.mark.parametrize("lost", range(1, 60, 7))
def test_a_journal_torn_at_any_byte_loses_only_its_last_line(tmp_path, lost):
    file = tmp_path / "journal.jsonl"
    journal = Journal(file)
    journal.add("fault", route="7", state="hang", reason="ä")
    journal.add("fault", route="8", state="hang", reason="a long reason, longer than what is torn off here")
    size = file.stat().st_size
    with open(file, "r+b") as stream:
        stream.truncate(size - lost)
    assert [e["route"] for e in read_events(file)[0]] == ["7"]
    again = Journal(file)
    again.add("done", route="7")
    assert [e["event"] for e in read_events(file)[0]] == ["fault", "done"]


def test_reading_a_journal_does_not_change_it(tmp_path):
    file = tmp_path / "journal.jsonl"
    file.write_bytes(b'{"event": "start"}\n{"eve')
    read_events(file)
    assert file.read_bytes() == b'{"event": "start"}\n{"eve'


def test_a_journal_damaged_in_its_middle_is_named(tmp_path):
    file = tmp_path / "journal.jsonl"
    file.write_bytes(b'{"event": \n{"event": "start"}\n')
    with pytest.raises(RouteError, match="journal.jsonl is damaged"):
        Journal(file)


def test_spoilt_results_are_driven_again_only_when_asked(tmp_path):
    jobs = Jobs(tmp_path / "run", IDS, 0)
    assert finish(jobs, tmp_path, "Failed - Agent crashed") == "7"
    assert finish(jobs, tmp_path, "Failed - Agent got blocked") == "8"
    assert set(Jobs(tmp_path / "run", IDS, 0).done) == {"7", "8"}
    assert set(Jobs(tmp_path / "run", IDS, 0, again=True).done) == {"8"}


@pytest.mark.parametrize("cut", [0, 1, 40, 120])
def test_half_a_result_is_no_result(tmp_path, cut):
    file = write_result(tmp_path / "r.json", "7")
    file.write_text(file.read_text()[:cut])
    with pytest.raises(RouteError, match="half of one"):
        read_record(file, "7")


def test_a_result_of_another_route_or_of_one_still_driven_is_refused(tmp_path):
    with pytest.raises(RouteError, match="expected route 8"):
        read_record(write_result(tmp_path / "r.json", "7"), "8")
    with pytest.raises(RouteError, match="still being driven"):
        read_record(write_result(tmp_path / "r.json", "7", "Started"), "7")
