"""transforms.readers.delimited: records of CSV and TSV, broken quotes included."""

import csv
import io
import json
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.transforms.readers.reading import COMPRESS, SUFFIX, read, source_of, texts_and_rules, whole
from transforms.readers.delimited import read_delimited

GOOD = b'9,"a good\none"\n'


def write(tmp_path, data, name="x.csv"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def test_records(tmp_path):
    """Text, address, place and the other cells arrive; quotes may hold delimiters, quotes and newlines."""
    data = b"\xef\xbb\xbfid,text,url\r\n"
    records = [b'1,"a, ""b""\r\nc",u\r\n', b"\r\n", 'two,caf\u00e9 \U0001f600,""\n'.encode(), b'3,a "b" c\0,']
    path = write(tmp_path, data + b"".join(records))
    rows = read(path, "csv")
    assert texts_and_rules(rows) == ['a, "b"\r\nc', "caf\u00e9 \U0001f600", 'a "b" c\0']
    assert [row["url"] for row in rows] == ["u", None, None]
    assert [json.loads(row["metadata"]) for row in rows] == [{"id": "1"}, {"id": "two"}, {"id": "3"}]
    offsets = [data + b"".join(records[:index]) for index in (0, 2, 3)]
    assert [row["location"] for row in rows] == [f"{path}#{len(before)}" for before in offsets]


def test_one_bad_record_costs_no_other(tmp_path):
    """Each kind of broken record is a row with its rule, place and beginning, and what follows comes out."""
    bad = {
        b"1,2,3": "wrong_columns",
        b"1": "wrong_columns",
        b'1,"a" b': "bad_csv",
        b'1,"never closed': "bad_csv",
        b'"': "bad_csv",
        b"1,\xff": "bad_utf8",
        b'1,"\xff" b': "bad_utf8",
    }
    for line, rule in bad.items():
        path = write(tmp_path, b"id,text\n" + GOOD + line + b"\n" + GOOD * 2)
        rows = read(path, "csv")
        assert texts_and_rules(rows) == ["a good\none", f"<{rule}>", "a good\none", "a good\none"], line
        assert (rows[1]["location"], rows[1]["text"]) == (f"{path}#{8 + len(GOOD)}", line.decode(errors="replace"))
        if rule == "wrong_columns":
            assert (rows[1]["value"], rows[1]["threshold"]) == (line.count(b",") + 1, 2)
        else:
            assert rows[1]["value"] == len(line)


def test_quote_that_closes_far_below(tmp_path):
    """A record that breaks lines later gives back every line behind its first."""
    data = b'id,text\n1,"open\n2,b\n3,c\n4,"d" e\n5,f\n'
    assert texts_and_rules(read(write(tmp_path, data), "csv")) == ["<bad_csv>", "b", "c", "<bad_csv>", "f"]
    data = b'id,text\n1,"open\n2,b\n3,"x\n4,d\n'
    assert texts_and_rules(read(write(tmp_path, data), "csv")) == ["<bad_csv>", "b", "<bad_csv>", "d"]
    data = b'id,text\n1,"open\n2,b\n\n3,c\n4,"x" "y\n5"\n'  # the line that breaks begins anew
    assert texts_and_rules(read(write(tmp_path, data), "csv")) == [
        "<bad_csv>",
        "b",
        "c",
        "<bad_csv>",
        "<wrong_columns>",
    ]


def test_tsv(tmp_path):
    """Tabs separate; a line whose quotes are mere characters is taken as it stands."""
    data = b'id\ttext\n1\t"a\tb\nc"\n2\t"Well," he said\n3\tplain\r\n4\t"half\r\n5\t"x" y\tz\n'
    rows = read(write(tmp_path, data), "tsv")
    assert texts_and_rules(rows) == ["a\tb\nc", '"Well," he said', "plain", '"half', "<bad_csv>"]


@pytest.mark.parametrize("name", [b"id,title", b'id,"text" x', b"id,t\xffxt", b'"text'])
def test_names_without_text(tmp_path, name):
    """Where the first line names no text each record is a row, and none of them is taken for names."""
    rows = read(write(tmp_path, name + b"\n1,a\n2,b\n"), "csv")
    rules = {row["rule"] for row in rows[-2:]}
    assert rules == ({"missing_text"} if name == b"id,title" else {"wrong_columns"})
    assert len(rows) == (2 if name == b"id,title" else 3)


@pytest.mark.parametrize("data", [b"", b"\n\n", b"id,text\n", b"id,text"])
def test_empty_file(tmp_path, data):
    """A file without a record is one row that says so."""
    assert texts_and_rules(read(write(tmp_path, data), "csv")) == ["<empty_file>"]


@pytest.mark.parametrize("codec", COMPRESS)
def test_compressed_and_truncated(tmp_path, codec):
    """Compressed files read the same; of a truncated one every whole record comes out."""
    data = b"id,text\n" + b"".join(b'%d,"text\n%d"\n' % (number, number * 7919) for number in range(5000))
    expected = [f"text\n{number * 7919}" for number in range(5000)]
    stored = COMPRESS[codec](data)
    assert texts_and_rules(read(write(tmp_path, stored, "x.csv" + SUFFIX[codec]), "csv")) == expected
    rows = texts_and_rules(read(write(tmp_path, stored[:-20], "x.csv" + SUFFIX[codec]), "csv"))
    assert rows[-1] == f"<truncated_{codec}>"
    good = [text for text in rows if not text.startswith("<")]
    assert good == expected[: len(good)]
    assert len(rows) - len(good) <= 2  # the cut, and a record whose quote it left open


def read_with_limit(path, limit):
    batches = read_delimited(source_of(path, "csv"), whole(path), max_record_bytes=limit)
    return [row for batch in batches for row in batch.to_pylist()]


def test_record_too_large(tmp_path):
    """A line above the limit is a row with its length; a record of short lines that never ends costs its first."""
    long = b"1," + b"x" * 3_000_000
    path = write(tmp_path, b"id,text\n2,a\n" + long + b"\n3,b\n")
    rows = read_with_limit(path, 2_999_999)
    assert texts_and_rules(rows) == ["a", "<record_too_large>", "b"]
    assert (rows[1]["value"], rows[1]["threshold"]) == (3_000_002, 2_999_999)
    assert len(read_with_limit(path, 3_000_002)[1]["text"]) == 3_000_000
    path = write(tmp_path, b'id,text\n1,"open\n' + long + b"\n3,b\n")
    assert texts_and_rules(read_with_limit(path, 1000)) == ["<bad_csv>", "<record_too_large>", "b"]
    path = write(tmp_path, b'id,text\n1,"open\n' + b"2,a\n" * 1000 + b'3,"b\n"\n')
    assert texts_and_rules(read_with_limit(path, 1000)) == ["<bad_csv>", *["a"] * 1000, "b\n"]


def test_record_at_the_limit(tmp_path):
    """The lines of a record count together, newlines too."""
    path = write(tmp_path, b'a,text\n1,"2\n345"\n')
    assert texts_and_rules(read_with_limit(path, 9)) == ["2\n345"]
    assert texts_and_rules(read_with_limit(path, 8)) == ["<bad_csv>", "<wrong_columns>"]


def test_hostile_quotes_cost_linear_time(tmp_path):
    """Lines that each could open a record without end are not read again for each of them."""
    path = write(tmp_path, b"a,b\n" + b'"a","b\n' * 2 + b'a","b\n' * 200_000)
    started = time.process_time()
    rows = read(path, "csv")
    assert time.process_time() - started < 20
    assert len(rows) == 200_002
    assert {row["rule"] for row in rows} == {"bad_csv"}


CELL = st.text(st.sampled_from('ab,"\n\t \u00e9\0'), max_size=6)


@settings(max_examples=200, deadline=None)
@given(records=st.lists(st.tuples(CELL, CELL), max_size=8), tabs=st.booleans(), crlf=st.booleans())
@example(records=[("", "")], tabs=False, crlf=True)
def test_what_the_standard_library_writes(tmp_path_factory, records, tabs, crlf):
    """Any cells that the standard library writes come back."""
    sink = io.StringIO()
    writer = csv.writer(sink, delimiter="\t" if tabs else ",", lineterminator="\r\n" if crlf else "\n")
    writer.writerows([("id", "text"), *records])
    form = "tsv" if tabs else "csv"
    path = write(tmp_path_factory.mktemp("delimited"), sink.getvalue().encode(), "x." + form)
    rows = read(path, form)
    assert texts_and_rules(rows) == ([text for _, text in records] or ["<empty_file>"])
    assert [json.loads(row["metadata"])["id"] for row in rows if row["metadata"]] == [name for name, _ in records]


@settings(max_examples=200, deadline=None)
@given(
    pieces=st.lists(st.sampled_from([b"1,a", b'"', b",", b"\n", b'1,"b\n', b"\xff", b'2,"c"\n', b"3,d\n"]), max_size=30)
)
def test_no_line_is_lost(tmp_path_factory, pieces):
    """Every line that is a record of its own, before and behind lines without quotes, comes out whatever precedes."""
    data = b"id,text\n" + b"".join(pieces) + b"\n0,x\n9,end\n8,end\n"
    rows = read(write(tmp_path_factory.mktemp("delimited"), data), "csv")
    assert texts_and_rules(rows)[-2:] == ["end", "end"]
    places = [int(row["location"].rsplit("#", 1)[1]) for row in rows]
    assert places == sorted(set(places))
