"""A planner like any other, except that it thinks in another process."""

from __future__ import annotations

import logging
from pathlib import Path

from autovla_core.contracts import Mode, Observation, Plan
from autovla_core.errors import AutoVLAError, ConfigError
from autovla_core.serving import client as wire
from autovla_core.serving.messages import named_error

logger = logging.getLogger(__name__)


class ServingError(AutoVLAError):
    """The planner server is absent, too slow, or answers in another language."""


class RemotePlanner:
    """``Planner`` over a connection: the same plans and the same named errors as in process.

    Args:
        address: ``host:port`` of ``tools/serve_policy.py``.
        token: what the server was started with, if it was.
    """

    def __init__(self, address: str, token: str = "", timeout_s: float = 30.0, reconnect_s: float = 60.0) -> None:
        try:
            self.client = wire.Client(address, token, timeout_s, reconnect_s)
        except ValueError as error:
            raise ConfigError(str(error)) from None

    def plan(self, observation: Observation) -> Plan:
        """Ten poses, 0.5 s apart.

        Raises:
            ServingError: no answer.
            AutoVLAError: whatever the planner raised, as the same class.
        """
        clips = {camera: (clip.images, clip.times_s) for camera, clip in observation.clips.items()}
        try:
            plan = self.client.plan(
                observation.time_s,
                clips,
                observation.speed,
                observation.acceleration,
                observation.pose,
                int(observation.command),
                observation.route,
                observation.instruction,
            )
        except wire.RemoteError as error:
            raise named_error(error.name, error.text) from None
        except wire.PlannerError as error:
            raise ServingError(str(error)) from None
        return Plan(**{**plan._asdict(), "mode": Mode(plan.mode)})

    def reset(self) -> None:
        """An episode ended. A server that is gone has forgotten it already."""
        try:
            if self.client.connected:
                self.client.reset()
        except wire.PlannerError as error:
            logger.debug("reset was not heard: %s", error)

    def close(self) -> None:
        """Give the connection back."""
        self.client.close()


def read_token(file: str | Path | None) -> str:
    """The first line of a token file; no file, no token.

    Raises:
        ConfigError: the file is missing or empty.
    """
    if file is None:
        return ""
    try:
        token = Path(file).read_text().split("\n")[0].strip()
    except OSError as error:
        raise ConfigError(f"no token file at {file}: {error.strerror}") from None
    if not token:
        raise ConfigError(f"{file}: found an empty first line, expected the server's token")
    return token
