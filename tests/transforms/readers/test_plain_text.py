"""transforms.readers.plain_text: a file is a document."""

import gzip

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
        ("a.txt", b"good \xff bad", "bad_utf8", 5),
        ("a.txt", "utf-16".encode("utf-16"), "bad_utf8", 0),
        ("a.txt.gz", gzip.compress(b"text" * 100)[:-1], "truncated_gzip", 32),
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
