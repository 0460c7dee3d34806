"""Labelled texts from files."""

import csv
import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.pretrain.labelled import Labelled, read_labelled

ROWS = [{"text": 'a "b", c', "label": 1, "more": "x"}, {"text": "d\u00e9\u4e2d", "label": 0, "more": "y"}]
WANTED = Labelled(['a "b", c', "d\u00e9\u4e2d"], ["", ""], ["1", "0"])


def _write(path, rows=ROWS):
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
        return path
    if ".jsonl" in path.suffixes:
        text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n\n"
    elif ".csv" in path.suffixes:
        quoted = ['"' + str(row["text"]).replace('"', '""') + f'",{row["label"]},{row["more"]}' for row in rows]
        text = "\ufefftext,label,more\n" + "\n".join(quoted)
    else:
        text = "text\tlabel\tmore\n" + "\n".join(
            '"' + str(row["text"]).replace('"', '""') + f'"\t{row["label"]}\t{row["more"]}' for row in rows
        )
    data = text.encode()
    if path.suffix == ".gz":
        data = gzip.compress(data)
    elif path.suffix == ".zst":
        data = pa.compress(data, codec="zstd", asbytes=True)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.csv", "a.csv.gz", "a.tsv", "a.parquet"])
def test_formats(tmp_path, name):
    """Every format gives the same examples; labels are names, numbers or not."""
    path = _write(tmp_path / name)
    assert read_labelled(path) == WANTED
    assert read_labelled(path, other="more").others == ["x", "y"]
    assert read_labelled(path, text="more", label="text").labels == WANTED.texts


@pytest.mark.parametrize(
    ("name", "rows", "words"),
    [
        ("a.jsonl", [{"text": "x", "label": None}], "row 1 has no 'label'"),
        ("a.jsonl", [{"txt": "x", "label": "1"}], "row 1 has no 'text' (its columns: txt, label)"),
        ("a.jsonl", [{"text": "x", "label": float("nan")}], "row 1 has no 'label'"),
        ("a.jsonl", [*ROWS, {"text": "", "label": " "}], "row 3 has an empty 'label'"),
        ("a.jsonl", [{"text": "x", "label": [1, 2]}], "row 1 has more than one value as 'label' ([1, 2])"),
        ("a.jsonl", [{"text": ["x", "y"], "label": 1}], "row 1 has more than one value as 'text'"),
        ("a.jsonl", [{"text": "x", "label": 3.2}], "row 1 has the label 3.2, which is no class but a measure"),
        ("a.jsonl", [], "no rows"),
        ("a.xlsx.jsonl.xlsx", ROWS, "not from '.xlsx'"),
    ],
)
def test_mistakes(tmp_path, name, rows, words):
    """A missing column, an empty label, no rows or another format are each one line."""
    path = tmp_path / name
    path.write_text("\n".join(json.dumps(row) for row in rows))
    with pytest.raises(ValueError) as caught:
        read_labelled(path)
    assert words in str(caught.value)


@pytest.mark.parametrize("separator", ["\u2028", "\u0085", "\x0b", "\x0c"])
def test_only_line_feeds_end_a_line(tmp_path, separator):
    """Other characters at which str.splitlines cuts are text, in JSONL (where JSON allows them) and in CSV."""
    text = f"one{separator}two"
    if separator > "\x1f":  # JSON must escape control characters
        path = tmp_path / "a.jsonl"
        path.write_text(json.dumps({"text": text, "label": 1}, ensure_ascii=False) + "\r\n", newline="")
        assert read_labelled(path).texts == [text]
    path = tmp_path / "a.csv"
    path.write_text(f'text,label\n{text},1\n"{text}\r\nthree",2\n', newline="")
    assert read_labelled(path).texts == [text, f"{text}\r\nthree"]


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.jsonl", b'{"text": "x", "label": 1}\n[1]\n', "row 2 is no JSON object"),
        ("a.jsonl", b'{"text": "x", "label": 1}\n\n{"text": \n', "row 2 is not JSON"),
        ("a.csv", b"text,label\nx,1\ncaf\xe9,2\n", "line 3 is not UTF-8 (byte 0xe9)"),
        ("a.jsonl.gz", b"no gzip at all", "cannot be read"),
        ("a.jsonl.gz", gzip.compress(b'{"text": "x", "label": 1}\n' * 99, mtime=0)[:-20], "cannot be read"),
        ("a.parquet", b"PAR1", "cannot be read"),
        ("a.csv", None, "a directory"),
        ("a.parquet", None, "a directory"),
    ],
)
def test_unreadable_files(tmp_path, name, data, words):
    """One line that names the file, and the row where there is one."""
    path = tmp_path / name
    path.mkdir() if data is None else path.write_bytes(data)
    with pytest.raises(ValueError) as caught:
        read_labelled(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    with pytest.raises(ValueError, match="cannot be read"):
        read_labelled(tmp_path / "missing.jsonl")


def test_a_long_field(tmp_path):
    """A text of a CSV file may be longer than the 128 Ki characters that the module allows by itself."""
    csv.field_size_limit(1 << 17)  # other packages raise it for the whole process
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + "x" * (1 << 18) + ",2\n")
    assert len(read_labelled(path).texts[0]) == 1 << 18


def test_an_empty_text_is_one(tmp_path):
    """Corpora of questions hold some; only without a label there is nothing to learn."""
    path = tmp_path / "a.csv"
    path.write_text("text,label\n,1\nx,2\n")
    assert read_labelled(path) == Labelled(["", "x"], ["", ""], ["1", "2"])


def test_whole_numbers_are_one_class_however_they_are_stored(tmp_path):
    """A column of whole numbers with a gap somewhere is one of floats in Parquet and pandas."""
    (tmp_path / "a.jsonl").write_text('{"text": "x", "label": 1}\n{"text": "y", "label": 1.0}\n')
    pq.write_table(pa.table({"text": ["x", "y"], "label": [1.0, 2.0]}), tmp_path / "b.parquet")
    assert read_labelled(tmp_path / "a.jsonl").labels == ["1", "1"]
    assert read_labelled(tmp_path / "b.parquet").labels == ["1", "2"]
