"""Fill-mask examples are read by people."""

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from pipeline.pretrain.fill_mask import readable


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
