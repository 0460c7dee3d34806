"""transforms.readers.plain_text: a file is a document."""

import gzip
import json
import random

import pytest

from tests.transforms.readers.reading import read, source_of, texts_and_rules, whole
from transforms.readers.plain_text import read_text


def test_tree(tmp_path):
    """Each file of a tree is one document, whole, in the order of its path."""
    (tmp_path / "b").mkdir()
    (tmp_path / "a.md").write_bytes("# T\u00eftle\r\n\r\nline\n".encode())
    (tmp_path / "b" / "c.md").write_bytes(b"\xef\xbb\xbfmarked\0")
    (tmp_path / "b" / "d.md.gz").write_bytes(gzip.compress(b"one") + gzip.compress(b" two"))
    rows = read(f"{tmp_path}/**/*.md*", "text")
    assert [row["text"] for row in rows] == ["# T\u00eftle\r\n\r\nline\n", "marked\0", "one two"]
    assert [row["location"] for row in rows] == [f"{tmp_path}/{name}#0" for name in ("a.md", "b/c.md", "b/d.md.gz")]
    assert len({row["doc_id"] for row in rows}) == 3


@pytest.mark.parametrize(
    ("name", "data", "rule", "value"),
    [
        ("a.txt", b"", "empty_file", 0),
        ("a.txt", b"good \xff\0\1 bad", "bad_utf8", 5),
        ("a.txt", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "bad_utf8", 0),
        ("a.txt", random.Random(1).randbytes(5000), "bad_utf8", 0),
        ("a.txt.gz", gzip.compress(b"text" * 100, mtime=0)[:-1], "truncated_gzip", 32),
        ("a.txt.gz", b"\x1f\x8bnonsense of some length", "corrupt_gzip", 0),
    ],
)
def test_broken_file(tmp_path, name, data, rule, value):
    """A file that cannot be read is one row that says why and where."""
    (tmp_path / name).write_bytes(data)
    (row,) = read(tmp_path / name, "text")
    assert (row["rule"], row["location"]) == (rule, f"{tmp_path}/{name}#0")
    assert row["value"] == (len(data) if rule == "truncated_gzip" else value)


def test_too_large(tmp_path):
    """A file above the limit is one row; one at the limit is a document."""
    (tmp_path / "a.txt").write_bytes(b"x" * 3_000_000)
    for limit, expected in ((3_000_000, ["x" * 3_000_000]), (2_999_999, ["<record_too_large>"])):
        (batch,) = read_text(source_of("a", "text"), whole(tmp_path / "a.txt"), max_record_bytes=limit)
        assert texts_and_rules(batch.to_pylist()) == expected
        assert batch.to_pylist()[0]["threshold"] == (None if limit == 3_000_000 else limit)


TEXTS = {
    "gb18030": "\u6625\u7720\u4e0d\u89c9\u6653\uff0c\u5904\u5904\u95fb\u557c\u9e1f\u3002\u591c\u6765\u3002",
    "shift_jis": "\u543e\u8f29\u306f\u732b\u3067\u3042\u308b\u3002\u540d\u524d\u306f\u307e\u3060\u7121\u3044\u3002",
    "windows-1251": "\u0441\u0447\u0430\u0441\u0442\u043b\u0438\u0432\u044b\u0435 \u0441\u0435\u043c\u044c\u0438.",
    "iso-8859-1": "Longtemps, je me suis couch\u00e9 de bonne heure; \u00e0 peine ma bougie \u00e9teinte.",
    "utf-16": "Call me Ishmael. Some years ago, never mind how long, \u2019twas so.",
}


@pytest.mark.parametrize("name", TEXTS)
def test_other_encodings(tmp_path, name):
    """Text in the encodings of the old web is read, and metadata says what it was taken for."""
    text = f"# Title\n\n{TEXTS[name] * 4}\n"
    (tmp_path / "a.txt").write_bytes(text.encode(name))
    (row,) = read(tmp_path / "a.txt", "text")
    assert row["text"] == text
    taken = json.loads(row["metadata"])["encoding"]
    assert text.encode(taken, "replace").decode(taken) == text
    (tmp_path / "a.txt").write_bytes(text.encode())
    assert read(tmp_path / "a.txt", "text")[0]["metadata"] is None
