"""Repeated lines and substrings in real text: speed of each pass a core, memory of a partition, and what is cut.

    python tests/bench/spans.py [--data ../shared/data] [--repeats 3]

English documentation and books, one process, processor time, median of the repetitions. Memory is the anonymous peak
above the start while one partition of SEGMENT entries is grouped, a third of them repetitions.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import zstandard
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.dedup_spans import SEGMENT
from tests.bench.dedup import mix, peak_anonymous
from transforms.spans import (
    anchor_spans,
    cut_texts,
    line_spans,
    repeated_anchors,
    repeats,
    window_cuts,
    window_spans,
)

ENGLISH = ("python-docs/en", "perl-doc/en", "libreoffice-help/en-us", "nltk-public-domain/en")
LENGTH = 200


def main() -> None:
    """Print a row for each pass."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, default=Path(__file__).parents[3] / "shared" / "data")
    options.add_argument("--repeats", type=int, default=3)
    given = options.parse_args()
    repeats(*partition(16), keep=1)  # compiles
    columns = partition(SEGMENT)
    with peak_anonymous() as peak:
        repeats(*columns, keep=1)
    print(f"{peak[0] / SEGMENT:.0f} bytes of anonymous memory an entry of a partition, beside its own 24\n")
    found = []
    for name in ENGLISH:
        with zstandard.open(given.data / "text" / f"{name}.jsonl.zst", "rt", encoding="utf-8") as lines:
            found += [json.loads(line)["text"] for line in lines]
    texts, row_N = pa.array(found), np.arange(len(found), dtype=np.uint32)
    num_bytes = sum(len(text.encode()) for text in found)
    print(f"{len(found):,} documents, {num_bytes / 1e6:.1f} MB\n\n| pass | entries | MB/s of text | ns an entry |")
    print("|---|---|---|---|")

    def timed(name: str, call: Callable[[], Any]) -> Any:
        seconds = []
        for _ in range(given.repeats + 1):  # the first one compiles
            started = time.process_time()
            made = call()
            seconds.append(time.process_time() - started)
        middle, size = statistics.median(seconds[1:]), made.num_rows
        print(f"| {name} | {size:,} | {num_bytes / middle / 1e6:.0f} | {middle / size * 1e9:.0f} |", flush=True)
        return made

    lines = timed("lines of five words", lambda: line_spans(texts, row_N, paragraphs=False, min_words=5))
    line_columns = [column.to_numpy() for column in lines.columns]
    repeated_lines = timed("repeated lines", lambda: repeats(*line_columns, keep=1))
    marks = timed(f"anchors of {LENGTH} bytes", lambda: anchor_spans(texts, row_N, length=LENGTH))
    mark_columns = [column.to_numpy() for column in marks.columns]
    repeated = timed("repeated anchors", lambda: repeated_anchors(*mark_columns))
    dense_R, start_R = (column.to_numpy() for column in repeated.columns)
    place_R = dense_R.astype(np.uint64) << np.uint64(32) | start_R
    hashed = timed("windows at those", lambda: window_spans(texts, row_N, place_R, length=LENGTH))
    key_E, check_E, start_E, dense_E = (column.to_numpy() for column in hashed.columns)
    stop_E = start_E + np.uint32(LENGTH)
    twice = timed("repeated windows", lambda: repeats(key_E, check_E, start_E, stop_E, dense_E, keep=1))
    for name, spans in (
        ("lines", line_cuts(repeated_lines)),
        ("substrings", window_cuts(twice, texts, 0, length=LENGTH)),
    ):
        left = cut_texts(texts, *spans[:3])
        share = (texts.nbytes - left.nbytes) / num_bytes
        print(f"\n{name}: {len(spans[0]):,} spans, {share:.1%} of the text", end="")
    print()


def partition(size: int) -> list[NDArray[Any]]:
    """Return the columns of LINE_RUN of one partition; half of the keys occur twice."""
    entry_E = np.arange(size, dtype=np.uint64)
    first_E = np.zeros(size, np.uint32)
    return [mix(entry_E % np.uint64(size * 2 // 3)), first_E, first_E, first_E, entry_E.astype(np.uint32)]


def line_cuts(repeated: pa.Table) -> tuple[Any, ...]:
    """Return rows, starts and stops of repeated lines."""
    dense_S, start_S, stop_S = (column.to_numpy() for column in repeated.columns[:3])
    return dense_S.astype(np.int64), start_S, stop_S


if __name__ == "__main__":
    main()
