"""Fill frozen dataclasses from YAML; a wrong key is an error that names its path."""

from __future__ import annotations

import dataclasses
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

import yaml

from autovla_core.errors import ConfigError

T = TypeVar("T")


def from_dict(cls: type[T], values: dict[str, Any], path: str = "") -> T:
    """Build ``cls`` from a mapping; nested dataclasses are filled from nested mappings.

    Raises:
        ConfigError: an unknown key, a missing key, or a value that its type does not admit.
    """
    where = path or cls.__name__
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: found {type(values).__name__} {values!r}, expected a mapping for {cls.__name__}")
    fields = {f.name: f for f in dataclasses.fields(cls)}
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise ConfigError(f"{where}: unknown {unknown}; {cls.__name__} has {sorted(fields)}")
    hints = typing.get_type_hints(cls)
    built = {k: _convert(hints[k], v, f"{path}.{k}" if path else k) for k, v in values.items()}
    missing = [
        n
        for n, f in fields.items()
        if n not in built and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(f"{where}: missing {missing}")
    return cls(**built)


def load(cls: type[T], file: str | Path) -> T:
    """Read one YAML file into ``cls``."""
    file = Path(file)
    try:
        values = yaml.safe_load(file.read_text()) or {}
    except FileNotFoundError:
        raise ConfigError(f"no configuration file at {file}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{file} is not YAML: {error}") from None
    return from_dict(cls, values)


def to_dict(value: Any) -> dict[str, Any]:
    """The mapping that ``from_dict`` reads back; tuples become lists, paths strings."""
    return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_dict(value)
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return str(value) if isinstance(value, Path) else value


def _convert(hint: Any, value: Any, path: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return _convert(next(a for a in args if a is not type(None)), value, path)
    if dataclasses.is_dataclass(hint):
        return from_dict(hint, value, path)
    if origin is tuple:
        _expect(isinstance(value, (list, tuple)), path, value, "a list")
        inner = args[:1] * len(value) if len(args) == 2 and args[1] is Ellipsis else args
        _expect(len(inner) == len(value), path, value, f"{len(inner)} items")
        return tuple(_convert(a, v, f"{path}[{i}]") for i, (a, v) in enumerate(zip(inner, value)))
    if origin is dict:
        _expect(isinstance(value, dict), path, value, "a mapping")
        return {k: _convert(args[1], v, f"{path}.{k}") for k, v in value.items()}
    if hint is float:
        _expect(isinstance(value, (int, float)) and not isinstance(value, bool), path, value, "a number")
        return float(value)
    if hint is Path:
        return Path(value)
    if isinstance(hint, type):
        good = isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
        _expect(good, path, value, f"a value of type {hint.__name__}")
    return value


def _expect(good: bool, path: str, found: Any, expected: str) -> None:
    if not good:
        raise ConfigError(f"{path}: found {found!r}, expected {expected}")
