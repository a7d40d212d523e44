"""One decoding step captured as a CUDA graph: a launch instead of some four hundred.

Written for a GPU and guarded; the machine it was written on has none. What surrounds the capture (fixed buffers, a
graph for each number of rows, renewal when the cache moves) is tested on a CPU with a capture that only calls.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

Step = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Capture = Callable[[Callable[[], None]], Callable[[], None]]  # work -> its replay
WARM_UP = 3  # runs before the capture, so that libraries have made their choices


def cuda_capture(work: Callable[[], None]) -> Callable[[], None]:
    """Capture what ``work`` launches; the result launches it again on the same memory."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


class StepGraphs:
    """``step`` replayed from fixed buffers, one graph for each number of rows."""

    def __init__(self, step: Step, device: torch.device, width: int, dtype: torch.dtype, capture: Capture) -> None:
        self._step, self._device, self._width, self._dtype, self._capture = step, device, width, dtype, capture
        self.forget()

    def forget(self) -> None:
        """The memory that the graphs write to is no more."""
        self._graphs: dict[int, tuple[torch.Tensor, torch.Tensor, torch.Tensor, Callable[[], None]]] = {}

    def __call__(self, ids: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """The output (B, D) of tokens (B,) at places (B,)."""
        if len(ids) not in self._graphs:
            self._graphs[len(ids)] = self._make(ids, places)
        own_ids, own_places, out, replay = self._graphs[len(ids)]
        own_ids.copy_(ids)
        own_places.copy_(places)
        replay()
        return out.clone()

    def _make(
        self, ids: torch.Tensor, places: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, Callable[[], None]]:
        own_ids, own_places = ids.clone(), places.clone()  # the warm-up writes where the step writes anyway
        out = torch.empty(len(ids), self._width, device=self._device, dtype=self._dtype)

        def work() -> None:
            out.copy_(self._step(own_ids, own_places))

        return own_ids, own_places, out, self._capture(work)
