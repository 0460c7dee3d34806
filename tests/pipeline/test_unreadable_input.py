"""Input that cannot be read at all: exit code 2 or 3, one line that names the file, and nothing committed by halves."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest

from pipeline import clean
from pipeline.cli import main
from tests.conftest import ROOT
from tests.pipeline.corpus import counts, write_config
from tests.transforms.readers.servers import answering, served
from transforms.commit import load_records
from transforms.readers import remote

LINES = b"".join(b'{"text": "The mill grinds the grain of row %d."}\n' % number for number in range(500))


def sources(path, form="jsonl"):
    return [{"name": "web", "format": form, "path": str(path)}]


def complaint(captured):
    """Return the one line on standard error that is not progress."""
    assert "Traceback" not in captured
    lines = [line for line in captured.splitlines() if line.startswith("gristmill: ")]
    assert len(lines) == 1
    return lines[0]


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "corpus").mkdir()
    for name in ("a.jsonl", "b.jsonl", "c.jsonl"):
        (tmp_path / "corpus" / name).write_bytes(LINES)
    return tmp_path


def test_a_file_that_goes_after_the_plan(corpus, capsys, monkeypatch):
    """Exit code 3 names the file; what was committed before stays, and with the file back the command ends the work."""
    path = write_config(corpus, unit_bytes=len(LINES))
    victim, plan = corpus / "corpus" / "b.jsonl", clean.make_plan

    def planned(*args):
        made = plan(*args)
        victim.rename(corpus / "away")
        return made

    with monkeypatch.context() as patch:
        patch.setattr(clean, "make_plan", planned)
        assert main(["clean", str(path)]) == 3
    line = complaint(capsys.readouterr().err)
    assert str(victim) in line
    assert line.endswith("The same command resumes.")
    assert {record.counts["input"] for record in load_records(str(corpus / "out"), "clean").values()} <= {500}
    (corpus / "away").rename(victim)
    assert main(["clean", str(path)]) == 0
    assert counts(corpus / "out")["clean"]["input"] == 1500


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that the system refuses to read")
@pytest.mark.parametrize("form", ["jsonl", "csv", "text", "parquet", "warc", "mediawiki"])
def test_a_disk_that_answers_with_an_error(tmp_path, capsys, form):
    """A read that fails is exit code 3, for every format, and never a file of no records."""
    (tmp_path / "bad").symlink_to("/proc/self/mem")
    assert main(["clean", str(write_config(tmp_path, sources=sources(tmp_path / "bad", form)))]) == 3
    assert str(tmp_path / "bad") in complaint(capsys.readouterr().err)
    assert load_records(str(tmp_path / "out"), "clean") == {}


def test_an_unreadable_directory(corpus, capsys, monkeypatch):
    """A directory that may not be listed is told before anything is read."""
    closed = str(corpus / "corpus")
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: str(path).rstrip("/") != closed and access(path, mode))
    path = write_config(corpus, sources=sources(corpus / "corpus" / "*.jsonl"))
    assert main(["clean", str(path)]) == 2
    assert complaint(capsys.readouterr().err) == f"gristmill: source web: cannot list the directory {closed}/"


@pytest.mark.parametrize("path", ["missing.jsonl", "dangling.jsonl", "loop.jsonl", "a.jsonl/x.jsonl", "", "x" * 300])
def test_a_path_that_leads_nowhere(corpus, capsys, path):
    """A missing file, a link to one, a link to itself, a file taken for a directory: exit code 2."""
    (corpus / "corpus" / "dangling.jsonl").symlink_to(corpus / "nowhere")
    (corpus / "corpus" / "loop.jsonl").symlink_to(corpus / "corpus" / "loop.jsonl")
    config = write_config(corpus, sources=sources(corpus / "corpus" / path))
    assert main(["clean", str(config)]) == 2
    assert str(corpus / "corpus") in complaint(capsys.readouterr().err)


DENIED = b'<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>'


def test_a_bucket_that_answers_403(tmp_path):
    """The program as a user starts it: exit code 2, one line with the address, and nothing written of the corpus."""
    pytest.importorskip("s3fs")
    config = write_config(tmp_path, sources=sources("s3://closed/*.jsonl.gz"))
    with served(answering(403, DENIED)) as address:
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "AWS_ENDPOINT_URL": address,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        command = [sys.executable, "-m", "pipeline", "run", str(config)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("gristmill: source web: [Errno 13] ")
    assert "s3://closed/*.jsonl.gz" in line
    assert {path.name for path in (tmp_path / "out").rglob("*")} <= {".lock", "progress.json"}


@pytest.fixture
def _no_waits(monkeypatch):
    monkeypatch.setattr(remote, "WAITS_S", (0.0, 0.0))


@pytest.mark.usefixtures("_no_waits")
@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_server_that_changes_its_mind(tmp_path, capsys, status):
    """A file that was there for the plan and is refused when it is read is exit code 3, whatever the answer is."""
    pytest.importorskip("aiohttp")
    (tmp_path / "a.jsonl").write_bytes(LINES * 2000)
    with served(functools.partial(answering(status, after=4), directory=tmp_path)) as address:
        fsspec.filesystem("http").clear_instance_cache()
        config = write_config(tmp_path, sources=sources(f"{address}/a.jsonl"), unit_bytes=1 << 30)
        assert main(["clean", str(config)]) == 3
        assert f"{address}/a.jsonl" in complaint(capsys.readouterr().err)
    assert load_records(str(tmp_path / "out"), "clean") == {}


@pytest.mark.usefixtures("_no_waits")
def test_a_server_that_does_not_answer_is_no_mistake_of_the_user(tmp_path, capsys):
    """Exit code 3 while planning, too: who retries on 3 gets over a server that is down for an hour."""
    pytest.importorskip("aiohttp")
    with served(answering(503)) as address:
        fsspec.filesystem("http").clear_instance_cache()
        config = write_config(tmp_path, sources=sources(f"{address}/a.jsonl"))
        assert main(["clean", str(config)]) == 3
        assert f"{address}/a.jsonl" in complaint(capsys.readouterr().err)


def test_try_of_a_file_that_cannot_be_read(tmp_path, capsys):
    """`try` of a directory is a mistake, of an unreadable file too."""
    config = write_config(tmp_path)
    for path in (tmp_path, Path("/proc/self/mem")):
        assert main(["try", str(config), str(path)]) in (2, 3)
        assert str(path) in complaint(capsys.readouterr().err)
