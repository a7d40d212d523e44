"""Writes a Network as OpenDRIVE 1.4 text. Standard library only."""

from __future__ import annotations

from collections.abc import Iterator

from autovla_core.minicarla.world.opendrive import (
    LIGHT,
    SPEED_LIMIT,
    STOP,
    YIELD,
    Junction,
    Network,
    Road,
)
from autovla_core.minicarla.world.opendrive_geometry import Cubic, number

SIGNAL_NAMES = {LIGHT: "Signal_3Light_Post01", STOP: "Sign_Stop", YIELD: "Sign_Yield", SPEED_LIMIT: "Speed_Limit"}
REFERENCE_S_M = 0.5  # of a light on the connecting roads behind it
GEO_REFERENCE = "+proj=tmerc +lat_0=0 +lon_0=0 +k=1 +x_0=0 +y_0=0 +datum=WGS84 +units=m +no_defs"


def to_xml(network: Network) -> str:
    """Return the OpenDRIVE text."""
    parts = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        "<OpenDRIVE>",
        f'<header revMajor="1" revMinor="4" name="{network.name}" version="1" vendor="AutoVLA for CARLA">',
        f"<geoReference><![CDATA[{GEO_REFERENCE}]]></geoReference>",
        "</header>",
    ]
    for road in network.roads:
        parts.extend(_road_xml(road))
    for controller, signals in network.controllers.items():
        controls = "".join(f'<control signalId="{i}" type="0"/>' for i in signals)
        parts.append(f'<controller name="ctrl{controller}" id="{controller}" sequence="0">{controls}</controller>')
    for junction in network.junctions:
        parts.extend(_junction_xml(junction))
    return "\n".join([*parts, "</OpenDRIVE>", ""])


def _road_xml(road: Road) -> Iterator[str]:
    yield f'<road name="{road.name}" length="{number(road.length)}" id="{road.id}" junction="{road.junction}">'
    yield "<link>"
    for tag, link in (("predecessor", road.predecessor), ("successor", road.successor)):
        if link:
            contact = f' contactPoint="{link[2]}"' if link[2] else ""
            yield f'<{tag} elementType="{link[0]}" elementId="{link[1]}"{contact}/>'
    yield "</link>"
    yield f'<type s="0" type="{road.kind}"><speed max="{number(road.speed_kmh)}" unit="km/h"/></type>'
    yield "<planView>"
    s = 0.0
    for piece, pose in zip(road.geometry, road.poses, strict=False):
        place = f's="{number(s)}" x="{number(pose.x)}" y="{number(pose.y)}" hdg="{number(pose.heading)}"'
        yield f'<geometry {place} length="{number(piece.length)}">{piece.xml()}</geometry>'
        s += piece.length
    yield "</planView>"
    heights = "".join(f'<elevation s="{number(s)}" {_cubic_xml(cubic)}/>' for s, cubic in road.elevation)
    yield f"<elevationProfile>{heights}</elevationProfile>"
    yield "<lateralProfile/>"
    yield from _lanes_xml(road)
    yield from _crosswalks_xml(road)
    yield from _signals_xml(road)
    yield "</road>"


def _cubic_xml(cubic: Cubic) -> str:
    return " ".join(f'{name}="{number(value)}"' for name, value in zip("abcd", cubic, strict=True))


def _lanes_xml(road: Road) -> Iterator[str]:
    yield '<lanes><laneOffset s="0" a="0" b="0" c="0" d="0"/><laneSection s="0">'
    ids = sorted(road.lanes, reverse=True)
    for side, chosen in (
        ("left", [i for i in ids if i > 0]),
        ("center", [0]),
        ("right", [i for i in ids if i < 0]),
    ):
        if chosen:
            yield f"<{side}>"
            yield from (_lane_xml(road, lane) for lane in chosen)
            yield f"</{side}>"
    yield "</laneSection></lanes>"


def _lane_xml(road: Road, lane: int) -> str:
    spec = road.lanes[lane]
    inner = ""
    if lane:
        ends = zip(("predecessor", "successor"), road.lane_links.get(lane, (None, None)), strict=True)
        links = "".join(f'<{tag} id="{other}"/>' for tag, other in ends if other is not None)
        inner = f'<link>{links}</link><width sOffset="0" {_cubic_xml(spec.width)}/>'
    mark = f'type="{spec.mark}" weight="standard" color="{spec.color}" width="0.12" laneChange="{spec.lane_change}"'
    return f'<lane id="{lane}" type="{spec.type}" level="false">{inner}<roadMark sOffset="0" {mark}/></lane>'


def _crosswalks_xml(road: Road) -> Iterator[str]:
    if not road.crosswalks:
        return
    yield "<objects>"
    for count, (s, u0, u1, t0, t1) in enumerate(road.crosswalks):
        corners = ((u0, t0), (u1, t0), (u1, t1), (u0, t1), (u0, t0))
        outline = "".join(f'<cornerLocal u="{number(u)}" v="{number(t)}" z="0"/>' for u, t in corners)
        yield (
            f'<object id="{road.id * 100 + count}" name="SimpleCrosswalk" type="crosswalk" s="{number(s)}" t="0" '
            'zOffset="0" hdg="0" roll="0" pitch="0" orientation="none" width="1" length="1">'
            f"<outline>{outline}</outline></object>"
        )
    yield "</objects>"


def _signals_xml(road: Road) -> Iterator[str]:
    if not road.signals and not road.references:
        return
    yield "<signals>"
    for x in road.signals:
        yield (
            f'<signal name="{SIGNAL_NAMES[x.type]}" id="{x.id}" s="{number(x.s)}" t="{number(x.t)}" zOffset="0" '
            f'hOffset="0" roll="0" pitch="0" orientation="{x.orientation}" '
            f'dynamic="{"yes" if x.type == LIGHT else "no"}" country="OpenDRIVE" type="{x.type}" subtype="-1" '
            f'value="{number(x.value)}" text="" height="1" width="0.5">'
            f'<validity fromLane="{x.lanes[0]}" toLane="{x.lanes[1]}"/></signal>'
        )
    for signal in road.references:
        yield (
            f'<signalReference id="{signal}" s="{number(REFERENCE_S_M)}" t="0" orientation="+">'
            '<validity fromLane="-1" toLane="-1"/></signalReference>'
        )
    yield "</signals>"


def _junction_xml(junction: Junction) -> Iterator[str]:
    yield f'<junction name="{junction.name}" id="{junction.id}">'
    for count, ((road, _), lane, connecting) in enumerate(junction.connections):
        yield (
            f'<connection id="{count}" incomingRoad="{road.id}" connectingRoad="{connecting.id}" '
            f'contactPoint="start"><laneLink from="{lane}" to="-1"/></connection>'
        )
    for sequence, controller in enumerate(junction.controllers):
        yield f'<controller id="{controller}" type="0" sequence="{sequence}"/>'
    yield "</junction>"
