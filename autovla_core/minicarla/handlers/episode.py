"""Calls about the server, its maps, the episode, time, weather and the registry of Traffic Managers."""

from __future__ import annotations

import logging

from autovla_core.minicarla import town_aliases
from autovla_core.minicarla.blueprints import BLUEPRINTS
from autovla_core.minicarla.simulation import MAPS, Session, TrafficManager
from autovla_core.minicarla.wire import stream, values
from autovla_core.minicarla.world.layout import TownError

logger = logging.getLogger(__name__)

VERSION = "0.9.16"
MOST_PORT = (1 << 16) - 1


def version(session: Session) -> str:
    return VERSION


def available_maps(session: Session) -> list[str]:
    return session.simulation.maps()


def episode_info(session: Session) -> list:
    """Id of the episode and the token of the world's stream.

    Just after a load the real server still names the old one. Only a snapshot with another id makes the client's
    Traffic Manager take up another map; told the new id at once, it would drive on by the map of the old town.
    While it does so a further load can crash the client, so a reload of the same map spares it that.
    """
    episode = session.world.episode_id if session.believes is None else session.believes
    return [episode, sensor_token(session, stream.WORLD_STREAM_ID)]


def map_info(session: Session) -> list:
    town = session.world.town
    return [MAPS + town.name, [values.pose(point[:3], point[3:]) for point in town.spawn_points]]


def map_data(session: Session) -> str:
    return session.world.town.xodr


def load_episode(session: Session, name: object, reset_settings: object = True, layers: object = 0) -> None:
    """Load a map; the refusal begins with the words of the real server: Map 'X' not found."""
    wanted = values.text(name, "map name")
    try:
        session.simulation.load(wanted, bool(reset_settings))
    except TownError as error:
        raise TownError(f"{error}{town_aliases.hint(wanted)}") from None


def upload_opendrive(session: Session, xodr: object, parameters: object = None) -> None:
    """Keep a map for a following ``load_new_episode("OpenDriveMap")``."""
    session.simulation.uploaded_xodr = values.text(xodr, "OpenDRIVE text")


def settings(session: Session) -> list:
    return values.settings(session.world.settings)


def set_settings(session: Session, wanted: object) -> int:
    """Return a tick that has, or will have, the settings.

    A Traffic Manager that steps on a snapshot which still lists a destroyed vehicle aborts the client,
    and the client steps it right after this call: so it gets a clean snapshot first (pitfall P4).
    """
    decoded = values.decode_settings(wanted)
    simulation = session.simulation
    if simulation.needs_clean_snapshot:
        simulation.tick()
    session.world.settings.update(decoded)
    return session.world.frame


def tick(session: Session) -> int:
    """An asynchronous world ticks by itself; it only says which tick comes next."""
    simulation = session.simulation
    return simulation.tick() if simulation.synchronous else session.world.frame + 1


def definitions(session: Session) -> list:
    return [values.definition(blueprint) for blueprint in BLUEPRINTS.values()]


def spectator(session: Session) -> list:
    world = session.world
    return values.actor(world.actor(world.spectator_id), session.simulation.stream_port)


def weather(session: Session) -> list:
    return values.weather(session.world.weather)


def set_weather(session: Session, wanted: object) -> None:
    session.world.weather = values.decode_weather(wanted)


def gravity(session: Session) -> float:
    return float(session.world.gravity)


def set_gravity(session: Session, wanted: object) -> None:
    session.world.gravity = values.number(wanted, "gravity")


def sensor_token(session: Session, stream_id: object) -> list:
    return [stream.token(values.unsigned(stream_id, "stream id"), session.simulation.stream_port)]


# ------------------------------------------------------------------- saved states: not in CARLA


def save_state(session: Session) -> int:
    return session.simulation.save_state()


def restore_state(session: Session, number: object) -> None:
    session.simulation.restore_state(values.integer(number, "saved state"))


def forget_state(session: Session, number: object) -> None:
    session.simulation.forget_state(values.integer(number, "saved state"))


def pause_cameras(session: Session, paused: object) -> None:
    session.simulation.sensors.cameras_paused = bool(values.integer(paused, "paused"))


# ------------------------------------------------------------------- registry of Traffic Managers


def is_traffic_manager_running(session: Session, port: object) -> bool:
    return values.integer(port, "port") in session.simulation.traffic_managers


def traffic_manager_running(session: Session, port: object) -> list:
    manager = session.simulation.traffic_managers.get(values.integer(port, "port"))
    return ["", 0] if manager is None else [manager.host, port]


def add_traffic_manager(session: Session, endpoint: object) -> bool:
    """Register (host, port), until this client leaves; False if the port is taken."""
    host, port = values.fields_of(endpoint, 2, "Traffic Manager")
    port = values.integer(port, "port", 1, MOST_PORT)
    if port in session.simulation.traffic_managers:
        return False
    session.simulation.traffic_managers[port] = TrafficManager(values.text(host, "host")[:255], session)
    return True


def remove_traffic_manager(session: Session, port: object) -> bool:
    """Any client may, as in CARLA; who registers the port next owns it."""
    return session.simulation.traffic_managers.pop(values.integer(port, "port"), None) is not None
