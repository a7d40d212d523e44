"""Samples as the JSON files of AutoVLA's own preprocessing, which its official code and our ``cot`` reader read.

``<out>/<split>/<token>.json``. Image paths are relative to ``out``: files of their own are reached through a link,
``<out>/images`` to the data set; pictures out of larger files (Waymo's shards) are written below ``<out>/pictures``,
byte for byte. Numbers are written so that they read back bit for bit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.datasets.cot import CAMERAS
from training.datasets.cot_format import FORMS, cot_of, word_of
from training.datasets.sample import DatasetError, Sample, StoredImage

LINK, PICTURES = "images", "pictures"
PNG = b"\x89PNG"


@dataclass(frozen=True)
class Target:
    """Where files go and what they call themselves.

    Raises:
        DatasetError: a data set that the official code does not know.
    """

    out: Path
    split: str
    dataset: str  # of ``FORMS``
    source: Path  # the data set's root, that ``images`` links to

    def __post_init__(self) -> None:
        if self.dataset not in FORMS:
            raise DatasetError(f"official files are of {', '.join(FORMS)}; found {self.dataset!r}")

    def file(self, sample: Sample) -> Path:
        """Where a sample's file lies.

        Raises:
            DatasetError: an id that is no name of a file.
        """
        if not sample.id or sample.id != Path(sample.id).name:
            raise DatasetError(f"sample id {sample.id!r} cannot name a file")
        return self.out / self.split / f"{sample.id}.json"

    def link(self) -> None:
        """Make the link, and refuse another one."""
        self.out.mkdir(parents=True, exist_ok=True)
        link, source = self.out / LINK, self.source.resolve()
        if not link.is_symlink() and not link.exists():
            link.symlink_to(source, target_is_directory=True)
        if link.resolve() != source:
            raise DatasetError(f"{link} is not a link to {source}; name another --out")


def write(sample: Sample, target: Target) -> Path:
    """Write one sample: its pictures first, its file last and whole.

    Raises:
        DatasetError: what the official files cannot say, a number that is not finite, a picture outside the data set.
    """
    file = target.file(sample)
    try:
        text = json.dumps(record(sample, target), indent=2, ensure_ascii=False, allow_nan=False)
    except (DatasetError, ValueError) as error:
        raise DatasetError(f"sample {sample.id}: {error}") from None
    file.parent.mkdir(parents=True, exist_ok=True)
    _replace(file, text.encode("utf-8"))
    return file


def record(sample: Sample, target: Target) -> dict[str, object]:
    """The keys of the official file. Unknown poses keep their values and have 0 in ``future_mask``."""
    form = FORMS[target.dataset]
    poses = np.where(sample.mask[:, None], sample.poses, np.nan_to_num(sample.poses))
    past = np.concatenate([np.asarray(sample.history, float).reshape(-1, 3), np.zeros((1, 3))])
    found = {
        "token": sample.id,
        "dataset_name": target.dataset,
        "cot_output": cot_of(sample.reasoning, target.dataset),
        "velocity": [float(sample.speed), 0.0] if form.vectors else float(sample.speed),
        "acceleration": [float(sample.acceleration), 0.0] if form.vectors else float(sample.acceleration),
        "instruction": word_of(sample.command, target.dataset),
        "gt_trajectory": poses.astype(float).tolist(),
        "his_trajectory": past.tolist(),
        **_image_paths(sample, target),
    }
    return found if sample.mask.all() else {**found, "future_mask": sample.mask.astype(int).tolist()}


def _image_paths(sample: Sample, target: Target) -> Mapping[str, list[str]]:
    unknown = sorted(set(sample.images) - set(CAMERAS))
    if unknown:
        raise DatasetError(f"cameras {unknown} have no key in the official files; they know {', '.join(CAMERAS)}")
    return {
        f"{camera}_camera_paths": [
            _path(image, f"{sample.id}/{camera}_{k}", target) for k, image in enumerate(sample.images[camera])
        ]
        for camera in CAMERAS
        if camera in sample.images
    }


def _path(image: StoredImage, name: str, target: Target) -> str:
    if image.offset or image.length is not None:
        return _extracted(image, name, target)
    source = target.source.resolve()
    for path in (image.path.absolute(), image.path.resolve()):  # the data set itself may be made of links
        for root in (target.source.absolute(), source):
            if path.is_relative_to(root):
                return f"{LINK}/{path.relative_to(root).as_posix()}"
    raise DatasetError(f"image {image.path} is not below {target.source}")


def _extracted(image: StoredImage, name: str, target: Target) -> str:
    data = _bytes(image)
    kind = "png" if data.startswith(PNG) else "jpg"
    place = f"{PICTURES}/{target.split}/{name}.{kind}"
    file = target.out / place
    file.parent.mkdir(parents=True, exist_ok=True)
    _replace(file, data)
    return place


def _bytes(image: StoredImage) -> bytes:
    try:
        with image.path.open("rb") as stream:
            stream.seek(image.offset)
            data = stream.read() if image.length is None else stream.read(image.length)
    except OSError as error:
        raise DatasetError(f"cannot read the image {image.path}: {error}") from None
    if image.length is not None and len(data) != image.length:
        raise DatasetError(f"image {image.path}: {len(data)} bytes from {image.offset}, expected {image.length}")
    return data


def _replace(file: Path, data: bytes) -> None:
    partial = file.with_name(f".{file.name}.partial")
    partial.write_bytes(data)
    partial.replace(file)
