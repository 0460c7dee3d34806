"""The quality presets beside datatrove's filters: same verdicts first, then MB/s on one core.

    python tests/bench/quality.py [--data ../shared/data] [--rival-every 10] [--repeats 5]

Needs `pip install datatrove spacy` for the rival's columns. Both judge the same English documents, preset by preset
and as the chain gopher-repetition, gopher-quality, c4-fineweb, fineweb. fineweb2 has values for English here, as
fineweb-2's files have for other languages, and datatrove its filters with fineweb-2's settings. `same fate` is the
share of documents that both keep or both drop, `same reason` of those that get the same rule or none, `same text` of
those both keep. MB/s of gristmill: `cold` is a first pass, when its memory knows no chunk, `warm` a later one, when it
knows every chunk; a long run lies between. Then all statistics, and every repair alone on the same clean text, with
the number of documents that ftfy is called for.
"""

import argparse
import random
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.corpora import read_jsonl
from transforms import repair
from transforms.bad_words import FilterBadWords
from transforms.presets import Choice, language_values
from transforms.quality import Memory, filter_quality
from transforms.schema import IN_FLIGHT, edit_columns

ENGLISH = (
    "text/python-docs/en", "text/perl-doc/en", "text/libreoffice-help/en-us", "text/nltk-public-domain/en",
    "text/wesnoth/en", "text/wesnoth/en_GB", "text/debian-handbook/en-US",
)  # fmt: skip
CHAIN = ("gopher-repetition", "gopher-quality", "c4-fineweb", "fineweb")
END_MARKS = Choice(preset="c4-fineweb", thresholds={"no_terminal_punc": 1})
VALUES = {
    "dup_line_frac": 0.264, "top_n_grams": [[2, 0.161], [3, 0.149], [4, 0.134]],
    "dup_n_grams": [[5, 0.15], [6, 0.141], [7, 0.131], [8, 0.121], [9, 0.111], [10, 0.1]], "line_punct_thr": 0.1,
    "new_line_ratio": 0.185, "min_avg_word_length": 2, "max_avg_word_length": 11, "max_non_alpha_words_ratio": 0.812,
    "stopwords": ["the", "of", "and", "to", "in", "a", "is", "for"],
}  # fmt: skip
FINEWEB2 = Choice(preset="fineweb2", languages={"en": language_values(VALUES)})
REASONS = {"< 3 paragraphs": "paragraph_filter"}  # theirs -> ours
ROWS: list[tuple[str, tuple[str | Choice, ...]]] = [
    *((name, (name,)) for name in CHAIN),
    ("c4-fineweb, end marks", (END_MARKS,)),
    ("mc4-paragraph", ("mc4-paragraph",)),
    ("fineweb2", (FINEWEB2,)),
    ("all four", CHAIN),
]
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
    for name, presets in ROWS:
        started = time.process_time()
        theirs = datatrove(few, presets)
        rival = few_megabytes / (time.process_time() - started)
        fate, reason, text = agreement(few, presets, theirs)
        cold, warm = rates(texts, presets, given.repeats, megabytes)
        shares = f"{100 * fate:.2f} % | {100 * reason:.2f} % | {100 * text:.2f} %"
        print(f"| {name} | {shares} | {rival:.2f} | {cold:.0f} | {warm:.0f} | {warm / rival:.0f} x |")
    cold, warm = rates(texts, (), given.repeats, megabytes, keep_statistics=True)
    print(f"| all statistics | - | - | - | - | {cold:.0f} | {warm:.0f} | - |")
    repairs(texts, given.repeats, megabytes)
    bad_words(texts, given.repeats, megabytes)


def bad_words(texts: list[str], repeats: int, megabytes: float) -> None:
    """Print MB/s of a list of 393 invented words and phrases, beside the expression of C4 in Python's `re`."""
    rng = random.Random(1)
    words = [f"zq{''.join(rng.choices('abcdefghij', k=rng.randint(2, 9)))}" for _ in range(390)]
    words += ["penguin", "the hobbit", "damn"]
    with tempfile.NamedTemporaryFile("w", suffix="-en") as file:
        file.write("\n".join(words))
        file.flush()
        ours, seconds = FilterBadWords(path=file.name), []
        for _ in range(repeats + 1):
            started = time.process_time()
            found = [rule for batch in batches(texts) for rule in ours(batch).column("rule").to_pylist()]
            seconds.append(time.process_time() - started)
    pattern = re.compile(rf"(?:\W|^)({'|'.join(map(re.escape, words))})(?:\W|$)")
    few = texts[::20]
    started = time.process_time()
    same = [pattern.search(text.lower()) is not None for text in few] == [rule is not None for rule in found[::20]]
    theirs = sum(len(text.encode()) for text in few) / 1e6 / (time.process_time() - started)
    print(
        f"\nbad words: {megabytes / statistics.median(seconds[1:]):.0f} MB/s, re {theirs:.1f}, same documents: {same}"
    )


def repairs(texts: list[str], repeats: int, megabytes: float) -> None:
    """Print for each repair MB/s of processor time on this clean text, edits, and how often ftfy was called."""
    print("\n| repair | MB/s | edits | documents given to ftfy |")
    print("|---|---|---|---|")
    for name in ("mojibake", "boilerplate", "citations", "symbol_lines"):
        calls, seconds, edits = 0, [], 0
        original = repair.fixed

        def counted(text: str, original: Callable[[str], str] = original) -> str:
            nonlocal calls
            calls += 1
            return original(text)

        repair.fixed = counted
        for _ in range(repeats):
            calls = edits = 0
            started = time.process_time()
            for batch in batches(texts):
                out = repair.RepairText(what=(name,))(batch)
                edits += sum(edit_columns(out)[f"repair.{name}"].to_pylist())
            seconds.append(time.process_time() - started)
        repair.fixed = original
        print(f"| {name} | {megabytes / statistics.median(seconds):.0f} | {edits} | {calls} of {len(texts)} |")


def batches(texts: list[str]) -> list[pa.RecordBatch]:
    """Return the documents as batches of the size that the pipeline uses."""
    found, rows, size = [], [], 0
    for i, text in enumerate(texts):
        rows.append({"doc_id": i, "text": text, "language": "en", "source": "", "location": ""})
        size += len(text)
        if size > BATCH_BYTES or i == len(texts) - 1:
            found.append(pa.RecordBatch.from_pylist(rows, schema=IN_FLIGHT))
            rows, size = [], 0
    return found


def rates(
    texts: list[str],
    presets: tuple[str | Choice, ...],
    repeats: int,
    megabytes: float,
    *,
    keep_statistics: bool = False,
) -> tuple[float, float]:
    """Return MB/s of a first pass with an empty memory, and the median of later ones."""
    given = batches(texts)
    filter_quality(given[0].slice(0, 1), presets=presets, keep_statistics=keep_statistics)  # compile
    memory, seconds = Memory(max_rows=1 << 30), []
    for _ in range(repeats + 1):
        started = time.process_time()
        for batch in given:
            filter_quality(batch, presets=presets, keep_statistics=keep_statistics, memory=memory)
        seconds.append(time.process_time() - started)
    return megabytes / seconds[0], megabytes / statistics.median(seconds[1:])


def datatrove(texts: list[str], presets: tuple[str | Choice, ...]) -> list[tuple[str | None, str]]:
    """Return for each document the reason of the first filter that drops it (None: kept), and its text afterwards."""
    from datatrove.data import Document
    from datatrove.pipeline import filters

    def fineweb2() -> list[Any]:
        return [
            filters.GopherRepetitionFilter(
                dup_para_frac=0,
                dup_line_char_frac=0,
                dup_para_char_frac=0,
                **{name: VALUES[name] for name in ("dup_line_frac", "top_n_grams", "dup_n_grams")},
            ),
            filters.FineWebQualityFilter(
                short_line_thr=999,
                char_duplicates_ratio=0.1,
                line_punct_thr=VALUES["line_punct_thr"],
                new_line_ratio=VALUES["new_line_ratio"],
            ),
            filters.GopherQualityFilter(
                stop_words=VALUES["stopwords"],
                **{n: VALUES[n] for n in ("min_avg_word_length", "max_avg_word_length", "max_non_alpha_words_ratio")},
            ),
        ]

    makers: dict[str | Choice, Callable[[], list[Any]]] = {
        "gopher-repetition": lambda: [filters.GopherRepetitionFilter()],
        "gopher-quality": lambda: [filters.GopherQualityFilter()],
        "c4-fineweb": lambda: [filters.C4QualityFilter(filter_no_terminal_punct=False)],
        "no_terminal_punc": lambda: [filters.C4QualityFilter()],
        "fineweb": lambda: [filters.FineWebQualityFilter()],
        "mc4-paragraph": lambda: [filters.C4ParagraphFilter()],
        "fineweb2": fineweb2,
    }
    names = ["no_terminal_punc" if name is END_MARKS else getattr(name, "preset", name) for name in presets]
    chain = [one for name in names for one in makers[name]()]
    chain[0].filter(Document(text="load the tokeniser", id=""))
    verdicts: list[tuple[str | None, str]] = []
    for text in texts:
        document = Document(text=text, id="")
        reason = None
        for one in chain:
            result = one.filter(document)
            if result is not True:
                reason = REASONS.get(result[1], result[1])
                break
        verdicts.append((reason, document.text))
    return verdicts


def agreement(
    texts: list[str], presets: tuple[str | Choice, ...], theirs: list[tuple[str | None, str]]
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
