"""Writes a submission to Waymo's end-to-end challenge: shards of ``E2EDChallengeSubmission`` in one archive.

    python -m training.prepare waymo --root data/waymo --out data/index --split test_submission
    python -m training.evaluate_open_loop --dataset waymo --split test_submission --root data/waymo \\
        --index data/index --checkpoint models/mine --out runs/waymo_test
    python -m training.waymo_submission runs/waymo_test --root data/waymo --method method.yaml --out mine.tar.gz

``method.yaml`` holds the keys of ``Method``. A wanted frame without a plan (planning failed, or its record is broken
and was left out) stops it; with ``--stand-still`` such a frame is submitted as standing still, and counted.

Field numbers: end_to_end_driving_submission.proto of waymo-open-dataset. The server finds shards by the name
``mysubmission.binproto-00000-of-00001`` only, whatever the tutorial says (issue 936 there).
"""

from __future__ import annotations

import argparse
import io
import json
import re
import sys
import tarfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autovla_core import config
from autovla_core.contracts import PLAN_STEPS
from autovla_core.errors import AutoVLAError
from autovla_core.scoring.rater_feedback import POINTS
from training.datasets import waymo
from training.datasets.protobuf_wire import bytes_field, floats_field, varint_field
from training.datasets.rear_axle import waypoints
from training.datasets.sample import DatasetError

E2ED_SUBMISSION = 1
SHARD = "mysubmission.binproto-{:05d}-of-{:05d}"
PARAMETERS = re.compile(r"\d+[KMBT]", re.IGNORECASE)


@dataclass(frozen=True)
class Method:
    """Who submits what; the challenge refuses empty names."""

    account_name: str  # e-mail of the account
    unique_method_name: str
    authors: tuple[str, ...]
    num_model_parameters: str  # as 3B or 200K
    uses_public_model_pretraining: bool = True
    public_model_names: tuple[str, ...] = ()
    affiliation: str = ""
    description: str = ""
    method_link: str = ""

    def __post_init__(self) -> None:
        if "@" not in self.account_name or not self.unique_method_name or not all(self.authors) or not self.authors:
            raise DatasetError(f"a submission needs an e-mail, a method name and authors; found {self}")
        if not PARAMETERS.fullmatch(self.num_model_parameters):
            raise DatasetError(f"num_model_parameters is {self.num_model_parameters!r}, expected as 3B or 200K")


def write_submission(
    plans: Mapping[str, np.ndarray], wanted: Collection[str], method: Method, archive: Path, shards: int = 1
) -> Path:
    """Write ``archive`` (.tar.gz) with the plans {frame name: (20, 2) of ``rear_axle.waypoints``} of all wanted frames.

    Raises:
        DatasetError: frames missing or not asked for, a plan of another shape or with NaN, or a shard without frames.
    """
    if not archive.name.endswith(".tar.gz") or shards < 1:
        raise DatasetError(f"{archive} with {shards} shards: the server takes a .tar.gz with at least one")
    missing, more = sorted(set(wanted) - set(plans)), sorted(set(plans) - set(wanted))
    if missing or more:
        raise DatasetError(f"{len(missing)} frames have no plan {missing[:3]}, {len(more)} are not asked {more[:3]}")
    names = sorted(plans)
    if shards > len(names):
        raise DatasetError(f"{shards} shards for {len(names)} frames; every shard needs one")
    held = [shard({name: plans[name] for name in names[i::shards]}, method) for i in range(shards)]
    archive.parent.mkdir(parents=True, exist_ok=True)
    partial = archive.with_name(archive.name + ".partial")
    with tarfile.open(partial, "w:gz") as tar:
        for i, data in enumerate(held):
            entry = tarfile.TarInfo(SHARD.format(i, shards))  # without the user and the time of this machine
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return partial.rename(archive)


def shard(plans: Mapping[str, np.ndarray], method: Method) -> bytes:
    """One serialised E2EDChallengeSubmission."""
    predictions = b"".join(bytes_field(1, _prediction(name, plan)) for name, plan in plans.items())
    texts = [(3, method.account_name), (4, method.unique_method_name), *((5, author) for author in method.authors)]
    texts += [(6, method.affiliation), (7, method.description), (8, method.method_link)]
    body = predictions + varint_field(2, E2ED_SUBMISSION) + _texts(texts)
    body += varint_field(11, int(method.uses_public_model_pretraining))
    return body + _texts([(12, method.num_model_parameters), *((13, name) for name in method.public_model_names)])


def _texts(pairs: list[tuple[int, str]]) -> bytes:
    return b"".join(bytes_field(number, text.encode()) for number, text in pairs)


def _prediction(name: str, plan: np.ndarray) -> bytes:
    if np.shape(plan) != (POINTS, 2) or not np.isfinite(plan).all():
        raise DatasetError(f"{name}: the plan has the shape {np.shape(plan)} or holds NaN, expected ({POINTS}, 2)")
    trajectory = floats_field(1, plan[:, 0]) + floats_field(2, plan[:, 1])
    return bytes_field(1, name.encode()) + bytes_field(2, trajectory)


@dataclass(frozen=True)
class Plans:
    """The plans of an evaluation, as the challenge counts: rear axle, 4 Hz."""

    by_frame: Mapping[str, np.ndarray]  # (20, 2)
    failed: tuple[str, ...]  # frames without a plan


def read_plans(results: Path) -> Plans:
    """The plans that ``training.evaluate_open_loop`` left in ``results``; those that failed stand still.

    Raises:
        DatasetError: no whole evaluation, or one of another data set.
    """
    try:
        run = json.loads((results / "run.json").read_text())
        rows = [json.loads(line) for line in (results / "plans.jsonl").read_text().splitlines()]
        if run["dataset"] != "waymo":
            raise DatasetError(f"{results} holds plans for {run['dataset']!r}, expected 'waymo'")
        ahead_m = waymo.POINTS[run["options"].get("point", "centre")]
        failed = tuple(row["id"] for row in rows if row["error"])
        poses = {row["id"]: row["poses"][0] if not row["error"] else np.zeros((PLAN_STEPS, 3)) for row in rows}
        return Plans({name: waypoints(np.array(plan), ahead_m) for name, plan in poses.items()}, failed)
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise DatasetError(f"{results} holds no whole evaluation ({type(error).__name__}: {error})") from None


def submit(results: Path, root: Path, method: Method, archive: Path, shards: int, stand_still: bool) -> dict[str, int]:
    """Write ``archive`` from an evaluation of ``test_submission``; return counts.

    Raises:
        DatasetError: a frame that the challenge wants has no plan, or as ``write_submission``.
    """
    plans, wanted = read_plans(results), waymo.submission_frames(root)
    lost = [name for name in wanted if name not in plans.by_frame]  # not even tried: broken records, left out clips
    still = [*plans.failed, *lost]
    if still and not stand_still:
        raise DatasetError(
            f"{len(still)} frames have no plan, the first is {still[0]}; mend them, or submit them as standing still "
            "with --stand-still"
        )
    standing = {name: np.zeros((POINTS, 2)) for name in lost}
    write_submission({**plans.by_frame, **standing}, wanted, method, archive, shards)
    return {"frames": len(wanted), "standing_still": len(still), "shards": shards}


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, write the archive, print the counts as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="the --out of evaluate_open_loop on test_submission")
    parser.add_argument("--root", type=Path, required=True, help=f"folder with {waymo.SUBMISSION_FILE}")
    parser.add_argument("--method", type=Path, required=True, help="YAML with the keys of Method")
    parser.add_argument("--out", type=Path, required=True, help="the .tar.gz to write")
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--stand-still", action="store_true", help="submit frames without a plan as standing still")
    args = parser.parse_args(arguments)
    try:
        method = config.load(Method, args.method)
        counts = submit(args.results, args.root, method, args.out, args.shards, args.stand_still)
    except AutoVLAError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(counts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
