"""Each rule of the leaderboard's tracks, kept and broken."""

from __future__ import annotations

import pytest

from autovla_core.evaluation.sensor_rules import ANY, MOST, TRACKS, SensorsInvalid, expect_lawful
from autovla_core.sensing import radar
from autovla_core.sensing import rig as rigs

CAMERA = "sensor.camera.rgb"


def of(type_id: str, count: int = 1) -> list[dict[str, object]]:
    return [{"type": type_id, "id": f"{type_id} {number}"} for number in range(count)]


@pytest.mark.parametrize("rig", sorted(rigs.RIGS))
def test_our_own_rigs_are_lawful_with_the_radar_of_the_shield(rig):
    expect_lawful([*rigs.sensors(rigs.rig(rig)), radar.RadarSpec().sensor()], "SENSORS")


@pytest.mark.parametrize(("type_id", "most"), sorted(MOST.items()))
def test_as_many_as_the_track_allows_and_not_one_more(type_id, most):
    for track, allowed in zip(("MAP", "MAP_QUALIFIER"), most):
        expect_lawful(of(type_id, allowed), track)
        with pytest.raises(SensorsInvalid, match=f"found {allowed + 1} of {type_id}, the track {track} allows"):
            expect_lawful(of(type_id, allowed + 1), track)


def test_counts_are_the_leaderboards():
    assert MOST[CAMERA] == (8, 4) and MOST["sensor.lidar.ray_cast"] == (2, 1) and MOST["sensor.other.radar"] == (4, 2)
    assert all(MOST[f"sensor.{name}"] == (1, 1) for name in ("other.gnss", "other.imu", "opendrive_map", "speedometer"))


@pytest.mark.parametrize(
    "type_id", ["sensor.camera.depth", "sensor.camera.semantic_segmentation", "sensor.other.sonar"]
)
def test_other_types_are_of_no_track(type_id):
    for track in TRACKS:
        with pytest.raises(SensorsInvalid, match="of no allowed type, expected one of sensor.camera.rgb"):
            expect_lawful(of(type_id), track)


def test_the_map_is_for_the_map_track():
    for track in ("MAP", "MAP_QUALIFIER", "SENSORS_QUALIFIER"):  # the leaderboard forgot the last one
        expect_lawful(of("sensor.opendrive_map"), track)
    with pytest.raises(SensorsInvalid, match="not for the track SENSORS, only for MAP"):
        expect_lawful(of("sensor.opendrive_map"), "SENSORS")


def test_no_sensor_sits_farther_out_than_three_metres():
    expect_lawful([{"type": CAMERA, "id": "a", "x": 1.0, "y": -2.0, "z": 2.0}], "SENSORS")  # 3 m to the hair
    with pytest.raises(SensorsInvalid, match="sits 3.01 m from the ego's origin, expected at most 3 m"):
        expect_lawful([{"type": CAMERA, "id": "a", "x": 0.0, "y": 0.0, "z": 3.01}], "SENSORS")
    expect_lawful([{"type": CAMERA, "id": "a", "z": 50.0}], "SENSORS")  # measured only if x, y and z are all given


def test_ids_are_unique():
    with pytest.raises(SensorsInvalid, match="found 2 sensors with the id 'a'"):
        expect_lawful([{"type": CAMERA, "id": "a"}, {"type": "sensor.other.imu", "id": "a"}], "SENSORS")


def test_the_agent_is_of_the_track_of_the_evaluation():
    expect_lawful(of(CAMERA), "MAP", "MAP")
    with pytest.raises(SensorsInvalid, match="of the track 'SENSORS', expected MAP"):
        expect_lawful(of(CAMERA), "SENSORS", "MAP")
    with pytest.raises(SensorsInvalid, match="of the track 'LIDAR', expected SENSORS or MAP or"):
        expect_lawful(of(CAMERA), "LIDAR")


def test_the_switch_allows_everything():
    unlawful = [{"type": "sensor.camera.depth", "id": "a", "x": 0.0, "y": 0.0, "z": 50.0}] * 9
    expect_lawful(unlawful, "SENSORS", ANY)
