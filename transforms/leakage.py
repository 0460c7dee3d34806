"""Leakage: training documents that are nearly those of the validation split, found by their MinHash bands. No Beam.

Deduplication leaves pairs below its threshold, and a validation document that has one in train is no test. Documents
that share a band with a validation document are candidates of deduplication; here all of them count: 14 bands of 8
rows meet for 92% of pairs that are 0.8 alike, 56% at 0.7 and 5% at 0.5.

Shapes: N documents, V documents of the validation split, E band keys.
"""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from transforms.fingerprint import MinHashParameters, signature_rows
from transforms.kernels.lsh import band_keys

BANDS = pa.schema([pa.field("key", pa.uint64(), nullable=False)])
NEAR = pa.schema([pa.field("doc_id", pa.int64(), nullable=False)])


def bands_of(
    signatures: Iterable[pa.RecordBatch], doc_id_V: NDArray[np.int64], parameters: MinHashParameters
) -> NDArray[np.uint64]:
    """Return the band keys (uint64 [E], any order) of the documents `doc_id_V`, which may be of other units too."""
    keys = [np.zeros(0, np.uint64)]
    for batch in signatures:
        chosen_N = np.isin(batch.column("doc_id").to_numpy(), doc_id_V)
        if chosen_N.any():
            keys.append(_keys(batch.filter(pa.array(chosen_N)), parameters)[0])
    return np.concatenate(keys)


def near_documents(
    signatures: Iterable[pa.RecordBatch], key_E: NDArray[np.uint64], parameters: MinHashParameters
) -> NDArray[np.int64]:
    """Return the ids (int64, in order) of the documents that have one of the band keys `key_E`, which are sorted.

    Documents that `key_E` was made from are among them. Memory is that of a batch; 14 binary searches a document.
    """
    found = [np.zeros(0, np.int64)]
    for batch in signatures if len(key_E) else ():
        keys, row_D = _keys(batch, parameters)
        place = np.minimum(np.searchsorted(key_E, keys), len(key_E) - 1)
        near_D = (key_E[place] == keys).reshape(len(row_D), parameters.bands).any(axis=1)
        found.append(batch.column("doc_id").to_numpy()[row_D[near_D]])
    return np.concatenate(found)


def _keys(batch: pa.RecordBatch, parameters: MinHashParameters) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return the band keys of a batch, `bands` for each row that is signed, and those rows; short ones are not."""
    sig_NK, signed_N = signature_rows(batch.column("minhash"))
    row_D = np.flatnonzero(signed_N)
    key_E = np.empty(len(row_D) * parameters.bands, np.uint64)
    band_keys(sig_NK, row_D, parameters.bands, parameters.rows, key_E)
    return key_E, row_D
