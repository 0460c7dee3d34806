"""Near-duplicate removal beside text-dedup and datatrove: the same documents, bands and rows; precision, recall, time.

    python tests/bench/dedup_rivals.py [--pairs 4000] [--data ../shared/data] [--repeats 3]

Needs `pip install text-dedup datatrove spacy click-option-group bitarray pybloom-live ftfy regex fire` (text-dedup
without its dependencies: it pins old ones). Documents are disjoint slices of 400 words of real prose, each with a copy
in which words were changed, cut off or put around. A pair is a duplicate if the Jaccard similarity of its lower-cased
word 5-grams is at least 0.75. Everybody has 14 bands of 8 rows and one process, and reads one JSONL file. Recall is the
share of the duplicates of which one document is removed, precision the share of duplicates among the pairs of which one
is. Time is wall clock of the whole process, start and compiled kernels from the cache included; steps as they tell it.
"""

import argparse
import json
import os
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import zstandard

ENGLISH = ("python-docs/en", "perl-doc/en", "libreoffice-help/en-us", "nltk-public-domain/en")
THRESHOLD = 0.75
WORDS = 400


def main() -> None:
    """Write the documents, run everybody, print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, default=Path(__file__).parents[3] / "shared" / "data")
    options.add_argument("--pairs", type=int, default=4000)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--one", choices=list(RIVALS), help=argparse.SUPPRESS)
    options.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.one:
        steps = RIVALS[given.one](given.work)
        peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        (given.work / "answer.json").write_text(json.dumps({"kept": steps.pop("kept"), "steps": steps, "peak": peak}))
        return
    texts, similarities = documents(given.data, given.pairs)
    duplicates = {i for i, similarity in enumerate(similarities) if similarity >= THRESHOLD}
    size = sum(map(len, texts)) / 1e6
    print(f"{len(texts):,} documents, {size:.0f} MB; {len(duplicates):,} of {given.pairs:,} pairs are duplicates\n")
    print("| | precision | recall | removed | seconds | pairs to removal, s | peak MB |\n|---|---|---|---|---|---|---|")
    found: dict[str, list[dict]] = {name: [] for name in RIVALS}
    for _ in range(given.repeats):
        for name in RIVALS:
            with tempfile.TemporaryDirectory() as directory:
                work = Path(directory)
                lines = (json.dumps({"text": text, "id": str(i)}) + "\n" for i, text in enumerate(texts))
                (work / "documents.jsonl").write_text("".join(lines))
                started = time.perf_counter()
                command = [sys.executable, __file__, "--one", name, "--work", directory]
                environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
                subprocess.run(command, check=True, capture_output=True, env=environment)
                answer = json.loads((work / "answer.json").read_text())
                found[name].append({**answer, "seconds": time.perf_counter() - started})
    for name, answers in found.items():
        kept = set(answers[0]["kept"])
        removed = {i // 2 for i in range(len(texts)) if i not in kept}
        cells = [
            f"{len(removed & duplicates) / len(removed):.4f}",
            f"{len(removed & duplicates) / len(duplicates):.4f}",
            f"{len(texts) - len(kept):,}",
            f"{statistics.median(answer['seconds'] for answer in answers):.1f}",
            f"{statistics.median(answer['steps']['pairs'] for answer in answers):.2f}",
            f"{statistics.median(answer['peak'] for answer in answers) / 1e3:.0f}",
        ]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def documents(data: Path, pairs: int) -> tuple[list[str], list[float]]:
    """Return originals and copies in turn, and the similarity of each pair."""
    prose: list[str] = []
    for name in ENGLISH:
        with zstandard.open(data / "text" / f"{name}.jsonl.zst", "rt", encoding="utf-8") as lines:
            prose += [word for line in lines for word in json.loads(line)["text"].split()]
    rng = random.Random(7)
    starts = rng.sample(range(0, len(prose) - WORDS, WORDS), pairs)
    texts, similarities = [], []
    for number, start in enumerate(starts):
        words = prose[start : start + WORDS]
        share = rng.uniform(0.0, 0.5)
        copy = list(words)
        if number % 3 == 0:
            for i in rng.sample(range(WORDS), int(WORDS * share / 5)):
                copy[i] = f"edit{rng.randrange(1 << 30)}"
        elif number % 3 == 1:
            copy = words[: int(WORDS * (1 - share))]
        else:
            copy = [f"menu{rng.randrange(1 << 30)}" for _ in range(int(WORDS * share))] + words
        texts += [" ".join(words), " ".join(copy)]
        similarities.append(jaccard(*texts[-2:]))
    return texts, similarities


def jaccard(left: str, right: str) -> float:
    """Return the similarity of the sets of word 5-grams; words are runs of letters and digits."""
    sets = []
    for text in (left, right):
        words = re.findall(r"[^\W_]+", text.lower())
        sets.append({tuple(words[i : i + 5]) for i in range(len(words) - 4)})
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def gristmill(work: Path, verify: str) -> dict:
    """Run clean and dedup with one worker of the local engine."""
    import pyarrow as pa

    from pipeline.config import load_config
    from pipeline.run import run

    config = {
        "name": "rivals", "output": str(work / "out"),
        "sources": [{"name": "s", "format": "jsonl", "path": str(work / "documents.jsonl")}],
        "dedup": {"minhash": {"bands": 14, "rows": 8, "ngram": 5, "threshold": THRESHOLD, "verify": verify}},
        "runner": {"engine": "FnApiRunner"},
    }  # fmt: skip
    (work / "run.yaml").write_text(json.dumps(config))
    run(load_config(str(work / "run.yaml")), first="clean", last="dedup", beam_options=[], say=lambda _: None)
    seconds = json.loads((work / "out" / "run.json").read_text())["stages"]["dedup"]["seconds"]
    (path,) = (work / "out" / "deletions").glob("*.arrow")
    removed = set(pa.ipc.open_file(str(path)).read_all().column("doc_id").to_pylist())
    num_documents = sum(1 for _ in (work / "documents.jsonl").open())
    return {"kept": [i for i in range(num_documents) if i not in removed], "pairs": seconds}


def datatrove(work: Path) -> dict:
    """Run the four stages of datatrove with one task each."""
    import datatrove.utils.hashes.xxhash as datatrove_xxhash
    import xxhash
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    # xxhash 4 takes no str any more, datatrove 0.10 gives it one: its default hash would raise.
    digest = xxhash.xxh64_intdigest
    datatrove_xxhash.xxhash = SimpleNamespace(xxh64_intdigest=lambda text: digest(text.encode()))
    config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
    read = JsonlReader(str(work), glob_pattern="documents.jsonl")
    folders = {name: str(work / name) for name in ("signatures", "buckets", "ids", "kept")}
    stages = [
        ([read, MinhashDedupSignature(folders["signatures"], config=config)], 1),
        ([MinhashDedupBuckets(folders["signatures"], folders["buckets"], config=config)], 14),
        ([MinhashDedupCluster(folders["buckets"], folders["ids"], config=config)], 1),
        ([read, MinhashDedupFilter(folders["ids"]), JsonlWriter(folders["kept"], compression=None)], 1),
    ]
    seconds = []
    for number, (steps, tasks) in enumerate(stages):
        started = time.perf_counter()
        executor = LocalPipelineExecutor(steps, tasks=tasks, workers=1, logging_dir=str(work / f"logs{number}"))
        executor.run()
        seconds.append(time.perf_counter() - started)
    kept = [int(json.loads(line)["id"]) for path in (work / "kept").glob("*.jsonl") for line in path.open()]
    return {"kept": kept, "pairs": sum(seconds[1:])}


def text_dedup(work: Path) -> dict:
    """Run the command of text-dedup with one process; its own clock for what follows the signatures."""
    import datasets

    command = [
        sys.executable, "-m", "text_dedup.minhash", "--path", "json", "--data_files", str(work / "documents.jsonl"),
        "--split", "train", "--cache_dir", str(work / "cache"), "--output", str(work / "kept"), "--column", "text",
        "--idx_column", "id", "--ngram", "5", "--min_length", "0", "--num_perm", "112", "--b", "14", "--r", "8",
        "--threshold", str(THRESHOLD), "--hash_func", "xxh3", "--num_proc", "1", "--batch_size", "10000",
    ]  # fmt: skip
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    told = dict(re.findall(r"(Clustering|Filtering|Saving)\s*:\s*([\d.]+)s", done.stdout + done.stderr))
    kept = [int(number) for number in datasets.load_from_disk(str(work / "kept"))["id"]]
    return {"kept": kept, "pairs": sum(float(told[name]) for name in ("Clustering", "Filtering", "Saving"))}


RIVALS = {
    "gristmill, verify: signature": lambda work: gristmill(work, "signature"),
    "gristmill, verify: jaccard": lambda work: gristmill(work, "jaccard"),
    "gristmill, verify: none": lambda work: gristmill(work, "none"),
    "datatrove": datatrove,
    "text-dedup": text_dedup,
}

if __name__ == "__main__":
    main()
