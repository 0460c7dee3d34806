"""The quality presets beside datatrove's filters: same verdicts first, then MB/s on one core.

    python tests/bench/quality.py [--data ../shared/data] [--rival-every 10] [--repeats 5]

Needs `pip install datatrove spacy` for the rival's columns. Both judge the same English documents, preset by preset
and as the chain gopher-repetition, gopher-quality, c4-fineweb, fineweb. `same fate` is the share of documents that both
keep or both drop, `same reason` of those that get the same rule or none, `same text` of those both keep. MB/s of
gristmill: `cold` is a first pass, when its memory knows no chunk, `warm` a later one, when it knows every chunk; a long
run lies between.
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tests.corpora import read_jsonl
from transforms.quality import Memory, filter_quality
from transforms.schema import IN_FLIGHT

ENGLISH = (
    "text/python-docs/en", "text/perl-doc/en", "text/libreoffice-help/en-us", "text/nltk-public-domain/en",
    "text/wesnoth/en", "text/wesnoth/en_GB", "text/debian-handbook/en-US",
)  # fmt: skip
CHAIN = ("gopher-repetition", "gopher-quality", "c4-fineweb", "fineweb")
BATCH_BYTES = 16 << 20


def main() -> None:
    """Compare, time and print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, default=Path(__file__).parents[3] / "shared" / "data")
    options.add_argument("--rival-every", type=int, default=10, help="datatrove judges one document in so many")
    options.add_argument("--repeats", type=int, default=5)
    given = options.parse_args()
    texts = [row["text"] for name in ENGLISH for row in read_jsonl(given.data / f"{name}.jsonl.zst")]
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    few = texts[:: given.rival_every]
    few_megabytes = sum(len(text.encode()) for text in few) / 1e6
    print(
        f"{len(texts)} documents, {megabytes:.1f} MB of English; datatrove judged {len(few)}, {few_megabytes:.1f} MB\n"
    )
    print("| presets | same fate | same reason | same text | datatrove MB/s | gristmill cold | warm | warm is |")
    print("|---|---|---|---|---|---|---|---|")
    for name, presets in [*((name, (name,)) for name in CHAIN), ("all four", CHAIN)]:
        started = time.perf_counter()
        theirs = datatrove(few, presets)
        rival = few_megabytes / (time.perf_counter() - started)
        fate, reason, text = agreement(few, presets, theirs)
        cold, warm = rates(texts, presets, given.repeats, megabytes)
        shares = f"{100 * fate:.2f} % | {100 * reason:.2f} % | {100 * text:.2f} %"
        print(f"| {name} | {shares} | {rival:.2f} | {cold:.0f} | {warm:.0f} | {warm / rival:.0f} x |")


def batches(texts: list[str]) -> list[pa.RecordBatch]:
    """Return the documents as batches of the size that the pipeline uses."""
    found, rows, size = [], [], 0
    for i, text in enumerate(texts):
        rows.append({"doc_id": i, "text": text, "source": "", "location": ""})
        size += len(text)
        if size > BATCH_BYTES or i == len(texts) - 1:
            found.append(pa.RecordBatch.from_pylist(rows, schema=IN_FLIGHT))
            rows, size = [], 0
    return found


def rates(texts: list[str], presets: tuple[str, ...], repeats: int, megabytes: float) -> tuple[float, float]:
    """Return MB/s of a first pass with an empty memory, and the median of later ones."""
    given = batches(texts)
    filter_quality(given[0].slice(0, 1), presets=presets)  # compile
    memory, seconds = Memory(max_rows=1 << 30), []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        for batch in given:
            filter_quality(batch, presets=presets, memory=memory)
        seconds.append(time.perf_counter() - started)
    return megabytes / seconds[0], megabytes / statistics.median(seconds[1:])


def datatrove(texts: list[str], presets: tuple[str, ...]) -> list[tuple[str | None, str]]:
    """Return for each document the reason of the first filter that drops it (None: kept), and its text afterwards."""
    from datatrove.data import Document
    from datatrove.pipeline import filters

    makers: dict[str, Any] = {
        "gopher-repetition": filters.GopherRepetitionFilter,
        "gopher-quality": filters.GopherQualityFilter,
        "c4-fineweb": lambda: filters.C4QualityFilter(filter_no_terminal_punct=False),
        "fineweb": filters.FineWebQualityFilter,
    }
    chain = [makers[name]() for name in presets]
    chain[0].filter(Document(text="load the tokeniser", id=""))
    verdicts: list[tuple[str | None, str]] = []
    for text in texts:
        document = Document(text=text, id="")
        reason = None
        for one in chain:
            result = one.filter(document)
            if result is not True:
                reason = result[1]
                break
        verdicts.append((reason, document.text))
    return verdicts


def agreement(
    texts: list[str], presets: tuple[str, ...], theirs: list[tuple[str | None, str]]
) -> tuple[float, float, float]:
    """Return the shares of documents with the same fate, the same reason, and the same text of those both keep."""
    rules, kept = [], []
    for batch in batches(texts):
        out = filter_quality(batch, presets=presets)
        rules += out.column("rule").to_pylist()
        kept += out.column("text").to_pylist()
    pairs = list(zip(rules, (reason for reason, _ in theirs), strict=True))
    same = [mine == theirs[i][1] for i, mine in enumerate(kept) if rules[i] is None and theirs[i][0] is None]
    return (
        float(np.mean([(mine is None) == (their is None) for mine, their in pairs])),
        float(np.mean([mine == their for mine, their in pairs])),
        float(np.mean(same)),
    )


if __name__ == "__main__":
    main()
