"""YAML fills dataclasses; what does not fit is an error with its path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from autovla_core import config
from autovla_core.errors import ConfigError


@dataclass(frozen=True)
class Gains:
    kp: float
    ki: float = 0.0
    limits: tuple[float, float] = (-1.0, 1.0)


@dataclass(frozen=True)
class Car:
    name: str
    gains: Gains
    seeds: tuple[int, ...] = ()
    note: str | None = None


def test_nested_values_are_built_and_written_back(tmp_path: Path) -> None:
    file = tmp_path / "car.yaml"
    file.write_text("name: mkz\ngains: {kp: 2, limits: [0, 1]}\nseeds: [1, 2, 3]\n")
    car = config.load(Car, file)
    assert car == Car("mkz", Gains(2.0, limits=(0.0, 1.0)), (1, 2, 3))
    assert config.from_dict(Car, config.to_dict(car)) == car


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\ngains: {kP: 1}", r"gains: unknown \['kP'\]; Gains has \['ki', 'kp', 'limits'\]"),
        ("name: a", r"missing \['gains'\]"),
        ("name: a\ngains: {kp: fast}", r"gains.kp: found 'fast', expected a number"),
        ("name: a\ngains: {kp: true}", r"gains.kp: found True, expected a number"),
        ("name: a\ngains: {kp: 1, limits: [1]}", r"gains.limits: found \[1\], expected 2 items"),
        ("name: 3\ngains: {kp: 1}", r"name: found 3, expected a value of type str"),
        ("name: a\ngains: {kp: 1}\nseeds: [x]", r"seeds\[0\]: found 'x'"),
        ("- a", r"expected a mapping"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "car.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        config.load(Car, file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no configuration file at .*nowhere.yaml"):
        config.load(Car, tmp_path / "nowhere.yaml")
