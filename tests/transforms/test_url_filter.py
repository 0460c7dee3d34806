"""transforms.url_filter: datatrove's rules, each on URLs made for it."""

import pyarrow as pa
import pytest

from tests.transforms.batches import batch_of
from transforms.schema import set_column
from transforms.url_filter import FilterUrls, host_of


@pytest.fixture
def rule(tmp_path):
    lists = {
        "domains": "Bad.co.uk\nevil.nice.com\nlisted.org\n127.0.0.1\n",
        "urls": "https://fine.org/but/not/this?x=1\n",
        "words": "# comment\nca-sino\nPills\n",
        "soft_words": "free\nwin\nnow\n",
        "subwords": "t0rrent\nwarez\n",
    }
    for name, lines in lists.items():
        (tmp_path / name).write_text(lines)
    return FilterUrls(**{name: str(tmp_path / name) for name in lists}).rule


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://bad.co.uk/", "domain"),
        ("https://deep.shop.bad.co.uk:8080/a?b", "domain"),
        ("https://notbad.co.uk/", None),
        ("https://user:secret@LISTED.org", "domain"),
        ("https://evil.nice.com/x", "subdomain"),
        ("https://nice.com/x", None),
        ("https://a.evil.nice.com/x", None),  # the host that is listed, and none below it
        ("http://127.0.0.1/", None),  # no registered domain
        ("https://fine.org/but/not/this?x=1", "url"),
        ("https://fine.org/but/not/this?x=2", None),
        ("https://fine.org/casino/", "hard_blacklisted"),
        ("https://fine.org/buy-pills_now", "hard_blacklisted"),
        ("https://fine.org/Pills", None),  # compared with lower-case lists as they stand
        ("https://fine.org/casinos", None),
        ("https://fine.org/win/now", "soft_blacklisted"),
        ("https://fine.org/win/win", None),
        ("https://fine.org/a.t0r-RENT.b", "blacklisted_subword"),
        ("https://softwarezone.org/", "blacklisted_subword"),  # across the borders of words
        ("https://fine.org/page", None),
        ("", None),  # datatrove rejects it; a book has none
        (None, None),
    ],
)
def test_each_rule(rule, url, expected):
    """The first rule that a URL breaks is its reason."""
    assert rule(url) == expected


def test_hosts():
    """User, port and path are no part of it."""
    assert host_of("https://a:b@www.Example.com.:80/x@y") == "www.example.com"
    assert host_of("example.org?x") == "example.org"


def test_rows_that_are_alive_are_looked_at(tmp_path):
    """Rules are written where there is none yet; documents without a URL pass."""
    (tmp_path / "urls").write_text("https://x.org/1\n")
    urls = pa.array(["https://x.org/1", "https://x.org/2", None, "https://x.org/1"], pa.string())
    batch = set_column(batch_of(list("abcd"), [None, None, None, "language"]), "url", urls)
    out = FilterUrls(urls=str(tmp_path / "urls"))(batch)
    assert out.column("rule").to_pylist() == ["url", None, None, "language"]
