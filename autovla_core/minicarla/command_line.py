"""minicarla's command line, which takes CARLA's own too: ``CarlaUE4 /Game/Carla/Maps/Town05 -carla-rpc-port=2000``.

What it does not know it warns about and ignores: a script that starts CARLA's server must be able to start this one.
"""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autovla_core.minicarla import town_aliases
from autovla_core.minicarla.recorder.recordings import DEFAULT_FOLDER
from autovla_core.minicarla.world.town import TOWNS

DESCRIPTION = """minicarla: a server that the unmodified client of CARLA 0.9.16 connects to, for machines without CARLA.

It prints one line when it is ready and runs until SIGTERM or SIGINT. CARLA's own command line is understood too:
  CarlaUE4 /Game/Carla/Maps/Town10HD_Opt -carla-rpc-port=2000 -RenderOffScreen -quality-level=Epic ...
where a map of CARLA needs --town-aliases. Flags that are not known are warned about and ignored."""

CARLA_OPTIONS = {"-carla-rpc-port": "--port", "-carla-streaming-port": "--stream-port", "-carla-world-port": "--port"}
CARLA_ABSENT = {"-ros2": "minicarla has no ROS 2 interface"}
CARLA_SWITCHES = frozenset(
    [
        *("-renderoffscreen", "-nosound", "-prefernvidia", "-opengl", "-vulkan", "-windowed", "-fullscreen"),
        *("-benchmark", "-stdout", "-fullstdoutlogoutput", "-carla-server", "-unattended", "-nullrhi"),
    ]
)
CARLA_VALUED = frozenset(
    [
        *("-quality-level", "-resx", "-resy", "-fps", "-graphicsadapter", "-ini"),
        *("-carla-primary-port", "-carla-secondary-port", "-carla-primary-host"),
    ]
)
PROGRAM = "carlaue4"  # Unreal's launchers pass their project's name on
NUMBER = re.compile(r"-\d+(\.\d+)?")


@dataclass(frozen=True)
class CommandLine:
    """What was asked for, and a sentence for all that could not be."""

    options: argparse.Namespace
    notes: tuple[str, ...]


def parse(arguments: Sequence[str]) -> CommandLine:
    """Read the arguments; ends the program with code 2, and says why, if they make no sense."""
    parser, flags = _parser()
    ours, notes = _translate(list(arguments), flags)
    options, words = parser.parse_known_args(ours)
    for word in words:
        options.town = word
    options.town = _bare(options.town)
    known = options.town in TOWNS or (options.town_aliases and town_aliases.nearest(options.town))
    if not known:
        hint = "" if options.town_aliases else town_aliases.hint(options.town)
        parser.error(f"argument --town: no town {options.town!r}; choose from {', '.join(TOWNS)}{hint}")
    return CommandLine(options, tuple(notes))


def _translate(arguments: list[str], flags: Sequence[str]) -> tuple[list[str], list[str]]:
    """Turn CARLA's flags into ours; return the arguments and a sentence for each that is not known."""
    ours: list[str] = []
    notes: list[str] = []
    rest = arguments[::-1]
    while rest:
        argument = rest.pop()
        name, _, value = argument.partition("=")
        carla = "-" + name.lstrip("-").lower()
        if not argument.startswith("-") or NUMBER.fullmatch(argument) or name in flags:
            ours += [] if _is_program(argument) else [argument]
        elif carla in CARLA_OPTIONS:
            value = value or _value_of(rest)
            if value:
                ours += [CARLA_OPTIONS[carla], value]
            else:
                notes.append(f"flag {argument!r} needs a number and is ignored")
        elif carla not in CARLA_SWITCHES:
            notes += [] if carla in CARLA_VALUED else [_unknown(argument, carla, flags)]
            if not value:
                _value_of(rest)
    return ours, notes


def _value_of(rest: list[str]) -> str:
    """Take the word that belongs to the flag before it; "" if there is none. ``rest`` is in reverse order."""
    if not rest or rest[-1].startswith("-") or _is_program(rest[-1]) or _is_map(rest[-1]):
        return ""
    return rest.pop()


def _is_program(word: str) -> bool:
    return Path(word).stem.lower() == PROGRAM


def _is_map(word: str) -> bool:
    return word.startswith("/Game/") or _bare(word) in TOWNS or town_aliases.nearest(word) is not None


def _bare(town: str) -> str:
    """``Town05_Opt`` of ``/Game/Carla/Maps/Town05_Opt?spectatoronly``."""
    return town.partition("?")[0].rstrip("/").rsplit("/", 1)[-1]


def _unknown(argument: str, carla: str, flags: Sequence[str]) -> str:
    if carla in CARLA_ABSENT:
        return f"flag {argument!r} is ignored: {CARLA_ABSENT[carla]}"
    near = difflib.get_close_matches(argument.partition("=")[0], flags, 1) if argument.startswith("--") else []
    return f"unknown flag {argument!r} is ignored" + (f"; did you mean {near[0]}?" if near else "")


def _parser() -> tuple[argparse.ArgumentParser, tuple[str, ...]]:
    """The parser and the names of its flags."""
    parser = argparse.ArgumentParser(
        "minicarla", description=DESCRIPTION, formatter_class=argparse.RawTextHelpFormatter, allow_abbrev=False
    )
    volume = parser.add_mutually_exclusive_group()
    made = [
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)"),
        parser.add_argument("--port", type=int, default=2000, help="of the calls; 0 takes a free one"),
        parser.add_argument("--stream-port", type=int, help="of the streams (default: the next one)"),
        parser.add_argument("--town", default=TOWNS[0], metavar="NAME", help=f"one of {', '.join(TOWNS)}"),
        parser.add_argument(
            "--town-aliases",
            action="store_true",
            help="load the nearest of these when asked for Town01 to Town15 of CARLA",
        ),
        parser.add_argument("--traffic", type=int, default=0, metavar="N", help="vehicles that the server drives"),
        parser.add_argument("--walkers", type=int, default=0, metavar="N", help="walkers that the server leads"),
        parser.add_argument("--seed", type=int, default=0, help="of all these and of the world"),
        parser.add_argument(
            "--recordings",
            type=Path,
            default=DEFAULT_FOLDER,
            metavar="FOLDER",
            help=f"where clients may record and replay, and nowhere else (default: {DEFAULT_FOLDER})",
        ),
        parser.add_argument("--check", action="store_true", help="test this installation, print versions and end"),
        parser.add_argument("--threads", type=int, default=2, help="of the renderer"),
        volume.add_argument("--quiet", action="store_true", help="errors only"),
        volume.add_argument("--verbose", action="store_true", help="which client does what, call by call"),
    ]
    return parser, ("-h", "--help", *(flag for action in made for flag in action.option_strings))
