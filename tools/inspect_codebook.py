"""What is a codebook worth, and which of two is better: as text, JSON and one picture.

    python tools/inspect_codebook.py autovla_core/action/codebooks/tiny_2048.npz --logs data/held_out
    python tools/inspect_codebook.py a.npz b.npz --plans held_out.npz --json out.json --picture out.png
    python tools/inspect_codebook.py agent_vocab.pkl --convert book.npz     # the layout that the authors released

Without plans only the entries themselves are judged. ``python -m training.build_codebook --plans-out`` makes a file
of plans from Bench2Drive clips and trajectories.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from autovla_core.action import foreign, report, tokenizer
from autovla_core.action.codebook import SHIPPED, Codebook
from autovla_core.contracts import PLAN_STEPS
from autovla_core.errors import AutoVLAError, CodebookError
from autovla_core.files import replacing, write_whole
from autovla_core.logs.reader import RouteLog, route_folders
from autovla_core.view import codebook_sheet

PICKLES = {".pkl", ".pickle"}


def main() -> int:
    """Parse the command line, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("codebooks", type=Path, nargs="*", default=[SHIPPED], help="one or two; default: the shipped")
    parser.add_argument("--logs", type=Path, help="folder of route logs that no codebook here was built from")
    parser.add_argument("--plans", type=Path, help="npz with plans (N, 10, 3)")
    parser.add_argument("--most", type=int, default=10_000, help="plans looked at, evenly spread")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--picture", type=Path, help="write the picture there (png)")
    parser.add_argument("--convert", type=Path, help="write the (first) codebook there as our npz")
    args = parser.parse_args()
    if len(args.codebooks) > 2:
        parser.error("more than two codebooks do not fit side by side")
    try:
        return inspect(args)
    except AutoVLAError as error:
        print(f"inspect_codebook: {error}", file=sys.stderr)
        return 1


def inspect(args: argparse.Namespace) -> int:
    """Do what was asked for."""
    books = [load(path) for path in args.codebooks]
    names = [path.stem for path in args.codebooks]
    if args.convert:
        books[0].save(args.convert)
    plans = thinned(held_out_plans(args.logs, args.plans), args.most)
    reports = [report.measure(book, plans) for book in books]
    print(report.as_text(reports, names))
    if args.json:
        with_use = [dict(r, **{"use per token": uses(book, plans)}) for book, r in zip(books, reports, strict=True)]
        document = dict(zip(map(str, args.codebooks), with_use, strict=True))
        write_whole(args.json, json.dumps(document, indent=2) + "\n")
    if args.picture:
        if not len(plans):
            raise CodebookError("a picture needs plans: give --logs or --plans")
        with replacing(args.picture) as partial:
            codebook_sheet.draw(books, reports, names, plans).save(partial, "PNG")
    return 0


def load(path: Path) -> Codebook:
    """Our npz, or the authors' pickle by its ending."""
    return foreign.read(path) if path.suffix in PICKLES else Codebook.load(path)


def held_out_plans(logs: Path | None, file: Path | None) -> np.ndarray:
    """Plans (N, 10, 3) of both sources.

    Raises:
        CodebookError: the file holds none.
    """
    found = [np.zeros((0, PLAN_STEPS, 3))]
    if logs:
        found += [RouteLog(folder).plans["poses"] for folder in route_folders(logs)]
    if file:
        try:
            with np.load(file, allow_pickle=False) as archive:
                found.append(archive["plans"])
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise CodebookError(f"{file} holds no plans: {error}") from None
        if found[-1].shape[1:] != (PLAN_STEPS, 3) or not np.isfinite(found[-1]).all():
            raise CodebookError(f"{file}: plans are {found[-1].shape}, expected finite (N, {PLAN_STEPS}, 3)")
    return np.concatenate(found).astype(float)


def thinned(plans: np.ndarray, most: int) -> np.ndarray:
    """At most ``most`` plans, evenly spread over all."""
    return plans[np.linspace(0, len(plans) - 1, most).astype(int)] if len(plans) > most else plans


def uses(book: Codebook, plans: np.ndarray) -> list[int]:
    """How often each entry tells a motion of the plans."""
    return np.bincount(tokenizer.encode(book, plans).ravel(), minlength=len(book)).tolist()


if __name__ == "__main__":
    sys.exit(main())
