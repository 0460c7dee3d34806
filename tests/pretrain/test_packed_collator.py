"""PackedCollator against each document alone in stock `transformers` models."""

import numpy as np
import pytest
import torch

from pipeline.pretrain.packed_collator import PackedCollator
from tests.pretrain.shards import IDS

transformers = pytest.importorskip("transformers")

LENGTHS = [[5, 9, 12], [17], [3, 3, 3, 20]]


def rows():
    """Three rows of words, in pieces of these lengths; the second is padded."""
    rng = np.random.default_rng(0)
    return [
        {
            "input_ids": [token for n in lengths for token in (2, *rng.integers(5, len(IDS), n - 2).tolist(), 3)],
            "document_lengths": lengths,
            "doc_ids": [0] * len(lengths),
        }
        for lengths in LENGTHS
    ]


def pad(features):
    """Pads and masks nothing: the labels are the ids."""
    width = max(len(row["input_ids"]) for row in features)
    ids = torch.tensor([row["input_ids"] + [0] * (width - len(row["input_ids"])) for row in features])
    return {"input_ids": ids, "attention_mask": (ids > 0).long(), "labels": ids.masked_fill(ids == 0, -100)}


def model_of(family, attention):
    torch.manual_seed(0)
    common = {
        "vocab_size": len(IDS), "hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2,
        "intermediate_size": 32, "max_position_embeddings": 64, "pad_token_id": 0,
    }  # fmt: skip
    if family == "bert":
        config = transformers.BertConfig(**common, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    else:
        config = transformers.ModernBertConfig(
            **common, local_attention=6, bos_token_id=2, eos_token_id=3, cls_token_id=2, sep_token_id=3
        )
    kind = transformers.BertForMaskedLM if family == "bert" else transformers.ModernBertForMaskedLM
    config._attn_implementation = attention
    model = kind(config).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:  # fresh weights are so small that a leak is hard to see
            torch.nn.init.normal_(parameter, std=0.2)
    return model


def alone(model):
    """The logits of each document as the only one of its row."""
    return [
        model(input_ids=torch.tensor([row["input_ids"][stop - length : stop]])).logits[0]
        for row in rows()
        for length, stop in zip(row["document_lengths"], np.cumsum(row["document_lengths"]), strict=True)
    ]


def together(logits_BSV):
    return [
        logits_SV[stop - length : stop]
        for logits_SV, lengths in zip(logits_BSV, LENGTHS, strict=True)
        for length, stop in zip(lengths, np.cumsum(lengths), strict=True)
    ]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", ["bert", "modernbert"])
@torch.no_grad()
def test_each_document_is_computed_as_if_alone(family, attention):
    """Packed and masked, the logits are those of each document alone; without the masks they are not."""
    model = model_of(family, attention)
    batch = PackedCollator(pad, model.config)(rows())
    packed = together(model(**{key: batch[key] for key in ("input_ids", "attention_mask", "position_ids")}).logits)
    expected = alone(model)
    for found, wanted in zip(packed, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    leaking = together(model(**{key: value for key, value in pad(rows()).items() if key != "labels"}).logits)
    differences = [float((found - wanted).abs().max()) for found, wanted in zip(leaking, expected, strict=True)]
    assert max(differences) > 1e-2
    assert torch.isfinite(model(**{key: batch[key] for key in ("input_ids", "attention_mask")}).logits).all()


@torch.no_grad()
def test_one_mask_for_both_kinds_of_layers_loses_the_window():
    """What the two masks of ModernBERT are for."""
    model = model_of("modernbert", "sdpa")
    batch = PackedCollator(pad, model.config)(rows())
    full = batch["attention_mask"]["full_attention"]
    logits = model(
        input_ids=batch["input_ids"], attention_mask={"full_attention": full, "sliding_attention": full}
    ).logits
    differences = [float((a - b).abs().max()) for a, b in zip(together(logits), alone(model), strict=True)]
    assert max(differences) > 1e-2


def test_the_inner_collator_sees_ids_alone():
    """Its labels and its padding come back as they are."""
    seen = []

    def collator(features):
        seen.extend(features)
        return pad(features)

    batch = PackedCollator(collator, model_of("bert", "sdpa").config)(rows())
    assert all(set(row) == {"input_ids"} for row in seen)
    assert torch.equal(batch["labels"], pad(rows())["labels"])
    assert batch["position_ids"][0].tolist()[:16] == [*range(5), *range(9), 0, 1]


def test_other_models_and_attentions_are_refused():
    """Masks of four dimensions mean nothing to them."""
    with pytest.raises(ValueError, match="roberta"):
        PackedCollator(pad, transformers.RobertaConfig())
    config = transformers.BertConfig()
    config._attn_implementation = "flash_attention_2"
    with pytest.raises(ValueError, match="flash_attention_2"):
        PackedCollator(pad, config)


def test_sentence_pairs_and_left_padding_are_refused():
    """Both would be computed wrongly without a word."""
    config = model_of("bert", "sdpa").config
    collate = PackedCollator(pad, config)
    pair = {"input_ids": [2, 5, 3, 6, 3], "document_lengths": [3, 2], "token_type_ids": [0, 0, 0, 1, 1]}
    for row in ({**pair, "next_sentence_label": 0}, pair):
        with pytest.raises(ValueError, match="packing: pairs"):
            collate([row])

    def pad_left(features):
        return {key: value.flip(1) for key, value in pad(features).items()}

    with pytest.raises(ValueError, match="pads on the left"):
        PackedCollator(pad_left, config)(rows())
