"""Memory of a worker: bounded by the batch, whatever has passed through it."""

import json
import random
import shutil

from tests.pipeline.corpus import document, run_stages, write_config
from transforms.commit import load_records

FILES = 24


def test_the_peak_does_not_grow_with_what_is_read(tmp_path):
    """From the eighth to the last of 24 files the worker's peak grows by less than half of what it reads."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    rng = random.Random(0)
    texts = [document(rng) for _ in range(200)]
    first = corpus / "part-00.jsonl"
    with first.open("w") as file:
        while file.tell() < 2 << 20:
            file.write(json.dumps({"text": "\n".join(rng.choices(texts, k=4))}) + "\n")
    for number in range(1, FILES):
        shutil.copy(first, corpus / f"part-{number:02d}.jsonl")
    clean = {"language": {"keep": ["en"], "threshold": 0.0}, "quality": ["gopher-quality", "fineweb"], "pii": ["email"]}
    path = write_config(tmp_path, clean=clean, unit_bytes=3 << 20, runner={"engine": "local", "workers": 1})
    run_stages(path, last="clean")
    records = [*load_records(str(tmp_path / "out"), "clean").values()]
    assert len(records) == FILES
    peaks = [record.peak_rss_bytes for record in records]
    assert peaks == sorted(peaks)
    assert peaks[-1] - peaks[7] < (FILES - 8) * (2 << 20) / 2
