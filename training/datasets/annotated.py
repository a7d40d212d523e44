"""A reader whose samples think what an annotator wrote about them (``training.annotate``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from autovla_core.prompt import reasoning
from training.datasets.sample import Reader, Reasoning, Sample


class Annotated:
    """See ``training.datasets.sample.Reader``. A sample without an annotation keeps the thought that it has, if any."""

    def __init__(self, reader: Reader, thoughts: Mapping[str, reasoning.Reasoning]) -> None:
        self.name, self.split, self.broken = reader.name, reader.split, reader.broken
        self._reader, self._thoughts = reader, thoughts

    def __len__(self) -> int:
        return len(self._reader)

    def __getitem__(self, index: int) -> Sample:
        sample = self._reader[index]
        parts = self._thoughts.get(sample.id)
        return sample if parts is None else replace(sample, reasoning=Reasoning(**vars(parts)))
