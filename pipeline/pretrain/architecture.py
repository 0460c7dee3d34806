"""The architecture of an encoder: its numbers, the named sizes, and its Hugging Face config."""

import dataclasses
from typing import Any

# The sizes of Google's BERT miniatures, of ModernBERT and of Ettin; `demo` learns in two minutes on one CPU thread.
# name: family, layers, width, heads, feed-forward width
PRESETS: dict[str, tuple[str, int, int, int, int]] = {
    "bert-tiny": ("bert", 2, 128, 2, 512),
    "bert-mini": ("bert", 4, 256, 4, 1024),
    "bert-small": ("bert", 4, 512, 8, 2048),
    "bert-medium": ("bert", 8, 512, 8, 2048),
    "bert-base": ("bert", 12, 768, 12, 3072),
    "bert-large": ("bert", 24, 1024, 16, 4096),
    "modernbert-demo": ("modernbert", 2, 128, 4, 256),
    "modernbert-tiny": ("modernbert", 7, 256, 4, 384),
    "modernbert-mini": ("modernbert", 10, 384, 6, 576),
    "modernbert-small": ("modernbert", 19, 512, 8, 768),
    "modernbert-base": ("modernbert", 22, 768, 12, 1152),
    "modernbert-large": ("modernbert", 28, 1024, 16, 2624),
}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """The numbers of one encoder.

    Args:
        family: `bert` (post-norm, learned positions) or `modernbert` (pre-norm, rotary positions, GeGLU, local
            attention).
        vocab_size: rows of the embedding.
        layers: number of blocks.
        width: width of the residual stream.
        heads: attention heads; `width / heads` is even for rotary positions.
        feed_forward: inner width of the MLP (of each half, where it is gated).
        positions: longest document, in tokens.
        pad_id: the id of padding, whose embedding is zero.
        next_sentence: whether there is a pooler and a next-sentence head (bert only).
        global_every: each such layer attends to the whole document, the others locally (modernbert only).
        window: local attention sees keys at most `window // 2` away (modernbert only).
    """

    family: str
    vocab_size: int
    layers: int
    width: int
    heads: int
    feed_forward: int
    positions: int
    pad_id: int
    next_sentence: bool = False
    global_every: int = 3
    window: int = 128
    global_theta: float = 160_000.0
    local_theta: float = 10_000.0

    @property
    def head_width(self) -> int:
        """Width of one attention head."""
        return self.width // self.heads

    @property
    def local_window(self) -> int | None:
        """The window of local layers, None where there are none."""
        return self.window if self.family == "modernbert" else None

    def is_global(self, layer: int) -> bool:
        """Whether `layer` attends to the whole document."""
        return self.family == "bert" or layer % self.global_every == 0


def architecture_of(
    name: str,
    *,
    vocab_size: int,
    positions: int,
    pad_id: int,
    layers: int | None = None,
    width: int | None = None,
    heads: int | None = None,
    next_sentence: bool = False,
) -> Architecture:
    """Return the architecture of the preset `name`, with other `layers`, `width` or `heads` where given.

    Raises:
        ValueError: the heads do not divide the width, or not into even parts.
    """
    family, preset_layers, preset_width, preset_heads, feed_forward = PRESETS[name]
    layers, width, heads = layers or preset_layers, width or preset_width, heads or preset_heads
    if width % heads or (family == "modernbert" and width // heads % 2):
        raise ValueError(f"pretrain.heads: {heads} heads do not divide a width of {width} into even parts")
    return Architecture(
        family=family,
        vocab_size=vocab_size,
        layers=layers,
        width=width,
        heads=heads,
        feed_forward=feed_forward * width // preset_width,
        positions=positions,
        pad_id=pad_id,
        next_sentence=next_sentence,
    )


def hugging_face_config(architecture: Architecture, special_ids: dict[str, int]) -> dict[str, Any]:
    """Return `config.json` with which `transformers` builds the same network.

    Dropout is what fine-tuning wants (BERT's 0.1); pretraining itself uses none, see CONTRIBUTING.

    Args:
        architecture: the numbers.
        special_ids: ids of `cls`, `sep` (and others, unused).
    """
    common = {
        "dtype": "float32",
        "vocab_size": architecture.vocab_size,
        "hidden_size": architecture.width,
        "num_hidden_layers": architecture.layers,
        "num_attention_heads": architecture.heads,
        "intermediate_size": architecture.feed_forward,
        "initializer_range": 0.02,
        "pad_token_id": architecture.pad_id,
        "tie_word_embeddings": True,
    }
    if architecture.family == "bert":
        return {
            "architectures": ["BertForPreTraining" if architecture.next_sentence else "BertForMaskedLM"],
            "model_type": "bert",
            **common,
            "hidden_act": "gelu",
            "hidden_dropout_prob": 0.1,
            "attention_probs_dropout_prob": 0.1,
            "max_position_embeddings": architecture.positions,
            "type_vocab_size": 2,
            "layer_norm_eps": 1e-12,
        }
    layer_types = [
        "full_attention" if architecture.is_global(layer) else "sliding_attention"
        for layer in range(architecture.layers)
    ]
    return {
        "architectures": ["ModernBertForMaskedLM"],
        "model_type": "modernbert",
        **common,
        "hidden_activation": "gelu",
        "classifier_activation": "gelu",
        "classifier_pooling": "mean",
        "initializer_cutoff_factor": 2.0,
        "max_position_embeddings": architecture.positions,
        "norm_eps": 1e-5,
        "norm_bias": False,
        "attention_bias": False,
        "mlp_bias": False,
        "classifier_bias": False,
        "decoder_bias": True,
        "global_attn_every_n_layers": architecture.global_every,
        "global_rope_theta": architecture.global_theta,
        "local_attention": architecture.window,
        "local_rope_theta": architecture.local_theta,
        "layer_types": layer_types,
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": architecture.global_theta},
            "sliding_attention": {"rope_type": "default", "rope_theta": architecture.local_theta},
        },
        "cls_token_id": special_ids["cls"],
        "sep_token_id": special_ids["sep"],
        "bos_token_id": special_ids["cls"],
        "eos_token_id": special_ids["sep"],
    }
