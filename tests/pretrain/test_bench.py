"""The GPU measurements on a CPU with tiny sizes, so that the script cannot rot."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TINY = (
    "--device cpu --layers 2 --width 32 --heads 2 --vocab 500 --length 64 --micro-tokens 256 --rows 64 --steps 4 "
    "--warmup 1 --rounds 2 --gemm 64"
).split()
# Run in a fresh process with what may not be loaded made impossible to import.
_RUN = (
    "import runpy, sys\n"
    "for name in ('apache_beam', 'datasets', 'pydantic', 'numba'):\n"
    "    sys.modules[name] = None\n"
    "sys.argv = sys.argv[1:]\n"
    "runpy.run_path(sys.argv[0], run_name='__main__')\n"
)


@pytest.mark.parametrize(
    ("call", "model", "rival", "expected"),
    [
        ("kernels", "modernbert-base", "no", {"product ceiling", "copy", "attention sdpa local", "one step, bfloat16"}),
        ("throughput", "bert-base", "yes", {"dense head", "compiled, sdpa", "checkpoint", "transformers"}),
    ],
)
def test_bench_runs_on_cpu(tmp_path, call, model, rival, expected):
    """Each call prints its whole table, nothing failed, and Beam, datasets and pydantic are not needed."""
    table = tmp_path / "table.json"
    arguments = ["tests/bench/pretrain_gpu.py", call, *TINY, "--model", model, "--rival", rival, "--json", str(table)]
    result = subprocess.run(
        [sys.executable, "-c", _RUN, *arguments],
        cwd=ROOT, env={"PYTHONPATH": str(ROOT), "PATH": "", "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    lines = json.loads(table.read_text())["table"]
    assert expected <= {line["what"] for line in lines}
    assert not [line for line in lines if "failed" in line]
    assert all(line["tokens/s"] > 0 for line in lines if "tokens/s" in line)
    if call == "kernels":
        assert all(line["error"] < 0.02 for line in lines if "error" in line)
        assert lines[-1]["gradient cosine"] > 0.99
