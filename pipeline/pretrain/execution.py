"""How a run is computed: what does not change its mathematics, but the order of its additions, and so the last bits.

Every choice is made once and kept in the checkpoint, so that a resumed run computes as it did before.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import torch

from pipeline.pretrain.architecture import Architecture
from pipeline.pretrain.attention import BACKENDS
from pipeline.pretrain.autotune import race_backends, winner
from pipeline.pretrain.batch import smallest_batch
from pipeline.pretrain.memory import activation_bytes, free_bytes, rows_that_fit
from pipeline.pretrain.order import rows_at
from pipeline.pretrain.rows import Rows
from pipeline.pretrain.settings import Settings
from pipeline.pretrain.world import World

_NARROW = 256
# A GPU is kept busy by 65,536 tokens at a time, if it has room for them; 4,096 stay in a CPU's cache.
_GPU_TOKENS, _CPU_TOKENS = 65_536, 4_096


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Execution:
    """How a run is computed.

    Args:
        torch: version.
        device: `cpu` or `cuda`.
        threads: of the CPU.
        micro_rows: rows in one forward pass.
        attention: kernel, or kernels of global and of local layers.
        compile: `model`, `block` or `no`.
    """

    torch: str
    device: str
    threads: int
    micro_rows: int
    attention: str
    compile: str

    def differences(self, kept: dict[str, Any]) -> str:
        """Return what differs from the execution in a checkpoint, empty if nothing does."""
        now = dataclasses.asdict(self)
        return ", ".join(f"{name} {now[name]} (was {kept.get(name)})" for name in now if now[name] != kept.get(name))


def choose_execution(
    settings: Settings,
    kept: dict[str, Any],
    architecture: Architecture,
    rows: Rows,
    world: World,
    say: Callable[[str], None],
) -> Execution:
    """Return the execution: as set, else as in the checkpoint, else what suits the device.

    Args:
        settings: of the run.
        kept: the execution in the checkpoint, empty without one; of another device it counts for nothing.
        architecture: of the model.
        rows: of which a real microbatch decides the race of attention kernels.
        world: the processes, which must agree.
        say: told the outcome of the race.

    Raises:
        ValueError: the batch cannot be shared by the processes in whole microbatches, or the attention needs a GPU.
    """
    kept = kept if kept.get("device") == world.device.type else {}  # what suits one device may be wrong for another
    compile_mode = _compile_mode(settings, kept, world)
    micro_rows = _micro_rows(settings, kept, architecture, rows, world, compiled=compile_mode == "model")
    attention = settings.attention if settings.attention != "auto" else kept.get("attention")
    if attention is None:
        attention = (
            _race(settings, architecture, rows, micro_rows, world, say) if world.device.type == "cuda" else "sdpa"
        )
    check_attention(attention, world.device)
    return Execution(
        torch=str(torch.__version__),
        device=world.device.type,
        threads=settings.threads or kept.get("threads") or usual_threads(architecture),
        micro_rows=micro_rows,
        attention=attention,
        compile=compile_mode,
    )


def check_attention(attention: str, device: torch.device) -> None:
    """Raise ValueError if a kernel is named that `device` has not."""
    if device.type == "cpu" and attention not in ("auto", "sdpa"):
        raise ValueError(f"pretrain.attention: {attention} needs a GPU; on a CPU there is sdpa")


def _micro_rows(
    settings: Settings, kept: dict[str, Any], a: Architecture, rows: Rows, world: World, *, compiled: bool
) -> int:
    """Return the rows of a microbatch: as set; as kept, if as many processes as there are can share the batch so."""
    batch_rows = smallest_batch(settings)
    micro_rows = settings.micro_rows or kept.get("micro_rows", 0)
    if settings.micro_rows and batch_rows % (micro_rows * world.size):
        between = f"{world.size} processes with microbatches of {micro_rows} rows"
        raise ValueError(f"pretrain.batch_rows: {batch_rows} rows cannot be shared by {between}")
    if batch_rows % world.size:
        raise ValueError(f"pretrain.batch_rows: {batch_rows} rows cannot be shared by {world.size} processes")
    if micro_rows and batch_rows % (micro_rows * world.size) == 0:
        return int(micro_rows)
    share = batch_rows // world.size
    most = _most_rows(settings, a, rows.metadata.seq_length, world, compiled=compiled)
    return max(count for count in range(1, share + 1) if share % count == 0 and count <= most)


def _race(
    settings: Settings, a: Architecture, rows: Rows, micro_rows: int, world: World, say: Callable[[str], None]
) -> str:
    """Return the attention that is fastest over all processes, in a race on the first rows."""
    lengths_BP = rows.read(rows_at(0, micro_rows, num_rows=len(rows), seed=settings.seed)).lengths_BP
    dtype = compute_dtype(settings, world.device) or torch.float32
    race = race_backends(a, torch.from_numpy(lengths_BP).to(world.device), rows.metadata.seq_length, dtype=dtype)
    sums = world.sum_(torch.tensor([race.seconds[name] for name in BACKENDS], device=world.device)).tolist()
    attention = winner({name: (full, local) for name, (full, local) in zip(BACKENDS, sums, strict=True)})
    times = [f"{name} {1e3 * full:.1f} + {1e3 * local:.1f} ms" for name, (full, local) in race.seconds.items()]
    failures = [f"{name}: {why}" for name, why in race.failures.items()]
    say(f"attention by {attention} (global + local layers): {'; '.join(times + failures)}")
    return attention


def _most_rows(settings: Settings, a: Architecture, seq_length: int, world: World, *, compiled: bool) -> int:
    """Return how many rows the device is kept busy by, or those that fit into the least memory of all processes."""
    if world.device.type != "cuda":
        return max(1, _CPU_TOKENS // seq_length)
    itemsize = (compute_dtype(settings, world.device) or torch.float32).itemsize
    token_bytes = activation_bytes(a, mask_rate=settings.mask_rate, itemsize=itemsize, compiled=compiled)
    fitting = rows_that_fit(
        a,
        token_bytes=token_bytes,
        seq_length=seq_length,
        free=world.least(free_bytes(world.device)),
        shares=world.size if settings.shard else 1,
    )
    return max(1, min(fitting, _GPU_TOKENS // seq_length))


def _compile_mode(settings: Settings, kept: dict[str, Any], world: World) -> str:
    """Return what is compiled; sharded weights are gathered between blocks, so no graph may span two of them."""
    sharded = settings.shard and world.size > 1
    mode, device = settings.compile, world.device.type
    if mode == "auto":
        mode = kept.get("compile", "model" if device == "cuda" else "no")
    return "block" if sharded and mode == "model" else mode


def usual_threads(architecture: Architecture) -> int:
    """Return the CPU threads for a model: in a narrow one they wait for each other more than they work."""
    return 1 if architecture.width < _NARROW else torch.get_num_threads()


def compute_dtype(settings: Settings, device: torch.device) -> torch.dtype | None:
    """Return the dtype of the computation, None for that of the parameters, float32."""
    narrow = settings.precision == "bfloat16" or (settings.precision == "auto" and device.type == "cuda")
    return torch.bfloat16 if narrow else None
