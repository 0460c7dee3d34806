"""The GPU measurements on a CPU with tiny sizes, so that the script cannot rot."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.pretrain.architecture import architecture_of
from pipeline.pretrain.flops import Work, attended_pairs, training_flops
from pipeline.pretrain.model import num_parameters
from tests.bench import pretrain_corpus, pretrain_gpu, pretrain_passes, pretrain_roofline
from tests.pretrain.shards import make_rows, write_split

ROOT = Path(__file__).resolve().parents[2]
TINY = (
    "--device cpu --layers 2 --width 32 --heads 2 --vocab 500 --length 64 --lengths 64 128 --micro-tokens 256 "
    "--rows 64 --steps 2 --warmup 1 --rounds 2 --accumulate 2 --gemm 64 --row-seconds 0.1"
).split()
# Run in a fresh process with what may not be loaded made impossible to import.
_RUN = (
    "import runpy, sys\n"
    "for name in ('apache_beam', 'datasets', 'pydantic', 'numba'):\n"
    "    sys.modules[name] = None\n"
    "sys.argv = sys.argv[1:]\n"
    "runpy.run_path(sys.argv[0], run_name='__main__')\n"
)


LADDER = [
    "eager, dense head", "eager, whole last layer", "eager", "whole last layer", "block compiled",
    "model compiled, sdpa", "muon", "stableadamw", "cached rows",
]  # fmt: skip


@pytest.fixture
def table(tmp_path, monkeypatch, capsys):
    """Runs a call of the script in this process and returns its rows by name, and what it printed."""

    def run(call, *arguments):
        path = tmp_path / "table.json"
        monkeypatch.setattr("sys.argv", ["pretrain_gpu.py", call, *TINY, *arguments, "--json", str(path)])
        pretrain_gpu.main()
        return _rows(path), capsys.readouterr().out

    yield run
    torch._dynamo.reset()


def _rows(path):
    return {line["what"]: line for line in json.loads(path.read_text())["table"]}


def test_kernels_run_on_cpu(tmp_path):
    """Every row of the first call is there, nothing failed, and Beam, datasets and pydantic are not needed."""
    path = tmp_path / "table.json"
    command = ["tests/bench/pretrain_gpu.py", "kernels", *TINY, "--model", "modernbert-base", "--json", str(path)]
    result = subprocess.run(
        [sys.executable, "-c", _RUN, *command],
        cwd=ROOT, env={"PYTHONPATH": str(ROOT), "PATH": "", "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        timeout=200, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    rows, shown = _rows(path), result.stdout
    assert not [row for row in rows.values() if "failed" in row]
    assert {"product ceiling", "copy", "residual and norm, both ways", "attention sdpa local"} <= rows.keys()
    assert all(row["error"] < 0.02 for row in rows.values() if "error" in row)
    assert all(row["empty documents change nothing"] for row in rows.values() if "attention sdpa" in row["what"])
    assert rows["one step, bfloat16"]["gradient cosine"] > 0.99
    assert shown.count("attention sdpa") == 4


def test_throughput_runs_on_cpu(table):
    """The ladder comes first and in its order, all of it measured; losses equal the rival's; graphs are made once."""
    rows, _ = table("throughput", "--model", "bert-base", "--compile", "eager")
    assert not [row for row in rows.values() if "failed" in row]
    assert list(rows)[: len(LADDER)] == LADDER
    assert all(rows[name]["tokens/s"] > 0 and rows[name]["x rival"] > 0 for name in LADDER)
    assert all(rows[name]["recompiled"] == 0 for name in LADDER)
    assert rows["same loss as transformers"]["error"] < 1e-5
    assert {"transformers, autocast", "checkpoint", "kernel 1", "kernel 10", "512 tokens a pass"} <= rows.keys()
    assert rows["checkpoint"]["resume ms"] > 0
    assert rows["race of attention"]["shape"] == "sdpa"
    assert rows["race of attention"]["sdpa ms"] > 0


def test_the_time_is_kept(table):
    """When the time is over the rows left are told as skipped, and the call still ends with its table."""
    rows, shown = table("throughput", "--seconds", "0", "--rival", "no")
    assert {row["failed"] for row in rows.values()} == {"skipped: no time left"}
    assert "eager, dense head" in shown


def test_the_calculation_counts_what_the_meter_counts(capsys, monkeypatch):
    """Operations of the trained BERT are those of the honest formula; no way of the ladder does fewer."""
    length, rate = 512, 0.15
    a = architecture_of("bert-base", vocab_size=30_522, positions=length, pad_id=0)
    pairs = length * length * pretrain_roofline.DOCUMENT_SHARE[length]
    useful = training_flops(a, Work(rate * length, length, pairs, pairs)) / length
    costs = [pretrain_roofline.step_cost(a, way, length=length, rate=rate) for way in pretrain_roofline.LADDER]
    in_sight = costs[-1].attention / pretrain_roofline.TILES[length][0]
    assert costs[-1].products + in_sight == pytest.approx(useful, rel=1e-12)
    for way, cost in zip(pretrain_roofline.LADDER, costs, strict=True):
        assert cost.products >= costs[-1].products
        assert cost.attention >= (in_sight if way.dense_attention else costs[-1].attention)
    assert costs[0].bytes > costs[1].bytes > costs[2].bytes > costs[-1].bytes
    monkeypatch.setattr("sys.argv", ["pretrain_roofline.py"])
    pretrain_roofline.main()
    assert capsys.readouterr().out.count("modernbert-base") == 2 + len(pretrain_roofline.LADDER)


@pytest.mark.parametrize("length", [512, 1024])
def test_tiles_are_those_of_the_generated_rows(length):
    """Pairs in tiles of 128 of pairs in sight, counted document by document, are what the calculation takes, to 3%."""
    rng = np.random.default_rng(0)
    documents = [piece for _ in range(1000) for piece in pretrain_gpu._piece_lengths(rng, length)]
    tiles = [-(-piece // 128) for piece in documents]
    full, local = (float(pairs) for pairs in attended_pairs(torch.tensor([documents]), 64))
    assert pretrain_roofline.TILES[length][0] == pytest.approx(sum(n * n for n in tiles) * 128**2 / full, rel=0.03)
    near = sum(max(1, 3 * n - 2) for n in tiles) * 128**2
    assert pretrain_roofline.TILES[length][1] == pytest.approx(near / local, rel=0.03)


@pytest.mark.skipif(torch.version.cuda is None, reason="needs PyTorch's CUDA build, though no GPU")
@pytest.mark.parametrize("model", ["bert-base", "modernbert-base"])
def test_the_compiler_makes_the_passes_of_the_calculation(model):
    """One layer more are the bytes of one layer as calculated, to 1%, and attention once in each direction."""
    tokens, counted, weights = 65_536, [], []
    for layers in (5, 6):  # of ModernBERT the last one is local both times
        a = architecture_of(model, vocab_size=1000, positions=512, pad_id=0, layers=layers)
        passes = pretrain_passes.count_passes(a, length=512, rate=0.15, tokens=tokens)
        counted.append(sum(one.bytes for one in passes if not one.extern))
        weights.append(num_parameters(a))
        attention = [one.backward for one in passes if "_varlen_attn" in one.name]
        assert attention == [False] * layers + [True] * layers
    cost = pretrain_roofline.layer_cost(a, pairs=1.0, share=1.0, fused=True)
    cast = 12 * (weights[1] - weights[0])  # to bfloat16 and gradients back
    assert counted[1] - counted[0] == pytest.approx(cost.bytes * tokens + cast, rel=0.01)


def test_clean_and_raw_text_are_compared(out, tmp_path_factory, monkeypatch, capsys):
    """Stopped in time and begun again, both arms come to the same tokens; rows without sense teach less."""
    raw, to = tmp_path_factory.mktemp("raw"), tmp_path_factory.mktemp("arms")
    write_split(out / "shards" / "train", make_rows(40, 1, noise=0.0))
    write_split(out / "shards" / "validation", make_rows(20, 2, noise=0.0), num_files=1)
    write_split(raw / "shards" / "train", make_rows(40, 1, noise=1.0))
    settings = {
        "model": "modernbert-demo", "width": 32, "heads": 2, "steps": 60, "batch_rows": 8, "optimizer": "muon",
        "lr": 0.01, "eval_every": 20, "threads": 1,
    }  # fmt: skip
    command = ["pretrain_corpus.py", str(out), str(raw), "--to", str(to)]
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    monkeypatch.setattr("sys.argv", [*command, "--seconds", "0"])
    pretrain_corpus.main()
    assert capsys.readouterr().err.count("the same command resumes there") == 2
    monkeypatch.setattr("sys.argv", [*command, "--json", str(to / "table.json")])
    pretrain_corpus.main()
    table = json.loads((to / "table.json").read_text())["table"]
    assert [row["step"] for row in table] == [20, 40, 60]
    assert table[-1]["raw - clean"] > 0.02
    assert table[-1]["clean tokens"] == pytest.approx(
        table[-1]["raw tokens"], rel=0.2
    )  # rows of these tests are not full
