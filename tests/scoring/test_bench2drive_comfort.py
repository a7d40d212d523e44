"""Comfort, official and with its units put right, on motions whose derivatives are known."""

from __future__ import annotations

import numpy as np
import pytest

from autovla_core.scoring.bench2drive_comfort import TICK_S, Motion, comfort, motion_of, quantities


def motion(ahead=0.0, side=0.0, yaw_rate_deg=0.0, ticks: int = 40, heading: float = 0.0) -> Motion:
    """A drive with the given series in the car's own axes, seen from a world turned by ``heading``."""
    ahead, side, rate = (np.broadcast_to(np.asarray(v, float), ticks) for v in (ahead, side, yaw_rate_deg))
    forward = np.tile([np.cos(heading), np.sin(heading)], (ticks, 1))
    right = np.tile([-np.sin(heading), np.cos(heading)], (ticks, 1))
    return Motion(ahead[:, None] * forward + side[:, None] * right, forward, right, np.array(rate))


def test_standing_still_is_comfortable():
    assert comfort(motion(), official=True) == comfort(motion(), official=False) == 1.0


@pytest.mark.parametrize(("ahead", "good"), [(2.39, 1.0), (2.41, 0.0), (-4.04, 1.0), (-4.06, 0.0)])
def test_longitudinal_bounds_are_the_same_in_both(ahead, good):
    assert comfort(motion(ahead), official=True) == comfort(motion(ahead), official=False) == good


def test_the_world_frame_does_not_matter():
    series = np.sin(np.arange(60) * 0.3)
    for official in (True, False):
        a = quantities(motion(series, 0.5 * series, ticks=60), official)
        b = quantities(motion(series, 0.5 * series, ticks=60, heading=1.1), official)
        for name in a:
            assert b[name] == pytest.approx(a[name], abs=1e-9)


def test_a_ramp_of_5_m_s3_is_halved_by_the_official_tick():
    ramp = 5.0 * TICK_S * (np.arange(20) - 10)  # -2.5 .. 2.25 m/s2
    made = motion(ramp, ticks=20)
    assert quantities(made, official=False)["longitudinal jerk"] == pytest.approx(np.full(20, 5.0))
    assert quantities(made, official=True)["longitudinal jerk"] == pytest.approx(np.full(20, 2.5))
    assert comfort(made, official=False) == 0.0 and comfort(made, official=True) == 1.0


def test_a_turn_of_2_degrees_a_second_is_harsh_officially_and_gentle_in_truth():
    made = motion(yaw_rate_deg=2.0)
    assert comfort(made, official=True) == 0.0 and comfort(made, official=False) == 1.0
    sharp = motion(yaw_rate_deg=np.degrees(0.96))
    assert comfort(sharp, official=False) == 0.0


def test_the_official_yaw_acceleration_is_the_yaw_rate_and_the_corrected_its_slope():
    rate = np.degrees(0.1 * TICK_S * np.arange(20))  # 0.1 rad/s2
    made = motion(yaw_rate_deg=rate, ticks=20)
    official, true = quantities(made, official=True), quantities(made, official=False)
    assert official["yaw acceleration"] == pytest.approx(official["yaw rate"])
    assert true["yaw acceleration"] == pytest.approx(np.full(20, 0.1))


def test_the_official_unwrap_folds_a_jump_of_more_than_pi_degrees_a_second():
    rate = np.where(np.arange(20) < 10, 0.0, 2.0 * np.pi)  # folded away: no turn is left
    assert comfort(motion(yaw_rate_deg=rate, ticks=20), official=True) == 1.0


def test_a_drive_is_cut_into_chunks_of_20_and_the_rest_is_dropped():
    harsh = np.where(np.arange(75) < 20, 5.0, 0.0)  # of three whole chunks the first; the last 15 are dropped
    assert comfort(motion(harsh, ticks=75), official=False) == pytest.approx(2 / 3)
    assert comfort(motion(np.where(np.arange(75) < 60, 0.0, 5.0), ticks=75), official=False) == 1.0


def test_a_short_drive_is_judged_whole_and_a_very_short_one_refused():
    assert comfort(motion(5.0, ticks=20), official=True) == 0.0
    assert comfort(motion(0.0, ticks=3), official=True) == 1.0
    with pytest.raises(ValueError, match="2 ticks is too short"):
        comfort(motion(ticks=2), official=True)


@pytest.mark.parametrize("ticks", [3, 4, 5, 6, 7, 20])
def test_smoothing_leaves_a_parabola_as_it_is(ticks):
    parabola = 0.01 * np.arange(ticks) ** 2 - 0.1 * np.arange(ticks)
    made = quantities(motion(parabola, ticks=ticks), official=False)
    assert made["longitudinal acceleration"] == pytest.approx(parabola, abs=1e-9)
    slope = (0.02 * np.arange(ticks) - 0.1) / TICK_S
    assert made["longitudinal jerk"] == pytest.approx(slope, abs=1e-9)


def test_a_metric_file_is_read_in_its_own_order_and_a_broken_one_is_refused():
    tick = {
        "acceleration": [1.0, 2.0, 9.8],
        "forward_vector": [1.0, 0.0, 0.0],
        "right_vector": [0.0, 1.0, 0.0],
        "angular_velocity": [0.0, 0.0, 7.0],
    }
    other = {**tick, "acceleration": [3.0, 0.0, 0.0]}
    made = motion_of({"10": tick, "9": other})
    assert made.acceleration.tolist() == [[1.0, 2.0], [3.0, 0.0]] and made.carla_yaw_rate_deg.tolist() == [7.0, 7.0]
    with pytest.raises(ValueError, match="right_vector"):
        motion_of({"0": {k: v for k, v in tick.items() if k != "right_vector"}})
    with pytest.raises(ValueError, match="no ticks"):
        motion_of({})
