"""A deleted document beside its survivor: the texts come back whole, and the changes are where the words changed."""

import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pipeline.corpus import run_stages
from tests.pipeline.test_dedup import configure, read, write
from transforms import twin
from transforms.twin import Change, twin_difference, word_changes

drawn_texts = st.lists(st.sampled_from(["a", "b", "a ", "b  ", "c\n", "\n", " ", "\u4e2d\u3000"]), max_size=12).map(
    "".join
)


@settings(max_examples=200, deadline=None)
@given(drawn_texts, drawn_texts, st.sampled_from([0, 1 << 28]))
def test_changes_give_back_both_texts(deleted, survivor, most_pairs):
    """Joined, each side is its text; equal stretches are equal, others differ; by words and by lines."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(twin, "_MOST_PAIRS", most_pairs)
        changes = word_changes(deleted, survivor)
    assert "".join(change.deleted for change in changes) == deleted
    assert "".join(change.survivor for change in changes) == survivor
    assert all((change.deleted == change.survivor) == (change.kind == "equal") for change in changes)


def test_changes_are_words():
    """One word replaced, one inserted, the rest in stretches."""
    assert word_changes("the old house stands\nhere", "the new house still stands\nhere") == [
        Change("equal", "the ", "the "),
        Change("replace", "old ", "new "),
        Change("equal", "house ", "house "),
        Change("insert", "", "still "),
        Change("equal", "stands\nhere", "stands\nhere"),
    ]


def test_a_deleted_document_is_shown_beside_its_survivor(tmp_path):
    """In the same run, in an earlier one, and in an earlier one whose text is gone."""
    words = [f"word{number}" for number in range(80)]
    near = [*words[:40], "changed", *words[41:]]
    write(tmp_path / "old.jsonl", [{"text": " ".join(words)}, {"text": " ".join(near)}, {"text": "alone"}])
    write(tmp_path / "new.jsonl", [{"text": "fresh"}, {"text": " ".join(words)}])
    run_stages(configure(tmp_path, "first", {}, old=tmp_path / "old.jsonl"), last="dedup")
    first = str(tmp_path / "first")
    run_stages(configure(tmp_path, "second", {"against": [first]}, new=tmp_path / "new.jsonl"), last="dedup")
    second = str(tmp_path / "second")
    ids = [row["doc_id"] for row in read(first, "clean", "documents")]
    found = twin_difference(first, ids[1])
    assert (found.reason, found.twin_run, found.twin_id) == ("minhash", None, ids[0])
    assert 0.75 <= found.similarity < 1
    assert (found.deleted_text, found.survivor_text) == (" ".join(near), " ".join(words))
    assert [change for change in found.changes if change.kind != "equal"] == [Change("replace", "changed ", "word40 ")]
    assert twin_difference(first, ids[0]) is None
    assert twin_difference(first, 1 << 60) is None

    copy = read(second, "clean", "documents")[1]["doc_id"]
    found = twin_difference(second, copy)
    assert (found.reason, found.twin_run, found.twin_id) == ("exact", first, ids[0])
    assert found.changes == (Change("equal", " ".join(words), " ".join(words)),)
    shutil.rmtree(tmp_path / "first" / "documents")
    assert twin_difference(second, copy) == found._replace(survivor_text=None, changes=())
