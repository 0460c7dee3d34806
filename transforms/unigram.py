"""Unigram tables: pieces with their scores, and what a tokenizer does with each character. No Beam.

Shapes: see transforms.kernels.unigram.
"""

import json
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from transforms.added_tokens import added_tokens
from transforms.code_points import NUM_CODES, SURROGATES, code_points
from transforms.kernels.added_tokens import AddedTokens
from transforms.kernels.trie import byte_trie
from transforms.kernels.unigram import (
    ALWAYS,
    BLANK,
    EXPANDED,
    FIRST,
    FOREIGN,
    KIND_SHIFT,
    MARK,
    MARKER,
    META,
    NEVER,
    PLAIN,
    REMOVED,
    SPACE,
    UNKNOWN,
    Model,
    Reading,
    Room,
    unigram,
)
from transforms.kernels.word_memory import new_memory
from transforms.normal_forms import extends, is_mark, may_change, normal_forms, stands_alone

_META = MARKER.tobytes().decode()
_PREPEND = {"never": NEVER, "first": FIRST, "always": ALWAYS}
_UNK_PENALTY = 10.0  # below the least score of all, as in sentencepiece and `tokenizers`


class Unigram:
    """Encodes as a Unigram tokenizer with Metaspace does, special tokens read as text. Use `of` to make one.

    What the normaliser makes of a character is asked of the tokenizer itself when a text first has it, but for letters
    and digits that it cannot change. In memory: 4 MB for the actions, 3 MB of words seen last, 3 MB for 30,000 pieces.
    """

    def __init__(self, tokenizer: Tokenizer, model: Model, added: AddedTokens, normal: "_Normal", cut: "_Cut") -> None:
        self._normalizer, self._pre_tokenizer = tokenizer.normalizer, tokenizer.pre_tokenizer
        self._model = model
        self._added = added
        self._normal = normal
        self._cut = cut
        self._memory = new_memory()
        self._action_C = np.full(NUM_CODES, UNKNOWN << KIND_SHIFT, np.int32)
        self._action_C[SURROGATES] = PLAIN
        self._expansion_X = np.zeros(1, np.uint8)
        self._room = _room(4096, 4096)

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> "Unigram | None":
        """Return the tables of `tokenizer`, or None if it is of another kind than the kernel knows."""
        description = json.loads(tokenizer.to_str())
        if description["model"]["type"] != "Unigram":
            return None
        normal, cut = _Normal.of(description["normalizer"]), _Cut.of(description["pre_tokenizer"])
        added = added_tokens(tokenizer, description["added_tokens"])
        special = {token["content"] for token in description["added_tokens"] if token["special"]}
        model = _model(description["model"], special)
        if normal is None or cut is None or added is None or model is None:
            return None
        if normal.folds and (len(added.id_A) or cut.at_white_space or cut.prepend != ALWAYS):
            return None  # what is folded is not always what begins a word
        if cut.prepend == FIRST and (normal.by_graphemes or (cut.at_white_space and "NFKC" in normal.forms)):
            return None  # what is removed in front, or becomes several words, moves the first one
        return cls(tokenizer, model, added, normal, cut)

    def normalised(self, text: str) -> str:
        """Return `text` as the tokenizer's normaliser makes it."""
        return text if self._normalizer is None else self._normalizer.normalize_str(text)

    def room(self, num_documents: int, num_bytes: int) -> int:
        """Return how many places `ids_T` must have."""
        return 4 + num_documents + 2 * num_bytes

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
            int32 [N], tokens of each document; -1 for one in which the normaliser may change characters because of
            their neighbours, unless `normal` says that they are normalised: such a document is left out.
        """
        num_tokens_N = np.zeros(len(offsets_N1) - 1, np.int32)
        document, num_ids = 0, 0
        while document < len(num_tokens_N):
            reading = Reading(self._action_C, self._expansion_X, self._cut.prepend)
            given = (self._added, reading, self._model, self._memory, self._room)
            document, num_ids, code = unigram(
                offsets_N1, bytes_M, normal, *given, document, num_ids, ids_T, num_tokens_N
            )
            num_bytes, num_nodes = len(self._room.word_L), len(self._room.total_P)
            if code < 0:
                self._room = _room(-2 * code, num_nodes) if -code > num_bytes else _room(num_bytes, -2 * code)
            elif document < len(num_tokens_N):
                # All that is new in the document, or each would cost another start of the document.
                codes = code_points(bytes_M[offsets_N1[document] : offsets_N1[document + 1]])
                self._ask(np.unique(np.append(codes[self._action_C[codes] == UNKNOWN << KIND_SHIFT], np.uint32(code))))
        return num_tokens_N

    def _ask(self, codes: NDArray[np.uint32]) -> None:
        """Find the actions of code points."""
        parts = [self._expansion_X]
        size = len(self._expansion_X)
        for code in codes.tolist():
            kind, expansion = self._action(chr(code))
            self._action_C[code] = kind << KIND_SHIFT
            if expansion:
                self._action_C[code] |= size
                parts.append(np.frombuffer(bytes([len(expansion)]) + expansion, np.uint8))
                size += 1 + len(expansion)
        self._expansion_X = np.concatenate(parts)

    def _action(self, character: str) -> tuple[int, bytes]:
        if character.isalnum() and not self._normal.may_change(character):
            return PLAIN, b""  # nearly all, and 0.5 instead of 7 us
        if not self._normal.stands_alone(character):
            return (MARK if self._normal.is_mark(character) else FOREIGN), b""
        # Between letters: at an end, white space would go.
        text = self.normalised(f"a{character}a").removeprefix("a").removesuffix("a")
        kinds = [self._cuts(each) for each in text]
        if text != character and len(self._added.id_A):
            return FOREIGN, b""  # an added token may be spelled by what comes of characters
        if text == character or (len(text) == 1 and kinds[0] != PLAIN):
            return kinds[0], b""
        expansion, num_bytes = text.encode(), len(character.encode())
        # More than the kernel has room for.
        num_ids = len(expansion) if self._model.by_bytes else len(text)
        if any(kinds) or len(expansion) > 4 * num_bytes or num_ids > 2 * num_bytes:
            return FOREIGN, b""
        return (EXPANDED if text else REMOVED), expansion

    def _cuts(self, character: str) -> int:
        """Return how a normalised character cuts a text: META, BLANK or SPACE, or PLAIN if it does not."""
        if character == _META:
            return META
        if self._cut.at_white_space:
            return SPACE if len(self._pre_tokenizer.pre_tokenize_str(f"a{character}a")) == 2 else PLAIN
        if character == " ":
            return BLANK if self._normal.folds else META
        return FOREIGN if self._normal.folds and character.isspace() else PLAIN  # the end of a text loses it


class _Normal(NamedTuple):
    """What a normaliser does: steps one after the other, or the table of sentencepiece."""

    forms: list[str]
    by_graphemes: bool  # by the table, which looks at what is one grapheme together
    folds: bool  # of blanks in a row one stays, and no white space at the end of a text

    @classmethod
    def of(cls, normalizer: dict[str, Any] | None) -> "_Normal | None":
        """Return what a normaliser of known kind does, or None."""
        steps = [] if normalizer is None else normalizer.get("normalizers", [normalizer])
        folds = [step["type"] for step in steps[-2:]] == ["Strip", "Replace"]
        if folds:
            strip, replace = steps[-2:]
            blanks = replace["pattern"] == {"Regex": " {2,}"} and replace["content"] in (" ", _META)
            if strip["strip_left"] or not strip["strip_right"] or not blanks:
                return None
            steps = steps[:-2]
        by_graphemes = [step["type"] for step in steps] == ["Precompiled"]
        forms = [] if by_graphemes else normal_forms({"type": "Sequence", "normalizers": steps})
        return None if forms is None else cls(forms, by_graphemes, folds)

    def may_change(self, character: str) -> bool:
        """Return whether the character, or one before it because of it, may become another."""
        return self.by_graphemes or any(may_change(character, form) for form in self.forms)

    def stands_alone(self, character: str) -> bool:
        """Return whether what becomes of the character is the same beside any other that stands alone."""
        return not extends(character) if self.by_graphemes else stands_alone(character, self.forms)

    def is_mark(self, character: str) -> bool:
        """Return whether the character stays as it is behind one that is no mark."""
        return not self.by_graphemes and all(is_mark(character, form) for form in self.forms)


class _Cut(NamedTuple):
    """How a text is cut into words."""

    at_white_space: bool  # all of it, which goes; otherwise each blank begins a word
    prepend: int

    @classmethod
    def of(cls, pre_tokenizer: dict[str, Any] | None) -> "_Cut | None":
        """Return what Metaspace does, alone or behind WhitespaceSplit; None for another pre-tokeniser."""
        steps = [pre_tokenizer or {"type": ""}]
        if steps[0]["type"] == "Sequence":
            steps = steps[0]["pretokenizers"]
        if [step["type"] for step in steps] not in (["Metaspace"], ["WhitespaceSplit", "Metaspace"]):
            return None
        metaspace = steps[-1]
        if metaspace["replacement"] != _META or not metaspace["split"]:
            return None
        return cls(len(steps) == 2, _PREPEND[metaspace["prepend_scheme"]])


def _model(model: dict[str, Any], special: set[str]) -> Model | None:
    """Return the tables without special tokens, which no text may become, or None for a model that is no use.

    Several unknown characters in a row are one token, and `tokenizers` then looks whether the vocabulary has them
    together. It has not where a score is negative, as a logarithm of a probability is: that piece had been taken.
    """
    if model["unk_id"] is None:
        return None
    unk: int = model["unk_id"]
    unk_name = model["vocab"][unk][0]
    score_V = np.array([score for _, score in model["vocab"]], np.float64)
    pieces = {name: number for number, (name, _) in enumerate(model["vocab"])}  # of equal ones the last
    hidden = unk_name in special or not any(unk_name in name for name in pieces if name != unk_name)
    by_bytes: bool = model["byte_fallback"]
    if score_V.min() > 0 or not hidden or (by_bytes and _META not in pieces):
        return None
    byte_ids = np.array([pieces.get(f"<0x{byte:02X}>", -1) if by_bytes else -1 for byte in range(256)], np.int32)
    spelled = [(name.encode(), number) for name, number in pieces.items() if name and name not in special]
    return Model(byte_trie(spelled), score_V, float(score_V.min()) - _UNK_PENALTY, unk, by_bytes, byte_ids)


def _room(num_bytes: int, num_nodes: int) -> Room:
    """Return arrays for a word of so many bytes as it may become; 20 bytes a node, one more than it becomes."""
    return Room(np.empty(num_bytes, np.uint8), np.empty(num_nodes, np.float64), np.empty((num_nodes, 3), np.int32))


def unspelled(tokenizer: str) -> str:
    """Return the JSON of a tokenizer with its special tokens nameless in a Unigram model; ids stay.

    `encode_special_tokens` keeps `tokenizers` from looking for them in a text, but such a model finds them by itself.
    """
    description = json.loads(tokenizer)
    if description["model"]["type"] != "Unigram":
        return tokenizer
    special = {token["content"] for token in description["added_tokens"] if token["special"]}
    description["model"]["vocab"] = [
        ["" if name in special else name, score] for name, score in description["model"]["vocab"]
    ]
    return json.dumps(description)
