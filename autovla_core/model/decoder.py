"""The language model's own arithmetic without the library around it: fused projections and a static key-value cache.

Same weights, same sums, same tokens as Hugging Face's modules (tests compare them token for token), at a third of
their cost for small models, where the library's bookkeeping is what takes the time. Rows may have different lengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional
from transformers import PreTrainedModel

from autovla_core.model.compiled import CompiledSteps
from autovla_core.model.compiled_layers import CompiledLayers, is_small
from autovla_core.model.encoding import Encoder
from autovla_core.model.graphs import Capture, StepGraphs, cuda_capture
from autovla_core.model.quantised import quantised
from autovla_core.model.tables import LayerWeights

SPARE = 64  # places beyond what was asked for: fixed text of an answer, and rows that wait for others
GROWTH = 256  # the cache grows by multiples of this
MOST_COMPILED = 4  # tokens at once that the compiled kernel reads one by one faster than torch reads them together


@dataclass(frozen=True)
class Window:
    """Where B rows of T new tokens stand: one slice when all rows agree, else a place (B, T) each."""

    batch: int
    count: int
    end: int  # places that attention looks at
    cos: torch.Tensor  # (T or B, T, 1, head size)
    sin: torch.Tensor
    mask: torch.Tensor | None
    causal: bool = False
    start: int = 0
    places: torch.Tensor | None = None  # (B, T) where rows differ
    rows: torch.Tensor | None = None  # (B, 1), likewise


class LeanDecoder:
    """Reads prompts, then token after token; holds the keys and values of one batch.

    Attributes:
        lengths: places that each row holds.
        ragged: rows may be of different lengths.
    """

    ragged = True

    def __init__(
        self,
        model: PreTrainedModel,
        encoder: Encoder,
        capture: Capture | None = None,
        compiled: bool = True,
        quantise: str = "",
    ) -> None:
        """Read the weights of a model where they lie.

        Args:
            capture: how a step is captured as a graph; on a GPU ``graphs.cuda_capture`` if not given.
            quantise: read single tokens with weights of one byte, one of ``quantised.KINDS``; empty: no.
            compiled: read by ``kernels`` where that is faster: small float32 models on a CPU.

        Raises:
            CheckpointError: layers that are not plain ones.
        """
        config = model.config.get_text_config()
        text = model.model.language_model
        self._encoder, self._rotary, self._norm = encoder, text.rotary_emb, text.norm.weight
        self._eps = config.rms_norm_eps
        self._weights = LayerWeights.of_text(text.layers)
        self._count = len(text.layers)
        weights = self._weights
        self._tables = {"qkv": weights.qkv, "out": weights.out, "gate_up": weights.gate_up, "down": weights.down}
        self._quantised = quantised(self._tables, quantise) if quantise else {}
        self._heads, self._kv_heads = config.num_attention_heads, config.num_key_value_heads
        self._size = text.layers[0].self_attn.head_dim
        self._embedding, self._head = text.embed_tokens.weight, model.lm_head.weight
        self._parameters, self._version = [*text.parameters(), self._head], -1
        width = self._embedding.shape[1]
        self._prefix: tuple[int, ...] = ()
        self._prefix_rows = 0
        self.lengths: list[int] = []
        if capture is None and self.device.type == "cuda":
            capture = cuda_capture
        self._graphs = None
        if capture is not None:
            self._graphs = StepGraphs(self.step, self.device, width, self._embedding.dtype, capture)
        self._allocate(1, GROWTH)
        self._compiled = self._layers = None
        if compiled and not quantise and capture is None and is_small(model):
            self._compiled = CompiledSteps(weights, self._norm, self._size, self._eps)
            self._layers = CompiledLayers(weights, self._heads, self._kv_heads, self._eps)
            self._warm()

    @property
    def compiled(self) -> bool:
        """Whether ``write_actions`` can be called."""
        return self._compiled is not None

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self._embedding.device

    @torch.inference_mode()
    def start(self, ids: torch.Tensor, features: Sequence[torch.Tensor], more: int) -> torch.Tensor:
        """Read prompts (B, L) of one length; the output (B, D) at their last place.

        Args:
            features: of the clips, (B * V, D), and what the first layers get on top, likewise.
            more: tokens that will follow at most.
        """
        batch, length = ids.shape
        self._refresh()
        self._reserve(batch, length + more + SPARE)
        skip = self._read_prefix(ids)
        window = self._slice(batch, skip, length - skip)
        x = functional.embedding(ids[:, skip:], self._embedding)
        places = self._encoder.video_places - skip
        x[:, places] = features[0].view(batch, len(places), -1).to(x.dtype)
        extra = [part.view(batch, len(places), -1).to(x.dtype) for part in features[1:]]
        self.lengths = [length] * batch
        return self._forward(x.flatten(0, 1), window, None, places, extra)

    @torch.inference_mode()
    def extend(self, ids: torch.Tensor, counts: Sequence[int] | None = None) -> torch.Tensor:
        """Read (B, T) tokens more; row b takes the first ``counts[b]`` of its. The output (B, D) at each row's last.

        The output of a row that takes none means nothing.
        """
        batch, most = ids.shape
        self._reserve(batch, max(self.lengths) + most, keep=max(self.lengths))
        if self._compiled is not None and most <= MOST_COMPILED:
            return self._extend_compiled(ids, [most] * batch if counts is None else counts)
        if self._graphs is not None and most == 1:
            places = torch.tensor(self.lengths, device=self.device)
            self.lengths = [n + c for n, c in zip(self.lengths, [1] * batch if counts is None else counts)]
            return self._graphs(ids[:, 0], places)
        x = functional.embedding(ids.flatten(), self._embedding)
        equal = counts is None or all(count == most for count in counts)
        if equal and min(self.lengths) == max(self.lengths):
            window = self._slice(batch, self.lengths[0], most)
            picks = None
        else:
            counts = [most] * batch if counts is None else counts
            starts = torch.tensor(self.lengths, device=x.device)
            window = self._scattered(starts[:, None] + torch.arange(most, device=x.device), max(self.lengths) + most)
            picks = torch.tensor([max(count, 1) - 1 for count in counts], device=x.device)
        self.lengths = [n + c for n, c in zip(self.lengths, counts or [most] * batch)]
        return self._forward(x, window, picks)

    def _warm(self) -> None:
        """Compile now, or load what was compiled once, rather than within the first plan."""
        self._refresh()
        self._forward(self._embedding.new_zeros(2, self._embedding.shape[1]), self._slice(1, 0, 2), None)
        self.lengths = [0]
        self.write_actions(self.extend(torch.zeros(1, 1, dtype=torch.long)), 0.0, None, 2)
        self.lengths = []

    def _extend_compiled(self, ids: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
        embedded = functional.embedding(ids, self._embedding)
        starts, self.lengths = self.lengths, [n + c for n, c in zip(self.lengths, counts)]
        return self._compiled.read(embedded, starts, counts, *self._arrays)

    def repeat(self, count: int) -> None:
        """One row becomes ``count`` rows that share what was read."""
        length = self.lengths[0]
        self._reserve(count, length + SPARE, keep=length)
        with torch.inference_mode():
            self._cache[:, 1:count, :, :length] = self._cache[:, :1, :, :length]
        self._prefix_rows = max(self._prefix_rows, count)
        self.lengths = [length] * count

    @torch.inference_mode()
    def action_scores(self, hidden: torch.Tensor) -> torch.Tensor:
        """Scores (B, K) float32 of the action tokens alone."""
        return torch.mm(hidden, self._action_head).float()

    @torch.inference_mode()
    def scores(self, hidden: torch.Tensor) -> torch.Tensor:
        """Scores (B, vocabulary) float32."""
        return functional.linear(hidden, self._head).float()

    def write_actions(
        self, hidden: torch.Tensor, temperature: float, throws: torch.Tensor | None, steps: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens (B, steps) and their log-probabilities in one compiled go, where the decoder is ``compiled``.

        Args:
            throws: chance (B, steps) in [0, 1), None for the likeliest tokens.
        """
        self._reserve(len(hidden), max(self.lengths) + steps, keep=max(self.lengths))
        first = self._encoder.first_action
        rows = self._embedding[first : first + self._encoder.actions].detach()
        chance = torch.zeros(len(hidden), steps, dtype=torch.float64) if throws is None else throws
        tokens, log_probs = self._compiled.write(hidden, chance, temperature, rows, self.lengths, *self._arrays)
        self.lengths = [length + steps - 1 for length in self.lengths]
        return tokens, log_probs

    @torch.inference_mode()
    def step(self, ids: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """One token (B,) at its place (B,), by operations of fixed shapes only: what a CUDA graph captures.

        The same as ``extend`` of one token each, over the whole cache instead of the part in use. The caller keeps
        ``lengths`` true.
        """
        window = self._scattered(places[:, None], self._cache.shape[3])
        return self._forward(functional.embedding(ids, self._embedding), window, None)

    def _forward(
        self,
        x: torch.Tensor,
        window: Window,
        picks: torch.Tensor | None,
        video_places: torch.Tensor | None = None,
        extra: Sequence[torch.Tensor] = (),
    ) -> torch.Tensor:
        """The output (B, D) of tokens x (B * T, D) at places ``picks`` (B,) of each row, or at the last. Uses x up."""
        if self._layers is not None and window.places is None:
            return self._forward_compiled(self._layers, x, window, video_places, extra)
        final, weights = self._count - 1, self._weights
        for number in range(self._count):
            before, after = weights.norms[number]
            mixed = self._attention(number, self._normal(x, before), window)
            if number == final and window.count > 1:  # nobody reads what the last layer says elsewhere
                mixed, x = _picked(mixed, window, picks), _picked(x, window, picks)
            single = window.count == 1
            x = self._product("out", number, mixed, x, single)
            gate, up = self._product("gate_up", number, self._normal(x, after), None, single).chunk(2, -1)
            x = self._product("down", number, functional.silu(gate).mul_(up), x, single)
            if number < len(extra) and number != final:
                x.view(window.batch, window.count, -1)[:, video_places] += extra[number]
        return self._normal(x, self._norm)

    def _forward_compiled(
        self,
        layers: CompiledLayers,
        x: torch.Tensor,
        at: Window,
        video_places: torch.Tensor | None,
        extra: Sequence[torch.Tensor],
    ) -> torch.Tensor:
        cos, sin = (table[at.start : at.end] for table in self._arrays[1:])
        final, seen = self._count - 1, slice(0, at.end)
        for number in range(self._count):
            last = number == final  # nobody reads what the last layer says elsewhere
            stretch = slice(at.count - 1 if last else 0, at.count), seen
            memory = self._cache[number, : at.batch]
            x = layers.through(number, x, cos, sin, memory, at.start, [stretch], causal=True, last=last)
            if number < len(extra) and not last:
                x.view(at.batch, at.count, -1)[:, video_places] += extra[number]
        return layers.normal(x, self._norm)

    def _attention(self, number: int, x: torch.Tensor, at: Window) -> torch.Tensor:
        """Mixed values (B * T, heads * size), after writing the new keys and values."""
        heads, size, weights = self._heads, self._size, self._weights
        bias = None if weights.qkv_bias is None else weights.qkv_bias[number]
        joint = self._product("qkv", number, x, bias, at.count == 1)
        joint = joint.view(at.batch, at.count, -1, size)
        turned = joint[:, :, : heads + self._kv_heads]
        if weights.qk_norm is not None:
            query_norm, key_norm = weights.qk_norm[number]
            joint[:, :, :heads] = functional.rms_norm(joint[:, :, :heads], (size,), query_norm, self._eps)
            turned[:, :, heads:] = functional.rms_norm(turned[:, :, heads:], (size,), key_norm, self._eps)
        swapped = turned.unflatten(-1, (2, size // 2)).flip(-2).flatten(-2)
        turned.mul_(at.cos).addcmul_(swapped, at.sin)
        cache = self._cache[number, : at.batch]
        if at.places is None:
            cache[:, :, at.start : at.end] = joint[:, :, heads:].transpose(1, 2)
        else:
            cache.transpose(1, 2)[at.rows, at.places] = joint[:, :, heads:]
        mixed = functional.scaled_dot_product_attention(
            joint[:, :, :heads].transpose(1, 2),
            cache[:, : self._kv_heads, : at.end],
            cache[:, self._kv_heads :, : at.end],
            attn_mask=at.mask,
            is_causal=at.causal,
            enable_gqa=True,
        )
        return mixed.transpose(1, 2).reshape(at.batch * at.count, -1)

    def _product(
        self, name: str, number: int, x: torch.Tensor, onto: torch.Tensor | None, single: bool
    ) -> torch.Tensor:
        """x (N, in) times a matrix (in, out) of layer ``number``, onto what is there already."""
        if single and self._quantised:
            product = self._quantised[name][number](x)
            return product if onto is None else product + onto
        matrix = self._tables[name][number]
        return torch.mm(x, matrix) if onto is None else torch.addmm(onto, x, matrix)

    def _normal(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Rows (N, D) by their root mean square, times weight."""
        return functional.rms_norm(x, x.shape[-1:], weight, self._eps)

    def _slice(self, batch: int, start: int, count: int) -> Window:
        end = start + count
        mask = self._causal[start:end, :end] if start and count > 1 else None
        turn = slice(start, end)
        return Window(batch, count, end, self._cos[turn], self._sin[turn], mask, not start and count > 1, start)

    def _scattered(self, places: torch.Tensor, end: int) -> Window:
        mask = (self._all_places[:end] <= places[..., None])[:, None]
        rows = self._all_rows[: places.shape[0]]
        return Window(*places.shape, end, self._cos[places], self._sin[places], mask, places=places, rows=rows)

    def _refresh(self) -> None:
        """What is derived from weights, made again when they were trained meanwhile: the rows of the actions as (D, K),
        which is faster, and the prefix."""
        version = sum(parameter._version for parameter in self._parameters)
        if version != self._version:
            first = self._encoder.first_action
            self._action_head = self._head[first : first + self._encoder.actions].detach().t().contiguous()
            if self._compiled is not None:
                self._compiled.refresh(self._action_head)
            self._version, self._prefix = version, ()  # the prefix was read with weights that are no more

    def _read_prefix(self, ids: torch.Tensor) -> int:
        """Places at the head of every prompt that are read once and for all: the same text up to the first clip."""
        count = int(self._encoder.first_video_place)
        head = tuple(ids[0, :count].tolist())
        if len(ids) > 1 and not bool((ids[:, :count] == ids[:1, :count]).all()):
            return 0  # prompts that differ before their clips: no rig of ours writes such
        if head != self._prefix or self._prefix_rows < len(ids):
            self._prefix, self._prefix_rows = head, self._cache.shape[1]
            row = functional.embedding(ids[0, :count], self._embedding)
            self._forward(row, self._slice(1, 0, count), None)
            self._cache[:, 1:, :, :count] = self._cache[:, :1, :, :count]
        return count

    def _reserve(self, rows: int, places: int, keep: int = 0) -> None:
        """Make room; the first ``keep`` places of every row survive a move."""
        held = self._cache.shape[1], self._cache.shape[3]
        if rows <= held[0] and places <= held[1]:
            return
        old = self._cache
        self._allocate(max(rows, held[0]), max(-(-places // GROWTH) * GROWTH, held[1]))
        if keep:
            with torch.inference_mode():
                self._cache[:, : held[0], :, :keep] = old[:, :, :, :keep]
        self._prefix, self._prefix_rows = (), 0

    def _allocate(self, rows: int, places: int) -> None:
        shape = self._count, rows, 2 * self._kv_heads, places, self._size  # keys, then values
        kind = {"dtype": self._embedding.dtype, "device": self.device}
        self._cache = torch.zeros(shape, **kind)
        if self._graphs is not None:
            self._graphs.forget()
        positions = self._encoder.positions(places)
        with torch.inference_mode():
            cos, sin = self._rotary(self._embedding[:1], positions)
        sign = torch.ones(self._size, **kind)
        sign[: self._size // 2] = -1.0  # the first half turns with minus the second
        self._cos, self._sin = cos[0, :, None].contiguous(), (sin[0, :, None] * sign).contiguous()
        if self.device.type == "cpu" and self._embedding.dtype is torch.float32:
            self._arrays = self._cache.numpy(), self._cos[:, 0].numpy(), self._sin[:, 0].numpy()
        self._all_places = torch.arange(places, device=self.device)
        self._all_rows = torch.arange(rows, device=self.device)[:, None]
        self._causal = self._all_places[None] <= self._all_places[:, None]


def _picked(x: torch.Tensor, window: Window, picks: torch.Tensor | None) -> torch.Tensor:
    """Rows (B, D) of x (B * T, D) at places ``picks`` (B,) of each row, or at the last."""
    table = x.view(window.batch, window.count, -1)
    return table[:, -1] if picks is None else table[torch.arange(window.batch, device=x.device), picks]
