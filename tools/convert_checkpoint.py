"""Turn the AutoVLA authors' checkpoint (a Lightning .ckpt, tensors called autovla.vlm.*) into a model folder.

    python tools/convert_checkpoint.py AutoVLA_PDMS_89.ckpt --base Qwen2.5-VL-3B-Instruct \\
        --codebook their_codebook.npz --out models/autovla-pdms89 \\
        --camera front:420x224 --camera front_left:420x224 --camera front_right:420x224

The file is read by torch.load(weights_only=True): nothing in it is run. The base folder gives configuration, tokenizer
and processor. The codebook must be the one that the weights were trained with; theirs is not shipped here (its licence
forbids that), docs/codebook.md tells how to read it from their repository. The folder's wording is this project's.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from autovla_core.action.codebook import Codebook
from autovla_core.errors import AutoVLAError
from autovla_core.model.base_folder import camera
from autovla_core.model.lightning import convert


def main() -> int:
    """Return the exit code."""
    options = _options()
    try:
        cameras = tuple(camera(text) for text in options.camera)
        codebook = Codebook.load(options.codebook)
        out = convert(
            options.file, options.base, codebook, cameras, options.out, options.lora_alpha, tuple(options.drop)
        )
    except AutoVLAError as error:
        print(f"convert_checkpoint: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nconvert_checkpoint: stopped; nothing was changed", file=sys.stderr)
        return 130
    print(f"{out}: ready; python tools/make_checkpoint.py check {out}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--base", type=Path, required=True, help="the downloaded folder that was trained from")
    parser.add_argument("--codebook", type=Path, required=True, help="npz")
    parser.add_argument("--camera", action="append", required=True, help="id:WIDTHxHEIGHT, once for each camera")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--lora-alpha", type=float, help="of adapters in the file, which are merged")
    parser.add_argument("--drop", action="append", default=[], help="beginning of names to leave out")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
