"""The tokeniser on torch gives the tokens of the one on numpy, all of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from autovla_core.action import beam, reach, tokenizer
from autovla_core.action.codebook import SHIPPED, Codebook
from autovla_core.errors import ActionDecodeError
from autovla_core.model.action_tokens import ActionTokens, ReachMask
from training.build_codebook import MotionConfig, synthetic_plans

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


@pytest.fixture(scope="module")
def book() -> Codebook:
    return Codebook.load(SHIPPED)


@pytest.fixture(scope="module", params=DEVICES)
def actions(request: pytest.FixtureRequest, book: Codebook) -> ActionTokens:
    return ActionTokens.of(book, request.param)


@pytest.fixture(scope="module")
def plans() -> np.ndarray:
    return synthetic_plans(1500, MotionConfig(), np.random.default_rng(77))


def test_greedy_tokens_are_numpys(actions: ActionTokens, book: Codebook, plans: np.ndarray) -> None:
    assert np.array_equal(actions.encode(plans).cpu().numpy(), tokenizer.encode(book, plans))


@pytest.mark.parametrize(("beams", "children"), [(8, 16), (3, 5), (1, 1)])
def test_beam_tokens_are_numpys(
    actions: ActionTokens, book: Codebook, plans: np.ndarray, beams: int, children: int
) -> None:
    found = actions.encode_beam(plans[:500], beams, children).cpu().numpy()
    assert np.array_equal(found, beam.encode(book, plans[:500], beams, children))


def test_exact_ties_fall_to_the_lower_index_as_in_numpy() -> None:
    motions = np.repeat([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [2.0, 0.2, 0.1], [2.0, -0.2, -0.1]], [1, 3, 3, 3], axis=0)
    book = Codebook(motions)
    straight = np.stack([2.0 * np.arange(1, 6), np.zeros(5), np.zeros(5)], axis=1)[None]
    bent = tokenizer.decode(book, np.array([[4, 4, 7, 7, 4]]))
    between = straight * [0.5, 1.0, 1.0]  # half-way between standing and driving on
    for plan in (straight, bent, between):
        assert np.array_equal(ActionTokens.of(book).encode(plan).numpy(), tokenizer.encode(book, plan))
        assert np.array_equal(ActionTokens.of(book).encode_beam(plan).numpy(), beam.encode(book, plan))
    assert ActionTokens.of(book).encode(straight).tolist() == [[1] * 5]


def test_tensors_and_arrays_and_no_plans_are_taken(actions: ActionTokens, plans: np.ndarray) -> None:
    assert torch.equal(actions.encode(torch.from_numpy(plans[:5])), actions.encode(plans[:5]))
    assert actions.encode(np.zeros((0, 10, 3))).shape == (0, 10)
    with pytest.raises(ValueError, match="N, T, 3"):
        actions.encode(np.zeros((10, 3)))


def test_decoding_is_numpys(actions: ActionTokens, book: Codebook) -> None:
    tokens = np.random.default_rng(3).integers(0, len(book), (40, 10))
    found = actions.decode(torch.from_numpy(tokens).to(actions.moves.device)).cpu().numpy()
    wanted = tokenizer.decode(book, tokens)
    assert np.allclose(found[..., :2], wanted[..., :2], atol=1e-12)
    assert np.allclose(np.exp(1j * found[..., 2]), np.exp(1j * wanted[..., 2]), atol=1e-12)
    with pytest.raises(ActionDecodeError, match="2048"):
        actions.decode(torch.tensor([2048]))


def test_masks_on_the_device_are_those_of_reach(book: Codebook) -> None:
    mask = ReachMask.of(book)
    tokens = torch.tensor([0, 17, 1500])
    after = mask.after(tokens).numpy()
    for row, token in zip(after, tokens.tolist(), strict=True):
        assert np.array_equal(row, reach.reachable(book, None, token))
    first = mask.first(np.array([0.0, 7.0])).numpy()
    assert np.array_equal(first[1], reach.reachable(book, 7.0))


def test_plans_decoded_inside_the_mask_are_reachable_whatever_the_scores(book: Codebook) -> None:
    speeds, chance = np.array([0.0, 3.0, 7.5, 12.0]), torch.Generator().manual_seed(1)
    allowed = ReachMask.of(book).at(speeds)
    tokens: list[torch.Tensor] = []
    for _ in range(10):
        mask = allowed(tokens[-1] if tokens else None)
        scores = torch.randn((len(speeds), len(book)), generator=chance).masked_fill(~mask, -torch.inf)
        tokens.append(scores.argmax(dim=1))
    plans = torch.stack(tokens, dim=1).numpy()
    for speed, plan in zip(speeds, plans, strict=True):
        assert reach.reachable(book, speed)[plan[0]]
        assert all(reach.reachable(book, None, a)[b] for a, b in zip(plan, plan[1:], strict=False))
