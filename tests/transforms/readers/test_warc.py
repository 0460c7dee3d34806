"""transforms.readers.warc: pages and texts out of WARC files, real and damaged ones included."""

import dataclasses
import gzip
import json
import subprocess
import sys

import pytest

from tests.transforms.readers.reading import read, source_of, texts_and_rules, whole
from transforms.readers.dispatch import read_slice
from transforms.readers.warc import read_warc
from transforms.sandbox import DOCUMENT_BYTES

PROSE = "Long enough a sentence to be the content of a page, and with a full stop. " * 5


def page(text=PROSE):
    return f"<html><body><main><p>{text}</p></main></body></html>".encode()


def record(block, kind="response", *fields, mime="application/http; msgtype=response"):
    fields = [
        "WARC/1.0",
        f"WARC-Type: {kind}",
        *fields,
        f"Content-Type: {mime}",
        f"Content-Length: {len(block)}",
        "",
        "",
    ]
    return "\r\n".join(fields).encode() + block + b"\r\n\r\n"


def http(body, *fields, status="200 OK", mime="text/html"):
    fields = [f"HTTP/1.1 {status}", *([f"Content-Type: {mime}"] if mime else []), *fields, "", ""]
    return "\r\n".join(fields).encode() + body


def write(tmp_path, *records, name="x.warc"):
    path = tmp_path / name
    path.write_bytes(b"".join(records))
    return path


def test_pages_and_texts(tmp_path):
    """Pages become text, texts stay as they stand, in order, each with address, place and what the record says."""
    fields = [
        "WARC-Target-URI: <http://a/x y>",
        "WARC-Date: 2024-01-02T03:04:05Z",
        "WARC-Record-ID: <urn:uuid:1>",
        "WARC-IP-Address: 1.2.3.4",
    ]
    stored = [
        record(b"software: x", "warcinfo"),
        record(http(page()), "response", *fields),
        record(b"GET / HTTP/1.1\r\n\r\n", "request"),
        record(b" line\n\nWARC-Type: x\n", "conversion", "WARC-Identified-Content-Language: deu", mime="text/plain"),
        record(http(b"plain caf\xe9", mime="text/plain; charset=latin-1")),
        record(b"HTTP/1.1 in a text", "Conversion", mime="text/plain"),
    ]
    path = write(tmp_path, *stored)
    for form in ("warc", "wet"):
        rows = read(path, form)
        assert texts_and_rules(rows) == [
            PROSE.strip(),
            " line\n\nWARC-Type: x\n",
            "plain caf\u00e9",
            "HTTP/1.1 in a text",
        ]
        assert [row["url"] for row in rows] == ["http://a/x y", None, None, None]
        offsets = [len(b"".join(stored[:index])) for index in (1, 3, 4, 5)]
        assert [row["location"] for row in rows] == [f"{path}#{offset}" for offset in offsets]
        assert json.loads(rows[0]["metadata"]) == {
            "date": "2024-01-02T03:04:05Z",
            "record_id": "<urn:uuid:1>",
            "ip": "1.2.3.4",
            "content_type": "text/html",
        }
        assert json.loads(rows[1]["metadata"]) == {"language": "deu", "content_type": "text/plain"}


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (record(http(page(), status="404 Not Found")), ("http_status", 404, None)),
        (record(http(b"", status="301 Moved")), ("http_status", 301, None)),
        (record(http(b"%PDF-1.4 ...", mime="application/pdf")), ("not_html", None, None)),
        (record(http(b"%PDF-1.4 ...")), ("not_html", None, None)),
        (record(http(b'{"a": 1}', mime=None)), ("not_html", None, None)),
        (record(http(page()), "response", "WARC-Identified-Payload-Type: image/png"), ("not_html", None, None)),
        (record(http(b"")), ("extract_empty", 0, 1)),
        (record(http(b"<div>" * 50_000 + page())), ("extract_timeout", 2.0, 2.0)),
        (record(b"no http"), ("bad_http", None, None)),
        (
            record(http(gzip.compress(page())[:-8], "Content-Encoding: gzip")),
            ("bad_content_encoding", len(page()), None),
        ),
        (record(http(b"x" * (DOCUMENT_BYTES + 1))), ("html_too_large", DOCUMENT_BYTES + 1, DOCUMENT_BYTES)),
        (record(b"x" * (DOCUMENT_BYTES + 1), mime="text/html"), ("html_too_large", DOCUMENT_BYTES + 1, DOCUMENT_BYTES)),
        (record(b"abc\xff", "conversion", mime="text/plain"), ("bad_utf8", 3, None)),
        (record(b"20240101 dns", mime="text/dns"), ("not_html", None, None)),
    ],
)
def test_records_without_text(tmp_path, stored, expected):
    """Each record that gives no text is a row with rule, value, address and beginning; its neighbours come out."""
    stored = stored.replace(b"\r\nContent-Type", b"\r\nWARC-Target-URI: http://a/\r\nContent-Type", 1)
    rows = read(write(tmp_path, record(http(page("before. " * 50))), stored, record(http(page()))), "warc")
    assert texts_and_rules(rows) == [("before. " * 50).strip(), f"<{expected[0]}>", PROSE.strip()]
    row = rows[1]
    assert (row["rule"], row["value"], row["threshold"], row["url"]) == (*expected, "http://a/")
    if row["text"]:
        assert row["text"][:10].encode() in stored.replace(b"\xff", b"\xef\xbf\xbd")


@pytest.mark.parametrize(
    "stored",
    [
        record(http(page(), mime="Text/HTML; charset=utf-8")),
        record(http(page(), mime="application/xhtml+xml")),
        record(http(b"\r\n<!-- c -->\n" + page(), mime=None)),
        record(http(page(), mime="application/octet-stream")),
        record(http(page(), mime="image/png"), "response", "WARC-Identified-Payload-Type: application/xhtml+xml"),
        record(http(page()), "response", "WARC-Identified-Payload-Type: text/plain"),
        record(http(page()), "response", "WARC-Identified-Payload-Type: "),
        record(http(page()), mime="APPLICATION/HTTP"),
        record(http(page()), mime="application/octet-stream"),
        record(page(), mime="text/html"),
        record(http(gzip.compress(page()), "Content-Encoding: gzip")),
        record(http(page()[:-14], "Content-Encoding: gzip"), "response", "WARC-Truncated: length"),
        record(http(gzip.compress(page() * 99)[:-9], "Content-Encoding: gzip"), "response", "WARC-Truncated: time"),
    ],
)
def test_what_is_a_page(tmp_path, stored):
    """A page is known by what crawler, server or its first bytes say."""
    (row,) = read(write(tmp_path, stored), "warc")
    assert row["rule"] is None
    assert PROSE.strip() in row["text"]
    assert "<" not in row["text"]


def test_empty_file(tmp_path):
    """A file of nothing is one row; one without documents has none."""
    assert texts_and_rules(read(write(tmp_path), "warc")) == ["<empty_file>"]
    assert read(write(tmp_path, record(b"a: b", "warcinfo")), "warc") == []


def test_records_above_the_limit(tmp_path):
    """A block above the limit is not held."""
    path = write(tmp_path, record(b"x" * 2000, "conversion"), record(b"y" * 2001, "conversion"))
    batches = read_warc(source_of(path, "warc"), whole(path), max_block_bytes=2000)
    assert texts_and_rules([row for batch in batches for row in batch.to_pylist()]) == [
        "x" * 2000,
        "<record_too_large>",
    ]


def test_many_batches(tmp_path):
    """Pages, texts and damage stay in order over many batches of the sandbox and of rows."""
    stored, expected = [], []
    for number in range(1500):
        match number % 5:
            case 0:
                stored.append(record(f"text {number}".encode(), "conversion"))
                expected.append(f"text {number}")
            case 1:
                stored.append(record(http(b"", status="500 x")))
                expected.append("<http_status>")
            case 2:
                stored.append(record(b"lost", "conversion").replace(b"-Length: 4", b"-Length: 3"))
                expected.append("<bad_content_length>")
            case _:
                text = f"{number}. {PROSE}" * (1 + number % 40)
                stored.append(record(http(page(text))))
                expected.append(text.strip())
    path = write(tmp_path, *map(gzip.compress, stored), name="x.warc.gz")
    assert texts_and_rules(read(path, "warc")) == expected


def test_extractors(tmp_path, monkeypatch):
    """trafilatura is an option; where it is not installed one line says how to get it."""
    pytest.importorskip("trafilatura")
    path = write(tmp_path, record(http(page())))
    assert texts_and_rules(read(path, "warc", extractor="trafilatura")) == [PROSE.strip()]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"source 'test' needs trafilatura; pip install 'gristmill\[trafilatura\]'"):
        read(path, "warc", extractor="trafilatura")


def test_an_abandoned_file_leaves_no_child(tmp_path):
    """A reader that is not read to its end gives its sandbox back or closes it."""
    path = write(tmp_path, *[record(http(page(PROSE * 200)))] * 400)
    batches = read_slice(source_of(path, "warc"), whole(path))
    first = next(batches)
    batches.close()
    assert first.num_rows > 0
    assert read(path, "warc")[0]["text"] == (PROSE * 200).strip()


SHARED = {
    "damaged/bitflip-in-member.warc.gz": (10, {"corrupt_gzip": 1}),
    "damaged/content-length-missing.warc": (9, {"bad_content_length": 1}),
    "damaged/content-length-too-long.warc": (9, {"bad_content_length": 1}),
    "damaged/content-length-too-short.warc": (9, {"bad_content_length": 1}),
    "damaged/empty.warc.gz": (0, {"empty_file": 1}),
    "damaged/frames.warc.zst": (10, {}),
    "damaged/garbage-between-members.warc.gz": (10, {"corrupt_gzip": 1}),
    "damaged/good.warc.gz": (10, {}),
    "damaged/html-not-warc.warc.gz": (0, {"not_warc": 1}),
    "damaged/leading-junk.warc": (10, {"not_warc": 1}),
    "damaged/lf-only-headers.warc": (10, {}),
    "damaged/no-final-crlf.warc": (10, {}),
    "damaged/single-member.warc.gz": (10, {}),
    "damaged/truncated-in-member.warc.gz": (5, {"truncated_gzip": 1}),
    "real/allenai+dolma/sample-0000.warc.gz": (22, {}),
    "real/archivesunleashed+aut/issue-493.warc": (3, {"http_status": 1, "not_html": 5, "extract_empty": 1}),
    "real/chatnoir-eu+chatnoir-resiliparse/block-sized-records.warc.lz4": (0, {}),
    "real/chatnoir-eu+chatnoir-resiliparse/clipped.warc.gz": (0, {"truncated_gzip": 1}),
    "real/chatnoir-eu+chatnoir-resiliparse/clueweb-quirk.warc.gz": (29, {}),
    "real/chatnoir-eu+chatnoir-resiliparse/warcfile.warc": (16, {}),
    "real/chatnoir-eu+chatnoir-resiliparse/warcfile.warc.lz4": (16, {}),
    "real/facebookresearch+cc_net/sample.warc.txt": (0, {"bad_content_length": 4}),  # lengths in characters
    "real/webrecorder+warcio/example.arc.gz": (0, {"not_warc": 1}),  # of the format before WARC
    "real/webrecorder+warcio/example-bad-non-chunked.warc.gz": (1, {}),
    "real/webrecorder+warcio/example-bad.warc.gz.bad": (1, {"http_status": 1}),
    "real/webrecorder+warcio/example-iana.org-chunked.warc": (1, {}),
    "real/webrecorder+warcio/example-trunc.warc": (0, {"bad_content_encoding": 1}),
    "real/webrecorder+warcio/example-wget-bad-target-uri.warc.gz": (1, {}),
    "real/webrecorder+warcio/example-wrong-chunks.warc.gz": (1, {}),
    "real/webrecorder+warcio/example.warc.gz": (1, {}),
    "real/webrecorder+warcio/post-test.warc.gz": (0, {"not_html": 3}),
}


@pytest.mark.parametrize("name", SHARED)
def test_real_and_damaged_files(shared_data, name):
    """Of every odd file the good records come out, and each damage is a row with rule and place."""
    rows = read(shared_data / "web" / name, "warc")
    rules = [row["rule"] for row in rows if row["rule"]]
    assert {rule: rules.count(rule) for rule in rules} == SHARED[name][1]
    assert len(rows) - len(rules) == SHARED[name][0]
    assert all(row["text"].strip() for row in rows if not row["rule"])


def test_damage_spares_all_other_texts(shared_data):
    """What comes out of a damaged file is, record for record, what comes out of the sound one."""
    folder = shared_data / "web" / "damaged"
    good = {row["url"]: row["text"] for row in read(folder / "good.warc.gz", "warc")}
    assert len(good) == 10
    for name in SHARED:
        if name.startswith("damaged/") and SHARED[name][0]:
            found = {row["url"]: row["text"] for row in read(shared_data / "web" / name, "warc") if not row["rule"]}
            assert found.items() <= good.items(), name


def test_languages_of_real_pages(shared_data):
    """1425 pages, some compressed, some in chunks, keep the letters of their languages."""
    truth = {}
    for line in (
        (shared_data / "web" / "derived" / "dev-multilang.truth.jsonl").read_text(encoding="utf-8").splitlines()
    ):
        row = json.loads(line)
        truth[row["url"]] = row
    rows = read(shared_data / "web" / "derived" / "dev-multilang.warc.gz", "warc")
    assert len(rows) == len(truth)
    letters = {
        "ru": "\u0430\u043e\u0435",
        "el": "\u03b1\u03bf\u03b5",
        "ja": "\u306e\u3092\u306b",
        "ar": "\u0627\u0644",
        "zh": "\u7684",
    }
    for row in rows:
        wanted = letters.get(truth[row["url"]].get("lang", ""), "")
        if len(row["text"]) > 500:
            assert all(letter in row["text"] for letter in wanted), row["url"]
    assert sum(row["rule"] is not None for row in rows) <= 2


def test_texts_of_a_wet_file(shared_data):
    """A WET file gives every block as it is."""
    rows = read(shared_data / "web" / "derived" / "dev-sample.warc.wet.gz", "wet")
    assert len(rows) == 1034
    assert not any(row["rule"] for row in rows)
    assert {len(json.loads(row["metadata"])["language"]) for row in rows} == {2, 3}


def test_no_extractor_in_this_process():
    """Reading WARC loads no extractor of HTML here but resiliparse's table of encodings, and neither Beam nor torch."""
    program = (
        "import sys, transforms.readers.warc\n"
        "names = 'apache_beam', 'datasets', 'torch', 'numba', 'trafilatura', 'lxml'\n"
        "print([name for name in names if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_options(tmp_path):
    """The extractor belongs to the format, and its name is checked."""
    source = source_of(tmp_path, "warc", extractor="trafilatura")
    assert dataclasses.replace(source, extractor=None).extractor is None
    with pytest.raises(ValueError, match="extractor of source 'test' is only for format: warc, not jsonl"):
        source_of(tmp_path, "jsonl", extractor="resiliparse")
