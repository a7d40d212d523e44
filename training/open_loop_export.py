"""Write a prepared split of a data set as the JSON files of AutoVLA's own preprocessing.

    python -m training.prepare navsim --root data/navsim --out data/index --split navtrain
    python -m training.open_loop_export navsim --root data/navsim --index data/index --split navtrain --out data/cot

Poses are of the point that the official files have (rear axle; nuScenes: lidar). The official code reads the files with
``sensor_data_path`` = ``--out``, our ``cot`` reader with ``--root`` = ``--out``. Goes on after an interrupt.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from autovla_core.errors import AutoVLAError
from training.datasets import cot_writer, registry
from training.datasets.cot_writer import Target
from training.datasets.sample import DatasetError, Reader

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Export:
    """How a reader's samples become official ones."""

    dataset: str  # their ``dataset_name``
    options: Mapping[str, str]  # of the reader


EXPORTS = {
    "navsim": Export("nuplan", {"point": "rear_axle", "score": "none"}),
    "nuscenes": Export("nuscenes", {"point": "lidar"}),
    "waymo": Export("waymo", {"point": "rear_axle"}),
}


def export(
    reader: Reader, target: Target, skip_broken: bool = False, options: Mapping[str, str] | None = None
) -> dict[str, int]:
    """Write every sample that has no file yet.

    Args:
        options: that the reader was opened with.

    Raises:
        DatasetError: ``target`` holds files of another export, or a sample cannot be written.
    """
    target.link()
    _same_export(reader, target, dict(options or {}))
    counts, broken = {"samples": 0, "written": 0, "with_thought": 0}, []
    for sample in tqdm(reader, total=len(reader), desc=f"{reader.name} {reader.split}", unit="sample"):
        counts["samples"] += 1
        counts["with_thought"] += sample.reasoning is not None
        try:
            if not target.file(sample).exists():
                cot_writer.write(sample, target)
                counts["written"] += 1
        except DatasetError as error:
            if not skip_broken:
                raise
            broken.append(str(error))
    if broken:
        file = target.out / f"broken_export_{target.split}.txt"
        file.write_text("\n".join(broken) + "\n")
        logger.warning("%d samples left out, listed in %s", len(broken), file)
    return {**counts, "broken": len(broken)}


def _same_export(reader: Reader, target: Target, options: Mapping[str, str]) -> None:
    """Files that are there are taken for ours: so they must come from the same split, read in the same way."""
    file = target.out / f"{target.split}.export.json"
    about = {"reader": reader.name, "split": reader.split, "options": options}
    about |= {"dataset": target.dataset, "samples": len(reader)}
    if file.exists() and json.loads(file.read_text()) != about:
        raise DatasetError(f"{file} says {file.read_text().strip()}, this is {json.dumps(about)}; name another --out")
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(about) + "\n")
    partial.replace(file)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, export, print the counts as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=sorted(EXPORTS))
    parser.add_argument("--root", type=Path, required=True, help="folder of the downloaded files")
    parser.add_argument("--index", type=Path, required=True, help="--out of training.prepare")
    parser.add_argument("--split", required=True)
    parser.add_argument("--out", type=Path, required=True, help="below it <split>/<token>.json")
    parser.add_argument("--option", nargs="+", default=[], metavar="NAME=VALUE", help="of the data set")
    parser.add_argument("--skip-broken", action="store_true", help="leave out, count and list what cannot be written")
    args = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    chosen = EXPORTS[args.dataset]
    options = {**chosen.options, **dict(pair.partition("=")[::2] for pair in args.option)}
    try:
        reader = registry.open_split(args.dataset, args.root, args.index, args.split, args.skip_broken, options)
        target = Target(args.out, args.split, chosen.dataset, args.root)
        counts = export(reader, target, args.skip_broken, options)
    except AutoVLAError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    print(json.dumps(counts, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
