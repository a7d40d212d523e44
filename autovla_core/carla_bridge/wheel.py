"""The one place that imports the CARLA client, so that its absence is one clear sentence."""

from __future__ import annotations

from autovla_core.errors import SetupError

try:
    import carla
except ImportError:
    carla = None

__all__ = ["carla", "require"]


def require() -> None:
    """Raise ``SetupError`` when the client is not installed."""
    if carla is None:
        raise SetupError("the CARLA client is not installed; run: pip install carla==0.9.16")
