"""`gristmill try`: what would happen to each document of a file, without writing anything."""

from collections.abc import Iterator
from typing import Any

from pipeline.clean import check_names, statistics_kept, steps
from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.first_use import compile_kernels
from pipeline.job import Say
from transforms.readers.dispatch import read_slice
from transforms.readers.listing import list_files
from transforms.readers.source import Source
from transforms.schema import STATISTIC, edit_columns
from transforms.unit import Slice


def try_documents(config: Config, path: str, say: Say = lambda _: None) -> Iterator[dict[str, Any]]:
    """Yield one verdict a record of the JSONL file at `path`: keep, rule, value, threshold, language, url, edits, text.

    Text and URL are in the fields that the configuration's first JSONL source names. The text is what would be kept.

    Raises:
        UserError: there is no such file.
    """
    check_names(config)
    chosen, measured = steps(config), statistics_kept(config)
    like = next((source for source in config.sources if source.format == "jsonl"), config.sources[0])
    source = Source(name="try", format="jsonl", path=path, text=like.text, url=like.url)
    try:
        entries = list_files(source)
    except (ValueError, OSError) as error:
        raise UserError(str(error)) from None
    compile_kernels(config, say)
    for file, entry in enumerate(entries):
        part = Slice(source.name, entry.path, file, 0, 0, -1, entry.size, entry.etag)
        for batch in read_slice(source, part):
            for step in chosen:
                batch = step(batch)  # noqa: PLW2901 - as the graph does
            edits = edit_columns(batch)
            for number, row in enumerate(batch.to_pylist()):
                verdict = {"keep": row["rule"] is None, **{name: row[name] for name in ("rule", "value", "threshold")}}
                yield {
                    **verdict,
                    **{name: row[name] for name in ("language", "language_score", "url", "location")},
                    **({"statistics": {n: row[STATISTIC + n] for n in measured}} if measured else {}),
                    "edits": {name: count for name, column in edits.items() if (count := column[number].as_py())},
                    "text": row["text"],
                }
