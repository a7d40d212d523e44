"""A few seconds out of a film, small enough to lie inside a page."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from autovla_core.errors import LogError

WIDTH = 400  # px of a clip, at most


def read_seconds(file: str | Path, start_s: float, end_s: float) -> tuple[list[np.ndarray], np.ndarray]:
    """Pictures (H, W, 3) uint8 RGB of a film between two of its times, scaled down, and when each is shown (N,) s.

    Raises:
        LogError: unreadable, or no picture between the two.
    """
    try:
        with av.open(str(file)) as container:
            stream = container.streams.video[0]
            container.seek(int(max(start_s, 0.0) / stream.time_base), stream=stream)
            found = list(_between(container.decode(stream), start_s, end_s))
    except (OSError, IndexError, av.FFmpegError) as error:
        raise LogError(f"cannot read the film {file}: {error}") from None
    if not found:
        raise LogError(f"the film {file} has no picture between {start_s:.1f} and {end_s:.1f} s")
    images, times = zip(*found)
    return list(images), np.array(times)


def seconds_of(file: str | Path) -> float:
    """How long a film is, in s.

    Raises:
        LogError: unreadable.
    """
    try:
        with av.open(str(file)) as container:
            stream = container.streams.video[0]
            if stream.duration is None:
                return float(container.duration or 0) / av.time_base
            return float(stream.duration * stream.time_base)
    except (OSError, IndexError, av.FFmpegError) as error:
        raise LogError(f"cannot read the film {file}: {error}") from None


def mp4(images: Sequence[np.ndarray], rate: float) -> bytes:
    """H.264 of pictures (H, W, 3) uint8 RGB, all of one size; the same pictures give the same bytes."""
    height, width = (side // 2 * 2 for side in images[0].shape[:2])
    data = io.BytesIO()
    with av.open(data, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1000))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": "30", "preset": "veryfast", "threads": "1"}
        for image in images:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image[:height, :width]), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return data.getvalue()


def jpeg(image: np.ndarray) -> bytes:
    """One picture (H, W, 3) uint8 RGB as JPEG."""
    codec = av.CodecContext.create("mjpeg", "w")
    codec.height, codec.width = image.shape[:2]
    codec.pix_fmt, codec.time_base = "yuvj420p", Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24").reformat(format="yuvj420p")
    return b"".join(bytes(packet) for packet in (*codec.encode(frame), *codec.encode(None)))


def _between(frames: Iterator[av.VideoFrame], start_s: float, end_s: float) -> Iterator[tuple[np.ndarray, float]]:
    for frame in frames:
        time_s = frame.time or 0.0
        if time_s > end_s:
            return
        if time_s >= start_s:
            width = min(WIDTH, frame.width) // 2 * 2
            height = round(frame.height * width / frame.width / 2) * 2
            yield frame.to_ndarray(format="rgb24", width=width, height=height), time_s
