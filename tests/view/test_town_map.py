"""The map of a town and the sheet of its pictures: what is drawn is where it should be."""

from __future__ import annotations

import numpy as np
import pytest

from autovla_core.view.picture_sheet import GAP_PX, sheet_of
from autovla_core.view.town_map import LANES, PAPER, SIGNS, MapSign, MapStrip, draw_town


def strip(kind: str, x0: float, x1: float, y0: float, y1: float) -> MapStrip:
    return MapStrip(kind, np.array([(x0, y1), (x1, y1)]), np.array([(x0, y0), (x1, y0)]))


def count(picture: np.ndarray, color: tuple[int, int, int]) -> int:
    return int((np.abs(picture.astype(int) - color).max(-1) <= 3).sum())


def test_a_square_town_is_drawn_to_scale_with_north_up():
    strips = [strip("driving", 0.0, 100.0, 0.0, 20.0), strip("parking", 0.0, 100.0, 60.0, 100.0)]
    picture = np.asarray(
        draw_town("Square", ["one line"], strips, [], [], width_px=468)
    )  # 34 px of margin: 4 px a metre
    north, south = ((np.abs(picture.astype(int) - LANES[kind]).max(-1) <= 3) for kind in ("parking", "driving"))
    assert np.flatnonzero(north.any(1)).min() < np.flatnonzero(south[:, 40:430].sum(1) > 300).min()
    assert count(picture, LANES["driving"]) == pytest.approx(4 * 100 * 4 * 20, rel=0.05)
    assert tuple(picture[2, 2]) == PAPER


@pytest.mark.parametrize("kind", ["light", "stop", "yield"])
def test_a_sign_stands_where_it_is_told(kind):
    road = [strip("sidewalk", 0.0, 100.0, 0.0, 100.0)]
    plain = np.asarray(draw_town("Sign", [], road, [], [], 468)).astype(int)
    signed = np.asarray(draw_town("Sign", [], road, [], [MapSign(kind, 75.0, 50.0)], 468)).astype(int)
    on_town = (np.abs(signed - plain).max(-1) > 3)[: 62 + 34 + 400]
    rows, columns = np.nonzero(on_town)
    assert (columns.mean(), rows.mean()) == pytest.approx((34 + 300, 62 + 34 + 200), abs=2.5)
    assert signed[round(rows.mean()), round(columns.mean())] == pytest.approx(SIGNS[kind][0], abs=8)  # resampled


def test_a_town_without_lanes_is_refused():
    with pytest.raises(ValueError, match="Nothing: no lanes"):
        draw_town("Nothing", [], [], [], [])


def test_pictures_stand_row_by_row():
    pictures = [np.full((40, 60, 3), 50 * number, np.uint8) for number in range(1, 5)]
    sheet = np.asarray(sheet_of(pictures, ["", "", "", ""]))
    assert sheet.shape == (80 + GAP_PX, 120 + GAP_PX, 3)
    assert [int(sheet[y, x, 0]) for y in (20, 64) for x in (30, 94)] == [50, 100, 150, 200]


@pytest.mark.parametrize(
    ("shapes", "labels"), [([], []), ([(4, 4, 3)], ["a", "b"]), ([(4, 4, 3), (5, 4, 3)], ["a", "b"])]
)
def test_a_sheet_of_unequal_pictures_is_refused(shapes, labels):
    with pytest.raises(ValueError, match="expected pictures of one size and a label for each"):
        sheet_of([np.zeros(shape, np.uint8) for shape in shapes], labels)
