"""The shipped model behind a server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from autovla_core.contracts import Clip, Command
from autovla_core.errors import ObservationError
from autovla_core.model.vla import AutoVLA
from autovla_core.serving.remote import RemotePlanner

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def model() -> AutoVLA:
    return AutoVLA.from_pretrained(ROOT / "models" / "autovla-tiny", threads=1)


def seen(observe, seed: int, **changes: object):
    """Smooth pictures of another size than the model's, as a camera gives them."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (4, 14, 28, 3), dtype=np.uint8)
    clip = Clip(coarse.repeat(10, axis=1).repeat(10, axis=2), np.arange(4) * 0.5)
    state = {"speed": float(seed % 9), "command": [Command.FOLLOW, Command.LEFT, Command.RIGHT][seed % 3]}
    return observe(seed, clips={"front": clip}, **{**state, **changes})


def test_the_server_gives_the_tokens_that_the_model_gives_in_process(model, serve, observe) -> None:
    remote = RemotePlanner(serve(model).address)
    found = [remote.plan(seen(observe, seed)) for seed in range(5)]
    expected = [model.plan(seen(observe, seed)) for seed in range(5)]
    for a, b in zip(found, expected):
        assert np.array_equal(a.tokens, b.tokens) and np.array_equal(a.poses, b.poses)
        assert np.allclose(a.log_probs, b.log_probs) and a.mode is b.mode
    assert len({tuple(plan.tokens) for plan in found}) > 1


def test_batched_simulators_get_the_tokens_that_they_would_get_alone(model, serve, observe) -> None:
    server = serve(model, window_s=0.5)
    remotes = [RemotePlanner(server.address) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for round in range(2):
            observations = [seen(observe, 4 * round + i) for i in range(4)]
            plans = list(pool.map(lambda remote, o: remote.plan(o), remotes, observations))
            for plan, observation in zip(plans, observations):
                assert np.array_equal(plan.tokens, model.plan(observation).tokens)
                assert plan.observed_at_s == observation.time_s
    assert max(plan.timings_ms["batch"] for plan in plans) == 4


def test_the_models_own_refusals_arrive_by_name(model, serve, observe) -> None:
    remote = RemotePlanner(serve(model).address)
    with pytest.raises(ObservationError, match="no clip of camera 'front'"):
        remote.plan(observe(clips={}))
    with pytest.raises(ObservationError, match="speed is nan"):
        remote.plan(seen(observe, 0, speed=float("nan")))
