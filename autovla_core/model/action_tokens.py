"""The action tokeniser on torch tensors, on any device: the same tokens as ``action.tokenizer`` and ``action.beam``.

Bit for bit the same distances: the steps are those of ``action.search``, only sums, products and square roots, one
kernel each. (A compiler that fuses a product into a sum rounds once instead of twice; do not compile these.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from autovla_core.action import reach, search
from autovla_core.action.beam import BEAMS, CHILDREN
from autovla_core.action.codebook import NEIGHBOURS, Codebook
from autovla_core.action.reach import ReachLimits
from autovla_core.action.tokenizer import expect_poses
from autovla_core.errors import ActionDecodeError

CHUNK = {"cpu": 64, "cuda": 2048}  # plans at a time: the distances of a chunk stay in the cache, or in memory
State = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class ActionTokens:
    """A codebook on a device.

    Attributes:
        moves: (4, K) float64; corners: (8, K) float32, see ``search.Tables``; neighbours: (K, 64) int64.
    """

    codebook: Codebook
    moves: torch.Tensor
    corners: torch.Tensor
    neighbours: torch.Tensor

    @classmethod
    def of(cls, codebook: Codebook, device: str | torch.device = "cpu") -> ActionTokens:
        """Put a codebook on a device."""
        table = codebook.tables
        arrays = (table.moves, table.corners, codebook.neighbours)
        return cls(codebook, *(torch.tensor(a, device=device) for a in arrays))

    def encode(self, poses: np.ndarray | torch.Tensor) -> torch.Tensor:
        """Greedy tokens (N, T) int64 on the device, of poses (N, T, 3) in the ego frame."""
        return self._in_chunks(poses, self._greedy)

    def encode_beam(
        self, poses: np.ndarray | torch.Tensor, beams: int = BEAMS, children: int = CHILDREN
    ) -> torch.Tensor:
        """Tokens (N, T) by beam search, see ``action.beam``."""
        if not 1 <= beams <= 256 or not 1 <= children <= NEIGHBOURS:
            raise ValueError(f"{beams} beams of {children} children; expected 1 to 256 and 1 to {NEIGHBOURS}")
        return self._in_chunks(poses, lambda goal: self._beam(goal, beams, children))

    def decode(self, tokens: torch.Tensor) -> torch.Tensor:
        """Poses (..., T, 3) float64 of tokens (..., T), yaw in [-pi, pi].

        Raises:
            ActionDecodeError: a token outside the codebook.
        """
        size = self.moves.shape[1]
        if tokens.numel() and not (int(tokens.min()) >= 0 and int(tokens.max()) < size):
            found = f"{int(tokens.min())} to {int(tokens.max())}"
            raise ActionDecodeError(f"tokens {found}, the codebook holds 0 to {size - 1}")
        state, poses = self._start(tuple(tokens.shape[:-1])), []
        for step in range(tokens.shape[-1]):
            state = _moved(state, self.moves[:, tokens[..., step]])
            poses.append(torch.stack([state[0], state[1], torch.atan2(state[3], state[2])], dim=-1))
        return torch.stack(poses, dim=-2)

    def _in_chunks(
        self, poses: np.ndarray | torch.Tensor, encode: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        poses = expect_poses(poses.detach().cpu().numpy() if isinstance(poses, torch.Tensor) else poses)
        if poses.ndim != 3:
            raise ValueError(f"poses are {poses.shape}, expected (N, T, 3)")
        size = CHUNK.get(self.moves.device.type, CHUNK["cpu"])
        goals = (search.targets(poses[i : i + size]) for i in range(0, len(poses), size))
        parts = [encode(torch.from_numpy(goal).to(self.moves.device)) for goal in goals]
        return torch.cat(parts) if parts else self.neighbours.new_zeros(poses.shape[:2])

    def _start(self, shape: tuple[int, ...]) -> State:
        zero = torch.zeros(shape, dtype=torch.float64, device=self.moves.device)
        return zero, zero, zero + 1.0, zero

    def _greedy(self, goal: torch.Tensor) -> torch.Tensor:
        """Tokens (N, T) of targets (4, T, N)."""
        state, tokens = self._start((goal.shape[2],)), []
        for step in range(goal.shape[1]):
            tokens.append(self._nearest(self._corners(_seen_from(state, goal[:, step]))))
            state = _moved(state, self.moves[:, tokens[-1]])
        return torch.stack(tokens, dim=1)

    def _beam(self, goal: torch.Tensor, beams: int, children: int) -> torch.Tensor:
        """Tokens (N, T) of targets (4, T, N)."""
        steps, count = goal.shape[1:]
        neighbours = self.neighbours[:, :children]
        state = self._start((count, beams))
        costs = torch.full((count, beams), torch.inf, device=goal.device)
        costs[:, 0] = 0.0
        paths = torch.zeros((count, beams, steps), dtype=torch.int64, device=goal.device)
        for step in range(steps):
            wanted = self._corners(_seen_from(state, goal[:, step, :, None]))  # (8, N, B)
            tried = neighbours[self._nearest(wanted[:, :, 0])]  # (N, C)
            sums = _corner_sums(wanted[..., None], self.corners[:, tried][:, :, None, :])
            kept = torch.topk(_ranked((costs[..., None] + sums).flatten(1)), beams, largest=False, sorted=True).values
            costs = (kept >> 20).to(torch.int32).view(torch.float32)
            place = kept & ((1 << 20) - 1)
            parent, child = place // tried.shape[1], place % tried.shape[1]
            chosen = tried.gather(1, child)
            paths = paths.gather(1, parent[..., None].expand(-1, -1, steps))
            paths[:, :, step] = chosen
            state = _moved(tuple(part.gather(1, parent) for part in state), self.moves[:, chosen])
        return paths[:, 0]

    def _nearest(self, wanted: torch.Tensor) -> torch.Tensor:
        """The entry (N,) whose corners are nearest to ``wanted`` (8, N); the lower index of equals."""
        return _corner_sums(wanted[:, :, None], self.corners[:, None, :]).argmin(dim=1)

    def _corners(self, pose: State) -> torch.Tensor:
        x, y, cos, sin = pose
        rows = []
        for ahead, left in self.codebook.tables.box:
            rows += [x + cos * ahead - sin * left, y + sin * ahead + cos * left]
        return torch.stack(rows).float()


@dataclass(frozen=True)
class ReachMask:
    """Which tokens a car can drive next, on a device; see ``action.reach``.

    ``generate.answer(..., mask=reach_mask.at(speeds))`` decodes inside it. A row is never empty.
    """

    codebook: Codebook
    limits: ReachLimits
    following: torch.Tensor  # (K, K) bool: row p, what may follow token p

    @classmethod
    def of(cls, codebook: Codebook, device: str | torch.device = "cpu", limits: ReachLimits | None = None) -> ReachMask:
        """Put the masks of a codebook on a device."""
        limits = limits or ReachLimits()
        return cls(codebook, limits, torch.from_numpy(reach.next_masks(codebook, limits)).to(device))

    def first(self, speeds: np.ndarray) -> torch.Tensor:
        """Masks (N, K) bool for signed speeds (N,) m/s."""
        masks = reach.first_masks(self.codebook, speeds, self.limits)
        return torch.from_numpy(masks).to(self.following.device)

    def after(self, tokens: torch.Tensor) -> torch.Tensor:
        """Masks (N, K) bool after tokens (N,)."""
        return self.following[tokens]

    def at(self, speeds: np.ndarray) -> Callable[[torch.Tensor | None], torch.Tensor]:
        """The mask of plans that start at ``speeds`` (N,): from the tokens before (N,), None at first, to (N, K)."""
        first = self.first(speeds)
        return lambda before: first if before is None else self.after(before)


def _seen_from(state: State, target: torch.Tensor) -> State:
    x, y, cos, sin = state
    dx, dy = target[0] - x, target[1] - y
    turned_cos, turned_sin = cos * target[2] + sin * target[3], cos * target[3] - sin * target[2]
    return cos * dx + sin * dy, cos * dy - sin * dx, turned_cos, turned_sin


def _moved(state: State, move: torch.Tensor) -> State:
    x, y, cos, sin = state
    ahead, left = x + cos * move[0] - sin * move[1], y + sin * move[0] + cos * move[1]
    return ahead, left, cos * move[2] - sin * move[3], sin * move[2] + cos * move[3]


def _corner_sums(wanted: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """See ``search.corner_sums``. On a processor torch's float32 root is off by one bit in 0.7 % of cases (MKL's);
    the float64 root, rounded to float32, is the correctly rounded one, as numpy's is."""
    total = None
    for i in range(0, 8, 2):
        dx, dy = wanted[i] - own[i], wanted[i + 1] - own[i + 1]
        distance = dx.mul_(dx).add_(dy.mul_(dy)).double().sqrt_().float()
        total = distance if total is None else total.add_(distance)
    return total


def _ranked(costs: torch.Tensor) -> torch.Tensor:
    """See ``search.ranked``."""
    place = torch.arange(costs.shape[-1], device=costs.device)
    return (costs.contiguous().view(torch.int32).to(torch.int64) << 20) | place
