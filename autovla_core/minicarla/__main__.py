"""minicarla: a server that the unmodified client of CARLA 0.9.16 connects to, for machines without CARLA.

    python -m autovla_core.minicarla --port 2000 --town Havenbrook [--traffic 20 --seed 1]

It prints one line when it is ready and runs until SIGTERM or SIGINT; ``command_line`` says what it takes.
"""

from __future__ import annotations

import argparse
import functools
import logging
import signal
import sys
import time
from collections.abc import Callable, Sequence

from autovla_core.errors import AutoVLAError
from autovla_core.minicarla import command_line, self_test, town_aliases
from autovla_core.minicarla.connections import Limits, allow_many_files
from autovla_core.minicarla.handlers.episode import VERSION
from autovla_core.minicarla.sensors import warm
from autovla_core.minicarla.sensors.renderer import Renderer
from autovla_core.minicarla.server import Server, listen
from autovla_core.minicarla.simulation import Simulation, Traffic
from autovla_core.minicarla.world.town import Town

logger = logging.getLogger("minicarla")

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop; return the exit code."""
    asked = command_line.parse(sys.argv[1:] if arguments is None else arguments)
    options = asked.options
    logging.basicConfig(level=_level(options), format="%(name)s %(levelname)s %(message)s", stream=sys.stderr)
    for note in asked.notes:
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
    sys.stdout.write(
        f"minicarla {VERSION} checks itself; the first time on a machine it compiles for some 20 seconds\n"
    )
    well = self_test.run(simulation, sys.stdout)
    sys.stdout.write("all is well\n" if well else "something does not work, see FAILED above\n")
    return 0 if well else 1


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
    traffic = Traffic(options.traffic, options.seed, options.walkers)
    make = functools.partial(_renderer, threads=options.threads)
    kind = town_aliases.AliasingSimulation if options.town_aliases else Simulation
    town = town_aliases.resolve(options.town) if options.town_aliases else options.town
    simulation = kind(town, stream.getsockname()[1], make, time.time, traffic)
    simulation.recordings.folder = options.recordings
    _warm_up(simulation.world.town, make)
    sys.stdout.write(f"minicarla {VERSION} listening on {options.host}:{port} (town {town})\n")
    sys.stdout.flush()
    return Server(simulation, rpc, stream, Limits(peers=allow_many_files()))


def _warm_up(town: Town, make: Callable[[Town], Renderer]) -> None:
    """Compile what the first tick needs; the cameras only if the first picture would have to wait for that."""
    first_start = not warm.cameras_are_compiled()
    if first_start:
        logger.warning("first start on this machine: compiling, some 20 seconds; later starts take two")
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
