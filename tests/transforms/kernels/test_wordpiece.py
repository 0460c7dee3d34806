"""The WordPiece kernel and its twin against `tokenizers`."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from tests.reference import wordpiece as twin
from transforms.encode import Encoder
from transforms.tokenizer import SPECIAL_TOKENS
from transforms.wordpiece import WordPiece

# Pieces that overlap ("ab", "abc", "##bcd"), marks, jamo, a letter outside the BMP, capitals, a lone prefix.
PIECES = (
    "a b c d ab abc abcd x e f A Ab 1 2 12 . , ! - [ ] ## # \u4e2d \u6587 \xe4 \u03c3 \u0391 \u1100 \u1161 i"
    " \u0131 \U00010400 \U00020000"
    " ##a ##b ##c ##d ##bc ##bcd ##cd ##x ##1 ##23 ##\u1161 ##\u11a8 ##\u0307 ##\U00010428 ##\u3042"
).split()
VOCABULARY = {piece: number for number, piece in enumerate([*SPECIAL_TOKENS, *PIECES])}
CHARACTERS = (
    "aabbccddxefABCDZ123. ,!-[]#\n\t\r\x00\x01\x7f\x85\xa0\xad\u200b\u2028\ufffd\ufeff\u3000\u0300\u0301\u0307\u0345"
    "\u4e2d\u6587\u4e00\u9fff\uf900\ufa0e\U0002f800\U00020000\xe4\xc4\xdf\u0130\u0131\u01c5\u03c3\u03c2\u03a3\u0391\u1fb3"
    "\uac00\uac01\ud7a3\u1100\u3042\u304c\uff21\u1b44\u1b35\u1b06\u302e\u302f\U0001d15f\U0001d165\U0001d16d\U00010400"
    "\U0001f600\U000e0001\U0010ffff\u2260\u037e\u1fef\u0958\u0f43\u0e33"
)
TEXTS = st.one_of(
    st.text(st.sampled_from(CHARACTERS), max_size=60),
    st.text(max_size=60),
    st.lists(
        st.sampled_from([*SPECIAL_TOKENS, "abcd", "abcdx", " ", "a" * 101, "ab" * 50, "Abc\u0301d"]), max_size=6
    ).map("".join),
)
OPTIONS = [
    {"lowercase": True},
    {"lowercase": False},
    {"lowercase": True, "strip_accents": False},
    {"lowercase": False, "strip_accents": True, "handle_chinese_chars": False, "clean_text": False},
]


def bert_tokenizer(options, max_input_chars_per_word=100):
    tokenizer = Tokenizer(
        models.WordPiece(VOCABULARY, unk_token="[UNK]", max_input_chars_per_word=max_input_chars_per_word)
    )
    tokenizer.normalizer = normalizers.BertNormalizer(**options)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    return tokenizer


TOKENIZERS = [bert_tokenizer(options) for options in OPTIONS]
ENCODERS = [Encoder(tokenizer) for tokenizer in TOKENIZERS]


def encode_with_kernel(which, texts):
    return ENCODERS[which].encode(pa.array(texts, pa.string())).to_pylist()


def encode_with_twin(which, texts):
    return [twin.encode(TOKENIZERS[which], text) for text in texts]


def expected_ids(which, texts):
    tokenizer = Tokenizer.from_str(TOKENIZERS[which].to_str())
    tokenizer.encode_special_tokens = True
    return [encoding.ids for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]


@pytest.mark.parametrize("implementation", [encode_with_kernel, encode_with_twin], ids=["kernel", "twin"])
@pytest.mark.parametrize("which", range(len(OPTIONS)), ids=str)
@settings(max_examples=150, deadline=None)
@given(st.lists(TEXTS, max_size=5))
def test_ids_equal_tokenizers_on_fuzzed_text(implementation, which, texts):
    """Any characters of any plane, marks in any order, controls, long words, and special tokens spelled out."""
    assert implementation(which, texts) == expected_ids(which, texts)


@pytest.mark.parametrize("which", range(len(OPTIONS)), ids=str)
def test_characters_of_all_planes_beside_others(which):
    """Every 31st block of code points, each character between letters and beside marks: one text a character."""
    codes = [code for block in range(0, 0x1100, 31) for code in range(block * 256, block * 256 + 256)]
    characters = [chr(code) for code in codes if not 0xD800 <= code < 0xE000]
    texts = [f"ab{each}cd {each}{each} \u0301{each}\u0301" for each in characters]
    encoder = Encoder(TOKENIZERS[which])
    assert encoder.encode(pa.array(texts)).to_pylist() == expected_ids(which, texts)


def test_documents_left_out_keep_their_place():
    """Documents with reordered marks go through `tokenizers` and come back between the others."""
    texts = ["ab", "a\u1b44 b", "", "abc", "\U0001d16d\u1b44", "\u302e\U0001d165", "abcd"]
    expected = expected_ids(0, texts)
    assert encode_with_kernel(0, texts) == expected
    offsets_N1 = np.array([0, 2, 8], np.int32)
    num_tokens_N = WordPiece.of(TOKENIZERS[0]).encode(
        offsets_N1, np.frombuffer("aba\u1b44 b".encode(), np.uint8), np.empty(8, np.uint16)
    )
    assert num_tokens_N.tolist() == [1, -1]


@pytest.mark.parametrize("longest", [1, 2, 5])
def test_longest_word(longest):
    """A word of more characters than the model allows is one unknown token; isolated characters are not counted."""
    tokenizer = bert_tokenizer(OPTIONS[0], longest)
    texts = ["a" * n + " ." for n in range(1, 8)] + ["\u4e2d" * 7, "\uac01\uac01\uac01"]
    expected = [encoding.ids for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
    assert Encoder(tokenizer).encode(pa.array(texts)).to_pylist() == expected


@pytest.mark.parametrize("change", ["normalizer", "pre_tokenizer", "model", "added", "unknown"])
def test_another_kind_is_not_taken(change):
    """A tokenizer with one part of another kind is left to `tokenizers`, and encoded all the same."""
    tokenizer = bert_tokenizer(OPTIONS[0])
    assert WordPiece.of(tokenizer) is not None
    if change == "normalizer":
        tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    elif change == "pre_tokenizer":
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    elif change == "model":
        tokenizer.model = models.WordLevel(VOCABULARY, unk_token="[UNK]")
    elif change == "added":
        tokenizer.add_tokens([AddedToken("ab cd", normalized=False)])
    else:
        tokenizer.model = models.WordPiece({"a": 0, "##a": 1}, unk_token="[UNK]")
    assert WordPiece.of(tokenizer) is None
    assert Encoder(tokenizer).encode(pa.array(["aa"])).to_pylist() == [tokenizer.encode("aa").ids]
