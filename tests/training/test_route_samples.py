from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from autovla_core.action import tokenizer
from autovla_core.action.codebook import Codebook
from autovla_core.contracts import Command, Observation
from autovla_core.errors import LogError
from autovla_core.logs.reader import RouteLog
from autovla_core.model import checkpoint, tiny
from autovla_core.model.encoding import CameraView, Encoder
from autovla_core.model.vla import AutoVLA
from training import augment
from training.augment import AugmentConfig
from training.collate import Collator
from training.datasets import routes
from training.datasets.routes import RouteDataset, find_routes, sample_weights, split

CAMERAS = (CameraView("front", 56, 84),)
PLAIN = AugmentConfig(0.0, 0.0, 0, 0.0, 0.0, 0.0)


@pytest.fixture(scope="module")
def dataset(route_logs: Path, codebook: Codebook, tmp_path_factory: pytest.TempPathFactory) -> RouteDataset:
    return RouteDataset(find_routes([route_logs]), CAMERAS, codebook, tmp_path_factory.mktemp("cache"))


def test_a_sample_is_what_the_log_says(dataset: RouteDataset, route_logs: Path, codebook: Codebook) -> None:
    log = RouteLog(find_routes([route_logs])[2])
    rows = np.flatnonzero(dataset.samples.route == 2)
    for row in (0, 3, 23):
        index, tick = rows[row], log.plans["tick"][row]
        assert np.array_equal(dataset.clips(np.array([index]))["front"][0], log.clip("front", tick).images)
        assert dataset.samples.speed[index] == log.plans["speed"][row]
        assert np.array_equal(dataset.samples.tokens[index], tokenizer.encode(codebook, log.plans["poses"][row]))


def test_the_second_opening_reads_the_cache(
    dataset: RouteDataset, route_logs: Path, codebook: Codebook, tmp_path
) -> None:
    folders = find_routes([route_logs])[:1]
    first = RouteDataset(folders, CAMERAS, codebook, tmp_path)
    stamps = {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    second = RouteDataset(folders, CAMERAS, codebook, tmp_path)
    assert stamps == {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    some = np.array([0, 7, 23])
    assert np.array_equal(first.clips(some)["front"], second.clips(some)["front"])


def test_images_are_made_as_large_as_the_model_wants_them(route_logs: Path, codebook: Codebook, tmp_path) -> None:
    small = RouteDataset(find_routes([route_logs])[:1], (CameraView("front", 28, 42),), codebook, tmp_path)
    large = RouteDataset(find_routes([route_logs])[:1], CAMERAS, codebook, tmp_path)
    some = np.array([0, 7])
    shrunk = small.clips(some)["front"].astype(int)
    mean = large.clips(some)["front"].reshape(2, 4, 28, 2, 42, 2, 3).mean(axis=(3, 5))
    assert shrunk.shape == (2, 4, 28, 42, 3) and np.abs(shrunk - mean).mean() < 2.0


def test_images_of_another_shape_and_unknown_cameras_are_named(route_logs: Path, codebook: Codebook, tmp_path) -> None:
    folders = find_routes([route_logs])[:1]
    with pytest.raises(LogError, match="stretched to fit 224x112"):
        RouteDataset(folders, (CameraView("front", 112, 224),), codebook, tmp_path)
    with pytest.raises(LogError, match="rear"):
        RouteDataset(folders, (CameraView("rear", 56, 84),), codebook, tmp_path)
    with pytest.raises(LogError, match="no route logs"):
        RouteDataset([], CAMERAS, codebook, tmp_path)


def test_a_route_stays_on_its_side_of_the_split_when_others_come() -> None:
    names = [Path(f"route_{i}") for i in range(400)]
    training, held_out = split(names, 0.1)
    assert 20 < len(held_out) < 60 and len(training) + len(held_out) == 400
    assert split(names[::7], 0.1)[1] == [name for name in names[::7] if name in held_out]


def test_events_change_how_often_a_sample_is_drawn(dataset: RouteDataset) -> None:
    turning = routes.EVENTS["turn"](dataset.samples)
    weights = sample_weights(dataset.samples, {"turn": 3.0})
    assert turning.any() and set(weights[turning]) == {3.0} and set(weights[~turning]) == {1.0}
    with pytest.raises(ValueError, match="known: turn"):
        sample_weights(dataset.samples, {"trun": 3.0})


def test_noise_free_tokens_are_the_greedy_ones_and_noisy_ones_lead_back(codebook: Codebook, dataset) -> None:
    poses = dataset.samples.poses[:40]
    fed, labels = augment.noisy_tokens(codebook, poses, 0.0, np.random.default_rng(0))
    assert np.array_equal(fed, labels) and np.array_equal(fed, dataset.samples.tokens[:40])
    fed, labels = augment.noisy_tokens(codebook, poses, 0.3, np.random.default_rng(0))
    assert 0.2 < (fed != labels).mean() < 0.4
    assert np.linalg.norm(tokenizer.decode(codebook, fed) - poses, axis=-1).mean() < 0.5


def test_a_shift_moves_the_picture_and_keeps_the_edge() -> None:
    clip = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
    moved = augment.shift(clip, 1, -1)
    assert np.array_equal(moved[:, :2, 1:], clip[:, 1:, :3])
    assert np.array_equal(moved[:, 2], clip[:, 2]) and np.array_equal(moved[:, :, 0], clip[:, :, 0])


def test_batches_depend_on_the_step_alone(dataset: RouteDataset, codebook: Codebook, encoder: Encoder) -> None:
    collator = Collator(dataset, encoder, codebook, np.ones(len(dataset)), AugmentConfig(), 4, 1.0, seed=1)
    collator.batch(3)
    a, b = collator.batch(7), collator.batch(7)
    assert torch.equal(a.ids, b.ids) and torch.equal(a.clips["front"], b.clips["front"])
    assert not torch.equal(a.clips["front"], collator.batch(8).clips["front"])


@pytest.fixture(scope="module")
def encoder(codebook: Codebook) -> Encoder:
    vocabulary = tiny.build_tokenizer(len(codebook))
    return Encoder(tiny.build_model("n01", vocabulary, codebook, 56, 84), vocabulary, CAMERAS, len(codebook))


def test_labels_are_the_whole_answer_and_nothing_of_the_prompt(dataset, codebook: Codebook, encoder: Encoder) -> None:
    batch = Collator(dataset, encoder, codebook, np.ones(len(dataset)), PLAIN, 4, 1.0, 0).batch(0)
    assert batch.labels.shape == (4, 13)  # fixed text, ten actions, fixed text, end of turn
    assert batch.action.sum(1).tolist() == [10] * 4
    rows = torch.arange(4)[:, None]
    assert torch.equal(batch.ids[rows, batch.places + 1], batch.labels)


def test_training_and_driving_see_the_same_prompt_and_the_same_pixels(
    dataset: RouteDataset, route_logs: Path, codebook: Codebook, tmp_path: Path
) -> None:
    vocabulary = tiny.build_tokenizer(len(codebook))
    model = tiny.build_model("n01", vocabulary, codebook, 56, 84)
    planner = AutoVLA.from_pretrained(checkpoint.save(tmp_path / "m", model, vocabulary, codebook, CAMERAS, {}))
    row = 9
    log = RouteLog(find_routes([route_logs])[0])
    plan = list(log.plan_rows())[row]
    clip = log.clip("front", plan.tick)
    state = plan.speed, plan.acceleration, np.zeros(3), Command(plan.command), np.zeros((0, 2))
    seen = planner.inputs(Observation(plan.time_s, {"front": clip}, *state))
    prompt = seen.prompt + planner.encoder.fast_ids
    collator = Collator(dataset, planner.encoder, codebook, np.ones(len(dataset)), PLAIN, 1, 1.0, 0)
    batch = collator.collate(np.array([row]), np.random.default_rng(0))
    start = len(prompt)
    assert tuple(batch.ids[0, :start].tolist()) == prompt
    assert int(batch.ids[0, start]) == planner.encoder.first_action + dataset.samples.tokens[row, 0]
    ours = planner.encoder.patches(batch.clips, (batch.gain, batch.offset))
    assert torch.equal(ours, planner.encoder.patches(seen.clips))
