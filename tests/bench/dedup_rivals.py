"""Near-duplicate removal beside text-dedup and datatrove: the same documents, the same signatures; precision, recall.

    python tests/bench/dedup_rivals.py [--pairs 4000] [--data ../shared/data] [--repeats 3] [--signatures 200000]

Needs `pip install text-dedup datatrove spacy click-option-group bitarray pybloom-live ftfy regex fire` (text-dedup
without its dependencies: it pins old ones). Documents are disjoint slices of 400 words of real prose, each with a copy
in which words were changed, cut off or put around; all words are of lower-case letters, which every normaliser leaves
alone, so that all see the same shingles. Everybody has 14 bands of 8 rows and one process, and reads one JSONL file.

The truth is brute force: all pairs whose word 5-grams have a Jaccard similarity of at least 0.75. Precision is the
share of the removed documents that are in such a pair, recall the share of such pairs of which a document is removed,
beside what the curve 1 - (1 - s^8)^14 promises for these pairs. Time is wall clock of the whole process.

The second table gives everybody the same generated signatures and no text: processor seconds until it is known which
documents go (datatrove's buckets and cluster; our runs, links, clusters and deletion vectors). The documents removed
must be equally many, for without verification both take the same components.
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
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import zstandard

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench import dedup as passes

ENGLISH = ("python-docs/en", "perl-doc/en", "libreoffice-help/en-us", "nltk-public-domain/en")
THRESHOLD = 0.75
WORDS = 400


def main() -> None:
    """Write the documents, run everybody, print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, default=Path(__file__).parents[3] / "shared" / "data")
    options.add_argument("--pairs", type=int, default=4000)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--signatures", type=int, default=200_000)
    options.add_argument("--one", choices=list(RIVALS), help=argparse.SUPPRESS)
    options.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.one:
        steps = RIVALS[given.one](given.work)
        # Of this process not ru_maxrss, which begins with the peak of the process that started it.
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        peak = max(int(status["VmHWM"].split()[0]), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
        (given.work / "answer.json").write_text(json.dumps({"kept": steps.pop("kept"), "steps": steps, "peak": peak}))
        return
    if given.pairs:
        beside_on_text(documents(given.data, given.pairs), given.repeats)
    if given.signatures:
        beside_on_signatures(given.signatures)


def beside_on_text(texts: list[str], repeats: int) -> None:
    """Print the table of whole runs."""
    found: dict[str, list[dict]] = {name: [] for name in RIVALS if "signatures" not in name}
    for _ in range(repeats):
        for name, answers in found.items():
            with tempfile.TemporaryDirectory() as directory:
                work = Path(directory)
                lines = (json.dumps({"text": text, "id": str(i)}) + "\n" for i, text in enumerate(texts))
                (work / "documents.jsonl").write_text("".join(lines))
                started = time.perf_counter()
                command = [sys.executable, __file__, "--one", name, "--work", directory]
                environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
                subprocess.run(command, check=True, capture_output=True, env=environment)
                answer = json.loads((work / "answer.json").read_text())
                answers.append({**answer, "seconds": time.perf_counter() - started})
    truth = true_pairs(texts)
    duplicates = {number for pair in truth for number in pair}
    chances = [1 - (1 - similarity**8) ** 14 for similarity in truth.values()]
    expected = statistics.fmean(chances)
    error = sum(p * (1 - p) for p in chances) ** 0.5 / len(chances)
    print(f"{len(texts):,} documents, {sum(map(len, texts)) / 1e6:.0f} MB; {len(truth):,} pairs are duplicates")
    print(f"the curve promises a recall of {expected:.4f}, standard error {error:.4f}\n")
    print("| | precision | recall | removed | seconds | pairs to removal, s | peak MB |\n|---|---|---|---|---|---|---|")
    for name, answers in found.items():
        removed = set(range(len(texts))) - set(answers[0]["kept"])
        precision = len(removed & duplicates) / len(removed)
        assert precision == 1 or "jaccard" not in name
        cells = [
            f"{precision:.4f}",
            f"{sum(a in removed or b in removed for a, b in truth) / len(truth):.4f}",
            f"{len(removed):,}",
            f"{statistics.median(answer['seconds'] for answer in answers):.1f}",
            f"{statistics.median(answer['steps']['pairs'] for answer in answers):.2f}",
            f"{statistics.median(answer['peak'] for answer in answers) / 1e3:.0f}",
        ]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def beside_on_signatures(count: int) -> None:
    """Print processor seconds from signatures to the documents that go, each program in its own process."""
    count -= count % passes.UNIT
    print(f"\n{count:,} generated signatures, processor seconds\n\n| | removed | seconds | documents/s |")
    print("|---|---|---|---|")
    removed = {}
    with tempfile.TemporaryDirectory() as directory:
        units = [passes.generate(number, 0.3) for number in range(count // passes.UNIT)]
        for number, unit in enumerate(units):
            passes.write(Path(directory) / f"signatures-{number}", unit)
        write_datatrove_signatures(Path(directory) / "signatures", units)
        for name, verify in (("gristmill, verify: none", 0), ("gristmill, verify: signature", 1)):
            command = [
                sys.executable,
                passes.__file__,
                "--work",
                directory,
                "--one",
                str(count),
                "--verify",
                str(verify),
            ]
            row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            removed[name] = row["deleted"]
            told(name, row["deleted"], sum(row["seconds"].values()), count)
        command = [sys.executable, __file__, "--one", "datatrove, signatures", "--work", directory]
        subprocess.run(command, check=True, capture_output=True)
        steps = json.loads((Path(directory) / "answer.json").read_text())["steps"]
        removed["datatrove"] = steps["removed"]
        for name in ("buckets", "cluster"):
            told(f"datatrove, {name}", steps["removed"], steps[name], count)
    assert removed["datatrove"] == removed["gristmill, verify: none"]


def told(name: str, removed: int, seconds: float, count: int) -> None:
    """Print one row."""
    print(f"| {name} | {removed:,} | {seconds:.2f} | {count / seconds:,.0f} |", flush=True)


def write_datatrove_signatures(folder: Path, units: list) -> None:
    """Write signatures as datatrove's first step leaves them: for each bucket and task sorted records."""
    for rank, unit in enumerate(units):
        sig_NBR = unit.column("minhash").chunk(0).values.to_numpy().reshape(-1, 14, 8)
        for bucket in range(14):
            records = np.empty(len(sig_NBR), [(f"field{i}", "<u4") for i in range(9)])
            for i in range(8):
                records[f"field{i}"] = sig_NBR[:, bucket, i]
            records["field8"] = np.arange(len(sig_NBR))
            records.sort(order=records.dtype.names)
            path = folder / f"bucket_{bucket:03d}" / f"{rank:05d}.minhash.sig"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(records.tobytes())


def datatrove_on_signatures(work: Path) -> dict:
    """Run buckets and cluster without their executor, which would start a process for each task."""
    from datatrove.pipeline.dedup import MinhashDedupCluster
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets
    from datatrove.utils.hashing import HashConfig

    config = MinhashConfig(num_buckets=14, hashes_per_bucket=8, hash_config=HashConfig(precision=32))
    pairs, ids = str(work / "pairs"), str(work / "ids")
    started = time.process_time()
    buckets = MinhashDedupBuckets(str(work / "signatures"), pairs, config=config, lines_to_buffer=4096)
    for rank in range(14):
        buckets.run(rank=rank, world_size=14)
    between = time.process_time()
    MinhashDedupCluster(pairs, ids, config=config, lines_to_buffer=4096).run()
    removed = sum(path.stat().st_size // 4 for path in Path(ids).glob("*.remove"))
    return {"kept": [], "removed": removed, "buckets": between - started, "cluster": time.process_time() - between}


def documents(data: Path, pairs: int) -> list[str]:
    """Return originals and copies in turn."""
    prose: list[str] = []
    for name in ENGLISH:
        with zstandard.open(data / "text" / f"{name}.jsonl.zst", "rt", encoding="utf-8") as lines:
            prose += [word for line in lines for word in re.findall(r"[a-z]+", json.loads(line)["text"])]
    rng = random.Random(7)
    starts = rng.sample(range(0, len(prose) - WORDS, WORDS), pairs)
    texts = []
    for number, start in enumerate(starts):
        words = prose[start : start + WORDS]
        share = rng.uniform(0.0, 0.5)
        copy = list(words)
        if number % 3 == 0:
            for i in rng.sample(range(WORDS), int(WORDS * share / 5)):
                copy[i] = new_word(rng)
        elif number % 3 == 1:
            copy = words[: int(WORDS * (1 - share))]
        else:
            copy = [new_word(rng) for _ in range(int(WORDS * share))] + words
        texts += [" ".join(words), " ".join(copy)]
    return texts


def new_word(rng: random.Random) -> str:
    """Return a word that is nowhere else."""
    return "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=12))


def true_pairs(texts: list[str]) -> dict[tuple[int, int], float]:
    """Return all pairs that are similar enough, by the sets of their word 5-grams, with the similarity."""
    sets = []
    for text in texts:
        words = text.split()
        sets.append({tuple(words[i : i + 5]) for i in range(len(words) - 4)})
    found: dict[tuple[int, int], float] = {}
    owners: dict[tuple[str, ...], list[int]] = {}
    for number, own in enumerate(sets):
        shared = Counter(other for shingle in own for other in owners.get(shingle, ()))
        for other, count in shared.items():
            similarity = count / (len(own) + len(sets[other]) - count)
            if similarity >= THRESHOLD:
                found[other, number] = similarity
        for shingle in own:
            owners.setdefault(shingle, []).append(number)
    return found


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
    "datatrove, signatures": datatrove_on_signatures,
}

if __name__ == "__main__":
    main()
