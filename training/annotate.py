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
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm.auto import tqdm

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
    sleep: Callable[[float], None] = time.sleep,
) -> Tally:
    """Ask for every sample that ``out`` does not hold yet; a failed one is logged, counted and left for the next run.

    Raises:
        DatasetError: ``out`` was written for other data, another model or another request.
        ApiError: the server refuses every request of this kind (a wrong key, model or address).
    """
    heading = {"data": f"{reader.name} {reader.split}", "model": endpoint.model, "request": prompt_hash(cameras)}
    with Annotations.open(out, heading) as file:
        tally = Tally(before=len(file.ids))
        open_ = (i for i in range(len(reader) if limit is None else min(limit, len(reader))))
        samples = (sample for sample in (reader[i] for i in open_) if sample.id not in file.ids)
        with ThreadPoolExecutor(workers) as pool, tqdm(desc="thoughts", unit="sample") as bar:
            work = (pool.submit(_thought, sample, endpoint, tuple(cameras), sleep) for sample in samples)
            for sample_id, parts, error in _finished(work, AHEAD * workers):
                if parts is None:
                    logger.warning("%s: %s", sample_id, error)
                    tally = replace(tally, failed=tally.failed + 1)
                else:
                    file.add(sample_id, parts)
                    tally = replace(tally, done=tally.done + 1)
                bar.update()
                bar.set_postfix(failed=tally.failed)
    return tally


Answer = tuple[str, reasoning.Reasoning | None, str]


def _thought(sample: Sample, endpoint: Endpoint, cameras: tuple[str, ...], sleep: Callable[[float], None]) -> Answer:
    """The four parts, or why there are none."""
    error = ""
    try:
        messages = messages_of(sample, cameras)
        for _ in range(1 + ASKED_AGAIN):
            try:
                parts = reasoning.read(ask(endpoint, messages, sleep))
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


def _finished(work: Iterator[Future[Answer]], most: int) -> Iterator[Answer]:
    """Answers as they come, with at most ``most`` requests under way."""
    waiting: set[Future[Answer]] = set()
    for future in work:
        waiting.add(future)
        if len(waiting) >= most:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (f.result() for f in done)
    while waiting:
        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        yield from (f.result() for f in done)


def main() -> None:
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
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    reader = registry.open_split(args.dataset, args.root, args.index, args.split)
    endpoint = Endpoint(args.url, args.model, os.environ.get(KEY, ""))
    tally = annotate(reader, endpoint, args.out, args.cameras, args.workers, args.limit)
    logger.info("%d new, %d before, %d failed: %s", tally.done, tally.before, tally.failed, args.out)


if __name__ == "__main__":
    main()
