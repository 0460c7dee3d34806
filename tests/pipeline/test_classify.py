"""finetune, evaluate and --suggest, as a user types them."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli import main
from tests.pipeline.corpus import write_config, write_corpus
from tests.pipeline.test_pretrain_stage import TINY

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with a tiny model, and labelled texts whose class is told by two words."""
    directory = tmp_path_factory.mktemp("classify")
    write_corpus(directory / "corpus", files=2, per_file=40)
    path = write_config(directory, pretrain={**TINY, "steps": 80, "optimizer": "muon", "lr": 0.02})
    assert main(["run", str(path)]) == 0
    rng = random.Random(3)
    words = {"up": "over many more", "down": "not no out"}
    for name, count in (("train", 160), ("validation", 40)):
        rows = [(label, f"they {rng.choice(words[label].split())} it") for label in rng.choices(list(words), k=count)]
        lines = [json.dumps({"text": text, "label": label}) + "\n" for label, text in rows]
        (directory / f"{name}.jsonl").write_text("".join(lines))
    return directory, path


def test_finetune_and_evaluate(run, tmp_path, capsys):
    """A sweep beats the majority class, and evaluate repeats the report from the written model."""
    directory, _ = run
    command = ["finetune", "--model", str(directory / "out" / "model"), "--to", str(tmp_path / "classifier")]
    files = ["--train", str(directory / "train.jsonl"), "--validation", str(directory / "validation.jsonl")]
    assert main([*command, *files, "--lr", "1e-3", "1e-2", "--epochs", "6"]) == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert report["accuracy"] > report["majority"] + 0.2
    assert captured.err.count("epoch ") == 12
    again = ["evaluate", "--model", str(tmp_path / "classifier"), "--data", str(directory / "validation.jsonl")]
    assert main(again) == 0
    evaluated = json.loads(capsys.readouterr().out)
    assert evaluated["confusion"] == report["confusion"]


def test_a_dataset_instead_of_a_file(run, tmp_path, capsys):
    """What `datasets` saved is opened by directory and split, with the names of its classes; others are one line."""
    import datasets

    directory, _ = run
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["down", "up"])})
    splits = {}
    for name in ("train", "validation"):
        rows = [json.loads(line) for line in (directory / f"{name}.jsonl").read_text().splitlines()]
        splits[name] = datasets.Dataset.from_list(rows, features=features)
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "saved")
    command = ["finetune", "--model", str(directory / "out" / "model"), "--to", str(tmp_path / "to"), "--epochs", "1"]
    saved = str(tmp_path / "saved")
    assert main([*command, "--train", saved, "--validation", f"{saved}:validation"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["classes"] == ["down", "up"]
    assert report["examples"] == 40
    assert main(["evaluate", "--model", str(tmp_path / "to"), "--data", f"{saved}/train"]) == 0
    assert json.loads(capsys.readouterr().out)["examples"] == 160
    for wrong, words in ((f"{saved}:test", "no split 'test'"), (str(tmp_path / "none"), "neither a file nor a data")):
        assert main([*command, "--train", wrong, "--validation", saved]) == 2
        complaint = capsys.readouterr().err.strip()
        assert words in complaint
        assert complaint.count("\n") == 0


def test_a_machine_that_only_trains(run, tmp_path):
    """Where PyTorch is and nothing of what the other stages need, models are fine-tuned and measured all the same."""
    directory, _ = run
    code = (
        "import sys\n"
        "for name in ('apache_beam', 'datasets', 'numba', 'pydantic', 'xxhash', 'transformers'):\n"
        "    sys.modules[name] = None\n"
        "from pipeline.cli import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    model, data = ["--model", str(directory / "out" / "model")], str(directory / "validation.jsonl")
    finetune = [
        "finetune",
        *model,
        "--train",
        data,
        "--validation",
        data,
        "--to",
        str(tmp_path / "to"),
        "--epochs",
        "1",
    ]
    for arguments in (["evaluate", *model, "--shards", str(directory / "out")], finetune):
        command = [sys.executable, "-c", code, *arguments]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
        assert result.returncode == 0, result.stderr
        assert json.loads(result.stdout)


def test_evaluate_a_language_model(run, capsys):
    """The masked loss stands beside what a model without context and blind guessing reach."""
    directory, _ = run
    assert main(["evaluate", "--model", str(directory / "out" / "model"), "--shards", str(directory / "out")]) == 0
    report = json.loads(capsys.readouterr().out)
    assert 0 < report["unigram_entropy"] < report["uniform_entropy"]
    assert report["nats_below_unigram"] == pytest.approx(report["unigram_entropy"] - report["loss"])


def test_suggest_prints_and_trains_nothing(run, capsys):
    """A table with one suggestion and the formula; the run is not touched."""
    directory, path = run
    before = (directory / "out" / "run.json").stat().st_mtime_ns
    assert main(["pretrain", str(path), "--suggest", "--gpu-hours", "0.1"]) == 0
    table = capsys.readouterr().out
    assert table.count("<- suggested") == 1
    assert main(["pretrain", str(path), "--suggest", "--gpu-hours", "0.1", "--set", "pretrain.mask_rate=0.05"]) == 0
    assert capsys.readouterr().out != table  # fewer predictions cost less
    assert (directory / "out" / "run.json").stat().st_mtime_ns == before


def test_init_from_continues_a_model(run, tmp_path, capsys):
    """Training begins with the given weights: the first loss is that of the model, not of chance."""
    directory, _ = run
    model = str(directory / "out" / "model")
    path = str(write_config(directory, output=str(tmp_path / "out"), pretrain={"model": "modernbert-demo", "steps": 2}))
    assert main(["run", path, "--to", "tokenize"]) == 0
    assert main(["pretrain", path, "--init-from", model]) == 0
    continued = json.loads((tmp_path / "out" / "pretrain" / "summary.json").read_text())
    begun = json.loads((directory / "out" / "pretrain" / "summary.json").read_text())
    assert continued["first_loss"] < begun["first_loss"] - 0.3


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate", "--model", "/nowhere", "--data", "{dir}/train.jsonl"],
        ["evaluate", "--model", "{dir}/out/model", "--data", "{dir}/none.jsonl"],
        ["evaluate", "--model", "{dir}/out/model", "--data", "{dir}/train.jsonl", "--label", "class"],
        ["evaluate", "--model", "{dir}/out/model", "--shards", "{dir}"],
        [
            "finetune",
            "--model",
            "{dir}",
            "--train",
            "{dir}/train.jsonl",
            "--validation",
            "{dir}/train.jsonl",
            "--to",
            "x",
        ],
        ["pretrain", "{dir}/run.yaml", "--init-from", "/nowhere"],
        ["pretrain", "{dir}/run.yaml", "--suggest", "--gpu-hours", "-1"],
    ],
)
def test_mistakes_are_one_line(run, capsys, arguments):
    """Exit code 2 and one line."""
    assert main([argument.replace("{dir}", str(run[0])) for argument in arguments]) == 2
    complaint = capsys.readouterr().err.strip()
    assert complaint.splitlines()[-1].startswith("gristmill: ")
    assert "Traceback" not in complaint
