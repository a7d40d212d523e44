"""A film that was written can be played."""

from __future__ import annotations

import av
import numpy as np
import pytest

from autovla_core.view.video import VideoWriter


def test_every_picture_is_in_the_film_at_its_time(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", (128, 64), fps=10) as video:
        for shade in range(0, 250, 10):
            video.write(np.full((64, 128, 3), shade, np.uint8))
        assert not (tmp_path / "a.mp4").exists()
    with av.open(str(tmp_path / "a.mp4")) as film:
        stream = film.streams.video[0]
        frames = list(film.decode(stream))
        assert stream.codec_context.name == "h264" and len(frames) == 25
        assert float(frames[10].pts * stream.time_base) == pytest.approx(1.0)
        assert frames[20].to_ndarray(format="rgb24").mean() == pytest.approx(200, abs=6)


def test_the_film_of_a_drive_that_fails_is_kept(tmp_path):
    with pytest.raises(RuntimeError), VideoWriter(tmp_path / "a.mp4", (64, 64), fps=10) as video:
        video.write(np.zeros((64, 64, 3), np.uint8))
        raise RuntimeError
    assert [f.name for f in tmp_path.iterdir()] == ["a.mp4"]


def test_a_picture_of_another_size_is_refused(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", (64, 64), fps=10) as video:
        video.write(np.zeros((64, 64, 3), np.uint8))
        with pytest.raises(ValueError, match=r"expected \(64, 64, 3\)"):
            video.write(np.zeros((64, 32, 3), np.uint8))
