"""Training of BPE and WordPiece from counts of words: the vocabulary and the merges that `tokenizers` learns. No Beam.

Shapes: A bytes of all words, W words, M symbols, C code points.
"""

import numpy as np
from numpy.typing import NDArray

from transforms.byte_level import byte_characters
from transforms.code_points import NUM_CODES
from transforms.kernels.merges import learn_merges
from transforms.word_counts import Words

PREFIX = "##"  # of a WordPiece token that goes on with a word
_MIN_COUNT = 2  # of a pair that becomes a token
_COVERAGE = 0.9998  # of the characters of the text; the rest is for the unknown token

Merges = list[tuple[str, str]]


def train_bpe(words: Words, *, vocab_size: int, special_tokens: tuple[str, ...]) -> tuple[dict[str, int], Merges]:
    """Return the vocabulary and the merges of byte-level BPE: special tokens first, then a token for each byte."""
    characters = byte_characters()
    tokens = [*special_tokens, *sorted(characters)]
    ids = np.zeros(256, np.int32)
    ids[:] = [tokens.index(character) for character in characters]
    return _learn(tokens, ids[words.bytes_A], words.offset_W1, words.count_W, vocab_size=vocab_size, prefix="")


def train_wordpiece(words: Words, *, vocab_size: int, special_tokens: tuple[str, ...]) -> dict[str, int]:
    """Return the vocabulary of WordPiece: special tokens, characters, those inside words as "##x", and what is learned.

    The most frequent characters are kept until they cover 99.98% of the text, or until they and their "##" forms fill
    half of the vocabulary. Every character would be 1989 tokens for 3 MB of Chinese documentation and 838 for Perl's
    manual, of which this keeps 1693 and 254; a fixed 1000 (the habit of BERT's training script) is too few for Chinese.

    Raises:
        ValueError: there is no word.
    """
    code_M = np.frombuffer(words.bytes_A.tobytes().decode().encode("utf-32-le"), np.uint32)
    is_lead_A = (words.bytes_A & 0xC0) != 0x80
    place_W1 = np.concatenate([[0], np.cumsum(is_lead_A)])[words.offset_W1]
    first_M = np.zeros(len(code_M), np.bool_)
    first_M[place_W1[:-1]] = True
    initial, inside = _characters(code_M, first_M, np.repeat(words.count_W, np.diff(place_W1)), most=vocab_size // 2)
    if not len(initial):
        raise ValueError("no text to train a tokenizer on")
    tokens = [*special_tokens, *map(chr, initial.tolist()), *(PREFIX + chr(code) for code in inside.tolist())]
    first_C, inside_C = np.full(NUM_CODES, -1, np.int32), np.full(NUM_CODES, -1, np.int32)
    first_C[initial] = len(special_tokens) + np.arange(len(initial))
    inside_C[inside] = len(special_tokens) + len(initial) + np.arange(len(inside))
    symbols_M = np.where(first_M, first_C[code_M], inside_C[code_M])
    offset_W1 = np.concatenate([[0], np.cumsum(symbols_M >= 0)])[
        place_W1
    ]  # what is not kept is as if it were not there
    symbols_M = symbols_M[symbols_M >= 0]
    return _learn(tokens, symbols_M, offset_W1, words.count_W, vocab_size=vocab_size, prefix=PREFIX)[0]


def _characters(
    code_M: NDArray[np.uint32], first_M: NDArray[np.bool_], count_M: NDArray[np.int64], *, most: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the characters to learn from and those of them that occur inside a word, each sorted."""
    num_seen_C = np.zeros(NUM_CODES, np.int64)
    np.add.at(num_seen_C, code_M, count_M)
    is_inside_C = np.zeros(NUM_CODES, np.bool_)
    is_inside_C[code_M[~first_M]] = True
    kept = np.argsort(-num_seen_C, kind="stable")[: np.count_nonzero(num_seen_C)]
    covered = np.cumsum(num_seen_C[kept])
    num_tokens = np.cumsum(1 + is_inside_C[kept])
    before = np.concatenate([[0], covered[:-1]]) if len(kept) else covered
    kept = np.sort(kept[(before < _COVERAGE * covered[-1:]) & (num_tokens <= most)])
    return kept, kept[is_inside_C[kept]]


def _learn(
    tokens: list[str],
    symbols_M: NDArray[np.int32],
    offset_W1: NDArray[np.int64],
    count_W: NDArray[np.int64],
    *,
    vocab_size: int,
    prefix: str,
) -> tuple[dict[str, int], Merges]:
    if len(symbols_M) >= 1 << 31:
        raise ValueError(f"{len(symbols_M)} symbols in the distinct words of the sample: take a smaller sample_bytes")
    texts = [token.encode() for token in tokens]
    token_V1 = np.zeros(max(vocab_size, len(tokens)) + 1, np.int64)
    np.cumsum([len(text) for text in texts], out=token_V1[1 : len(texts) + 1])
    bytes_A, prefix_P = (np.frombuffer(bytearray(text), np.uint8) for text in (b"".join(texts), prefix.encode()))
    merge_R3 = learn_merges(symbols_M, offset_W1, count_W, bytes_A, token_V1, len(tokens), prefix_P, _MIN_COUNT)
    names = list(tokens)
    merges: dict[tuple[int, int], None] = {}
    for left, right, merged in merge_R3.tolist():
        if merged == len(names):
            names.append(names[left] + names[right].removeprefix(prefix))
        merges.pop((left, right), None)  # a pair that is merged again is as late as then
        merges[left, right] = None
    return {name: number for number, name in enumerate(names)}, [(names[left], names[right]) for left, right in merges]
