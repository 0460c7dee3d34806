"""The first job of the dedup stage: signatures/ and addresses of a group as runs, hashes ordered by prefix.

A run is written in segments, each of them ordered: memory is 60 bytes for each of SEGMENT entries of a table, 0.5 GB a
worker at most, whatever the group. In one piece it was 1.45 KB a document, 6 GB for 256 MB of short lines.
"""

from collections.abc import Iterator

import pyarrow as pa

from pipeline.dedup_context import DedupContext, Group
from pipeline.job import Units, each_unit
from transforms.commit import UnitWriter
from transforms.committed import map_table, read_batches
from transforms.fingerprint import check_metadata
from transforms.page_url import URL_RUN, url_rows
from transforms.runs import BAND_RUN, EXACT_RUN, band_run, by_prefix, exact_run
from transforms.unit import WorkUnit

SEGMENT = 1 << 22  # entries of a run that are sorted together: 300,000 documents of 14 bands


class RunWriter:
    """Writes one run of a group from parts of it, segment by segment."""

    def __init__(self, writer: UnitWriter, table: str, schema: pa.Schema, segment: int) -> None:
        writer.open(table, schema)
        self._writer, self._table, self._segment = writer, table, segment
        self._held: list[pa.Table] = []
        self._num_held = self.num_entries = 0

    def write(self, entries: pa.Table) -> None:
        """Add entries (column `key`), of later rows than those before; their own order is kept where prefixes agree."""
        self._held.append(entries)
        self._num_held += entries.num_rows
        self.num_entries += entries.num_rows
        if self._num_held >= self._segment:
            self.flush()

    def flush(self) -> None:
        """Write what is held; to be called at the end."""
        if self._num_held:
            joined = pa.concat_tables(self._held).combine_chunks()
            self._held, self._num_held = [], 0
            self._writer.write(self._table, by_prefix(joined))


def _write_runs(unit: WorkUnit, context: DedupContext) -> None:
    group = context.group(unit.name)
    writer = UnitWriter(context.out, "dedup-runs", unit)
    asked = {"exact": context.exact, "bands": context.parameters is not None, "url": context.url}
    given = {"exact": EXACT_RUN, "bands": BAND_RUN, "url": URL_RUN}
    runs = {name: RunWriter(writer, f"work/{name}", given[name], SEGMENT) for name in given if asked[name]}
    if context.is_packed:  # the table is there also for a group without a document
        first = group.units[0]
        writer.open("work/signatures", map_table(first.out, first.record(), "signatures").schema)
    row = 0
    for batch in _batches(group, "signatures"):
        check_metadata(batch.schema, context.parameters)
        if context.is_packed:
            writer.write("work/signatures", batch)
        signatures = pa.Table.from_batches([batch])
        if context.exact:
            runs["exact"].write(exact_run(signatures, row))
        if context.parameters is not None:
            runs["bands"].write(band_run(signatures, context.parameters, row))
        row += batch.num_rows
    if context.url:
        _write_urls(runs["url"], group)
    for run in runs.values():
        run.flush()
    writer.commit({name: runs[name].num_entries if name in runs else 0 for name in given})


def _batches(group: Group, table: str, columns: tuple[str, ...] | None = None) -> Iterator[pa.RecordBatch]:
    for signed in group.units:
        yield from read_batches(signed.out, signed.record(), table, columns=columns)


def _write_urls(run: RunWriter, group: Group) -> None:
    row = 0
    for batch in _batches(group, "documents", ("url", "metadata")):
        run.write(url_rows(batch.column("url"), batch.column("metadata"), row))
        row += batch.num_rows


def graph_runs(units: Units, context: DedupContext) -> None:
    """Write the runs of every group."""
    each_unit(units, function=_write_runs, context=context)
