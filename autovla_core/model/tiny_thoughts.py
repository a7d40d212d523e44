"""Teach a tiny model that drives the words of thoughts: the wider vocabulary, with everything that it knew."""

from __future__ import annotations

import copy
import math

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from autovla_core.model.tiny import build_tokenizer

NAMED_TEXT = ("bos_token_id", "eos_token_id", "pad_token_id")  # ids that a configuration names
NAMED = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")


def with_thoughts(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, actions: int, seed: int = 0
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The same model with the tokenizer of ``build_tokenizer(actions, thoughts=True)``, whose new rows are random.

    A tiny model that has these words, or one with another vocabulary (a large model's own), is given back as it is.
    """
    known = tokenizer.get_vocab()
    if known != build_tokenizer(actions).get_vocab():
        return model, tokenizer
    wider = build_tokenizer(actions, thoughts=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = _renumbered(model.config, tokenizer, wider)
        widened = Qwen2_5_VLForConditionalGeneration._from_config(config, attn_implementation="sdpa")
    old = model.get_input_embeddings().weight.detach()
    rows = widened.get_input_embeddings().weight.detach().clone()
    for token, i in wider.get_vocab().items():
        if token in known:
            rows[i] = old[known[token]]
    kept = {name: rows if value.shape == old.shape else value for name, value in model.state_dict().items()}
    widened.load_state_dict(kept)  # the embedding and the head, which are one tensor, are the only ones of that shape
    return widened, wider


def _renumbered(
    config: Qwen2_5_VLConfig, tokenizer: PreTrainedTokenizerBase, wider: PreTrainedTokenizerBase
) -> Qwen2_5_VLConfig:
    config = copy.deepcopy(config)
    for part, names in ((config, NAMED), (config.text_config, NAMED_TEXT)):
        for name in names:
            token = tokenizer.convert_ids_to_tokens(getattr(part, name))
            setattr(part, name, wider.convert_tokens_to_ids(token))
    config.text_config.vocab_size = math.ceil(len(wider) / 64) * 64
    return config
