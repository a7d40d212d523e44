"""Writes a small genuine NAVSIM data root: log pickles, pictures, a nuPlan map, a scene filter.

A straight road east (two lanes), a junction with a way on and a left turn, the road beyond it, a lane back, a car park.
The ego drives east at 8 m/s on the right lane, swerving a little; a car leads it, one crosses from record 6 to 12, a
person and a cone stand by the road. Everything in metres from ``ORIGIN``. Only the projection of the reader is used.
"""

from __future__ import annotations

import json
import pickle
import sqlite3
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import shapely
from PIL import Image
from shapely.geometry.base import BaseGeometry

from training.datasets.navsim_geopackage import utm

ORIGIN = np.array([664000.0, 3997000.0])  # in Las Vegas
ZONE = 32611
LOCATION = "us-nv-las-vegas-strip"
LOCATIONS = (LOCATION, "us-ma-boston", "us-pa-pittsburgh-hazelwood", "sg-one-north")
LOG = "2021.05.12.22.00.38_veh-35_01008_01518"
SPEED = 8.0
CAMERAS = ("CAM_F0", "CAM_L0", "CAM_L1", "CAM_L2", "CAM_R0", "CAM_R1", "CAM_R2", "CAM_B0")
LIGHT = 302  # the way on of the right lane; red from record 10
WEST, EAST, BACK, NORTH = 11, 12, 13, 14  # roadblocks
ON, LEFT = 21, 22  # roadblock connectors
ROUTE = [str(WEST), str(ON), str(EAST)]
PICTURE = Path(__file__).resolve().parents[2] / "docs" / "pictures" / "demo.jpg"  # of minicarla's cameras


def degrees(points: np.ndarray) -> np.ndarray:
    """The longitude and latitude (N, 2) of metres in ``ZONE``: ``utm`` inverted by iteration."""
    guess = np.column_stack([-117.0 + (points[:, 0] - 5e5) / 9e4, points[:, 1] / 1.11e5])
    for _ in range(30):
        guess += (points - utm(guess, ZONE)) / [9e4, 1.11e5]
    return guess


def box(x0: float, y0: float, x1: float, y1: float) -> BaseGeometry:
    return shapely.box(x0, y0, x1, y1)


def band(line: Sequence[tuple[float, float]]) -> BaseGeometry:
    return shapely.LineString(line).buffer(1.75, cap_style="flat", join_style="mitre")


def dense(line: Sequence[tuple[float, float]]) -> BaseGeometry:
    """A vertex every 2 m at least, as nuPlan's baselines have."""
    return shapely.segmentize(shapely.LineString(line), 2.0)


TURN = [(100, 1.75), (108, 2.5), (114, 7), (116.25, 15), (116.25, 20)]
LANES = {  # id: (roadblock, index, baseline)
    101: (WEST, 0, [(0, 1.75), (40, 1.75), (100, 1.75)]),
    102: (WEST, 1, [(0, -1.75), (40, -1.75), (100, -1.75)]),
    103: (EAST, 0, [(130, 1.75), (230, 1.75)]),
    104: (EAST, 1, [(130, -1.75), (230, -1.75)]),
    105: (BACK, 0, [(100, 5.25), (0, 5.25)]),
    106: (NORTH, 0, [(116.25, 20), (116.25, 100)]),
}
CONNECTORS = {  # id: (roadblock connector, from lane, to lane, baseline)
    301: (ON, 101, 103, [(100, 1.75), (115, 1.75), (130, 1.75)]),
    302: (ON, 102, 104, [(100, -1.75), (115, -1.75), (130, -1.75)]),
    303: (LEFT, 101, 106, TURN),
}
Rows = list[tuple[dict[str, object], BaseGeometry]]


def layers() -> dict[str, Rows]:
    """Every layer that nuPlan's devkit reads, with its columns."""
    edge = {"left_boundary_fid": 1, "right_boundary_fid": 1}
    lanes: Rows = []
    for id, (group, index, line) in LANES.items():
        limit = None if id == 106 else 13.4
        row = {
            "fid": id,
            "lane_fid": id,
            "lane_group_fid": group,
            "lane_index": index,
            "speed_limit_mps": limit,
            **edge,
        }
        lanes.append((row, band(line)))
    connectors: Rows = []
    polygons: Rows = []
    for id, (group, start, end, line) in CONNECTORS.items():
        links = {"exit_lane_fid": start, "entry_lane_fid": end, "lane_group_connector_fid": group}
        lights = "1" if id == LIGHT else ""
        row = {
            "fid": id,
            **links,
            "speed_limit_mps": 11.2,
            "traffic_light_stop_line_fids": lights,
            "intersection_fid": 1,
        }
        connectors.append((row, shapely.LineString(line)))
        polygons.append(({"fid": id - 290, "lane_connector_fid": id, **edge}, band(line)))
    groups = {WEST: box(0, -3.5, 100, 3.5), EAST: box(130, -3.5, 230, 3.5)}
    groups |= {BACK: box(0, 3.5, 100, 7), NORTH: box(114.5, 20, 118, 100)}
    ways = {ON: (WEST, EAST, box(100, -3.5, 130, 3.5)), LEFT: (WEST, NORTH, band(TURN))}
    paths: Rows = [
        ({"fid": 500 + id, "lane_fid": id, "lane_connector_fid": None, "path_type_fid": 0}, dense(line))
        for id, (_, _, line) in LANES.items()
    ]
    paths += [
        ({"fid": 500 + id, "lane_fid": None, "lane_connector_fid": id, "path_type_fid": 1}, dense(line))
        for id, (_, _, _, line) in CONNECTORS.items()
    ]
    return {
        "lanes_polygons": lanes,
        "lane_connectors": connectors,
        "gen_lane_connectors_scaled_width_polygons": polygons,
        "lane_groups_polygons": [({"fid": id, "intersection_fid": None}, shape) for id, shape in groups.items()],
        "lane_group_connectors": [
            ({"fid": id, "from_lane_group_fid": a, "to_lane_group_fid": b, "intersection_fid": 1}, shape)
            for id, (a, b, shape) in ways.items()
        ],
        "baseline_paths": paths,
        "intersections": [({"fid": 1, "intersection_type_fid": 2}, box(100, -20, 130, 20))],
        "carpark_areas": [({"fid": 1}, shapely.MultiPolygon([box(20, -12, 60, -3.5).difference(box(30, -9, 34, -6))]))],
        "boundaries": [({"fid": 1}, shapely.LineString([(0, 0), (10, 0)]))],
        "stop_polygons": [({"fid": 1, "stop_polygon_type_fid": 2}, box(98, -3.5, 100, 0))],
        "crosswalks": [({"fid": 1}, box(95, -3.5, 98, 7))],
        "walkways": [({"fid": 1}, box(0, 7, 95, 10))],
    }


def write_map(path: Path, in_degrees: bool = True, tables: Mapping[str, Rows] | None = None) -> Path:
    """A GeoPackage as OGC's standard has it, openable by GDAL."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    epsg = 4326 if in_degrees else ZONE
    database = sqlite3.connect(path)
    database.execute("PRAGMA application_id = 0x47504B47")
    database.execute("PRAGMA user_version = 10300")
    database.executescript(HEAD)
    wkt = "undefined"
    database.executemany(
        "INSERT INTO gpkg_spatial_ref_sys VALUES (?, ?, 'EPSG', ?, ?, NULL)",
        [("WGS 84", 4326, 4326, WGS84), ("UTM 11N", ZONE, ZONE, wkt)],
    )
    database.execute("CREATE TABLE meta (fid INTEGER PRIMARY KEY, key TEXT, value TEXT)")
    database.execute("INSERT INTO meta VALUES (1, 'projectedCoordSystem', ?)", (f"EPSG:{ZONE}",))
    database.execute(CONTENTS, ("meta", "attributes", "meta", None))
    for name, rows in (layers() if tables is None else tables).items():
        _write_layer(database, name, rows, epsg)
    database.commit()
    database.close()
    return path


def _write_layer(database: sqlite3.Connection, name: str, rows: Rows, epsg: int) -> None:
    keys = list(rows[0][0])
    kinds = {key: "TEXT" if any(isinstance(row[key], str) for row, _ in rows) else "REAL" for key in keys}
    kinds |= {key: "INTEGER" for key in keys if key.endswith("fid")}
    columns = ", ".join(f"{key} {kinds[key]}{' PRIMARY KEY' * (key == 'fid')}" for key in keys)
    database.execute(f"CREATE TABLE {name} ({columns}, geom BLOB)")
    for row, shape in rows:
        moved = shapely.transform(shape, lambda xy: degrees(xy + ORIGIN) if epsg == 4326 else xy + ORIGIN)
        values = [*row.values(), gpkg_blob(moved, epsg)]
        database.execute(f"INSERT INTO {name} VALUES ({', '.join('?' * len(values))})", values)
    database.execute(CONTENTS, (name, "features", name, epsg))
    database.execute("INSERT INTO gpkg_geometry_columns VALUES (?, 'geom', 'GEOMETRY', ?, 0, 0)", (name, epsg))


def gpkg_blob(shape: BaseGeometry, epsg: int) -> bytes:
    """Header with an envelope, then WKB."""
    x0, y0, x1, y1 = shape.bounds
    return b"GP" + struct.pack("<BBi4d", 0, 0b011, epsg, x0, x1, y0, y1) + shapely.to_wkb(shape, byte_order=1)


HEAD = """
CREATE TABLE gpkg_spatial_ref_sys (srs_name TEXT NOT NULL, srs_id INTEGER PRIMARY KEY, organization TEXT NOT NULL,
    organization_coordsys_id INTEGER NOT NULL, definition TEXT NOT NULL, description TEXT);
CREATE TABLE gpkg_contents (table_name TEXT PRIMARY KEY, data_type TEXT NOT NULL, identifier TEXT UNIQUE,
    description TEXT DEFAULT '', last_change DATETIME NOT NULL, min_x DOUBLE, min_y DOUBLE, max_x DOUBLE,
    max_y DOUBLE, srs_id INTEGER);
CREATE TABLE gpkg_geometry_columns (table_name TEXT NOT NULL, column_name TEXT NOT NULL, geometry_type_name TEXT NOT
    NULL, srs_id INTEGER NOT NULL, z TINYINT NOT NULL, m TINYINT NOT NULL, PRIMARY KEY (table_name, column_name));
"""
CONTENTS = "INSERT INTO gpkg_contents VALUES (?, ?, ?, '', '2021-01-01T00:00:00Z', NULL, NULL, NULL, NULL, ?)"
WGS84 = (
    'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],PRIMEM["Greenwich",0],'
    'UNIT["degree",0.0174532925199433],AUTHORITY["EPSG","4326"]]'
)


def ego(index: int) -> np.ndarray:
    """(3,) x, y, yaw of the rear axle at a record, metres from ``ORIGIN``."""
    x = 10.0 + SPEED * 0.5 * index
    return np.array([x, -1.75 + 0.3 * np.sin(x / 20.0), np.arctan(0.015 * np.cos(x / 20.0))])


def quaternion(yaw: float) -> list[float]:
    return [float(np.cos(yaw / 2)), 0.0, 0.0, float(np.sin(yaw / 2))]


def objects(index: int) -> list[tuple[str, str, list[float], list[float]]]:
    """(track, name, world x, y, z, l, w, h, yaw, world velocity x, y, z) around a record."""
    x = ego(index)[0]
    found = [
        ("car-ahead", "vehicle", [x + 25.0, -1.75, 0.0, 4.6, 1.9, 1.6, 0.0], [SPEED, 0.0, 0.0]),
        ("person", "pedestrian", [60.0, 8.5, 0.0, 0.7, 0.6, 1.8, 1.0], [0.0, 0.0, 0.0]),
        ("cone", "traffic_cone", [50.0, -5.0, 0.0, 0.4, 0.4, 0.7, 0.0], [np.nan, np.nan, np.nan]),
    ]
    if 6 <= index <= 12:
        y = 30.0 - 2.5 * (index - 6)
        found.append(("car-left", "vehicle", [116.0, y, 0.0, 4.4, 1.8, 1.5, -np.pi / 2], [0.0, -5.0, 0.0]))
    return found


def annotations(index: int) -> dict[str, object]:
    """Boxes as OpenScene has them: relative to the ego."""
    pose = ego(index)
    turn = np.array([[np.cos(pose[2]), np.sin(pose[2])], [-np.sin(pose[2]), np.cos(pose[2])]])
    boxes, speeds = [], []
    for _, _, place, velocity in objects(index):
        local = np.array(place)
        local[:2] = turn @ (local[:2] - pose[:2])
        local[6] -= pose[2]
        boxes.append(local)
        speeds.append([*(turn @ velocity[:2]), velocity[2]])
    tracks = [track for track, *_ in objects(index)]
    return {
        "gt_boxes": np.array(boxes),
        "gt_names": np.array([name for _, name, *_ in objects(index)]),
        "gt_velocity_3d": np.array(speeds),
        "instance_tokens": [f"{track}-{index}" for track in tracks],
        "track_tokens": tracks,
    }


def token(log: str, index: int) -> str:
    return f"{sum(log.encode()) % 65536:04x}{index:012x}"


def record(log: str, index: int) -> dict[str, object]:
    """One record with every field that OpenScene's have."""
    x, y, yaw = ego(index)
    place = np.array([*(np.array([x, y]) + ORIGIN), 600.0])
    ego2global, lidar2ego = np.eye(4), np.eye(4)
    ego2global[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
    ego2global[:3, 3], lidar2ego[:3, 3] = place, [0.94, 0.0, 1.84]
    can_bus = np.array([*place, *quaternion(yaw), 0.0, 0.0, 0.0, SPEED, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    return {
        "token": token(log, index),
        "frame_idx": index,
        "timestamp": 1_620_857_000_000_000 + 500_000 * index + 1_000 * (index % 3),
        "log_name": log,
        "log_token": f"log-{log}",
        "scene_name": f"scene-{log}",
        "scene_token": f"scene-token-{log}",
        "map_location": LOCATION,
        "roadblock_ids": list(ROUTE),
        "vehicle_name": "veh-35",
        "can_bus": can_bus,
        "lidar_path": f"{log}/MergedPointCloud/{token(log, index)}.pcd",
        "lidar2ego_translation": lidar2ego[:3, 3],
        "lidar2ego_rotation": [1.0, 0.0, 0.0, 0.0],
        "ego2global_translation": place,
        "ego2global_rotation": quaternion(yaw),
        "ego_dynamic_state": [SPEED, 0.02, 0.25, -0.1],
        "traffic_lights": [(LIGHT, index >= 10), (301, False)],
        "driving_command": np.eye(4, dtype=int)[1 if index < 12 else 0],
        "cams": {name: camera(log, index, name) for name in CAMERAS},
        "sample_prev": token(log, index - 1) if index else None,
        "sample_next": token(log, index + 1),
        "ego2global": ego2global,
        "lidar2ego": lidar2ego,
        "lidar2global": ego2global @ lidar2ego,
        "anns": annotations(index),
    }


def camera(log: str, index: int, name: str) -> dict[str, object]:
    return {
        "data_path": f"{log}/{name}/{token(log, index)}.jpg",
        "sensor2lidar_rotation": np.eye(3),
        "sensor2lidar_translation": np.zeros(3),
        "cam_intrinsic": np.array([[1545.0, 0.0, 960.0], [0.0, 1545.0, 560.0], [0.0, 0.0, 1.0]]),
        "distortion": np.array([-0.356, 0.172, -0.002, 0.0005, -0.052]),
    }


def write_log(
    root: Path,
    records: int = 30,
    log: str = LOG,
    data: str = "mini",
    change: Callable[[list[dict[str, object]]], None] = lambda records: None,
    pictures: bool = True,
) -> Path:
    """One log and its pictures; ``change`` may spoil the records before they are written."""
    rows = [record(log, index) for index in range(records)]
    if pictures:
        _write_pictures(root / "sensor_blobs" / data, rows)
    change(rows)
    path = root / "navsim_logs" / data / f"{log}.pkl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(rows))
    return path


def _write_pictures(folder: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Each record and camera shows another part of a picture that a camera of minicarla took."""
    with Image.open(PICTURE) as whole:
        for index, row in enumerate(rows):
            for number, view in enumerate(row["cams"].values()):
                path = folder / view["data_path"]
                path.parent.mkdir(parents=True, exist_ok=True)
                left, top = 12 * number + index, 4 * number
                whole.crop((left, top, left + 96, top + 56)).save(path, quality=90)


def write_maps(root: Path, in_degrees: bool = True) -> Path:
    """The four cities of nuPlan (all the same road) and the table of their versions."""
    versions = {location: {"version": f"9.{number}.1817", "layers": {}} for number, location in enumerate(LOCATIONS)}
    for location, about in versions.items():
        write_map(root / "maps" / location / about["version"] / "map.gpkg", in_degrees)
    (root / "maps" / "nuplan-maps-v1.0.json").write_text(json.dumps(versions))
    return root / "maps"


def write_filter(root: Path, split: str, tokens: Sequence[str], logs: Sequence[str]) -> Path:
    """A scene filter as the devkit's ``navtrain.yaml``."""
    lines = ["_target_: navsim.common.dataclasses.SceneFilter", "_convert_: 'all'", "num_history_frames: 4"]
    lines += ["num_future_frames: 10", "frame_interval: 1", "has_route: true", "", "max_scenes: null", "log_names:"]
    lines += [f"  - '{log}'" for log in logs] + ["", "tokens:"] + [f"  - '{token}'" for token in tokens]
    path = root / "scene_filters" / f"{split}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def write_root(root: Path, **log: object) -> Path:
    """Maps, one log of 30 records in ``mini``, and a filter ``navmini`` of its records 3 ... 19 at every second."""
    write_maps(root)
    write_log(root, **log)
    write_filter(root, "navmini", [token(LOG, index) for index in range(3, 20, 2)], [LOG])
    return root
