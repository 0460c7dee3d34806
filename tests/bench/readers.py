"""Reading JSONL (plain, gzip, zstd): our reader beside json.loads, datatrove and datasets. Prints a Markdown table.

    python -m tests.bench.readers [--mb 100] [--rounds 3]

All rivals read the same files on one core, in turns; a row is the median. Ours also parses every other field into the
metadata column, checks every byte and builds Arrow batches; `json.loads` only collects the texts.

A second table has what a run does that goes on within a long file: it reads over the parts that are committed. A third
has what it costs to read a file in members of 1 MB in four ranges, and to search a file of one member for another. A
fourth has kinds of lines: what the compiled kernel reads, what it has orjson write again, what it leaves to orjson;
beside orjson.loads alone.
"""

import argparse
import bz2
import gzip
import io
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import orjson
import pyarrow.compute as pc
import zstandard

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from transforms.readers.dispatch import read_parts, read_slice
from transforms.readers.jsonl import read_jsonl
from transforms.readers.listing import list_files, slices
from transforms.readers.ranges import has_member
from transforms.readers.source import Format, Source
from transforms.readers.stream import decompressed
from transforms.unit import Slice

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "text"
WEB = DATA.parent / "web" / "derived"
WIKI = DATA / "wikipedia-dump" / "enwiki-pages-articles-sample.xml.bz2"
ENGLISH = ("perl-doc/en", "python-docs/en", "nltk-public-domain/en", "libreoffice-help/en-us", "wesnoth/en")

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gz": lambda data: gzip.compress(data, 6),
    "zst": zstandard.ZstdCompressor(3).compress,
    "bz2": bz2.compress,
}
NUM_RANGES = 4

Totals = tuple[int, int]  # documents, characters


def corpus(num_bytes: int) -> bytes:
    """Return whole lines of real English documents, repeated up to about `num_bytes`."""
    parts = []
    for name in ENGLISH:
        with (DATA / f"{name}.jsonl.zst").open("rb") as file:
            parts.append(zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True).read())
    once = b"".join(parts)
    lines = (once * (num_bytes // len(once) + 1))[:num_bytes]
    return lines[: lines.rindex(b"\n") + 1]


def ours(path: Path) -> Totals:
    source = Source(name="bench", format="jsonl", path=str(path))
    documents = characters = 0
    for part in slices(source, list_files(source)[0], file=0, unit_bytes=1 << 40):
        for batch in read_slice(source, part):
            documents += batch.num_rows
            characters += pc.sum(pc.utf8_length(batch.column("text"))).as_py()
    return documents, characters


def json_loads(path: Path) -> Totals:
    texts = [json.loads(line)["text"] for line in _lines(path)]
    return len(texts), sum(map(len, texts))


def _lines(path: Path) -> Iterator[bytes]:
    if path.suffix == ".gz":
        with gzip.open(path) as file:
            yield from file
    elif path.suffix == ".zst":
        with path.open("rb") as file:
            yield from io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(file))
    else:
        with path.open("rb") as file:
            yield from file


def datatrove(path: Path) -> Totals:
    from datatrove.pipeline.readers import JsonlReader

    documents = characters = 0
    for document in JsonlReader(str(path.parent), glob_pattern=path.name, compression="infer").run():
        documents += 1
        characters += len(document.text)
    return documents, characters


def datasets_streaming(path: Path) -> Totals:
    import datasets

    stream = datasets.load_dataset("json", data_files=str(path), split="train", streaming=True).with_format("arrow")
    documents = characters = 0
    for table in stream.iter(batch_size=1000):
        documents += table.num_rows
        characters += pc.sum(pc.utf8_length(table.column("text"))).as_py()
    return documents, characters


def read_over(path: Path, form: Format) -> None:
    """Read a file all of whose parts are committed."""
    source = Source(name="bench", format=form, path=str(path))
    stream = Slice("bench", str(path), 0, 0, 0, -1, path.stat().st_size, "", stream_bytes=1 << 40)
    assert not list(read_parts(source, stream, done={0}))


def print_read_over(files: dict[Path, Format], rounds: int) -> None:
    print("\n| read over | MB decompressed | MB/s of processor time |\n|---|---|---|")
    for path, form in files.items():
        num_bytes = sum(len(chunk) for chunk in decompressed(str(path)) if isinstance(chunk, bytes))
        seconds = []
        for _ in range(rounds):
            start = time.process_time()
            read_over(path, form)
            seconds.append(time.process_time() - start)
        print(f"| {path.name} | {num_bytes / 1e6:.0f} | {num_bytes / 1e6 / statistics.median(seconds):.0f} |")


def print_ranges(data: bytes, directory: Path, rounds: int) -> None:
    print("\n| in members of 1 MB | MB stored | whole, ms | a range more, ms | searched for a member, MB/s |")
    print("|---|---|---|---|---|")
    for name, compress in COMPRESS.items():
        path, single = (directory / f"{kind}.jsonl.{name}" for kind in ("members", "single"))
        path.write_bytes(b"".join(compress(data[at : at + 1_000_000]) for at in range(0, len(data), 1_000_000)))
        single.write_bytes(compress(data))
        size, seconds = path.stat().st_size, []
        cuts = [size * part // NUM_RANGES for part in range(NUM_RANGES + 1)]
        for _ in range(rounds):
            stamps = [time.process_time()]
            whole = documents_of(path, [(0, -1)])
            stamps.append(time.process_time())
            assert documents_of(path, itertools.pairwise(cuts)) == whole
            stamps.append(time.process_time())
            assert not has_member(str(single), 20, 1 << 40, begins=b"")
            stamps.append(time.process_time())
            seconds.append([stop - start for start, stop in itertools.pairwise(stamps)])
        one, cut, search = (statistics.median(column) for column in zip(*seconds, strict=True))
        extra = 1e3 * (cut - one) / NUM_RANGES
        rate = single.stat().st_size / 1e6 / search
        print(f"| {name} | {size / 1e6:.0f} | {1e3 * one:.0f} | {extra:.1f} | {rate:.0f} |")


def documents_of(path: Path, ranges: Iterable[tuple[int, int]]) -> int:
    source = Source(name="bench", format="jsonl", path=str(path))
    parts = (Slice("bench", str(path), 0, 0, start, stop, path.stat().st_size, "") for start, stop in ranges)
    return sum(batch.num_rows for part in parts for batch in read_slice(source, part))


def kinds(num_bytes: int) -> dict[str, bytes]:
    """Return JSONL of about `num_bytes` for each kind of line."""
    english = [json.loads(line)["text"] for line in corpus(num_bytes).splitlines()]
    with zstandard.open(DATA / "wesnoth" / "ru.jsonl.zst", "rt", encoding="utf-8") as file:
        russian = [json.loads(line)["text"] for line in file]
    fields = {"id": "<urn:uuid:0123>", "date": "2024-03-01T00:00:00Z", "language": "en", "tokens": 117}

    def written(texts: list[str], size: int | None = None, *, escaped: bool = True, **more: object) -> bytes:
        pieces = [text[k : k + (size or len(text))] for text in texts for k in range(0, len(text), size or len(text))]
        found, total = [], 0
        for number, text in enumerate(itertools.cycle(pieces)):
            if total > num_bytes:
                return b"".join(found)
            record = {"text": text, "url": f"u{number}"} | more
            found.append(json.dumps(record, ensure_ascii=escaped).encode() + b"\n")
            total += len(found[-1])
        raise AssertionError

    return {
        "English": written(english),
        "English, cut": written(english, 550),
        "English, cut short": written(english, 70),
        "English, four fields of metadata": written(english, 550, **fields),
        "the same and a score of 17 digits, which orjson writes again": written(
            english, 550, **fields, score=0.12345678901234567
        ),
        "Cyrillic": written(russian, escaped=False),
        "Cyrillic, as escapes": written(russian),
        "English, an address that is a number: left to orjson": written(english, 550, url=5),
        "English, cut short, the same": written(english, 70, url=5),
        "English, NaN: left to orjson and json": written(english, 550, score=float("nan")),
    }


def print_kinds(directory: Path, num_bytes: int, rounds: int) -> None:
    """Print milliseconds of processor time a MB for each kind of line."""
    print("\n| lines | bytes a line | ms a MB | orjson.loads alone |\n|---|---|---|---|")
    for name, data in kinds(num_bytes).items():
        path = directory / "kind.jsonl"
        path.write_bytes(data)
        source = Source(name="bench", format="jsonl", path=str(path))
        part = Slice("bench", str(path), 0, 0, 0, -1, len(data), "")
        lines, seconds, alone = data.splitlines(), [], []
        for _ in range(rounds):
            start = time.process_time()
            num_rows = sum(batch.num_rows for batch in read_jsonl(source, part))
            seconds.append(time.process_time() - start)
            assert num_rows == len(lines)
            if "NaN" in name:
                continue
            start = time.process_time()
            for line in lines:
                orjson.loads(line)
            alone.append(time.process_time() - start)
        costs = [f"{statistics.median(found) * 1e9 / len(data):.2f}" if found else "" for found in (seconds, alone)]
        print(f"| {name} | {len(data) // len(lines)} | {' | '.join(costs)} |")


RIVALS: dict[str, Callable[[Path], Totals]] = {
    "gristmill": ours,
    "json.loads": json_loads,
    "datatrove JsonlReader": datatrove,
    "datasets, streaming Arrow": datasets_streaming,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    data = corpus(given.mb * 1_000_000)
    with tempfile.TemporaryDirectory() as directory:
        files = [Path(directory) / name for name in ("x.jsonl", "x.jsonl.gz", "x.jsonl.zst")]
        files[0].write_bytes(data)
        packed = Path(directory) / "x.jsonl.bz2"
        for path, compress in zip([*files[1:], packed], COMPRESS.values(), strict=True):
            path.write_bytes(compress(data))
        seconds: dict[tuple[str, str], list[float]] = {}
        totals: dict[str, Totals] = {}
        for _ in range(given.rounds):
            for name, read in RIVALS.items():
                for file in files:
                    try:
                        start = time.perf_counter()
                        found = read(file)
                        seconds.setdefault((name, file.suffix), []).append(time.perf_counter() - start)
                    except ImportError:
                        continue
                    assert totals.setdefault("all", found) == found, f"{name} read {found}, others {totals['all']}"
        streams = dict.fromkeys([*files[1:], packed], "jsonl")
        streams |= {WEB / "dev-multilang.warc.gz": "warc", WIKI: "mediawiki"}
        print_read_over(streams, given.rounds)
        print_ranges(data, Path(directory), given.rounds)
        print_kinds(Path(directory), given.mb * 200_000, given.rounds)
    print(
        f"\n{len(data) / 1e6:.0f} MB of JSONL, {totals['all'][0]} documents, MB/s of decompressed JSONL on one core\n"
    )
    print("| reader | plain | gzip | zstd | ours / this, plain |\n|---|---|---|---|---|")
    for name in RIVALS:
        if (name, ".jsonl") in seconds:
            speeds = [len(data) / 1e6 / statistics.median(seconds[name, file.suffix]) for file in files]
            ratio = statistics.median(seconds[name, ".jsonl"]) / statistics.median(seconds["gristmill", ".jsonl"])
            print(f"| {name} | {' | '.join(f'{speed:.0f}' for speed in speeds)} | {ratio:.1f} |")


if __name__ == "__main__":
    main()
