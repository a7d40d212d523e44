"""The tiny member of the family: Qwen2.5-VL's own classes with a small configuration and vocabulary.

Its tokenizer keeps AutoVLA's strings, but each fixed sentence of the prompt, each number and each
action is one token: the prompt costs about 90 tokens instead of 300.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from autovla_core.action.codebook import Codebook
from autovla_core.contracts import Command
from autovla_core.model.patches import CELL, MERGE, PAIR, PATCH
from autovla_core.prompt import answer, reasoning, reasoning_grammar, render, text

SPECIALS = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
NUMBERS = tuple(f"{i / 10:.1f}" for i in range(300)) + tuple(f"{-i / 10:.1f}" for i in range(1, 121))
MOTION_SCALE = (4.0, 0.5, 0.25)  # m, m, rad: motions this far apart have unrelated rows
DEVIATION = 0.03  # of the embedding rows of a tiny model
CHAT_TEMPLATE = (
    "{% set videos = namespace(count=0) %}{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'video' %}{% set videos.count = videos.count + 1 %}"
    "{% if add_vision_id %}Video {{ videos.count }}: {% endif %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True)
class TinySize:
    """Widths and depths; ``text_*`` of the language model, ``vision_*`` of the vision tower."""

    text_width: int
    text_layers: int
    text_heads: int
    text_kv_heads: int
    text_inner: int
    vision_width: int
    vision_layers: int
    vision_heads: int
    vision_inner: int


SIZES = {
    "n01": TinySize(32, 2, 2, 1, 64, 16, 1, 2, 32),  # for tests
    "n05": TinySize(96, 4, 4, 2, 256, 64, 2, 4, 128),
    "n1": TinySize(128, 4, 4, 2, 352, 96, 2, 4, 256),
    "n2": TinySize(128, 4, 4, 2, 352, 128, 2, 4, 352),  # more filters for small bright things
    "n3": TinySize(192, 5, 6, 2, 512, 128, 3, 4, 352),
    "n8": TinySize(256, 7, 8, 4, 704, 192, 4, 6, 512),
}


def phrases(thoughts: bool = False) -> list[str]:
    """Fixed strings of prompt and answer that become one token each, longest first; ``thoughts``: their headers too."""
    rigs = {sentence for cameras in text.RIGS for sentence in (text.RIGS[cameras], *text.videos(cameras))}
    state = [text.SPEED, text.ACCELERATION, text.INSTRUCTION, text.REQUEST]
    turns = ["system\n", "user\n", "assistant\n"] + [text.VIDEO_ID.format(i) for i in (1, 2, 3)]
    answers = [answer.FAST_PREFIX, answer.SLOW_PREFIX, text.THINK_CLOSE + text.ANSWER_OPEN, answer.SUFFIX]
    headers = [header + "\n" for header in reasoning.HEADERS.values()] if thoughts else []
    found = {*headers, text.SYSTEM, *rigs, *state, *turns, *answers, *text.COMMANDS.values()}
    return sorted(found, key=lambda phrase: (-len(phrase), phrase))


def build_tokenizer(actions: int, thoughts: bool = False) -> Qwen2Tokenizer:
    """A byte-level BPE in Qwen's format, trained on our own wording, with phrase, number and action tokens.

    Args:
        thoughts: trained on the sentences of thoughts too, with twice as many rows for text: a thought of
            ``prompt.reasoning_claims`` is then some 100 tokens instead of 230.
    """
    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.NFC()
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    alphabet, rows = pre_tokenizers.ByteLevel.alphabet(), 1024 if thoughts else 512
    bpe.train_from_iterator(
        _corpus(thoughts), trainers.BpeTrainer(vocab_size=rows, initial_alphabet=alphabet, show_progress=False)
    )
    model = json.loads(bpe.to_str())["model"]
    merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in model["merges"]]
    tokenizer = Qwen2Tokenizer(vocab=model["vocab"], merges=merges, chat_template=CHAT_TEMPLATE)
    tokenizer.add_tokens([AddedToken(s, special=True, normalized=False) for s in SPECIALS])
    plain = [*phrases(thoughts), *NUMBERS, *(text.ACTION.format(i) for i in range(actions))]
    tokenizer.add_tokens([AddedToken(s, special=False, normalized=False) for s in plain])
    tokenizer.eos_token, tokenizer.pad_token = text.END_OF_TURN, "<|endoftext|>"
    tokenizer.padding_side = "left"
    return tokenizer


def _corpus(thoughts: bool) -> Iterable[str]:
    """The wording itself, for the bytes that no phrase token covers; ``thoughts``: their sentences too."""
    for cameras in text.RIGS:
        for command in text.COMMANDS:
            for i in range(20):
                yield render.render(i * 0.7, 2.0 - i * 0.3, Command(command), cameras)
    yield answer.write([]) + answer.write([], "")
    if thoughts:
        yield from reasoning_grammar.corpus()


def build_config(size: TinySize, tokenizer: Qwen2Tokenizer, height: int, width: int) -> Qwen2_5_VLConfig:
    """A Qwen2.5-VL configuration whose attention windows hold a whole image of ``height`` x ``width`` pixels."""
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in SPECIALS}
    half = size.text_width // size.text_heads // 2
    side = 3 * half // 8  # share of the rotary frequencies for height and for width, as in the 3B model
    text_config = {
        "vocab_size": math.ceil(len(tokenizer) / 64) * 64,
        "hidden_size": size.text_width,
        "intermediate_size": size.text_inner,
        "num_hidden_layers": size.text_layers,
        "num_attention_heads": size.text_heads,
        "num_key_value_heads": size.text_kv_heads,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "mrope_section": [half - 2 * side, side, side],
        },
        "bos_token_id": ids["<|endoftext|>"],
        "eos_token_id": ids["<|im_end|>"],
        "pad_token_id": ids["<|endoftext|>"],
    }
    vision_config = {
        "depth": size.vision_layers,
        "hidden_size": size.vision_width,
        "intermediate_size": size.vision_inner,
        "num_heads": size.vision_heads,
        "in_channels": 3,
        "patch_size": PATCH,
        "spatial_merge_size": MERGE,
        "temporal_patch_size": PAIR,
        "tokens_per_second": 2,
        "window_size": CELL * math.ceil(max(height, width) / CELL),
        "out_hidden_size": size.text_width,
        "fullatt_block_indexes": list(range(size.vision_layers)),
    }
    return Qwen2_5_VLConfig(
        text_config=text_config,
        vision_config=vision_config,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )


def build_model(
    size: str, tokenizer: Qwen2Tokenizer, codebook: Codebook, height: int, width: int, seed: int = 0
) -> Qwen2_5_VLForConditionalGeneration:
    """Random weights, except that motions and numbers that are near each other start with near embeddings.

    Raises:
        ValueError: a size that ``SIZES`` does not hold.
    """
    if size not in SIZES:
        raise ValueError(f"unknown size {size!r}; known: {', '.join(SIZES)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = build_config(SIZES[size], tokenizer, height, width)
        model = Qwen2_5_VLForConditionalGeneration._from_config(config, attn_implementation="sdpa")
    rng = np.random.default_rng(seed)
    table = model.get_input_embeddings().weight
    actions = tokenizer.convert_tokens_to_ids([text.ACTION.format(i) for i in range(len(codebook))])
    numbers = tokenizer.convert_tokens_to_ids(list(NUMBERS))
    with torch.no_grad():
        table[actions] = motion_rows(codebook, table.shape[1], rng)
        table[numbers] = fourier_rows(np.array(NUMBERS, float)[:, None] / 4.0, table.shape[1], rng)
    return model


def motion_rows(codebook: Codebook, width: int, rng: np.random.Generator, deviation: float = DEVIATION) -> torch.Tensor:
    """Embedding rows (K, width) of the action tokens: near motions get near rows."""
    return fourier_rows(codebook.motions / MOTION_SCALE, width, rng, deviation)


def fourier_rows(
    points: np.ndarray, width: int, rng: np.random.Generator, deviation: float = DEVIATION
) -> torch.Tensor:
    """Embedding rows (N, width) by random Fourier features: near points (N, D) get near rows."""
    waves = np.cos(points @ rng.standard_normal((points.shape[1], width)) + rng.uniform(0.0, 2.0 * np.pi, width))
    waves -= waves.mean(axis=0)
    rows = deviation * waves / waves.std() + deviation / 6.0 * rng.standard_normal(waves.shape)
    return torch.from_numpy(rows.astype(np.float32))
