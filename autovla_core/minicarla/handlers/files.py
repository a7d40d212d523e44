"""Calls for files that the client keeps on its disk: here the navigation mesh of its walkers, and no other."""

from __future__ import annotations

from autovla_core.errors import AutoVLAError
from autovla_core.minicarla.simulation import Session
from autovla_core.minicarla.wire import values

NAVIGATION_FOLDER = "Nav"


class UnknownFile(AutoVLAError):
    """A client asks for a file that is not served."""


def required_files(session: Session, folder: object = "") -> list[str]:
    """The client asks for the map itself and builds the Traffic Manager's graph itself; only walkers need a file."""
    return [session.simulation.navigation_file()] if folder == NAVIGATION_FOLDER else []


def request_file(session: Session, name: object) -> bytes:
    """The bytes of a file that ``required_files`` named.

    Raises:
        UnknownFile: any other name.
    """
    wanted, served = values.text(name, "file name"), session.simulation.navigation_file()
    if wanted != served:
        raise UnknownFile(f"file {wanted!r:.80} is not served; served is {served}")
    return session.simulation.navigation_mesh()


def navigation_mesh(session: Session) -> bytes:
    return session.simulation.navigation_mesh()
