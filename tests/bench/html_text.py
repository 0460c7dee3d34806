"""HTML to text: quality and speed of our extractors beside the libraries' own defaults. Prints Markdown tables.

    python -m tests.bench.html_text [--rounds 3]

Three sets of pages with truth in ../shared/data, none of which the extractors were fitted to:
scrapinghub  97 articles, bodies marked by people: F1 of 4-word shingles, mean over pages, as its authors score
             (the scorer gives the published figures for the published outputs)
trafilatura  470 pages, segments that must and must not be in the output: F1 over segments, as its authors score
documents    868 pages of manuals in 28 languages, whose text is known: F1 of words, mean over pages

All work on one core, from the bytes of a page to text. Speed is MB of HTML in a second of processor time.
"""

import argparse
import json
import re
import statistics
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import bytes_to_str, detect_encoding

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.corpora import read_jsonl
from transforms.html import decode, resiliparse_text, trafilatura_text
from transforms.readers.warc import find_records
from transforms.sandbox import Document

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
WORD = re.compile(r"\w+")

Page = tuple[bytes, Any]
Scores = tuple[float, float, float]  # F1, precision, recall


def truth_pages(name: str) -> list[Page]:
    folder = DATA / "html_truth" / name
    rows = [json.loads(line) for line in (folder / "truth.jsonl").read_text(encoding="utf-8").splitlines()]
    with zipfile.ZipFile(folder / "pages.zip") as pages:
        return [(pages.read(row["file"]), row) for row in rows]


def document_pages() -> list[Page]:
    texts = {row["url"]: row["text"] for path in sorted((DATA / "text").glob("*/*.zst")) for row in read_jsonl(path)}
    path = DATA / "web" / "derived" / "dev-multilang.warc.gz"
    pages = [record for record in find_records(str(path)) if isinstance(record.content, Document)]
    return [(page.content.content, texts[page.url]) for page in pages if page.url in texts]


def f1(precision: float, recall: float) -> Scores:
    return 2 * precision * recall / (precision + recall), precision, recall


def mean_scores(wanted: list[Counter], found: list[Counter]) -> Scores:
    """Mean precision and recall over pages; a page whose side is empty counts on the other side only."""
    hits = [(a & b).total() for a, b in zip(wanted, found, strict=True)]
    precision = statistics.mean(hit / b.total() for hit, b in zip(hits, found, strict=True) if b)
    recall = statistics.mean(hit / a.total() for hit, a in zip(hits, wanted, strict=True) if a)
    return f1(precision, recall)


def shingles(text: str) -> Counter:
    words = WORD.findall(text)
    return Counter(tuple(words[at : at + 4]) for at in range(max(1, len(words) - 3))) if words else Counter()


def score_articles(truth: list[Any], found: list[str]) -> Scores:
    return mean_scores([shingles(row["text"]) for row in truth], [shingles(text) for text in found])


def score_segments(truth: list[Any], found: list[str]) -> Scores:
    there = [segment in text for row, text in zip(truth, found, strict=True) for segment in row["with"]]
    wrong = [segment in text for row, text in zip(truth, found, strict=True) for segment in row["without"]]
    return f1(sum(there) / (sum(there) + sum(wrong)), statistics.mean(there))


def score_words(truth: list[Any], found: list[str]) -> Scores:
    return mean_scores([Counter(WORD.findall(text)) for text in truth], [Counter(WORD.findall(text)) for text in found])


def ours(parser: Callable[[bytes, str], Any]) -> Callable[[bytes], str]:
    def extract(page: bytes) -> str:
        result = parser(page, "")
        return result if isinstance(result, str) else ""

    return extract


def library_text(page: bytes) -> str:
    return bytes_to_str(page, detect_encoding(page, from_html_meta=True) or "utf-8")


def trafilatura(page: bytes, **options: bool) -> str:
    from trafilatura import extract

    return extract(library_text(page), **options) or ""


EXTRACTORS: dict[str, Callable[[bytes], str]] = {
    "**gristmill, resiliparse (default)**": ours(resiliparse_text),
    "resiliparse, main content": lambda page: extract_plain_text(library_text(page), main_content=True),
    "resiliparse, plain": lambda page: extract_plain_text(library_text(page)),
    "**gristmill, trafilatura (option)**": ours(trafilatura_text),
    "trafilatura": trafilatura,
    "trafilatura, fast": lambda page: trafilatura(page, fast=True, include_comments=False),
}
SETS: dict[str, tuple[Callable[[], list[Page]], Callable[[list[Any], list[str]], Scores]]] = {
    "scrapinghub": (lambda: truth_pages("scrapinghub"), score_articles),
    "trafilatura": (lambda: truth_pages("trafilatura"), score_segments),
    "documents": (document_pages, score_words),
}
LEGACY = {
    "wesnoth/ru": ("cp1251", "koi8-r"),
    "wesnoth/ja": ("shift_jis", "euc_jp"),
    "manpages/zh_CN": ("gb18030",),
    "manpages/zh_TW": ("big5",),
    "wesnoth/pl": ("cp1250", "iso8859-2"),
    "wesnoth/de": ("cp1252",),
    "wesnoth/tr": ("cp1254",),
    "libreoffice-help/el": ("iso8859-7",),
}


def print_extraction(rounds: int) -> None:
    cells: dict[str, list[str]] = {name: [] for name in EXTRACTORS}
    sizes = []
    for load, score in SETS.values():
        pages = load()
        num_bytes = sum(len(page) for page, _ in pages)
        sizes.append(f"{len(pages)} pages, {num_bytes / 1e6:.0f} MB")
        for name, extract in EXTRACTORS.items():
            extract(pages[0][0])  # imports
            seconds = []
            for _ in range(rounds):
                start = time.process_time()
                found = [extract(page) for page, _ in pages]
                seconds.append(time.process_time() - start)
            scores = score([truth for _, truth in pages], found)
            speed = num_bytes / 1e6 / statistics.median(seconds)
            cells[name].append(f"{scores[0]:.3f} ({scores[1]:.3f}, {scores[2]:.3f}) | {speed:.0f}")
    heads = [f"{name} ({size}): F1 (P, R) | MB/s" for name, size in zip(SETS, sizes, strict=True)]
    print(f"| extractor | {' | '.join(heads)} |\n|---{'|---' * 2 * len(SETS)}|")
    for name, found in cells.items():
        print(f"| {name} | {' | '.join(found)} |")


def print_encodings() -> None:
    print("\n| undeclared encoding | pages | gristmill | resiliparse |\n|---|---|---|---|")
    for name, encodings in LEGACY.items():
        rows = read_jsonl(DATA / "text" / f"{name}.jsonl.zst")
        for encoding in ("utf-8", *encodings):
            pages = [f"<p>{row['text'][:20_000]}</p>".encode(encoding, "ignore") for row in rows[:300]]
            whole = [page.decode(encoding) for page in pages]
            right = [
                statistics.mean(read(page) == text for page, text in zip(pages, whole, strict=True))
                for read in (lambda page: decode(page, ""), library_text)
            ]
            print(f"| {name} {encoding} | {len(pages)} | {right[0]:.1%} | {right[1]:.1%} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    print_extraction(given.rounds)
    print_encodings()


if __name__ == "__main__":
    main()
