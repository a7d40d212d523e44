"""minicarla: a server that the unmodified client of CARLA 0.9.16 connects to, for machines without CARLA.

    python -m autovla_core.minicarla --port 2000 --town Havenbrook [--traffic 20 --seed 1]

It prints one line when it is ready and runs until SIGTERM or SIGINT. CARLA's own command line
(``-carla-rpc-port=2000 -RenderOffScreen ...``) is understood, so that an evaluator which starts
CarlaUE4.sh can start this instead.
"""

from __future__ import annotations

import argparse
import functools
import logging
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from autovla_core.errors import AutoVLAError
from autovla_core.minicarla import self_test, town_aliases
from autovla_core.minicarla.handlers.episode import VERSION
from autovla_core.minicarla.recorder.recordings import DEFAULT_FOLDER
from autovla_core.minicarla.sensors import warm
from autovla_core.minicarla.sensors.renderer import Renderer
from autovla_core.minicarla.server import Server, listen
from autovla_core.minicarla.simulation import Simulation, Traffic
from autovla_core.minicarla.world.town import TOWNS, Town

logger = logging.getLogger("minicarla")

LOOPBACK = ("127.0.0.1", "localhost", "::1")
CARLA_OPTIONS = {"-carla-rpc-port": "--port", "-carla-streaming-port": "--stream-port"}
CARLA_IGNORED = frozenset(
    [
        "-renderoffscreen",
        "-nosound",
        "-quality-level",
        "-prefernvidia",
        "-opengl",
        "-vulkan",
        "-windowed",
        "-fullscreen",
        "-resx",
        "-resy",
        "-benchmark",
        "-fps",
        "-graphicsadapter",
        "-ini",
        "-stdout",
        "-fullstdoutlogoutput",
        "-carla-server",
        "-unattended",
        "-nullrhi",
        "-carla-primary-port",
        "-carla-secondary-port",
    ]
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop; return the exit code."""
    ours, notes = translate(sys.argv[1:] if arguments is None else list(arguments))
    options = _options(ours)
    logging.basicConfig(level=_level(options), format="%(name)s %(levelname)s %(message)s", stream=sys.stderr)
    for note in notes:
        logger.warning(note)
    try:
        if options.check:
            return _check(options)
        server = _server(options)
    except AutoVLAError as error:
        sys.stderr.write(f"minicarla: {error}\n")
        return 1
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    server.run()
    return 0


def _check(options: argparse.Namespace) -> int:
    """Run the self test, without a port; return the exit code.

    Raises:
        AutoVLAError: the town does not load.
    """
    make = functools.partial(_renderer, threads=options.threads)
    town = town_aliases.resolve(options.town) if options.town_aliases else options.town
    simulation = Simulation(town, 0, make, time.time, Traffic(0, options.seed))
    sys.stdout.write(f"minicarla {VERSION} checks itself; the first time on a machine this takes a minute\n")
    well = self_test.run(simulation, sys.stdout)
    sys.stdout.write("all is well\n" if well else "something does not work, see FAILED above\n")
    return 0 if well else 1


def translate(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Turn CARLA's flags into ours; return the arguments and a sentence for each that is not known."""
    ours, notes = [], []
    for argument in arguments:
        name, _, value = argument.partition("=")
        if not argument.startswith("-") or argument.startswith("--") or argument == "-h":
            ours.append(argument)
        elif name.lower() in CARLA_OPTIONS:
            ours += [CARLA_OPTIONS[name.lower()], value]
        elif name.lower() not in CARLA_IGNORED:
            notes.append(f"unknown flag {argument!r} is ignored")
    return ours, notes


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = _parser()
    options = parser.parse_args(arguments)
    known = options.town in TOWNS or (options.town_aliases and town_aliases.nearest(options.town))
    if not known:
        hint = "" if options.town_aliases else town_aliases.hint(options.town)
        parser.error(f"argument --town: no town {options.town!r}; choose from {', '.join(TOWNS)}{hint}")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("minicarla", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=2000, help="of the calls; 0 takes a free one")
    parser.add_argument("--stream-port", type=int, help="of the streams (default: the next one)")
    parser.add_argument("--town", default=TOWNS[0], metavar="NAME", help=f"one of {', '.join(TOWNS)}")
    parser.add_argument(
        "--town-aliases", action="store_true", help="load the nearest of these when asked for Town01 to Town15 of CARLA"
    )
    parser.add_argument("--traffic", type=int, default=0, metavar="N", help="vehicles that the server drives")
    parser.add_argument("--seed", type=int, default=0, help="of that traffic and of the world")
    parser.add_argument(
        "--recordings",
        type=Path,
        default=DEFAULT_FOLDER,
        metavar="FOLDER",
        help=f"where clients may record and replay, and nowhere else (default: {DEFAULT_FOLDER})",
    )
    parser.add_argument("--check", action="store_true", help="test this installation, print versions and end")
    parser.add_argument("--threads", type=int, default=2, help="of the renderer")
    volume = parser.add_mutually_exclusive_group()
    volume.add_argument("--quiet", action="store_true", help="errors only")
    volume.add_argument("--verbose", action="store_true", help="every refused call")
    return parser


def _level(options: argparse.Namespace) -> int:
    if options.quiet:
        return logging.ERROR
    return logging.DEBUG if options.verbose else logging.WARNING


def _server(options: argparse.Namespace) -> Server:
    """Open the ports first: a taken one must be told before a town is loaded.

    Raises:
        AutoVLAError: a port is taken, or the town does not load.
    """
    if options.host not in LOOPBACK:
        logger.warning("listening on %s: whoever reaches this port can drive, there is no password", options.host)
    rpc = listen(options.host, options.port)
    port = rpc.getsockname()[1]
    try:
        default = 0 if options.port == 0 else port + 1
        stream = listen(options.host, default if options.stream_port is None else options.stream_port)
    except AutoVLAError:
        rpc.close()
        raise
    traffic = Traffic(options.traffic, options.seed)
    make = functools.partial(_renderer, threads=options.threads)
    kind = town_aliases.AliasingSimulation if options.town_aliases else Simulation
    town = town_aliases.resolve(options.town) if options.town_aliases else options.town
    simulation = kind(town, stream.getsockname()[1], make, time.time, traffic)
    simulation.recordings.folder = options.recordings
    _warm_up(simulation.world.town, make)
    sys.stdout.write(f"minicarla {VERSION} listening on {options.host}:{port} (town {town})\n")
    sys.stdout.flush()
    return Server(simulation, rpc, stream)


def _warm_up(town: Town, make: Callable[[Town], Renderer]) -> None:
    """Compile what the first tick needs; the cameras only if that would take the first picture a minute."""
    first_start = not warm.cameras_are_compiled()
    if first_start:
        logger.warning("first start on this machine: compiling, about a minute")
    warm.warm_world(town)
    if first_start:
        make(town)


@functools.lru_cache(maxsize=1)
def _renderer(town: Town, threads: int) -> Renderer:
    """The renderer of a town, kept over reloads."""
    renderer = Renderer(town.mesh, threads)
    warm.warm_cameras(renderer)
    return renderer


if __name__ == "__main__":
    sys.exit(main())
