from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Qwen2_5_VLForConditionalGeneration

from autovla_core.action import tokenizer as actions
from autovla_core.action.vehicle import Vehicle
from autovla_core.contracts import Clip, Command, Observation
from autovla_core.errors import CheckpointError, CodebookError, ObservationError
from autovla_core.model import checkpoint, patches, tiny
from autovla_core.model.encoding import CameraView, action_start
from autovla_core.model.processor import load_processor
from autovla_core.model.vla import AutoVLA
from autovla_core.prompt import answer, render


@pytest.fixture(scope="module")
def planner(model_folder: Path) -> AutoVLA:
    return AutoVLA.from_pretrained(model_folder)


def hugging_face_tokens(folder: Path, planner: AutoVLA, observation: Observation) -> list[int]:
    """Ten greedy tokens by the library's own processor and ``generate``, allowed to choose among actions only."""
    processor = load_processor(folder)
    cameras = tuple(camera.id for camera in planner.cameras)
    prompt = render.render(observation.speed, observation.acceleration, observation.command, cameras)
    videos = [observation.clips[camera].images for camera in cameras]
    inputs = processor(text=[prompt + answer.FAST_PREFIX], videos=videos, return_tensors="pt")
    inputs.pop("video_metadata", None)
    first = planner.encoder.first_action
    allowed = list(range(first, first + planner.encoder.actions))
    model, _ = checkpoint.load(folder)  # without our attention
    out = model.generate(
        **inputs, max_new_tokens=10, do_sample=False, prefix_allowed_tokens_fn=lambda batch, ids: allowed
    )
    return (out[0, -10:] - first).tolist()


@pytest.mark.parametrize("seed", range(5))
def test_ten_valid_tokens_always_even_with_random_weights(planner: AutoVLA, observe, seed: int) -> None:
    plan = planner.plan(observe(seed, speed=float(seed) - 1.0, command=list(Command)[seed]))
    assert plan.tokens.shape == (10,) and plan.tokens.min() >= 0 and plan.tokens.max() < 2048
    assert plan.poses.shape == (10, 3)
    assert np.array_equal(plan.poses, actions.decode(planner.codebook, plan.tokens))
    assert np.all(plan.log_probs <= 0.0)


@pytest.mark.parametrize("seed", range(3))
def test_tokens_equal_hugging_face_generate_under_the_same_constraint(
    model_folder: Path, planner: AutoVLA, observe, seed: int
) -> None:
    observation = observe(seed)
    assert planner.plan(observation).tokens.tolist() == hugging_face_tokens(model_folder, planner, observation)


def test_three_cameras_equal_hugging_face_too(tmp_path: Path, folder_builder, observe) -> None:
    names = ("front", "front_left", "front_right")
    folder = folder_builder(tmp_path / "three", tuple(CameraView(name, 56, 84) for name in names))
    planner = AutoVLA.from_pretrained(folder)
    observation = observe(1, names)
    assert planner.plan(observation).tokens.tolist() == hugging_face_tokens(folder, planner, observation)


def test_our_patches_are_the_processors_patches(model_folder: Path, planner: AutoVLA, observation) -> None:
    clip = observation.clips["front"].images
    theirs = load_processor(model_folder).video_processor(videos=[clip], return_tensors="pt")
    ours = planner.encoder.patches({"front": torch.from_numpy(clip)[None]})
    assert torch.allclose(ours, theirs["pixel_values_videos"], atol=1e-5)


def test_patches_are_cut_where_qwen_cuts_them() -> None:
    clip = torch.zeros((1, 4, 28, 56, 3), dtype=torch.uint8)
    clip[0, 2, 14:, 42:, 1] = 255  # third image, second row and fourth column of patches, green
    values = patches.pixel_patches(clip)[0].reshape(2, 2, 4, 3, 2, 14, 14)  # pair, block, patch of block, rgb, image
    bright = values > 0
    assert bright[1, 1, 3, 1, 0].all()
    assert bright.sum() == 14 * 14


def test_the_answer_to_one_observation_does_not_depend_on_the_last(planner: AutoVLA, observe) -> None:
    first = planner.plan(observe(1))
    planner.plan(observe(2))
    planner.reset()
    again = planner.plan(observe(1))
    assert np.array_equal(first.tokens, again.tokens) and np.array_equal(first.log_probs, again.log_probs)


def test_a_blind_planner_sees_black_and_only_its_state(model_folder: Path, planner: AutoVLA, observe) -> None:
    blind = AutoVLA.from_pretrained(model_folder, blind=True)
    black = observe(1)
    black = dataclasses.replace(black, clips={"front": Clip(np.zeros((4, 56, 84, 3), np.uint8), np.arange(4) * 0.5)})
    expected = planner.plan(black)
    for seed in (1, 2):
        assert np.array_equal(blind.plan(observe(seed)).log_probs, expected.log_probs)
    assert not np.array_equal(planner.plan(observe(1)).log_probs, expected.log_probs)


def test_images_state_and_command_all_reach_the_model(planner: AutoVLA, observe) -> None:
    base = planner.plan(observe(1)).log_probs
    for change in ({"speed": 9.0}, {"acceleration": 2.0}, {"command": Command.LEFT}, {"instruction": "stop"}):
        assert not np.array_equal(planner.plan(observe(1, **change)).log_probs, base), change


def test_a_missing_camera_a_wrong_shape_and_a_nan_are_named(planner: AutoVLA, observe) -> None:
    with pytest.raises(ObservationError, match="no clip of camera 'front'"):
        planner.plan(observe(0, ("rear",)))
    small = Clip(np.zeros((4, 28, 28, 3), np.uint8), np.arange(4) * 0.5)
    with pytest.raises(ObservationError, match="stretched to fit 84x56"):
        planner.plan(observe(0, clips={"front": small}))
    for change in ({"speed": float("nan")}, {"acceleration": float("inf")}):
        with pytest.raises(ObservationError, match="finite"):
            planner.plan(observe(0, **change))


PICTURES = np.zeros((4, 56, 84, 3), np.uint8)


@pytest.mark.parametrize(
    ("images", "complaint"),
    [
        (PICTURES.astype(np.float32), r"images are float32 \(4, 56, 84, 3\); expected uint8"),
        (PICTURES[..., :1], r"images are uint8 \(4, 56, 84, 1\)"),
        (np.concatenate([PICTURES, PICTURES[..., :1]], axis=-1), r"images are uint8 \(4, 56, 84, 4\)"),
        (PICTURES[:0], r"clip of 'front' is \(0, 56, 84, 3\), expected \(4, H, W, 3\)"),
        (PICTURES[:3], r"clip of 'front' is \(3, 56, 84, 3\)"),
        (PICTURES[:, :0], "0 pixels|84x0 pixels"),
        (PICTURES[:, 0], r"clip of 'front' is \(4, 84, 3\)"),
        (PICTURES[:, None], r"clip of 'front' is \(4, 1, 56, 84, 3\)"),
        (PICTURES.tolist(), r"clip of 'front' is \(\), expected"),
        (None, r"clip of 'front' is \(\), expected"),
    ],
)
def test_pictures_of_a_wrong_kind_shape_or_number_are_named(planner: AutoVLA, observe, images, complaint: str) -> None:
    good = observe(0).clips["front"]
    with pytest.raises(ObservationError, match=complaint):
        planner.plan(observe(0, clips={"front": Clip(images, good.times_s)}))


def test_no_clip_at_all_is_named(planner: AutoVLA, observe) -> None:
    with pytest.raises(ObservationError, match=r"no clip of camera 'front'; the observation holds \[\]"):
        planner.plan(observe(0, clips={}))


def test_a_model_of_another_vehicle_is_refused_where_the_vehicle_is_known(model_folder: Path) -> None:
    assert AutoVLA.from_pretrained(model_folder, vehicle=Vehicle()).codebook.length == 4.89
    with pytest.raises(CodebookError, match="4.89 x 1.84 m, the vehicle is 12.00 x 2.50 m; build one for it"):
        AutoVLA.from_pretrained(model_folder, vehicle=Vehicle(length=12.0, width=2.5, wheel_base=6.0, rear_axle=3.0))


def test_a_tokenizer_without_the_actions_is_refused() -> None:
    with pytest.raises(CheckpointError, match="action tokens in a row"):
        action_start(tiny.build_tokenizer(100), 2048)


def test_motions_near_each_other_start_with_near_embeddings(planner: AutoVLA) -> None:
    rng = np.random.default_rng(0)
    points = np.array([[0.0, 0.0, 0.0], [0.02, 0.0, 0.0], [3.0, 0.5, 1.0]])
    rows = tiny.fourier_rows(np.concatenate([points, rng.normal(size=(500, 3))]), 128, rng)
    near, far = (rows[0] - rows[1]).norm(), (rows[0] - rows[2]).norm()
    assert near < 0.4 * far


@pytest.mark.parametrize("window", [56, 84])
def test_the_batched_tower_equals_the_librarys_also_with_unequal_windows(window: int) -> None:
    vocabulary = tiny.build_tokenizer(16)
    config = tiny.build_config(tiny.SIZES["n05"], vocabulary, 56, 84)
    config.vision_config.window_size, config.vision_config.fullatt_block_indexes = window, [1]
    torch.manual_seed(0)
    model = Qwen2_5_VLForConditionalGeneration._from_config(config, attn_implementation="sdpa").eval()
    pixels, grid = torch.randn((2 * 48, 1176)), torch.tensor([[2, 4, 6]] * 2)
    with torch.no_grad():
        expected = model.model.visual(pixels, grid_thw=grid).pooler_output
        patches.batch_vision(model)
        indices = {k.removeprefix("video_"): v for k, v in patches.vision_indices(model, grid).items()}
        found = model.model.visual(pixels, grid_thw=grid, **indices).pooler_output
    assert torch.allclose(found, expected, atol=1e-6)
