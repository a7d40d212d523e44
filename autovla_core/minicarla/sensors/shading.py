"""Numba kernels: the colour of every pixel, from what its samples see.

A pixel of 2 x 2 samples is shaded once per surface in it, not once per sample: edges are smooth and
flat areas cost one evaluation. No fastmath, see raster.py.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from autovla_core.minicarla.sensors.raster import compiled, inlined
from autovla_core.minicarla.sensors.sky import CURVE_RANGE

# numba folds module constants into the code; these are the numbers of mesh.Material
FLAT, GRASS, ASPHALT, FACADE, PAVING, LEAF, PAINT, GLASS, EMISSIVE, MARKING = range(10)
FIRST_LAMP = 32  # materials from here on are lamps; Instances.lamps says how bright each is
SAMPLES = 2  # per side of a pixel
AWAY = float(1 << 24)  # a multiple of the noise tile
STOREY_M, BAY_M = 3.2, 3.0
SHADOW_BIAS_M, SHADOW_OFFSET_M = 0.15, 0.40  # towards the sun; off the surface where its light grazes
FAR_LAMP_M = 60.0


class Surfaces(NamedTuple):
    """All triangles, static ones first."""

    corners: np.ndarray  # (n, 3, 3) float32
    normals: np.ndarray  # (n, 3, 3) float32, of the corners
    colors: np.ndarray  # (n, 3) float32
    materials: np.ndarray  # (n,) uint8
    tags: np.ndarray  # (n,) uint8; 0 in a template = the instance's tag


class Instances(NamedTuple):
    """Placed templates."""

    turns: np.ndarray  # (m, 3, 3) world_from_instance
    places: np.ndarray  # (m, 3)
    tints: np.ndarray  # (m, 3) linear
    lamps: np.ndarray  # (m, LAMPS) brightness of each lamp material
    tags: np.ndarray  # (m,) uint8
    ids: np.ndarray  # (m,) int64 actor ids


class Beams(NamedTuple):
    """Headlight beams near the camera."""

    origins: np.ndarray  # (k, 3)
    forward: np.ndarray  # (k, 3) unit, level
    power: np.ndarray  # (k,)


class Shadow(NamedTuple):
    """Heights towards the sun of the first thing that its rays meet."""

    texel_from_world: np.ndarray  # (3, 4)
    heights: np.ndarray  # (size, size) uint16
    steps_per_m: float


@inlined
def _noise(noise, x, y):
    """Bilinear look-up in a repeating tile."""
    x += AWAY  # truncation is then the floor, and the index cannot be negative
    y += AWAY
    xi, yi = int(x), int(y)
    u, v = x - xi, y - yi
    i, j = np.uintp(xi & 255), np.uintp(yi & 255)
    k, m = np.uintp((xi + 1) & 255), np.uintp((yi + 1) & 255)
    low = noise[j, i] + u * (noise[j, k] - noise[j, i])
    high = noise[m, i] + u * (noise[m, k] - noise[m, i])
    return low + v * (high - low)


@inlined
def _hash(a, b):
    """A number in 0..1 that depends on two integers."""
    h = (a * 374761393 + b * 668265263) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0xFFFFFFFF
    return ((h ^ (h >> 16)) & 0xFFFF) / 65535.0


@inlined
def _sky_column(sky, x, y):
    """Column (with fraction) of the direction around; the last column repeats the first."""
    diamond = y / (abs(x) + abs(y) + 1e-12)  # a cheap stand-in for the angle
    around = 2.0 - diamond if x < 0 else diamond
    return (around + 1.0) * 0.25 * (sky.shape[1] - 1)


@inlined
def _sky_pixel(light, x, y, z):
    """The sky in the unit direction (x, y, z) as the camera sees it, with the sun's glare; (r, g, b)."""
    sky = light.sky
    u, v = _sky_column(sky, x, y), (1.0 - z) * 0.5 * (sky.shape[0] - 1.001)
    ui, vi = int(u), int(v)
    u, v = u - ui, v - vi
    i, j = np.uintp(ui), np.uintp(vi)
    k, m = i + np.uintp(1), j + np.uintp(1)
    a, b, c, d = (1.0 - u) * (1.0 - v), u * (1.0 - v), (1.0 - u) * v, u * v
    red = a * sky[j, i, 0] + b * sky[j, k, 0] + c * sky[m, i, 0] + d * sky[m, k, 0]
    green = a * sky[j, i, 1] + b * sky[j, k, 1] + c * sky[m, i, 1] + d * sky[m, k, 1]
    blue = a * sky[j, i, 2] + b * sky[j, k, 2] + c * sky[m, i, 2] + d * sky[m, k, 2]
    if light.disc > 0:
        toward = x * light.sun[0] + y * light.sun[1] + z * light.sun[2]
        if toward > 0.9:
            q = (toward - 0.9) * 10.0
            q = q * q
            q = q * q * q
            glare = light.disc * (0.35 * q + (2.0 if toward > 0.9995 else 0.0))
            red, green = red + glare * light.sun_color[0], green + glare * light.sun_color[1]
            blue += glare * light.sun_color[2]
    return red, green, blue


@inlined
def _sky_mirrored(light, x, y, z):
    """The sky in a unit direction, nearest texel; near the horizon houses and trees hide it."""
    sky = light.sky
    i = np.uintp(int(_sky_column(sky, x, y)))
    j = np.uintp(int((1.0 - max(z, 0.02)) * 0.5 * (sky.shape[0] - 1)))
    seen = min(1.0, max(0.25, 0.35 + 4.0 * z))
    return sky[j, i, 0] * seen, sky[j, i, 1] * seen, sky[j, i, 2] * seen


@inlined
def _sunlit(shadow, x, y, z):
    """Share of the sun's light that arrives, 0..1: a square of two texels' side, weighed by area."""
    m = shadow.texel_from_world
    u = m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3]
    v = m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3]
    size = shadow.heights.shape[0]
    if not (u >= 1.0 and v >= 1.0 and u < size - 1.0 and v < size - 1.0):
        return 1.0
    ui, vi = int(u), int(v)
    u, v = u - ui, v - vi
    own = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3] + shadow.steps_per_m * SHADOW_BIAS_M
    total = 0.0
    for dv in range(3):
        j = np.uintp(vi - 1 + dv)
        row = 0.0
        i = np.uintp(ui - 1)
        if shadow.heights[j, i] < own:
            row += 1.0 - u
        if shadow.heights[j, i + np.uintp(1)] < own:
            row += 1.0
        if shadow.heights[j, i + np.uintp(2)] < own:
            row += u
        total += row * ((1.0 - v) if dv == 0 else (1.0 if dv == 1 else v))
    return 0.25 * total


@inlined
def _beam_light(beams, x, y, z, nx, ny, nz):
    """Brightness that headlights add at a point."""
    total = 0.0
    for k in range(beams.power.shape[0]):
        dx, dy, dz = x - beams.origins[k, 0], y - beams.origins[k, 1], z - beams.origins[k, 2]
        ahead = dx * beams.forward[k, 0] + dy * beams.forward[k, 1] + dz * beams.forward[k, 2]
        if ahead < 0.2 or ahead > FAR_LAMP_M:
            continue
        aside = abs(dy * beams.forward[k, 0] - dx * beams.forward[k, 1])
        above = dz - 0.01 * ahead
        across = aside / (0.9 + 0.42 * ahead)
        if across > 1.0 or above > 0.9:
            continue
        facing = -(nx * dx + ny * dy + nz * dz) / math.sqrt(dx * dx + dy * dy + dz * dz)
        if facing <= 0.0:
            continue
        cut = 1.0 if above < 0.1 else 1.0 - (above - 0.1) / 0.8  # a low beam lights no tree tops
        spread = 1.0 - across * across
        total += beams.power[k] * spread * spread * cut * (0.35 + 0.65 * facing) / (1.0 + 0.012 * ahead * ahead)
    return total


@inlined
def _lamp_light(light, x, y, z, nz):
    """(r, g, b) that street lamps add at a point: the pools below them, up to the height of their heads."""
    pools = light.pools
    u, v = x - light.pools_corner[0], y - light.pools_corner[1]
    if not (u >= 0.0 and v >= 0.0 and u < pools.shape[1] - 1.0 and v < pools.shape[0] - 1.0):
        return 0.0, 0.0, 0.0
    ui, vi = int(u), int(v)
    u, v = u - ui, v - vi
    i, j = np.uintp(ui), np.uintp(vi)
    k, m = i + np.uintp(1), j + np.uintp(1)
    a, b, c, d = (1.0 - u) * (1.0 - v), u * (1.0 - v), (1.0 - u) * v, u * v
    top = max(max(pools[j, i, 3], pools[j, k, 3]), max(pools[m, i, 3], pools[m, k, 3]))
    q = light.night * min(1.0, max(0.0, top - z)) * (0.3 + 0.7 * max(nz, 0.0))
    return (
        q * (a * pools[j, i, 0] + b * pools[j, k, 0] + c * pools[m, i, 0] + d * pools[m, k, 0]),
        q * (a * pools[j, i, 1] + b * pools[j, k, 1] + c * pools[m, i, 1] + d * pools[m, k, 1]),
        q * (a * pools[j, i, 2] + b * pools[j, k, 2] + c * pools[m, i, 2] + d * pools[m, k, 2]),
    )


@inlined
def _asphalt(noise, x, y, density):
    """Brightness: stains that are metres wide, grain that is seen near the camera."""
    q = 0.84 + 0.32 * _noise(noise, x * 0.19, y * 0.19)
    fine = density * 0.03
    if fine > 0.12:
        q += 0.34 * (_noise(noise, x * 17.0, y * 17.0) - 0.5) * min(1.0, fine)
        if fine > 1.2:
            q += 0.30 * (_noise(noise, x * 61.0, y * 61.0) - 0.5) * min(1.0, 0.5 * (fine - 1.2))
    return q


@inlined
def _facade(noise, x, y, z, nx, ny, nz, night, r, g, b, density):
    """Walls with windows in storeys and bays, shops below, gravel on the roof: (r, g, b, mirror, glow)."""
    if abs(nz) > 0.5:
        q = 0.22 * (0.8 + 0.4 * _noise(noise, x * 1.3, y * 1.3))
        return q, q, q, 0.0, 0.0
    along = y * nx - x * ny
    u, v = along / BAY_M, z / STOREY_M
    bay, storey = math.floor(u), math.floor(v)
    u, v = u - bay, v - storey
    chance = _hash(int(bay), int(storey) * 57 + int(nx * 7.0))
    clear = min(1.0, 0.55 * density)  # windows of less than a pixel melt into the wall
    ground = storey < 1.0
    if ground:
        inside = u > 0.07 and u < 0.93 and v > 0.12 and v < 0.74
        share = 0.5
    else:
        inside = u > 0.27 and u < 0.77 and v > 0.26 and v < 0.80
        share = 0.27
    pane = clear * (1.0 if inside else 0.0) + (1.0 - clear) * share
    wall = 0.94 + 0.12 * _noise(noise, along * 0.9, z * 0.9) if density > 3.0 else 1.0
    if density > 5.0:
        if ground and v > 0.78 and v < 0.93:  # the shop's sign board
            hue = _hash(int(math.floor(along / 9.0)), 5)
            return 0.10 + 0.35 * hue, 0.12 + 0.22 * (1.0 - hue), 0.10 + 0.4 * abs(hue - 0.5), 0.05, 0.25 * night
        if not ground and v < 0.045:
            wall *= 0.78  # a ledge between storeys
        if inside and density > 9.0:
            middle = abs(u - 0.52) < 0.013 or (not ground and abs(v - 0.60) < 0.010)
            rim = not ground and (u < 0.29 or u > 0.75 or v < 0.285 or v > 0.775)
            if middle or rim:
                return 0.62 * wall, 0.61 * wall, 0.58 * wall, 0.0, 0.0
    blind = 0.25 if chance > 0.75 and v > 0.52 and not ground else 0.0
    wr, wg, wb = 0.035 + 0.05 * chance + blind, 0.045 + 0.06 * chance + blind, 0.06 + 0.08 * chance + 0.8 * blind
    foot = 0.75 + 0.25 * min(1.0, max(0.0, z) * 0.7)  # dirt and missing skylight near the pavement
    r, g, b = (
        r * wall * foot * (1 - pane) + wr * pane,
        g * wall * foot * (1 - pane) + wg * pane,
        b * wall * foot * (1 - pane) + wb * pane,
    )
    glow = (
        night * pane * 0.55 * (0.5 + chance) if night > 0.0 and (chance > 0.62 or (ground and chance > 0.35)) else 0.0
    )
    return r, g, b, 0.30 * pane * (1.0 - blind), glow


@inlined
def _material(material, noise, light, x, y, z, nx, ny, nz, r, g, b, tints, instance, density):
    """What a surface is made of at a point: (r, g, b, mirror at right angles, mirror at grazing, shine, glow).

    density: pixels per metre across the ray, so that detail below a pixel is left out.
    """
    if material in (ASPHALT, MARKING):
        q = _asphalt(noise, x, y, density)
        if material == MARKING:
            q = min(1.0, 0.62 + 0.4 * q)
        q *= 1.0 - 0.42 * light.wet
        mirror, grazing = 0.06 * light.wet, 0.45 * light.wet
        if light.puddles > 0.0:
            depth = _noise(noise, x * 0.23 + 9.0, y * 0.23) * 0.75 + 0.25 * _noise(noise, x * 1.1, y * 1.1)
            pool = min(1.0, max(0.0, (depth - 0.86 + 0.36 * light.puddles) * 8.0))
            q *= 1.0 - 0.5 * pool
            mirror, grazing = mirror + pool * 0.12, grazing + pool * (0.95 - grazing)
        return r * q, g * q, b * q, mirror, grazing, 0.0, 0.0
    if material == GRASS:
        broad = _noise(noise, x * 0.4, y * 0.4)
        q = 0.72 + 0.5 * broad
        fine = density * 0.08
        if fine > 0.12:
            q += 0.5 * (_noise(noise, x * 7.0, y * 7.0) - 0.5) * min(1.0, fine)
        return r * q * (0.88 + 0.38 * broad), g * q * 0.86, b * q * 0.95, 0.0, 0.0, 0.0, 0.0
    if material == FACADE:
        r, g, b, mirror, glow = _facade(noise, x, y, z, nx, ny, nz, light.night, r, g, b, density)
        return r, g, b, mirror, 0.9 * (mirror > 0.0), 0.0, glow
    if material == PAVING:
        u, v = x * 1.25, y * 1.25
        i, j = math.floor(u), math.floor(v)
        q = 0.90 + 0.14 * _hash(int(i), int(j)) + 0.1 * (_noise(noise, x * 0.5, y * 0.5) - 0.5)
        if u - i < 0.03 or v - j < 0.03:
            q *= 1.0 - 0.30 * min(1.0, 0.03 * density)
        q *= 1.0 - 0.3 * light.wet
        return r * q, g * q, b * q, 0.04 * light.wet, 0.45 * light.wet, 0.0, 0.0
    if material == LEAF:
        q = 0.62 + 0.76 * _noise(noise, (x + z) * 3.1, (y - z * 0.7) * 3.1)
        fine = density * 0.05
        if fine > 0.3:
            q += 0.9 * (_noise(noise, (x - y) * 9.0 + z * 2.0, z * 11.0 + y * 5.0) - 0.5) * min(1.0, fine - 0.3)
        return r * q, g * q, b * q, 0.0, 0.0, 0.0, 0.0
    if material == PAINT:
        if instance >= 0:
            r, g, b = r * tints[instance, 0], g * tints[instance, 1], b * tints[instance, 2]
        return r, g, b, 0.05, 0.75, 0.7, 0.0
    if material == GLASS:
        return r, g, b, 0.14, 0.9, 1.0, 0.0
    if material == EMISSIVE:
        return r, g, b, 0.0, 0.0, 0.0, 1.0
    return r, g, b, 0.0, 0.0, 0.0, 0.0


@inlined
def _surface_pixel(surfaces, instances, light, shadow, beams, noise, eye, buffers, record, px, py, near, focal, ray):
    """Colour (r, g, b) of the triangle of a record at the sample position (px, py), 1 / distance ``near``.

    focal in pixels; ray (x, y, z, length) has a length of 1 along the optical axis.
    """
    t, instance = buffers.triangle[record], buffers.instance[record]
    static = instance < 0
    distance = 1.0 / near
    density = near * focal  # pixels per metre
    dx, dy, dz, length = ray
    x, y, z = eye[0] + dx * distance, eye[1] + dy * distance, eye[2] + dz * distance
    material = surfaces.materials[t]
    n = surfaces.normals
    if static and material != LEAF:
        nx, ny, nz = float(n[t, 0, 0]), float(n[t, 0, 1]), float(n[t, 0, 2])
    else:
        e = buffers.edges
        b1 = distance * (e[record, 0] * px + e[record, 1] * py + e[record, 2])
        b2 = distance * (e[record, 3] * px + e[record, 4] * py + e[record, 5])
        b0 = 1.0 - b1 - b2
        a = b0 * n[t, 0, 0] + b1 * n[t, 1, 0] + b2 * n[t, 2, 0]
        b = b0 * n[t, 0, 1] + b1 * n[t, 1, 1] + b2 * n[t, 2, 1]
        c = b0 * n[t, 0, 2] + b1 * n[t, 1, 2] + b2 * n[t, 2, 2]
        if not static:
            turn = instances.turns
            a, b, c = (
                turn[instance, 0, 0] * a + turn[instance, 0, 1] * b + turn[instance, 0, 2] * c,
                turn[instance, 1, 0] * a + turn[instance, 1, 1] * b + turn[instance, 1, 2] * c,
                turn[instance, 2, 0] * a + turn[instance, 2, 1] * b + turn[instance, 2, 2] * c,
            )
        q = 1.0 / math.sqrt(a * a + b * b + c * c + 1e-12)
        nx, ny, nz = a * q, b * q, c * q
    r, g, b = float(surfaces.colors[t, 0]), float(surfaces.colors[t, 1]), float(surfaces.colors[t, 2])
    shine, mirror, grazing, glow = 0.0, 0.0, 0.0, 0.0
    if material >= FIRST_LAMP:
        level = 0.0 if static else instances.lamps[instance, material - FIRST_LAMP]
        if level > 0.0:
            return r * level, g * level, b * level
        r, g, b, shine, mirror, grazing = 0.02 + 0.20 * r, 0.02 + 0.20 * g, 0.02 + 0.20 * b, 0.5, 0.1, 0.6
    else:
        r, g, b, mirror, grazing, shine, glow = _material(
            material, noise, light, x, y, z, nx, ny, nz, r, g, b, instances.tints, instance, density
        )
    facing_sun = nx * light.sun[0] + ny * light.sun[1] + nz * light.sun[2]
    if material == LEAF:
        facing_sun = 0.25 + 0.75 * facing_sun  # light shines through leaves
    up = 0.5 + 0.5 * nz
    lr = light.ground_color[0] + (light.sky_color[0] - light.ground_color[0]) * up
    lg = light.ground_color[1] + (light.sky_color[1] - light.ground_color[1]) * up
    lb = light.ground_color[2] + (light.sky_color[2] - light.ground_color[2]) * up
    sunlit = 0.0
    if facing_sun > 0.0:
        q = SHADOW_OFFSET_M * (1.0 - min(1.0, facing_sun))
        sunlit = _sunlit(shadow, x + q * nx, y + q * ny, z + q * nz)
        q = sunlit * facing_sun
        lr, lg, lb = lr + light.sun_color[0] * q, lg + light.sun_color[1] * q, lb + light.sun_color[2] * q
    if beams.power.shape[0] > 0:
        q = _beam_light(beams, x, y, z, nx, ny, nz)
        lr, lg, lb = lr + q, lg + 0.94 * q, lb + 0.80 * q
    if light.pools.shape[0] > 0:
        pr, pg, pb = _lamp_light(light, x, y, z, nz)
        lr, lg, lb = lr + pr, lg + pg, lb + pb
    if glow > 0.0:
        if material == EMISSIVE:
            r, g, b = r * 3.0, g * 3.0, b * 3.0
        else:
            r, g, b = r * lr + glow * 0.9, g * lg + glow * 0.68, b * lb + glow * 0.36
    else:
        r, g, b = r * lr, g * lg, b * lb
    if mirror > 0.0:
        q = 1.0 / length
        dx, dy, dz = dx * q, dy * q, dz * q
        against = -(dx * nx + dy * ny + dz * nz)
        q = 1.0 - max(against, 0.0)
        q2 = q * q
        fresnel = mirror + (1.0 - mirror) * q2 * q2 * q * grazing
        rx, ry, rz = dx + 2.0 * against * nx, dy + 2.0 * against * ny, dz + 2.0 * against * nz
        if fresnel > 0.02:
            sr, sg, sb = _sky_mirrored(light, rx, ry, rz)
            r, g, b = r + fresnel * (sr - r), g + fresnel * (sg - g), b + fresnel * (sb - b)
        if shine > 0.0 and sunlit > 0.0:
            s = rx * light.sun[0] + ry * light.sun[1] + rz * light.sun[2]
            if s > 0.8:
                s = s * s
                s = s * s
                s = s * s
                s = s * s
                s = s * s
                q = shine * s * sunlit
                r, g, b = r + q * light.sun_color[0], g + q * light.sun_color[1], b + q * light.sun_color[2]
    fog = light.fog_per_m * length * distance
    fog = fog * fog / (1.0 + fog) if fog < 1.0 else fog / (1.0 + fog)
    return r + fog * (light.fog_color[0] - r), g + fog * (light.fog_color[1] - g), b + fog * (light.fog_color[2] - b)


@inlined
def _ray(view, step, px, py):
    """Direction (x, y, z, length) through a sample position; its length along the optical axis is 1."""
    u, v = (px - view.width * 0.5) * step, (view.height * 0.5 - py) * step
    dx = view.forward[0] + u * view.right[0] + v * view.up[0]
    dy = view.forward[1] + u * view.right[1] + v * view.up[1]
    dz = view.forward[2] + u * view.right[2] + v * view.up[2]
    return dx, dy, dz, math.sqrt(1.0 + u * u + v * v)


@compiled
def shade(surfaces, instances, light, shadow, beams, noise, curve, view, row0, row1, buffers, picture):
    """Write rows [row0, row1) of ``picture`` (H, W, 4) uint8 BGRA; ``buffers`` hold their samples.

    The four samples of a pixel are gathered by owner: mostly one surface, evaluated in their middle.
    """
    last_step = curve.shape[0] - 1.0
    steps = last_step / CURVE_RANGE
    step, focal = 1.0 / view.focal, view.focal / SAMPLES
    owner, depth = buffers.owner, buffers.depth
    for row in range(row0, row1):
        y = (row - row0) * SAMPLES
        for column in range(picture.shape[1]):
            x = column * SAMPLES
            red, green, blue, done = 0.0, 0.0, 0.0, 0
            for s in range(4):
                if (done >> s) & 1:
                    continue
                record = owner[y + (s >> 1), x + (s & 1)]
                near, px, py, covered = 0.0, 0.0, 0.0, 0
                for other in range(s, 4):
                    dy, dx = other >> 1, other & 1
                    if owner[y + dy, x + dx] == record:
                        done |= 1 << other
                        covered += 1
                        px, py, near = px + dx, py + dy, near + depth[y + dy, x + dx]
                share = 1.0 / covered
                px, py, near = x + 0.5 + px * share, row * SAMPLES + 0.5 + py * share, near * share
                ray = _ray(view, step, px, py)
                if record < 0:
                    q = 1.0 / ray[3]
                    r, g, b = _sky_pixel(light, ray[0] * q, ray[1] * q, ray[2] * q)
                else:
                    r, g, b = _surface_pixel(
                        surfaces, instances, light, shadow, beams, noise, view.eye, buffers, record, px, py, near,
                        focal, ray,
                    )  # fmt: skip
                weight = 0.25 * covered
                red, green, blue = red + r * weight, green + g * weight, blue + b * weight
            picture[row, column, 0] = curve[int(min(max(blue * steps, 0.0), last_step))]
            picture[row, column, 1] = curve[int(min(max(green * steps, 0.0), last_step))]
            picture[row, column, 2] = curve[int(min(max(red * steps, 0.0), last_step))]
            picture[row, column, 3] = 255


@compiled
def encode_depth(buffers, row0, row1, picture):
    """CARLA's depth: (R + 256 G + 65536 B) / (2^24 - 1) kilometres, along the optical axis; the sky is far."""
    for row in range(row0, row1):
        for column in range(picture.shape[1]):
            metres = 1000.0
            if buffers.owner[row - row0, column] >= 0:
                metres = min(1000.0, 1.0 / float(buffers.depth[row - row0, column]))
            code = int(metres / 1000.0 * 16777215.0 + 0.5)
            picture[row, column, 0] = code >> 16
            picture[row, column, 1] = (code >> 8) & 255
            picture[row, column, 2] = code & 255
            picture[row, column, 3] = 255


@compiled
def encode_tags(surfaces, instances, sky_tag, with_ids, buffers, row0, row1, picture):
    """CARLA's semantic tag in R; with ids, the actor's id in G (low byte) and B (high byte)."""
    for row in range(row0, row1):
        for column in range(picture.shape[1]):
            record = buffers.owner[row - row0, column]
            tag, actor = sky_tag, 0
            if record >= 0:
                tag = int(surfaces.tags[buffers.triangle[record]])
                instance = buffers.instance[record]
                if instance >= 0:
                    tag = tag if tag > 0 else int(instances.tags[instance])
                    actor = instances.ids[instance]
            picture[row, column, 0] = (actor >> 8) & 255 if with_ids else 0
            picture[row, column, 1] = actor & 255 if with_ids else 0
            picture[row, column, 2] = tag
            picture[row, column, 3] = 255


@compiled
def draw_rain(picture, strength, seed, brightness):
    """Streaks of falling drops, a little nearer to ``brightness`` (0..255) than what is behind them."""
    height, width = picture.shape[0], picture.shape[1]
    length = max(3, height // 9)
    streaks = int(strength * 0.35 * width * height / (length * 4.0))
    for k in range(streaks):
        x = int(_hash(seed * 7919 + k, 11) * width)
        top = int(_hash(k, seed * 104729 + 3) * (height + length)) - length
        reach = int(length * (0.4 + 0.6 * _hash(seed + k * 31, 5)))
        for step in range(reach):
            y = top + step
            if y < 0 or y >= height:
                continue
            for channel in range(3):
                value = int(picture[y, x, channel])
                if value < brightness:
                    picture[y, x, channel] = value + (brightness - value) * 22 // 100
