"""The first use on a machine: the kernels of the clean stage are compiled in two processes before anything is read.

The quality rules are more than half of the work, so one process compiles them and the other all the rest. Without this
the first worker would compile while the others wait for it, kernel by kernel.
"""

import json
import tempfile
from pathlib import Path

from pipeline.config import Config
from pipeline.job import Say, content_key
from pipeline.server import CONTEXT, begin_server, starting
from transforms.kernels.machine_code import is_cold, note_filled

# Distinct documents with an address to mask, two that are equal and one that is nearly so: enough to call every kernel.
_LINE = " is the first of ten words that we have here, and of these that is one.\n"
_LONG = " ".join(f"{first}{second}" for first in "abcdefgh" for second in "stuvwxyz")
TEXTS = (*(f"{word}{_LINE}" * 9 + "Write to a@b.org." for word in "abcdefgh"), _LONG, _LONG, f"{_LONG} end")


def write_texts(path: Path) -> None:
    """Write TEXTS as JSON Lines."""
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS), encoding="utf-8")


def compile_kernels(config: Config, say: Say) -> None:
    """Compile what the clean stage of `config` calls, and say so, unless a run on this machine has done it before.

    What it does not find (the kernels of other stages) is compiled when it is called.
    """
    chosen = _chosen(config)
    if not is_cold(chosen):
        return
    say("kernels are compiled, once for this machine")
    begin_server()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "words.jsonl"
        write_texts(path)
        processes = [CONTEXT.Process(target=_call, args=(config, str(path), rules), daemon=True) for rules in (1, 0)]
        try:
            for process in processes:
                with starting():
                    process.start()
            for process in processes:
                process.join()
        finally:
            for process in processes:
                if process.is_alive():
                    process.kill()
    if not any(process.exitcode for process in processes):
        note_filled(chosen)


def _chosen(config: Config) -> str:
    """Return a key of what decides which kernels the clean stage calls: the steps, and the rules by name."""
    clean = config.clean
    steps = [name for name, value in clean.model_dump(mode="json").items() if value]
    rules = [chosen if isinstance(chosen, str) else chosen.preset for chosen in clean.quality]
    detector = None if clean.language is None else clean.language.detector
    return content_key(steps, rules, detector, list(clean.pii), config.dedup.minhash is None)


def _call(config: Config, path: str, rules: int) -> None:
    """Call the quality rules, or else the other steps and the signature, on the texts at `path`."""
    from pipeline.clean import minhash_parameters, steps  # noqa: PLC0415 - in the new process
    from transforms.fingerprint import fingerprint  # noqa: PLC0415
    from transforms.quality import FilterQuality  # noqa: PLC0415
    from transforms.readers.dispatch import read_slice  # noqa: PLC0415
    from transforms.readers.listing import list_files  # noqa: PLC0415
    from transforms.readers.source import Source  # noqa: PLC0415
    from transforms.unit import Slice  # noqa: PLC0415

    try:
        source = Source(name="words", format="jsonl", path=path)
        (entry,) = list_files(source)
        (batch,) = read_slice(source, Slice(source.name, entry.path, 0, 0, 0, -1, entry.size, entry.etag))
        for step in steps(config):
            if isinstance(step, FilterQuality) == bool(rules):
                step(batch)
        if not rules:
            fingerprint(batch, minhash_parameters(config))
    except Exception as error:
        raise SystemExit(1) from error
