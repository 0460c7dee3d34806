"""The README's ways to feed a training job, run as they stand on a small run."""

import re

import fsspec
import pytest

from tests.conftest import ROOT
from tests.pipeline.corpus import run_stages, write_config, write_corpus

README = (ROOT / "README.md").read_text(encoding="utf-8")
SECTION = README.split("## Feeding a training job\n")[1].split("\n## ")[0]
SNIPPETS = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """A finished run with a model, and its shards once more behind a URL."""
    directory = tmp_path_factory.mktemp("feeding")
    write_corpus(directory / "corpus", files=3, per_file=40)
    tiny = {"model": "modernbert-demo", "width": 32, "steps": 2, "batch_rows": 4}
    run_stages(write_config(directory, pretrain=tiny), last="pretrain")
    memory = fsspec.filesystem("memory")
    memory.put(str(directory / "out" / "shards"), "/quickstart/shards", recursive=True)
    yield directory / "out"
    memory.rm("/quickstart", recursive=True)


@pytest.mark.filterwarnings("ignore")
def test_every_snippet_runs(out, monkeypatch, capsys):
    """In order and in one namespace, with the paths of the run; each gives rows of its length."""
    pytest.importorskip("transformers")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(out.parent / "cache"))
    names = {}
    for snippet in SNIPPETS:
        code = snippet.replace("s3://my-bucket/", "memory://").replace("runs/quickstart", str(out))
        exec(compile(code, "README.md", "exec"), names)
    assert len(SNIPPETS) == 5
    assert names["copied"].num_rows == names["rows"].num_rows
    assert names["batch"]["input_ids"].shape == (64, 64)
    assert "torch.Size([8, 64])" in capsys.readouterr().out  # an eighth of 64 rows for each of 8 processes


def test_snippets_are_short():
    """Five lines of code each, imports apart, and readable without scrolling."""
    for snippet in SNIPPETS:
        lines = [line for line in snippet.splitlines() if line and not re.match(r"(import|from) ", line)]
        assert len(lines) <= 5
        assert max(map(len, lines)) <= 120
