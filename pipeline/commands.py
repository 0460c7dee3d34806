"""What each command of the command line does. Imports that cost time are inside, so that --help answers at once.

A command takes its parsed options, prints its answer and returns whether no gate failed. A mistake of the user's is
raised as UserError, a run that stopped as RunFailed; `cli` makes exit codes of them.
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pipeline.config import Config

STAGES: Final = ("clean", "dedup", "tokenize", "pretrain")


def say(message: str) -> None:
    """Print one line of progress where it does not mix with results."""
    print(message, file=sys.stderr, flush=True)


def _config(options: argparse.Namespace) -> "Config":
    from pipeline.config import load_config  # noqa: PLC0415

    return load_config(options.config, options.overrides)


def _run(options: argparse.Namespace) -> bool:
    """Run the stages that are asked for."""
    first, last = (options.first, options.last) if options.command == "run" else (options.command, options.command)
    if first != "pretrain":  # the longest way to the first unit, so begun first
        from pipeline.server import begin_server  # noqa: PLC0415

        begin_server()
    if getattr(options, "init_from", None):
        options.overrides = [*options.overrides, f"pretrain.init_from={json.dumps(options.init_from)}"]
    config = _config(options)
    if getattr(options, "suggest", False):
        from pipeline.classify import suggest  # noqa: PLC0415

        print("\n".join(suggest(config, options.gpu_hours)))
        return True
    if config.runner.engine != "local":
        from pipeline.server import end_server  # noqa: PLC0415

        end_server()

    from pipeline.displays import chosen_display  # noqa: PLC0415
    from pipeline.progress import Progress  # noqa: PLC0415
    from pipeline.run import run  # noqa: PLC0415
    from pipeline.summary import print_summary  # noqa: PLC0415

    progress = Progress(chosen_display(options.progress, say))
    outcome = run(
        config, first=first, last=last, beam_options=options.beam_options, say=progress.say, progress=progress
    )
    if options.progress not in ("json", "quiet"):
        print_summary(outcome)
    return True


def _plan(options: argparse.Namespace) -> bool:
    from pipeline.errors import UserError  # noqa: PLC0415
    from pipeline.estimate import describe_plan  # noqa: PLC0415

    config = _config(options)
    if options.price is not None and not 0 <= options.price < float("inf"):
        raise UserError(f"--price {options.price:g}: give what a core costs for an hour, 0 or more")
    print(describe_plan(config, options.machine, options.price))
    return True


def _try(options: argparse.Namespace) -> bool:
    from pipeline.escape import printable_json  # noqa: PLC0415
    from pipeline.trial import try_documents  # noqa: PLC0415

    for verdict in try_documents(_config(options), options.input, say):
        print(printable_json(verdict))
    return True


def _explain(options: argparse.Namespace) -> bool:
    """Tell the life of a document, or list those that were searched for if there are several."""
    from pipeline.escape import printable  # noqa: PLC0415
    from pipeline.explain import explain, search  # noqa: PLC0415

    ids = [options.doc_id]
    if options.doc_id is None:
        matches = search(options.out, url=options.url, text=options.text)
        ids = [match.doc_id for match in matches] if len(matches) == 1 else []
        for match in matches if not ids else ():
            print(f"{match.doc_id:<20}  {match.what:<28}  {printable(match.url or '')}")
    for doc_id in ids:
        print("\n".join(explain(options.out, doc_id)))
    return True


def _check(options: argparse.Namespace) -> bool:
    from pipeline.check import check  # noqa: PLC0415

    verdicts = check(
        options.out,
        config=options.config,
        overrides=options.overrides,
        baseline=options.baseline,
        tell=lambda found: print(f"{found.status:<12}  {found.message}", flush=True),
    )
    return all(found.status != "failed" for found in verdicts)


def _report(options: argparse.Namespace) -> bool:
    from pipeline.report import write_report  # noqa: PLC0415

    print(write_report(options.out))
    return True


def _status(options: argparse.Namespace) -> bool:
    from pipeline.status import read_status, status_lines  # noqa: PLC0415

    status = read_status(options.out)
    print(json.dumps(status) if options.json else "\n".join(status_lines(status)))
    return True


def _export(options: argparse.Namespace) -> bool:
    from pipeline.displays import chosen_display  # noqa: PLC0415
    from pipeline.errors import UserError  # noqa: PLC0415
    from pipeline.export import export  # noqa: PLC0415
    from pipeline.local import LocalEngine  # noqa: PLC0415
    from pipeline.progress import Progress  # noqa: PLC0415

    if options.workers < 1:
        raise UserError(f"--workers {options.workers}: at least 1")
    progress = Progress(chosen_display("auto", say))
    with contextlib.closing(progress.display), LocalEngine(options.workers, [], progress.say, progress) as engine:
        done = export(options.out, options.to, file_format=options.file_format, engine=engine, say=progress.say)
    if done.written:
        print(f"{done.documents:,} documents in {done.files:,} files in {options.to}")
    else:
        print(f"{options.to} holds the {done.documents:,} documents of {options.out} already; nothing to do.")
    return True


def _classify(options: argparse.Namespace) -> bool:
    from pipeline.classify import evaluate, finetune  # noqa: PLC0415
    from pipeline.escape import printable_json  # noqa: PLC0415

    report = (finetune if options.command == "finetune" else evaluate)(options, say)
    print(printable_json(report, indent=1))
    return True


def _schema(options: argparse.Namespace) -> bool:
    if options.markdown:
        from pipeline.reference import reference  # noqa: PLC0415

        print(reference(), end="")
    else:
        from pipeline.config import json_schema  # noqa: PLC0415

        print(json.dumps(json_schema(), indent=1))
    return True


def _warm(options: argparse.Namespace) -> bool:  # noqa: ARG001 - it has none
    from pipeline.warm import warm  # noqa: PLC0415

    warm(say)
    return True


COMMANDS: Final[dict[str, Callable[[argparse.Namespace], bool]]] = {
    "run": _run,
    **dict.fromkeys(STAGES, _run),
    "plan": _plan,
    "try": _try,
    "explain": _explain,
    "check": _check,
    "report": _report,
    "status": _status,
    "export": _export,
    "finetune": _classify,
    "evaluate": _classify,
    "schema": _schema,
    "warm": _warm,
}
