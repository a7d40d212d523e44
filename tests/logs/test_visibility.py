"""Boxes against instance pictures painted by hand: 100 x 100 pixels, 90 degrees, so 50 px a metre at a metre."""

from __future__ import annotations

import numpy as np
import pytest

from autovla_core.logs.visibility import (
    LIGHT_TAG,
    TAGS,
    Candidate,
    Pinhole,
    Window,
    pixels_with,
    split_channels,
    visible,
    window_of,
)

LENS = Pinhole(100, 100, 90.0)
CAR, WALKER = 14, 12


def box(x: float, y: float, z: float = 0.0, half=(0.5, 0.5, 0.5)) -> np.ndarray:
    """Corners of a box around a point of the camera frame: x ahead, y right, z up."""
    signs = np.array([(a, b, c) for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)])
    return np.array([x, y, z]) + signs * half


def candidate(id: int, corners: np.ndarray, kind: str = "vehicle") -> Candidate:
    return Candidate(id, TAGS[kind], window_of(corners, LENS))


def picture() -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((100, 100), np.uint8), np.zeros((100, 100), np.int32)


def paint(tags, instances, window: Window, tag: int, number: int) -> None:
    """Fill the outline without its growth of 2 px and 5 %."""
    inset = 3
    part = slice(window.top + inset, window.bottom - inset), slice(window.left + inset, window.right - inset)
    tags[part], instances[part] = tag, number


def test_an_outline_lies_where_the_pinhole_puts_it():
    # the near face is 9.5 m away: its half metre covers 50 * 0.5 / 9.5 = 2.63 px beside the middle, 0.26 more by growth
    window = window_of(box(10.0, 0.0), LENS)
    assert (window.left, window.top, window.right, window.bottom) == (45, 45, 55, 55)
    assert window.depth_m == 9.5
    right = window_of(box(10.0, 5.0, -2.0), LENS)
    assert right.left > 60 and right.top + right.bottom > 110  # right and below


def test_what_is_behind_or_beside_the_picture_has_no_outline():
    assert window_of(box(-5.0, 0.0), LENS) is None
    assert window_of(box(3.0, 9.0), LENS) is None


def test_a_box_through_the_lens_covers_the_edge_of_the_picture():
    window = window_of(box(0.5, 1.5, half=(2.0, 0.8, 0.8)), LENS)
    assert window.right == 100 and window.bottom == 100 and window.depth_m == pytest.approx(0.2)


def test_a_free_box_owns_its_pixels_and_a_hidden_one_none():
    tags, instances = picture()
    near, far = candidate(1, box(10.0, 0.0, half=(1, 2, 1))), candidate(2, box(20.0, 0.0))
    paint(tags, instances, near.window, CAR, 900)  # numbers of the engine, not of the actors
    found = visible(tags, instances, [far, near])
    assert found == {1: int((tags == CAR).sum())}


def test_half_hidden_boxes_show_what_is_left_of_them():
    tags, instances = picture()
    far, near = candidate(1, box(12.0, 0.0, half=(1, 2, 1))), candidate(2, box(8.0, 1.0, half=(0.5, 0.5, 0.5)))
    paint(tags, instances, far.window, CAR, 31)
    whole = int((instances == 31).sum())
    paint(tags, instances, near.window, CAR, 32)
    found = visible(tags, instances, [far, near])
    assert found[2] == int((instances == 32).sum()) and 0 < found[1] < whole


def test_an_instance_that_reaches_far_out_of_the_box_is_another_thing():
    tags, instances = picture()
    tags[40:60, :], instances[40:60, :] = CAR, 5  # a lorry across the whole picture
    assert visible(tags, instances, [candidate(1, box(10.0, 0.0))]) == {}


def test_the_kind_must_fit():
    tags, instances = picture()
    there = candidate(1, box(5.0, 0.0, half=(0.3, 0.3, 0.9)), "walker")
    paint(tags, instances, there.window, CAR, 4)
    assert visible(tags, instances, [there]) == {}
    paint(tags, instances, there.window, WALKER, 4)
    assert list(visible(tags, instances, [there])) == [1]


def test_channels_are_tag_and_number():
    bgra = np.array([[[2, 17, 14, 255]]], np.uint8)
    tags, instances = split_channels(bgra)
    assert tags[0, 0] == 14 and instances[0, 0] == 17 + 2 * 256


def test_lamps_are_counted_once_in_overlapping_outlines():
    tags, _ = picture()
    tags[10:20, 10:20] = LIGHT_TAG
    windows = [Window(10, 10, 20, 20, 5.0), Window(15, 10, 30, 20, 5.0)]
    assert pixels_with(tags, LIGHT_TAG, windows) == 100
    assert pixels_with(tags, LIGHT_TAG, [Window(0, 0, 12, 100, 5.0)]) == 20
    assert pixels_with(tags, LIGHT_TAG, []) == 0
