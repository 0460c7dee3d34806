"""Every reader on files that were damaged anywhere: nothing raises, and each record before the damage is there."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.readers.reading import COMPRESS, SUFFIX, source_of, whole
from transforms.readers.dispatch import read_parts, read_slice
from transforms.schema import IN_FLIGHT

COUNT = 24
TEXTS = [f"Record {number} \u00e9\u4e2d " + "with words " * (number * 7 % 23) for number in range(COUNT)]


def warc(kind, mime, block):
    head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nContent-Type: {mime}\r\nContent-Length: {len(block)}\r\n\r\n"
    return head.encode() + block + b"\r\n\r\n"


def arrow(new):
    sink = io.BytesIO()
    with new(sink, pa.schema({"text": pa.string()})) as out:
        for text in TEXTS:
            out.write_batch(pa.record_batch({"text": [text]}))
    return [sink.getvalue()]


def parquet():
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": TEXTS, "n": range(COUNT)}), sink, row_group_size=5)
    return [sink.getvalue()]


# The pieces of a file, one for each record and what stands before the first, so that each can be a member of its own.
PIECES = {
    "jsonl": [b'{"text": "%s", "n": 1}\n' % text.encode() for text in TEXTS],
    "csv": [b"text,n\n", *(b'"%s",1\n' % text.encode() for text in TEXTS)],
    "tsv": [b"text\tn\n", *(b"%s\t1\n" % text.encode() for text in TEXTS)],
    "text": [b"".join(text.encode() for text in TEXTS)],
    "gutenberg": [b"".join(text.encode() for text in TEXTS)],
    "wet": [warc("conversion", "text/plain", text.encode()) for text in TEXTS],
    "warc": [
        warc("response", "application/http", b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + text.encode())
        for text in TEXTS
    ],
    "mediawiki": [
        b"<mediawiki>",
        *(
            b"<page><title>T</title><ns>0</ns><revision><text>%s</text></revision></page>\n" % text.encode()
            for text in TEXTS
        ),
        b"</mediawiki>",
    ],
    "parquet": parquet(),
    "arrow": arrow(pa.ipc.new_file),
    "arrow stream": arrow(pa.ipc.new_stream),
}
ONE_DOCUMENT = ("text", "gutenberg")
COLUMNAR = ("parquet", "arrow", "arrow stream")


@st.composite
def damaged(draw, data):
    """Return `data` with up to four places flipped, cut out, repeated or filled, and where the first of them is."""
    first = len(data)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        span = draw(st.sampled_from([1, 2, 7, 100]))
        kind = draw(st.sampled_from(["flip", "cut", "repeat", "fill", "noise", "end"]))
        piece = data[at : at + span]
        new = {
            "flip": bytes(byte ^ draw(st.integers(1, 255)) for byte in piece[:1]) + piece[1:],
            "cut": b"",
            "repeat": piece * 3,
            "fill": bytes(len(piece)),
            "noise": piece + draw(st.binary(min_size=1, max_size=20)),
            "end": piece,
        }[kind]
        data = data[:at] + new + (b"" if kind == "end" else data[at + span :])
        first = min(first, at)
    return data, first


def read(path, form):
    rows = []
    for batch in read_slice(source_of(path, form), whole(path)):
        assert batch.schema == IN_FLIGHT
        batch.validate(full=True)
        rows += batch.to_pylist()
    return rows


@pytest.mark.hypothesis  # the property is inside, where `make fuzz` does not see it
@pytest.mark.parametrize("codec", [None, *COMPRESS])
@pytest.mark.parametrize("form", PIECES)
def test_damage_anywhere(tmp_path_factory, form, codec):
    """Rows come out whatever the bytes are; those of the pieces before the damage are what they were."""
    if codec and form in COLUMNAR:
        pytest.skip("is never compressed as a whole")
    path = tmp_path_factory.mktemp("fuzz") / f"x{SUFFIX.get(codec, '')}"
    pieces = [COMPRESS[codec](piece) if codec else piece for piece in PIECES[form]]
    ends = [sum(len(piece) for piece in pieces[: number + 1]) for number in range(len(pieces))]
    path.write_bytes(b"".join(pieces))
    name = form.partition(" ")[0]
    sound = read(path, name)
    assert [row["rule"] for row in sound] == [None] * (1 if form in ONE_DOCUMENT else COUNT)
    num_heads = len(pieces) - COUNT - (form == "mediawiki")

    @settings(max_examples=12, deadline=None)
    @given(damage=damaged(b"".join(pieces)))
    def check(damage):
        stored, first = damage
        path.write_bytes(stored)
        rows = read(path, name)
        assert [row["doc_id"] for row in rows] == list(range(sound[0]["doc_id"], sound[0]["doc_id"] + len(rows)))
        if form not in ONE_DOCUMENT + COLUMNAR:
            spared = sum(end < first for end in ends[:-1]) - num_heads
            assert rows[: max(0, spared)] == sound[: max(0, spared)]
            stream = whole(path)._replace(stream_bytes=300)
            parts = [
                row for _, batch in read_parts(source_of(path, name), stream, done=()) for row in batch.to_pylist()
            ]
            assert [row["location"] for row in parts] == [row["location"] for row in rows]

    check()
