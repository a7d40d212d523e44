"""The cameras' pictures: what they show, in CARLA's encodings, and that they are the same every time."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from autovla_core.minicarla.blueprints import BLUEPRINTS
from autovla_core.minicarla.sensors.meshes import smooth_normals, templates
from autovla_core.minicarla.sensors.renderer import Instance, Renderer
from autovla_core.minicarla.world.mesh import Material, Mesh, Tag, box, from_quads, join
from autovla_core.minicarla.world.weather import Weather

EYE = np.array([0.0, 0.0, 1.6])
AHEAD = np.zeros(3)
CAR = "vehicle:vehicle.lincoln.mkz_2020"
CAR_HALF_LENGTH_M = 2.446 * 0.99


def floor() -> Mesh:
    corners = [(-60, -60, 0), (60, -60, 0), (60, 60, 0), (-60, 60, 0)]
    return from_quads(np.array([corners]), (0.1, 0.1, 0.1), Material.ASPHALT, Tag.ROAD)


def street() -> Mesh:
    """A road, a house on the left with its front 10 m ahead, a kerb on the right, a signal's back plate ahead."""
    house = box((15.0, 8.0, 5.0), (5.0, 4.0, 5.0), 0.0, (0.6, 0.4, 0.3), Material.FACADE, Tag.BUILDING)
    walk = box((30.0, -6.0, 0.07), (30.0, 2.0, 0.07), 0.0, (0.4, 0.4, 0.4), Material.PAVING, Tag.SIDEWALK)
    plate = box((30.1, 0.0, 1.6), (0.05, 0.3, 0.8), 0.0, (0.01, 0.01, 0.01), Material.FLAT, Tag.TRAFFIC_LIGHT)
    return join([floor(), house, walk, plate])


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    made = Renderer(street(), threads=1)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _empty_street_by_day(renderer: Renderer) -> None:
    renderer.set_weather(Weather())
    renderer.show(())


def car(x: float, y: float = 0.0, actor_id: int = 1, yaw: float = 0.0, **more: object) -> Instance:
    return Instance(CAR, np.array([x, y, 0.0]), np.array([0.0, yaw, 0.0]), actor_id=actor_id, tag=int(Tag.CAR), **more)


def lamps(color: str, distance: float) -> Instance:
    return Instance(f"lamps_{color}", np.array([distance, 0.0, 1.6]), np.array([0.0, 180.0, 0.0]), tag=18)


def metres(picture: np.ndarray) -> np.ndarray:
    blue, green, red = (picture[..., channel].astype(float) for channel in range(3))
    return (red + 256.0 * green + 65536.0 * blue) / (2.0**24 - 1.0) * 1000.0


def rgb(renderer: Renderer, width: int = 96, height: int = 64, fov_deg: float = 80.0) -> np.ndarray:
    return renderer.render("rgb", width, height, fov_deg, EYE, AHEAD)


def test_the_same_scene_gives_the_same_bytes(renderer: Renderer) -> None:
    renderer.show([car(12.0)])
    first = rgb(renderer)
    renderer.show(())
    rgb(renderer)
    renderer.show([car(12.0)])
    assert first.tobytes() == rgb(renderer).tobytes()


@pytest.fixture(scope="module")
def renderer_with_threads() -> Renderer:
    made = Renderer(street(), threads=3)
    yield made
    made.close()


@pytest.mark.parametrize("kind", ["rgb", "depth", "semantic_segmentation", "instance_segmentation"])
def test_the_number_of_threads_changes_no_byte(renderer: Renderer, renderer_with_threads: Renderer, kind: str) -> None:
    scene = [car(9.0, 1.0), lamps("red", 6.0)]
    pictures = []
    for each in (renderer, renderer_with_threads):
        each.set_weather(Weather(precipitation=60.0, cloudiness=70.0))
        each.show(scene, frame=5)
        pictures.append(each.render(kind, 97, 65, 80.0, EYE, np.array([-5.0, 10.0, 3.0])))
    assert pictures[0].tobytes() == pictures[1].tobytes()


def test_depth_is_measured_along_the_optical_axis(renderer: Renderer) -> None:
    depth = metres(renderer.render("depth", 160, 120, 90.0, EYE, np.array([0.0, -20.0, 0.0])))
    tags = renderer.render("semantic_segmentation", 160, 120, 90.0, EYE, np.array([0.0, -20.0, 0.0]))[..., 2]
    rows, columns = np.nonzero(tags == Tag.BUILDING)
    right = (columns + 0.5 - 80.0) / 80.0
    yaw = math.radians(-20.0)
    along = 10.0 / (math.cos(yaw) - right * math.sin(yaw))  # CARLA's frame: the wall at x = 10
    across = along * (math.sin(yaw) + right * math.cos(yaw))
    front = (across > -11.9) & (across < -4.1)
    assert front.sum() > 500
    np.testing.assert_allclose(depth[rows, columns][front], along[front], atol=0.01)


def test_depth_of_the_floor_follows_from_the_height(renderer: Renderer) -> None:
    depth = metres(renderer.render("depth", 64, 64, 90.0, EYE, AHEAD))
    down = (60 + 0.5 - 32.0) / 32.0
    assert depth[60, 32] == pytest.approx(1.6 / down, abs=0.01)


def test_the_sky_is_a_kilometre_away(renderer: Renderer) -> None:
    assert metres(renderer.render("depth", 32, 32, 60.0, EYE, np.array([60.0, 180.0, 0.0]))).min() > 999.9


def test_surfaces_have_their_tags(renderer: Renderer) -> None:
    tags = renderer.render("semantic_segmentation", 120, 90, 90.0, EYE, AHEAD)[..., 2]
    assert tags[85, 60] == Tag.ROAD
    assert tags[40, 15] == Tag.BUILDING  # left
    assert tags[60, 110] == Tag.SIDEWALK  # right
    assert tags[5, 90] == Tag.SKY
    assert set(np.unique(tags)) == {Tag.ROAD, Tag.BUILDING, Tag.SIDEWALK, Tag.SKY, Tag.TRAFFIC_LIGHT}


def test_a_car_ahead_has_its_tag_and_the_number_of_its_actor(renderer: Renderer) -> None:
    renderer.show([car(12.0, actor_id=70 * 256 + 3)])
    picture = renderer.render("instance_segmentation", 120, 90, 60.0, EYE, AHEAD)
    blue, green, red, alpha = picture[54, 60]
    assert (red, green, blue, alpha) == (Tag.CAR, 3, 70, 255)
    assert picture[85, 60, 2] == Tag.ROAD
    assert not picture[85, 60, :2].any()


def test_a_hidden_actor_is_left_out(renderer: Renderer) -> None:
    renderer.show([car(12.0, actor_id=7), car(20.0, actor_id=8)])
    picture = renderer.render("instance_segmentation", 120, 90, 60.0, EYE, AHEAD, hide_actor=7)
    assert set(np.unique(picture[..., 1])) == {0, 8}


def test_a_car_is_as_far_as_its_tail(renderer: Renderer) -> None:
    renderer.show([car(12.0)])
    depth = metres(renderer.render("depth", 120, 90, 60.0, np.array([0.0, 0.0, 0.8]), AHEAD))
    assert depth[44, 60] == pytest.approx(12.0 - CAR_HALF_LENGTH_M, abs=0.08)


def test_a_car_behind_or_far_away_changes_nothing(renderer: Renderer) -> None:
    empty = rgb(renderer)
    renderer.show([car(-30.0), car(2500.0)])
    assert empty.tobytes() == rgb(renderer).tobytes()


@pytest.mark.parametrize("weather", [Weather(), Weather(sun_altitude_angle=-50.0), Weather(fog_density=40.0)])
def test_red_and_green_are_told_apart_from_thirty_metres(renderer: Renderer, weather: Weather) -> None:
    renderer.set_weather(weather)
    middles = {}
    for color in ("red", "green", "yellow"):
        renderer.show([lamps(color, 30.0)])
        area = renderer.render("rgb", 224, 112, 80.0, EYE, AHEAD)[45:67, 105:119].reshape(-1, 4).astype(int)
        middles[color] = area[np.argmax(np.ptp(area[:, :3], axis=1))]
    blue, green, red, _ = middles["red"]
    assert red > 140 and red > 2 * max(green, blue)
    blue, green, red, _ = middles["green"]
    assert green > 120 and green > 1.4 * blue and green > 2 * red
    blue, green, red, _ = middles["yellow"]
    assert red > 130 and green > 70 and min(red, green) > 1.5 * blue


def test_lamps_that_are_off_are_dark(renderer: Renderer) -> None:
    renderer.show([lamps("off", 6.0)])
    lamp = rgb(renderer, 97, 65)[32, 48, :3]
    assert lamp.max() < 110


def test_brake_lamps_turn_red(renderer: Renderer) -> None:
    pictures = {}
    for level in (0.0, 3.2):
        renderer.show([car(9.0, lamps=(0.0, level, 0.0, 0.0, 0.0))])
        pictures[level] = rgb(renderer, 160, 120).astype(int)
    redder = (pictures[3.2][..., 2] - pictures[0.0][..., 2] > 60) & (pictures[3.2][..., 2] > 220)
    assert redder.sum() > 15
    assert redder[:, :80].any() and redder[:, 80:].any()  # one on each side


def test_a_mirrored_scene_gives_a_mirrored_picture() -> None:
    """Tags and distances, not colours: the grain of the asphalt is not mirrored."""
    tower = box((12.0, 6.0, 3.0), (1.0, 1.0, 3.0), 0.0, (0.6, 0.4, 0.3), Material.FLAT, Tag.BUILDING)
    pictures = []
    for side in (1.0, -1.0):
        moved = dataclasses.replace(tower, triangles=tower.triangles - np.float32([0, 12.0, 0]) * np.float32(side < 0))
        made = Renderer(join([floor(), moved]), threads=1)
        made.show([car(10.0, -2.0 * side, yaw=20.0 * side)])
        pictures.append([made.render(kind, 90, 60, 90.0, EYE, AHEAD) for kind in ("depth", "semantic_segmentation")])
        made.close()
    (depth, tags), (depth_mirrored, tags_mirrored) = pictures
    differing = (tags[..., 2] != tags_mirrored[:, ::-1, 2]).mean()
    assert differing < 0.002  # a sample exactly on an edge may fall to either side
    assert np.median(np.abs(metres(depth) - metres(depth_mirrored[:, ::-1]))) < 1e-4
    columns = np.flatnonzero((tags[..., 2] == Tag.BUILDING).any(0))
    assert columns.max() < 45  # y to the left: the left half


def test_a_camera_turned_right_sees_things_further_left(renderer: Renderer) -> None:
    renderer.show([car(15.0)])

    def middle(yaw: float) -> float:
        tags = renderer.render("semantic_segmentation", 120, 90, 90.0, EYE, np.array([0.0, yaw, 0.0]))[..., 2]
        return float(np.nonzero(tags == Tag.CAR)[1].mean())

    assert middle(15.0) < middle(0.0) - 10 < middle(-15.0) - 20


def test_houses_and_cars_cast_shadows(renderer: Renderer) -> None:
    above, down = np.array([8.0, 0.0, 30.0]), np.array([-90.0, 0.0, 0.0])
    low_sun = Weather(sun_altitude_angle=30.0, sun_azimuth_angle=0.0, cloudiness=0.0)  # from ahead
    renderer.set_weather(low_sun)
    bare = renderer.render("rgb", 64, 64, 60.0, above, down)[..., 1].astype(int)
    renderer.show([car(12.0, 4.0)])
    with_car = renderer.render("rgb", 64, 64, 60.0, above, down)[..., 1].astype(int)
    assert np.percentile(bare, 90) > 1.8 * np.percentile(bare, 5)
    assert (bare - with_car > 40).sum() > 5


def test_night_is_dark_and_headlights_light_the_road(renderer: Renderer) -> None:
    day = rgb(renderer).mean()
    renderer.set_weather(Weather(sun_altitude_angle=-60.0))
    renderer.show([car(-1.0)])
    dark = rgb(renderer)
    renderer.show([car(-1.0, lamps=(4.0, 0.7, 0.0, 0.0, 0.0))])
    beam = rgb(renderer)
    assert dark.mean() < 0.6 * day
    assert beam[50:62, 40:56, 1].mean() > dark[50:62, 40:56, 1].mean() + 15


def test_fog_hides_what_is_far(renderer: Renderer) -> None:
    def contrast() -> float:
        """Between the sky and the road 30 m ahead."""
        picture = rgb(renderer)[:, 50:56, 1].astype(float)
        return float(picture[26:30].mean() - picture[34].mean())

    clear = contrast()
    renderer.set_weather(Weather(fog_density=100.0))
    assert abs(contrast()) < 0.6 * clear


def test_an_unknown_kind_lists_the_known_ones(renderer: Renderer) -> None:
    with pytest.raises(ValueError, match="no camera kind 'x-ray'; known: rgb, depth"):
        renderer.render("x-ray", 8, 8, 90.0, EYE, AHEAD)


@pytest.mark.parametrize("key", sorted(key for key in templates() if key.startswith("vehicle:")))
def test_a_vehicle_fits_its_box_and_stands_on_the_ground(key: str) -> None:
    half = np.array(BLUEPRINTS[key.removeprefix("vehicle:")].extent)
    corners = templates()[key].mesh.triangles.reshape(-1, 3)
    low, high = corners.min(0), corners.max(0)
    assert np.all(high[:2] < half[:2] + 0.25) and np.all(low[:2] > -half[:2] - 0.25)
    assert low[2] == pytest.approx(0.0, abs=0.03)
    assert high[2] == pytest.approx(2 * half[2], abs=0.15)


@pytest.mark.parametrize("heading", [0.0, 45.0, 90.0, 135.0, 180.0, 225.0, 270.0, 315.0])
def test_nobody_looks_through_a_car(renderer: Renderer, heading: float) -> None:
    """The body is closed: its silhouette has no hole, from any side."""
    renderer.show([car(9.0, yaw=heading)])
    tags = renderer.render("semantic_segmentation", 160, 120, 60.0, np.array([0.0, 0.0, 2.2]), np.array([-10.0, 0, 0]))
    body = tags[..., 2] == Tag.CAR
    filled = [row[np.flatnonzero(row)[0] : np.flatnonzero(row)[-1] + 1] for row in body if row.sum() > 20]
    upper = filled[: int(0.75 * len(filled))]  # lower rows show the road between the wheels
    assert min(row.mean() for row in upper) > 0.93


def test_smooth_normals_round_a_tube_and_keep_a_cube() -> None:
    cube = box((0, 0, 0), (1, 1, 1), 0.0, (1, 1, 1), 0, 0).triangles
    assert np.abs(smooth_normals(cube)).max(-1).min() == pytest.approx(1.0)
    angles = np.linspace(0.0, 2 * math.pi, 25)
    ring = np.stack([np.cos(angles), np.sin(angles), np.zeros(25)], 1)
    quads = np.stack([ring[:-1], ring[1:], ring[1:] + (0, 0, 1), ring[:-1] + (0, 0, 1)], 1)
    tube = from_quads(quads, (1, 1, 1), 0, 0).triangles
    outward = tube * (1, 1, 0)
    np.testing.assert_allclose(smooth_normals(tube), outward, atol=0.06)
