"""Training WordPiece and byte-level BPE beside the trainer of `tokenizers`: equal vocabularies first, then times.

    python tests/bench/train_tokenizer.py [--vocab_size N] [--jsonl FILE --megabytes N]

Each side is a process of its own that holds the texts before the clock starts: ours, which counts words in batches of
4 MB and learns from the counts; and `Tokenizer.train_from_iterator`, with all cores and with one. It is told the
characters that ours found, as it would number them at random, and does not look for them itself. Kernels are compiled
before. FILE, of another corpus, has a text a line in its field "text".
"""

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import pyarrow as pa

from tests.bench.encode import LANGUAGES, documents
from transforms.tokenizer import SPECIAL_TOKENS, TrainParameters, train_on_words, train_tokenizer, word_counter
from transforms.word_counts import merged, steps_of

ONE_CORE = {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"}


def corpus(language, jsonl, megabytes):
    if not jsonl:
        return list(documents(LANGUAGES[language]))
    texts, left = [], megabytes * 1e6
    with open(jsonl, encoding="utf-8") as file:
        for line in file:
            texts.append(json.loads(line)["text"])
            left -= len(texts[-1].encode())
            if left <= 0:
                break
    return texts


def clock():
    return time.process_time(), time.perf_counter()


def ours(texts, model, vocab_size, _):
    train_tokenizer(["warm \u4e2d\xe9 it's 1984, don't  \n\n go"] * 2, TrainParameters(model=model))
    parameters = TrainParameters(model=model, vocab_size=vocab_size)
    counter = word_counter(parameters)
    batches = [pa.array(texts[start : start + 2000]) for start in range(0, len(texts), 2000)]
    began = clock()
    for batch in batches:
        counter.add(batch, np.ones(len(batch), np.int64))
    words = merged([counter.take()])
    counted = clock()
    tokenizer = train_on_words(words, parameters)
    return tokenizer.get_vocab(), began, counted


def theirs(texts, model, vocab_size, vocab):
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    pieces = sorted(vocab, key=vocab.get)
    options = {"vocab_size": vocab_size, "min_frequency": 2, "show_progress": False}
    if model == "wordpiece":
        characters = [piece for piece in pieces if len(piece) == 1]
        inside = [piece for piece in pieces if len(piece) == 3 and piece.startswith("##")]
        special = [*SPECIAL_TOKENS, *characters, *inside]
        alphabet = {"initial_alphabet": characters, "limit_alphabet": len(characters)}
        trainer = trainers.WordPieceTrainer(special_tokens=special, **alphabet, **options)
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    else:
        alphabet = {"initial_alphabet": sorted(pre_tokenizers.ByteLevel.alphabet())}
        trainer = trainers.BpeTrainer(special_tokens=list(SPECIAL_TOKENS), **alphabet, **options)
        tokenizer = Tokenizer(models.BPE())
    normalizer, tokenizer.pre_tokenizer = steps_of(model, lowercase=model == "wordpiece")
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    began = clock()
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer.get_vocab(with_added_tokens=False), began, began


def side(given):
    """One measurement, in a process of its own."""
    texts = corpus(given["language"], given["jsonl"], given["megabytes"])
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run = ours if given["ours"] else theirs
    vocab, began, counted = run(texts, given["model"], given["vocab_size"], given["vocab"])
    ended = clock()
    digest = hashlib.sha256(json.dumps(sorted(vocab.items())).encode()).hexdigest()
    measured = {
        "processor": ended[0] - began[0],
        "clock": ended[1] - began[1],
        "counting": counted[0] - began[0],
        "peak": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held) / 1e3,
        "megabytes": sum(len(text.encode()) for text in texts) / 1e6,
        "digest": digest,
        "vocab": vocab if given["ours"] else None,
    }
    print(json.dumps(measured))


def measured(given, environment):
    command = [sys.executable, __file__, "--side"]
    run = subprocess.run(
        command, input=json.dumps(given), env=os.environ | environment, check=True, capture_output=True, text=True
    )
    return json.loads(run.stdout)


def main(vocab_size, jsonl, megabytes, runs):
    print(
        "| corpus | model | MB | | processor s | of it counting | MB a processor second | seconds | ratio | peak MB |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for language in [Path(jsonl).stem] if jsonl else ["en", "zh"]:
        for model in ("wordpiece", "bpe"):
            given = {"language": language, "model": model, "vocab_size": vocab_size}
            given |= {"jsonl": jsonl, "megabytes": megabytes, "vocab": None}
            rows = {"gristmill": [], "tokenizers, all cores": [], "tokenizers, one core": []}
            for _ in range(runs):
                rows["gristmill"].append(measured(given | {"ours": True}, {}))
                told = given | {"ours": False, "vocab": rows["gristmill"][0]["vocab"]}
                rows["tokenizers, all cores"].append(measured(told, {"TOKENIZERS_PARALLELISM": "true"}))
                rows["tokenizers, one core"].append(measured(told, ONE_CORE))
            if len({row["digest"] for found in rows.values() for row in found}) != 1:
                raise SystemExit(f"{language}, {model}: vocabularies differ")
            base = np.median([row["processor"] for row in rows["gristmill"]])
            for name, found in rows.items():
                spent, seconds, counting, peak = (
                    float(np.median([row[key] for row in found])) for key in ("processor", "clock", "counting", "peak")
                )
                size = found[0]["megabytes"]
                print(
                    f"| {language} | {model} | {size:.1f} | {name} | {spent:.2f} |"
                    f" {f'{counting:.2f}' if name == 'gristmill' else ''} | {size / spent:.1f} | {seconds:.1f} |"
                    f" {spent / base:.1f} | {peak:.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--vocab_size", type=int, default=30_522)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--jsonl")
    parser.add_argument("--megabytes", type=float, default=1000)
    asked = parser.parse_args()
    if asked.side:
        side(json.loads(sys.stdin.read()))
    else:
        main(asked.vocab_size, asked.jsonl, asked.megabytes, asked.runs)
