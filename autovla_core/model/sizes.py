"""Real models by their dimensions, to be built with random weights where only speed is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase, Qwen2_5_VLConfig


@dataclass(frozen=True)
class Size:
    """A Qwen2.5-VL by its dimensions."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    inner: int
    vision_width: int
    vision_layers: int
    vision_heads: int
    vision_inner: int
    window: int
    whole: tuple[int, ...]  # vision layers without windows

    def config(self, tokenizer: PreTrainedTokenizerBase) -> Qwen2_5_VLConfig:
        """The library's configuration, with the token ids of our tokenizer."""
        half = self.width // self.heads // 2
        side = 3 * half // 8
        ids = {name: tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in ("image_pad", "video_pad")}
        rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [half - 2 * side, side, side]}
        text_config = {
            "vocab_size": self.vocabulary,
            "hidden_size": self.width,
            "intermediate_size": self.inner,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "rope_parameters": rope,
        }
        vision_config = {
            "depth": self.vision_layers,
            "hidden_size": self.vision_width,
            "num_heads": self.vision_heads,
            "intermediate_size": self.vision_inner,
            "out_hidden_size": self.width,
            "window_size": self.window,
            "fullatt_block_indexes": list(self.whole),
        }
        return Qwen2_5_VLConfig(
            text_config=text_config,
            vision_config=vision_config,
            image_token_id=ids["image_pad"],
            video_token_id=ids["video_pad"],
            tie_word_embeddings=True,
        )


SIZES = {"3b": Size(153_792, 2048, 36, 16, 2, 11_008, 1280, 32, 16, 3420, 112, (7, 15, 23, 31))}
