"""Unicode normal form and white space of the documents' text.

Decided: soft hyphens (U+00AD) and U+FEFF go, because both are invisible and split words for every tokenizer. Zero-width
joiners and U+200B stay, because Persian, Indic scripts, Thai and emoji need them; so do direction marks.
"""

import unicodedata
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from transforms.kernels.normalise import clean, composing_table, may_compose
from transforms.kernels.strings import string_array, string_views
from transforms.schema import alive_mask, reject, set_column

UnicodeForm = Literal["nfc", "nfkc", "none"]

EMPTY_RULE = "empty"


def normalise(batch: pa.RecordBatch, *, unicode: UnicodeForm = "nfc") -> pa.RecordBatch:
    """Return `batch` with the text of living rows normalised, and rule `empty` on those of which nothing is left.

    Normalising twice changes nothing more.

    Args:
        batch: rows of schema IN_FLIGHT.
        unicode: normal form C, normal form KC (which also replaces compatibility characters: ligatures, full-width
            forms, superscripts), or none.

    Raises:
        ValueError: `unicode` is none of the three.
    """
    if unicode not in get_args(UnicodeForm):
        raise ValueError(f"unicode: {unicode!r} is not one of {', '.join(get_args(UnicodeForm))}")
    alive_N = alive_mask(batch)
    text = cleaned(batch.column("text"), as_is_N=~alive_N)
    if unicode == "nfc":
        text = composed(text, form="NFC", where_N=alive_N)
    elif unicode == "nfkc":
        text = composed(text, form="NFKC", where_N=alive_N)
        text = cleaned(text, as_is_N=~alive_N)  # again: U+00B4 becomes a space and a mark, also at an end
    empty_N = pc.equal(pc.binary_length(text), 0).to_numpy(zero_copy_only=False)
    return reject(set_column(batch, "text", text), EMPTY_RULE, where_N=empty_N)


def cleaned(text: pa.Array, *, as_is_N: NDArray[np.bool_]) -> pa.Array:
    """Return `text` (string, N values) with white space and control characters put right, except where `as_is_N`."""
    offsets_N1, bytes_M = string_views(text)
    out_offsets_N1 = np.empty_like(offsets_N1)
    out_M = np.empty(int(offsets_N1[-1]) - int(offsets_N1[0]), np.uint8)
    clean(offsets_N1, bytes_M, as_is_N, out_offsets_N1, out_M)
    return string_array(out_offsets_N1, out_M)


def composed(text: pa.Array, *, form: Literal["NFC", "NFKC"], where_N: NDArray[np.bool_]) -> pa.Array:
    """Return `text` in a Unicode normal form where `where_N`; the same array if nothing had to be done.

    Python's `unicodedata` gets the documents that a scan at over 1 GB/s could not clear: 1 in 150 of English text, and
    every document of scripts with combining marks. Rejected: `pyarrow.compute.utf8_normalize` ignores its form and
    decomposes always (pyarrow 25, apache/arrow #51225).
    """
    offsets_N1, bytes_M = string_views(text)
    suspect_N = np.empty(len(text), np.bool_)
    may_compose(offsets_N1, bytes_M, composing_table(form), suspect_N)
    suspect_N &= where_N
    if not suspect_N.any():
        return text
    mask = pa.array(suspect_N)
    suspects = text.filter(mask).to_pylist()
    return pc.replace_with_mask(
        text, mask, pa.array([unicodedata.normalize(form, one) for one in suspects], pa.string())
    )


@dataclass(frozen=True, kw_only=True)
class Normalise:
    """The step of the clean stage; see `normalise`."""

    unicode: UnicodeForm = "nfc"

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return normalise(batch, unicode=self.unicode)
