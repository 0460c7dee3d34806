"""Encoding: a column of texts to lists of token ids, exactly as `tokenizers` would. No Beam.

Shapes: N documents, T tokens.
"""

import json

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tokenizers import Tokenizer

from transforms.byte_level import ByteLevel
from transforms.kernels.strings import string_views
from transforms.schema import token_type
from transforms.unigram import Unigram, unspelled
from transforms.wordpiece import WordPiece

# Bytes of text encoded at once: `tokenizers` needs about 60 bytes a byte of text until its encodings are copied.
_CHUNK_BYTES = 1 << 20


class Encoder:
    """Encodes with one tokenizer.

    Text that spells a special token ("[MASK]", "</s>") stays text, unless that is asked for: only the tokenizer's other
    added tokens are matched.
    WordPiece, byte-level BPE and Unigram of known kinds are encoded by kernels, which give the ids of `tokenizers` ten
    to a hundred times as fast; any other, and a document of which WordPiece does not know a character, by `tokenizers`.

    Args:
        tokenizer: copied; its truncation, padding and post-processor are not used.
        encode_special_tokens: as the attribute of `tokenizers`; False is for texts with masks of yours in them.

    Attributes:
        vocab_size: every id is below it.
        is_fast: whether there is a kernel for this tokenizer.
    """

    def __init__(self, tokenizer: Tokenizer, *, encode_special_tokens: bool = True) -> None:
        if not encode_special_tokens:
            tokenizer = _without_special_tokens(tokenizer)
        self._tokenizer = Tokenizer.from_str(unspelled(tokenizer.to_str()))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True
        # The largest id, not the number of tokens: a vocabulary may have holes.
        self.vocab_size = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1
        self._type = token_type(self.vocab_size)
        self._ids_V = _ids_of(self._tokenizer, tokenizer)
        # Unigram from the original: the last bit of a score can change where `tokenizers` reads its JSON again.
        self._kernel = WordPiece.of(self._tokenizer) or ByteLevel.of(self._tokenizer) or Unigram.of(tokenizer)
        self.is_fast = self._kernel is not None
        self._room_T: NDArray[np.unsignedinteger] = np.empty(_CHUNK_BYTES, self._type.to_pandas_dtype())

    def encode(self, texts: pa.Array) -> pa.ListArray:
        """Return the ids of each text without special tokens.

        Args:
            texts: N strings; a null encodes as no tokens.

        Returns:
            N lists of uint16, or of uint32 if an id needs it. Besides them, at most a megabyte of text is in work at
            once.
        """
        offsets_N1, _ = string_views(texts)
        num_tokens_N = np.zeros(len(texts), np.int64)
        parts = [np.zeros(0, self._type.to_pandas_dtype())]
        start = 0
        while start < len(texts):
            limit = int(offsets_N1[start]) + _CHUNK_BYTES
            stop = max(start + 1, int(np.searchsorted(offsets_N1, limit, side="right")) - 1)
            chunk = texts.slice(start, stop - start)
            if self._kernel is None:
                ids, num_tokens_N[start:stop] = self._encode_slowly(chunk)
            else:
                ids, num_tokens_N[start:stop] = self._encode_fast(chunk)
            parts.append(ids)
            start = stop
        ids_T = np.concatenate(parts)
        if len(ids_T) > np.iinfo(np.int32).max:
            raise ValueError(f"{len(ids_T)} tokens in one batch of {len(texts)} texts: give smaller batches")
        token_offsets_N1 = np.zeros(len(texts) + 1, np.int32)
        np.cumsum(num_tokens_N, out=token_offsets_N1[1:])
        return pa.ListArray.from_arrays(pa.array(token_offsets_N1), pa.array(ids_T))

    def _encode_fast(self, texts: pa.Array) -> tuple[NDArray[np.unsignedinteger], NDArray[np.int64]]:
        ids_T, num_tokens_N = self._run_kernel(texts, normal=False)
        left_out = np.flatnonzero(num_tokens_N < 0)
        if not len(left_out):
            return ids_T, num_tokens_N
        num_tokens_N[left_out] = 0
        rest = texts.take(pa.array(left_out))
        if isinstance(self._kernel, ByteLevel | Unigram):
            normalised = [self._kernel.normalised(text) for text in rest.to_pylist()]
            rest_ids, num_rest = self._run_kernel(pa.array(normalised, pa.string()), normal=True)
        else:
            rest_ids, num_rest = self._encode_slowly(rest)
        places = np.cumsum(num_tokens_N)[left_out]
        num_tokens_N[left_out] = num_rest
        return np.insert(ids_T, np.repeat(places, num_rest), rest_ids), num_tokens_N

    def _run_kernel(self, texts: pa.Array, *, normal: bool) -> tuple[NDArray[np.unsignedinteger], NDArray[np.int64]]:
        assert self._kernel is not None
        offsets_N1, bytes_M = string_views(texts)
        room = self._kernel.room(len(texts), int(offsets_N1[-1] - offsets_N1[0]))
        if room > len(self._room_T):
            self._room_T = np.empty(room, self._room_T.dtype)
        num_tokens_N = self._kernel.encode(offsets_N1, bytes_M, self._room_T, normal=normal).astype(np.int64)
        return self._room_T[: num_tokens_N[num_tokens_N > 0].sum()].copy(), num_tokens_N

    def _encode_slowly(self, texts: pa.Array) -> tuple[NDArray[np.unsignedinteger], NDArray[np.int64]]:
        strings = [text or "" for text in texts.to_pylist()]
        encodings = self._tokenizer.encode_batch_fast(strings, add_special_tokens=False)
        num_tokens_N = np.fromiter((len(encoding) for encoding in encodings), np.int64, len(encodings))
        ids_T = np.empty(int(num_tokens_N.sum()), self._type.to_pandas_dtype())
        stops_N = np.cumsum(num_tokens_N)
        for encoding, start, stop in zip(encodings, (stops_N - num_tokens_N).tolist(), stops_N.tolist(), strict=True):
            ids_T[start:stop] = self._ids_V[encoding.ids]
        return ids_T, num_tokens_N


def _ids_of(copy: Tokenizer, tokenizer: Tokenizer) -> NDArray[np.int64]:
    """Return int64 [V], by an id of `copy` that of `tokenizer`: added tokens that `unspelled` moved have others."""
    ids_V = np.arange(1 + max(copy.get_vocab(with_added_tokens=True).values(), default=-1))
    for token in json.loads(tokenizer.to_str())["added_tokens"]:
        ids_V[copy.token_to_id(token["content"])] = token["id"]
    return ids_V


def _without_special_tokens(tokenizer: Tokenizer) -> Tokenizer:
    """Return a copy whose special tokens are added tokens like others, which every text may spell."""
    description = json.loads(tokenizer.to_str())
    for token in description["added_tokens"]:
        token["special"] = False
    return Tokenizer.from_str(json.dumps(description))
