"""Go back in time on minicarla: private calls beside CARLA's own, which the ``carla`` client cannot make."""

from __future__ import annotations

import itertools
import socket
from types import TracebackType

import msgpack

from autovla_core.errors import SimulatorError

REQUEST = 0


class SavedStates:
    """A connection of its own to a minicarla server. Ticks stay with whoever made them before.

    After ``restore`` the next tick is the one that followed ``save``: equal controls give equal states and
    pictures. Frame numbers go on growing. A state lives until ``forget``, or until a town is loaded.

    Raises:
        SimulatorError: nothing listens there, the server is a real CARLA, or it refuses the call.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 2000, timeout_s: float = 20.0) -> None:
        self._where, self._numbers, self._unpacker = f"{host}:{port}", itertools.count(), msgpack.Unpacker(raw=False)
        try:
            self._socket = socket.create_connection((host, port), timeout=timeout_s)
        except OSError as error:
            raise SimulatorError(f"no simulator listens on {self._where}: {error}") from None

    def save(self) -> int:
        """Keep the world as it is; return the number of the state."""
        return int(self._call("minicarla_save_state"))

    def restore(self, number: int) -> None:
        """Go back to a saved state."""
        self._call("minicarla_restore_state", number)

    def forget(self, number: int) -> None:
        """Free a saved state."""
        self._call("minicarla_forget_state", number)

    def pause_cameras(self, paused: bool) -> None:
        """Take no pictures from now on, or take them again: a future that nobody looks at is cheaper blind."""
        self._call("minicarla_pause_cameras", int(paused))

    def close(self) -> None:
        """End the connection; states stay."""
        self._socket.close()

    def __enter__(self) -> SavedStates:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, name: str, *params: object) -> object:
        try:
            self._socket.sendall(msgpack.packb([REQUEST, next(self._numbers), name, [[False], *params]]))
            answer = self._answer()
        except OSError as error:
            raise SimulatorError(f"{self._where} does not answer {name}: {error}") from None
        _, _, refused, result = answer
        if refused is not None:
            raise SimulatorError(f"{self._where} does not know {name}: saved states need minicarla")
        return _value(result, name)

    def _answer(self) -> list:
        while True:
            for message in self._unpacker:
                return message
            data = self._socket.recv(4096)
            if not data:
                raise ConnectionError("the server closed the connection")
            self._unpacker.feed(data)


def _value(result: list, name: str) -> object:
    """The value inside CARLA's Response: a variant (error 0, value 1), or an optional error."""
    ((kind, *content),) = result
    failed = kind if isinstance(kind, bool) else kind == 0
    if failed:
        raise SimulatorError(f"{name}: {content[0][0]}")
    return content[0] if content else None
