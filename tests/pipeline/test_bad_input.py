"""Bad input: every broken record is a rejected row with rule and place, and all others come out."""

import gzip
import json
import random

import pyarrow as pa
import pytest

from pipeline.cli import main
from pipeline.errors import RunFailed, UserError
from tests.pipeline.corpus import counts, document, run_stages, write_config
from transforms.commit import load_records
from transforms.committed import read_table


def line(text):
    return json.dumps({"text": text}).encode() + b"\n"


@pytest.fixture
def broken(tmp_path):
    """Five files with one defect each, and what good text they hold."""
    rng = random.Random(5)
    good = [document(rng) for _ in range(40)]
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "json.jsonl").write_bytes(line(good[0]) + b'{"text": "no end\n' + line(good[1]))
    (corpus / "utf8.jsonl").write_bytes(line(good[2]) + b'{"text": "\xff\xfe"}\n' + line(good[3]))
    (corpus / "empty.jsonl").write_bytes(b"")
    (corpus / "field.jsonl").write_bytes(line(good[4]) + b'{"body": "x"}\n' + line(good[5]))
    whole = gzip.compress(b"".join(line(text) for text in good[6:]), mtime=0)
    (corpus / "cut.jsonl.gz").write_bytes(whole[: len(whole) * 2 // 3])
    return tmp_path, good


def ledger(out):
    tables = [read_table(str(out), record, "rejected") for record in load_records(str(out), "clean").values()]
    return pa.concat_tables(tables).to_pylist()


def test_one_broken_record_loses_nothing_else(broken):
    """Broken JSON, bad UTF-8, an empty file, a missing field and a cut gzip: five rules at five places."""
    directory, good = broken
    run_stages(write_config(directory), last="clean")
    rejected = {row["rule"]: row for row in ledger(directory / "out")}
    assert set(rejected) == {"bad_json", "bad_utf8", "missing_text", "truncated_gzip", "empty_file"}
    for rule, name in (("bad_json", "json.jsonl"), ("bad_utf8", "utf8.jsonl"), ("missing_text", "field.jsonl")):
        assert rejected[rule]["location"].endswith(f"{name}#{len(line(good[{'j': 0, 'u': 2, 'f': 4}[name[0]]]))}")
        assert rejected[rule]["stage"] == "clean"
    assert "cut.jsonl.gz#" in rejected["truncated_gzip"]["location"]
    assert "empty.jsonl#" in rejected["empty_file"]["location"]

    found = counts(directory / "out")["clean"]
    assert found["input"] == found["kept"] + 5
    records = load_records(str(directory / "out"), "clean").values()
    texts = [t for r in records for t in read_table(str(directory / "out"), r, "documents").column("text").to_pylist()]
    assert set(good[:6]) <= set(texts) <= set(good)
    assert len(texts) > 6 + 34 // 3


def test_a_file_that_vanishes_stops_the_run_and_it_resumes(broken):
    """Exit code 3 with one line; when the file is back, the same command ends the work."""
    directory, _ = broken
    path = write_config(directory, unit_bytes=1024)
    run_stages(path, last="clean")
    before = counts(directory / "out")
    victim = directory / "corpus" / "field.jsonl"
    content = victim.read_bytes()
    victim.unlink()
    victim.symlink_to(directory / "nowhere")
    with pytest.raises(UserError, match="no file matches|field.jsonl"):
        run_stages(path, last="clean", overrides=[f"sources.0.path={victim}"])
    victim.unlink()
    victim.write_bytes(content)
    run_stages(path, last="clean")
    assert counts(directory / "out") == before


def test_a_full_disk_stops_the_run_and_it_resumes(broken, monkeypatch):
    """A write that fails leaves no record; repeated with room again, the run ends as if nothing had happened."""
    from transforms import storage

    directory, _ = broken
    path = write_config(directory)
    real = storage.publish

    def full(private, final):
        if final.endswith(".json") and "units/clean" in final:
            raise OSError(28, "No space left on device", final)
        real(private, final)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "publish", full)
        with pytest.raises(RunFailed, match="No space left on device"):
            run_stages(path, last="clean")
    assert load_records(str(directory / "out"), "clean") == {}
    run_stages(path, last="clean")
    assert counts(directory / "out")["clean"]["kept"] > 0


def test_two_runs_on_one_output_are_refused(broken):
    """The second process is told; the lock goes with the process that holds it."""
    from pipeline.config import load_config
    from pipeline.run_state import RunState

    directory, _ = broken
    path = write_config(directory)
    with RunState(load_config(str(path))), pytest.raises(UserError, match="another gristmill is working"):
        run_stages(path, last="clean")
    run_stages(path, last="clean")


def test_stages_before_from_must_be_complete(broken):
    """--from dedup without clean says what to run; with it, only dedup runs."""
    directory, _ = broken
    path = write_config(directory)
    with pytest.raises(UserError, match=r"clean is not complete .*run `gristmill clean` first"):
        run_stages(path, first="dedup", last="dedup")
    run_stages(path, last="clean")
    run_stages(path, first="dedup", last="dedup")
    with pytest.raises(UserError, match="clean is not complete"):
        run_stages(path, first="dedup", last="dedup", overrides=["clean.unicode=nfkc"])


def test_nothing_left_is_a_clear_line(tmp_path):
    """A corpus of which nothing survives is the user's mistake, told with the place to look."""
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "a.jsonl").write_bytes(line(" "))
    with pytest.raises(UserError, match="no document survived"):
        run_stages(write_config(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "nowhere.yaml"], 2, "cannot read the configuration nowhere.yaml"),
        (["run", "{config}", "--set", "sources.0.path=/no/such/*.jsonl"], 2, "/no/such/*.jsonl"),
        (["run", "{config}", "--set", "runner.engine=DirectRunner"], 2, "Prism"),
        (["run", "{config}", "--from", "tokenize", "--to", "clean"], 2, "comes after"),
        (["run", "{config}", "--set", "clean.quality=[gopher-qualty]"], 2, "gopher-quality"),
        (["run", "{config}", "--set", "clean.language.keep=[xx]"], 2, "xx"),
        (["run", "{config}", "--set", "tokenize.tokenizer={load: /no/tokenizer.json}"], 2, "/no/tokenizer.json"),
        (["pretrain", "{config}"], 2, "no section pretrain"),
        (["try", "{config}", "/no/such.jsonl"], 2, "/no/such.jsonl"),
        (["report", "{dir}"], 2, "no run.json"),
    ],
)
def test_exit_codes(broken, capsys, arguments, code, words):
    """A mistake is exit code 2 and one line on stderr, never a traceback."""
    directory, _ = broken
    config = str(write_config(directory))
    arguments = [argument.replace("{config}", config).replace("{dir}", str(directory)) for argument in arguments]
    assert main(arguments) == code
    captured = capsys.readouterr()
    complaint = captured.err.strip().splitlines()[-1]
    assert complaint.startswith("gristmill: ")
    assert words in complaint
    assert "Traceback" not in captured.err


def warc_record(block, *, length=None):
    head = "WARC/1.0\r\nWARC-Type: response\r\nContent-Type: application/http\r\nContent-Length: "
    return f"{head}{len(block) if length is None else length}\r\n\r\n".encode() + block + b"\r\n\r\n"


def answer(body, *fields):
    return "\r\n".join(["HTTP/1.1 200 OK", "Content-Type: text/html", *fields, "", ""]).encode() + body


def test_hostile_files_cost_only_themselves(tmp_path):
    """Bombs, deep pages, NUL bytes, half surrogates, lines without end, wrong lengths: a row each, no more."""
    rng = random.Random(6)
    good = [document(rng) for _ in range(30)]
    texts = iter(good)
    page = lambda: answer(f"<p>{next(texts)}</p>".encode())  # noqa: E731
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    zeros = gzip.compress(bytes(30_000_000), 1, mtime=0)
    broken = {
        "extract_timeout": warc_record(answer(b"<div>" * 100_000 + b"x")),
        "html_too_large": warc_record(answer(zeros, "Content-Encoding: gzip")),
        "bad_content_encoding": warc_record(answer(zeros[:5000], "Content-Encoding: gzip")),
        "bad_content_length": warc_record(answer(b"<p>cut"), length=4),
        "record_too_large": warc_record(bytes(40_000_000)),
        "extract_empty": warc_record(answer(b"\0" * 1000)),
        "bad_http": warc_record(b"HTTP/1.1 \0\0"),
    }
    (corpus / "a.warc").write_bytes(
        b"".join(warc_record(page()) + bad for bad in broken.values())
        + warc_record(page())
        + warc_record(b"x", length=99)
    )
    members = [gzip.compress(warc_record(page()), mtime=0) for _ in range(3)]
    (corpus / "b.warc.gz").write_bytes(members[0] + members[1][:40] + bytes(20) + members[1][60:] + members[2])
    next_line = lambda: line(next(texts))  # noqa: E731
    (corpus / "a.jsonl").write_bytes(
        next_line() + b'{"text": "\\ud800"}\n' + next_line() + b"\0" * 10_000 + b"\n" + next_line()
    )
    with gzip.open(corpus / "b.jsonl.gz", "wb", compresslevel=1) as file:
        file.write(next_line())
        for _ in range(15):
            file.write(b"x" * 10_000_000)
        file.write(b"\n" + next_line())
    (corpus / "c.jsonl").write_bytes(next_line() + b"[" * 1_000_000)
    sources = [{"name": form, "format": form, "path": f"{corpus}/*.{form}*"} for form in ("warc", "jsonl")]
    run_stages(write_config(tmp_path, sources=sources), last="clean")

    out = str(tmp_path / "out")
    records = load_records(out, "clean").values()
    kept = {text for r in records for text in read_table(out, r, "documents").column("text").to_pylist()}
    used = good[: good.index(next(texts))]
    lost = {text for text in used if " ".join(text.split()) not in {" ".join(text.split()) for text in kept}}
    assert len(kept) == len(used) - 1
    assert len(lost) == 1  # the page in the damaged member
    rules = [row["rule"] for row in ledger(tmp_path / "out")]
    assert sorted(rules) == sorted(
        [*broken, "truncated_warc", "corrupt_gzip", "bad_utf8", "bad_json", "record_too_large", "bad_json"]
    )
    found = counts(tmp_path / "out")["clean"]
    assert found["input"] == len(kept) + len(rules)
