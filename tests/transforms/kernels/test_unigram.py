"""The Unigram kernel and its twin against `tokenizers`."""

import io
import json
import random
import time
from functools import cache

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

from tests.reference import unigram as twin
from tests.transforms.test_encode import shared_texts
from tests.transforms.test_tokenizer import CORPUS
from transforms.encode import Encoder
from transforms.tokenizer import TrainParameters, train_tokenizer
from transforms.unigram import Unigram

CHARACTERS = (
    "aabbcdst re vell m'''' 0123\xb2\xbd.,;!?-=\n\n\t\r\x0b\x00\x1c\x7f\x85\xa0\xad\u200b\u2028\u3000\ufeff\u2581\u2581"
    "\u0300\u0301\u0327\u0307e\xe9E\xc9\u0130\u01c5\u03a3\u1e9e\u4e2d\u6587\u1100\u1161\u11a8\uac00\u0e33\u0915\u093c\u0958"
    "\u064e\u0651\u05b8\u0e48\u0e38\u2126\u212b\uf900\U0001d15e\U0001f600\U00010400\U0010ffff\u1fef\u0660\u2160\uff0c\ufdfa"
    "\uff76\uff9e\u200d\u200c\U0001f44d\U0001f3fd\U0001f1e9\ufe0f\u0d4e\u11a8"
)
WORDS = ["<s>", "<mask>", "<unk>", "[MASK]", "[X]", "s>x", "  ", "    x", "aaaa", "abab", "it's", "\u2581a", "a\u2581"]
TEXTS = st.one_of(
    st.text(st.sampled_from(CHARACTERS), max_size=60),
    st.text(max_size=60),
    st.lists(st.sampled_from([*WORDS, *CORPUS[:3], "=" * 40, "ab" * 20, "\uff21" * 15]), max_size=6).map("".join),
)
HABITS = ["aaaa abab aab ===== ... \u4e2d\u6587\u4e2d\uff0c we're it's 11 22 \u0915\u094d caf\xe9 =" * 3]
LEARNED = train_tokenizer([*CORPUS, *HABITS], TrainParameters(model="unigram", vocab_size=700))
ADDED = [AddedToken("[X]"), AddedToken("s>x"), AddedToken("  "), AddedToken("\u0301\xe9")]


def unigram_tokenizer(normalizer=None, *, split=True, prepend="always", added=(), vocabulary=None, by_bytes=False):
    """`vocabulary` comes in the place of the learned pieces."""
    model = json.loads(LEARNED.to_str())["model"]
    pieces = [tuple(piece) for piece in model["vocab"]] if vocabulary is None else vocabulary
    tokenizer = Tokenizer(models.Unigram(pieces, model["unk_id"] if vocabulary is None else 0, by_bytes))
    tokenizer = Tokenizer.from_str(tokenizer.to_str())  # scores as they are read
    metaspace = pre_tokenizers.Metaspace(prepend_scheme=prepend)
    white_space = pre_tokenizers.WhitespaceSplit()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([white_space, metaspace]) if split else metaspace
    tokenizer.normalizer = normalizer
    if vocabulary is None:
        tokenizer.add_special_tokens([AddedToken("[MASK]"), AddedToken("<s>", normalized=True)])
    tokenizer.add_tokens(list(added))
    return tokenizer


def fields(message):
    """The numbered fields of a protocol buffer; sentencepiece's own reader wants a newer package than Beam allows."""
    at = 0

    def number():
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        tag = number()
        if tag & 7 == 0:
            number()
            continue
        size = number() if tag & 7 == 2 else 4
        yield tag >> 3, message[at : at + size]
        at += size


@cache
def charsmap():
    """The table that XLM-R, T5 and DeBERTa carry, from a model trained with sentencepiece's defaults."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["few words"]), model_writer=model, vocab_size=99, hard_vocab_limit=False, minloglevel=2
    )
    return dict(fields(dict(fields(model.getvalue()))[3]))[2]


def folding(content, *, before=None, left=False):
    steps = [normalizers.Strip(left=left, right=True), normalizers.Replace(Regex(" {2,}"), content)]
    return normalizers.Sequence([*([] if before is None else [before]), *steps])


BYTES = [(f"<0x{byte:02X}>", -20.0) for byte in range(256) if byte != 0xE9]
FEW = [("<unk>", -3.5), ("\u2581", -2.0), ("a", -3.1), ("aa", -6.2), ("ab", -5.0), ("\u2581ab", -6.0), ("\u4e2d", -9.0)]
LOWER = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
TOKENIZERS = {
    "as trained": Tokenizer.from_str(LEARNED.to_str()),
    "blanks": unigram_tokenizer(split=False),
    "blanks-nfkc": unigram_tokenizer(normalizers.NFKC(), split=False, prepend="first", added=ADDED),
    "first": unigram_tokenizer(normalizers.NFC(), prepend="first"),
    "never": unigram_tokenizer(LOWER, prepend="never", added=ADDED[:2]),
    "lower": unigram_tokenizer(LOWER),
    "lower-nfkc": unigram_tokenizer(normalizers.Sequence([normalizers.Lowercase(), normalizers.NFKC()]), split=False),
    "added": unigram_tokenizer(added=ADDED),
    "bytes": unigram_tokenizer(normalizers.NFKC(), vocabulary=FEW + BYTES, by_bytes=True),
    "xlm-r": unigram_tokenizer(normalizers.Precompiled(charsmap())),
    "t5": unigram_tokenizer(folding("\u2581", before=normalizers.Precompiled(charsmap())), split=False),
    "never-table": unigram_tokenizer(normalizers.Precompiled(charsmap()), split=False, prepend="never"),
    "folded": unigram_tokenizer(folding(" ", before=normalizers.NFC()), split=False),
    "few": unigram_tokenizer(vocabulary=FEW, split=False, prepend="never"),
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
    assert Unigram.of(TOKENIZERS[name]) is not None


@pytest.mark.parametrize("implementation", [encode_with_kernel, encode_with_twin], ids=["kernel", "twin"])
@NAMES
@settings(max_examples=40, deadline=None)
@given(st.lists(TEXTS, max_size=4))
@example([" \u2581", "  \u2581a", "\u2581  \u2581 "])
def test_ids_equal_tokenizers_on_fuzzed_text(implementation, name, texts):
    """Any characters of any plane, white space of any kind, marks of words, added, special and unknown tokens."""
    assert implementation(name, texts) == expected_ids(TOKENIZERS[name], texts)


@NAMES
def test_characters_of_all_planes_beside_others(name):
    """Every 121st block of code points, each character between letters, blanks and marks: one text a character."""
    codes = [code for block in range(0, 0x1100, 121) for code in range(block * 256, block * 256 + 256)]
    characters = [chr(code) for code in codes if not 0xD800 <= code < 0xE000]
    texts = [f"ab{each}cd {each}{each}  {each}1{each}!{each} e{each}\u0301 \u1100{each}" for each in characters]
    assert encode_with_kernel(name, texts) == expected_ids(TOKENIZERS[name], texts)


@pytest.mark.parametrize("name", ["as trained", "lower", "xlm-r", "t5", "bytes"])
def test_ids_equal_tokenizers_on_real_text(shared_data, name):
    """On documents in German, Chinese, Greek, Japanese, English and Hebrew."""
    texts = list(shared_texts(shared_data, 4))
    assert encode_with_kernel(name, texts) == expected_ids(TOKENIZERS[name], texts)


SCORES = st.sampled_from([-0.1, -0.2, -0.3, -0.7, -1.1, -2.2, -3.3, -1 / 3, -2 / 3, 0.0])


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.text(st.sampled_from("ab\u2581"), min_size=1, max_size=5), SCORES, max_size=12),
    st.lists(st.text(st.sampled_from("abc "), max_size=40), max_size=4),
)
def test_sums_and_ties_are_those_of_tokenizers(score_of, texts):
    """Scores whose sums are equal, or equal but for rounding, in vocabularies of few letters that overlap."""
    tokenizer = unigram_tokenizer(vocabulary=[("<unk>", -5.0), *score_of.items()])
    texts = [*texts, "a" * 35, "ab" * 30, "aab" * 7]
    expected = expected_ids(tokenizer, texts)
    assert Encoder(tokenizer).encode(pa.array(texts)).to_pylist() == expected
    assert [twin.encode(tokenizer, text) for text in texts] == expected


@NAMES
def test_many_words_and_long_ones(name):
    """Words longer than the memory takes, longer than any room made beforehand, and each met again."""
    rng = random.Random(0)
    parts = [*WORDS, *CORPUS[0].split(), " \t", "  \n", "\u3000", "42", "\u4e2d\u6587", "caf\xe9", "e\u0301", "\ufdfa"]
    texts = ["".join(rng.choices(parts, k=k)) for k in (0, 1023, 5000)]
    texts += ["ab" * 5000 + " x", " " * 9000 + "y", "longer than 31 bytes".replace(" ", "") * 2, "\uff21" * 3000, "ab"]
    assert encode_with_kernel(name, texts) == expected_ids(TOKENIZERS[name], texts)


def test_words_that_want_the_same_rows():
    """More distinct words than the memory has rows, with a mark in front and without, each met again later."""
    texts = [" ".join(f"{base}{number}" for number in range(20_000)) for base in ("ba", "ma", "ba", "ma")]
    texts += [text.replace(" ", "\u2581") for text in ("ab cd " * 50, "ab")]
    for name in ("as trained", "few"):
        assert encode_with_kernel(name, texts) == expected_ids(TOKENIZERS[name], texts)


def test_long_runs_take_linear_time():
    """A run ten times as long takes less than 40 times as long."""
    encoder = ENCODERS["as trained"]
    seconds = []
    for size in (20_000, 200_000):
        texts = pa.array(["=" * size, "ab" * (size // 2), "\u4e2d\u6587" * (size // 6)])
        encoder.encode(texts)
        spent = []
        for _ in range(3):
            start = time.process_time()
            encoder.encode(texts)
            spent.append(time.process_time() - start)
        seconds.append(min(spent))
    assert seconds[1] < 40 * seconds[0]


@pytest.mark.parametrize("fast", [True, False], ids=["kernel", "tokenizers"])
def test_special_pieces_are_not_spelled(fast):
    """A model like XLM-R's has "<s>" and "<mask>" as pieces of the largest score; here no text becomes them."""
    pieces = [(name, 0.0) for name in ("<unk>", "<s>", "<mask>")]
    pieces += [(each, -4.0 - n / 8) for n, each in enumerate("\u2581amskun<>")] + [("<s", -6.0)]
    tokenizer = unigram_tokenizer(vocabulary=pieces)
    without = expected_ids(tokenizer, ["mask <a"])
    tokenizer.add_special_tokens(["<unk>", "<s>", "<mask>"])
    if not fast:
        tokenizer.normalizer = normalizers.Strip()
    encoder = Encoder(tokenizer)
    assert encoder.is_fast == fast
    texts = ["<s> a<s>", "<mask>", "<unk>", "a<unk>k"]
    assert expected_ids(tokenizer, ["<s>"]) == [[3, 1]]  # `tokenizers` finds it
    ids = encoder.encode(pa.array(texts)).to_pylist()
    tokenizer.add_tokens([AddedToken("sun"), AddedToken("k ")])  # ids behind the pieces, with special ones among them
    own = Encoder(tokenizer)
    found = own.encode(pa.array(["a sun k a"])).to_pylist()
    assert own.is_fast == fast
    assert found == expected_ids(tokenizer, ["a sun k a"])
    assert own.vocab_size == len(pieces) + 2 == max(found[0]) + 1
    assert not {0, 1, 2} & {token for each in ids for token in each}
    assert ids[0] == [3, 12, 11, 3, 4, 12, 11]
    assert encoder.encode(pa.array(["mask <a"])).to_pylist() == without
    assert encoder.encode(pa.array(["z"])).to_pylist() == [[3, 0]]


@pytest.mark.parametrize(
    "change",
    [
        "normalizer",
        "strip",
        "table-first",
        "first-words",
        "folded-added",
        "folded-left",
        "folded-words",
        "pre_tokenizer",
        "no split",
        "replacement",
        "unknown",
        "positive",
        "added",
        "inside",
    ],
)
def test_another_kind_is_not_taken(change):
    """A tokenizer with one part of another kind is left to `tokenizers`, and encoded all the same."""
    tokenizer = unigram_tokenizer(vocabulary=FEW)
    if change == "normalizer":
        tokenizer.normalizer = normalizers.Replace("a", "b")
    elif change == "strip":
        tokenizer.normalizer = normalizers.Strip()
    elif change == "table-first":
        tokenizer = unigram_tokenizer(normalizers.Precompiled(charsmap()), vocabulary=FEW, prepend="first")
    elif change == "first-words":  # U+FDFA becomes four words, and each of them is at the start of the text
        tokenizer = unigram_tokenizer(normalizers.NFKC(), vocabulary=FEW, prepend="first")
    elif change == "folded-added":
        tokenizer = unigram_tokenizer(folding(" "), vocabulary=FEW, split=False, added=[AddedToken("  ")])
    elif change == "folded-left":  # of a blank and a marker at the start one would go
        tokenizer = unigram_tokenizer(folding(" ", left=True), vocabulary=FEW, split=False)
    elif change == "folded-words":
        tokenizer = unigram_tokenizer(folding("\u2581"), vocabulary=FEW)
    elif change == "pre_tokenizer":
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    elif change == "no split":
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(split=False)
    elif change == "replacement":
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="_")
    elif change == "unknown":
        tokenizer.model = models.Unigram(FEW, None)
    elif change == "positive":
        tokenizer.model = models.Unigram([(name, score + 30.0) for name, score in FEW], 0)
    elif change == "added":
        tokenizer.add_tokens([AddedToken("ab", single_word=True)])
    else:
        tokenizer.model = models.Unigram([*FEW, ("a<unk>", -1.0)], 0)
    assert Unigram.of(tokenizer) is None
    texts = ["ab aab" if change == "unknown" else "ab xab 12  a xyz"]
    if change == "unknown":
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    assert Encoder(tokenizer).encode(pa.array(texts)).to_pylist() == expected_ids(tokenizer, texts)


@pytest.mark.parametrize(
    ("normalizer", "added", "text"),
    [
        (normalizers.NFKC(), "  ", "a\u00a0\u00a0b"),
        (normalizers.NFKC(), "a b", "a\u3000b a b"),
        (normalizers.Precompiled(charsmap()), "\n", "a\nb"),
        (normalizers.Precompiled(charsmap()), "x\ty", "x\ty x y"),
    ],
)
def test_what_normalisation_makes_of_characters_may_spell_an_added_token(normalizer, added, text):
    """Added tokens are found in the text as it is normalised, also where a character becomes a blank."""
    tokenizer = unigram_tokenizer(normalizer, split=False, added=[AddedToken(added)])
    encoder = Encoder(tokenizer)
    assert encoder.is_fast
    assert encoder.encode(pa.array([text])).to_pylist() == expected_ids(tokenizer, [text])
    assert tokenizer.token_to_id(added) in encoder.encode(pa.array([text])).to_pylist()[0]


def test_a_long_word_needs_less_than_fifty_bytes_a_byte():
    """A word of a megabyte, which is no longer when normalised."""
    kernel = Unigram.of(TOKENIZERS["lower"])
    word = np.full(1 << 20, ord("a"), np.uint8)
    kernel.encode(np.array([0, len(word)], np.int32), word, np.empty(kernel.room(1, len(word)), np.uint16))
    assert sum(array.nbytes for array in kernel._room) < 50 * len(word)


def test_documents_that_normalisation_changes_keep_their_place():
    """They are left out by the first pass, normalised, and put back between the others; capitals are no reason."""
    texts = ["ab", "e\u0301 x", "", "cafe\u0301", "abc", "\u212b", "\u064e\u0651"]
    num_tokens = []
    for text in ("ab \uff21B\xbd", "abe\u0301", "x\u064e", "\u064e\u0651"):
        bytes_M = np.frombuffer(text.encode(), np.uint8)
        kernel = Unigram.of(TOKENIZERS["lower"])
        room = np.empty(kernel.room(1, len(bytes_M)), np.uint16)
        num_tokens += kernel.encode(np.array([0, len(bytes_M)], np.int32), bytes_M, room).tolist()
    assert [number > 0 for number in num_tokens] == [True, False, True, False]
    assert encode_with_kernel("lower", texts) == expected_ids(TOKENIZERS["lower"], texts)
