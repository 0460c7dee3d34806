"""Personal data in text, replaced by tokens that point to nobody.

`email` and the IPv4 half of `ip` find what datatrove's PIIFormatter finds. Which of several replacements a finding
gets is a hash of what was found, so copies of a text stay copies; datatrove takes turns, so its output depends on the
order of the documents. IPv6, `phone`, `card` and `iban` are ours.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from transforms.kernels.pii import CARD, EMAIL, IBAN, IPV4, IPV6, NUM_KINDS, PHONE, find_pii, replace_pii
from transforms.kernels.pii_classes import word_table
from transforms.kernels.strings import string_array, string_views
from transforms.schema import alive_mask, count_edits, set_column

# Name in the configuration -> kinds of finding.
KINDS = {"email": (EMAIL,), "ip": (IPV4, IPV6), "phone": (PHONE,), "card": (CARD,), "iban": (IBAN,)}

# datatrove's replacements, which answered nobody when they were chosen, and numbers reserved for examples.
TOKENS = {
    EMAIL: ("email@example.com", "firstname.lastname@example.org"),
    IPV4: (
        "22.214.171.124",
        "126.96.36.199",
        "188.8.131.52",
        "184.108.40.206",
        "220.127.116.11",
        "18.104.22.168",
    ),
    IPV6: ("2001:db8::1",),
    PHONE: ("+1-202-555-0100",),
    CARD: ("0000 0000 0000 0000",),
    IBAN: ("XX00 0000 0000 0000 0000",),
}

_TOKENS = [token.encode() for kind in range(NUM_KINDS) for token in TOKENS[kind]]
_TOKENS_M = np.frombuffer(b"".join(_TOKENS), np.uint8)
_TOKENS_C1 = np.cumsum([0, *map(len, _TOKENS)])
_CHOICES_K1 = np.cumsum([0, *(len(TOKENS[kind]) for kind in range(NUM_KINDS))])


def chosen_kinds(names: Sequence[str]) -> NDArray[np.bool_]:
    """Return bool [NUM_KINDS]: the kinds of finding that these names of KINDS stand for.

    Raises:
        ValueError: a name that is none.
    """
    chosen_K = np.zeros(NUM_KINDS, np.bool_)
    for name in names:
        if name not in KINDS:
            [nearest] = difflib.get_close_matches(name, KINDS, n=1, cutoff=0.0)
            raise ValueError(f"pii {name!r} is not known; the nearest is {nearest!r}")
        chosen_K[list(KINDS[name])] = True
    return chosen_K


def mask_pii(batch: pa.RecordBatch, *, kinds: Sequence[str]) -> pa.RecordBatch:
    """Return `batch` with personal data in the text of living rows replaced and counted. Nothing is rejected.

    Args:
        batch: rows of schema IN_FLIGHT.
        kinds: names of KINDS; each gets a column of edits.

    Raises:
        ValueError: a name that is not of KINDS.
    """
    chosen_K = chosen_kinds(kinds)
    offsets_N1, text = string_views(batch.column("text"))
    places_F = _places(batch.column("text"), ~alive_mask(batch), chosen_K)
    kind_F = np.searchsorted(_CHOICES_K1, places_F[:, 3], side="right") - 1
    for name in kinds:
        document_F = places_F[np.isin(kind_F, KINDS[name]), 0]
        batch = count_edits(batch, {f"pii.{name}": np.bincount(document_F, minlength=batch.num_rows)})
    if len(places_F) == 0:
        return batch
    grown = int((np.diff(_TOKENS_C1)[places_F[:, 3]] - (places_F[:, 2] - places_F[:, 1])).sum())
    out_offsets_N1 = np.empty_like(offsets_N1)
    out_M = np.empty(int(offsets_N1[-1]) - int(offsets_N1[0]) + grown, np.uint8)
    replace_pii(offsets_N1, text, places_F, _TOKENS_M, _TOKENS_C1, out_offsets_N1, out_M)
    return set_column(batch, "text", string_array(out_offsets_N1, out_M))


def _places(texts: pa.Array, skip_N: NDArray[np.bool_], chosen_K: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return int64 [F, 4], see `find_pii`."""
    offsets_N1, text = string_views(texts)
    num_found, places_F = -1, np.empty((0, 4), np.int64)
    while num_found < 0:
        places_F = np.empty((4 * len(places_F) + 4096, 4), np.int64)
        num_found = find_pii(offsets_N1, text, skip_N, word_table(), chosen_K, _CHOICES_K1, places_F)
    return places_F[:num_found]


def personal_data(texts: pa.Array, *, kinds: Sequence[str]) -> list[tuple[int, str]]:
    """Return the row and the words of every finding in N texts that does not begin with a replacement of ours.

    One may have grown: `834.345.1254 155 Elm Street` holds a phone number of ten digits, and once it is masked one of
    fourteen, with the number of the house.

    Raises:
        ValueError: a name that is not of KINDS.
    """
    _, text = string_views(texts)
    places_F = _places(texts, np.zeros(len(texts), np.bool_), chosen_kinds(kinds))
    found = [(row, text[first:end].tobytes()) for row, first, end, _ in places_F.tolist()]
    return [(row, words.decode()) for row, words in found if not words.startswith(tuple(_TOKENS))]


@dataclass(frozen=True, kw_only=True)
class MaskPii:
    """The step of the clean stage; see `mask_pii`, whose mistakes it tells when it is made."""

    kinds: tuple[str, ...]

    def __post_init__(self) -> None:
        chosen_kinds(self.kinds)

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return mask_pii(batch, kinds=self.kinds)
