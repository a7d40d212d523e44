"""Write route logs in the layout of Bench2Drive-base, so that tools for that data set read them.

    python tools/export_bench2drive.py data/havenbrook --out data/as_bench2drive

Needs logs with ``map.npz`` and ``tracks.npz``. Annotations are at 10 Hz; pictures stand at the frames at which they
were taken (4 Hz logs: every fifth frame), or with ``--fill`` at every frame, then up to 0.25 s old. A second call
continues.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from autovla_core.errors import AutoVLAError, LogError
from autovla_core.logs.bench2drive_export import SCENARIO, export
from autovla_core.logs.reader import route_folders


def main() -> int:
    """Return the exit code."""
    options = _options()
    totals = {"frames": 0, "pictures": 0, "new": 0}
    skipped = []
    try:
        folders = [folder for root in options.logs for folder in route_folders(root)]
        for folder in tqdm(folders, unit="route"):
            try:
                counts = export(folder, options.out, options.scenario, options.weather, options.fill)
            except LogError as error:
                skipped.append(str(error))
                continue
            totals = {name: totals[name] + counts[name] for name in totals}
    except AutoVLAError as error:
        print(f"export_bench2drive: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; finished clips are kept, the same command continues", file=sys.stderr)
        return 130
    done = len(folders) - len(skipped)
    print(
        f"{done} clips in {options.out}, {totals['new']} new: {totals['frames']} frames, {totals['pictures']} pictures"
    )
    for reason in skipped:
        print(f"left out: {reason}", file=sys.stderr)
    return 0 if done else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", type=Path, nargs="+", help="folders of route logs")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scenario", default=SCENARIO, help=f"first part of the clips' names ({SCENARIO})")
    parser.add_argument("--weather", type=int, default=0, help="number of the weather in the clips' names")
    parser.add_argument("--fill", action="store_true", help="give every frame a picture, the newest before it")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
