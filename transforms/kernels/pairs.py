"""Sentence pairs for next-sentence prediction: which sentences make segment A, which B, and their tokens.

Devlin et al., "BERT" (2018), and create_pretraining_data.py, which came with it.

Shapes: N documents, D of them used, S sentences, T tokens in, R pairs, L tokens out (special tokens included).
"""

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.jit import kernel, part

SHORT = 0.1  # share of documents whose pairs aim at a random shorter length
_SPECIALS = 3  # [CLS] A [SEP] B [SEP]


@part
def _draw(state_1: NDArray[np.uint64], bound: int) -> int:
    """Return a number from 0 to `bound` - 1 (splitmix64; the bias is bound / 2**32)."""
    state_1[0] += np.uint64(0x9E3779B97F4A7C15)
    mixed = state_1[0]
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return int(((mixed >> np.uint64(32)) * np.uint64(bound)) >> np.uint64(32))


@kernel
def make_pairs(
    seed: np.uint64,
    seq_length: int,
    document_D: NDArray[np.int32],
    first_sentence_N1: NDArray[np.int64],
    sentence_S1: NDArray[np.int64],
    doc_id_N: NDArray[np.int64],
    member_D: NDArray[np.int32],
    group_first_N: NDArray[np.int32],
    group_size_N: NDArray[np.int32],
    begin_R2: NDArray[np.int64],
    length_R2: NDArray[np.int32],
    document_R2: NDArray[np.int32],
    label_R: NDArray[np.int8],
) -> tuple[int, int, int]:
    """Cut documents into pairs of segments. Returns the numbers of pairs, of forced random ones, and of lost segments.

    Sentences are gathered until they fill a row; the first of them, a random number, are A. B is the rest (label 0) or,
    at 50% and always where there is no rest, sentences of another document of the same group (label 1); then the
    sentences that were not used begin the next pair. One document in ten aims at a random shorter length. Pairs that
    are too long lose tokens of the longer segment, at either end by chance.

    Args:
        seed: of all choices.
        seq_length: tokens of a row, at least 8.
        document_D: int32, the documents to use, in the order in which they are cut.
        first_sentence_N1: int64, sentences before each document; a sentence has a token at least.
        sentence_S1: int64, where each sentence begins among all tokens; documents follow each other without gaps.
        doc_id_N: int64; copies of a document have its id, and are never its other document.
        member_D: int32, the documents to use, group by group.
        group_first_N: int32, where the group of each document begins in `member_D`.
        group_size_N: int32, documents in its group.
        begin_R2: int64, written: where A and B begin among all tokens. Room for S pairs.
        length_R2: int32, written: tokens of A and B.
        document_R2: int32, written: the documents of A and B.
        label_R: int8, written: 0 where B continues A, 1 where it does not.

    A segment without a rest is lost where its group has no other document. With its row written, 90 ns a sentence.
    """
    state_1 = np.empty(1, np.uint64)
    state_1[0] = seed
    most = seq_length - _SPECIALS
    pairs = forced = lost = 0
    for document in document_D:
        last = first_sentence_N1[document + 1]
        target = most
        if _draw(state_1, 1 << 20) < SHORT * (1 << 20):
            target = 2 + _draw(state_1, most - 1)
        chunk = sentence = first_sentence_N1[document]
        while sentence < last:
            if sentence + 1 < last and sentence_S1[sentence + 1] - sentence_S1[chunk] < target:
                sentence += 1
                continue
            count = sentence + 1 - chunk
            middle = chunk + (1 if count < 2 else 1 + _draw(state_1, count - 1))
            a_begin, a_length = sentence_S1[chunk], sentence_S1[middle] - sentence_S1[chunk]
            is_random = count < 2 or _draw(state_1, 2) == 0
            other = document
            if is_random:
                start = _draw(state_1, group_size_N[document])
                for step in range(group_size_N[document]):
                    other = member_D[group_first_N[document] + (start + step) % group_size_N[document]]
                    if doc_id_N[other] != doc_id_N[document]:
                        break
                is_random = doc_id_N[other] != doc_id_N[document]
            if is_random:
                forced += count < 2
                first, end = first_sentence_N1[other], first_sentence_N1[other + 1]
                b_first = first + _draw(state_1, end - first)
                b_last = b_first + 1
                while b_last < end and sentence_S1[b_last] - sentence_S1[b_first] < target - a_length:
                    b_last += 1
                b_begin, b_length = sentence_S1[b_first], sentence_S1[b_last] - sentence_S1[b_first]
                following = middle
            else:
                other = document
                b_begin, b_length = sentence_S1[middle], sentence_S1[sentence + 1] - sentence_S1[middle]
                following = sentence + 1
            while a_length + b_length > most:
                at_front = _draw(state_1, 2)
                if a_length > b_length:
                    a_begin += at_front
                    a_length -= 1
                else:
                    b_begin += at_front
                    b_length -= 1
            if b_length:
                begin_R2[pairs, 0], begin_R2[pairs, 1] = a_begin, b_begin
                length_R2[pairs, 0], length_R2[pairs, 1] = a_length, b_length
                document_R2[pairs, 0], document_R2[pairs, 1] = document, other
                label_R[pairs] = is_random
                pairs += 1
            else:
                lost += 1
            chunk = sentence = following
    return pairs, forced, lost


@kernel
def write_pairs(
    ids_T: NDArray[np.unsignedinteger],
    begin_R2: NDArray[np.int64],
    length_R2: NDArray[np.int32],
    cls: int,
    sep: int,
    out_L: NDArray[np.unsignedinteger],
    type_L: NDArray[np.uint8],
) -> None:
    """Lay pairs one after the other as [CLS] A [SEP] B [SEP].

    Args:
        ids_T: uint16 or uint32, all tokens.
        begin_R2: int64, where the segments begin in `ids_T`.
        length_R2: int32, their tokens.
        cls: id written first.
        sep: id written after each segment.
        out_L: as `ids_T`, written.
        type_L: uint8, written: 0 up to the first `sep`, then 1.
    """
    place = 0
    for row in range(len(begin_R2)):
        out_L[place] = cls
        type_L[place] = 0
        place += 1
        for segment in range(2):
            begin, length = begin_R2[row, segment], length_R2[row, segment]
            out_L[place : place + length] = ids_T[begin : begin + length]
            out_L[place + length] = sep
            type_L[place : place + length + 1] = segment
            place += length + 1
