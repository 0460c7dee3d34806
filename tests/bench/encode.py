"""Encoding against `tokenizers` on the shared corpora: every document once, one thread each, ids compared first.

    python tests/bench/encode.py [--megabytes N] [TOKENIZER]...

Times are processor times. Every language, its first N megabytes (1000 if not given), is read in chunks of a megabyte;
for each chunk both encoders run one after the other, so that a slow minute of the machine hits both. The encoder starts
empty for each language. Medians are over its chunks. The shared data has no Unigram tokenizer, so `unigram` is trained
here, on the first two chunks of each language.
"""

import argparse
import io
import json
import os
import sys
import sysconfig
import time
from itertools import islice
from pathlib import Path

os.environ.update(TOKENIZERS_PARALLELISM="false", RAYON_NUM_THREADS="1")
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import zstandard  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402

from transforms.encode import Encoder  # noqa: E402
from transforms.tokenizer import TrainParameters, load_tokenizer, train_tokenizer  # noqa: E402

SHARED = ROOT.parent / "shared" / "data"
LANGUAGES = {
    "en": ["perl-doc/en", "python-docs/en", "nltk-public-domain/en", "wesnoth/en"],
    "de": ["manpages/de", "debian-handbook/de-DE", "libreoffice-help/de"],
    "fr": ["manpages/fr", "libreoffice-help/fr"],
    "ru": ["manpages/ru", "libreoffice-help/ru", "wesnoth/ru"],
    "el": ["libreoffice-help/el"],
    "tr": ["libreoffice-help/tr", "manpages/tr", "wesnoth/tr"],
    "zh": ["oi-wiki/zh", "cmrc2018-wikipedia/zh", "libreoffice-help/zh-cn", "manpages/zh_CN"],
    "ja": ["manpages/ja", "libreoffice-help/ja", "wesnoth/ja"],
    "hy": ["bible-nt/hye"],
    "code": [],  # the standard library of this Python
}


def documents(names):
    for name in names:
        with zstandard.open(SHARED / "text" / f"{name}.jsonl.zst", "rb") as file:
            for line in io.TextIOWrapper(file, encoding="utf-8"):
                yield json.loads(line)["text"]
    if not names:
        for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
            yield path.read_text("utf-8")


def chunks(names, size=1 << 20):
    """Lists of documents of about `size` bytes."""
    part, num_bytes = [], 0
    for text in documents(names):
        part.append(text)
        num_bytes += len(text.encode())
        if num_bytes >= size:
            yield part, num_bytes
            part, num_bytes = [], 0
    if part:
        yield part, num_bytes


def tokenizer_named(name):
    if name != "unigram":
        return load_tokenizer(SHARED / "tokenizers" / name)
    texts = [text for names in LANGUAGES.values() for part, _ in islice(chunks(names), 2) for text in part]
    return train_tokenizer(texts, TrainParameters(model="unigram", vocab_size=32_000))


def seconds(function, *arguments, **options):
    start = time.process_time()
    result = function(*arguments, **options)
    return time.process_time() - start, result


def main(names, megabytes):
    for name in names:
        tokenizer = tokenizer_named(name)
        rival = Tokenizer.from_str(tokenizer.to_str())
        rival.encode_special_tokens = True
        Encoder(tokenizer).encode(pa.array(["warm \u4e2d\xe9 it's 1984, don't  \n\n go"]))  # compiles
        print(f"\n{name}\nlanguage     MB  gristmill MB/s  tokenizers MB/s   ratio  tokens/byte")
        ratios = []
        for language, files in LANGUAGES.items():
            encoder = Encoder(tokenizer)
            ours, theirs, total, num_tokens = [], [], 0, 0
            for texts, num_bytes in islice(chunks(files), megabytes):
                column = pa.array(texts)
                spent, encoded = seconds(encoder.encode, column)
                ours.append(num_bytes / spent)
                spent, encodings = seconds(rival.encode_batch_fast, texts, add_special_tokens=False)
                theirs.append(num_bytes / spent)
                expected = np.concatenate([np.array(encoding.ids, np.int64) for encoding in encodings])
                if not np.array_equal(encoded.values.to_numpy(), expected):
                    raise SystemExit(f"{name}, {language}: ids differ")
                total += num_bytes
                num_tokens += len(expected)
            fast, slow = np.median(ours) / 1e6, np.median(theirs) / 1e6
            ratio = float(np.median(np.array(ours) / np.array(theirs)))
            ratios.append(ratio)
            print(f"{language:8} {total / 1e6:6.1f} {fast:15.1f} {slow:16.2f} {ratio:7.1f} {num_tokens / total:12.3f}")
        print(f"median ratio {np.median(ratios):.1f}, smallest {min(ratios):.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("tokenizers", nargs="*")
    given = parser.parse_args()
    names = ["bert-base-uncased", "bert-base-chinese", "gpt2", "roberta-base", "gpt-neox-20b-olmo", "unigram"]
    main(given.tokenizers or names, given.megabytes)
