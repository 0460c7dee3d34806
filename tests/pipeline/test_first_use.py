"""pipeline.first_use: what is compiled when the program runs on a machine for the first time."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import yaml

from pipeline.config import Config
from pipeline.first_use import TEXTS, compile_kernels, write_texts
from transforms.kernels import machine_code

ROOT = Path(__file__).resolve().parents[2]
LINE = "kernels are compiled, once for this machine\n"

# The command line in this process, and behind it the functions that numba compiled in it.
COUNTED = """
import sys
from numba.core import event
from pipeline.cli import main
with event.install_recorder("numba:compile") as recorder:
    code = main(sys.argv[1:])
found = [what.data["dispatcher"].py_func.__name__ for _, what in recorder.buffer if what.is_start]
print("compiled:", *found)
sys.exit(code)
"""


def write_run(directory: Path, **clean) -> list[str]:
    """Write a configuration and a file of texts, and return the arguments of `try`."""
    write_texts(directory / "texts.jsonl")
    source = {"name": "texts", "format": "jsonl", "path": str(directory / "texts.jsonl")}
    config = {"name": "first", "output": str(directory / "out"), "sources": [source], "clean": clean}
    (directory / "run.yaml").write_text(yaml.safe_dump(config))
    return ["try", str(directory / "run.yaml"), source["path"]]


def begin(code: list[str], directory: Path) -> subprocess.Popen:
    """Start Python over a cache of machine code of its own."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(directory / "cache"), "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *code], env=environment, cwd=directory, start_new_session=True, **pipes)


def test_a_first_try_compiles_the_whole_chain_once_and_says_so(tmp_path):
    """One line, one specialisation of each kernel; from then on no process compiles anything, or says that it does."""
    rules = ["gopher-repetition", "gopher-quality", "c4-fineweb", "fineweb"]
    arguments = write_run(tmp_path, language={"keep": ["en"]}, quality=rules, pii=["email", "ip"])
    first = begin(["-m", "pipeline", *arguments], tmp_path)
    verdicts, said = first.communicate()
    assert first.returncode == 0, said
    assert said == LINE
    assert len(verdicts.splitlines()) == len(TEXTS)

    again = begin(["-c", COUNTED, *arguments], tmp_path)
    printed, said = again.communicate()
    assert said == ""
    assert printed == f"{verdicts}compiled:\n"

    code = list(tmp_path.rglob("*.nbc"))
    assert len(code) == len(list(tmp_path.rglob("*.nbi")))  # one set of types each
    assert 8 <= len(code) <= 12
    assert list(tmp_path.rglob("*.tmp.*")) == []


def test_a_first_use_that_is_stopped_is_begun_again(tmp_path):
    """Its processes end with it, without a word, and nothing says that the kernels are there."""
    arguments = write_run(tmp_path)
    first = begin(["-m", "pipeline", *arguments], tmp_path)
    assert first.stderr.readline() == LINE
    os.killpg(first.pid, signal.SIGINT)
    _, said = first.communicate()
    assert first.returncode == 3
    assert said == "gristmill: stopped. The same command resumes.\n"
    assert list(tmp_path.rglob("filled-*")) == []
    for said in (LINE, ""):
        assert begin(["-m", "pipeline", *arguments], tmp_path).communicate()[1] == said
    assert len(list(tmp_path.rglob("filled-*"))) == 1


def test_other_kernels_are_another_first_use(tmp_path, monkeypatch):
    """What a configuration chooses is compiled and told once, whatever another chose before; values are no choice."""
    monkeypatch.setattr(machine_code, "CACHE_DIRECTORY", str(tmp_path))
    source = {"name": "texts", "format": "jsonl", "path": "absent"}
    said: list[str] = []
    for clean, told in (({}, 1), ({}, 1), ({"language": {"keep": ["en"]}}, 2), ({"language": {"keep": ["de"]}}, 2)):
        compile_kernels(Config(name="x", output=str(tmp_path), sources=[source], clean=clean), said.append)
        assert len(said) == told
    machine_code.note_filled(machine_code.ALL)
    compile_kernels(Config(name="x", output=str(tmp_path), sources=[source], clean={"pii": ["email"]}), said.append)
    assert len(said) == 2


def test_a_mistake_in_the_configuration_is_left_to_the_command(tmp_path, monkeypatch):
    """The processes end without a traceback, and the next run begins again."""
    monkeypatch.setattr(machine_code, "CACHE_DIRECTORY", str(tmp_path))
    source = {"name": "texts", "format": "jsonl", "path": "absent"}
    clean = {"quality": ["gopher-quality"], "bad_words": {"path": str(tmp_path / "absent")}}
    config = Config.model_validate({"name": "x", "output": str(tmp_path), "sources": [source], "clean": clean})
    said: list[str] = []
    compile_kernels(config, said.append)
    assert said == [LINE.strip()]
    assert list(tmp_path.glob("filled-*")) == []
