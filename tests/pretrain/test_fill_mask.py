"""Examples of what a model fills into gaps."""

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from pipeline.pretrain.architecture import architecture_of
from pipeline.pretrain.fill_mask import fill_rows, readable
from pipeline.pretrain.model import build_model
from pipeline.pretrain.rows import Rows
from tests.pretrain.shards import IDS, make_pairs, write_pairs, write_split, write_tokenizer

STARTS_V = torch.tensor([not token.startswith("##") for token in IDS])


def _model(name="modernbert-demo", **changed):
    small = {"vocab_size": len(IDS), "positions": 32, "pad_id": 0, "layers": 2, "width": 32, "heads": 2}
    return build_model(architecture_of(name, **small, **changed), seed=0)


def _examples(directory, model):
    rows = Rows(directory / "validation")
    return fill_rows(model, directory / "tokenizer" / "tokenizer.json", rows, seed=1, starts_word_V=STARTS_V)


def test_only_whole_words_are_hidden(tmp_path):
    """A piece of a longer word is no gap that a reader could fill: neither its beginning nor its end."""
    write_tokenizer(tmp_path / "tokenizer")
    piece = [2, IDS["kada"], IDS["##ed"], IDS["lofe"], IDS["##ed"], IDS["##s"], IDS["mida"], IDS["rago"], IDS["##s"], 3]
    write_split(tmp_path / "validation", [[piece]] * 30, num_files=1)
    examples = _examples(tmp_path, _model())
    assert [example["truth"] for example in examples] == ["mida"] * 3
    assert examples[0]["text"] == "kadaed lofeeds [MASK] ragos"
    assert len(examples[0]["predictions"]) == 5


def test_pairs_have_their_types(tmp_path, monkeypatch):
    """A model that has learned which sentence a token belongs to is told so; another is not."""
    write_tokenizer(tmp_path / "tokenizer")
    write_pairs(tmp_path / "validation", make_pairs(30, 0))
    for next_sentence in (True, False):
        model, seen = _model("bert-tiny", next_sentence=next_sentence), []
        real = model.forward

        def noted(*args, types_BS, real=real, seen=seen, **kwargs):
            seen.append(types_BS)
            return real(*args, types_BS=types_BS, **kwargs)

        monkeypatch.setattr(model, "forward", noted)
        assert len(_examples(tmp_path, model)) == 3
        if next_sentence:
            assert all(0 < types_1S.sum() < types_1S.numel() for types_1S in seen)
        else:
            assert seen == [None] * 3


@pytest.mark.parametrize("row", [[2, IDS["kada"], 3], [2, *[IDS["##s"]] * 9, 3]])
def test_rows_without_a_word_are_passed_over(tmp_path, row):
    """Too short ones, and such of pieces alone."""
    write_tokenizer(tmp_path / "tokenizer")
    write_split(tmp_path / "validation", [[row]] * 5, num_files=1)
    assert _examples(tmp_path, _model()) == []


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        (" \u03a3\u03c4\u03bf", "\u0120\u03a3\u03c4\u03bf"),
        ("\u0159eka", "\u0159eka"),
        ("\u6c34\n", "\u6c34\u010a"),
        ("a\tb", "a\u0109b"),
    ],
)
def test_byte_level_tokens_are_shown_in_letters(word, shown):
    """Greek, Czech and Chinese are what they are, white space stays the sign that such tokenizers have for it."""
    [(token, _)] = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(word)
    half = token[-1]  # one byte of a character, or an ASCII one
    tokenizer = Tokenizer(models.BPE(vocab={token: 0, half: 1, "[MASK]": 2}, merges=[]))
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["[MASK]"])
    assert readable(tokenizer, 0) == shown
    assert readable(tokenizer, 1) == half
    assert readable(tokenizer, 2) == "[MASK]"


def test_other_tokens_are_shown_as_they_are_written():
    """The signs for a continued word and for a blank are those of the tokenizer."""
    for model, decoder in (
        (models.WordPiece({"##ly": 0, "[UNK]": 1}, unk_token="[UNK]"), decoders.WordPiece()),
        (models.Unigram([("\u2581na", 0.0), ("a", -1.0)], unk_id=1), decoders.Metaspace()),
    ):
        tokenizer = Tokenizer(model)
        tokenizer.decoder = decoder
        assert readable(tokenizer, 0) == tokenizer.id_to_token(0)
