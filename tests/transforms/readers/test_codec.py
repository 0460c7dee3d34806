"""transforms.readers.codec: what decodes a member, and what a name promises."""

import gzip
import zlib

from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.readers.codec import GzipDecoder, suffix_codec


@settings(max_examples=50, deadline=None)
@given(
    limit=st.integers(1, 700),
    runs=st.lists(st.tuples(st.integers(0, 255), st.integers(1, 900)), max_size=9),
    cut=st.integers(1, 15),
)
def test_gzip_decoder_holds_nothing_back(limit, runs, cut):
    """When the decoder asks for input it has given all that it could decode, however small the output is kept."""
    data = b"".join(bytes([value]) * count for value, count in runs)
    decoder = GzipDecoder()
    stored = gzip.compress(data)[:-cut]
    content = decoder.decompress(stored, limit)
    while not decoder.needs_input:
        content += (out := decoder.decompress(b"", limit))
        assert len(out) <= limit
    assert content == zlib.decompressobj(31).decompress(stored)


def test_suffixes():
    """The plan knows compression by name only, also in an address with a query."""
    assert suffix_codec("a/b.jsonl.GZ") == "gzip"
    assert suffix_codec("https://host/x.jsonl.zst?token=a.b") == "zstd"
    assert suffix_codec("a.gz/b.jsonl") is None
