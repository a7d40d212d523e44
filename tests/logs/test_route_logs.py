"""A drive that is written can be read back, whole or not at all."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

from autovla_core.contracts import RULES, Outlook
from autovla_core.errors import LogError
from autovla_core.logs.reader import RouteLog, route_folders
from autovla_core.logs.schema import RouteMeta, Tick
from autovla_core.logs.writer import RouteWriter

META = RouteMeta("Havenbrook", "r1", 7, {"cloudiness": 10.0}, {"front": {"width": 32, "height": 16}})


def picture(shade: int) -> np.ndarray:
    return np.full((16, 32, 3), shade, np.uint8)


def write(folder, ticks: int = 60, meta: RouteMeta = META):
    writer = RouteWriter(folder, meta)
    for i in range(ticks):
        number = writer.tick(Tick(0.05 * i, 0.4 * i, 1.0, 0.0, 0.1, 8.0, 0.0, 0.0, steer=0.25, command=1))
        if i % 5 == 0:
            writer.image("front", number, picture(4 * i))
            writer.plan(number, np.full((10, 3), i, float))
    return writer


def test_a_written_drive_reads_back(tmp_path):
    write(tmp_path / "r1").close({"status": "Completed"})
    log = RouteLog(tmp_path / "r1")
    assert log.meta == META and len(log) == 60 and log.outcome["status"] == "Completed"
    assert log.poses[10] == pytest.approx([4.0, 1.0, 0.1])
    assert log.ticks["steer"].dtype == np.float32 and log.ticks["steer"][0] == 0.25
    rows = list(log.plan_rows())
    assert [row.tick for row in rows] == list(range(0, 60, 5))
    assert rows[3].poses[0, 0] == 15 and rows[3].command == 1 and rows[3].speed == 8.0


def test_a_clip_holds_four_images_half_a_second_apart_ending_at_the_tick(tmp_path):
    write(tmp_path / "r1").close()
    clip = RouteLog(tmp_path / "r1").clip("front", 40)
    assert clip.images.shape == (4, 16, 32, 3)
    assert clip.times_s == pytest.approx([0.5, 1.0, 1.5, 2.0])
    assert clip.images[:, 8, 8, 0] == pytest.approx([40, 80, 120, 160], abs=2)


def test_the_first_image_is_repeated_at_the_start(tmp_path):
    write(tmp_path / "r1").close()
    log = RouteLog(tmp_path / "r1")
    assert list(log.clip_ticks("front", 0)) == [0, 0, 0, 0]
    assert list(log.clip_ticks("front", 10)) == [0, 0, 0, 10]
    assert list(log.clip_ticks("front", 17)) == [0, 0, 5, 15], "the newest image before the tick is the anchor"


def test_the_same_drive_gives_the_same_bytes(tmp_path):
    first, second = write(tmp_path / "a").close(), write(tmp_path / "b").close()
    files = sorted(f.relative_to(first) for f in first.rglob("*") if f.is_file())
    assert files == sorted(f.relative_to(second) for f in second.rglob("*") if f.is_file())
    assert all((first / f).read_bytes() == (second / f).read_bytes() for f in files)
    with zipfile.ZipFile(first / "ticks.npz") as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_an_interrupted_drive_leaves_nothing_under_its_name(tmp_path):
    with pytest.raises(KeyboardInterrupt), write(tmp_path / "r1"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_the_rest_of_a_killed_drive_is_replaced(tmp_path):
    write(tmp_path / "r1")  # never closed
    assert route_folders(tmp_path) == []
    write(tmp_path / "r1").close()
    assert route_folders(tmp_path) == [tmp_path / "r1"]


def test_a_finished_log_is_never_overwritten(tmp_path):
    write(tmp_path / "r1").close()
    with pytest.raises(LogError, match="exists already"):
        write(tmp_path / "r1")


def test_the_writer_refuses_what_does_not_fit(tmp_path):
    writer = write(tmp_path / "r1")
    with pytest.raises(LogError, match=r"camera 'left' is not in the rig \['front'\]"):
        writer.image("left", 0, picture(0))
    with pytest.raises(LogError, match="tick 60 was not written"):
        writer.image("front", 60, picture(0))
    with pytest.raises(LogError, match=r"expected \(H, W, 3\) uint8"):
        writer.image("front", 0, np.zeros((16, 32, 4), np.uint8))
    with pytest.raises(LogError, match="expected finite"):
        writer.plan(0, np.full((10, 3), np.nan))


def test_a_missing_table_is_named(tmp_path):
    folder = write(tmp_path / "r1").close()
    (folder / "plans.npz").unlink()
    with pytest.raises(LogError, match="plans.npz is missing"):
        RouteLog(folder)


def test_a_damaged_table_is_named(tmp_path):
    folder = write(tmp_path / "r1").close()
    (folder / "ticks.npz").write_bytes((folder / "ticks.npz").read_bytes()[:100])
    with pytest.raises(LogError, match="ticks.npz is damaged"):
        RouteLog(folder)


def test_a_state_that_is_not_a_number_is_named(tmp_path):
    writer = write(tmp_path / "r1", 3)
    writer.tick(Tick(0.15, 1.2, 1.0, 0.0, 0.1, float("nan"), 0.0, 0.0))
    writer.close()
    with pytest.raises(LogError, match="ticks.npz: column 'speed' is NaN in row 3; move this route away"):
        RouteLog(tmp_path / "r1")


def test_a_drive_may_end_elsewhere_but_not_upon_another(tmp_path):
    failed = tmp_path / "failed" / "r1"
    assert write(tmp_path / "r1").close(elsewhere=failed) == failed
    assert len(RouteLog(failed)) == 60 and not (tmp_path / "r1").exists()
    with pytest.raises(LogError, match="failed/r1 exists already"):
        write(tmp_path / "r1").close(elsewhere=failed)


def test_another_schema_and_wrong_counts_are_refused(tmp_path):
    folder = write(tmp_path / "r1").close()
    document = json.loads((folder / "route.json").read_text())
    (folder / "route.json").write_text(json.dumps({**document, "ticks": 61}))
    with pytest.raises(LogError, match="found 60 ticks, route.json says 61"):
        RouteLog(folder)
    (folder / "route.json").write_text(json.dumps({**document, "schema": "other/9"}))
    with pytest.raises(LogError, match="found schema 'other/9', expected"):
        RouteLog(folder)


def test_a_folder_that_is_no_log_is_refused(tmp_path):
    with pytest.raises(LogError, match="route.json is missing"):
        RouteLog(tmp_path)
    with pytest.raises(LogError, match="no folder of route logs"):
        route_folders(tmp_path / "nowhere")


def test_a_missing_image_is_an_error_that_names_the_file(tmp_path):
    folder = write(tmp_path / "r1").close()
    log = RouteLog(folder)
    assert len(log.image_ticks["front"]) == 12
    (folder / "camera_front" / "000040.jpg").unlink()
    with pytest.raises(LogError, match="000040.jpg"):
        log.clip("front", 40)


def test_what_the_expert_knew_lies_beside_its_plan(tmp_path):
    writer = write(tmp_path / "r1", ticks=10)
    writer.plan(9, np.zeros((10, 3)), Outlook("light", red_m=12.5))
    writer.close()
    plans = RouteLog(tmp_path / "r1").plans
    assert [RULES[i] for i in plans["rule"]] == ["", "", "light"], "a driver that knows nothing says nothing"
    assert plans["red_m"].tolist() == [np.inf, np.inf, 12.5] and np.isinf(plans["lead_m"]).all()
