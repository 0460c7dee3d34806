"""The command line: arguments in, one line for each mistake, exit codes out. What a command does is in `commands`.

Exit codes: 0 done, 1 a gate failed, 2 a mistake of the user's (one line), 3 the run failed, the same command resumes.
"""

import argparse
import atexit
import difflib
import gc
import os
import re
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

from pipeline.commands import COMMANDS, STAGES

EXIT_DONE, EXIT_GATE, EXIT_USER, EXIT_FAILED = 0, 1, 2, 3

# Modules are a million objects that stay. Collections while they are imported, and the one at the end
# of the process, were 0.15 of 0.64 s.
_COLLECT_AFTER = 50_000


class _Parser(argparse.ArgumentParser):
    """Tells a mistake in one line, with the nearest valid word."""

    def error(self, message: str) -> NoReturn:
        found = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
        if found:
            near = difflib.get_close_matches(found[1], re.findall(r"[\w-]+", found[2]), n=1, cutoff=0.4)
            message += f"; did you mean {near[0]!r}?" if near else ""
        raise SystemExit(_complain(message, EXIT_USER))


def _place(given: str) -> str:
    """Take the URL of a local directory as its path."""
    return given.removeprefix("file://")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="gristmill",
        description="Raw open corpora in, training-ready Arrow shards and a pretrained masked language model out.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str, *, runs: bool = True) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        if runs:
            command.add_argument("config", metavar="CONFIG", help="the YAML file that describes the run")
            command.add_argument(
                "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help="override one key"
            )
        return command

    run = add("run", "run all stages; what is already done is left alone (Beam's own options after --)")
    run.add_argument("--from", choices=STAGES, default="clean", dest="first", metavar="STAGE")
    run.add_argument("--to", choices=STAGES, default="pretrain", dest="last", metavar="STAGE")
    add("clean", "read, normalise, filter, sign: documents/, signatures/, rejected/")
    add("dedup", "find exact and near-duplicates: deletions/")
    add("tokenize", "train or load a tokenizer, encode, pack: tokenizer/, tokens/, shards/")
    pretrain = add("pretrain", "train a masked language model on the shards: checkpoints/, model/")
    pretrain.add_argument("--init-from", metavar="DIR", help="begin with the weights of this transformers directory")
    pretrain.add_argument("--suggest", action="store_true", help="only print model, batch and steps for a budget")
    pretrain.add_argument("--gpu-hours", type=float, default=24.0, metavar="H", help="the budget of --suggest")
    plan = add("plan", "show units, bytes, time, disk and memory; write nothing")
    plan.add_argument(
        "--machine", metavar="TYPE", help="a type to rent, as n2-standard-8 or m7i.2xlarge: tells the cost"
    )
    plan.add_argument("--price", type=float, metavar="P", help="of one core for an hour, instead of a list price")
    trial = add("try", "show as JSONL what would happen to each document of a JSONL file")
    trial.add_argument("input", metavar="INPUT.jsonl")
    finetune = add("finetune", "train a classifier from a pretrained model", runs=False)
    finetune.add_argument("--model", required=True, metavar="DIR", help="a pretrained model, as OUT/model")
    finetune.add_argument(
        "--train", required=True, metavar="DATA", help=".jsonl, .csv, .tsv, .parquet, or a dataset as NAME:CONFIG:SPLIT"
    )
    finetune.add_argument("--validation", required=True, metavar="DATA")
    finetune.add_argument("--to", required=True, metavar="DIR", type=_place, help="where the classifier is written")
    finetune.add_argument("--lr", type=float, nargs="+", default=[5e-5], help="several are tried, the best is kept")
    finetune.add_argument("--epochs", type=int, default=3)
    finetune.add_argument("--seed", type=int, default=0)
    evaluate = add("evaluate", "measure a classifier on labelled data, or a language model on shards", runs=False)
    evaluate.add_argument("--model", required=True, metavar="DIR")
    what = evaluate.add_mutually_exclusive_group(required=True)
    what.add_argument("--data", metavar="FILE", help="labelled examples: accuracy, F1, Matthews, confusion matrix")
    what.add_argument("--shards", metavar="OUT", help="a run: masked loss on its validation rows, and what it means")
    evaluate.add_argument("--mask-rate", type=float, default=0.3)
    shown: dict[str, Any] = {"choices": ("auto", "plain", "json", "quiet"), "default": "auto"}
    for name in ("run", *STAGES):
        commands.choices[name].add_argument("--progress", help="auto: bars on a terminal, else lines", **shown)
        commands.choices[name].add_argument("--quiet", action="store_const", const="quiet", dest="progress")
    for command in (finetune, evaluate):
        command.add_argument("--text", default="text", help="column of the text")
        command.add_argument("--other", help="column of the second text, for pairs")
        command.add_argument("--label", default="label", help="column of the label")
    check = add("check", "measure a finished run against its gates; exit code 1 if one fails", runs=False)
    check.add_argument("out", metavar="OUT", type=_place)
    check.add_argument("--config", metavar="CONFIG", help="use the section checks of this file, not the run's own")
    check.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help="checks.KEY=VALUE"
    )
    check.add_argument("--baseline", metavar="OUT", type=_place, help="an earlier run: tell what has drifted since")
    explain = add("explain", "tell the life of one document: source, decisions, twin, shard rows", runs=False)
    explain.add_argument("out", metavar="OUT", type=_place)
    wanted = explain.add_mutually_exclusive_group(required=True)
    wanted.add_argument("doc_id", metavar="DOC_ID", type=int, nargs="?")
    wanted.add_argument("--url", metavar="WORDS", help="find documents with this in their URL")
    wanted.add_argument("--text", metavar="WORDS", help="find documents with this in their text")
    report = add("report", "write OUT/report/index.html again", runs=False)
    report.add_argument("out", metavar="OUT", type=_place)
    export = add("export", "write the surviving documents as Parquet or JSON Lines", runs=False)
    export.add_argument("out", metavar="OUT", type=_place)
    export.add_argument("--to", required=True, metavar="DIR", type=_place, help="where the files go, one a work unit")
    export.add_argument("--format", choices=("parquet", "jsonl"), default="parquet", dest="file_format")
    export.add_argument("--workers", type=int, default=2, metavar="N", help="processes")
    status = add("status", "tell how far a run is, also while it goes on in another terminal", runs=False)
    status.add_argument("out", metavar="OUT", type=_place)
    status.add_argument("--json", action="store_true", help="for programs")
    schema = add("schema", "print the JSON Schema of the configuration, for editors", runs=False)
    schema.add_argument("--markdown", action="store_true", help="every key with its meaning, to be read")
    add("warm", "compile all kernels now instead of at the first batch", runs=False)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    beam_options: list[str] = []
    if "--" in argv:
        argv, beam_options = argv[: argv.index("--")], argv[argv.index("--") + 1 :]
    options = _parser().parse_args(argv)
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # documents hold anything
    if beam_options and options.command not in ("run", *STAGES):
        return _complain(f"{options.command} runs no Beam; leave out {' '.join(beam_options)}", EXIT_USER)

    from pipeline.errors import RunFailed, UserError, quiet_beam  # noqa: PLC0415

    quiet_beam()
    if arguments is None:  # this is the program: what a batch system sends before it kills stops a run like Ctrl-C
        signal.signal(signal.SIGTERM, _stop)
        if options.command in ("run", *STAGES):
            gc.set_threshold(_COLLECT_AFTER)
            atexit.register(gc.freeze)

    try:
        options.beam_options = beam_options
        return EXIT_DONE if COMMANDS[options.command](options) else EXIT_GATE
    except UserError as error:
        return _complain(str(error), EXIT_USER)
    except RunFailed as error:
        return _complain(f"{str(error).rstrip('.')}. The same command resumes.", EXIT_FAILED)
    except KeyboardInterrupt:
        if arguments is None:
            for number in (signal.SIGINT, signal.SIGTERM):  # a second one would change the exit code
                signal.signal(number, signal.SIG_IGN)
        return _complain("stopped. The same command resumes.", EXIT_FAILED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_DONE
    except RuntimeError as error:  # a file of the output that is not what was committed
        return _complain(str(error), EXIT_FAILED)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        return _complain(f"{error.strerror or error}{where}. The same command resumes.", EXIT_FAILED)
    except Exception as error:  # noqa: BLE001 - Python's own exit code would be that of a gate
        if os.environ.get("GRISTMILL_TRACEBACK"):
            traceback.print_exc()
        return _complain(
            f"{type(error).__name__}: {error} (GRISTMILL_TRACEBACK=1 in the environment shows where)", EXIT_FAILED
        )


def _stop(number: int, frame: object) -> NoReturn:  # noqa: ARG001 - what a handler is given
    signal.signal(number, signal.SIG_IGN)  # `timeout` sends it to the process and then to its group
    raise KeyboardInterrupt


def _complain(message: str, code: int) -> int:
    print(f"gristmill: {' '.join(message.split())}", file=sys.stderr)
    return code
