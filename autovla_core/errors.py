"""Named errors. A message says what was found, what was expected and what to do."""

from __future__ import annotations


class AutoVLAError(Exception):
    """Root of every error that this package raises on purpose."""


class ConfigError(AutoVLAError):
    """A configuration file has an unknown key, a missing key or a value of the wrong type."""


class SetupError(AutoVLAError):
    """The machine lacks something: the carla wheel, a free port, a server that answers."""


class RouteError(AutoVLAError):
    """A route file or a route cannot be used."""


class LogError(AutoVLAError):
    """A route log is missing, incomplete or of another schema."""


class CodebookError(AutoVLAError):
    """An action codebook has the wrong schema, hash or vehicle."""


class CheckpointError(AutoVLAError):
    """A model folder does not hold what its own records say."""


class ActionDecodeError(AutoVLAError):
    """An answer does not hold exactly the action tokens that a plan needs."""


class ObservationError(AutoVLAError):
    """Sensor data cannot be turned into an observation."""


class SimulatorError(AutoVLAError):
    """The simulator failed, vanished or answered with an error."""
