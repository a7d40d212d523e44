"""msgpack-RPC in rpclib's dialect: feed bytes, get calls; give results, get bytes. No sockets here.

A call is ``[0, id, name, [metadata, *params]]`` with ``metadata = [asynchronous]``. A reply is
``[1, id, transport error, result]``, and the result of a CARLA call is itself a ``Response``:
a variant for calls that return something, an optional error for calls that return nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from autovla_core.minicarla.wire.packing import PackingError, Unpacker, pack

REQUEST, RESPONSE, NOTIFICATION = 0, 1, 2
VOID_SUCCESS = [[False]]


@dataclass(frozen=True)
class Call:
    """One remote call. ``message_id`` is None for a notification, which wants no reply."""

    name: str
    params: tuple[object, ...]
    message_id: int | None = None
    asynchronous: bool = False  # the caller drops the result; it must be answered all the same


class CallReader:
    """Turns the bytes of one client into calls."""

    def __init__(self, max_bytes: int | None = None) -> None:
        self._unpacker = Unpacker() if max_bytes is None else Unpacker(max_bytes)

    def feed(self, data: bytes) -> Iterator[Call]:
        """Yield every call that is complete after ``data``.

        Raises:
            PackingError: the bytes are no msgpack, or a message is no call.
        """
        for message in self._unpacker.feed(data):
            yield _call(message)


def _call(message: object) -> Call:
    if not isinstance(message, list) or len(message) not in (3, 4):
        raise PackingError(f"a call is an array of 4 (or 3, a notification); found {ascii(message):.80}")
    kind, message_id = message[0], message[1] if len(message) == 4 else None
    name, arguments = message[-2:]
    if kind != (NOTIFICATION if message_id is None else REQUEST):
        raise PackingError(f"a call starts with 0 (or 2, a notification); found {ascii(message):.80}")
    if not isinstance(name, str) or not isinstance(arguments, list):
        raise PackingError(f"a call has a name and an array of parameters; found {ascii(message):.80}")
    metadata = arguments[0] if arguments and isinstance(arguments[0], list) else []
    return Call(name, tuple(arguments[1:]), message_id, bool(metadata and metadata[0] is True))


def success(value: object) -> list:
    """The Response of a call that returns ``value``."""
    return [[1, value]]


def failure(text: str) -> list:
    """The Response of a call that should have returned a value; the client raises RuntimeError(text)."""
    return [[0, [text]]]


def void_failure(text: str) -> list:
    """The Response of a call that returns nothing and failed."""
    return [[True, [text]]]


def reply(message_id: int, result: object) -> bytes:
    """The bytes of an answer."""
    return pack([RESPONSE, message_id, None, result])


def transport_error(message_id: int, text: str) -> bytes:
    """The bytes of the answer to a call that does not exist; the client hides ``text`` from its user."""
    return pack([RESPONSE, message_id, text, None])
