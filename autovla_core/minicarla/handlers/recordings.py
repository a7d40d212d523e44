"""Calls of the recorder and the replayer."""

from __future__ import annotations

from autovla_core.minicarla.recorder import reports
from autovla_core.minicarla.recorder.replayer import ReplayOptions, length_s
from autovla_core.minicarla.simulation import Session
from autovla_core.minicarla.wire import values

SLOWEST, FASTEST = 0.0, 100.0  # of the replay's time factor


def start(session: Session, name: object, additional_data: object = False, *ignored: object) -> str:
    """What CARLA calls additional data is always recorded, as far as minicarla has it."""
    path = session.simulation.recordings.start(session.world, values.text(name, "name of a recording"))
    return f"Recording to file: {path}"


def stop(session: Session) -> None:
    session.simulation.recordings.stop()


def replay(
    session: Session,
    name: object,
    start_s: object = 0.0,
    duration_s: object = 0.0,
    follow: object = 0,
    *ignored: object,
) -> str:
    """Sensors are not recorded, so the argument that asks to replay them changes nothing."""
    recordings, wanted = session.simulation.recordings, values.text(name, "name of a recording")
    begin = values.number(start_s, "start of the replay")
    if begin < 0.0:
        with recordings.reader(wanted) as reader:
            begin = max(0.0, length_s(reader) + begin)
    options = ReplayOptions(begin, values.number(duration_s, "duration"), values.integer(follow, "actor to follow"))
    return recordings.replay(session.world, wanted, options)


def stop_replay(session: Session, keep_actors: object = True) -> None:
    session.simulation.recordings.stop_replay(session.world, bool(keep_actors))


def set_time_factor(session: Session, factor: object) -> None:
    wanted = values.number(factor, "time factor")
    if not SLOWEST <= wanted <= FASTEST:
        raise values.WireValueError(f"the time factor of a replay lies in {SLOWEST:g}..{FASTEST:g}; found {wanted}")
    session.simulation.recordings.time_factor = wanted


def ignore_hero(session: Session, ignored: object) -> None:
    session.simulation.recordings.ignore_hero = bool(ignored)


def ignore_spectator(session: Session, ignored: object) -> None:
    session.simulation.recordings.ignore_spectator = bool(ignored)


def file_info(session: Session, name: object, show_all: object = False) -> str:
    with session.simulation.recordings.reader(values.text(name, "name of a recording")) as reader:
        return reports.file_info(reader, bool(show_all))


def collisions(session: Session, name: object, first: object = "a", second: object = "a") -> str:
    with session.simulation.recordings.reader(values.text(name, "name of a recording")) as reader:
        return reports.collisions(reader, _kind(first), _kind(second))


def blocked(session: Session, name: object, min_time_s: object = 30.0, min_distance_cm: object = 100.0) -> str:
    times = values.number(min_time_s, "time"), values.number(min_distance_cm, "distance")
    with session.simulation.recordings.reader(values.text(name, "name of a recording")) as reader:
        return reports.blocked(reader, *times)


def _kind(letter: object) -> str:
    """A char travels as a number or as a string."""
    found = chr(letter & 127) if isinstance(letter, int) and not isinstance(letter, bool) else letter
    if not isinstance(found, str) or len(found) != 1 or found not in reports.KINDS:
        raise values.WireValueError(f"a kind of actor is one of {', '.join(reports.KINDS)}; found {letter!r:.20}")
    return found
