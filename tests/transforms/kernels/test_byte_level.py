"""The byte-level BPE kernel and its twin against `tokenizers`."""

import json
import random
import time

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

from tests.reference import byte_level as twin
from tests.transforms.test_tokenizer import CORPUS
from transforms.byte_level import ByteLevel, byte_characters
from transforms.encode import Encoder
from transforms.tokenizer import TrainParameters, train_tokenizer

CHARACTERS = (
    "aabbcdst re vell m'''' 0123\xb2\xbd.,;!?-=\n\n\t\r\x0b\x00\x7f\x85\xa0\xad\u200b\u2028\u3000\ufeff"
    "\u0300\u0301\u0327\u0307e\xe9E\xc9\u0130\u01c5\u03a3\u1e9e\u4e2d\u6587\u1100\u1161\u11a8\uac00\u0e33\u0915\u093c\u0958"
    "\u064e\u0651\u05b8\u0e48\u0e38\u2126\u212b\uf900\U0001d15e\U0001f600\U00010400\U0010ffff\u1fef\u0660\u2160"
)
WORDS = [
    "<s>",
    "</s>",
    "<mask>",
    "  ",
    "   ",
    "    x",
    "[X]",
    "aaaa",
    "abab",
    "it's",
    "we'll",
    "'re've'm'd't",
    "'s's",
    "'S'\u017f'T'Re'VE'M'lL'D",
    "qzxv zq 0z",
    "aaaaaaaa",
    "\n\n\n\n",
    "\r\n\r\n  x",
    " !?\r\n\n",
    "12345678",
    "\n \n  a",
    " ",
]
TEXTS = st.one_of(
    st.text(st.sampled_from(CHARACTERS), max_size=60),
    st.text(max_size=60),
    st.lists(st.sampled_from([*WORDS, *CORPUS[:3], "=" * 40, "ab" * 20]), max_size=6).map("".join),
)
# Enough of everything that GPT-2's pattern keeps together for there to be tokens of it.
HABITS = "aaaa abab aab ===== ... \u4e2d\u6587\u4e2d e\u0301 we're I've they'll it's don't I'm he'd  a   b\n\n 11 22"
LEARNED = train_tokenizer([*CORPUS, HABITS] * 3, TrainParameters(model="bpe"))


def byte_level_tokenizer(normalizer=None, *, prefix=False, added=()):
    tokenizer = Tokenizer.from_str(LEARNED.to_str())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    tokenizer.normalizer = normalizer
    tokenizer.add_special_tokens([AddedToken("<s>", normalized=True), AddedToken("<mask>", lstrip=True)])
    tokenizer.add_tokens(list(added))
    return tokenizer


# As Llama 3 and GPT-4 (three digits) and Qwen 2 (one) have it.
TIKTOKEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def tiktoken_tokenizer(pattern, *, normalizer=None, added=(), whole=()):
    """`whole`: tokens that no merge makes, found where they are a whole piece."""
    description = json.loads(byte_level_tokenizer(normalizer, added=added).to_str())
    model = description["model"]
    model["ignore_merges"] = bool(whole)
    first = 1 + max([*model["vocab"].values(), *(token["id"] for token in description["added_tokens"])])
    model["vocab"] |= {name: first + n for n, name in enumerate(whole)}
    tokenizer = Tokenizer.from_str(json.dumps(description))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return tokenizer


SPACES = [AddedToken(" " * n) for n in (2, 3, 4, 7)] + [AddedToken("[X]"), AddedToken("s>x"), AddedToken("\u0301\xe9")]
TOKENIZERS = {
    "gpt2": byte_level_tokenizer(),
    "prefix": byte_level_tokenizer(prefix=True),
    "modernbert": byte_level_tokenizer(normalizers.NFC(), added=SPACES),
    "prefix-added": byte_level_tokenizer(prefix=True, added=SPACES),
    "lower": byte_level_tokenizer(normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()]), added=SPACES),
}
WHOLE = ["qzxv", "\u0120zq", "0z", "aaaaaaaa", "'X", "\u010a\u010a\u010a\u010a", "ababab"]
TOKENIZERS |= {
    "gpt4": tiktoken_tokenizer(TIKTOKEN),
    "llama3": tiktoken_tokenizer(TIKTOKEN, added=SPACES, whole=WHOLE),
    "qwen2": tiktoken_tokenizer(TIKTOKEN.replace("{1,3}", ""), normalizer=normalizers.NFC()),
}
ENCODERS = {name: Encoder(tokenizer) for name, tokenizer in TOKENIZERS.items()}
NAMES = pytest.mark.parametrize("name", list(TOKENIZERS))


def encode_with_kernel(name, texts):
    return ENCODERS[name].encode(pa.array(texts, pa.string())).to_pylist()


def encode_with_twin(name, texts):
    return [twin.encode(TOKENIZERS[name], text) for text in texts]


def expected_ids(tokenizer, texts):
    tokenizer = Tokenizer.from_str(tokenizer.to_str())
    tokenizer.encode_special_tokens = True
    return [encoding.ids for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]


@NAMES
def test_the_kernel_takes_them(name):
    """None of these is left to `tokenizers`."""
    assert ByteLevel.of(TOKENIZERS[name]) is not None


@pytest.mark.parametrize("implementation", [encode_with_kernel, encode_with_twin], ids=["kernel", "twin"])
@NAMES
@settings(max_examples=60, deadline=None)
@given(st.lists(TEXTS, max_size=4))
def test_ids_equal_tokenizers_on_fuzzed_text(implementation, name, texts):
    """Any characters of any plane, contractions, white space of any kind, added and special tokens."""
    assert implementation(name, texts) == expected_ids(TOKENIZERS[name], texts)


@NAMES
def test_characters_of_all_planes_beside_others(name):
    """Every 61st block of code points, each character between letters, digits and marks: one text a character."""
    codes = [code for block in range(0, 0x1100, 61) for code in range(block * 256, block * 256 + 256)]
    characters = [chr(code) for code in codes if not 0xD800 <= code < 0xE000]
    texts = [f"ab{each}cd {each}{each}  {each}1{each}!{each} e{each}\u0301 \u1100{each}" for each in characters]
    assert encode_with_kernel(name, texts) == expected_ids(TOKENIZERS[name], texts)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_learned_merges(data):
    """Vocabularies learned from few letters, where tokens overlap in every way, on runs of these letters."""
    words = st.text(st.sampled_from("abc"), min_size=1, max_size=12)
    corpus = data.draw(st.lists(words, min_size=1, max_size=12)) * 2
    size = data.draw(st.integers(262, 300))
    tokenizer = train_tokenizer(corpus, TrainParameters(model="bpe", vocab_size=size))
    texts = data.draw(st.lists(st.text(st.sampled_from("abc "), max_size=60), max_size=4))
    assert ByteLevel.of(tokenizer) is not None
    assert Encoder(tokenizer).encode(pa.array(texts, pa.string())).to_pylist() == expected_ids(tokenizer, texts)


def test_long_runs_take_linear_time():
    """A run ten times as long takes less than 40 times as long, where a merge at a time takes 100 times as long."""
    encoder = Encoder(LEARNED)
    seconds = []
    for size in (20_000, 200_000):
        texts = pa.array(["=" * size, "ab" * (size // 2), "abcabd" * (size // 6), "\u4e2d\u6587" * (size // 6)])
        encoder.encode(texts)
        spent = []
        for _ in range(3):
            start = time.process_time()
            encoder.encode(texts)
            spent.append(time.process_time() - start)
        seconds.append(min(spent))
    assert seconds[1] < 40 * seconds[0]


@NAMES
def test_many_pieces_and_long_ones(name):
    """More pieces than are found at once, cut anywhere, and pieces longer than any room made beforehand."""
    rng = random.Random(0)
    parts = [*WORDS, *CORPUS[0].split(), " \t", "  \n", "\u3000", "42", "\u4e2d\u6587", "caf\xe9", "e\u0301"]
    texts = ["".join(rng.choices(parts, k=k)) for k in (0, 1023, 1024, 5000)]
    texts += ["ab" * 5000 + " x", " " * 9000 + "y", "longer than 31 bytes".replace(" ", "") * 2]
    assert encode_with_kernel(name, texts) == expected_ids(TOKENIZERS[name], texts)


def test_words_that_want_the_same_rows():
    """More distinct words than the memory has rows, each met again later."""
    texts = [" ".join(f"{base}{number}" for number in range(20_000)) for base in ("ba", "ma", "ba", "ma")]
    assert encode_with_kernel("gpt2", texts) == expected_ids(TOKENIZERS["gpt2"], texts)


def test_letters_newer_than_python():
    """Capitals that this Python's Unicode may not have are folded where the tokenizer folds them."""
    texts = ["\u1c89", "a \ua7cb b", "\U00010d50"]
    assert encode_with_kernel("lower", texts) == expected_ids(TOKENIZERS["lower"], texts)


def merges_tokenizer(merges):
    names = [*byte_characters(), *("".join(pair) for pair in merges)]
    vocab = {name: number for number, name in enumerate(dict.fromkeys(names))}
    tokenizer = Tokenizer(models.BPE(vocab, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


def test_two_ways_to_one_token():
    """The same token from two merges, of which BPE uses one; and a token that BPE never makes."""
    merges = [("b", "c"), ("a", "bc"), ("a", "b"), ("ab", "c"), ("c", "d"), ("abc", "d"), ("ab", "cd")]
    tokenizer = merges_tokenizer(merges)
    texts = ["abcd", "abc", "ab", "abab", "abcabcd", "bcd", "cd"]
    assert ByteLevel.of(tokenizer) is not None
    assert Encoder(tokenizer).encode(pa.array(texts)).to_pylist() == expected_ids(tokenizer, texts)


def test_merges_out_of_order_are_not_taken():
    """A merge that comes before the merges of its parts breaks what the kernel relies on: left to `tokenizers`."""
    tokenizer = merges_tokenizer([("ab", "c"), ("a", "b"), ("b", "c")])
    assert ByteLevel.of(tokenizer) is None
    texts = ["abc", "abcabc", "bc"]
    assert Encoder(tokenizer).encode(pa.array(texts)).to_pylist() == expected_ids(tokenizer, texts)


@pytest.mark.parametrize(
    "change", ["normalizer", "pre_tokenizer", "regex", "pattern", "inverted", "model", "added", "two rounds"]
)
def test_another_kind_is_not_taken(change):
    """A tokenizer with one part of another kind is left to `tokenizers`, and encoded all the same."""
    tokenizer = byte_level_tokenizer(normalizers.NFC())
    if change == "normalizer":
        tokenizer.normalizer = normalizers.Replace("a", "b")
    elif change == "pre_tokenizer":
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(), pre_tokenizers.ByteLevel()])
    elif change == "regex":
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    elif change == "pattern":
        tokenizer = tiktoken_tokenizer(TIKTOKEN.replace("3", "4"))
    elif change == "inverted":
        split = pre_tokenizers.Split(Regex(TIKTOKEN), behavior="removed", invert=True)
        by_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, by_bytes])
    elif change == "model":
        tokenizer.model = models.WordLevel({"a": 0}, unk_token="a")
    elif change == "added":
        tokenizer.add_tokens([AddedToken("ab", single_word=True)])
    else:
        tokenizer.add_tokens([AddedToken("ab", normalized=False)])
    assert ByteLevel.of(tokenizer) is None
    texts = ["ab xab 12  a"]
    assert Encoder(tokenizer).encode(pa.array(texts)).to_pylist() == expected_ids(tokenizer, texts)


def test_marks_that_stay_are_encoded_at_once():
    """Arabic, Hebrew, Thai, Hindi with one mark a letter need no normalising; two marks, or one that composes, do."""
    kernel = ByteLevel.of(TOKENIZERS["modernbert"])
    stays = ["\u0628\u064e\u0628\u0650 x", "\u05d0\u05b8\u05d1", "\u0e01\u0e48", "\u0915\u094d\u0937", "\u064ea"]
    moves = ["\u0628\u064e\u0651", "e\u0301", "\u0928\u093c", "x\u064e\u0301", "\u0301\xe9\u064e"]
    for texts, left_out in ((stays, False), (moves, True)):
        offsets_N1 = np.cumsum([0, *(len(text.encode()) for text in texts)], dtype=np.int32)
        bytes_M = np.frombuffer("".join(texts).encode(), np.uint8)
        num_tokens_N = kernel.encode(offsets_N1, bytes_M, np.empty(len(bytes_M) + 4, np.uint16))
        assert ((num_tokens_N < 0) == left_out).all()
        assert encode_with_kernel("modernbert", texts) == expected_ids(TOKENIZERS["modernbert"], texts)
        assert encode_with_kernel("qwen2", texts) == expected_ids(TOKENIZERS["qwen2"], texts)


def test_documents_that_normalisation_changes_keep_their_place():
    """They are left out by the first pass, normalised, and put back between the others."""
    texts = ["ab", "e\u0301 x", "", "cafe\u0301", "abc", "\u212b"]
    kernel = ByteLevel.of(TOKENIZERS["modernbert"])
    offsets_N1 = np.array([0, 2, 5], np.int32)
    num_tokens_N = kernel.encode(offsets_N1, np.frombuffer("abe\u0301".encode(), np.uint8), np.empty(9, np.uint16))
    assert num_tokens_N[1] == -1
    assert num_tokens_N[0] > 0
    assert encode_with_kernel("modernbert", texts) == expected_ids(TOKENIZERS["modernbert"], texts)
