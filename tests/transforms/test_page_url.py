"""URLs as keys, timestamps, and which page of a URL is kept."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.page_url import lower_host, newest, normalised_urls, timestamps, url_rows


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://www.example.org/a/", "example.org/a"),
        ("http://example.org/a//", "example.org/a"),
        ("http://web.archive.org/https://www.example.org", "web.archive.org/example.org"),
        ("http://example.org/?utm_source=x&y=1", "example.org"),
        ("http://example.org/a?ref=1/", "example.org/a"),
        ("http://example.org/a?feed=rss\nx", "example.org/a"),
        ("http://example.org/a?x=1&utm_source=y", "example.org/a?x=1&utm_source=y"),
        ("HTTP://Example.org/A", "HTTP://Example.org/A"),
        ("https://www.", ""),
        (None, None),
    ],
)
def test_normal_form_of_c4(url, expected):
    """The three steps of TFDS, in its order; case is left alone, as there."""
    assert normalised_urls(pa.array([url], pa.string())).to_pylist() == [expected]


def test_hosts_have_no_case():
    """Scheme and host in small letters, the rest as it was, with a scheme and without."""
    urls = ["HTTP://WWW.E.Org/A?Q", "E.Org", "E.Org:80/A//B\nC", "https://E.Org?Q=http://X", "", None]
    lower = ["http://www.e.org/A?Q", "e.org", "e.org:80/A//B\nC", "https://e.org?Q=http://X", "", None]
    assert lower_host(pa.array(urls)).to_pylist() == lower


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (None, -1),
        ("{}", -1),
        ('{"date": null}', -1),
        ('{"date": "soon"}', -1),
        ('{"timestamp": "2021-03-04T05:06:07Z"}', 20210304050607),
        ('{"date": "2021-03-04T05:06:07.999Z"}', 20210304050607),
        ('{"warc_date": "20210304050607"}', 20210304050607),
        ('{"date": "2021-03-04", "timestamp": "2020"}', 20200000000000),
        ('{"timestamp": 20210304}', 20210304000000),
        ('{"timestamp": {"a": 1}}', -1),
        ('{"timestamp": "2021", "a": "\\ud83d"}', -1),
        ('["2021"]', -1),
    ],
)
def test_timestamps(metadata, expected):
    """The first fourteen digits of what the metadata calls its time."""
    assert timestamps(pa.array([metadata], pa.string())).tolist() == [expected]


def test_documents_without_url_have_no_entry():
    """Null, empty, and what is empty once it is normalised."""
    urls = pa.array([None, "http://a.org", "", "https://", "a.org/"], pa.string())
    run = url_rows(urls, pa.array(['{"date": "2021"}'] * 5), 7)
    assert run.column("row").to_pylist() == [8, 11]
    assert len(set(run.column("key").to_pylist())) == 1
    assert run.column("time").to_pylist() == [20210000000000] * 2
    assert url_rows(urls[:1], pa.nulls(1, pa.string()), 0).num_rows == 0


entries = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1), st.integers(-1, 2), st.integers(0, 2)), max_size=30)


@settings(max_examples=200, deadline=None)
@given(entries, st.randoms(use_true_random=False))
def test_the_newest_page_is_kept(drawn, random):
    """Of each URL the smallest level, then the newest, then the smallest dense index, in whatever order they come."""
    rows = [(*entry, dense) for dense, entry in enumerate(drawn)]
    groups = {}
    for key, check, time, level, dense in rows:
        groups.setdefault((key, check), []).append((level, -time, dense))
    expected = {member[2]: min(group)[2] for group in groups.values() for member in group if member != min(group)}
    random.shuffle(rows)
    columns = [np.array([row[i] for row in rows]) for i in range(5)]
    key_E, check_E, time_E, level_E, dense_E = columns
    older_L, kept_L = newest(
        key_E.astype(np.uint64), check_E.astype(np.uint64), time_E.astype(np.int64), dense_E.astype(np.uint32),
        level_E.astype(np.int64),
    )  # fmt: skip
    assert dict(zip(older_L.tolist(), kept_L.tolist(), strict=True)) == expected
    assert older_L.dtype == kept_L.dtype == np.uint32
