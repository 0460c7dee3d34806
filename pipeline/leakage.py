"""Which documents may not be trained on: those of the validation split, and those that are nearly one of them.

validation-bands  one unit               band keys of the validation documents -> work/validation-bands
validation-near   one unit a clean unit  documents that share one of them -> work/validation-near
"""

import dataclasses

import numpy as np
import pyarrow as pa

from pipeline.clean import minhash_parameters
from pipeline.context import RunContext
from pipeline.job import Job, Units, content_key, each_unit
from transforms.commit import Record, UnitWriter, load_record, load_records
from transforms.committed import map_table, read_batches
from transforms.fingerprint import MinHashParameters
from transforms.leakage import BANDS, NEAR, bands_of, near_documents
from transforms.shards import MIN_VALIDATION_DOCUMENTS, is_validation, validation_threshold
from transforms.unit import WorkUnit

LEAKAGE_VERSION = 1  # raised when other documents are found for the same signatures and configuration
NEAR_JOB, NEAR_TABLE = "validation-near", "work/validation-near"
_BANDS_JOB, _BANDS_TABLE = "validation-bands", "work/validation-bands"
KEY_BYTES = 16  # of memory a band of a validation document, in the one worker that brings them together
PLENTY = 200  # expected validation documents from which on 20 are certain (below that: 13 standard deviations)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _LeakageContext:
    out: str
    units: tuple[str, ...]
    threshold: int
    parameters: MinHashParameters


def validation_bound(context: RunContext, tokens: dict[str, Record]) -> int:
    """Return the validation bound; hashes are read only where the fraction could give too few documents."""
    fraction = context.config.tokenize.validation
    if fraction == 0.0:
        return 0
    num_documents = sum(record.counts["kept"] for record in tokens.values())
    if fraction * num_documents > PLENTY:
        return validation_threshold(fraction, None, num_documents)
    smallest = np.zeros(0, np.uint64)
    for record in tokens.values():  # not all of them: a fraction of 1e-9 is small for a corpus of 10^11 too
        own = map_table(context.out, record, "tokens").column("content_hash").to_numpy()
        smallest = np.sort(np.concatenate((smallest, own)))[:MIN_VALIDATION_DOCUMENTS]
    return validation_threshold(fraction, smallest, num_documents)


def find_near(context: RunContext, tokens: dict[str, Record], threshold: int) -> dict[str, str]:
    """Find the documents that are nearly one of the validation split; return a key of them for each unit.

    There are none without validation or without MinHash signatures.
    """
    parameters = minhash_parameters(context.config)
    if threshold == 0 or parameters is None:
        for stage in (_BANDS_JOB, NEAR_JOB):
            context.run_job("tokenize", Job(stage, _near_graph, None), [])
        return dict.fromkeys(tokens, "")
    signatures = {name: record.tables["signatures"].hash for name, record in load_records(context.out, "clean").items()}
    contents = [(name, record.tables["tokens"].hash, signatures[name]) for name, record in tokens.items()]
    key = content_key(LEAKAGE_VERSION, str(threshold), dataclasses.asdict(parameters), contents)
    given = _LeakageContext(out=context.out, units=tuple(tokens), threshold=threshold, parameters=parameters)
    bands = context.run_job("tokenize", Job(_BANDS_JOB, _bands_graph, given), [WorkUnit("all", 0, key)])
    found = bands["all"].tables[_BANDS_TABLE].hash
    units = [
        WorkUnit(name, record.number, content_key(found, dataclasses.asdict(parameters), signatures[name]))
        for name, record in tokens.items()
    ]
    near = context.run_job("tokenize", Job(NEAR_JOB, _near_graph, given), units)
    return {name: record.tables[NEAR_TABLE].hash for name, record in near.items()}


def _bands_graph(units: Units, context: _LeakageContext) -> None:
    each_unit(units, function=_write_bands, context=context)


def _write_bands(unit: WorkUnit, context: _LeakageContext) -> None:
    keys = [np.zeros(0, np.uint64)]
    for name in context.units:
        tokens = map_table(context.out, load_record(context.out, "tokenize", name), "tokens")
        chosen_N = is_validation(tokens.column("content_hash").to_numpy(), context.threshold)
        if chosen_N.any():
            doc_id_V = tokens.column("doc_id").to_numpy()[chosen_N]
            signatures = read_batches(context.out, load_record(context.out, "clean", name), "signatures")
            keys.append(bands_of(signatures, doc_id_V, context.parameters))
    key_E = np.concatenate(keys)
    keys.clear()  # KEY_BYTES hold two copies: while these are joined, and while the distinct ones are taken
    key_E.sort()
    new_E = np.ones(len(key_E), np.bool_)
    new_E[1:] = key_E[1:] != key_E[:-1]
    key_E = key_E[new_E]
    writer = UnitWriter(context.out, _BANDS_JOB, unit)
    writer.open(_BANDS_TABLE, BANDS)
    writer.write(_BANDS_TABLE, pa.record_batch([key_E], schema=BANDS))
    writer.commit({"bands": len(key_E)})


def _near_graph(units: Units, context: _LeakageContext) -> None:
    each_unit(units, function=_write_near, context=context)


def _write_near(unit: WorkUnit, context: _LeakageContext) -> None:
    # Mapped: all workers share one copy of the keys, which are 112 bytes a validation document.
    key_E = map_table(context.out, load_record(context.out, _BANDS_JOB, "all"), _BANDS_TABLE).column("key").to_numpy()
    signatures = read_batches(context.out, load_record(context.out, "clean", unit.name), "signatures")
    doc_ids = near_documents(signatures, key_E, context.parameters)
    writer = UnitWriter(context.out, NEAR_JOB, unit)
    writer.open(NEAR_TABLE, NEAR)
    writer.write(NEAR_TABLE, pa.record_batch([doc_ids], schema=NEAR))
    writer.commit({"near": len(doc_ids)})
