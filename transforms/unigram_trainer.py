"""Training of a Unigram model with sentencepiece: the same pieces for the same words, in any order. No Beam."""

import io
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise

import numpy as np
import xxhash

from transforms.word_counts import Words

_META = "\u2581"
_RESERVED = {"\0", "\t", _META, "\u2585"}  # mean something to sentencepiece
_MOST_CHARACTERS = 1 << 25  # of distinct words; sentencepiece needs about 75 bytes for each: 2.5 GB
_LONGEST_PIECE = 16  # characters
_FREQUENT = 10  # occurrences; from 2 on cost 1% more tokens, from 30 on as many
_LONGEST_RUN = 1000  # characters; sentencepiece leaves out what has more than 4192 bytes
_COVERAGE = 0.9998  # of the characters of the text; the rest is for the unknown token
# Each thread makes sums, which are then put together in order: their number is part of the result, so it is the same
# everywhere.
_THREADS = 8


def train_pieces(words: Mapping[str, int], *, num_pieces: int, required: str) -> list[tuple[str, float]]:
    """Return at most `num_pieces` pieces with their scores, in the order of their ids.

    sentencepiece is given each word once with its frequency, so no text is held. Long words (clauses of Chinese,
    addresses) are cut between letters and punctuation, which are never in one piece; all words cut there cost 1% more
    tokens.

    Args:
        words: words without the mark of their beginning, and how often each occurs.
        num_pieces: one for each character that is to be known, and what is learned.
        required: characters that become pieces even where they do not occur.

    Raises:
        ValueError: there is no word.
    """
    import sentencepiece  # noqa: PLC0415 - workers never train

    kept = _characters(words, most=num_pieces // 2) | set(required)
    runs = _runs(words, kept)
    if not runs:
        raise ValueError("no text to train a tokenizer on")
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=_lines(runs),
        input_format="tsv",
        model_writer=model,
        model_type="unigram",
        vocab_size=num_pieces + 1,  # and its own unknown token, which comes first
        hard_vocab_limit=False,
        required_chars=required,
        max_sentencepiece_length=_LONGEST_PIECE,
        character_coverage=1.0,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        unk_id=0,
        bos_id=-1,
        eos_id=-1,
        num_threads=_THREADS,
        minloglevel=2,
    )
    learned = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    # Six digits are read from JSON as they are written: `tokenizers` misses the last bit of longer ones.
    return [(learned.id_to_piece(i), round(learned.get_score(i), 6)) for i in range(1, learned.vocab_size())]


def most_frequent(words: Words) -> dict[str, int]:
    """Return the most frequent words that are not too much to learn from; of equally frequent ones, a random choice.

    Those of hundreds of megabytes in scripts with blanks; in Chinese words are clauses, and nearly all different.
    """
    # In one pass: a sum up to each byte would take eight times the words themselves.
    length_W = np.add.reduceat((words.bytes_A & 0xC0) != 0x80, words.offset_W1[:-1], dtype=np.int64)
    kept_W = np.ones(len(length_W), np.bool_)
    left = _MOST_CHARACTERS - int(length_W.sum())
    if left < 0:
        spelled = (words.bytes_A[start:stop] for start, stop in pairwise(words.offset_W1.tolist()))
        hash_W = np.fromiter(map(xxhash.xxh3_64_intdigest, spelled), np.uint64, len(length_W))
        order_W = np.lexsort((hash_W, words.count_W))
        dropped = int(np.searchsorted(np.cumsum(length_W[order_W]), -left)) + 1
        kept_W[order_W[:dropped]] = False
    first_W, stop_W = words.offset_W1[:-1][kept_W].tolist(), words.offset_W1[1:][kept_W].tolist()
    spelled_K = (words.bytes_A[first:stop].tobytes().decode() for first, stop in zip(first_W, stop_W, strict=True))
    return dict(zip(spelled_K, words.count_W[kept_W].tolist(), strict=True))


def _lines(runs: Mapping[str, int]) -> Iterator[str]:
    """Yield runs and their counts, as sentencepiece reads them."""
    for run, count in sorted(runs.items(), key=lambda item: (-item[1], item[0])):
        # What it tries as a piece is a substring that different characters follow, so a word that begins no other one
        # ("between") was none: 1 to 6% more tokens. So it gets another end once.
        if count < _FREQUENT:
            yield f"{run}\t{count}"
        else:
            yield f"{run}\t{count - 1}"
            yield f"{run}<unk>\t1"


def _characters(words: Mapping[str, int], *, most: int) -> set[str]:
    """Return the most frequent characters, until they cover the text or there are `most`."""
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            counts[character] += count
    left = _COVERAGE * counts.total()
    kept: set[str] = set()
    for character, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if left <= 0 or len(kept) == most:
            break
        kept.add(character)
        left -= count
    return kept - _RESERVED


def _runs(words: Mapping[str, int], kept: set[str]) -> Counter[str]:
    """Return the parts of words that are learned from, the first of each word with the mark of its beginning."""
    signs = {each for each in kept if unicodedata.category(each)[0] in "PS"}
    whole, parts = _pattern([kept]), _pattern([signs, kept - signs])
    runs: Counter[str] = Counter()
    for word, count in words.items():
        for run in (whole if len(word) <= _LONGEST_PIECE else parts).findall(_META + word):
            runs[run] += count
    return runs


def _pattern(classes: list[set[str]]) -> re.Pattern[str]:
    """Return what finds runs of characters of one class, with a mark in front or without, and a mark alone."""
    members = ["".join(map(re.escape, sorted(each))) for each in classes if each]
    return re.compile("|".join([*(f"{_META}?[{each}]{{1,{_LONGEST_RUN}}}" for each in members), _META]))
