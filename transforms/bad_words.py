"""Bad words by list: a document with one of them is rejected, or kept with a chance that is a hash of its address.

The rule of C4 in TFDS 3.1: the list of the document's language, whole words but in Japanese, Thai and Chinese. Where
there is no address, which C4 always has, the hash is that of the text.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import pyarrow as pa

from transforms import storage
from transforms.kernels.phrases import Phrases, compiled, contain_any
from transforms.kernels.pii_classes import word_table
from transforms.kernels.strings import string_views
from transforms.page_url import normalised_urls
from transforms.schema import alive_mask, count_edits, reject
from transforms.word_lists import list_version, read_list

RULE = "badwords"
EVERY = ""  # the language of a list that is for all documents

_WITHOUT_SPACES = frozenset({"ja", "th", "zh", "jpn", "tha", "zho", "cmn"})
# Entries of the usual lists that would filter more than a tenth of their language.
_ALLOWED = {"ja": {"sm", "\u30b0\u30ed", "\u5973\u306e\u5b50"}, "zh": {"\u6027"}}
_LANGUAGE = re.compile(r"([a-z]{2,3})(?:[-_][A-Za-z0-9_-]+)?(?:\.txt)?")


def list_paths(path: str) -> dict[str, list[str]]:
    """Return the files of lists by language: those in a directory are named after it (`en`, `fr-CA-u-sd-caqc`).

    A file, or anything behind a URL, is one list for all documents. Regional lists are part of those of
    their language; other names are ignored.

    Raises:
        ValueError: neither a file nor a directory with such files.
    """
    if not storage.is_local(path) or storage.local_path(path).is_file():
        return {EVERY: [path]}
    paths: dict[str, list[str]] = {}
    for name in storage.list_names(path):
        if found := _LANGUAGE.fullmatch(name):
            paths.setdefault(found[1], []).append(storage.join(path, name))
    if not paths:
        raise ValueError(f"bad words: {path} is neither a list nor a directory of lists named after languages")
    return paths


@dataclass(frozen=True, kw_only=True)
class FilterBadWords:
    """Rejects documents with a word of the list of their language; a function of a batch.

    Args:
        path: of a list, or of a directory with one for each language.
        fraction: of the documents with such a word that are rejected; the others are counted as edits.
    """

    path: str
    fraction: float = 1.0

    @cached_property
    def _lists(self) -> Mapping[str, Phrases]:
        """The lists by language; read when the first batch comes, so that they are not pickled."""
        paths = [(language, path) for language, files in list_paths(self.path).items() for path in files]
        return _compiled_lists(tuple(paths), tuple(list_version(path) for _, path in paths))

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        offsets_N1, text = string_views(batch.column("text"))
        found_N = np.zeros(batch.num_rows, np.bool_)
        base_N = np.array([re.split("[-_]", name or "")[0] for name in batch.column("language").to_pylist()], object)
        for language, phrases in self._lists.items():
            skip_N = ~alive_mask(batch) | ((base_N != language) & (language != EVERY))
            if not skip_N.all():
                contain_any(offsets_N1, text, skip_N, *phrases, word_table(), language in _WITHOUT_SPACES, found_N)
        spared_N = np.zeros(batch.num_rows, np.bool_)
        if self.fraction < 1:
            hits_D = np.flatnonzero(found_N)
            hits = batch.take(pa.array(hits_D))
            urls, texts = normalised_urls(hits.column("url")).to_pylist(), hits.column("text").to_pylist()
            spared_N[hits_D] = [_is_spared(url or text, self.fraction) for url, text in zip(urls, texts, strict=True)]
            batch = count_edits(batch, {"badwords.soft_passed": spared_N.astype(np.int32)})
        return reject(batch, RULE, where_N=found_N & ~spared_N)


@lru_cache(maxsize=1)
def _compiled_lists(
    paths: tuple[tuple[str, str], ...],
    versions: tuple[str, ...],  # noqa: ARG001 - part of the key
) -> dict[str, Phrases]:
    words: dict[str, list[str]] = {}
    for language, path in paths:
        allowed = _ALLOWED.get(language, ())
        words.setdefault(language, []).extend(word for word in read_list(path) if word not in allowed)
    return {language: compiled(entries) for language, entries in words.items()}


def _is_spared(hashed: str, fraction: float) -> bool:
    rejected, of = fraction.as_integer_ratio()
    return int(hashlib.md5(hashed.encode(), usedforsecurity=False).hexdigest(), 16) % of >= rejected
