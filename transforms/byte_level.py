"""Byte-level BPE tables: merges, added tokens and what the pattern makes of each character. No Beam.

Shapes: see transforms.kernels.byte_level.
"""

import json
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from transforms.added_tokens import added_tokens
from transforms.code_points import NUM_CODES, SURROGATES, code_points
from transforms.kernels.added_tokens import AddedTokens
from transforms.kernels.byte_level import SEEN_BITS, Model, byte_level
from transforms.kernels.merge_table import add_pairs, last_merges
from transforms.kernels.pieces import CHANGES, LETTER, MARK, NUMBER, OTHER, SPACE, UNKNOWN
from transforms.kernels.trie import byte_trie
from transforms.kernels.word_memory import new_memory
from transforms.normal_forms import is_mark, may_change, normal_forms


def byte_characters() -> list[str]:
    """Return the character that stands for each byte in a byte-level vocabulary (GPT-2's bytes_to_unicode)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) if byte in printable else chr(256 + others.index(byte)) for byte in range(256)]


class ByteLevel:
    """Encodes as a byte-level BPE tokenizer does, special tokens read as text. Use `of` to make one.

    The class of a character is asked of the tokenizer's own pre-tokeniser, when a text first has
    the character; `unicodedata` differs from it on 9,396. In memory: 1 MB of classes, 3 MB of words
    and 0.3 MB of pairs seen last, and 5 MB for 50,000 merges.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        model: Model,
        added: AddedTokens,
        forms: list[str],
        pattern: "_Pattern",
    ) -> None:
        self._tokenizer = tokenizer
        self._model = model
        self._pattern = pattern
        self._forms = forms
        self._memory = new_memory()
        self._class_C = np.full(NUM_CODES, UNKNOWN, np.uint8)
        self._class_C[SURROGATES] = OTHER
        self._added = added

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> "ByteLevel | None":
        """Return the tables of `tokenizer`, or None if it is of another kind than the kernel knows."""
        description = json.loads(tokenizer.to_str())
        forms = normal_forms(description["normalizer"])
        pattern, model = _pattern(description["pre_tokenizer"] or {}), description["model"]
        known = model["type"] == "BPE" and not any(model[option] for option in _UNKNOWN_OPTIONS)
        if forms is None or pattern is None or not known:
            return None
        added = added_tokens(tokenizer, description["added_tokens"])
        tables = _model(model["vocab"], model["merges"], whole=model["ignore_merges"])
        return None if added is None or tables is None else cls(tokenizer, tables, added, forms, pattern)

    def normalised(self, text: str) -> str:
        """Return `text` as the tokenizer's normaliser makes it."""
        normalizer = self._tokenizer.normalizer
        return text if normalizer is None else normalizer.normalize_str(text)

    def room(self, num_documents: int, num_bytes: int) -> int:
        """Return how many places `ids_T` must have."""
        return 4 + (num_documents + 2 * num_bytes if self._pattern.prefix_blank else num_bytes)

    def encode(
        self,
        offsets_N1: NDArray[np.int32],
        bytes_M: NDArray[np.uint8],
        ids_T: NDArray[np.unsignedinteger],
        *,
        normal: bool = False,
    ) -> NDArray[np.int32]:
        """Write the ids of all documents into `ids_T`; see the kernel.

        Returns:
            int32 [N], tokens of each document; -1 for one that the normaliser may change, unless `normal` says that
            they are normalised: such a document is left out.
        """
        num_tokens_N = np.zeros(len(offsets_N1) - 1, np.int32)
        document, num_ids = 0, 0
        while document < len(num_tokens_N):
            pattern = (normal, self._pattern.most_digits, self._pattern.prefix_blank)
            given = (self._added, self._model, self._memory)
            document, num_ids, code = byte_level(
                offsets_N1, bytes_M, self._class_C, *pattern, *given, document, num_ids, ids_T, num_tokens_N
            )
            if document < len(num_tokens_N):
                # All that is new in the document, or each would cost another start of the document.
                codes = code_points(bytes_M[offsets_N1[document] : offsets_N1[document + 1]])
                self._ask(np.unique(np.append(codes[self._class_C[codes] == UNKNOWN], np.uint32(code))))
        return num_tokens_N

    def _ask(self, codes: NDArray[np.uint32]) -> None:
        """Find the classes of code points: 1 us each."""
        characters = [chr(code) for code in codes.tolist()]
        kind_C = classes_of(self._tokenizer.pre_tokenizer, characters)
        for i, character in enumerate(characters if self._forms else ""):
            if any(may_change(character, form) for form in self._forms):
                kind_C[i] |= MARK if kind_C[i] == OTHER and all(is_mark(character, f) for f in self._forms) else CHANGES
        self._class_C[codes] = kind_C


def classes_of(pre_tokenizer: Any, characters: list[str]) -> NDArray[np.uint8]:
    """Return the classes of characters, as the pre-tokeniser's pattern has them."""
    kind_C = np.full(len(characters), NUMBER, np.uint8)
    for kind, like in ((LETTER, "a"), (OTHER, "!"), (SPACE, "\u3000")):
        asked = np.flatnonzero(kind_C == NUMBER)
        cut = np.zeros(2 * len(asked) + 2, np.bool_)  # in front of each character, the first one is `like`
        text = like + "".join(characters[i] + like for i in asked)
        cut[[start for _, (start, _) in pre_tokenizer.pre_tokenize_str(text)]] = True
        # Between characters of its kind, nothing is cut off before it; behind it, a line end may be.
        kind_C[asked[~cut[1:-1:2] & ((kind == SPACE) | ~cut[2::2])]] = kind
    return kind_C


_NEVER_IN_UTF8 = {0xC0, 0xC1, *range(0xF5, 0x100)}  # GPT-NeoX has no tokens for them
_UNKNOWN_OPTIONS = (
    "dropout",
    "unk_token",
    "continuing_subword_prefix",
    "end_of_word_suffix",
    "fuse_unk",
    "byte_fallback",
)
_CONTRACTIONS, _LETTERS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)", r"[^\r\n\p{L}\p{N}]?\p{L}+"
_SIGNS_AND_SPACE = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_TIKTOKEN = {  # digits in one piece: GPT-4 and Llama 3, Qwen 2
    f"{_CONTRACTIONS}|{_LETTERS}|{digits}|{_SIGNS_AND_SPACE}": most
    for digits, most in ((r"\p{N}{1,3}", 3), (r"\p{N}", 1))
}


class _Pattern(NamedTuple):
    """How a text is cut into pieces."""

    most_digits: int  # in one piece, by tiktoken's pattern; 0: GPT-2's
    prefix_blank: bool


def _pattern(pre_tokenizer: dict[str, Any]) -> _Pattern | None:
    """Return the pattern of a pre-tokeniser, or None for another kind."""
    if pre_tokenizer.get("type") == "ByteLevel":
        return _Pattern(0, pre_tokenizer["add_prefix_space"]) if pre_tokenizer["use_regex"] else None
    steps = pre_tokenizer.get("pretokenizers", [])
    if [step["type"] for step in steps] != ["Split", "ByteLevel"]:
        return None
    split, by_bytes = steps
    most_digits = _TIKTOKEN.get(split["pattern"].get("Regex", ""))
    plain = split["behavior"] == "Isolated" and not split["invert"]
    if most_digits is None or not plain or by_bytes["use_regex"] or by_bytes["add_prefix_space"]:
        return None
    return _Pattern(most_digits, prefix_blank=False)


def _model(vocab: dict[str, int], merges: list[Any], *, whole: bool) -> Model | None:
    """Return the tables, or None if bytes are missing or merges are not in the order in which BPE learns them.

    `whole`: a piece that is in the vocabulary is that token, whatever the merges make of it.
    """
    bytes_of = {character: byte for byte, character in enumerate(byte_characters())}
    if not all(character in vocab for character, byte in bytes_of.items() if byte not in _NEVER_IN_UTF8):
        return None
    pairs = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in merges]
    results = [left + right for left, right in pairs]
    names = sorted(set(results))
    if not all(set(name) <= bytes_of.keys() and name in vocab for name in {*names, *(n for p in pairs for n in p)}):
        return None
    left_R, right_R, result_R = (
        np.array([vocab[name] for name in column], np.int32)
        for column in ([left for left, _ in pairs], [right for _, right in pairs], results)
    )
    num_merges = len(pairs)
    last_V = np.empty(len(names), np.int32)
    byte_ids = [[vocab[character] for character in name] for name in names]
    offsets_V1 = np.cumsum([0, *map(len, byte_ids)], dtype=np.int32)
    tokens_M = np.array([number for ids in byte_ids for number in ids], np.int32)
    merges_H2 = _pair_table(left_R, right_R, np.arange(num_merges, dtype=np.int32))
    last_merges(tokens_M, offsets_V1, merges_H2, result_R, last_V)

    rank_of = {vocab[character]: byte for character, byte in bytes_of.items() if character in vocab}
    rank_of |= {vocab[name]: 256 + last for name, last in zip(names, last_V.tolist(), strict=True) if last >= 0}
    ranks = np.full(max(vocab.values()) + 1, -1, np.int32)
    ranks[list(rank_of)] = list(rank_of.values())
    left_R, right_R, result_R = ranks[left_R], ranks[right_R], np.arange(256, 256 + num_merges, dtype=np.int32)
    used_R = (left_R >= 0) & (right_R >= 0)  # a merge of a token that BPE never makes never happens
    if (np.maximum(left_R, right_R)[used_R] >= result_R[used_R]).any():
        return None

    text_of = {byte: bytes([byte]) for byte in range(256)}
    made = [(256 + last, name) for name, last in zip(names, last_V.tolist(), strict=True) if last >= 0]
    text_of |= {rank: bytes(bytes_of[character] for character in name) for rank, name in made}
    known = {text: rank for rank, text in text_of.items()}
    num_ranks = 256 + num_merges
    token_K4 = np.full((num_ranks, 4), -1, np.int32)
    id_K = np.zeros(num_ranks, np.int32)
    for rank, text in text_of.items():
        shorter = (known[text[:size]] for size in range(len(text) - 1, 0, -1) if text[:size] in known)
        token_K4[rank, 2:] = next(shorter, -1), len(text)
    id_K[list(rank_of.values())] = list(rank_of)
    token_K4[:256, :2] = np.arange(256)[:, None]
    token_K4[256:, 0], token_K4[256:, 1] = left_R, right_R
    trie_S3 = byte_trie([(text, rank) for rank, text in text_of.items()])
    pairs_H2 = _pair_table(left_R[used_R], right_R[used_R], result_R[used_R])
    named = {bytes(bytes_of[c] for c in name): n for name, n in vocab.items() if whole and set(name) <= bytes_of.keys()}
    unmade = [(text, number) for text, number in named.items() if text not in known]
    seen_J = np.full(1 << SEEN_BITS, -1, np.int64)
    return Model(byte_trie(unmade), trie_S3, token_K4, pairs_H2, id_K, seen_J)


def _pair_table(
    left_R: NDArray[np.int32], right_R: NDArray[np.int32], result_R: NDArray[np.int32]
) -> NDArray[np.int64]:
    pairs_H2 = np.full((max(64, 1 << (2 * len(left_R)).bit_length()), 2), -1, np.int64)
    add_pairs(left_R, right_R, result_R, pairs_H2)
    return pairs_H2
