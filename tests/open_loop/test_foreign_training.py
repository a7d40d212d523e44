"""Foreign data sets in the trainer: columns, pictures, masks, thoughts, mixtures, and the guard of test splits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from autovla_core import config
from autovla_core.action import tokenizer
from autovla_core.action.codebook import Codebook
from autovla_core.model import tiny
from autovla_core.model.encoding import CameraView, Encoder
from autovla_core.model.images import crop
from autovla_core.model.patches import batch_vision
from autovla_core.prompt import answer, reasoning
from training import annotation_file, losses, sft
from training.augment import AugmentConfig
from training.collate import Batch, Collator
from training.datasets import nuscenes, registry
from training.datasets.mixture import Mixture, MixtureConfig, SourceConfig, open_source, split_scenes
from training.datasets.routes import RouteDataset, find_routes
from training.datasets.sample import DatasetError
from training.datasets.sampled import Columns, SampledDataset, known_poses, thought_of
from training.rft_scenes import open_pools
from training.schedule import LoopConfig
from training.sft_data import thought_ids
from training.sft_settings import DataConfig, LossConfig, ModelConfig, SftConfig
from training.student import build
from training.trainee import Trainee
from training.validation import validate

CAMERAS = (CameraView("front", 56, 84),)
PLAIN = AugmentConfig(0.0, 0.0, 0, 0.0, 0.0, 0.0)


@pytest.fixture(scope="module")
def dataset(root: Path, index: Path, codebook: Codebook, tmp_path_factory: pytest.TempPathFactory) -> SampledDataset:
    """mini_val, because its scenes end and masks are not whole."""
    cache = tmp_path_factory.mktemp("cache")
    return SampledDataset(nuscenes.open_split(root, index, "mini_val"), CAMERAS, codebook, cache)


@pytest.fixture(scope="module")
def encoder(codebook: Codebook) -> Encoder:
    vocabulary = tiny.build_tokenizer(len(codebook))
    return Encoder(tiny.build_model("n01", vocabulary, codebook, 56, 84), vocabulary, CAMERAS, len(codebook))


def collator(dataset: SampledDataset, encoder: Encoder, codebook: Codebook, **more: object) -> Collator:
    return Collator(dataset, encoder, codebook, np.ones(len(dataset)), PLAIN, 4, 1.0, 0, **more)


def batch_of(built: Collator, *indices: int) -> Batch:
    return built.collate(np.array(indices), np.random.default_rng(0))


def test_columns_are_the_readers_samples(dataset: SampledDataset, root: Path, index: Path, codebook: Codebook) -> None:
    reader = nuscenes.open_split(root, index, "mini_val")
    columns = dataset.samples
    assert len(columns) == len(reader) == 34 and dataset.ids == [sample.id for sample in reader]
    for row in (0, 16, 20, 33):
        sample = reader[row]
        assert (columns.speed[row], columns.command[row]) == (sample.speed, int(sample.command))
        assert np.array_equal(columns.mask[row], sample.mask)
        assert np.array_equal(columns.tokens[row], tokenizer.encode(codebook, columns.poses[row]))
        assert columns.thought[row] == thought_of(sample)
    assert columns.route.tolist() == [0] * 17 + [1] * 17


def test_pictures_are_decoded_once_and_are_the_cropped_files(dataset: SampledDataset, root: Path, index: Path) -> None:
    sample = nuscenes.open_split(root, index, "mini_val")[4]
    clips = dataset.clips(np.array([4, 4]))["front"]
    assert clips.shape == (2, 4, 56, 84, 3) and np.array_equal(clips[0], clips[1])
    whole = sample.images["front"][-1].read()  # 160 x 90: 135 x 90 is as wide as 84 x 56
    wanted = whole[:, 12:147].mean(axis=(0, 1))
    assert np.abs(clips[0, -1].mean(axis=(0, 1)) - wanted).max() < 1.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.datasets.sample.StoredImage.read", None)  # would fail if it were called
        assert np.array_equal(dataset.clips(np.array([4]))["front"][0], clips[0])


def test_a_crop_keeps_the_middle_and_the_road() -> None:
    image = np.arange(6 * 8).reshape(6, 8, 1).repeat(3, axis=2).astype(np.uint8)
    assert np.array_equal(crop(image, 6, 8), image)
    assert np.array_equal(crop(image, 6, 4), image[:, 2:6])
    assert np.array_equal(crop(image, 3, 8), image[2:5])  # of three rows too many, two are taken from the top


def test_unknown_poses_repeat_the_last_known_one() -> None:
    poses = np.full((10, 3), np.nan)
    poses[1] = [1.0, 2.0, 0.5]
    mask = np.arange(10) == 1
    filled = known_poses(poses, mask)
    assert not filled[0].any() and np.array_equal(filled[1:], np.tile(poses[1], (9, 1)))


def test_the_loss_looks_at_known_poses_alone(dataset: SampledDataset, encoder: Encoder, codebook: Codebook) -> None:
    # sample 14 is key frame 17 of 20: two poses are known. Answer: fixed text, ten actions, fixed text, end of turn
    batch = batch_of(collator(dataset, encoder, codebook), 14)
    assert batch.known[0].tolist() == [True] * 2 + [False] * 8
    weights = batch.weights[0, batch.action[0]]
    counted = 13 - 8  # tokens of the answer whose loss counts
    assert torch.allclose(weights, torch.tensor([1 / counted + 1 / 2] * 2 + [0.0] * 8))
    assert batch.weights[0].sum() == pytest.approx(2.0)  # L_LM and lambda_a times L_action are both means


def tiny_settings() -> SftConfig:
    return SftConfig(DataConfig(), Path("x"), LoopConfig(steps=1), ModelConfig("n01", cameras=CAMERAS))


def test_a_changed_unknown_future_changes_no_loss(
    dataset: SampledDataset, encoder: Encoder, codebook: Codebook
) -> None:
    model, vocabulary, _ = build(tiny_settings())
    trainee = Trainee(model, Encoder(model, vocabulary, CAMERAS, len(codebook)), codebook, LossConfig())
    batch = batch_of(collator(dataset, encoder, codebook), 14)
    before, _ = trainee(batch)
    labels, poses = batch.labels.clone(), batch.poses.clone()
    unknown = batch.action[0].nonzero()[2:, 0]
    labels[0, unknown] = encoder.first_action + 7
    poses[0, 2:] += 9.0
    after, _ = trainee(dataclasses.replace(batch, labels=labels, poses=poses))
    assert torch.equal(before, after)
    poses[0, 1] += 9.0
    assert not torch.equal(before, trainee(dataclasses.replace(batch, poses=poses))[0])


def test_the_waypoint_loss_is_a_mean_over_known_poses() -> None:
    poses = torch.zeros(1, 2, 3)
    predicted = torch.tensor([[[1.0, 1.0], [5.0, 5.0]]])  # smooth L1: 0.5 at 1, 4.5 at 5
    assert losses.waypoint_loss(predicted, poses).item() == pytest.approx(2.5)
    known = torch.tensor([[True, False]])
    assert losses.waypoint_loss(predicted, poses, known).item() == pytest.approx(0.5)
    assert losses.waypoint_loss(predicted, poses, ~known & known).item() == 0.0


def test_a_sample_with_a_thought_is_taught_as_a_slow_answer(
    dataset: SampledDataset, encoder: Encoder, codebook: Codebook
) -> None:
    openings = thought_ids(dataset, encoder)
    assert sorted(openings) == [2, 19]  # key frame 5 of both scenes; the last part needs the future that 12 lacks
    batch = batch_of(collator(dataset, encoder, codebook, openings=openings, reasoning_weight=40.0), 2, 3)
    assert batch.action.sum(1).tolist() == [10, 10]
    text = encoder.decode(batch.labels[0].tolist())
    actions = [int(i) - encoder.first_action for i in batch.labels[0, batch.action[0]]]
    read = answer.parse(text)
    assert read.mode.value == "slow" and list(read.tokens) == actions == dataset.samples.tokens[2].tolist()
    assert read.thought.startswith("### Scene Description:\nThere is one white sedan")
    assert batch.weights.sum(1).tolist() == pytest.approx([80.0, 2.0], rel=1e-5)
    rows = torch.arange(2)[:, None]
    inside = batch.weights > 0
    assert torch.equal(batch.ids[rows, batch.places + 1][inside], batch.labels[inside])


def test_a_mixture_draws_by_weight_and_reads_from_the_right_part(
    dataset: SampledDataset, codebook: Codebook, write_route: Callable[..., Path], tmp_path: Path
) -> None:
    for seed in range(2):
        write_route(tmp_path / "logs" / f"route_{seed}", seed, 6)
    routes = RouteDataset(find_routes([tmp_path / "logs"]), CAMERAS, codebook, tmp_path / "cache")
    mixture = Mixture([routes, dataset])
    assert len(mixture) == 12 + 34 and mixture.samples.mask[:12].all()
    assert mixture.samples.route.tolist() == [0] * 6 + [1] * 6 + [2] * 17 + [3] * 17
    picked = np.array([13, 2, 45])
    clips = mixture.clips(picked)["front"]
    assert np.array_equal(clips[1], routes.clips(np.array([2]))["front"][0])
    assert np.array_equal(clips[[0, 2]], dataset.clips(np.array([1, 33]))["front"])
    frequency = mixture.frequencies([np.ones(12), np.ones(34)], [3.0, 1.0])
    assert frequency[:12].sum() == pytest.approx(3.0) and frequency[12:].sum() == pytest.approx(1.0)


def test_route_logs_alone_are_weighted_as_ever(codebook: Codebook, write_route: Callable[..., Path], tmp_path) -> None:
    write_route(tmp_path / "logs" / "route", 1, 6)
    routes = RouteDataset(find_routes([tmp_path / "logs"]), CAMERAS, codebook, tmp_path / "cache")
    columns = Columns.of(routes.samples)
    assert columns.mask.all() and set(columns.thought) == {None} and Columns.of(columns) is columns


def test_a_scene_lies_on_one_side_only(root: Path, index: Path) -> None:
    reader = nuscenes.open_split(root, index, "mini_val")
    for share in (0.0, 0.5, 0.9, 1.0):
        training, held_out = split_scenes(reader, share)
        sides = [{reader[i].scene for i in side} for side in (training, held_out)]
        assert not sides[0] & sides[1] and len(training) + len(held_out) == 34


def test_nobody_trains_on_a_test_split_unawares(root: Path, index: Path, codebook: Codebook, tmp_path: Path) -> None:
    source = SourceConfig("nuscenes", root, index, "mini_val")
    with pytest.raises(DatasetError, match="scored on its split 'mini_val'.*--i-know"):
        open_source(source, CAMERAS, codebook, tmp_path, 1, i_know=False)
    training, held_out = open_source(source, CAMERAS, codebook, tmp_path, 1, i_know=True)
    assert len(training) + (len(held_out) if held_out else 0) == 34
    for name, split in (("nuscenes", "val"), ("navsim", "navtest"), ("waymo", "test")):
        with pytest.raises(DatasetError, match="has no score"):
            registry.refuse_held_out(name, split, i_know=False)
    registry.refuse_held_out("nuscenes", "train", i_know=False)


def test_unknown_data_sets_and_options_are_named(root: Path, index: Path) -> None:
    with pytest.raises(DatasetError, match="known: nuscenes, navsim, waymo, cot"):
        registry.open_split("kitti", root, index, "train")
    with pytest.raises(DatasetError, match=r"unknown options \['comand'\]; it has: command"):
        registry.open_split("nuscenes", root, index, "mini_val", options={"comand": "none"})


def test_a_sample_without_the_wanted_camera_is_named(root: Path, index: Path, codebook: Codebook, tmp_path) -> None:
    with pytest.raises(DatasetError, match=r"no clip of \['back'\]; it has"):
        reader = nuscenes.open_split(root, index, "mini_val")
        SampledDataset(reader, (CameraView("back", 56, 84),), codebook, tmp_path)


def test_validation_counts_known_poses_alone(dataset: SampledDataset, codebook: Codebook) -> None:
    model, vocabulary, book = build(tiny_settings())
    batch_vision(model)
    built = Encoder(model, vocabulary, CAMERAS, len(book))
    last = validate(model, built, book, dataset, np.array([16, 33]))  # the last key frames: nothing is known
    assert np.isnan(last["ade_m"]) and "ade_standing_m" not in last
    assert np.isfinite(validate(model, built, book, dataset, np.array([15]))["ade_m"])


@pytest.mark.parametrize("name", ["open_loop_nuscenes", "open_loop_mixture"])
def test_the_recipes_are_valid(name: str) -> None:
    recipe = config.load(SftConfig, Path(sft.__file__).parent / "recipes" / f"{name}.yaml")
    for source in recipe.data.sources:
        registry.refuse_held_out(source.dataset, source.split, i_know=False)
    assert recipe.loss.reasoning == 40.0
    if name == "open_loop_mixture":
        weights = {}
        for source in recipe.data.sources:
            weights[source.dataset] = weights.get(source.dataset, 0.0) + source.weight
        assert weights == pytest.approx({"navsim": 166.3, "nuscenes": 19.0, "waymo": 23.8})


def test_reinforcement_knows_the_thoughts_of_a_source_too(
    root: Path, index: Path, codebook: Codebook, tmp_path: Path
) -> None:
    reader = nuscenes.open_split(root, index, "mini_train")
    thought, file = reasoning.Reasoning("Rain.", "A car ahead.", "Follow it.", "Keep the lane."), tmp_path / "thoughts"
    with annotation_file.Annotations.open(file, {}) as annotations:
        annotations.add(reader[0].id, thought)
    source = SourceConfig("nuscenes", root, index, "mini_train", held_out=0.0, thoughts=file)
    data = MixtureConfig(cache=tmp_path / "cache", sources=(source,))
    pool, _ = open_pools(data, CAMERAS, codebook, frozenset(), 1, i_know=False)
    assert pool.columns.thought[0] == reasoning.write(thought)
    assert pool.scene(0).complex and not pool.scene(1).complex
