"""Packing documents of `tokens/` into the rows of a shard. No Beam.

Shapes: N documents, P pieces, R rows, S tokens in all rows (special tokens included).
"""

from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from transforms.kernels.packing import best_fit, concatenate, permutation, place, write_pieces
from transforms.shards import shard_schema
from transforms.tokenizer import SpecialIds

PackingMethod = Literal["best_fit", "concat", "none"]

MIN_SEQ_LENGTH = 8
BATCH_TOKENS = 1 << 22  # an Arrow message of at most 8 MB of uint16
_ROW_SALT, _PLACE_SALT = 0x5851F42D4C957F2D, 0x2545F4914F6CDD1D  # the three permutations are independent


class PackCounts(NamedTuple):
    """What went in and came out. `tokens` is without special tokens, `row_tokens` with them."""

    documents: int
    empty: int  # documents without a token: no piece
    cut: int  # documents in more than one piece
    tokens: int
    pieces: int
    rows: int
    row_tokens: int
    max_pieces: int  # in one row


class _Pieces(NamedTuple):
    """The pieces in the order of the documents, each array int32 [P]."""

    document: NDArray[np.int32]
    start: NDArray[np.int32]  # tokens of the document before the piece
    lengths: NDArray[np.int32]  # special tokens included
    row: NDArray[np.int32]
    order: NDArray[np.int32]  # in which they are laid into their rows


def pack(
    tokens: pa.Table,
    *,
    keep_N: NDArray[np.bool_] | None = None,
    seq_length: int,
    packing: PackingMethod,
    special_ids: SpecialIds,
    vocab_size: int,
    seed: int,
) -> tuple[pa.Table, PackCounts]:
    """Return the rows of one shard, in random order, and the counts.

    `best_fit` keeps each document in one piece unless it is longer than a row (then it fills rows and leaves a rest)
    and fits pieces to rows best-fit-decreasing; `concat` lays documents one after the other and cuts them where a row
    is full; `none` gives each piece its own row. Every piece is [CLS] tokens [SEP]. Where a piece comes within its
    row is random: best-fit-decreasing alone would put the longest first and so tie lengths to positions.

    Args:
        tokens: N documents with the columns of `tokens/`; mapped files are read once, in order.
        keep_N: bool [N], the documents to use (of a split); None for all.
        seq_length: most tokens in a row, special tokens included.
        packing: the method.
        special_ids: `cls` and `sep` are used.
        vocab_size: decides between uint16 and uint32.
        seed: of both permutations; the rows depend on it and on the documents only.

    Returns:
        Rows with the schema of a shard in batches of about 4 million tokens, and counts. In memory: the rows, and
        about 60 bytes a piece.

    Raises:
        ValueError: `seq_length` is below 8, or `packing` is unknown.
    """
    if seq_length < MIN_SEQ_LENGTH:
        raise ValueError(f"seq_length {seq_length} is too short: at least {MIN_SEQ_LENGTH}")
    chunks = tokens.column("ids").chunks
    num_tokens_N = np.concatenate([np.zeros(0, np.int32), *(np.diff(chunk.offsets.to_numpy()) for chunk in chunks)])
    used_N = num_tokens_N if keep_N is None else np.where(keep_N, num_tokens_N, 0).astype(np.int32)
    pieces = _cut(used_N, seq_length, packing, seed)
    num_rows = int(pieces.row.max(initial=-1)) + 1
    first_piece_R1, first_token_R1 = np.zeros(num_rows + 1, np.int64), np.zeros(num_rows + 1, np.int64)
    slot_P = np.empty(len(pieces.row), np.int32)
    target_P = np.empty(len(pieces.row), np.int64)
    place(pieces.order, pieces.row, pieces.lengths, first_piece_R1, first_token_R1, slot_P, target_P)

    schema = shard_schema(vocab_size)
    ids_S = np.empty(first_token_R1[-1], schema.field("input_ids").type.value_type.to_pandas_dtype())
    _write(chunks, pieces, target_P, special_ids, ids_S)
    columns = (ids_S, *_per_piece(tokens, pieces, slot_P))
    batch_rows = max(1, BATCH_TOKENS // seq_length)
    batches = [
        _batch(schema, columns, first_token_R1, first_piece_R1, start, min(start + batch_rows, num_rows))
        for start in range(0, num_rows, batch_rows)
    ]
    num_pieces_N = np.bincount(pieces.document, minlength=len(used_N))
    num_kept = len(used_N) if keep_N is None else int(np.count_nonzero(keep_N))
    counts = PackCounts(
        documents=num_kept,
        empty=num_kept - int(np.count_nonzero(used_N)),
        cut=int(np.count_nonzero(num_pieces_N > 1)),
        tokens=int(used_N.sum(dtype=np.int64)),
        pieces=len(pieces.row),
        rows=num_rows,
        row_tokens=len(ids_S),
        max_pieces=int(np.diff(first_piece_R1).max(initial=0)),
    )
    return pa.Table.from_batches(batches, schema), counts


def _cut(num_tokens_N: NDArray[np.int32], seq_length: int, packing: PackingMethod, seed: int) -> _Pieces:
    if packing == "concat":
        order_N = random_order(len(num_tokens_N), seed)
        bound = len(order_N) + int(num_tokens_N.sum(dtype=np.int64) + 2 * len(order_N)) // (seq_length - 4) + 2
        arrays = [np.empty(bound, np.int32) for _ in range(4)]
        num_pieces = concatenate(num_tokens_N[order_N], seq_length, *arrays)
        document_P, start_P, lengths_P, row_P = (array[:num_pieces] for array in arrays)
        document_P = order_N[document_P]
        sort_P = np.argsort(document_P, kind="stable")
        order_P = np.empty(num_pieces, np.int32)
        order_P[sort_P] = np.arange(num_pieces)
        row_P = random_order(int(row_P.max(initial=-1)) + 1, seed ^ _ROW_SALT)[row_P[sort_P]]
        return _Pieces(document_P[sort_P], start_P[sort_P], lengths_P[sort_P], row_P, order_P)
    if packing not in ("best_fit", "none"):
        raise ValueError(f"packing {packing!r} is unknown: best_fit, concat or none")
    room = seq_length - 2
    num_pieces_N = -(-num_tokens_N // room)
    document_P = np.repeat(np.arange(len(num_tokens_N), dtype=np.int32), num_pieces_N)
    first_N = np.cumsum(num_pieces_N) - num_pieces_N
    start_P = ((np.arange(len(document_P)) - first_N[document_P]) * room).astype(np.int32)
    lengths_P = np.minimum(num_tokens_N[document_P] - start_P, room) + np.int32(2)
    order_P = random_order(len(document_P), seed)
    if packing == "none":
        return _Pieces(document_P, start_P, lengths_P, order_P, order_P)
    row_P = np.empty(len(order_P), np.int32)
    num_rows = best_fit(lengths_P[order_P], seq_length, row_P)
    shuffled_P = np.empty_like(row_P)
    shuffled_P[order_P] = random_order(num_rows, seed ^ _ROW_SALT)[row_P]
    # Another order than the one in which the rows were filled: the short pieces that fill the gaps beside long ones
    # are early in that one, and would come first in their rows (30 tokens on average, the last pieces 37).
    return _Pieces(document_P, start_P, lengths_P, shuffled_P, random_order(len(order_P), seed ^ _PLACE_SALT))


def random_order(num: int, seed: int) -> NDArray[np.int32]:
    """Return the numbers below `num` in an order that depends on `num` and `seed` alone."""
    order_N = np.empty(num, np.int32)
    permutation(np.uint64(seed & (1 << 64) - 1), order_N)
    return order_N


def _write(
    chunks: list[pa.ListArray],
    pieces: _Pieces,
    target_P: NDArray[np.int64],
    special_ids: SpecialIds,
    ids_S: NDArray[np.unsignedinteger],
) -> None:
    """Copy the tokens of every piece into `ids_S`, chunk by chunk of the tokens table."""
    cls, sep = special_ids.cls, special_ids.sep
    first_document = 0
    for chunk in chunks:
        low, high = np.searchsorted(pieces.document, [first_document, first_document + len(chunk)]).tolist()
        offsets_N1 = chunk.offsets.to_numpy()
        begin_P = offsets_N1[pieces.document[low:high] - first_document].astype(np.int64) + pieces.start[low:high]
        write_pieces(chunk.values.to_numpy(), begin_P, pieces.lengths[low:high], target_P[low:high], cls, sep, ids_S)
        first_document += len(chunk)


def _per_piece(
    tokens: pa.Table, pieces: _Pieces, slot_P: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int32]]:
    """Return length, doc_id and start of every piece, row by row."""
    lengths_P = np.empty(len(slot_P), np.int32)
    doc_id_P = np.empty(len(slot_P), np.int64)
    start_P = np.empty(len(slot_P), np.int32)
    lengths_P[slot_P] = pieces.lengths
    doc_id_P[slot_P] = tokens.column("doc_id").to_numpy()[pieces.document]
    start_P[slot_P] = pieces.start
    return lengths_P, doc_id_P, start_P


def _batch(
    schema: pa.Schema,
    columns: tuple[NDArray[np.generic], ...],
    first_token_R1: NDArray[np.int64],
    first_piece_R1: NDArray[np.int64],
    start: int,
    stop: int,
) -> pa.RecordBatch:
    arrays = []
    for values, first_R1 in zip(columns, (first_token_R1, first_piece_R1, first_piece_R1, first_piece_R1), strict=True):
        offsets_R1 = (first_R1[start : stop + 1] - first_R1[start]).astype(np.int32)
        part = values[first_R1[start] : first_R1[stop]]
        arrays.append(pa.ListArray.from_arrays(pa.array(offsets_R1), pa.array(part)))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
