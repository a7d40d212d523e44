"""The compiled pieces against numbers worked by hand, and the compiled tower against the one it stands in for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from autovla_core.action.codebook import SHIPPED, Codebook
from autovla_core.model import tiny
from autovla_core.model.compiled_tower import CompiledTower
from autovla_core.model.encoding import CameraView, Encoder
from autovla_core.model.kernels import layers, parts, steps
from autovla_core.model.tables import in_halves
from autovla_core.model.tower import LeanTower
from autovla_core.model.vision_cache import Seen


def test_two_bfloat16_lie_in_one_word() -> None:
    (words,) = in_halves(torch.tensor([[1.0, -2.0], [3.0, 0.5]]))
    assert words.tolist() == [[0x40403F80, 0x3F00C000]]


def test_a_weight_that_is_no_bfloat16_keeps_all_its_bits_and_those_beside_it() -> None:
    exact, other = torch.ones(2, 3), torch.full((2, 3), 1.0 + 2.0**-10)
    assert [table.dtype for table in in_halves(exact, other)] == [np.float32, np.float32]
    assert in_halves(torch.ones(3, 2))[0].dtype == np.float32  # an odd row has no partner


@pytest.mark.parametrize("count", [2, 8, 14])
def test_halves_multiply_as_the_matrix_does(count: int) -> None:
    rng = np.random.default_rng(count)
    matrix, x = (rng.integers(-8, 8, shape).astype(np.float32) for shape in ((count, 37), (3, count)))
    for product, table in (
        (steps._add_halves, in_halves(torch.from_numpy(matrix))[0]),
        (steps._add_floats, matrix),
    ):
        out = np.ones((3, 37), np.float32)
        product(x, table, out)
        assert np.array_equal(out, 1.0 + x @ matrix)  # whole numbers: exact in any order


def test_the_exponential_is_true_to_a_unit_in_the_last_place_and_keeps_what_is_no_number() -> None:
    for x in np.linspace(-74.9, 87.9, 401, dtype=np.float32):
        assert parts.exponential(x) == pytest.approx(math.exp(x), rel=2.5e-7)
    assert math.isnan(parts.exponential(np.float32(np.nan)))
    assert 0.0 < parts.exponential(np.float32(-1e9)) < 1e-32


def test_shares_are_the_softmax_of_what_may_be_seen() -> None:
    scores = np.random.default_rng(0).normal(size=(2, 3, 37)).astype(np.float32)
    whole, causal = scores.copy(), scores.copy()
    layers.share(whole, 0.5, False)
    layers.share(causal, 0.5, True)
    expected = torch.softmax(torch.from_numpy(scores) * 0.5, -1).numpy()
    assert np.allclose(whole, expected, atol=1e-6)
    assert np.allclose(causal[:, 2], expected[:, 2], atol=1e-6) and not causal[:, 0, 35:].any()
    assert np.allclose(causal.sum(-1), 1.0, atol=1e-6)


def test_pairs_are_the_same_only_if_every_byte_is() -> None:
    one, other = bytearray(10_000), bytearray(10_000)
    other[1] = 1  # a byte that is not hashed
    seen = {Seen(one): "one"}
    assert hash(Seen(one)) == hash(Seen(other))
    assert Seen(other) not in seen and seen[Seen(bytes(one))] == "one"


@pytest.mark.parametrize("cameras", [((56, 84),), ((140, 112), (56, 84), (84, 84))])
def test_the_compiled_tower_sees_what_the_tower_sees_in_windows_of_several_sizes(cameras) -> None:
    book = Codebook.load(SHIPPED)
    tokenizer = tiny.build_tokenizer(len(book))
    model = tiny.build_model("n01", tokenizer, book, *cameras[0], 0).eval().requires_grad_(False)
    tower = model.model.visual
    tower.window_size, tower.fullatt_block_indexes = 112, [len(tower.blocks) - 1]
    with torch.no_grad():
        for parameter in tower.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.2 if parameter.ndim == 1 else parameter * 5.0)
    views = tuple(CameraView(name, *size) for name, size in zip(("front", "front_left", "front_right"), cameras))
    encoder = Encoder(model, tokenizer, views, len(book))
    rng = np.random.default_rng(1)
    images = {v.id: torch.from_numpy(rng.integers(0, 256, (1, 2, v.height, v.width, 3), np.uint8)) for v in views}
    (expected,), compiled = LeanTower(model, encoder)(images, 1), CompiledTower(model, encoder)
    (found,) = compiled(images, 1)
    assert expected.std() > 0.1 and torch.allclose(found, expected, atol=2e-5 * float(expected.abs().max()))
    with torch.no_grad():
        tower.patch_embed.proj.weight.mul_(0.5)
    (trained,) = compiled(images, 1)
    assert torch.allclose(trained, LeanTower(model, encoder)(images, 1)[0], atol=2e-5 * float(expected.abs().max()))
    assert not torch.allclose(trained, expected, atol=1e-2)
