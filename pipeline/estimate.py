"""What `gristmill plan` says: units, and an estimate of time, disk, memory and shuffle before anything is read."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.clean import STAGE as CLEAN
from pipeline.clean import check_names, minhash_parameters, stage_key
from pipeline.commands import STAGES
from pipeline.config import Config
from pipeline.dedup_context import MOST_MAPPED
from pipeline.inputs import check_inputs
from pipeline.job import survey
from pipeline.leakage import KEY_BYTES
from pipeline.machines import find_machine, rent
from pipeline.plan import EMPTY_PLAN, Plan, PlannedUnit, check_outside, clean_units, make_plan
from pipeline.pretrain.architecture import PRESETS
from pipeline.run_state import VERSION, changes
from transforms import storage
from transforms.fingerprint import probability
from transforms.shards import SHARD_TOKENS, choose_num_shards
from transforms.unit import planned_name

# Measured on the shared corpora (tests/bench/RESULTS.md); good to a factor of two, which is what a plan is for.
_MEAN_DOCUMENT_BYTES = 4_000
_ZSTD_RATIO = 2.6
_BYTES_PER_TOKEN = 4.2
_UNPACKED = {".gz": 3.0, ".zst": 3.2, ".bz2": 3.8, ".xz": 4.0, ".parquet": 2.0}  # stored bytes to text bytes
_TEXT_SHARE = {"warc": 0.5, "wet": 2.2}  # stored bytes of gzip to text bytes: markup is most of a page
_CLEAN_RATE = 40e6  # bytes of text a core and second; of pages, whose HTML is parsed, _PAGES_RATE
_PAGES_RATE = 6e6
_DEDUP_RATE = 600_000  # documents a core and second
_TOKENIZE_RATE = 40e6  # bytes of text a core and second, encoding, packing and writing
_PARENT_BYTES, _WORKER_BYTES, _INDEX_BYTES = 450 << 20, 420 << 20, 16  # the index of dedup, a document
_PACKED_BYTES = 5  # of memory a token of a shard, while it is packed: 4,096 shards grow with the corpus
_SIMILARITIES = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
_TABLES = 6  # documents, signatures, two of rejected, deletions, tokens; with each the record of its unit
_LINE_SHARE, _SUBSTRING_SHARE = 0.25, 2.0  # bytes of hashes a byte of text, for dedup.lines and dedup.substrings
# Bytes of counted words a byte of sampled text, at most. Of 256 KB of each unit, as a terabyte gives, wordpiece takes
# 0.27 in English and 0.43 in Russian, bpe 0.39 to 0.50, unigram 0.52 to 0.59, the latter two 1.0 in Chinese; of 16 MB
# of each unit 0.06 to 0.24 where blanks part words.
_WORDS_SHARE = {"wordpiece": 0.45, "bpe": 1.0, "unigram": 1.0}
_BAND_BYTES, _EXACT_BYTES = 12, 20  # of a document through a shuffle: hash and index a band, content hash and index


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a run needs if nothing is rejected."""

    text_bytes: float
    documents: float
    core_hours: dict[str, float]
    disk_bytes: dict[str, float]
    objects: int
    shuffle_bytes: float  # 0 where dedup passes over run files instead
    worker_bytes: int  # memory of each worker
    validation_bytes: float  # and of one of them, while it looks for documents like those of the validation split


def estimate(config: Config, plan: Plan) -> Estimate:
    """Return what a plan needs, from its stored bytes and measured rates."""
    formats = {source.name: source.format for source in config.sources}
    weights = {source.name: source.weight for source in config.sources}
    text_bytes = clean_seconds = num_packed = 0.0
    for unit in plan.units:
        kind = formats[unit.slices[0].source]
        text = unit.bytes * _text_ratio(kind, unit)
        text_bytes += text
        num_packed += text / _BYTES_PER_TOKEN * weights[unit.slices[0].source]
        clean_seconds += text / (_PAGES_RATE if kind == "warc" else _CLEAN_RATE)
    documents = text_bytes / _MEAN_DOCUMENT_BYTES
    parameters = minhash_parameters(config)
    bands = parameters.bands if parameters else 0
    signatures = documents * (24 + (4 * parameters.num_perm if parameters else 0))
    copied = signatures if len(plan.units) > MOST_MAPPED else 0.0
    shard_bytes = _PACKED_BYTES * num_packed / choose_num_shards(int(num_packed))
    spans = _LINE_SHARE * (config.dedup.lines is not None) + _SUBSTRING_SHARE * (config.dedup.substrings is not None)
    chosen = config.tokenize.tokenizer
    counted = {"work/words": _WORDS_SHARE[chosen.train] * min(text_bytes, chosen.sample_bytes)} if chosen.train else {}
    core_seconds = {
        "clean": clean_seconds,
        "dedup": documents / _DEDUP_RATE,
        "tokenize": text_bytes / _TOKENIZE_RATE,
    }
    return Estimate(
        text_bytes=text_bytes,
        documents=documents,
        core_hours={stage: seconds / 3600 for stage, seconds in core_seconds.items()},
        disk_bytes={
            "documents/": text_bytes / _ZSTD_RATIO,
            "signatures/": signatures,
            "work for dedup": documents * 12 * max(1, bands) + text_bytes * spans + copied,
            **counted,
            "tokens/ + shards/": (1 + len(config.tokenize.seq_lengths)) * text_bytes / _BYTES_PER_TOKEN * 2,
        },
        objects=2 * _TABLES * len(plan.units),
        shuffle_bytes=documents * (bands * _BAND_BYTES + _EXACT_BYTES) if config.dedup.shuffle else 0.0,
        # What it was measured with had shards of SHARD_TOKENS.
        worker_bytes=_WORKER_BYTES + max(0, int(shard_bytes) - _PACKED_BYTES * SHARD_TOKENS),
        validation_bytes=config.tokenize.validation * documents * bands * KEY_BYTES,
    )


def _text_ratio(kind: str, unit: PlannedUnit) -> float:
    if kind in _TEXT_SHARE:
        return _TEXT_SHARE[kind]
    return next((ratio for suffix, ratio in _UNPACKED.items() if unit.slices[0].path.endswith(suffix)), 1.0)


def describe_plan(config: Config, machine: str | None = None, price: float | None = None) -> str:
    """Return the plan as text; nothing is written, and no source is opened but for the looks of `make_plan`.

    Args:
        config: of the run.
        machine: name of a type of machine to rent for it.
        price: of one core, or vCPU of the machine, for an hour.

    Raises:
        UserError: the run would be refused, or there is no such machine.
    """
    check_inputs(config, STAGES)  # before the names: it tells the key
    check_names(config)
    stored = _stored(config)
    previous = Plan.from_json(stored["plan"]) if "plan" in stored else EMPTY_PLAN
    plan = make_plan(config.sources, config.unit_bytes, previous)
    check_outside(plan, config.output)
    needs = estimate(config, plan)
    cost = _cost(needs, price) if machine is None else _cost_on(machine, config.runner.engine, needs, price)
    done = _done(config, plan, stored) if stored else ()
    return "\n".join([*_inputs(config, plan), *done, *_needs(config, needs), *cost, *_choices(config)])


def _stored(config: Config) -> dict[str, Any]:
    """Return run.json of a run in a local output, empty without one; other places would be asked for each file."""
    stored = None
    if storage.is_local(config.output):
        with contextlib.suppress(OSError):  # an output that cannot be: the run tells
            stored = storage.read_json(storage.join(config.output, "run.json"))
    return stored if isinstance(stored, dict) and stored.get("version") == VERSION else {}


def _done(config: Config, plan: Plan, stored: Mapping[str, Any]) -> Iterator[str]:
    """Yield how much of clean, which is most of the time, is left to do in an output, and what has changed since."""
    units = clean_units(plan, config.sources, stage_key(config))
    found = survey(config.output, CLEAN, units)
    stale = f", {found.num_stale:,} of them again" if found.num_stale else ""
    done = len(units) - len(found.pending)
    yield f"  of {len(units):,} units {done:,} are clean, {len(found.pending):,} are to do{stale}"
    gone = {planned_name(record.unit) for record in found.dropped} - {unit.name for unit in units}
    if gone:
        yield f"  {len(gone):,} units are no longer planned, a run removes them"
    if changed := changes(stored, config):
        yield f"  changed since the last run: {', '.join(changed)}"


def _inputs(config: Config, plan: Plan) -> Iterator[str]:
    yield f"{config.name} -> {config.output}"
    for source in config.sources:
        units = [unit for unit in plan.units if unit.slices[0].source == source.name]
        stored = sum(unit.bytes for unit in units)
        files = len({part.path for unit in units for part in unit.slices})
        size = f"{stored / 1e6:>14,.1f} MB"
        yield f"  {source.name:<20} {source.format:<10} {files:>8,} files {len(units):>8,} units {size}"
        streams = [unit.bytes for unit in units if unit.slices[0].stream_bytes]
        if streams:
            longest = f"the longest has {max(streams) / 1e6:,.1f} MB"
            yield f"    {len(streams):,} long files cannot be split, each is read by one worker; {longest}"


def _needs(config: Config, needs: Estimate) -> Iterator[str]:
    workers = config.runner.workers
    yield f"\nabout {needs.text_bytes / 1e6:,.0f} MB of text, {needs.documents:,.0f} documents if their mean is 4 kB"
    yield "disk at most, if nothing is rejected:"
    for name, num_bytes in needs.disk_bytes.items():
        yield f"  {name:<20} {num_bytes / 1e6:>12,.0f} MB"
    yield f"  in about {needs.objects:,} files"
    memory = _PARENT_BYTES + workers * needs.worker_bytes
    yield f"memory: about {memory / 1e9:.1f} GB for {workers} workers, {needs.worker_bytes / 1e9:.1f} GB each;"
    yield f"  dedup: {needs.documents * _INDEX_BYTES / 1e6:,.0f} MB for its index"
    if needs.validation_bytes:
        yield f"  one worker: {needs.validation_bytes / 1e6:,.0f} MB to keep near-duplicates of validation out of train"
    if needs.shuffle_bytes:
        yield f"shuffled by dedup: {needs.shuffle_bytes / 1e6:,.0f} MB of hashes, no text"
    total = sum(needs.core_hours.values())
    stages = ", ".join(f"{stage} {hours:,.2f}" for stage, hours in needs.core_hours.items())
    yield f"time: about {total:,.2f} core-hours ({stages}), {total / workers:,.2f} hours on {workers} cores"


def _cost(needs: Estimate, price: float | None) -> Iterator[str]:
    if price is not None:
        total = price * sum(needs.core_hours.values())
        yield f"cost: {total:,.2f} at {price:g} for a core and hour{_each(needs, total)}"


def _cost_on(name: str, engine: str, needs: Estimate, price: float | None) -> Iterator[str]:
    machine = find_machine(name, engine)
    rented = rent(
        machine,
        engine=engine,
        core_hours=sum(needs.core_hours.values()),
        shuffle_bytes=needs.shuffle_bytes,
        parent_bytes=_PARENT_BYTES,
        worker_bytes=needs.worker_bytes,
        price=price,
    )
    shape = f"{machine.vcpus} vCPUs, {machine.memory_gib} GiB"
    yield f"{name} ({shape}) holds {rented.workers} workers; {rented.hours:,.2f} hours of one"
    index = needs.documents * _INDEX_BYTES
    if index > (machine.memory_gib << 30) - _PARENT_BYTES:
        yield f"  but not the index of dedup: that stage needs one machine with {index / 1e9:,.0f} GB"
    yield f"cost: {rented.cost:,.2f} US dollars{_each(needs, rented.cost)}; {rented.prices}"
    yield "  (on demand; without storage, traffic and discounts)"


def _each(needs: Estimate, cost: float) -> str:
    return f", {cost / needs.text_bytes * 1e12:,.2f} a TB of text" if needs.text_bytes else ""


def _choices(config: Config) -> Iterator[str]:
    parameters = minhash_parameters(config)
    if parameters is not None:
        shape = f"{parameters.bands} bands x {parameters.rows} rows"
        yield f"\nMinHash of {shape} finds a pair of similarity s with probability p:"
        found = [(s, probability(s, parameters.bands, parameters.rows)) for s in _SIMILARITIES]
        yield "  s  " + "  ".join(f"{s:5.2f}" for s, _ in found)
        yield "  p  " + "  ".join(f"{p:5.3f}" for _, p in found)
    if config.pretrain is not None:
        begun, steps = config.pretrain.init_from, f"{config.pretrain.steps:,} steps"
        choice = f"{config.pretrain.model}, {steps}; presets: {', '.join(PRESETS)}"
        yield f"\npretrain: {f'{begun} goes on, {steps}' if begun else choice}"
