"""What ``--subset`` and ``--seeds`` ask for; a word that names nothing is an error, never left out in silence."""

from __future__ import annotations

from collections.abc import Sequence

from autovla_core.errors import RouteError
from autovla_core.evaluation.route_file import Route

SHOWN = 60  # ids that an error lists


def choose(routes: Sequence[Route], subset: str) -> list[Route]:
    """Routes in their order: all for "", else ids and ranges of them in the file's order, "12,40-55,7".

    Raises:
        RouteError: an id that no route has, or a range from a later route to an earlier one.
    """
    if not subset.strip():
        return list(routes)
    ids = [route.id for route in routes]
    wanted = {id for part in subset.split(",") for id in _range(part.strip(), ids)}
    return [route for route in routes if route.id in wanted]


def seeds_of(text: str) -> list[int]:
    """Whole numbers from 0 on, "0,1,2"; one may be asked for twice.

    Raises:
        RouteError: anything else.
    """
    parts = [part.strip() for part in text.split(",")]
    for part in parts:
        if not (part.isascii() and part.isdigit()):
            raise RouteError(f"found seed {part!r} in {text!r}, expected whole numbers from 0 on, such as 0,1,2")
    return [int(part) for part in parts]


def _range(part: str, ids: Sequence[str]) -> Sequence[str]:
    if part in ids:  # before ranges: an id may hold a hyphen
        return [part]
    first, hyphen, last = part.partition("-")
    for id in (first, last) if hyphen else (first,):
        if id not in ids:
            more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
            raise RouteError(f"no route has the id {id!r}; the file has {', '.join(ids[:SHOWN])}{more}")
    start, end = ids.index(first), ids.index(last)
    if start > end:
        raise RouteError(f"found range {part!r}, but route {first} comes after route {last} in the file")
    return ids[start : end + 1]
