"""transforms.word_lists: one entry a line."""

import pickle

import pyarrow as pa
import pytest

from tests.transforms.batches import batch_of
from transforms import bad_words, url_filter
from transforms.bad_words import FilterBadWords
from transforms.schema import set_column
from transforms.url_filter import FilterUrls
from transforms.word_lists import read_list


def test_lines_without_comments(tmp_path):
    """White space around entries, empty lines and comments are no entries; a byte order mark is none either."""
    path = tmp_path / "list"
    path.write_bytes("\ufeffone\r\n\n  two words \n# three\n#four\n".encode())
    assert read_list(str(path)) == ["one", "two words"]
    with pytest.raises(FileNotFoundError):
        read_list(str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("module", "option", "make", "rule"),
    [(url_filter, "urls", FilterUrls, "url"), (bad_words, "path", FilterBadWords, "badwords")],
)
def test_a_process_reads_a_list_once(tmp_path, monkeypatch, module, option, make, rule):
    """Each unit brings a copy of the filter; a list that has changed since is read again."""
    read = []
    monkeypatch.setattr(module, "read_list", lambda path: read.append(path) or read_list(path))
    path = tmp_path / "list"
    path.write_text("darn\n")
    unit = pickle.dumps(make(**{option: str(path)}))
    batch = set_column(batch_of(["darn"]), "url", pa.array(["darn"]))
    assert [pickle.loads(unit)(batch).column("rule").to_pylist() for _ in range(3)] == [[rule]] * 3
    assert len(read) == 1
    path.write_text("another\n")
    assert pickle.loads(unit)(batch).column("rule").to_pylist() == [None]
