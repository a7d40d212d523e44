"""The blueprint library: what can be spawned, with which attributes and which real sizes.

Sizes are half extents in metres, wheel bases in metres, masses in kilograms; the figures are those
that CARLA 0.9.16 reports for the vehicles of the same name, rounded.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import IntEnum

from autovla_core.minicarla.world.mesh import Tag


class AttributeType(IntEnum):
    """CARLA's ActorAttributeType."""

    BOOL = 1
    INT = 2
    FLOAT = 3
    STRING = 4
    COLOR = 5  # "r,g,b"


@dataclass(frozen=True)
class Attribute:
    """One attribute of a blueprint; the client refuses to set what is not listed."""

    id: str
    type: int
    value: str
    recommended: tuple[str, ...] = ()
    modifiable: bool = True
    restrict: bool = False


@dataclass(frozen=True)
class Blueprint:
    """One kind of actor. ``extent`` (half sizes, m), ``wheel_base`` (m) and ``mass`` (kg) are physical."""

    uid: int
    id: str
    tags: str
    attributes: tuple[Attribute, ...]
    extent: tuple[float, float, float] | None = None
    base_type: str = ""
    wheel_base: float = 0.0
    mass: float = 0.0

    @property
    def semantic_tag(self) -> int:
        """The tag that semantic cameras show for it."""
        if self.id.startswith("vehicle."):
            return int(VEHICLE_TAGS[self.base_type])
        if self.id.startswith("walker."):
            return int(Tag.PEDESTRIAN)
        return int(Tag.DYNAMIC if self.id.startswith("static.") else Tag.NONE)

    def defaults(self) -> dict[str, str]:
        """Attribute values of an actor that sets none."""
        return {attribute.id: attribute.value for attribute in self.attributes}


VEHICLE_TAGS = {
    "car": Tag.CAR,
    "van": Tag.CAR,
    "truck": Tag.TRUCK,
    "bus": Tag.BUS,
    "motorcycle": Tag.MOTORCYCLE,
    "bicycle": Tag.BICYCLE,
}

# id: half length, half width, half height, wheel base, mass, base type, special type, generation
_VEHICLES = {
    "vehicle.audi.a2": (1.853, 0.895, 0.774, 2.41, 1100, "car", "", 1),
    "vehicle.audi.etron": (2.428, 1.016, 0.825, 2.93, 2490, "car", "electric", 1),
    "vehicle.audi.tt": (2.091, 0.997, 0.693, 2.51, 1420, "car", "", 1),
    "vehicle.bmw.grandtourer": (2.305, 1.121, 0.834, 2.78, 1600, "car", "", 1),
    "vehicle.chevrolet.impala": (2.679, 1.017, 0.705, 2.81, 1650, "car", "", 1),
    "vehicle.citroen.c3": (1.994, 0.925, 0.809, 2.54, 1150, "car", "", 1),
    "vehicle.dodge.charger_2020": (2.503, 1.049, 0.767, 3.05, 1920, "car", "", 2),
    "vehicle.dodge.charger_police_2020": (2.612, 1.049, 0.819, 3.05, 1980, "car", "emergency", 2),
    "vehicle.ford.crown": (2.683, 0.901, 0.789, 2.91, 1800, "car", "taxi", 2),
    "vehicle.ford.mustang": (2.359, 0.947, 0.650, 2.72, 1650, "car", "", 1),
    "vehicle.jeep.wrangler_rubicon": (1.933, 0.953, 0.939, 2.42, 1850, "car", "", 1),
    "vehicle.lincoln.mkz_2017": (2.451, 1.064, 0.755, 2.85, 1795, "car", "", 1),
    "vehicle.lincoln.mkz_2020": (2.446, 0.918, 0.755, 2.85, 1845, "car", "", 2),
    "vehicle.mercedes.coupe": (2.513, 1.076, 0.825, 2.95, 1780, "car", "", 1),
    "vehicle.mercedes.coupe_2020": (2.337, 1.001, 0.721, 2.84, 1750, "car", "", 2),
    "vehicle.micro.microlino": (1.104, 0.740, 0.688, 1.57, 530, "car", "electric", 1),
    "vehicle.mini.cooper_s": (1.903, 0.985, 0.738, 2.47, 1250, "car", "", 1),
    "vehicle.mini.cooper_s_2021": (2.276, 1.049, 0.884, 2.60, 1330, "car", "", 2),
    "vehicle.nissan.micra": (1.817, 0.923, 0.751, 2.43, 1050, "car", "", 1),
    "vehicle.nissan.patrol": (2.302, 0.966, 0.927, 2.98, 2300, "car", "", 1),
    "vehicle.nissan.patrol_2021": (2.783, 1.075, 1.022, 3.08, 2750, "car", "", 2),
    "vehicle.seat.leon": (2.096, 0.908, 0.737, 2.64, 1300, "car", "", 1),
    "vehicle.tesla.cybertruck": (3.137, 1.195, 1.049, 3.81, 3000, "truck", "electric", 1),
    "vehicle.tesla.model3": (2.396, 1.082, 0.744, 2.88, 1845, "car", "electric", 1),
    "vehicle.toyota.prius": (2.257, 1.003, 0.762, 2.70, 1380, "car", "electric", 1),
    "vehicle.volkswagen.t2": (2.240, 1.035, 1.019, 2.40, 1350, "van", "", 1),
    "vehicle.mercedes.sprinter": (2.958, 0.994, 1.280, 3.67, 2200, "van", "", 2),
    "vehicle.ford.ambulance": (3.183, 1.176, 1.216, 3.50, 4600, "van", "emergency", 2),
    "vehicle.carlamotors.carlacola": (2.602, 1.313, 1.234, 2.90, 5500, "truck", "", 1),
    "vehicle.carlamotors.european_hgv": (3.968, 1.447, 1.737, 4.10, 9000, "truck", "", 2),
    "vehicle.carlamotors.firetruck": (4.234, 1.448, 1.913, 4.80, 13000, "truck", "emergency", 2),
    "vehicle.mitsubishi.fusorosa": (5.136, 1.972, 2.126, 5.10, 8000, "bus", "", 2),
    "vehicle.harley-davidson.low_rider": (1.178, 0.382, 0.800, 1.63, 300, "motorcycle", "", 1),
    "vehicle.kawasaki.ninja": (1.017, 0.398, 0.788, 1.41, 200, "motorcycle", "", 1),
    "vehicle.vespa.zx125": (0.902, 0.433, 0.787, 1.28, 150, "motorcycle", "", 1),
    "vehicle.yamaha.yzf": (1.105, 0.433, 0.765, 1.39, 200, "motorcycle", "", 1),
    "vehicle.bh.crossbike": (0.744, 0.430, 0.808, 1.08, 90, "bicycle", "", 1),
    "vehicle.diamondback.century": (0.821, 0.186, 0.900, 1.00, 90, "bicycle", "", 1),
    "vehicle.gazelle.omafiets": (0.917, 0.165, 0.900, 1.14, 95, "bicycle", "", 1),
}
_COLORS = ("17,37,103", "192,192,192", "20,20,20", "180,20,20", "230,230,230", "60,90,60", "200,150,40", "70,110,160")

# id suffix: half extents, size word
_PROPS = {
    "trafficcone01": ((0.16, 0.16, 0.37), "small"),
    "trafficcone02": ((0.16, 0.16, 0.37), "small"),
    "constructioncone": ((0.17, 0.17, 0.29), "small"),
    "streetbarrier": ((0.60, 0.19, 0.53), "medium"),
    "trafficwarning": ((1.15, 1.26, 1.76), "big"),
    "warningconstruction": ((0.62, 0.19, 0.86), "medium"),
    "warningaccident": ((0.62, 0.19, 0.86), "medium"),
    "dirtdebris01": ((0.90, 0.90, 0.08), "medium"),
    "dirtdebris02": ((0.90, 0.90, 0.08), "medium"),
    "dirtdebris03": ((0.90, 0.90, 0.08), "medium"),
    "box01": ((0.27, 0.27, 0.27), "small"),
    "barrel": ((0.25, 0.25, 0.42), "small"),
    "bin": ((0.35, 0.35, 0.55), "small"),
    "bench01": ((0.75, 0.28, 0.45), "medium"),
    "container": ((1.03, 0.85, 0.78), "big"),
    "shoppingcart": ((0.45, 0.30, 0.52), "small"),
    "mailbox": ((0.30, 0.30, 0.65), "small"),
    # what scenarios hide a walker behind: x points at the road there, and the walker waits x + 0.5 m along the kerb
    "vendingmachine": ((0.48, 0.60, 1.00), "medium"),
    "advertisement": ((0.75, 0.16, 1.25), "medium"),
    "busstop": ((0.90, 1.10, 1.30), "big"),
    "busstoplb": ((0.90, 1.10, 1.30), "big"),
    "foodcart": ((0.80, 1.00, 1.15), "big"),
    "haybale": ((0.75, 0.75, 0.75), "medium"),
    "haybalelb": ((0.75, 0.75, 0.75), "medium"),
    "kiosk_01": ((0.95, 1.10, 1.35), "big"),
    "atm": ((0.35, 0.45, 0.90), "medium"),
    "glasscontainer": ((0.70, 0.70, 0.75), "medium"),
    "clothcontainer": ((0.60, 0.60, 0.90), "medium"),
    "plantpot01": ((0.40, 0.40, 0.45), "medium"),
    "trashcan01": ((0.30, 0.30, 0.55), "small"),
    "streetsign": ((0.06, 0.35, 1.20), "medium"),
    "chainbarrier": ((0.65, 0.08, 0.45), "small"),
    "chainbarrierend": ((0.08, 0.08, 0.45), "small"),
}


def _attribute(name: str, kind: AttributeType, *recommended: object, modifiable: bool = True) -> Attribute:
    """First recommended value is the default; a fixed attribute recommends nothing."""
    values = tuple(str(value) for value in recommended)
    return Attribute(name, int(kind), values[0], values if modifiable else (), modifiable)


def _many(kind: AttributeType, **defaults: object) -> tuple[Attribute, ...]:
    return tuple(_attribute(name, kind, value) for name, value in defaults.items())


def _fixed(kind: AttributeType, **values: object) -> tuple[Attribute, ...]:
    return tuple(_attribute(name, kind, value, modifiable=False) for name, value in values.items())


def _common(role_name: str) -> tuple[Attribute, ...]:
    names = _many(AttributeType.STRING, role_name=role_name, ros_name="", ros_frame_id="")
    return names + _many(AttributeType.BOOL, ros_publish_tf="true")


def _vehicle_attributes(wheels: int, base_type: str, special_type: str, generation: int) -> tuple[Attribute, ...]:
    lights = "false" if base_type == "bicycle" else "true"
    doors = "true" if generation == 2 and base_type in ("car", "van") else "false"
    drivers = (_attribute("driver_id", AttributeType.INT, 0, 1, 2),) if wheels == 2 else ()
    return (
        *_common("autopilot"),
        _attribute("color", AttributeType.COLOR, *_COLORS),
        *drivers,
        *_many(AttributeType.BOOL, sticky_control="true", terramechanics="false"),
        *_fixed(AttributeType.STRING, object_type="", base_type=base_type, special_type=special_type),
        *_fixed(AttributeType.INT, number_of_wheels=wheels, generation=generation),
        *_fixed(AttributeType.BOOL, has_dynamic_doors=doors, has_lights=lights),
    )


def _walker_attributes(number: int, age: str) -> tuple[Attribute, ...]:
    gender = "female" if number % 2 else "male"
    return (
        *_common("pedestrian"),
        _attribute("speed", AttributeType.FLOAT, "0.0", "1.4", "2.8"),
        *_many(AttributeType.BOOL, is_invincible="true", use_wheelchair="false"),
        *_fixed(AttributeType.STRING, gender=gender, age=age),
        *_fixed(AttributeType.INT, generation=2),
        *_fixed(AttributeType.BOOL, can_use_wheelchair="false"),
    )


def _camera_attributes() -> tuple[Attribute, ...]:
    return (
        *_many(AttributeType.INT, image_size_x=800, image_size_y=600),
        *_many(
            AttributeType.FLOAT,
            fov="90.0",
            lens_circle_falloff="5.0",
            lens_circle_multiplier="0.0",
            lens_k="-1.0",
            lens_kcube="0.0",
            lens_x_size="0.08",
            lens_y_size="0.08",
        ),
    )


def _film_attributes() -> tuple[Attribute, ...]:
    mode = Attribute("exposure_mode", AttributeType.STRING, "histogram", ("histogram", "manual"), True, True)
    numbers = _many(
        AttributeType.FLOAT,
        exposure_compensation="0.0",
        shutter_speed="200.0",
        iso="100.0",
        fstop="1.4",
        min_fstop="1.2",
        gamma="2.2",
        motion_blur_intensity="0.45",
        motion_blur_max_distortion="0.35",
        motion_blur_min_object_screen_size="0.1",
        lens_flare_intensity="0.1",
        bloom_intensity="0.675",
        exposure_min_bright="10.0",
        exposure_max_bright="12.0",
        exposure_speed_up="3.0",
        exposure_speed_down="1.0",
        calibration_constant="16.0",
        focal_distance="1000.0",
        blur_amount="1.0",
        blur_radius="0.0",
        slope="0.88",
        toe="0.55",
        shoulder="0.26",
        black_clip="0.0",
        white_clip="0.04",
        temp="6500.0",
        tint="0.0",
        chromatic_aberration_intensity="0.0",
        chromatic_aberration_offset="0.0",
    )
    switches = _many(AttributeType.BOOL, enable_postprocess_effects="true")
    return (mode, *numbers, *switches, *_many(AttributeType.INT, blade_count=5))


def _event_attributes() -> tuple[Attribute, ...]:
    return (
        *_many(
            AttributeType.FLOAT,
            positive_threshold="0.3",
            negative_threshold="0.3",
            sigma_positive_threshold="0.0",
            sigma_negative_threshold="0.0",
            log_eps="0.001",
        ),
        *_many(AttributeType.INT, refractory_period_ns=0),
        *_many(AttributeType.BOOL, use_log="true"),
    )


def _axes(prefix: str) -> dict[str, str]:
    return {f"{prefix}_{axis}": "0.0" for axis in "xyz"}


def _sensor_attributes() -> Iterable[tuple[str, tuple[Attribute, ...]]]:
    front = _common("front")
    timed = (*front, *_many(AttributeType.FLOAT, sensor_tick="0.0"))
    seed = _many(AttributeType.INT, noise_seed=0)
    yield "sensor.camera.rgb", (*timed, *_camera_attributes(), *_film_attributes())
    yield "sensor.camera.dvs", (*timed, *_camera_attributes(), *_film_attributes(), *_event_attributes())
    for name in ("depth", "semantic_segmentation", "instance_segmentation", "optical_flow"):
        yield f"sensor.camera.{name}", (*timed, *_camera_attributes())
    yield "sensor.other.collision", front
    yield "sensor.other.lane_invasion", front
    imu = {**_axes("noise_accel_stddev"), **_axes("noise_gyro_stddev"), **_axes("noise_gyro_bias")}
    yield "sensor.other.imu", (*timed, *seed, *_many(AttributeType.FLOAT, **imu))
    gnss = {f"noise_{axis}_{term}": "0.0" for axis in ("alt", "lat", "lon") for term in ("bias", "stddev")}
    yield from _ranging_attributes(timed, seed)
    yield "sensor.other.gnss", (*timed, *seed, *_many(AttributeType.FLOAT, **gnss))


def _ranging_attributes(
    timed: tuple[Attribute, ...], seed: tuple[Attribute, ...]
) -> Iterable[tuple[str, tuple[Attribute, ...]]]:
    beams = _many(AttributeType.INT, channels=32, points_per_second=56000) + _many(
        AttributeType.FLOAT,
        range="10.0",
        rotation_frequency="10.0",
        upper_fov="10.0",
        lower_fov="-30.0",
        horizontal_fov="360.0",
    )
    echo = _many(
        AttributeType.FLOAT,
        atmosphere_attenuation_rate="0.004",
        dropoff_general_rate="0.45",
        dropoff_intensity_limit="0.8",
        dropoff_zero_intensity="0.4",
        noise_stddev="0.0",
    )
    yield "sensor.lidar.ray_cast", (*timed, *beams, *echo, *seed)
    yield "sensor.lidar.ray_cast_semantic", (*timed, *beams)
    cone = _many(AttributeType.FLOAT, horizontal_fov="30.0", vertical_fov="30.0", range="100.0")
    yield "sensor.other.radar", (*timed, *cone, *_many(AttributeType.INT, points_per_second=1500), *seed)
    sweep = _many(AttributeType.FLOAT, distance="5.0", hit_radius="0.5")
    switches = _many(AttributeType.BOOL, only_dynamics="false", debug_linetrace="false")
    yield "sensor.other.obstacle", (*timed, *sweep, *switches)


def _bare_library() -> Iterable[Blueprint]:
    for name, (length, width, height, wheel_base, mass, base_type, special, generation) in _VEHICLES.items():
        wheels = 2 if base_type in ("motorcycle", "bicycle") else 4
        attributes = _vehicle_attributes(wheels, base_type, special, generation)
        yield Blueprint(0, name, "", attributes, (length, width, height), base_type, wheel_base, float(mass))
    for number in range(1, 11):
        age, height = ("child", 0.55) if number > 8 else ("adult", 0.93)
        name = f"walker.pedestrian.{number:04d}"
        yield Blueprint(0, name, "", _walker_attributes(number, age), (0.19, 0.19, height), "walker", 0.0, 75.0)
    yield Blueprint(0, "controller.ai.walker", "", _common("default"))
    for name, (extent, size) in _PROPS.items():
        attributes = (*_common("prop"), *_fixed(AttributeType.STRING, size=size))
        yield Blueprint(0, f"static.prop.{name}", "", attributes, extent, "prop", 0.0, 5.0)
    mesh = _many(AttributeType.STRING, mesh_path="") + _many(AttributeType.FLOAT, mass="0.0", scale="1.0")
    yield Blueprint(0, "static.prop.mesh", "", (*_common("prop"), *mesh), (0.5, 0.5, 0.5), "prop", 0.0, 5.0)
    for name, attributes in _sensor_attributes():
        yield Blueprint(0, name, "", attributes)


def _library() -> dict[str, Blueprint]:
    return {
        bare.id: replace(bare, uid=uid, tags=bare.id.replace(".", ","))
        for uid, bare in enumerate(_bare_library(), start=1)
    }


BLUEPRINTS: dict[str, Blueprint] = _library()
