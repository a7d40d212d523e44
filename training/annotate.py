"""Thoughts by a large vision-language model, for data without truth: the paper's way (arXiv 2506.13757).

    python -m training.annotate --dataset nuscenes --root data/nuscenes --index data/index --split train \
        --url http://127.0.0.1:8000/v1 --model Qwen/Qwen2.5-VL-72B-Instruct --out data/thoughts/nuscenes.jsonl

Any server with OpenAI's chat completions will do (vLLM, for one); a key is taken from AUTOVLA_API_KEY. The model sees
the clips of a sample, its motion, command and, as a hint, what the driver did next. An answer that is not in four parts
is asked for again, then counted as failed. Every finished sample is one line of ``--out``: the same command goes on
from there, and tries the failed ones again.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm.auto import tqdm

from autovla_core.errors import AutoVLAError
from autovla_core.prompt import reasoning
from autovla_core.prompt.reasoning import ReasoningError
from training.annotation_file import Annotations
from training.chat_api import ApiError, Endpoint, ask
from training.datasets import registry
from training.datasets.annotation_request import messages_of, prompt_hash
from training.datasets.sample import DatasetError, Reader, Sample

logger = logging.getLogger(__name__)

ASKED_AGAIN = 2  # times, when an answer is not in four parts
AHEAD = 2  # samples waiting for each worker, so that none idles and little is lost
KEY = "AUTOVLA_API_KEY"


@dataclass(frozen=True)
class Tally:
    """What one run did."""

    done: int = 0
    failed: int = 0
    before: int = 0  # lines that were there already


def annotate(
    reader: Reader,
    endpoint: Endpoint,
    out: Path,
    cameras: Sequence[str] = ("front",),
    workers: int = 4,
    limit: int | None = None,
    sleep: Callable[[float], object] | None = None,
) -> Tally:
    """Ask for every sample that ``out`` does not hold yet; a failed one is logged, counted and left for the next run.

    Whatever ends it, answers to requests that were sent are waited for and kept; those in the queue are not sent.

    Args:
        sleep: None: a pause that ends when this does.

    Raises:
        DatasetError: ``out`` was written for other data, another model or another request.
        ApiError: the server refuses every request of this kind (a wrong key, model or address).
    """
    heading = {"data": f"{reader.name} {reader.split}", "model": endpoint.model, "request": prompt_hash(cameras)}
    count, stop = len(reader) if limit is None else min(limit, len(reader)), threading.Event()

    def pause(seconds: float) -> None:
        (sleep or stop.wait)(seconds)
        if stop.is_set():
            raise ApiError("broken off")

    with Annotations.open(out, heading) as file, tqdm(desc="thoughts", unit="sample") as bar:
        desk = _Desk(file, bar)
        waiting: set[Future[Answer]] = set()
        with ThreadPoolExecutor(workers) as pool:
            try:
                for sample in _samples(reader, count, desk):
                    waiting.add(pool.submit(_thought, sample, endpoint, tuple(cameras), pause))
                    if len(waiting) >= AHEAD * workers:
                        waiting = desk.take(waiting)
                while waiting:
                    waiting = desk.take(waiting)
            except BaseException:
                stop.set()
                pool.shutdown(cancel_futures=True)
                desk.keep_what_came(waiting)
                raise
    return desk.tally


Answer = tuple[str, reasoning.Reasoning | None, str]


class _Desk:
    """Where answers arrive: they go into the file and are counted."""

    def __init__(self, file: Annotations, bar: tqdm) -> None:
        self._file, self._bar, self.tally = file, bar, Tally(before=len(file.ids))

    def has(self, sample_id: str) -> bool:
        """Whether the file holds this sample."""
        return sample_id in self._file.ids

    def take(self, waiting: set[Future[Answer]]) -> set[Future[Answer]]:
        """Wait for an answer or more; the requests that are left."""
        done, left = wait(waiting, return_when=FIRST_COMPLETED)
        for future in done:
            self.book(*future.result())
        return left

    def keep_what_came(self, waiting: set[Future[Answer]]) -> None:
        """Keep the answers among requests that are over, some of them cancelled, refused or kept already."""
        for future in waiting:
            if future.cancelled() or future.exception() is not None:
                continue
            sample_id, parts, error = future.result()
            if parts is not None and not self.has(sample_id):
                self.book(sample_id, parts, error)

    def book(self, sample_id: str, parts: reasoning.Reasoning | None, error: str) -> None:
        """Keep one answer, or count and log why there is none."""
        if parts is None:
            logger.warning("%s: %s", sample_id, error)
            self.tally = replace(self.tally, failed=self.tally.failed + 1)
        else:
            self._file.add(sample_id, parts)
            self.tally = replace(self.tally, done=self.tally.done + 1)
        self._bar.update()
        self._bar.set_postfix(failed=self.tally.failed)


def _samples(reader: Reader, count: int, desk: _Desk) -> Iterator[Sample]:
    """The first ``count`` samples that the file lacks; one that cannot be read has failed."""
    for i in range(count):
        try:
            sample = reader[i]
        except DatasetError as error:
            desk.book(f"{reader.name} {reader.split}, sample {i}", None, str(error))
            continue
        if not desk.has(sample.id):
            yield sample


def _thought(sample: Sample, endpoint: Endpoint, cameras: tuple[str, ...], pause: Callable[[float], None]) -> Answer:
    """The four parts, or why there are none."""
    error = ""
    try:
        messages = messages_of(sample, cameras)
        for _ in range(1 + ASKED_AGAIN):
            try:
                parts = reasoning.read(ask(endpoint, messages, pause))
                reasoning.write(parts)  # refuses what only the answer's own structure may hold
                return sample.id, parts, ""
            except ReasoningError as wrong:
                error = str(wrong)
    except ApiError as failure:
        if failure.fatal:
            raise
        error = str(failure)
    except DatasetError as unreadable:
        error = str(unreadable)
    return sample.id, None, error


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and annotate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, choices=sorted(registry.DATASETS))
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--index", type=Path, required=True, help="what training.prepare wrote")
    parser.add_argument("--split", required=True)
    parser.add_argument("--url", required=True, help="of the server, up to and with /v1")
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cameras", nargs="+", default=["front"])
    parser.add_argument("--workers", type=int, default=4, help="requests at once")
    parser.add_argument("--limit", type=int, help="the first so many samples")
    parser.add_argument("--skip-broken", action="store_true", help="of a split that was prepared so")
    args = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    endpoint = Endpoint(args.url, args.model, os.environ.get(KEY, ""))
    try:
        reader = registry.open_split(args.dataset, args.root, args.index, args.split, args.skip_broken)
        tally = annotate(reader, endpoint, args.out, args.cameras, args.workers, args.limit)
    except AutoVLAError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    logger.info("%d new, %d before, %d failed: %s", tally.done, tally.before, tally.failed, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
