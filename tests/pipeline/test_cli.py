"""The commands that look and do not touch: plan, try, schema; and the program as a user starts it."""

import json
import os
import subprocess
import sys

import jsonschema
import pytest
import yaml

from pipeline.cli import main
from tests.conftest import ROOT
from tests.pipeline.corpus import counts, write_config, write_corpus


@pytest.fixture
def directory(tmp_path):
    write_corpus(tmp_path / "corpus", files=2, per_file=30)
    return tmp_path


def test_plan_shows_units_and_writes_nothing(directory, capsys):
    """Files, units, bytes, memory and what the chosen bands find; the output directory is not even made."""
    assert main(["plan", str(write_config(directory))]) == 0
    shown = capsys.readouterr().out
    assert "2 files" in shown
    assert "14 bands x 8 rows" in shown
    assert "0.92" in shown.split("  p  ")[1]  # 14 x 8 finds 92% at 0.8
    assert not (directory / "out").exists()


@pytest.mark.parametrize("price", ["-1", "nan", "inf"])
def test_a_price_is_an_amount_of_money(directory, capsys, price):
    """Exit code 2 and one line."""
    assert main(["plan", str(write_config(directory)), "--price", price]) == 2
    assert f"--price {price}: " in capsys.readouterr().err


def test_try_tells_the_fate_of_each_document(directory, capsys):
    """JSONL with keep, rule, value, threshold and the text that would be kept; a broken line is told too."""
    sample = directory / "sample.jsonl"
    good = json.loads((directory / "corpus" / "part-0.jsonl").read_text().splitlines()[0])
    german = "Der Hund und die Katze sitzen auf der Bank, und sie warten auf den Mann mit dem Brot. " * 5
    lines = [json.dumps(good), json.dumps({"text": german, "url": "u"}), "{", json.dumps({"text": " \t"})]
    sample.write_text("\n".join(lines) + "\n")
    path = write_config(directory, clean={"language": {"keep": ["en"]}})
    assert main(["try", str(path), str(sample)]) == 0
    verdicts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(v["keep"], v["rule"]) for v in verdicts] == [
        (True, None), (False, "language"), (False, "bad_json"), (False, "empty"),
    ]  # fmt: skip
    assert verdicts[0]["text"] == good["text"]
    assert verdicts[1]["language"] == "de"
    assert verdicts[1]["value"] < verdicts[1]["threshold"] == 0.65
    assert not (directory / "out").exists()


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_example_configs_fit_the_schema(path, capsys):
    """The schema that editors use accepts every shipped configuration and refuses a misspelt key."""
    assert main(["schema"]) == 0
    validator = jsonschema.Draft202012Validator(json.loads(capsys.readouterr().out))
    config = yaml.safe_load(path.read_text())
    assert list(validator.iter_errors(config)) == []
    assert list(validator.iter_errors({**config, "sauces": []})) != []


def test_the_program_as_a_user_starts_it(directory):
    """`python -m pipeline run`: exit code 0, a summary on stdout, and everything that the summary names exists."""
    out = directory / "out"
    path = write_config(directory, rejected={"keep_text": True})
    command = [sys.executable, "-m", "pipeline", "run", str(path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "60 records read" in done.stdout
    for name in ("documents", "rejected", "deletions", "tokenizer", "shards", "report/index.html", "run.json"):
        assert name in done.stdout
        assert (out / name).exists()
    assert counts(out)["clean"]["input"] == 60

    again = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert "nothing to do" in again.stdout


WARM = """
import ast, importlib, pathlib, sys
from pipeline.cli import main
assert main(["warm"]) == 0
for path in [path for top in ("transforms", "pipeline") for path in pathlib.Path(top).rglob("*.py")]:
    for node in ast.walk(ast.parse(path.read_text())) if "kernels" not in path.parts else ():
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("transforms.kernels."):
            for name in node.names:
                kernel = getattr(importlib.import_module(node.module), name.name)
                if getattr(kernel, "signatures", None) == [] and path.name != "preload.py":
                    print(node.module, name.name)
"""


def test_warm_calls_every_kernel():
    """All stages run once over a few words, so that a run compiles nothing: a container's cache is written once."""
    done = subprocess.run([sys.executable, "-c", WARM], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == ""
    assert "kernels compiled" in done.stderr


def test_pretrain_without_torch_is_told_at_once(directory, monkeypatch, capsys):
    """Not after hours of the stages before it; these are done without it."""
    monkeypatch.setitem(sys.modules, "torch", None)
    config = str(write_config(directory, pretrain={"model": "bert-tiny", "steps": 1}))
    assert main(["run", config]) == 2
    assert "pip install 'gristmill[pretrain]'" in capsys.readouterr().err
    assert not (directory / "out").exists()


def test_an_error_nobody_foresaw_is_no_gate(monkeypatch, capsys):
    """Exit code 3 and one line with its kind; the traceback is for those who ask for it."""
    import pipeline.report

    monkeypatch.setattr(pipeline.report, "write_report", lambda out: {}["such a\nthing"])
    assert main(["report", "nowhere"]) == 3
    said = capsys.readouterr().err
    assert said.startswith("gristmill: KeyError: 'such a")
    assert said.count("\n") == 1
    monkeypatch.setenv("GRISTMILL_TRACEBACK", "1")
    assert main(["report", "nowhere"]) == 3
    assert "Traceback" in capsys.readouterr().err


def test_an_output_whose_server_says_no_is_one_line(directory, monkeypatch, capsys):
    """What the libraries behind a URL raise is told with the URL, and is no exit code of a gate."""
    from fsspec.implementations.memory import MemoryFileSystem

    class NoCredentialsError(Exception):
        pass

    def refuse(*args, **kwargs):
        raise NoCredentialsError("Unable to locate credentials")

    monkeypatch.setattr(MemoryFileSystem, "_open", refuse)
    assert main(["run", str(write_config(directory, output="memory://closed/out"))]) == 3
    said = capsys.readouterr().err
    assert "Unable to locate credentials (memory://closed/out/run.json)" in said
    assert said.count("\n") == 1
