"""Reading the shared corpora in tests and benchmarks."""

import io
import json

import zstandard


def read_jsonl(path):
    """Every row of a .jsonl.zst file as a dict."""
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
        return [json.loads(line) for line in io.TextIOWrapper(stream, encoding="utf-8")]
