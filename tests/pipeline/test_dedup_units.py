"""What the units of dedup's jobs cost when there are many of them: counted, never timed."""

import dataclasses
import pickle
import tracemalloc
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from pipeline import dedup_context, dedup_units
from pipeline.dedup_context import DedupContext, Signed
from pipeline.dedup_units import partition
from transforms.commit import UnitWriter, load_records
from transforms.fingerprint import MinHashParameters
from transforms.runs import BAND_RUN, by_prefix
from transforms.unit import WorkUnit

DOCUMENTS = 5  # of a unit


def signed(out, number, **changes):
    name = f"web-{number:06d}"
    values = {"out": str(out), "run": None, "unit": name, "label": name, "first_dense": number * DOCUMENTS,
              "num_documents": DOCUMENTS, "level": 0, "contents": f"c{number}", "documents": f"d{number}"}  # fmt: skip
    return Signed(**values | changes)


def context_of(units, **changes):
    values = {"out": units[0].out, "exact": True, "url": False, "shuffle": False, "parameters": MinHashParameters(),
              "threshold": 0.75, "verify": "signature", "units": tuple(units), "contents_key": "key",
              "num_documents": sum(unit.num_documents for unit in units), "num_partitions": 4}  # fmt: skip
    return DedupContext(**values | changes)


@pytest.fixture
def many(tmp_path):
    """Band runs of 12 units in 4 partitions; of each unit the second document is a copy of the first of all."""
    units = [signed(tmp_path, number) for number in range(12)]
    context = context_of(units)
    random = np.random.default_rng(0)
    row_E = np.repeat(np.arange(DOCUMENTS, dtype=np.uint32), 14)
    for number, unit in enumerate(units):
        key_E = random.integers(0, 1 << 63, len(row_E), dtype=np.uint64) * np.uint64(2)
        writer = UnitWriter(str(tmp_path), "dedup-runs", WorkUnit(unit.label, number, "key"))
        writer.open("work/bands", BAND_RUN)
        writer.write("work/bands", by_prefix(pa.table([key_E, row_E], schema=BAND_RUN)))
        writer.commit({})
    origin_N = np.arange(context.num_documents, dtype=np.uint32)
    origin_N[1::DOCUMENTS] = 0
    writer = UnitWriter(str(tmp_path), "dedup-origins", WorkUnit("all", 0, "key"))
    columns = (origin_N, np.zeros(len(origin_N), np.bool_))
    dedup_units._write_arrays(writer, context, "work/origins", dedup_units._ORIGINS, *columns)
    writer.commit({})
    return context


def test_a_partition_asks_for_the_origins_once(many, monkeypatch):
    """And compares no unit with another: for each run of each partition that was quadratic in their number."""

    def compared(*_):
        raise AssertionError("a unit was hashed or compared")

    calls = Counter()

    def counted(context, asked=dedup_units._origins):
        calls["origins"] += 1
        return asked(context)

    monkeypatch.setattr(dedup_units, "_origins", counted)
    for name in ("__hash__", "__eq__"):
        monkeypatch.setattr(Signed, name, compared)
    found = []
    for part in range(many.num_partitions):
        context = pickle.loads(pickle.dumps(many))  # as every bundle of a worker has it
        found.append(partition(context, part, "work/bands"))
        assert context.named("web-000007").first_dense == 7 * DOCUMENTS
    assert calls["origins"] == many.num_partitions
    assert sum(len(key_E) for key_E, _ in found) == 14 * 12 * (DOCUMENTS - 1)
    assert not np.isin(np.arange(1, 12 * DOCUMENTS, DOCUMENTS), np.concatenate([dense_E for _, dense_E in found])).any()


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Signed)])
def test_contexts_of_other_units_are_not_equal(tmp_path, field):
    """Whatever differs in a unit: what a process keeps mapped is found by the context."""
    units = [signed(tmp_path, number) for number in range(3)]
    before = context_of(units)
    assert before == context_of(list(units))
    assert hash(before) == hash(context_of(list(units)))
    other = 7 if isinstance(getattr(units[1], field), int) else "other"
    units[1] = dataclasses.replace(units[1], **{field: other})
    assert dataclasses.replace(before, units=tuple(units)) != before
    assert dataclasses.replace(before, num_partitions=8) != before


def test_a_group_reads_its_own_candidates_only(many, monkeypatch):
    """They are found by search: whole tables of all partitions, read for each unit, were units times edges."""

    def whole(*_):
        raise AssertionError("a table was read whole")

    monkeypatch.setattr(dedup_context, "MOST_FILES", 5)
    monkeypatch.setattr(dedup_units, "read_table", whole)
    random, wanted = np.random.default_rng(1), np.zeros(many.num_documents, np.bool_)
    for part in range(3):
        dense_D = np.flatnonzero(random.random(many.num_documents) < 0.2).astype(np.uint32)
        wanted[dense_D] = True
        writer = UnitWriter(many.out, "dedup-candidates", WorkUnit(f"part-{part:05d}", part, "key"))
        writer.write("work/candidates", pa.table([dense_D], schema=dedup_units._CANDIDATES))
        writer.commit({})
    records = load_records(many.out, "dedup-candidates").values()
    found = []
    for group in many.groups():
        rows = np.concatenate([dedup_units._candidates(many, record, group) for record in records])
        found.append(np.unique(rows) + group.first_dense)
    assert len(found) == 4
    assert np.concatenate(found).tolist() == np.flatnonzero(wanted).tolist()


def test_a_group_reads_its_part_of_the_candidates(tmp_path):
    """Of a mapped column: numpy searches a copy of all of it for numbers of another type."""
    unit = signed(tmp_path, 7, first_dense=1001, num_documents=10)
    writer = UnitWriter(str(tmp_path), "dedup-candidates", WorkUnit("part-00000", 0, "key"))
    writer.write("work/candidates", pa.table([np.arange(1 << 18, dtype=np.uint32) * 2], schema=dedup_units._CANDIDATES))
    record = writer.commit({})
    tracemalloc.start()
    try:
        found = dedup_units._candidates(context_of([unit]), record, dedup_context.Group((unit,)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.tolist() == [1, 3, 5, 7, 9]
    assert peak < 1 << 18
