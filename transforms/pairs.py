"""Rows of sentence pairs from documents of `tokens/`, for masked language modelling with next-sentence prediction.

Shapes: N documents, S sentences, R pairs.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from transforms.kernels.pairs import make_pairs, write_pairs
from transforms.packing import BATCH_TOKENS, MIN_SEQ_LENGTH, PackCounts, random_order
from transforms.shards import shard_schema
from transforms.tokenizer import SpecialIds

_PAIR_SALT, _ROW_SALT = 0x9FB21C651E98DF25, 0x5851F42D4C957F2D
_MASK = (1 << 64) - 1


class PairCounts(NamedTuple):
    """What became of the segments."""

    random: int  # pairs whose B is of another document
    forced: int  # of these, because the segment is one sentence
    alone: int  # segments of one sentence without another document of their group: in no row


def pair_up(
    tokens: pa.Table,
    *,
    group_N: NDArray[np.int64],
    keep_N: NDArray[np.bool_],
    seq_length: int,
    special_ids: SpecialIds,
    vocab_size: int,
    seed: int,
) -> tuple[pa.Table, PackCounts, PairCounts]:
    """Return the rows of one shard in random order, one pair a row, and the counts.

    Args:
        tokens: N documents with the columns of `tokens/`, `sentence_starts` too.
        group_N: int64; the B of a random pair is of the same group.
        keep_N: bool, the documents to use.
        seq_length: most tokens in a row, special tokens included.
        special_ids: `cls` and `sep` are used.
        vocab_size: decides between uint16 and uint32.
        seed: of all choices; the rows depend on it and on the documents only.

    Raises:
        ValueError: `seq_length` is below 8.
    """
    if seq_length < MIN_SEQ_LENGTH:
        raise ValueError(f"seq_length {seq_length} is too short: at least {MIN_SEQ_LENGTH}")
    ids, starts = (tokens.column(name).combine_chunks() for name in ("ids", "sentence_starts"))
    ids_T = ids.flatten().to_numpy()
    token_N1 = np.concatenate(([0], np.cumsum(ids.value_lengths().to_numpy(), dtype=np.int64)))
    num_sentences_N = starts.value_lengths().to_numpy()
    sentence_N1 = np.concatenate(([0], np.cumsum(num_sentences_N, dtype=np.int64)))
    relative_S = starts.flatten().to_numpy()
    sentence_S1 = np.append(relative_S + np.repeat(token_N1[:-1], num_sentences_N), len(ids_T))
    used_N = keep_N & (num_sentences_N > 0)
    documents = np.flatnonzero(used_N).astype(np.int32)
    member_D = documents[np.argsort(group_N[documents], kind="stable")]
    _, place_D, size_D = np.unique(group_N[member_D], return_index=True, return_counts=True)
    group_first_N, group_size_N = np.zeros((2, len(used_N)), np.int32)
    group_first_N[member_D], group_size_N[member_D] = np.repeat(place_D, size_D), np.repeat(size_D, size_D)
    document_D = documents[random_order(len(documents), seed)]

    room = int(num_sentences_N[used_N].sum())
    begin_R2, length_R2 = np.empty((room, 2), np.int64), np.empty((room, 2), np.int32)
    document_R2, label_R = np.empty((room, 2), np.int32), np.empty(room, np.int8)
    doc_id_N = tokens.column("doc_id").to_numpy()
    num_pairs, forced, alone = make_pairs(
        np.uint64((seed ^ _PAIR_SALT) & _MASK), seq_length, document_D, sentence_N1, sentence_S1, doc_id_N,
        member_D, group_first_N, group_size_N, begin_R2, length_R2, document_R2, label_R,
    )  # fmt: skip
    row_R = random_order(num_pairs, seed ^ _ROW_SALT)
    length_R2, document_R2, label_R = length_R2[row_R], document_R2[row_R], label_R[row_R]
    rows = _rows(
        ids_T,
        begin_R2[row_R],
        length_R2,
        (doc_id_N[document_R2], begin_R2[row_R] - token_N1[document_R2]),
        label_R,
        special_ids=special_ids,
        schema=shard_schema(vocab_size, pairs=True),
        batch_rows=max(1, BATCH_TOKENS // seq_length),
    )
    num_row_tokens = int(length_R2.sum(dtype=np.int64)) + 3 * num_pairs
    counts = PackCounts(
        documents=int(np.count_nonzero(keep_N)),
        empty=int(np.count_nonzero(keep_N & ~used_N)),
        cut=0,
        tokens=num_row_tokens - 3 * num_pairs,
        pieces=2 * num_pairs,
        rows=num_pairs,
        row_tokens=num_row_tokens,
        max_pieces=2 if num_pairs else 0,
    )
    return rows, counts, PairCounts(int(label_R.sum(dtype=np.int64)), forced, alone)


def _rows(
    ids_T: NDArray[np.unsignedinteger],
    begin_R2: NDArray[np.int64],
    length_R2: NDArray[np.int32],
    traces: tuple[NDArray[np.int64], NDArray[np.int64]],
    label_R: NDArray[np.int8],
    *,
    special_ids: SpecialIds,
    schema: pa.Schema,
    batch_rows: int,
) -> pa.Table:
    """Return the rows as a table; `traces` are doc_id and start in its document of both segments."""
    doc_id_R2, start_R2 = traces
    batches = []
    for first in range(0, len(label_R), batch_rows):
        part = slice(first, min(first + batch_rows, len(label_R)))
        lengths_R2 = length_R2[part] + np.array([2, 1], np.int32)  # [CLS] A [SEP] and B [SEP]
        num_rows = len(lengths_R2)
        token_R1 = np.concatenate(([0], np.cumsum(lengths_R2.sum(axis=1)))).astype(np.int32)
        ids_L = np.empty(token_R1[-1], ids_T.dtype)
        type_L = np.empty(token_R1[-1], np.uint8)
        write_pairs(ids_T, begin_R2[part], length_R2[part], special_ids.cls, special_ids.sep, ids_L, type_L)
        tokens = pa.array(token_R1)
        pieces = pa.array(np.arange(0, 2 * num_rows + 1, 2, dtype=np.int32))
        per_piece = (lengths_R2, doc_id_R2[part], start_R2[part].astype(np.int32))
        arrays = [
            pa.ListArray.from_arrays(tokens, pa.array(ids_L)),
            *(pa.ListArray.from_arrays(pieces, pa.array(values.ravel())) for values in per_piece),
            pa.ListArray.from_arrays(tokens, pa.array(type_L)),
            pa.array(label_R[part]),
        ]
        batches.append(pa.RecordBatch.from_arrays(arrays, schema=schema))
    return pa.Table.from_batches(batches, schema)
