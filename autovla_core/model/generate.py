"""Answers by a grammar: fixed text is read in one go, free text and actions are chosen one by one among what may come.

Whatever the weights, an answer holds exactly ten action tokens. ``decode_actions`` is the plain fast answer that
training validates with; ``answer`` does all modes, many rows, chance, limits of thinking and masks of actions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import DynamicCache, PreTrainedModel

from autovla_core.contracts import PLAN_STEPS, Mode
from autovla_core.errors import ActionDecodeError
from autovla_core.model.decoder import LeanDecoder
from autovla_core.model.eager import EagerDecoder
from autovla_core.model.encoding import Encoder
from autovla_core.model.grammar import Grammar
from autovla_core.model.sampling import Dice, Sampling, choose
from autovla_core.model.thinking import ThinkingConfig

Decoder = LeanDecoder | EagerDecoder
Heard = Callable[[Sequence[int]], None]  # ids of a thought that is being written
ActionMask = Callable[[torch.Tensor | None], torch.Tensor]  # tokens before (B,), None at first -> (B or 1, K) bool


@dataclass(frozen=True)
class Generated:
    """One answer, as it was chosen."""

    mode: Mode
    thought: tuple[int, ...]  # ids between the slow opening and the close
    tokens: np.ndarray  # (10,) codebook indices
    log_probs: np.ndarray  # (10,) of the actions, in the distribution that they were drawn from
    thought_log_probs: tuple[float, ...] = ()  # of every id that was chosen in the thought, its end included
    mode_log_prob: float = 0.0  # of the choice of mode; 0 where there was none
    forced: str = ""  # why the thought was cut: "limit" or "deadline"

    def said(self, encoder: Encoder, grammar: Grammar) -> str:
        """The thought as text, the header that its opening holds included; empty where nothing was thought."""
        return encoder.decode(grammar.header + self.thought).strip() if self.thought else ""


@torch.inference_mode()
def decode_actions(
    model: PreTrainedModel,
    encoder: Encoder,
    ids: torch.Tensor,
    patches: torch.Tensor,
    steps: int = PLAN_STEPS,
    count: int = 1,
    draw: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Action tokens for prompts of one length, by the library's own modules, from where a model may be in training.

    Args:
        ids: (B, L) the prompt with the answer's fixed text: what comes next is the first action.
        patches: (B * P, 1176), see ``Encoder.patches``.
        count: plans a prompt; prompt and pictures are read once.
        draw: picks tokens (N,) by scores (N, K); greedy if not given.

    Returns:
        Codebook indices (B * count, steps) int64, and the model's own log-probabilities of them (same shape) float32
        among actions.
    """
    batch, length = ids.shape
    first, rows = encoder.first_action, model.lm_head.weight[encoder.first_action :][: encoder.actions]
    positions = encoder.positions(length + steps).expand(3, batch, -1)
    cache = DynamicCache(config=model.config.text_config)
    hidden = model.model(
        input_ids=ids,
        pixel_values_videos=patches.to(rows.dtype),
        position_ids=positions[:, :, :length],
        past_key_values=cache,
        use_cache=True,
        **encoder.vision(batch),
    ).last_hidden_state[:, -1]
    if count > 1:
        cache.batch_repeat_interleave(count)
        hidden = hidden.repeat_interleave(count, dim=0)
        positions = positions[:, :1].expand(3, batch * count, -1)
    tokens, log_probs = [], []
    for step in range(steps):
        scores = (hidden @ rows.T).float()
        chosen = scores.argmax(dim=-1) if draw is None else draw(scores)
        tokens.append(chosen)
        log_probs.append(torch.log_softmax(scores, dim=-1).gather(1, chosen[:, None])[:, 0])
        if step < steps - 1:
            hidden = model.model.language_model(
                input_ids=chosen[:, None] + first,
                position_ids=positions[:, :, length + step : length + step + 1],
                past_key_values=cache,
                use_cache=True,
            ).last_hidden_state[:, -1]
    return torch.stack(tokens, dim=1), torch.stack(log_probs, dim=1)


def choose_actions(
    decoder: Decoder,
    hidden: torch.Tensor,
    first_action: int,
    sampling: Sampling,
    dice: Dice | None = None,
    mask: ActionMask | None = None,
    steps: int = PLAN_STEPS,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Action tokens (B, steps) and their log-probabilities (B, steps), each read before the next is chosen."""
    plain = sampling.greedy or (dice is not None and sampling.whole)
    if decoder.compiled and plain and mask is None:
        throws = None if sampling.greedy or dice is None else dice.throw(hidden.device, steps)
        return decoder.write_actions(hidden, sampling.temperature, throws, steps)
    tokens: list[torch.Tensor] = []
    log_probs: list[torch.Tensor] = []
    for step in range(steps):
        allowed = None if mask is None else _some(mask(tokens[-1] if tokens else None))
        token, log_prob = choose(decoder.action_scores(hidden), sampling, dice, allowed)
        tokens.append(token)
        log_probs.append(log_prob)
        if step < steps - 1:
            hidden = decoder.extend(token[:, None] + first_action)
    return torch.stack(tokens, dim=1), torch.stack(log_probs, dim=1)


@torch.inference_mode()
def answer(
    decoder: Decoder,
    grammar: Grammar,
    prompts: torch.Tensor,
    features: Sequence[torch.Tensor],
    thinking: ThinkingConfig,
    count: int = 1,
    dice: Dice | None = None,
    mask: ActionMask | None = None,
    late: Callable[[], bool] = lambda: False,
    heard: Heard = lambda thought: None,
) -> list[Generated]:
    """Answers to prompts (B, L) of one length, or ``count`` answers to one prompt that is read once.

    Args:
        features: of the clips, see ``ClipFeatures.of``.
        dice: chance, a stream for each answer; without, greedy.
        mask: which actions may follow.
        late: whether to stop thinking; asked before every word.
        heard: where there is but one answer, given its thought so far after every word.

    Raises:
        ActionDecodeError: scores that are no numbers, or a mask that allows nothing.
        ValueError: several prompts and a count.
    """
    rows = len(prompts) * count
    if count > 1 and len(prompts) > 1:
        raise ValueError(f"{len(prompts)} prompts, each {count} times: expected one prompt for a group")
    if rows > 1 and thinking.mode != "fast" and not decoder.ragged:
        return _one_by_one(decoder, grammar, prompts, features, thinking, count, dice, mask, late)
    turn = _Turn(decoder, grammar, thinking, dice, rows, late)
    turn.open(prompts, features, count)
    turn.think(heard)
    tokens, log_probs = choose_actions(decoder, turn.hidden, grammar.first_action, thinking.actions, dice, mask)
    return turn.results(tokens.cpu().numpy(), log_probs.cpu().numpy())


class _Turn:
    """The state of one ``answer``: rows that open alike, think for as long as each needs, and act together."""

    def __init__(
        self,
        decoder: Decoder,
        grammar: Grammar,
        thinking: ThinkingConfig,
        dice: Dice | None,
        rows: int,
        late: Callable[[], bool],
    ) -> None:
        self._decoder, self._grammar, self._thinking, self._dice, self._late = decoder, grammar, thinking, dice, late
        self._modes = [Mode.FAST if thinking.mode == "fast" else Mode.SLOW] * rows
        self._mode_log_probs = [0.0] * rows
        self._thoughts: list[list[int]] = [[] for _ in range(rows)]
        self._log_probs: list[list[float]] = [[] for _ in range(rows)]
        self._forced = [""] * rows
        self._closing: list[tuple[int, ...]] = [()] * rows
        self.hidden = torch.empty(0)

    def open(self, prompts: torch.Tensor, features: Sequence[torch.Tensor], count: int) -> None:
        """Read the prompts and the opening; where the mode is the model's to choose, let it."""
        grammar, mode = self._grammar, self._thinking.mode
        more = PLAN_STEPS + (0 if mode == "fast" else self._thinking.most_tokens)
        fixed = torch.tensor(grammar.opening(mode), dtype=torch.long, device=prompts.device).expand(len(prompts), -1)
        self.hidden = self._decoder.start(torch.cat([prompts, fixed], dim=1), features, more)
        if count > 1:
            self._decoder.repeat(count)
            self.hidden = self.hidden.expand(count, -1)
        if mode == "adaptive":
            self._choose_mode()

    def think(self, heard: Heard) -> None:
        """Choose word after word until every slow row has closed its thought or was made to."""
        stretch = [0] * len(self._modes)
        thinking = [row for row, mode in enumerate(self._modes) if mode is Mode.SLOW]
        while thinking := self._cut(thinking):
            pending: dict[int, tuple[int, ...]] = {}
            for row, token, log_prob in zip(thinking, *self._choose_words(thinking, stretch)):
                self._log_probs[row].append(log_prob)
                end = self._grammar.ends[stretch[row]]
                if token != end.trigger:
                    pending[row] = (token,)
                elif end is self._grammar.close:
                    self._closing[row] = end.ids[end.mark :]
                    continue
                else:
                    pending[row] = end.ids[end.mark :]
                    stretch[row] += 1
                self._thoughts[row] += pending[row]
            self._read(pending)
            thinking = list(pending)
            if len(self._modes) == 1:
                heard(self._thoughts[0])
        self._read({row: ids for row, ids in enumerate(self._closing) if ids})

    def results(self, tokens: np.ndarray, log_probs: np.ndarray) -> list[Generated]:
        """One answer a row, of actions (B, 10)."""
        if not np.isfinite(log_probs).all():
            raise ActionDecodeError("the scores of actions are not finite; the weights or the images are damaged")
        values = zip(self._modes, self._thoughts, self._log_probs, self._mode_log_probs, self._forced)
        return [
            Generated(mode, tuple(thought), tokens[i], log_probs[i], tuple(words), mode_log_prob, forced)
            for i, (mode, thought, words, mode_log_prob, forced) in enumerate(values)
        ]

    def _choose_mode(self) -> None:
        grammar = self._grammar
        openings = {Mode.FAST: grammar.fast[grammar.shared :], Mode.SLOW: grammar.slow[grammar.shared :]}
        pair = self._decoder.scores(self.hidden)[:, [ids[0] for ids in openings.values()]]
        chosen, log_probs = choose(pair, self._thinking.words, self._dice)
        self._modes = [list(openings)[i] for i in chosen.tolist()]
        self._mode_log_probs = log_probs.tolist()
        self._read({row: openings[mode] for row, mode in enumerate(self._modes)})

    def _cut(self, thinking: list[int]) -> list[int]:
        """The rows that may think on; the others are given the close."""
        reason = "deadline" if thinking and self._late() else ""
        kept = []
        for row in thinking:
            full = len(self._thoughts[row]) >= self._thinking.most_tokens
            if reason or full:
                self._forced[row] = reason or "limit"
                self._closing[row] = self._grammar.close.ids
            else:
                kept.append(row)
        return kept

    def _choose_words(self, thinking: list[int], stretch: list[int]) -> tuple[list[int], list[float]]:
        """Words and log-probabilities of the rows that think; the dice of the others lie still."""
        allowed = self._grammar.allowed
        allowed = allowed if len(allowed) == 1 else allowed[[stretch[row] for row in thinking]]
        hidden, dice = self.hidden, self._dice
        if len(thinking) < len(self._modes):
            hidden, dice = hidden[thinking], None if dice is None else dice.rows(thinking)
        tokens, log_probs = choose(self._decoder.scores(hidden), self._thinking.words, dice, allowed)
        return tokens.tolist(), log_probs.tolist()

    def _read(self, pending: dict[int, tuple[int, ...]]) -> None:
        """Rows read their own ids; the output of rows that read nothing stays."""
        if not pending:
            return
        counts = [len(pending.get(row, ())) for row in range(len(self._modes))]
        most, device = max(counts), self.hidden.device
        table = torch.tensor(
            [list(pending.get(row, ())) + [0] * (most - n) for row, n in enumerate(counts)], device=device
        )
        fresh = self._decoder.extend(table, counts)
        if all(counts):
            self.hidden = fresh
        else:
            read = torch.tensor([bool(n) for n in counts], device=device)
            self.hidden = torch.where(read[:, None], fresh, self.hidden)


def _one_by_one(
    decoder: Decoder,
    grammar: Grammar,
    prompts: torch.Tensor,
    features: Sequence[torch.Tensor],
    thinking: ThinkingConfig,
    count: int,
    dice: Dice | None,
    mask: ActionMask | None,
    late: Callable[[], bool],
) -> list[Generated]:
    """The same answers where rows cannot differ in length: a prompt after the other."""
    found: list[Generated] = []
    for row in range(len(prompts) * count):
        prompt = row // count
        own = [part.view(len(prompts), -1, part.shape[-1])[prompt] for part in features]
        alone = None if dice is None else dice.rows([row])
        found += answer(decoder, grammar, prompts[prompt][None], own, thinking, 1, alone, _row(mask, row), late)
    return found


def _row(mask: ActionMask | None, row: int) -> ActionMask | None:
    """The mask of one row alone."""
    if mask is None:
        return None

    def alone(before: torch.Tensor | None) -> torch.Tensor:
        allowed = mask(before)
        return allowed[row : row + 1] if before is None and len(allowed) > 1 else allowed

    return alone


def _some(allowed: torch.Tensor) -> torch.Tensor:
    if not bool(allowed.any(dim=-1).all()):
        raise ActionDecodeError("the mask of actions allows none of them")
    return allowed
