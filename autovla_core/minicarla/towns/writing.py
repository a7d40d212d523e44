"""The command line that all town programs share."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from autovla_core.minicarla.world.opendrive import Network
from autovla_core.minicarla.world.opendrive_xml import to_xml

FOLDER = Path(__file__).parent


def main(name: str, build: Callable[[], Network]) -> None:
    """Write a town's OpenDRIVE file; by default the shipped one."""
    parser = argparse.ArgumentParser(description=f"Write the town {name} as OpenDRIVE.")
    parser.add_argument("--out", type=Path, default=FOLDER / f"{name}.xodr")
    out: Path = parser.parse_args().out
    network = build()
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.partial")
    partial.write_text(to_xml(network), encoding="utf-8", newline="\n")
    os.replace(partial, out)
    print(f"{out}: {len(network.roads)} roads, {len(network.junctions)} junctions")
