"""transforms.bad_words: the rule of C4 with lists by path."""

import hashlib

import pyarrow as pa
import pytest

from transforms.bad_words import FilterBadWords, list_paths
from transforms.schema import IN_FLIGHT, edit_columns


def rows(*documents, rule=None):
    columns = [
        {"doc_id": i, "text": text, "language": language, "url": url, "source": "s", "location": f"f#{i}", "rule": rule}
        for i, (text, language, url) in enumerate(documents)
    ]
    return pa.RecordBatch.from_pylist(columns, schema=IN_FLIGHT)


@pytest.fixture
def lists(tmp_path):
    directory = tmp_path / "lists"
    directory.mkdir()
    for name, words in {
        "en": "# a comment\ndarn\n\nheck yes\n", "fr": "zut\n", "fr-CA-u-sd-caqc": "crisse\n",
        "zh": "\u6027\n\u574f\u8bdd\n", "README.md": "the\n",
    }.items():  # fmt: skip
        (directory / name).write_text(words, encoding="utf-8")
    return str(directory)


def test_the_list_of_the_language_decides(lists):
    """Regional lists belong to their language, Chinese matches inside of words, allowed entries and others pass."""
    batch = rows(
        ("Darn!", "en", None), ("darned", "en", None), ("zut darn", "de", None), ("zut", "fr", None),
        ("crisse", "fr", None), ("\u4ed6\u8bf4\u574f\u8bdd\u4e86", "zh-cn", None), ("\u6027", "zh-tw", None),
        ("the", "en", None), ("darn", None, None), ("say heck  yes", "en", None),
        ("zut", "fr_Latn", None),
    )  # fmt: skip
    out = FilterBadWords(path=lists)(batch)
    bad = [rule == "badwords" for rule in out.column("rule").to_pylist()]
    assert bad == [True, False, False, True, True, True, False, False, False, False, True]


def test_one_list_for_every_document(lists):
    """A file is for all languages, known or not; rejected rows keep their rule."""
    path = f"{lists}/en"
    out = FilterBadWords(path=path)(rows(("darn", None, None), ("darn", "de", None), ("fine", "en", None)))
    assert out.column("rule").to_pylist() == ["badwords", "badwords", None]
    assert FilterBadWords(path=path)(rows(("darn", None, None), rule="empty")).column("rule").to_pylist() == ["empty"]


def test_a_fraction_is_kept_by_the_hash_of_the_address(lists):
    """Which documents are spared depends on their normalised URL alone, and they are counted; 1 spares none."""
    urls = [f"https://www.example.org/{i}/" for i in range(400)]
    batch = rows(*(("darn", "en", url) for url in urls), ("fine", "en", "u"), ("darn", "en", None))
    assert FilterBadWords(path=lists)(batch).column("rule").null_count == 1
    out = FilterBadWords(path=lists, fraction=0.75)(batch)
    spared = [rule is None for rule in out.column("rule").to_pylist()]
    keys = [int(hashlib.md5(f"example.org/{i}".encode()).hexdigest(), 16) for i in range(400)]
    assert spared[:400] == [key % 4 >= 3 for key in keys]
    assert 70 < sum(spared[:400]) < 130
    assert sum(edit_columns(out)["badwords.soft_passed"].to_pylist()) == sum(spared) - 1


def test_a_fraction_without_addresses_is_kept_by_the_hash_of_the_text(lists):
    """Books have no address: one hash for all would spare all of them, or none."""
    texts = [f"darn {i}" for i in range(400)]
    out = FilterBadWords(path=lists, fraction=0.75)(
        rows(*((text, "en", "" if i % 2 else None) for i, text in enumerate(texts)))
    )
    keys = [int(hashlib.md5(text.encode()).hexdigest(), 16) for text in texts]
    assert [rule is None for rule in out.column("rule").to_pylist()] == [key % 4 >= 3 for key in keys]


def test_no_lists_are_a_mistake(tmp_path):
    """Neither a file nor a directory of lists: one line that says so; a list must be UTF-8."""
    with pytest.raises(ValueError, match="neither a list nor a directory"):
        list_paths(str(tmp_path))
    with pytest.raises(ValueError, match="neither a list nor a directory"):
        list_paths(str(tmp_path / "nowhere"))
    (tmp_path / "en").write_bytes(b"caf\xe9\n")
    with pytest.raises(ValueError, match=r"en is no list of words in UTF-8 \(byte 3\)"):
        FilterBadWords(path=str(tmp_path / "en"))(rows(("a", None, None)))
