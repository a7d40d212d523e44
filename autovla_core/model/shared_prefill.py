"""Log-probabilities of many answers to a prompt that is read once, with gradients through the answers and the prompt.

The same distribution as ``likelihood.log_likelihood`` and ``generate.answer``: same grammar, same masks, same
temperature. Keys and values of a prompt are made once and every answer reads them, so a group of G costs one prompt
instead of G. ``open_leaves`` and ``close_leaves`` let a group be gone through in parts: the gradient of each part ends
at the prompt's keys and values, and goes through the prompt once, at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional
from transformers import DynamicCache, PreTrainedModel

from autovla_core.model.backbone import family_of
from autovla_core.model.encoding import Encoder
from autovla_core.model.generate import Generated
from autovla_core.model.grammar import Grammar
from autovla_core.model.likelihood import choices, spell
from autovla_core.model.sampling import log_distribution
from autovla_core.model.thinking import ThinkingConfig

KINDS = ("mode", "word", "action")


@dataclass(frozen=True)
class Prompts:
    """What N prompts of one length left behind, the opening that all answers share included."""

    keys: tuple[torch.Tensor, ...]  # by layer (N, heads, L, size)
    values: tuple[torch.Tensor, ...]
    hidden: torch.Tensor  # (N, D) at the last place

    @property
    def length(self) -> int:
        """Places that were read."""
        return self.keys[0].shape[2]

    def tensors(self) -> tuple[torch.Tensor, ...]:
        """Everything that answers depend on."""
        return (*self.keys, *self.values, self.hidden)


@dataclass(frozen=True)
class Answers:
    """R answers laid out for one pass: what is read, and the C ids that were chosen, row after row."""

    prompt: torch.Tensor  # (R,) which prompt each answers
    fed: torch.Tensor  # (R, T) ids after the shared opening, padded on the right
    row: torch.Tensor  # (C,) whose choice
    place: torch.Tensor  # (C,) in 0..T: of the state that speaks; 0 is the prompt's last
    id: torch.Tensor  # (C,) what was chosen
    kind: torch.Tensor  # (C,) index into ``KINDS``
    stretch: torch.Tensor  # (C,) of the thought, for a word
    counts: torch.Tensor  # (R,) choices of each answer


def read_prompts(
    model: PreTrainedModel, encoder: Encoder, ids: torch.Tensor, features: Sequence[torch.Tensor]
) -> Prompts:
    """Read prompts (N, L) of one length, the opening included, by the library's modules.

    Args:
        model: without an adapter's wrapping (``get_base_model()``), in ``eval()``: dropout and caches do not agree.
        features: of the clips, see ``ClipFeatures.of``; no inference tensors.
    """
    text, places, count = model.model.language_model, encoder.video_places, len(ids)
    x = text.embed_tokens(ids)
    seen = torch.zeros(ids.shape, dtype=torch.bool, device=ids.device)
    seen[:, places] = True
    x = x.masked_scatter(seen[..., None], features[0].to(x.dtype))
    extra: dict[str, object] = {}
    if family_of(model).stamped:
        extra = {"visual_pos_masks": seen, "deepstack_visual_embeds": [f.to(x.dtype) for f in features[1:]]}
    cache = DynamicCache(config=model.config.get_text_config())
    positions = encoder.positions(ids.shape[1]).expand(3, count, -1)
    out = text(inputs_embeds=x, position_ids=positions, past_key_values=cache, use_cache=True, **extra)
    keys, values = zip(*((layer.keys, layer.values) for layer in cache.layers))
    return Prompts(keys, values, out.last_hidden_state[:, -1])


def lay_out(
    grammar: Grammar,
    answers: Sequence[Generated],
    prompt: Sequence[int],
    thinking: ThinkingConfig,
    device: torch.device,
) -> Answers:
    """Answers as tensors; ``prompt`` says which prompt each row answers."""
    start, adaptive = len(grammar.opening(thinking.mode)), thinking.mode == "adaptive"
    fed, table, counts = [], [], []
    for row, found in enumerate(answers):
        made = list(choices(grammar, found, adaptive))
        fed.append(spell(grammar, found)[start : made[-1].place])
        counts.append(len(made))
        table += [(row, c.place - start, c.id, KINDS.index(c.kind), c.stretch) for c in made]
    most = max(map(len, fed))
    padded = torch.tensor([list(ids) + [0] * (most - len(ids)) for ids in fed], device=device)
    columns = torch.tensor(table, device=device).unbind(1)
    return Answers(
        torch.tensor(list(prompt), device=device), padded, *columns, counts=torch.tensor(counts, device=device)
    )


def log_probs(
    model: PreTrainedModel,
    encoder: Encoder,
    grammar: Grammar,
    prompts: Prompts,
    answers: Answers,
    thinking: ThinkingConfig,
) -> torch.Tensor:
    """Log-probabilities (C,) of every choice; differentiable in the weights and in ``prompts``."""
    cache = DynamicCache(config=model.config.get_text_config())
    for layer, (keys, values) in enumerate(zip(prompts.keys, prompts.values)):
        cache.update(keys[answers.prompt], values[answers.prompt], layer)
    rows, count = answers.fed.shape
    positions = encoder.positions(prompts.length + count)[:, :, prompts.length :].expand(3, rows, -1)
    read = model.model.language_model(
        input_ids=answers.fed, position_ids=positions, past_key_values=cache, use_cache=True
    ).last_hidden_state
    states = torch.cat([prompts.hidden[answers.prompt, None], read], dim=1)[answers.row, answers.place]
    return _choice_log_probs(model, grammar, states, answers, thinking)


def open_leaves(prompts: Prompts) -> Prompts:
    """The same values, cut off: gradients of what reads them gather in them."""
    leaves = iter([tensor.detach().requires_grad_() for tensor in prompts.tensors()])
    count = len(prompts.keys)
    return Prompts(tuple(next(leaves) for _ in range(count)), tuple(next(leaves) for _ in range(count)), next(leaves))


def close_leaves(prompts: Prompts, leaves: Prompts) -> None:
    """Send what gathered in ``leaves`` back through the prompts."""
    pairs = [(p, leaf.grad) for p, leaf in zip(prompts.tensors(), leaves.tensors()) if leaf.grad is not None]
    pairs = [(tensor, grad) for tensor, grad in pairs if tensor.requires_grad]
    if pairs:
        torch.autograd.backward([tensor for tensor, _ in pairs], [grad for _, grad in pairs])


def _choice_log_probs(
    model: PreTrainedModel, grammar: Grammar, states: torch.Tensor, answers: Answers, thinking: ThinkingConfig
) -> torch.Tensor:
    """(C,) of states (C, D): each kind of choice among what it was chosen from."""
    found, order = [], []
    for number, kind in enumerate(KINDS):
        chosen = (answers.kind == number).nonzero()[:, 0]
        if len(chosen):
            some, ids = states[chosen], answers.id[chosen]
            share = _DISTRIBUTIONS[kind](model, grammar, some, answers.stretch[chosen], thinking)
            at = ids if kind == "word" else ids - grammar.first_action if kind == "action" else _number(grammar, ids)
            found.append(share.gather(1, at[:, None])[:, 0])
            order.append(chosen)
    return torch.cat(found)[torch.cat(order).argsort()]


def _modes(
    model: PreTrainedModel, grammar: Grammar, states: torch.Tensor, stretch: torch.Tensor, thinking: ThinkingConfig
) -> torch.Tensor:
    pair = torch.tensor(_pair(grammar), device=states.device)
    return log_distribution(_scores(model, states, pair), thinking.words)


def _words(
    model: PreTrainedModel, grammar: Grammar, states: torch.Tensor, stretch: torch.Tensor, thinking: ThinkingConfig
) -> torch.Tensor:
    allowed = grammar.allowed if len(grammar.allowed) == 1 else grammar.allowed[stretch]
    return log_distribution(model.lm_head(states).float(), thinking.words, allowed)


def _actions(
    model: PreTrainedModel, grammar: Grammar, states: torch.Tensor, stretch: torch.Tensor, thinking: ThinkingConfig
) -> torch.Tensor:
    rows = slice(grammar.first_action, grammar.first_action + grammar.actions)
    return log_distribution(_scores(model, states, rows), thinking.actions)


_DISTRIBUTIONS = {"mode": _modes, "word": _words, "action": _actions}


def _scores(model: PreTrainedModel, states: torch.Tensor, rows: slice | torch.Tensor) -> torch.Tensor:
    """Scores (N, rows) float32. A head with an adapter says only as a whole what its rows are."""
    head = model.lm_head
    if type(head) is nn.Linear:
        return functional.linear(states, head.weight[rows]).float()
    return head(states)[:, rows].float()


def _pair(grammar: Grammar) -> list[int]:
    return [grammar.fast[grammar.shared], grammar.slow[grammar.shared]]


def _number(grammar: Grammar, ids: torch.Tensor) -> torch.Tensor:
    """Of each mode's first id its place in ``_pair``."""
    return (ids == _pair(grammar)[1]).long()
