"""Reading JSONL (plain, gzip, zstd): our reader beside json.loads, datatrove and datasets. Prints a Markdown table.

    python -m tests.bench.readers [--mb 100] [--rounds 3]

All rivals read the same files on one core, in turns; a row is the median. Ours also parses every other field into the
metadata column, checks every byte and builds Arrow batches; `json.loads` only collects the texts.

A second table has what a run does that goes on within a long file: it reads over the parts that are committed.
"""

import argparse
import bz2
import gzip
import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.compute as pc
import zstandard

from transforms.readers.dispatch import read_parts, read_slice
from transforms.readers.listing import list_files, slices
from transforms.readers.source import Format, Source
from transforms.readers.stream import decompressed
from transforms.unit import Slice

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "text"
WEB = DATA.parent / "web" / "derived"
WIKI = DATA / "wikipedia-dump" / "enwiki-pages-articles-sample.xml.bz2"
ENGLISH = ("perl-doc/en", "python-docs/en", "nltk-public-domain/en", "libreoffice-help/en-us", "wesnoth/en")

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
        files[1].write_bytes(gzip.compress(data, 6))
        files[2].write_bytes(zstandard.ZstdCompressor(3).compress(data))
        packed = Path(directory) / "x.jsonl.bz2"
        packed.write_bytes(bz2.compress(data))
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
