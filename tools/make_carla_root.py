"""Write a CARLA_ROOT folder whose CarlaUE4.sh starts minicarla, for evaluators that start the server themselves.

    python tools/make_carla_root.py --out /tmp/carla_root [--python .venv/bin/python] [--town Havenbrook]

The folder holds the script, a VERSION file, a mark that says what it is, and the towns' OpenDRIVE maps where
Bench2Drive's tools look for them. CARLA's own flags are understood by minicarla.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
from importlib import metadata
from pathlib import Path

from autovla_core.errors import AutoVLAError, SetupError

MARK = "MINICARLA"
MAPS = Path("CarlaUE4", "Content", "Carla", "Maps", "OpenDrive")


def main() -> int:
    """Return the exit code."""
    options = _options()
    try:
        write_root(options.out, options.python, options.town, options.arguments)
    except AutoVLAError as error:
        print(f"make_carla_root: {error}", file=sys.stderr)
        return 1
    print(f"export CARLA_ROOT={options.out.resolve()}")
    return 0


def write_root(out: Path, python: str, town: str, arguments: str) -> None:
    """Write or renew the folder.

    Raises:
        SetupError: ``out`` holds something else, or the package's towns are not found.
    """
    if out.exists() and any(out.iterdir()) and not (out / MARK).is_file():
        raise SetupError(f"{out} is not empty and not a folder of this program; choose another --out")
    towns = sorted(Path(__file__).resolve().parents[1].glob("autovla_core/minicarla/towns/*.xodr"))
    if not any(file.stem == town for file in towns):
        raise SetupError(f"no town {town!r}; there are {', '.join(file.stem for file in towns)}")
    (out / MAPS).mkdir(parents=True, exist_ok=True)
    (out / MARK).write_text("written by tools/make_carla_root.py: this is minicarla, not CARLA\n", encoding="utf-8")
    (out / "VERSION").write_text(metadata.version("carla") + "\n", encoding="utf-8")
    for file in towns:
        shutil.copyfile(file, out / MAPS / file.name)
    _write_script(out / "CarlaUE4.sh", python, f"--town {shlex.quote(town)} {arguments}".strip())


def _write_script(file: Path, python: str, arguments: str) -> None:
    """``exec``: whoever ends the script's process ends the server, and no orphan stays."""
    text = f'#!/bin/sh\nexec {shlex.quote(python)} -m autovla_core.minicarla {arguments} "$@"\n'
    partial = file.with_name(".CarlaUE4.partial")
    partial.write_text(text, encoding="utf-8")
    partial.chmod(0o755)
    os.replace(partial, file)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--python", default=sys.executable, help="interpreter that has autovla_core (default: this)")
    parser.add_argument("--town", default="Havenbrook", help="that the server begins with")
    parser.add_argument("--arguments", default="", help='further ones for minicarla, such as "--threads 1"')
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
