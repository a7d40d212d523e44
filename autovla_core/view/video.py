"""Pictures to an H.264 file, in this process."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np


class VideoWriter:
    """An mp4 that appears under its name when it is closed; an exception in a ``with`` block still closes it.

    A drive that failed is the one whose film is wanted most.
    """

    def __init__(self, file: str | Path, size: tuple[int, int], fps: int, crf: int = 23) -> None:
        self.file = Path(file)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self._partial = self.file.with_name(f".{self.file.stem}.partial{self.file.suffix}")
        self._size = size
        self._container = av.open(str(self._partial), "w")
        self._stream = self._container.add_stream("libx264", rate=fps)
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = "yuv420p"
        self._stream.time_base = Fraction(1, fps)
        self._stream.options = {"crf": str(crf), "preset": "veryfast", "threads": "1"}
        self.frames = 0

    def write(self, rgb: np.ndarray) -> None:
        """Append one picture (H, W, 3) uint8 RGB.

        Raises:
            ValueError: another size than the file's.
        """
        if rgb.shape != (self._size[1], self._size[0], 3):
            raise ValueError(f"picture is {rgb.shape}, expected {(self._size[1], self._size[0], 3)}")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
        frame.pts = self.frames
        self.frames += 1
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Finish the file and give it its name; safe to call twice."""
        if self._container is None:
            return
        container, self._container = self._container, None
        container.mux(self._stream.encode(None))
        container.close()
        self._partial.replace(self.file)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
