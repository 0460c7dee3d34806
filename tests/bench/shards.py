"""From documents/ to shards/: speed of one process, and its peak memory on 250 MB and on 2 GB of text.

    python tests/bench/shards.py [TOKENIZER] [MB]...

Text of ../shared/data, every document with a number in front so that nothing is an exact duplicate; above the size of
the corpus it repeats, which a memory of words profits from: rates are those of the first size. Cleaning (no rules) and
deduplication (exact) come before, in processes of their own. Seconds are processor seconds.
"""

import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.update(TOKENIZERS_PARALLELISM="false", OMP_NUM_THREADS="1", ARROW_IO_THREADS="2")
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import yaml  # noqa: E402
import zstandard  # noqa: E402

SHARED = ROOT.parent / "shared" / "data"
FILE_BYTES = 64 << 20


def texts():
    """Every document of the English corpora."""
    for path in sorted((SHARED / "text").glob("*/en.jsonl.zst")):
        with zstandard.open(path, "rb") as file:
            for line in io.TextIOWrapper(file, encoding="utf-8"):
                yield json.loads(line)["text"]


def write_corpus(directory, megabytes):
    """Write JSONL files of 64 MB."""
    directory.mkdir(parents=True)
    written = number = 0
    while written < megabytes << 20:
        for text in texts():
            line = json.dumps({"text": f"{number} {text}"}) + "\n"
            with (directory / f"part-{written // FILE_BYTES:04}.jsonl").open("a") as file:
                file.write(line)
            written += len(line)
            number += 1
            if written >= megabytes << 20:
                break


def stage(name, path):
    """Run one stage in this process; print processor seconds and peak memory as JSON."""
    from pipeline.config import load_config
    from pipeline.run import run

    started = time.process_time()
    run(load_config(path), first=name, last=name, beam_options=[], say=lambda _: None)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"seconds": time.process_time() - started, "peak_mb": peak}))


def in_a_process(name, path):
    command = [sys.executable, __file__, "--stage", name, str(path)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def main(tokenizer, sizes):
    print("| text, MB | tokens, M | processor seconds | MB/s a core | peak RSS, MB |")
    print("|---|---|---|---|---|")
    for megabytes in sizes:
        with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_SCRATCH")) as folder:
            directory = Path(folder)
            write_corpus(directory / "corpus", megabytes)
            config = {
                "name": "bench", "output": f"{folder}/out",
                "sources": [{"name": "en", "format": "jsonl", "path": f"{folder}/corpus/*.jsonl"}],
                "unit_bytes": FILE_BYTES,
                "dedup": {"minhash": None}, "runner": {"engine": "FnApiRunner"},
                "tokenize": {"tokenizer": {"load": str(SHARED / "tokenizers" / tokenizer)}, "seq_length": 512},
            }  # fmt: skip
            path = directory / "run.yaml"
            path.write_text(yaml.safe_dump(config))
            in_a_process("clean", path)
            in_a_process("dedup", path)
            spent = in_a_process("tokenize", path)
            stages = json.loads((directory / "out" / "run.json").read_text())["stages"]
            size = stages["clean"]["counts"]["text_bytes"] / 1e6
            tokens = stages["tokenize"]["counts"]["tokens"] / 1e6
            rate = size / spent["seconds"]
            print(
                f"| {size:.0f} | {tokens:.0f} | {spent['seconds']:.1f} | {rate:.1f} | {spent['peak_mb']} |", flush=True
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--stage"]:
        stage(*sys.argv[2:])
    else:
        name, *megabytes = sys.argv[1:] or ["bert-base-uncased"]
        main(name, [int(size) for size in megabytes] or [250, 2000])
