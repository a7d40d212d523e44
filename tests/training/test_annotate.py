"""Thoughts by a model behind an OpenAI-compatible API, against a local server that answers by a script."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autovla_core.contracts import Command
from autovla_core.prompt import reasoning
from autovla_core.prompt.reasoning import Reasoning
from training import annotate as program
from training import annotation_file
from training.annotate import annotate
from training.chat_api import ApiError, Endpoint, ask
from training.datasets.annotated import Annotated
from training.datasets.annotation_request import messages_of
from training.datasets.sample import DatasetError, Sample, StoredImage
from training.datasets.sampled import thought_of

THOUGHT = Reasoning("It is clear by day.", "A car ahead.", "We follow it.", "Best to drive forward and keep the speed.")
Script = Callable[[int, dict], tuple[int, dict[str, str], bytes]]


def answer(text: str) -> tuple[int, dict[str, str], bytes]:
    return 200, {}, json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]}).encode()


class Stub:
    """Answers requests by ``script(number, body)`` and keeps them."""

    def __init__(self) -> None:
        self.script: Script = lambda number, body: answer(reasoning.write(THOUGHT))
        self.bodies: list[dict] = []
        self.headers: list[dict[str, str]] = []
        self._lock = threading.Lock()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with stub._lock:
                    number = len(stub.bodies)
                    stub.bodies.append(body)
                    stub.headers.append({"path": self.path, **dict(self.headers)})
                code, headers, data = stub.script(number, body)
                self.send_response(code)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(f"http://127.0.0.1:{self.server.server_address[1]}/v1", "stub", "a-key", timeout_s=20.0)


@pytest.fixture
def stub() -> Iterator[Stub]:
    stub = Stub()
    yield stub
    stub.server.shutdown()
    stub.server.server_close()


class Sleeps:
    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


class Reader:
    name, split, broken = "toy", "train", []

    def __init__(self, folder: Path, count: int = 5) -> None:
        file = folder / "picture.jpg"
        Image.new("RGB", (1920, 1080), (200, 30, 30)).save(file)
        poses = np.column_stack([np.arange(1, 11) * 3.0, np.zeros(10), np.zeros(10)])
        clip = {"front": (StoredImage(file),) * 4}
        history = np.array([[-3.0, 0.0, 0.0]])
        self.samples = [
            Sample(f"s{i}", clip, 6.0, 0.5, Command.LEFT, history, poses, np.ones(10, bool)) for i in range(count)
        ]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


def run(stub: Stub, tmp_path: Path, count: int = 5, **more: object):
    return annotate(Reader(tmp_path, count), stub.endpoint, tmp_path / "thoughts.jsonl", sleep=Sleeps(), **more)


def test_every_sample_gets_its_thought_and_the_reader_shows_it(stub: Stub, tmp_path: Path) -> None:
    tally = run(stub, tmp_path)
    assert (tally.done, tally.failed, tally.before) == (5, 0, 0)
    thoughts = annotation_file.read(tmp_path / "thoughts.jsonl")
    assert thoughts == {f"s{i}": THOUGHT for i in range(5)}
    reader = Annotated(Reader(tmp_path, 6), thoughts)
    assert thought_of(reader[2]) == reasoning.write(THOUGHT) and reader[5].reasoning is None


def test_the_model_sees_the_clip_the_motion_the_command_and_the_hint(stub: Stub, tmp_path: Path) -> None:
    run(stub, tmp_path, 1)
    assert stub.headers[0]["path"] == "/v1/chat/completions" and stub.headers[0]["Authorization"] == "Bearer a-key"
    assert stub.bodies[0]["model"] == "stub" and stub.bodies[0]["max_tokens"] == 700
    parts = stub.bodies[0]["messages"][1]["content"]
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    assert len(urls) == 4 and all(url.startswith("data:image/jpeg;base64,") for url in urls)
    picture = Image.open(io.BytesIO(base64.b64decode(urls[0].split(",")[1])))
    assert picture.size == (960, 540)
    words = parts[-1]["text"]
    assert "6.0 m/s" in words and "turn left" in words and "drive forward and keep the speed" in words
    assert all(header in words for header in reasoning.HEADERS.values())


def test_a_second_run_asks_only_for_what_is_missing(stub: Stub, tmp_path: Path) -> None:
    run(stub, tmp_path, 3)
    tally = run(stub, tmp_path, 5)
    assert (tally.done, tally.before, len(stub.bodies)) == (2, 3, 5)


def test_half_a_line_of_a_killed_run_is_cut_off_and_asked_for_again(stub: Stub, tmp_path: Path) -> None:
    run(stub, tmp_path, 3, workers=1)
    file = tmp_path / "thoughts.jsonl"
    file.write_bytes(file.read_bytes()[:-25])
    tally = run(stub, tmp_path, 3)
    assert (tally.before, tally.done) == (2, 1) and len(annotation_file.read(file)) == 3
    file.write_bytes(file.read_bytes()[:10])  # not even the heading is whole
    assert run(stub, tmp_path, 3).done == 3


def test_a_file_of_another_model_is_not_mixed_with(stub: Stub, tmp_path: Path) -> None:
    run(stub, tmp_path, 1)
    other = Endpoint(stub.endpoint.url, "another")
    with pytest.raises(DatasetError, match="take another file"):
        annotate(Reader(tmp_path), other, tmp_path / "thoughts.jsonl")


def test_a_server_that_is_busy_is_asked_again_with_longer_and_longer_pauses(stub: Stub) -> None:
    codes = [500, 429, 503]
    stub.script = lambda number, body: (codes[number], {}, b"busy") if number < 3 else answer("at last")
    sleeps = Sleeps()
    assert ask(stub.endpoint, [], sleeps) == "at last" and sleeps.seconds == [1.0, 2.0, 4.0]


def test_a_server_that_says_how_long_to_wait_is_obeyed(stub: Stub) -> None:
    stub.script = lambda number, body: (429, {"Retry-After": "17"}, b"") if number == 0 else answer("ok")
    sleeps = Sleeps()
    ask(stub.endpoint, [], sleeps)
    assert sleeps.seconds == [17.0]


def test_a_server_may_ask_for_a_longer_pause_than_we_would_take_and_only_once(stub: Stub) -> None:
    waits = [{"Retry-After": "300"}, {}, {"Retry-After": "1"}]
    stub.script = lambda number, body: (429, waits[number], b"") if number < 3 else answer("ok")
    sleeps = Sleeps()
    ask(replace(stub.endpoint, first_wait_s=50.0), [], sleeps)
    assert sleeps.seconds == [300.0, 60.0, 60.0]


@pytest.mark.parametrize(
    "data", [b"not json", b"{}", b'{"choices": []}', b'{"choices": [{"message": {"content": 3}}]}']
)
def test_an_answer_that_is_none_is_tried_again_and_then_named(stub: Stub, data: bytes) -> None:
    stub.script = lambda number, body: (200, {}, data)
    with pytest.raises(ApiError, match="no answer in 5 tries"):
        ask(stub.endpoint, [], Sleeps())
    assert len(stub.bodies) == 5


def test_a_refusal_that_stays_one_is_not_tried_again(stub: Stub, tmp_path: Path) -> None:
    stub.script = lambda number, body: (401, {}, b"wrong key")
    with pytest.raises(ApiError, match="401 .*wrong key"):
        run(stub, tmp_path, workers=1)
    assert len(stub.bodies) <= 3  # those under way; nobody asks for the rest


def test_answers_that_came_with_a_refusal_are_kept(stub: Stub, tmp_path: Path) -> None:
    second, refused = threading.Event(), threading.Event()
    good = []

    def script(number: int, body: dict) -> tuple[int, dict[str, str], bytes]:
        if number == 0:
            second.wait(20.0)  # both are under way
            refused.set()
            return 401, {}, b"the key is no longer valid"
        second.set()
        refused.wait(20.0)
        good.append(number)
        return answer(reasoning.write(THOUGHT))

    stub.script = script
    with pytest.raises(ApiError, match="no longer valid"):
        run(stub, tmp_path, workers=2)
    assert good and len(annotation_file.read(tmp_path / "thoughts.jsonl")) == len(good)


class Interrupted(Reader):
    """Ctrl-C comes at the fourth sample, when three requests are under way."""

    under_way: threading.Event

    def __getitem__(self, index: int) -> Sample:
        if index == 3:
            self.under_way.wait(20.0)
            raise KeyboardInterrupt
        return super().__getitem__(index)


def test_answers_under_way_at_an_interrupt_are_kept_and_nobody_sleeps_on(stub: Stub, tmp_path: Path) -> None:
    reader = Interrupted(tmp_path)
    reader.under_way = threading.Event()

    def script(number: int, body: dict) -> tuple[int, dict[str, str], bytes]:
        if number == 2:
            reader.under_way.set()
        return (429, {"Retry-After": "3000"}, b"") if number == 0 else answer(reasoning.write(THOUGHT))

    stub.script = script
    with pytest.raises(KeyboardInterrupt):
        annotate(reader, stub.endpoint, tmp_path / "thoughts.jsonl", workers=3)
    assert len(annotation_file.read(tmp_path / "thoughts.jsonl")) == 2 and len(stub.bodies) == 3
    assert run(stub, tmp_path).before == 2


class Faulty(Reader):
    """Its second sample cannot be read."""

    def __getitem__(self, index: int) -> Sample:
        if index == 1:
            raise DatasetError("shard 7 is gone")
        return super().__getitem__(index)


def test_a_sample_that_cannot_be_read_fails_alone(stub: Stub, tmp_path: Path, caplog) -> None:
    tally = annotate(Faulty(tmp_path, 3), stub.endpoint, tmp_path / "out.jsonl", sleep=Sleeps())
    assert (tally.done, tally.failed) == (2, 1) and "toy train, sample 1: shard 7 is gone" in caplog.text


def test_the_program_says_errors_in_a_line_and_passes_on_what_may_be_broken(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def opened(dataset: str, root: Path, index: Path, split: str, skip_broken: bool = False) -> Reader:
        if not skip_broken:
            raise DatasetError("prepared without 3 broken records; pass --skip-broken")
        return reader

    reader = Reader(tmp_path, 2)
    monkeypatch.setattr(program.registry, "open_split", opened)
    monkeypatch.setenv(program.KEY, "a-key")
    command = ["--dataset", "cot", "--split", "train", "--url", stub.endpoint.url, "--model", "stub"]
    command += [part for name in ("root", "index", "out") for part in (f"--{name}", str(tmp_path / name))]
    assert program.main(command) == 1
    assert capsys.readouterr().err == "error: prepared without 3 broken records; pass --skip-broken\n"
    assert program.main([*command, "--skip-broken"]) == 0 and len(annotation_file.read(tmp_path / "out")) == 2
    stub.script = lambda number, body: (404, {}, b"no such model")
    reader = Reader(tmp_path, 3)
    assert program.main([*command, "--skip-broken"]) == 1
    assert "404" in capsys.readouterr().err.splitlines()[-1]
    reader = Interrupted(tmp_path)
    reader.under_way = threading.Event()
    reader.under_way.set()
    assert program.main([*command, "--skip-broken"]) == 130
    assert "goes on from here" in capsys.readouterr().err


def test_nobody_listening_is_named(tmp_path: Path) -> None:
    with pytest.raises(ApiError, match="no answer in 2 tries; the last: URLError"):
        ask(Endpoint("http://127.0.0.1:9/v1", "m", tries=2), [], Sleeps())


def test_a_thought_that_is_not_in_four_parts_is_asked_for_again_then_left_for_the_next_run(
    stub: Stub, tmp_path: Path
) -> None:
    good = reasoning.write(THOUGHT)
    stub.script = lambda number, body: answer("Sure!" if number == 0 else good)
    assert run(stub, tmp_path, 1).done == 1 and len(stub.bodies) == 2
    stub.script = lambda number, body: answer("I cannot see pictures.")
    tally = run(stub, tmp_path, 2)
    assert (tally.done, tally.failed, tally.before) == (0, 1, 1)
    stub.script = lambda number, body: answer(good)
    assert run(stub, tmp_path, 2).done == 1


def test_an_unreadable_picture_fails_its_sample_only(stub: Stub, tmp_path: Path) -> None:
    reader = Reader(tmp_path, 2)
    bad = StoredImage(tmp_path / "missing.jpg")
    reader.samples[0] = Sample(**{**vars(reader.samples[0]), "images": {"front": (bad,) * 4}})
    tally = annotate(reader, stub.endpoint, tmp_path / "out.jsonl", sleep=Sleeps())
    assert (tally.done, tally.failed) == (1, 1)


def test_a_sample_without_a_whole_future_or_the_camera_is_named(tmp_path: Path) -> None:
    sample = Reader(tmp_path, 1)[0]
    with pytest.raises(DatasetError, match="no camera"):
        messages_of(sample, ("front", "back"))
    with pytest.raises(DatasetError, match="future is not whole"):
        messages_of(Sample(**{**vars(sample), "mask": np.arange(10) < 9}), ("front",))


def test_a_damaged_file_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text('{"schema": "autovla-annotations/1"}\n{"id": "a", "scene": "x"}\n')
    with pytest.raises(DatasetError, match="t.jsonl"):
        annotation_file.read(file)
    file.write_text('{"schema": "else"}\n')
    with pytest.raises(DatasetError, match="expected a heading"):
        annotation_file.read(file)
    with pytest.raises(DatasetError, match="training.annotate"):
        annotation_file.read(tmp_path / "none.jsonl")
