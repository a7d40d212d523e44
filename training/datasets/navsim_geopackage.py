"""GeoPackage layers in metres: what nuPlan's maps are stored in.

A GeoPackage is an SQLite file whose geometries are WKB behind a short header, so sqlite3 and shapely read it;
pyogrio, fiona and geopandas would bring GDAL (100 MB) for these lines. nuPlan stores degrees (EPSG:4326) and names
a UTM zone; the projection below agrees with PROJ to 4 nm within 1.5 degrees of the four cities.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from training.datasets.sample import DatasetError

DEGREES = 4326  # EPSG: longitude, latitude on WGS 84
ENVELOPE_BYTES = {0: 0, 1: 32, 2: 48, 3: 48, 4: 64}
RADIUS_M, FLATTENING, SCALE = 6378137.0, 1.0 / 298.257223563, 0.9996  # WGS 84; of UTM's central meridian
N = FLATTENING / (2.0 - FLATTENING)
SERIES = (  # Krueger's, to the sixth power of N (Karney, Journal of Geodesy 2011): alpha_1 ... alpha_6, by power of N
    (1 / 2, -2 / 3, 5 / 16, 41 / 180, -127 / 288, 7891 / 37800),
    (0.0, 13 / 48, -3 / 5, 557 / 1440, 281 / 630, -1983433 / 1935360),
    (0.0, 0.0, 61 / 240, -103 / 140, 15061 / 26880, 167603 / 181440),
    (0.0, 0.0, 0.0, 49561 / 161280, -179 / 168, 6601661 / 7257600),
    (0.0, 0.0, 0.0, 0.0, 34729 / 80640, -3418889 / 1995840),
    (0.0, 0.0, 0.0, 0.0, 0.0, 212378941 / 319334400),
)


@dataclass(frozen=True)
class Feature:
    """One row of a layer."""

    id: str
    fields: dict[str, object]
    geometry: BaseGeometry  # metres


def utm(longitude_latitude_deg: np.ndarray, epsg: int) -> np.ndarray:
    """Degrees (N, 2) to metres east and north (N, 2) in a UTM zone, EPSG 32601-32660 (north) or 32701-32760 (south)."""
    zone, south = epsg % 100, epsg // 100 == 327
    longitude, latitude = np.radians(np.asarray(longitude_latitude_deg, float)).T
    east = longitude - np.radians(6.0 * zone - 183.0)
    root = 2.0 * np.sqrt(N) / (1.0 + N)
    t = np.sinh(np.arctanh(np.sin(latitude)) - root * np.arctanh(root * np.sin(latitude)))
    xi, eta = np.arctan2(t, np.cos(east)), np.arctanh(np.sin(east) / np.sqrt(1.0 + t * t))
    x, y = eta.copy(), xi.copy()
    for j, powers in enumerate(SERIES, start=1):
        alpha = sum(c * N**p for p, c in enumerate(powers, start=1))
        x += alpha * np.cos(2 * j * xi) * np.sinh(2 * j * eta)
        y += alpha * np.sin(2 * j * xi) * np.cosh(2 * j * eta)
    radius = SCALE * RADIUS_M / (1.0 + N) * (1.0 + N**2 / 4 + N**4 / 64 + N**6 / 256)
    return np.stack([5e5 + radius * x, (1e7 if south else 0.0) + radius * y], axis=-1)


def is_utm(epsg: int) -> bool:
    """Whether ``utm`` knows it."""
    return epsg // 100 in (326, 327) and 1 <= epsg % 100 <= 60


class GeoPackage:
    """A file; every call opens it, so an object may be shared by threads."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise DatasetError(f"no map {path}")
        self.path = path

    def projection(self) -> int:
        """The EPSG code of the ``meta`` layer's ``projectedCoordSystem``: what the map's metres are."""
        with self._database() as database:
            rows = database.execute("SELECT value FROM meta WHERE key = 'projectedCoordSystem'").fetchall()
        match = re.fullmatch(r"(?i)epsg:(\d+)", str(rows[0][0]).strip()) if rows else None
        if match is None or not is_utm(int(match[1])):
            raise DatasetError(
                f"map {self.path}: projectedCoordSystem is {rows}, expected EPSG:326xx or EPSG:327xx (UTM)"
            )
        return int(match[1])

    def layer(self, name: str) -> list[Feature]:
        """All rows of a layer, in the order of their ids, without those that have no geometry.

        Raises:
            DatasetError: no such layer, or a geometry or a coordinate system that cannot be read.
        """
        target = self.projection()
        with self._database() as database:
            column, source = self._geometry_column(database, name)
            cursor = database.execute(f'SELECT * FROM "{name}"')  # a name from the file's own table
            keys = [entry[0] for entry in cursor.description]
            key = self._key(database, name)
            rows = [dict(zip(keys, row)) for row in cursor]
        rows = sorted((row for row in rows if row[column] is not None), key=lambda row: row[key])
        shapes = [self._geometry(row.pop(column), name, row[key]) for row in rows]
        shapes = self._metres(shapes, source, target, name)
        return [Feature(str(row[key]), row, shape) for row, shape in zip(rows, shapes)]

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(f"{self.path.resolve().as_uri()}?mode=ro", uri=True)) as database:
                yield database
        except sqlite3.Error as error:
            raise DatasetError(f"map {self.path} is not a GeoPackage that can be read: {error}") from None

    def _geometry_column(self, database: sqlite3.Connection, name: str) -> tuple[str, int]:
        """The column and the EPSG code of a layer."""
        query = (
            "SELECT table_name, column_name, organization_coordsys_id FROM gpkg_geometry_columns "
            "LEFT JOIN gpkg_spatial_ref_sys USING (srs_id)"
        )
        layers = {table: (column, epsg) for table, column, epsg in database.execute(query)}
        if name not in layers:
            raise DatasetError(f"map {self.path} has no layer {name!r}; it has {', '.join(sorted(layers))}")
        return layers[name]

    @staticmethod
    def _key(database: sqlite3.Connection, name: str) -> str:
        info = database.execute(f'PRAGMA table_info("{name}")')
        return next((column for _, column, _, _, _, primary in info if primary), "fid")

    def _geometry(self, blob: object, layer: str, id: object) -> BaseGeometry:
        """Behind GP, version, flags, coordinate system and envelope comes WKB."""
        where = f"map {self.path}, layer {layer}, row {id}"
        if not isinstance(blob, bytes) or len(blob) < 8 or blob[:2] != b"GP":
            raise DatasetError(f"{where}: no GeoPackage geometry")
        envelope = ENVELOPE_BYTES.get((blob[3] >> 1) & 7)
        if envelope is None:
            raise DatasetError(f"{where}: envelope code {(blob[3] >> 1) & 7} does not exist")
        try:
            return shapely.force_2d(shapely.from_wkb(blob[8 + envelope :]))
        except shapely.errors.ShapelyError as error:
            raise DatasetError(f"{where}: {error}") from None

    def _metres(self, shapes: list[BaseGeometry], source: int, target: int, layer: str) -> list[BaseGeometry]:
        if source == target or not shapes:
            return shapes
        if source != DEGREES:
            raise DatasetError(
                f"map {self.path}, layer {layer}: found EPSG:{source}, expected EPSG:{DEGREES} or EPSG:{target}"
            )
        return list(shapely.transform(np.array(shapes, object), lambda points: utm(points, target)))
