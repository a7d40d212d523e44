from __future__ import annotations

from autovla_core.control.pid import Pid, PidConfig


def test_pid_sums_its_three_terms():
    pid = Pid(PidConfig(kp=2.0, ki=1.0, kd=0.1, limits=(-10.0, 10.0)))
    assert pid.step(1.0, 0.5) == 2.0 + 0.5
    assert pid.step(2.0, 0.5) == 4.0 + 1.5 + 0.1 * 2.0


def test_pid_does_not_wind_up_while_saturated():
    pid = Pid(PidConfig(ki=1.0, limits=(-1.0, 1.0)))
    for _ in range(1000):
        assert pid.step(5.0, 0.05) <= 1.0
    steps = 0
    while pid.step(-1.0, 0.05) > 0.0:
        steps += 1
    assert steps < 25  # a second of the opposite error undoes what the limit let in


def test_reset_forgets_the_past():
    pid = Pid(PidConfig(ki=1.0, kd=1.0))
    first = pid.step(0.3, 0.1)
    pid.step(0.1, 0.1)
    pid.reset()
    assert pid.step(0.3, 0.1) == first
