"""WARC with HTML to rows of text: our reader beside the extractor alone and beside other readers. Prints a table.

    python -m tests.bench.warc [--rounds 5]

manuals  1425 pages in 28 languages, every fourth compressed by its server, every eighth in chunks (web/derived)
web      567 pages of html_truth as their servers sent them, in a WARC made here, a gzip member for each

`extractor alone` has all pages in memory, as the server meant them, and makes text of their bytes: encoding, decoding,
main content. Ours is `resiliparse_text`, which reads short pages a second time; that of the library has the same
options and no second reading. The others read the file. Seconds of processor time are those of all processes; our
reader and its sandbox overlap where a second core is idle.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pyarrow.compute as pc
from fastwarc import ArchiveIterator, WarcRecordType
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import bytes_to_str, detect_encoding
from zlib_ng import gzip_ng

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from transforms.html import resiliparse_text
from transforms.readers.dispatch import read_slice
from transforms.readers.ranges import ByteRange
from transforms.readers.source import Source
from transforms.readers.warc import find_records
from transforms.sandbox import Document
from transforms.unit import Slice

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
MAIN = {"main_content": True, "comments": False, "post_meta": False, "alt_texts": False}

OWN = "gristmill, extractor alone"
Totals = tuple[int, int]  # pages with text, characters


def web_file(folder: Path) -> Path:
    """Write the pages of html_truth as one WARC file."""
    path = folder / "web.warc.gz"
    with path.open("wb") as file:
        for name in ("scrapinghub", "trafilatura"):
            rows = (DATA / "html_truth" / name / "truth.jsonl").read_text(encoding="utf-8").splitlines()
            with zipfile.ZipFile(DATA / "html_truth" / name / "pages.zip") as pages:
                for row in map(json.loads, rows):
                    block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + pages.read(row["file"])
                    fields = ["WARC/1.0", "WARC-Type: response", "Content-Type: application/http; msgtype=response"]
                    fields += [f"WARC-Target-URI: {row['url']}", "WARC-Date: 2024-01-01T00:00:00Z"]
                    head = "\r\n".join([*fields, f"Content-Length: {len(block)}", "", ""]).encode()
                    file.write(gzip_ng.compress(head + block + b"\r\n\r\n", 6))
    return path


def text_of(page: bytes) -> str:
    return extract_plain_text(bytes_to_str(page, detect_encoding(page, from_html_meta=True) or "utf-8"), **MAIN)


def own_extractor_alone(pages: list[Document]) -> Totals:
    texts = [resiliparse_text(page.content, page.hint) for page in pages]
    lengths = [len(text) for text in texts if isinstance(text, str)]
    return len(lengths), sum(lengths)


def extractor_alone(pages: list[Document]) -> Totals:
    lengths = [len(text_of(page.content)) for page in pages]
    return sum(length > 0 for length in lengths), sum(lengths)


def fastwarc_loop(path: Path) -> Totals:
    with path.open("rb") as file:
        records = ArchiveIterator(file, record_types=WarcRecordType.response, auto_decode="all")
        lengths = [len(text_of(record.reader.read())) for record in records]
    return sum(length > 0 for length in lengths), sum(lengths)


def ours(path: Path) -> Totals:
    source = Source(name="bench", format="warc", path=str(path))
    pages = characters = 0
    for batch in read_slice(source, Slice("bench", str(path), 0, 0, 0, -1, path.stat().st_size, "")):
        alive = batch.filter(pc.is_null(batch.column("rule")))
        pages += alive.num_rows
        characters += pc.sum(pc.utf8_length(alive.column("text"))).as_py() or 0
    return pages, characters


def reading_alone(path: Path) -> Totals:
    return sum(isinstance(record.content, Document) for record in find_records(ByteRange(str(path)))), 0


def datatrove(path: Path) -> Totals:
    from datatrove.pipeline.readers import WarcReader

    lengths = [len(text_of(document.text.encode())) for document in WarcReader(str(path)).run()]
    return sum(length > 0 for length in lengths), sum(lengths)


def processor_seconds() -> float:
    """Return the processor time of this process and its children, which a sandbox outlives."""
    processes = [psutil.Process(), *psutil.Process().children()]
    return sum(times.user + times.system for times in (process.cpu_times() for process in processes))


def measured(run: Callable[[], Totals]) -> tuple[float, float, Totals]:
    start, start_processor = time.perf_counter(), processor_seconds()
    totals = run()
    return processor_seconds() - start_processor, time.perf_counter() - start, totals


def print_table(name: str, path: Path, rounds: int) -> None:
    pages = [record.content for record in find_records(ByteRange(str(path))) if isinstance(record.content, Document)]
    num_bytes = sum(len(page.content) for page in pages)
    rivals: dict[str, Callable[[], Totals]] = {
        OWN: partial(own_extractor_alone, pages),
        "**gristmill, file to rows**": partial(ours, path),
        "gristmill, reading without extraction": partial(reading_alone, path),
        "resiliparse, extractor alone": partial(extractor_alone, pages),
        "fastwarc and resiliparse": partial(fastwarc_loop, path),
        "datatrove WarcReader and resiliparse": partial(datatrove, path),
    }
    results: dict[str, list[tuple[float, float, Totals]]] = {}
    ours(path)  # starts the sandbox
    for _ in range(rounds):
        for rival, run in rivals.items():
            try:
                results.setdefault(rival, []).append(measured(run))
            except ImportError:
                continue
    alone = results[OWN]
    assert results["**gristmill, file to rows**"][0][2] == alone[0][2], "texts differ"
    print(
        f"\n{name}: {len(pages)} pages, {num_bytes / 1e6:.0f} MB of HTML, {path.stat().st_size / 1e6:.1f} MB stored\n"
    )
    print("| | pages | characters | MB/s, processor | MB/s, clock | speed of the extractor, processor | clock |")
    print("|---|---|---|---|---|---|---|")
    for rival, found in results.items():
        if found:
            speeds = [num_bytes / 1e6 / statistics.median(item[at] for item in found) for at in (0, 1)]
            shares = [statistics.median(a[at] / b[at] for a, b in zip(alone, found, strict=True)) for at in (0, 1)]
            count, characters = found[0][2]
            numbers = f"{count} | {characters / 1e6:.2f} M | {speeds[0]:.0f} | {speeds[1]:.0f}"
            print(f"| {rival} | {numbers} | {shares[0]:.0%} | {shares[1]:.0%} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    print_table("manuals", DATA / "web" / "derived" / "dev-multilang.warc.gz", given.rounds)
    with tempfile.TemporaryDirectory() as folder:
        print_table("web", web_file(Path(folder)), given.rounds)


if __name__ == "__main__":
    main()
