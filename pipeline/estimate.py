"""What `gristmill plan` says: units, bytes, and an estimate of disk and memory before anything is read."""

from collections.abc import Iterator

from pipeline.clean import check_names, minhash_parameters
from pipeline.config import Config
from pipeline.plan import Plan, make_plan
from pipeline.pretrain.architecture import PRESETS
from transforms.fingerprint import probability

# Measured on the shared English and Chinese prose; good to a factor of two, which is what a plan is for.
_MEAN_DOCUMENT_BYTES = 4_000
_ZSTD_RATIO = 2.6
_BYTES_PER_TOKEN = 4.2
_UNPACKED = {".gz": 3.0, ".zst": 3.2, ".bz2": 3.8, ".xz": 4.0, ".parquet": 2.0}  # stored bytes to text bytes
_WORKER_BYTES = 700 << 20
_SIMILARITIES = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


def describe_plan(config: Config) -> str:
    """Return the plan as text; nothing is written and no file is opened."""
    check_names(config)
    plan = make_plan(config.sources, config.unit_bytes)
    return "\n".join(_lines(config, plan))


def _lines(config: Config, plan: Plan) -> Iterator[str]:
    yield f"{config.name} -> {config.output}"
    text_bytes = 0.0
    for source in config.sources:
        units = [unit for unit in plan.units if unit.slices[0].source == source.name]
        stored = sum(unit.bytes for unit in units)
        ratio = next((r for suffix, r in _UNPACKED.items() if units[0].slices[0].path.endswith(suffix)), 1.0)
        text_bytes += stored * ratio
        files = len({part.path for unit in units for part in unit.slices})
        size = f"{stored / 1e6:>14,.1f} MB"
        yield f"  {source.name:<20} {source.format:<10} {files:>8,} files {len(units):>8,} units {size}"
    documents = text_bytes / _MEAN_DOCUMENT_BYTES
    parameters = minhash_parameters(config)
    signature_bytes = 24 + (4 * parameters.num_perm if parameters else 0)
    token_bytes = text_bytes / _BYTES_PER_TOKEN * 2
    yield f"\nabout {text_bytes / 1e6:,.0f} MB of text, {documents:,.0f} documents if their mean is 4 kB"
    yield "disk at most, if nothing is rejected:"
    for name, num_bytes in (
        ("documents/", text_bytes / _ZSTD_RATIO),
        ("signatures/", documents * signature_bytes),
        ("work for dedup", documents * 12 * (parameters.bands if parameters else 1)),
        ("tokens/ + shards/", 2 * token_bytes),
    ):
        yield f"  {name:<20} {num_bytes / 1e6:>12,.0f} MB"
    workers = config.runner.workers
    yield f"memory: about {workers * _WORKER_BYTES / 1e9:.1f} GB for {workers} workers, whatever the corpus;"
    yield f"  dedup: {documents * 16 / 1e6:,.0f} MB for its index"
    if parameters is not None:
        shape = f"{parameters.bands} bands x {parameters.rows} rows"
        yield f"\nMinHash of {shape} finds a pair of similarity s with probability p:"
        found = [(s, probability(s, parameters.bands, parameters.rows)) for s in _SIMILARITIES]
        yield "  s  " + "  ".join(f"{s:5.2f}" for s, _ in found)
        yield "  p  " + "  ".join(f"{p:5.3f}" for _, p in found)
    if config.pretrain is not None:
        yield f"\npretrain: {config.pretrain.model}, {config.pretrain.steps:,} steps; presets: {', '.join(PRESETS)}"
