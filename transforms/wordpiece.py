"""WordPiece tables: what a BERT tokenizer does with each character and its vocabulary as a trie. No Beam.

Shapes: see transforms.kernels.wordpiece.
"""

import json
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from transforms.code_points import NUM_CODES, SURROGATES, code_points
from transforms.kernels.trie import trie_of
from transforms.kernels.wordpiece import (
    EXPANDED,
    FOREIGN,
    ISOLATED,
    KIND_SHIFT,
    REMOVED,
    SPACE,
    UNKNOWN,
    WORD,
    wordpiece,
)

# Marks that a normaliser with NFD keeps and moves: combining class 226 goes behind every lower class, 9 before every
# higher one, so a character that stays where it is beside both has class 0.
_HIGH_MARK, _LOW_MARK = "\U0001d16d", "\u1b44"


class WordPiece:
    """Encodes as a BERT tokenizer does, special tokens read as text. Use `of` to make one.

    What the normaliser and the pre-tokeniser do with a character is asked of the tokenizer itself when a text first
    has it: 3 us each. `unicodedata` differs from the tokenizer on 366 code points. In memory: 4 MB for the actions and
    about 2 MB for the trie of 30,000 entries.
    """

    def __init__(self, tokenizer: Tokenizer, model: dict[str, Any]) -> None:
        self._tokenizer = tokenizer
        self._vocab: dict[str, int] = model["vocab"]
        self._unk = self._vocab[model["unk_token"]]
        self._max_symbols: int = model["max_input_chars_per_word"]
        counts = Counter(character for entry in self._vocab for character in entry)
        ranked = sorted(counts, key=lambda character: (-counts[character], character))  # frequent ones lie close
        self._symbols = {character: number for number, character in enumerate(ranked, 1)}
        self._trie_S3 = self._trie(model["continuing_subword_prefix"])
        self._action_C = np.full(NUM_CODES, UNKNOWN << KIND_SHIFT, np.int32)
        self._action_C[SURROGATES] = REMOVED << KIND_SHIFT
        self._expansion = np.zeros(1, np.int32)

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> "WordPiece | None":
        """Return the tables of `tokenizer`, or None if it is of another kind than the kernel knows."""
        description = json.loads(tokenizer.to_str())
        model = description["model"]
        kinds = [(description[part] or {}).get("type") for part in ("normalizer", "pre_tokenizer", "model")]
        known = (
            kinds == ["BertNormalizer", "BertPreTokenizer", "WordPiece"]
            and all(token["special"] for token in description["added_tokens"])
            and model["unk_token"] in model["vocab"]
            and model["max_input_chars_per_word"] >= 1
        )
        return cls(tokenizer, model) if known else None

    def room(self, num_documents: int, num_bytes: int) -> int:  # noqa: ARG002
        """Return how many places `ids_T` must have."""
        return num_bytes

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
            int32 [N], tokens of each document; -1 where a character depends on its neighbours (marks that are
            reordered, such as the virama of Balinese): such a document is left out.
        """
        assert not normal
        num_tokens_N = np.zeros(len(offsets_N1) - 1, np.int32)
        document, num_ids = 0, 0
        while document < len(num_tokens_N):
            document, num_ids, code = wordpiece(
                offsets_N1,
                bytes_M,
                self._action_C,
                self._expansion,
                self._trie_S3,
                self._unk,
                self._max_symbols,
                document,
                num_ids,
                ids_T,
                num_tokens_N,
            )
            if document < len(num_tokens_N):
                # All that is new in the document, or each would cost another start of the document.
                codes = code_points(bytes_M[offsets_N1[document] : offsets_N1[document + 1]])
                self._ask(np.unique(np.append(codes[self._action_C[codes] == UNKNOWN << KIND_SHIFT], np.uint32(code))))
        return num_tokens_N

    def _trie(self, prefix: str) -> NDArray[np.int32]:
        symbols = self._symbols
        # An entry that continues words can begin one too, where the pre-tokeniser leaves its prefix in one piece.
        start = [([symbols[c] for c in entry], number) for entry, number in self._vocab.items()]
        going_on = [
            ([symbols[c] for c in entry.removeprefix(prefix)], number)
            for entry, number in self._vocab.items()
            if entry.startswith(prefix)
        ]
        return trie_of(start, going_on, num_symbols=len(symbols))

    def _ask(self, codes: NDArray[np.uint32]) -> None:
        """Find the actions of code points: 3 us each."""
        for code in codes.tolist():
            kind, argument = self._action(chr(code))
            self._action_C[code] = kind << KIND_SHIFT | argument

    def _action(self, character: str) -> tuple[int, int]:
        kind, text = bert_action(self._tokenizer.normalizer, self._tokenizer.pre_tokenizer, character)
        if kind == ISOLATED:
            return ISOLATED, self._vocab.get(text, self._unk)
        symbols = [self._symbols.get(each, 0) for each in text]
        if kind != WORD or len(symbols) == 1:
            return kind, symbols[0] if kind == WORD else 0
        self._expansion = np.append(self._expansion, np.array([len(symbols), *symbols], np.int32))
        return EXPANDED, len(self._expansion) - len(symbols) - 1


def bert_action(normalizer: Any, pre_tokenizer: Any, character: str) -> tuple[int, str]:
    """Return what a BERT normaliser and pre-tokeniser do with a character, and what becomes of it.

    WORD, whatever the number of characters that become of it, SPACE, REMOVED, ISOLATED or FOREIGN, see the kernel.
    """
    normal = normalizer.normalize_str(character)
    if not normal:
        return REMOVED, ""
    pieces = [piece for piece, _ in pre_tokenizer.pre_tokenize_str(f"a{normal}a")]
    if pieces == ["a", "a"]:
        return SPACE, ""
    if len(pieces) == 3 and len(pieces[1]) == 1:
        return ISOLATED, pieces[1]
    beside = (
        normalizer.normalize_str(f"{_HIGH_MARK}{character}"),
        normalizer.normalize_str(f"{character}{_LOW_MARK}"),
    )
    moves = beside != (f"{_HIGH_MARK}{normal}", f"{normal}{_LOW_MARK}")
    if len(pieces) > 1 or moves or len(normal) > len(character.encode()):
        return FOREIGN, ""
    return WORD, normal
