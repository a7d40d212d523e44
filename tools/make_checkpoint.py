"""Make a model folder out of a downloaded base model, or out of a model folder and an adapter; check one.

    python tools/make_checkpoint.py base Qwen2.5-VL-3B-Instruct --camera front:448x224 --out models/autovla-3b
    python tools/make_checkpoint.py merge models/autovla-3b runs/rft/adapter --out models/autovla-3b-rft
    python tools/make_checkpoint.py check models/autovla-tiny

``base`` adds the codebook's motions as tokens and leaves every other weight as it is: the result has yet to learn
driving. Weights pass through shard by shard. Folders appear when complete. docs/checkpoints.md tells what is in them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from autovla_core.action.codebook import SHIPPED, Codebook
from autovla_core.errors import AutoVLAError, SetupError
from autovla_core.model import base_folder, checkpoint, families, weights
from autovla_core.model.encoding import action_start


def main() -> int:
    """Return the exit code."""
    options = _options()
    try:
        options.run(options)
    except AutoVLAError as error:
        print(f"make_checkpoint: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nmake_checkpoint: stopped; nothing was changed", file=sys.stderr)
        return 130
    return 0


def make(options: argparse.Namespace) -> None:
    """A base folder becomes a model folder."""
    cameras = tuple(base_folder.camera(text) for text in options.camera)
    out = base_folder.make(options.folder, Codebook.load(options.codebook), cameras, options.out, options.seed)
    print(_summary(out))


def merge(options: argparse.Namespace) -> None:
    """A model folder and an adapter become a model folder."""
    try:
        from autovla_core.model import lora  # needs peft, which driving does not
    except ImportError as error:
        raise SetupError(f"merging needs peft: pip install 'autovla-carla[train]' ({error})") from None
    record = checkpoint.read_record(options.folder)
    model, tokenizer = checkpoint.load(options.folder)
    merged = lora.merge(lora.load_adapter(model, options.adapter, record))
    source = {**record.training, "merged_adapter": options.adapter.resolve().name}
    codebook = checkpoint.read_codebook(options.folder, record)
    print(_summary(checkpoint.save(options.out, merged, tokenizer, codebook, record.cameras, source)))


def check(options: argparse.Namespace) -> None:
    """All hashes, names and shapes of a model folder; no weights are read."""
    print(_summary(options.folder))


def _summary(folder: Path) -> str:
    record = checkpoint.read_record(folder)
    codebook = checkpoint.read_codebook(folder, record)
    config, found = families.read_config(folder), weights.inventory(folder)
    weights.check(folder, found.shapes, config)
    tokenizer = checkpoint.read_tokenizer(folder, config, len(codebook), record.vocabulary_hash)
    count = sum(_product(shape) for shape in found.shapes.values())
    first = action_start(tokenizer, len(codebook))
    rig = ", ".join(f"{c.id} {c.width}x{c.height}" for c in record.cameras)
    return (
        f"{folder}: {config.model_type}, {count / 1e6:.1f} M parameters in {len(found.shards)} files, "
        f"{len(codebook)} actions from token {first}, cameras {rig}"
    )


def _product(shape: tuple[int, ...]) -> int:
    product = 1
    for side in shape:
        product *= side
    return product


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="{base,merge,check}")
    base = commands.add_parser("base", help="of a downloaded Qwen2.5-VL or Qwen3-VL folder")
    base.add_argument("folder", type=Path)
    base.add_argument("--codebook", type=Path, default=SHIPPED, help="npz of training.build_codebook")
    base.add_argument("--camera", action="append", required=True, help="id:WIDTHxHEIGHT, once for each camera")
    base.add_argument("--seed", type=int, default=0, help="of the new rows")
    base.set_defaults(run=make)
    merging = commands.add_parser("merge", help="of a model folder and a LoRA adapter trained on it")
    merging.add_argument("folder", type=Path)
    merging.add_argument("adapter", type=Path)
    merging.set_defaults(run=merge)
    for command in (base, merging):
        command.add_argument("--out", type=Path, required=True)
    checking = commands.add_parser("check", help="whether a model folder is whole")
    checking.add_argument("folder", type=Path)
    checking.set_defaults(run=check)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
