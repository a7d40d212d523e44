"""How fast the model plans on this machine, beside Hugging Face's generate with equal tokens. Ratios within one run.

    python tools/benchmark_model.py --out docs/benchmark_model.json
    python tools/benchmark_model.py --size 3b --device cuda     # the real size, random weights, bfloat16; needs a GPU

CPU figures are CPU time of one thread. No GPU run was made yet (docs/performance.md).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path

from autovla_core.errors import AutoVLAError
from autovla_core.files import write_whole

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "models" / "autovla-tiny")
    parser.add_argument("--size", choices=["3b"], help="random weights of this size and three cameras, no checkpoint")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument(
        "--quantise", default="", help="int8 or fp8 weights for our steps, by torchao; tokens may differ"
    )
    parser.add_argument("--rounds", type=int, default=15, help="repetitions of a fast plan; others fewer")
    parser.add_argument("--out", type=Path, help="write the figures there, as JSON")
    args = parser.parse_args()
    if args.size and args.device == "cpu":
        print("benchmark_model: --size needs a GPU: --device cuda", file=sys.stderr)
        return 1
    os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded
    try:
        figures = measure(args)
    except AutoVLAError as error:
        print(f"benchmark_model: {error}", file=sys.stderr)
        return 1
    for name, value in figures.items():
        print(f"{name:<48} {value if isinstance(value, str) else format(value, '.3g')}")
    if args.out:
        write_whole(args.out, json.dumps(figures, indent=2) + "\n")
    return 0


def measure(args: argparse.Namespace) -> dict[str, object]:
    """All figures."""
    from autovla_core.model import measure as model
    from autovla_core.model.sizes import SIZES

    device = model.device_name(args.device)
    if args.size:
        contest = model.Contest.of_size(SIZES[args.size], args.device, quantise=args.quantise)
    else:
        contest = model.Contest.of_folder(args.checkpoint, args.device, args.quantise)
    figures: dict[str, object] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "device": device,
        "model": args.size or args.checkpoint.name,
        "tokens equal": str(model.equal_tokens(contest)),
    }
    measured = model.compare(contest, args.rounds), model.parts(contest, args.rounds), model.stages(contest)
    for part in measured:
        figures |= part
    return figures


if __name__ == "__main__":
    sys.exit(main())
