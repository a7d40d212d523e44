"""Sensors' bytes become pictures: what is ahead is in the middle, left is left, colours tell what they should."""

from __future__ import annotations

import numpy as np

from autovla_core.view import sensor_pictures as pictures

BLACK = np.zeros((41, 81, 3), np.uint8)


def lit(picture: np.ndarray) -> list[tuple[int, int]]:
    return [tuple(place) for place in np.argwhere(picture.any(-1)).tolist()]


def lidar(*points: tuple[float, float, float]) -> bytes:
    return np.array([(point, 1.0) for point in points], pictures.LIDAR).tobytes()


def test_a_lidar_point_straight_ahead_lies_in_the_middle_and_one_to_the_right_right_of_it() -> None:
    # 81 pixels over 90 degrees: focal length 40.5; a point at 10 m, 5 m right and 2 m up is 20.25 and 8.1 pixels away
    assert lit(pictures.of_lidar(lidar((10.0, 0.0, 0.0)), BLACK, 90.0)) == [(20, 40)]
    assert lit(pictures.of_lidar(lidar((10.0, 5.0, 2.0)), BLACK, 90.0)) == [(12, 61)]


def test_what_is_behind_the_sensor_or_beside_the_picture_is_left_out() -> None:
    assert lit(pictures.of_lidar(lidar((-10.0, 0.0, 0.0), (1.0, 30.0, 0.0)), BLACK, 90.0)) == []


def test_the_nearer_of_two_points_on_one_pixel_is_seen() -> None:
    near, both = lidar((5.0, 0.0, 0.0)), lidar((5.0, 0.0, 0.0), (50.0, 0.0, 0.0))
    assert (pictures.of_lidar(near, BLACK, 90.0) == pictures.of_lidar(both, BLACK, 90.0)).all()


def test_radar_colours_tell_who_comes_nearer() -> None:
    coming = np.array([(-12.0, 0.0, 0.0, 20.0)], pictures.RADAR).tobytes()
    going = np.array([(12.0, 0.0, 0.0, 20.0)], pictures.RADAR).tobytes()
    assert tuple(pictures.of_radar(coming, BLACK, 90.0)[20, 40]) == (255, 70, 60)
    assert tuple(pictures.of_radar(going, BLACK, 90.0)[20, 40]) == (80, 200, 255)


def test_a_radar_detection_to_the_right_lies_right_and_one_above_above() -> None:
    # tan(0.46365) = 0.5: half of the 40.5 pixels
    right = np.array([(0.0, 0.46365, 0.0, 20.0)], pictures.RADAR).tobytes()
    above = np.array([(0.0, 0.0, 0.24498, 20.0)], pictures.RADAR).tobytes()
    assert (20, 61) in lit(pictures.of_radar(right, BLACK, 90.0))
    assert (10, 40) in lit(pictures.of_radar(above, BLACK, 90.0))


def test_instances_of_one_number_have_one_colour_and_neighbours_another() -> None:
    raw = np.array([[[1, 0, 14, 255], [1, 0, 14, 255], [2, 0, 14, 255], [0, 0, 0, 255]]], np.uint8)
    (first, same, other, nothing) = pictures.of_instances(raw.tobytes(), 4, 1)[0].tolist()
    assert first == same != other
    assert nothing == [0, 0, 0]


def test_events_show_which_way_the_light_went() -> None:
    raw = np.array([(1, 0, 5, 1), (2, 1, 6, 0)], pictures.EVENTS).tobytes()
    picture = pictures.of_events(raw, 4, 2)
    assert tuple(picture[0, 1]) == pictures.BRIGHTER
    assert tuple(picture[1, 2]) == pictures.DARKER
    assert len(lit(picture)) == 2


def test_an_image_is_turned_from_bgra() -> None:
    assert pictures.of_image(bytes([1, 2, 3, 255]), 1, 1).tolist() == [[[3, 2, 1]]]
