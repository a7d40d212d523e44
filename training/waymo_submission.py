"""Writes a submission to Waymo's end-to-end challenge: shards of ``E2EDChallengeSubmission`` in one archive.

Field numbers: end_to_end_driving_submission.proto of waymo-open-dataset. The server finds shards by the name
``mysubmission.binproto-00000-of-00001`` only, whatever the tutorial says (issue 936 there).
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autovla_core.scoring.rater_feedback import POINTS
from training.datasets.protobuf_wire import bytes_field, floats_field, varint_field
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
