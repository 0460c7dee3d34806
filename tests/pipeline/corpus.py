"""A small corpus made of words, with duplicates and near-duplicates, and runs over it."""

import gzip
import json
import random
from pathlib import Path

import yaml

from pipeline.config import Config, load_config
from pipeline.run import run

WORDS = (
    "the of and to in that is was for it with as his on be at by had not are but from or have an they which one you"
    " were all her she there would their we him been has when who will more no if out so said what up its about into"
    " than them can only other new some could time these two may then do first any my now such like our over man me"
    " even most made after also did many before must through years where much your way well down should because each"
).split()


def sentence(rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(8, 16))).capitalize() + "."


def document(rng: random.Random) -> str:
    return "\n".join(" ".join(sentence(rng) for _ in range(rng.randint(2, 5))) for _ in range(rng.randint(2, 5)))


def records(count: int, seed: int) -> list[dict]:
    """Return `count` records: one in ten repeats an earlier text, one in ten repeats it with a word changed."""
    rng = random.Random(seed)
    texts: list[str] = []
    for number in range(count):
        if number % 10 == 7:
            texts.append(rng.choice(texts))
        elif number % 10 == 8:
            words = max(rng.sample(texts, 5), key=len).split(" ")
            words[rng.randrange(len(words))] = "changed"
            texts.append(" ".join(words))
        else:
            texts.append(document(rng))
    return [{"text": text, "url": f"https://example.org/{seed}/{n}", "n": n} for n, text in enumerate(texts)]


def write_corpus(directory: Path, *, files: int = 4, per_file: int = 60) -> None:
    """Write `files` JSONL files, every second one gzipped."""
    directory.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        lines = "".join(json.dumps(record) + "\n" for record in records(per_file, seed=number // 2))
        if number % 2:
            (directory / f"part-{number}.jsonl.gz").write_bytes(gzip.compress(lines.encode(), mtime=0))
        else:
            (directory / f"part-{number}.jsonl").write_text(lines)


def write_config(directory: Path, **changes) -> Path:
    """Write a configuration over `directory`/corpus into `directory`/out; `changes` replace top-level keys."""
    config = {
        "name": "test",
        "output": str(directory / "out"),
        "sources": [{"name": "web", "format": "jsonl", "path": str(directory / "corpus" / "*.jsonl*")}],
        "unit_bytes": 40_000,
        "tokenize": {"tokenizer": {"train": "wordpiece", "vocab_size": 512}, "seq_length": 64, "validation": 0.05},
        "runner": {"engine": "FnApiRunner"},
        **changes,
    }
    path = directory / "run.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def run_stages(path: Path, *, first="clean", last="tokenize", overrides=(), options=()) -> tuple[Config, list[str]]:
    """Run in this process and return the configuration and what was said."""
    said: list[str] = []
    config = load_config(str(path), overrides)
    run(config, first=first, last=last, beam_options=options, say=said.append)
    return config, said


def column_hashes(out: Path | str) -> dict:
    """Return the logical column hashes of every stage of a run."""
    stages = json.loads((Path(out) / "run.json").read_text())["stages"]
    return {stage: entry["column_hashes"] for stage, entry in stages.items() if "column_hashes" in entry}


def counts(out: Path | str) -> dict:
    """Return the counts of every stage of a run."""
    stages = json.loads((Path(out) / "run.json").read_text())["stages"]
    return {stage: entry["counts"] for stage, entry in stages.items() if "counts" in entry}
