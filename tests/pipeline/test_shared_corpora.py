"""The real corpora beside the checkout run through configs/multilingual.yaml."""

import datasets
import pytest
from transformers import AutoTokenizer

from tests.conftest import ROOT
from tests.pipeline.corpus import counts, run_stages


@pytest.mark.slow
def test_the_multilingual_config(shared_data, tmp_path):
    """Many languages of one handbook and Chinese Wikipedia: labels are found, counts agree, shards open."""
    text = shared_data / "text"
    overrides = [
        f"output={tmp_path / 'out'}",
        f"sources.0.path={text}/debian-handbook/*.jsonl.zst",
        f"sources.1.path={text}/cmrc2018-wikipedia/*.jsonl.zst",
        "tokenize.tokenizer.vocab_size=8192",
        "runner.engine=FnApiRunner",
    ]
    run_stages(ROOT / "configs" / "multilingual.yaml", overrides=overrides)
    found = counts(tmp_path / "out")
    assert found["clean"]["input"] == found["clean"]["kept"] + sum(found["clean"]["rejected"].values())
    languages = found["clean"]["languages"]
    assert {"de", "en", "es", "fr", "ja", "zh-cn"} <= set(languages)
    assert found["tokenize"]["kept"] == found["dedup"]["kept"] > 1000
    shards = datasets.load_from_disk(str(tmp_path / "out" / "shards"))
    assert shards["train"].num_rows == found["shards"]["train"]["rows"]
    tokenizer = AutoTokenizer.from_pretrained(str(tmp_path / "out" / "tokenizer"))
    row = shards["validation"][0]
    assert sum(row["document_lengths"]) == len(row["input_ids"]) <= 256
    assert row["input_ids"][0] == tokenizer.cls_token_id
    assert found["tokenize"]["tokens"] == sum(found["shards"][split]["tokens"] for split in ("train", "validation"))
