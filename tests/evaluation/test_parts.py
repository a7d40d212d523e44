"""Results that are kept drive by drive, written by several programs, and made whole again."""

from __future__ import annotations

import errno
import os

import pytest

from autovla_core.errors import RouteError
from autovla_core.evaluation.parts import Parts, share
from autovla_core.evaluation.results import CRASHED, Record, ResultsFile
from autovla_core.scoring.closed_loop import score

RUN = {"agent": "a.py", "seeds": [0]}
NAMES = [f"RouteScenario_{route}_rep0" for route in "abc"]


def record(route: str, status: str = "Perfect") -> Record:
    return Record(route, 0, 0, "T", status, score(100.0, ()), (), 50.0, 9.0, 1.0)


@pytest.fixture
def results(tmp_path):
    def make(run=RUN, whole: bool = True) -> ResultsFile:
        return ResultsFile(tmp_path / "r.json", NAMES, run, parts=Parts(tmp_path / "r.parts", run), whole=whole)

    return make


@pytest.fixture
def undisturbed(tmp_path) -> bytes:
    whole = ResultsFile(tmp_path / "calm.json", NAMES, RUN)
    for route in "abc":
        whole.add(record(route))
    return (tmp_path / "calm.json").read_bytes()


def test_several_programs_at_once_leave_what_one_would_have_written(results, tmp_path, undisturbed):
    programs = [results(whole=False) for _ in range(2)]  # both begin before anything is there
    for turn, route in enumerate("cab"):
        programs[turn % 2].add(record(route))
    assert not (tmp_path / "r.json").exists() and len(list((tmp_path / "r.parts").iterdir())) == 3
    results().write()
    assert (tmp_path / "r.json").read_bytes() == undisturbed


@pytest.mark.parametrize("left", [0, 1, 300])
def test_a_results_file_that_was_cut_is_made_anew(results, tmp_path, undisturbed, left, caplog):
    whole = results()
    for route in "abc":
        whole.add(record(route))
    (tmp_path / "r.json").write_bytes(undisturbed[:left])
    results().write()
    assert (tmp_path / "r.json").read_bytes() == undisturbed
    assert "r.json is damaged; it is made anew from its drives" in caplog.text


@pytest.mark.parametrize("left", [0, 1, 300])
def test_a_drive_whose_file_was_cut_is_driven_again(results, tmp_path, left, caplog):
    whole = results(whole=False)
    whole.add(record("a"))
    whole.add(record("b"))
    cut = tmp_path / "r.parts" / f"{NAMES[1]}.json"
    cut.write_bytes(cut.read_bytes()[:left])
    again = results()
    assert again.has(NAMES[0]) and not again.has(NAMES[1])
    assert "broke off; its route is driven again" in caplog.text


def test_a_full_disk_costs_one_drive(results, tmp_path, monkeypatch):
    whole = results()
    whole.add(record("a"))

    def full(stream: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space left"):
        patched.setattr(os, "fsync", full)
        whole.add(record("b"))
    again = results()
    assert again.has(NAMES[0]) and not again.has(NAMES[1])
    assert sorted(f.name for f in (tmp_path / "r.parts").iterdir()) == [f"{NAMES[0]}.json"]


def test_a_spoilt_drive_is_replaced_by_a_good_one(results, tmp_path):
    results(whole=False).add(record("a", CRASHED))
    results(whole=False).add(record("a"))
    assert [r["status"] for r in results().records] == ["Perfect"]


def test_drives_of_another_run_are_refused(results):
    results(whole=False).add(record("a"))
    with pytest.raises(RouteError, match=r"another run \(differs in seeds\); choose another --out"):
        results(run={**RUN, "seeds": [1]})


def test_a_name_that_is_no_file_name_is_a_name_of_a_drive(tmp_path):
    parts = Parts(tmp_path, RUN)
    parts.write({"route_id": "a/b .. c"})
    assert list(parts.read()) == ["a/b .. c"] and [f.name for f in tmp_path.iterdir()] == ["a%2Fb%20..%20c.json"]


def test_shards_share_everything_and_share_nothing_twice():
    items = list(range(10))
    shards = [share(items, f"{i}/3") for i in (1, 2, 3)]
    assert shards[0] == [0, 3, 6, 9] and sorted(sum(shards, [])) == items and share(items, "") == items


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/0", "a/b", "-1/3", "1/3/5"])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(RouteError, match="expected i/n"):
        share([1], text)
