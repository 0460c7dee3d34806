"""Pages by their address: rejected for a domain, a URL, or words in it that a list names.

The rules of datatrove's URLFilter, with lists of one's own; hosts are compared in lower case. A document without an
address, such as a book, passes; datatrove rejects it.
"""

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from publicsuffixlist import PublicSuffixList

from transforms.schema import alive_mask, reject
from transforms.word_lists import list_version, read_list

_MOST_SOFT_WORDS = 2  # so many of them are too many

_NONE: frozenset[str] = frozenset()
_SEPARATORS = re.compile(r"[^a-zA-Z0-9]+")


def _words(path: str | None) -> frozenset[str]:
    """Return the words of a list without anything but letters and digits, in lower case."""
    return frozenset(filter(None, (_SEPARATORS.sub("", entry).lower() for entry in read_list(path)))) if path else _NONE


class _Lists(NamedTuple):
    """What the paths of a filter name."""

    domains: frozenset[str]
    urls: frozenset[str]
    words: frozenset[str]
    soft_words: frozenset[str]
    subwords: re.Pattern[str] | None
    suffixes: PublicSuffixList


def host_of(url: str) -> str:
    """Return the host in a URL, in lower case."""
    network = re.split(r"[/?#]", url.split("://", 1)[-1], maxsplit=1)[0]
    return re.sub(r":[0-9]*$", "", network.rsplit("@", 1)[-1]).strip(".").lower()


@dataclass(frozen=True, kw_only=True)
class FilterUrls:
    """Rejects documents by paths of lists; a function of a batch.

    Args:
        domains: registered domains, of which all hosts are meant, and host names, which are meant alone; in any case.
        urls: whole URLs.
        words: one of these between characters that are no letters or digits is too many.
        soft_words: two different ones of these are.
        subwords: parts of the URL without anything but letters and digits, in lower case.
    """

    domains: str | None = None
    urls: str | None = None
    words: str | None = None
    soft_words: str | None = None
    subwords: str | None = None

    @cached_property
    def _lists(self) -> _Lists:
        """The lists; read when the first batch comes, so that they are not pickled."""
        paths = (self.domains, self.urls, self.words, self.soft_words, self.subwords)
        return _read_lists(paths, tuple(list_version(path) for path in paths if path))

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        urls = batch.column("url").to_pylist()
        rules = [self.rule(url) if alive else None for url, alive in zip(urls, alive_mask(batch), strict=True)]
        where_N = np.array([rule is not None for rule in rules], np.bool_)
        return reject(batch, pa.array(rules, pa.string()), where_N=where_N)

    def rule(self, url: str | None) -> str | None:
        """Return the rule that a URL breaks, by datatrove's names, or None."""
        if not url:
            return None
        lists = self._lists
        if lists.domains:
            host = host_of(url)
            registered = lists.suffixes.privatesuffix(host)
            if registered in lists.domains:
                return "domain"
            if registered and host in lists.domains:
                return "subdomain"
        if url in lists.urls:
            return "url"
        pieces = set(_SEPARATORS.split(url))
        if pieces & lists.words:
            return "hard_blacklisted"
        if len(pieces & lists.soft_words) >= _MOST_SOFT_WORDS:
            return "soft_blacklisted"
        if lists.subwords and lists.subwords.search(_SEPARATORS.sub("", url).lower()):
            return "blacklisted_subword"
        return None


@lru_cache(maxsize=1)
def _read_lists(paths: tuple[str | None, ...], versions: tuple[str, ...]) -> _Lists:  # noqa: ARG001 - part of the key
    domains, urls, words, soft_words, subwords = paths
    pieces = sorted(_words(subwords))
    return _Lists(
        frozenset(name.lower() for name in read_list(domains)) if domains else _NONE,
        frozenset(read_list(urls)) if urls else _NONE,
        _words(words),
        _words(soft_words),
        re.compile("|".join(pieces)) if pieces else None,
        PublicSuffixList(accept_unknown=False, only_icann=True),
    )
