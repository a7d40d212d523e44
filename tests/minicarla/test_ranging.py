"""Lidar, radar and the obstacle's ball, by geometry worked by hand, and against the depth camera."""

from __future__ import annotations

import math
import struct

import msgpack
import numpy as np
import pytest

from autovla_core.minicarla.blueprints import BLUEPRINTS
from autovla_core.minicarla.sensors import bvh, lidar, obstacle, radar
from autovla_core.minicarla.sensors.renderer import Instance, Renderer
from autovla_core.minicarla.world.actor import Actor
from autovla_core.minicarla.world.mesh import Material, Mesh, Tag, box, from_quads, join
from autovla_core.minicarla.world.town import Town
from autovla_core.minicarla.world.world import World

CAR = "vehicle:vehicle.lincoln.mkz_2020"
MKZ = "vehicle.lincoln.mkz_2020"
EYE_M = 1.6
DT = 0.05


def street() -> Mesh:
    """A road; a wall across it with its face 20 m ahead; a house on CARLA's left with its front 10 m ahead."""
    corners = [(-60, -60, 0), (60, -60, 0), (60, 60, 0), (-60, 60, 0)]
    road = from_quads(np.array([corners]), (0.1, 0.1, 0.1), Material.ASPHALT, Tag.ROAD)
    wall = box((20.5, 0.0, 2.0), (0.5, 40.0, 2.0), 0.0, (0.5, 0.5, 0.5), Material.FLAT, Tag.WALL)
    house = box((14.0, 8.0, 5.0), (4.0, 4.0, 5.0), 0.0, (0.6, 0.4, 0.3), Material.FACADE, Tag.BUILDING)
    return join([road, wall, house])


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    made = Renderer(street(), threads=1)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _empty_street(renderer: Renderer) -> None:
    renderer.show(())


def car(x: float, y: float = 0.0, actor_id: int = 7, yaw: float = 0.0) -> Instance:
    return Instance(CAR, np.array([x, y, 0.0]), np.array([0.0, yaw, 0.0]), actor_id=actor_id, tag=int(Tag.CAR))


def sensor(type_id: str, height: float = EYE_M, yaw: float = 0.0, **attributes: object) -> Actor:
    made = Actor(1, type_id, attributes=BLUEPRINTS[type_id].defaults() | {k: str(v) for k, v in attributes.items()})
    made.location[:], made.rotation[:] = (0.0, 0.0, height), (0.0, yaw, 0.0)
    return made


def clean(**attributes: object) -> dict[str, object]:
    """A lidar that loses nothing."""
    return {"dropoff_general_rate": 0.0, "dropoff_intensity_limit": 0.0, "range": 50.0, **attributes}


def read(payload: bytes, semantic: bool = False) -> tuple[float, np.ndarray, np.ndarray]:
    angle, channels = struct.unpack_from("<fI", payload)
    counts = np.frombuffer(payload, "<u4", channels, 8)
    rest = payload[8 + 4 * channels :]
    points = np.frombuffer(rest, "<f4").reshape(-1, 6 if semantic else 4)
    assert counts.sum() == len(points)
    return angle, counts, points


# ------------------------------------------------------------------------------ rays


def test_a_tree_finds_what_trying_every_triangle_finds() -> None:
    rng = np.random.default_rng(5)
    corners = (rng.uniform(-4, 4, (400, 1, 3)) + rng.uniform(-1, 1, (400, 3, 3))).astype(np.float32)
    tree = bvh.build(bvh.boxes_of(corners))
    assert sorted(tree.items) == list(range(400))
    directions = rng.standard_normal((300, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    distance, hits = np.empty(300), np.empty((300, 2), np.int32)
    scratch = np.empty((2, bvh.DEPTH_MAX), np.int32), np.empty((2, bvh.DEPTH_MAX))
    bvh.trace(
        tree, corners, bvh.build(np.zeros((0, 6))), np.zeros(0, np.int64), np.zeros((1, 3, 3)), np.zeros((1, 3)),
        np.zeros((300, 3)), directions, np.full(300, 50.0), *scratch, distance, hits,
    )  # fmt: skip
    expected = [_brute_force(corners.astype(float), direction) for direction in directions]
    np.testing.assert_allclose(distance, expected, rtol=1e-9)
    assert 50 < (hits[:, 0] >= 0).sum() < 300


def _brute_force(corners: np.ndarray, direction: np.ndarray) -> float:
    a, e1, e2 = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    solved = np.linalg.solve(np.stack([np.tile(-direction, (len(a), 1)), e1, e2], axis=2), -a[:, :, None])[:, :, 0]
    t, u, v = solved.T
    front = np.cross(e1, e2) @ direction < 0.0
    good = front & (u >= 0) & (v >= 0) & (u + v <= 1) & (t >= bvh.NEAR_M)
    return float(np.min(t[good], initial=50.0))


def test_depth_camera_and_rays_agree_at_every_pixel(renderer: Renderer) -> None:
    renderer.show([car(12.0, 2.0, yaw=30.0), car(7.0, -3.0, 8, yaw=200.0)])
    eye, width, height = np.array([0.0, 0.0, EYE_M]), 120, 80
    picture = renderer.render("depth", width, height, 90.0, eye, np.zeros(3)).astype(float)
    depth = (picture[..., 2] + 256.0 * picture[..., 1] + 65536.0 * picture[..., 0]) / (2.0**24 - 1.0) * 1000.0
    across = (np.arange(width) + 0.5 - width / 2) / (width / 2)
    down = (np.arange(height) + 0.5 - height / 2) / (width / 2)
    rays = np.stack(np.broadcast_arrays(1.0, -across, -down[:, None]), axis=-1).reshape(-1, 3)
    length = np.linalg.norm(rays, axis=1)
    hits = renderer.caster().cast(eye, rays / length[:, None], 500.0)
    ahead = np.where(hits.any, hits.distance / length, 1000.0).reshape(height, width)
    assert (np.abs(ahead - depth) < 0.01).mean() > 0.999, "but for samples exactly on an edge"
    tags = renderer.render("semantic_segmentation", width, height, 90.0, eye, np.zeros(3))[..., 2]
    seen = np.where(hits.any, renderer.caster().tags(hits), Tag.SKY).reshape(height, width)
    assert (seen == tags).mean() > 0.999


# ------------------------------------------------------------------------------ lidar


def test_a_level_ray_ahead_measures_the_wall(renderer: Renderer) -> None:
    """One channel, four points a half turn: yaw -180, -135, -90, -45, then 0 ..."""
    one = clean(channels=1, points_per_second=80, rotation_frequency=10, upper_fov=0, lower_fov=0)
    device = lidar.Lidar(sensor("sensor.lidar.ray_cast", **one))
    angle, counts, points = read(device.payload(sensor("sensor.lidar.ray_cast"), renderer.caster(), DT))
    assert angle == pytest.approx(math.pi) and counts.tolist() == [1]
    np.testing.assert_allclose(points[0, :3], [10.0, -10.0, 0.0], atol=1e-4)  # the house
    angle, counts, points = read(device.payload(sensor("sensor.lidar.ray_cast"), renderer.caster(), DT))
    assert angle == pytest.approx(0.0)
    np.testing.assert_allclose(points[:, :3], [[20.0, 0.0, 0.0], [20.0, 20.0, 0.0]], atol=1e-4)
    np.testing.assert_allclose(points[:, 3], np.exp(-0.004 * np.array([20.0, 20.0 * math.sqrt(2)])), rtol=1e-5)


def test_channels_fan_out_from_the_upper_to_the_lower_angle(renderer: Renderer) -> None:
    fan = clean(channels=4, points_per_second=4 * 20, upper_fov=0, lower_fov=-45, horizontal_fov=90)
    device = lidar.Lidar(sensor("sensor.lidar.ray_cast", **fan))
    device.angle_deg = 45.0  # straight ahead
    _, counts, points = read(device.payload(sensor("sensor.lidar.ray_cast"), renderer.caster(), DT))
    assert counts.tolist() == [1, 1, 1, 1]
    down = [EYE_M / math.tan(math.radians(angle)) for angle in (15, 30, 45)]
    np.testing.assert_allclose(points[:, 0], [20.0, *down], atol=1e-3)
    np.testing.assert_allclose(points[1:, 2], -EYE_M, atol=1e-3)


def test_points_are_in_the_sensors_own_frame(renderer: Renderer) -> None:
    one = clean(channels=1, points_per_second=20, upper_fov=0, lower_fov=0, rotation_frequency=0)
    turned = sensor("sensor.lidar.ray_cast", yaw=37.0, **one)
    device = lidar.Lidar(turned)
    device.angle_deg = 180.0 - 37.0
    _, _, points = read(device.payload(turned, renderer.caster(), DT))
    turn = math.radians(-37.0)
    np.testing.assert_allclose(points[0, :3], [20.0 * math.cos(turn), 20.0 * math.sin(turn), 0.0], atol=1e-3)


def test_a_scan_covers_the_turn_without_gap_or_overlap() -> None:
    config = lidar.config_of(sensor("sensor.lidar.ray_cast", channels=2, points_per_second=2 * 7200))
    start, yaws = 0.0, []
    for _ in range(2):
        directions = lidar.scan(config, start, DT).directions[:360]
        yaws.append(np.degrees(np.arctan2(directions[:, 1], directions[:, 0])))
        start += 180.0
    np.testing.assert_allclose(np.sort(np.concatenate(yaws)), np.arange(-180.0, 180.0, 0.5), atol=1e-6)


def test_dropoff_and_noise_follow_their_attributes_and_seed(renderer: Renderer) -> None:
    many = {"channels": 8, "points_per_second": 8 * 20 * 500, "upper_fov": -30, "lower_fov": -45}

    def points(**attributes: object) -> np.ndarray:
        device = lidar.Lidar(sensor("sensor.lidar.ray_cast", **clean(**many, **attributes)))
        return read(device.payload(sensor("sensor.lidar.ray_cast"), renderer.caster(), DT))[2]

    whole = points()
    assert len(whole) == 4000
    assert len(lidar.scan(lidar.config_of(sensor("sensor.lidar.ray_cast", **many)), 0.0, DT).channel) == 4000
    assert abs(len(points(dropoff_general_rate=0.45)) / 4000 - 0.55) < 0.03
    dim = {"atmosphere_attenuation_rate": 10.0, "dropoff_intensity_limit": 0.8, "dropoff_zero_intensity": 0.4}
    assert abs(len(points(**dim)) / 4000 - 0.6) < 0.03, "echoes of no intensity: four in ten are lost"
    noisy = points(noise_stddev=0.1, noise_seed=3)
    off = np.linalg.norm(noisy[:, :3], axis=1) - np.linalg.norm(whole[:, :3], axis=1)
    assert off.std() == pytest.approx(0.1, abs=0.01) and abs(off.mean()) < 0.01
    assert np.array_equal(noisy, points(noise_stddev=0.1, noise_seed=3))
    assert not np.array_equal(noisy, points(noise_stddev=0.1, noise_seed=4))


def test_the_semantic_lidar_names_what_it_hits(renderer: Renderer) -> None:
    renderer.show([car(9.0, actor_id=70_000)])
    type_id = "sensor.lidar.ray_cast_semantic"
    fan = {"channels": 2, "points_per_second": 40, "upper_fov": 0, "lower_fov": -45, "rotation_frequency": 0}
    low = sensor(type_id, height=0.9, range=50.0, **fan)
    device = lidar.Lidar(low)
    device.angle_deg = 180.0
    payload = device.payload(low, renderer.caster(), DT)
    assert len(payload) == 8 + 8 + 2 * 24
    _, counts, _ = read(payload, semantic=True)
    assert counts.tolist() == [1, 1]
    x, _, _, cosine, actor, tag = struct.unpack_from("<4f2I", payload, 16)
    assert (actor, tag) == (70_000, Tag.CAR) and 6.0 < x < 8.0 and 0.3 < cosine <= 1.0
    x, _, z, cosine, actor, tag = struct.unpack_from("<4f2I", payload, 40)
    assert (actor, tag) == (0, Tag.ROAD) and z == pytest.approx(-0.9)
    assert cosine == pytest.approx(math.cos(math.radians(45.0)))


@pytest.mark.parametrize("wrong", [{"channels": 0}, {"range": -1.0}, {"horizontal_fov": 400.0}, {"upper_fov": 100.0}])
def test_a_lidar_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} {next(iter(wrong.values()))}"):
        lidar.config_of(sensor("sensor.lidar.ray_cast", **wrong))


def test_no_client_can_ask_for_more_points_than_there_is_room_for() -> None:
    config = lidar.config_of(sensor("sensor.lidar.ray_cast", points_per_second=10**12))
    assert len(lidar.scan(config, 0.0, 0.05).channel) <= lidar.MAX_POINTS_PER_TICK + config.channels


# ------------------------------------------------------------------------------ radar


@pytest.fixture
def world(eight: Town) -> World:
    return World(eight)


def detections(payload: bytes) -> np.ndarray:
    return np.frombuffer(payload, "<f4").reshape(-1, 4)


def test_a_still_radar_sees_a_still_wall(renderer: Renderer, world: World) -> None:
    device = radar.Radar(sensor(radar.TYPE_ID))
    found = detections(device.payload(world, sensor(radar.TYPE_ID), renderer.caster(), DT))
    speed, azimuth, altitude, depth = found.T
    assert 40 < len(found) <= 75, "1500 points a second; some pass over the wall"
    assert np.all(speed == 0.0)
    assert np.abs(azimuth).max() <= math.radians(15.0) and np.abs(altitude).max() <= math.radians(15.0)
    ahead, up = depth * np.cos(altitude) * np.cos(azimuth), depth * np.sin(altitude)
    on_wall = up > -EYE_M + 0.01
    np.testing.assert_allclose(ahead[on_wall], 20.0, atol=1e-3)
    np.testing.assert_allclose(up[~on_wall], -EYE_M, atol=1e-3)


def test_what_comes_nearer_has_a_negative_speed(renderer: Renderer, world: World) -> None:
    other = world.spawn(MKZ, {}, (10.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    other.velocity[:] = -6.0, 0.0, 0.0
    renderer.show([car(10.0, actor_id=other.id)])
    own = sensor(radar.TYPE_ID, height=0.9)
    own.velocity[:] = 4.0, 0.0, 0.0
    speed, azimuth, altitude, depth = detections(radar.Radar(own).payload(world, own, renderer.caster(), DT)).T
    closing = np.cos(azimuth) * np.cos(altitude)
    on_car = (depth < 9.0) & (0.9 + depth * np.sin(altitude) > 0.05)  # above the dark patch below it
    assert on_car.sum() > 10
    np.testing.assert_allclose(speed[on_car], -10.0 * closing[on_car], atol=1e-4)
    np.testing.assert_allclose(speed[~on_car], -4.0 * closing[~on_car], atol=1e-4)


def test_radar_noise_repeats_with_its_seed() -> None:
    one, same, other = (radar.Radar(sensor(radar.TYPE_ID, noise_seed=seed)).rays(DT) for seed in (1, 1, 2))
    assert np.array_equal(one, same) and not np.array_equal(one, other)


# ------------------------------------------------------------------------------ obstacle


def ball(radius: float, x: float = 0.0, y: float = 0.0, distance: float = 30.0) -> tuple[int, float] | None:
    """Roll along x towards a cube of 2 m around (10, 0, 0)."""
    boxes = np.array([[10.0, 0.0, 0.0]]), np.ones((1, 3)), np.eye(3)[None]
    return obstacle.roll(np.array([x, y, 0.0]), np.array([1.0, 0.0, 0.0]), distance, radius, boxes)


def test_a_ball_stops_its_radius_before_a_box() -> None:
    assert ball(0.5) == (0, pytest.approx(8.5, abs=1e-3))
    assert ball(0.0, y=0.9) == (0, pytest.approx(9.0, abs=1e-3))
    past = math.sqrt(0.5**2 - 0.3**2)  # it meets the edge with its side
    assert ball(0.5, y=1.3) == (0, pytest.approx(9.0 - past, abs=1e-2))
    assert ball(0.5, y=1.6) is None
    assert ball(0.5, distance=8.4) is None
    assert ball(0.5, x=10.0) == (0, 0.0), "it starts inside"
    assert ball(0.5, x=12.0) is None, "it is behind"


def test_the_obstacle_sensor_reports_the_nearest_and_never_its_carrier(world: World) -> None:
    carrier = world.spawn(MKZ, {}, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    ahead = world.spawn(MKZ, {}, (15.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    world.spawn(MKZ, {}, (25.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    own = sensor(obstacle.TYPE_ID, height=1.0, distance=40.0)
    own.parent_id = carrier.id
    (payload,) = obstacle.obstacles(world, own, 2001)
    me, other, distance = msgpack.unpackb(payload)
    assert (me[0], other[0]) == (carrier.id, ahead.id)
    assert distance == pytest.approx(15.0 - ahead.box_extent[0] - 0.5, abs=1e-3)


def test_only_dynamics_leaves_the_scenery_out(world: World) -> None:
    toward_wall = {"height": 1.0, "yaw": 180.0, "distance": 300.0}
    (payload,) = obstacle.obstacles(world, sensor(obstacle.TYPE_ID, **toward_wall), 2001)
    _, other, distance = msgpack.unpackb(payload)
    assert (other[0], other[2][1]) == (0, "static.wall")
    assert distance == pytest.approx(199.5 - 0.5, abs=1e-3)
    assert not list(obstacle.obstacles(world, sensor(obstacle.TYPE_ID, only_dynamics=True, **toward_wall), 2001))
