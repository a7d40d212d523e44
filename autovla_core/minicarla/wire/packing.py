"""msgpack as CARLA's client speaks it: bytes to values and back, with limits on what a stranger may send."""

from __future__ import annotations

from collections.abc import Iterator

import msgpack

MAX_MESSAGE_BYTES = 64 << 20  # OpenDRIVE uploads are the largest honest messages
MAX_ARRAY_ITEMS = 1 << 20  # an array header of five bytes makes the decoder reserve 8 bytes per item


class PackingError(ValueError):
    """The bytes are not msgpack, or exceed the limits; nothing after them can be trusted."""


def pack(value: object) -> bytes:
    """Encode a value; floats travel as 64 bit. Strings that were not UTF-8 come back as they were."""
    return msgpack.packb(value, use_bin_type=True, unicode_errors="surrogateescape")


class Unpacker:
    """Splits a byte stream into msgpack values, whatever way it was cut into pieces."""

    def __init__(self, max_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self._decoder = msgpack.Unpacker(
            raw=False,
            strict_map_key=False,
            max_buffer_size=max_bytes,
            max_array_len=min(MAX_ARRAY_ITEMS, max_bytes),
            unicode_errors="surrogateescape",
        )

    def feed(self, data: bytes) -> Iterator[object]:
        """Yield every value that is complete after ``data``.

        Raises:
            PackingError: malformed bytes, or a value larger than the limits.
        """
        try:
            self._decoder.feed(data)
            yield from self._decoder
        except (ValueError, TypeError, msgpack.UnpackException) as error:  # TypeError: a list as a key of a map
            raise PackingError(f"not msgpack or too large: {error or type(error).__name__}") from error
