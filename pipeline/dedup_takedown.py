"""Takedown: the addresses on the list of `dedup.takedown`, and the survivors that stand for their pages.

    dedup-takedown  one unit a clean unit  addresses of documents -> work/takedown: survivors, also of other units

A listed page that was deleted as a copy leaves its text under the address of its survivor, which goes too. Everything
that depends on who is left (lines, substrings, the last job) leaves the documents of `taken_down` out.
"""

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from publicsuffixlist import PublicSuffixList

from pipeline.context import RunContext, upstream_key
from pipeline.dedup_clusters import SURVIVORS
from pipeline.dedup_context import DedupContext, Signed
from pipeline.dedup_units import DEDUP_VERSION, STAGE, SURVIVOR_TABLE, signatures_of
from pipeline.job import Job, Units, content_key, each_unit
from transforms import storage
from transforms.commit import Record, UnitWriter, load_record, load_records
from transforms.committed import map_table, read_batches, read_table
from transforms.page_url import lower_host, normalised_urls
from transforms.schema import DELETIONS
from transforms.unit import WorkUnit
from transforms.word_lists import list_version, read_list

_JOB, _TABLE = "dedup-takedown", "work/takedown"
_FOUND = pa.schema(
    [
        pa.field("dense", pa.uint32(), nullable=False),  # the survivor
        pa.field("listed", pa.uint32(), nullable=False),  # the document whose address is on the list
        pa.field("address", pa.uint32(), nullable=False),  # the address, by its first place on the list
    ]
)


def list_hash(path: str | None) -> str:
    """Return the hash of the list, which `inputs.py` has read before, empty without one."""
    return "" if path is None else storage.file_hash(path)[1]


def find_taken_down(context: RunContext, dedup: DedupContext, listed: str) -> tuple[DedupContext, dict[str, str]]:
    """Run the job; without a list it has no units.

    Args:
        context: of the run.
        dedup: of all runs; the pages of this one alone are looked at, earlier runs may have no documents any more.
        listed: see `list_hash`.

    Returns:
        `dedup` with the key of what is found, and for each unit of this run a key of its documents among that.
    """
    own = [(number, signed) for number, signed in enumerate(dedup.units) if signed.run is None]
    path = context.config.dedup.takedown
    if hosts := _hosts(path):
        context.say(
            f"dedup.takedown: {len(hosts)} of {path} look like hosts, which are the addresses of no pages, first"
            f" {hosts[0]!r}; https://{hosts[0]}/ is its first page, clean.url_filter.domains takes a whole site"
        )
    version = [DEDUP_VERSION, "address"]  # the column, without which units of an earlier version are made again
    units = [WorkUnit(signed.label, number, content_key(version, listed, signed.documents, signed.first_dense))
             for number, signed in own if path is not None]  # fmt: skip
    records = context.run_job(STAGE, Job(_JOB, _graph, (dedup, path), (SURVIVORS,)), units)
    if not records:
        return dedup, {signed.label: "" for _, signed in own}
    if path is not None and (missing := _missing(context.out, path, records)):
        context.say(
            f"dedup.takedown: {len(missing)} of {len(read_list(path))} addresses of {path} are of no document of this"
            f" run that passed clean, first {missing[0]!r}"
        )
    dedup = dataclasses.replace(dedup, takedown=upstream_key(records, _TABLE))
    return dedup, {signed.label: content_key(*(x.tolist() for x in taken_down(dedup, signed))) for _, signed in own}


def _missing(out: str, path: str, records: Mapping[str, Record]) -> list[str]:
    """Return what a list names and no document of this run has: gone in clean, never read, or mistyped."""
    units = [record for record in records.values() if record.counts["listed"]]
    found = [read_table(out, record, _TABLE).column("address").to_numpy() for record in units]
    found_A = np.concatenate([np.empty(0, np.uint32), *found])
    addresses = _addresses(path, list_version(path))
    first_L = pc.index_in(addresses, addresses).to_numpy()
    return [read_list(path)[index] for index in np.flatnonzero(~np.isin(first_L, found_A))]


def _hosts(path: str | None) -> list[str]:
    """Return what may be hosts of a list; they may be files too, as README.md: told and not refused."""
    suffixes = PublicSuffixList(accept_unknown=False, only_icann=True)
    return [
        address
        for address in (read_list(path) if path is not None else ())
        if "." in address and not set("/: ") & set(address) and suffixes.publicsuffix(address.lower()) is not None
    ]


def taken_down(context: DedupContext, signed: Signed) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Return `(dense_D, listed_D)`: the documents of a unit that are taken down, ascending, and whom they stand for."""
    dense_D, listed_D = _all_taken_down(context)
    bounds = np.array([signed.first_dense, signed.first_dense + signed.num_documents], np.uint32)  # no copy is made
    start, stop = np.searchsorted(dense_D, bounds)
    return dense_D[start:stop], listed_D[start:stop]


def taken_down_deletions(context: DedupContext, signed: Signed) -> pa.Table:
    """Return DELETIONS of the documents that are taken down: the listed document is the twin, often the same one."""
    dense_D, listed_D = taken_down(context, signed)
    doc_id_D, twin_id_D = (signatures_of(context).doc_id(column) for column in (dense_D, listed_D))
    size = len(dense_D)
    columns = [doc_id_D, ["takedown"] * size, twin_id_D, pa.nulls(size, pa.string()), pa.nulls(size, pa.float32())]
    return pa.table(columns, schema=DELETIONS)


@functools.lru_cache(maxsize=1)
def _all_taken_down(context: DedupContext) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Return the documents of all units, each once: it is its own twin if it is listed itself."""
    found = [
        read_table(context.out, record, _TABLE)
        for record in (load_records(context.out, _JOB).values() if context.takedown else ())
        if record.counts["listed"]
    ]
    joined = pa.concat_tables([_FOUND.empty_table(), *found])
    dense_D, listed_D = (joined.column(name).to_numpy() for name in ("dense", "listed"))
    order_D = np.lexsort((listed_D, dense_D != listed_D, dense_D))
    dense_D, listed_D = dense_D[order_D], listed_D[order_D]
    dense_D, first_D = np.unique(dense_D, return_index=True)
    return dense_D, listed_D[first_D]


def _write_listed(unit: WorkUnit, given: tuple[DedupContext, str]) -> None:
    context, path = given
    signed = context.named(unit.name)
    listed_D, address_D = _listed(path, signed, signed.record())
    survivors = map_table(context.out, load_record(context.out, "dedup-clusters", "all"), SURVIVOR_TABLE)
    survivor_n = survivors.column("survivor").slice(signed.first_dense, signed.num_documents).to_numpy()
    writer = UnitWriter(context.out, _JOB, unit)
    writer.open(_TABLE, _FOUND)
    columns = [survivor_n[listed_D], (listed_D + signed.first_dense).astype(np.uint32), address_D.astype(np.uint32)]
    writer.write(_TABLE, pa.table(columns, schema=_FOUND))
    writer.commit({"listed": len(listed_D)})


def _listed(path: str, signed: Signed, record: Record) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows of documents whose address is listed, and its place: in normal form, hosts in any case."""
    listed = _addresses(path, list_version(path))
    found = [np.empty(0, np.int64)]
    for batch in read_batches(signed.out, record, "documents", columns=("url",)):
        place_N = pc.index_in(normalised_urls(lower_host(batch.column("url"))), listed)
        found.append(place_N.fill_null(-1).to_numpy().astype(np.int64))
    address_N = np.concatenate(found)
    row_D = np.flatnonzero(address_N >= 0)
    return row_D, address_N[row_D]


@functools.lru_cache(maxsize=1)
def _addresses(path: str, version: str) -> pa.Array:  # noqa: ARG001 - part of the key
    return normalised_urls(lower_host(pa.array(read_list(path), pa.string())))


def _graph(units: Units, given: tuple[DedupContext, str]) -> None:
    each_unit(units, function=_write_listed, context=given)
