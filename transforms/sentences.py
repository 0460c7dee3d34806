"""Sentences of texts and their tokens, for training on pairs of sentences. No Beam.

Shapes: N documents, S sentences, T tokens.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from transforms.encode import Encoder
from transforms.kernels.sentences import abbreviation_table, sentence_starts, sentence_table
from transforms.kernels.strings import string_array, string_views


def split_sentences(texts: pa.Array) -> tuple[pa.Array, NDArray[np.int64]]:
    """Return the sentences of all texts (S strings, without copying), and int64 [N + 1]: sentences before each text.

    The sentences of a text, put together, are the text: white space between two belongs to the second.
    """
    offsets_N1, bytes_M = string_views(texts)
    start_S = np.empty(int(offsets_N1[-1] - offsets_N1[0]) + 1, np.int32)
    first_N1 = np.zeros(len(texts) + 1, np.int64)
    sentence_starts(offsets_N1, bytes_M, sentence_table(), abbreviation_table(), start_S, first_N1)
    num = int(first_N1[-1])
    start_S[num] = offsets_N1[-1]
    return string_array(start_S[: num + 1].copy(), bytes_M), first_N1


def encode_sentences(texts: pa.Array, encoder: Encoder) -> tuple[pa.ListArray, pa.ListArray]:
    """Return the ids of each text and where in them its sentences begin; sentences without a token are none.

    Every sentence is encoded on its own, as BERT's own preparation does. With BERT's pre-tokenisation these are the ids
    of the whole text.
    """
    sentences, first_N1 = split_sentences(texts)
    encoded = encoder.encode(sentences)
    token_S1 = encoded.offsets.to_numpy()
    token_N1 = token_S1[first_N1]
    ids = pa.ListArray.from_arrays(pa.array(token_N1, pa.int32()), encoded.values)
    used_S = np.diff(token_S1) > 0
    used_before_S1 = np.concatenate(([0], np.cumsum(used_S)))
    relative_S = token_S1[:-1] - np.repeat(token_N1[:-1], np.diff(first_N1))
    starts = pa.ListArray.from_arrays(
        pa.array(used_before_S1[first_N1], pa.int32()), pa.array(relative_S[used_S], pa.int32())
    )
    return ids, starts
