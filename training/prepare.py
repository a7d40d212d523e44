"""Make the index of a foreign data set, once.

    python -m training.prepare nuscenes --root ~/nuscenes --out data/index --split train val

The files themselves stay where they are. An interrupted run goes on from where it was. A broken record is an error
that names it; with ``--skip-broken`` such records are left out, counted, and listed in
``<out>/broken_<data set>_<split>.txt``.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

from autovla_core.errors import AutoVLAError
from training.datasets import registry

logger = logging.getLogger(__name__)


def prepare(name: str, root: Path, out: Path, split: str, skip_broken: bool = False) -> dict[str, int]:
    """Prepare one split, open it as a user of the index will, and return counts that both agree on.

    Raises:
        DatasetError: what the data set's own reader finds wrong, or an index that does not hold what was counted.
    """
    counts = registry.prepare(name, root, out, split, skip_broken)
    reader = registry.open_split(name, root, out, split, skip_broken)
    first = reader[0].id if len(reader) else "none"
    logger.info("%s %s: %d samples, the first is %s", name, split, len(reader), first)
    if reader.broken:
        file = out / f"broken_{name}_{split}.txt"
        file.write_text("\n".join(reader.broken) + "\n")
        logger.warning("%s %s: %d broken records left out, listed in %s", name, split, len(reader.broken), file)
    return {**counts, "samples": len(reader), "broken": len(reader.broken)}


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, prepare every split, print the counts as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=sorted(registry.DATASETS))
    parser.add_argument("--root", type=Path, required=True, help="folder of the downloaded files")
    parser.add_argument("--out", type=Path, required=True, help="folder of the index; made if it is not there")
    parser.add_argument("--split", nargs="+", help="one or more; default: the data set's training split")
    parser.add_argument("--skip-broken", action="store_true", help="leave broken records out, count and list them")
    args = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    args.out.mkdir(parents=True, exist_ok=True)
    found = {}
    for split in args.split or [registry.entry(args.dataset).train]:
        try:
            found[split] = prepare(args.dataset, args.root, args.out, split, args.skip_broken)
        except AutoVLAError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("stopped; the same command goes on from here", file=sys.stderr)
            return 130
    print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
