"""Word counts: the words of texts, as a tokenizer is trained on them, and how often each occurs. No Beam.

Shapes: N documents or words to be added; others see transforms.kernels.word_table.
"""

from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from tokenizers import normalizers, pre_tokenizers

from transforms.byte_level import classes_of
from transforms.code_points import NUM_CODES, SURROGATES, code_points
from transforms.kernels import pieces, wordpiece
from transforms.kernels.strings import string_array, string_views
from transforms.kernels.word_table import (
    DONE,
    EXPANDED,
    FOREIGN,
    FULL,
    ISOLATED,
    KIND_SHIFT,
    LONG,
    MARK,
    REMOVED,
    SPACE,
    UNKNOWN,
    WORD,
    add_words,
    count_pieces,
    count_words,
    place,
)
from transforms.normal_forms import is_mark, may_change, stands_alone
from transforms.wordpiece import bert_action

WORD_COUNTS = pa.schema([("word", pa.string()), ("count", pa.int64())])

Model = Literal["wordpiece", "bpe", "unigram"]


class Words(NamedTuple):
    """Distinct words, one after the other as UTF-8, and how often each occurs."""

    bytes_A: NDArray[np.uint8]
    offset_W1: NDArray[np.int64]
    count_W: NDArray[np.int64]


class WordTable:
    """Words with their counts: 27 to 54 bytes a word beside up to two for each of its own."""

    def __init__(self) -> None:
        self._bytes_A = np.empty(1 << 18, np.uint8)
        self._make_rows(4)  # few, so that `warm` sees it grow
        self.num_words = 0

    def _make_rows(self, bits: int) -> None:
        self._bits = bits
        self._offset_W1 = np.zeros((3 << bits) + 1, np.int64)
        self._count_W = np.zeros(3 << bits, np.int64)
        self._slots_S = np.zeros(4 << bits, np.uint64)

    @property
    def num_bytes(self) -> int:
        """Bytes of all words."""
        return int(self._offset_W1[self.num_words])

    def grow(self) -> None:
        """Make room for twice as many words, or for twice as many bytes: what is full."""
        if self.num_words < len(self._count_W):
            self._bytes_A = np.concatenate([self._bytes_A, np.empty_like(self._bytes_A)])
            return
        offset_W1, count_W = self._offset_W1, self._count_W
        self._make_rows(self._bits + 1)
        self._offset_W1[: len(offset_W1)], self._count_W[: len(count_W)] = offset_W1, count_W
        place(self._bytes_A, self._offset_W1, self.num_words, self._slots_S)

    def add(self, words: pa.Array, weight_N: NDArray[np.int64]) -> None:
        """Add words (string) with their counts."""
        offsets_N1, bytes_M = string_views(words)
        n = 0
        while True:
            n, self.num_words = add_words(offsets_N1, bytes_M, weight_N, n, *self._arrays())
            if n == len(words):
                return
            self.grow()

    def scan(self, kernel: Callable[..., tuple[int, int, int, int]], *arguments: Any) -> tuple[int, int, int]:
        """Call one of the kernels that count with `arguments` and the arrays of this table, see there."""
        document, position, why, self.num_words = kernel(*arguments, *self._arrays())
        return document, position, why

    def _arrays(self) -> tuple[Any, ...]:
        return self._bytes_A, self._offset_W1, self._count_W, self._slots_S, self.num_words

    def words(self) -> Words:
        """Return the words as they are now, without a copy."""
        return Words(
            self._bytes_A[: self.num_bytes], self._offset_W1[: self.num_words + 1], self._count_W[: self.num_words]
        )

    def clear(self) -> None:
        """Forget all words."""
        self._count_W[:] = 0
        self._slots_S[:] = 0
        self.num_words = 0


def merged(parts: Iterable[pa.RecordBatch]) -> Words:
    """Return the sums of batches of schema WORD_COUNTS; only their distinct words are held."""
    table = WordTable()
    for part in parts:
        table.add(part.column("word"), np.array(part.column("count")))
    return table.words()


class WordCounter:
    """Counts the words of texts as the trainer of a model would see them.

    What a normaliser and a pre-tokeniser do with a character is asked of them when a text first has it, as the encoders
    do; a text with a character whose normal form depends on its neighbours is left to them as a whole.

    Args:
        model: what is to be trained.
        lowercase: fold case.
    """

    def __init__(self, model: Model, *, lowercase: bool) -> None:
        self._cutter = _PieceCutter(lowercase) if model == "bpe" else _CharacterCutter(model, lowercase)
        self._table = WordTable()

    @property
    def num_words(self) -> int:
        """Distinct words that are held."""
        return self._table.num_words

    @property
    def num_bytes(self) -> int:
        """Their bytes."""
        return self._table.num_bytes

    def add(self, texts: pa.Array, copies_N: NDArray[np.int64]) -> None:
        """Count the words of texts (string), each of which is read `copies_N` times."""
        if not copies_N.all():
            read = np.flatnonzero(copies_N)
            texts, copies_N = texts.take(pa.array(read)), copies_N[read]
        texts = self._cutter.before(texts)
        offsets_N1, bytes_M = string_views(texts)
        document, position = 0, int(offsets_N1[0])
        while True:
            document, position, why = self._scan(offsets_N1, bytes_M, copies_N, document, position)
            if why == DONE:
                return
            if why == FULL:
                self._table.grow()
                continue
            if why != LONG and self._cutter.ask(code_points(bytes_M[position : offsets_N1[document + 1]])):
                continue
            assert isinstance(self._cutter, _CharacterCutter)  # pieces are of any length and have no neighbours
            if why == LONG:
                self._cutter.lengthen()
                continue
            # A character that depends on its neighbours: what was counted of the document is taken back.
            start = int(offsets_N1[document])
            counted_21 = np.array([start, position], np.int32)
            self._scan(counted_21, bytes_M, -copies_N[document : document + 1], 0, start)
            words = self._cutter.words_of(texts[document].as_py())
            self._table.add(pa.array(words, pa.string()), np.full(len(words), copies_N[document]))
            document += 1
            position = int(offsets_N1[document])

    def _scan(
        self,
        offsets_N1: NDArray[np.int32],
        bytes_M: NDArray[np.uint8],
        copies_N: NDArray[np.int64],
        document: int,
        position: int,
    ) -> tuple[int, int, int]:
        """Count on from a place; see `count_words`."""
        kernel, tables = self._cutter.kernel, self._cutter.tables()
        return self._table.scan(kernel, offsets_N1, bytes_M, copies_N, *tables, document, position)

    def take(self) -> pa.RecordBatch:
        """Return what was counted (WORD_COUNTS), words in the order in which they came, and begin again."""
        words = self._table.words()
        assert len(words.bytes_A) < 1 << 31
        offsets_W1 = words.offset_W1.astype(np.int32)
        word = string_array(offsets_W1, words.bytes_A.copy())
        batch = pa.record_batch([word, pa.array(words.count_W.copy())], schema=WORD_COUNTS)
        self._table.clear()
        return batch.filter(pc.greater(batch.column("count"), 0))  # 0: taken back, and cut otherwise by the library


def steps_of(model: Model, *, lowercase: bool) -> tuple[Any, Any]:
    """Return the normaliser and the pre-tokeniser of a model as it is trained; None where there is none."""
    if model == "wordpiece":
        return normalizers.BertNormalizer(lowercase=lowercase), pre_tokenizers.BertPreTokenizer()
    if model == "bpe":
        return normalizers.Lowercase() if lowercase else None, pre_tokenizers.ByteLevel(add_prefix_space=False)
    steps = [normalizers.NFKC(), *([normalizers.Lowercase()] if lowercase else [])]
    # Blanks alone part words for Metaspace.
    cut = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    return normalizers.Sequence(steps), cut


class _PieceCutter:
    """Byte-level BPE: pieces of the pattern of GPT-2. No character depends on its neighbours."""

    def __init__(self, lowercase: bool) -> None:
        self.kernel = count_pieces
        self._normalizer, self._pre_tokenizer = steps_of("bpe", lowercase=lowercase)
        self._class_C = np.full(NUM_CODES, pieces.UNKNOWN, np.uint8)
        self._class_C[SURROGATES] = pieces.OTHER

    def before(self, texts: pa.Array) -> pa.Array:
        """Return the texts that are to be cut."""
        if self._normalizer is None:
            return texts
        return pa.array([self._normalizer.normalize_str(text) for text in texts.to_pylist()], pa.string())

    def tables(self) -> tuple[Any, ...]:
        """Return what `count_pieces` asks of characters."""
        return (self._class_C,)

    def ask(self, codes: NDArray[np.uint32]) -> bool:
        """Find the classes of characters; return True, for there is always one that is new."""
        new = np.unique(codes[self._class_C[codes] == pieces.UNKNOWN])
        self._class_C[new] = classes_of(self._pre_tokenizer, [chr(code) for code in new.tolist()])
        return True


class _CharacterCutter:
    """WordPiece and Unigram: what becomes of a character, and whether it ends a word, is in a table."""

    def __init__(self, model: Model, lowercase: bool) -> None:
        self.kernel = count_words
        self._model = model
        self._normalizer, self._pre_tokenizer = steps_of(model, lowercase=lowercase)
        self._forms = ["NFKC", *(["Lowercase"] if lowercase else [])]
        self._action_C = np.full(NUM_CODES, UNKNOWN << KIND_SHIFT, np.int32)
        self._action_C[SURROGATES] = REMOVED << KIND_SHIFT
        self._expansion_X = np.zeros(1, np.uint8)
        self._word_L = np.empty(4096, np.uint8)

    def before(self, texts: pa.Array) -> pa.Array:
        """Return the texts that are to be cut."""
        return texts

    def tables(self) -> tuple[Any, ...]:
        """Return what `count_words` asks of characters, and its room for a word."""
        return self._action_C, self._expansion_X, self._word_L

    def lengthen(self) -> None:
        """Make room for a word of twice as many bytes."""
        self._word_L = np.empty(2 * len(self._word_L), np.uint8)

    def ask(self, codes: NDArray[np.uint32]) -> bool:
        """Find the actions of characters: 3 us each. Return whether any was new."""
        new = np.unique(codes[self._action_C[codes] == UNKNOWN << KIND_SHIFT]).tolist()
        expansions = [self._expansion_X]
        size = len(self._expansion_X)
        for code in new:
            kind, text = self._action(chr(code))
            if kind == WORD and len(text) > 1:
                kind, spelled = EXPANDED, text.encode()
                expansions.append(np.frombuffer(bytes([len(spelled)]) + spelled, np.uint8))
                self._action_C[code] = EXPANDED << KIND_SHIFT | size
                size += 1 + len(spelled)
            else:
                self._action_C[code] = kind << KIND_SHIFT | (ord(text) if text else 0)
        self._expansion_X = np.concatenate(expansions)
        return len(new) > 0

    def _action(self, character: str) -> tuple[int, str]:
        if self._model == "wordpiece":
            kind, text = bert_action(self._normalizer, self._pre_tokenizer, character)
            return _KINDS[kind], text
        if character.isalnum() and not any(may_change(character, form) for form in self._forms):
            return WORD, character  # nearly all
        if not stands_alone(character, self._forms):
            return (MARK if all(is_mark(character, form) for form in self._forms) else FOREIGN), ""
        text = self._normalizer.normalize_str(f"a{character}a").removeprefix("a").removesuffix("a")
        if not text:
            return REMOVED, ""
        if text.isspace():
            return SPACE, ""
        return (WORD, text) if len(text.split()) == 1 and text.split()[0] == text else (FOREIGN, "")

    def words_of(self, text: str) -> list[str]:
        """Return the words of a text as the library makes them."""
        normal = self._normalizer.normalize_str(text)
        if self._model == "unigram":
            return normal.split()
        return [word for word, _ in self._pre_tokenizer.pre_tokenize_str(normal)]


_KINDS = {
    wordpiece.WORD: WORD,
    wordpiece.SPACE: SPACE,
    wordpiece.REMOVED: REMOVED,
    wordpiece.ISOLATED: ISOLATED,
    wordpiece.FOREIGN: FOREIGN,
}
