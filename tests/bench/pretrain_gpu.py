"""The trainer's kernels and its throughput on one device, with `transformers` beside it: the two measurement calls.

    python tests/bench/pretrain_gpu.py kernels    [--device cuda] [--json FILE]
    python tests/bench/pretrain_gpu.py throughput [--device cuda] [--model bert-base] [--length 512] [--rate 0.15]

`kernels`: ceilings of the machine (matrix product, copy), the model's products, every attention kernel forward and
backward against float64, one training step in bfloat16 against float32 on the CPU. `throughput`: real tokens a second
from rows on disk to the updated weights, step by step from a plain model to the one that trains, and `transformers`
compiled on the same rows (full rows, documents not kept apart: its fastest way). Each takes under ten minutes on an
H200; `--device cpu` with small sizes runs the same code. Rows are generated: lengths lognormal (mean 539 tokens), ids
by Zipf's law, never zeros. Needs torch, numpy, pyarrow and, for the rival, transformers; no Beam.
"""

import argparse
import functools
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.pretrain.architecture import Architecture, architecture_of, hugging_face_config
from pipeline.pretrain.attention import attend, layout_of
from pipeline.pretrain.checkpoint import CheckpointWriter, collect_tensors
from pipeline.pretrain.flops import Work, training_flops
from pipeline.pretrain.model import Model, build_model
from pipeline.pretrain.objective import Losses, Microbatch, layout_for, loss_sums, losses_with, read_microbatch
from pipeline.pretrain.optimizer import build_optimizers
from pipeline.pretrain.order import rows_at
from pipeline.pretrain.rows import Rows
from pipeline.pretrain.settings import Settings
from pipeline.pretrain.step import take_step
from pipeline.pretrain.vocabulary import Vocabulary
from pipeline.pretrain.world import World

SPECIAL_IDS = {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4}
SHEET_PEAK, MEASURED_PEAK = 989e12, 790e12


def main() -> None:
    """Run one of the two calls and print its table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("call", choices=["kernels", "throughput"])
    options.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options.add_argument("--model", default="bert-base")
    options.add_argument("--vocab", type=int, default=30_522)
    options.add_argument("--layers", type=int)
    options.add_argument("--width", type=int)
    options.add_argument("--heads", type=int)
    options.add_argument("--length", type=int, default=512, help="tokens in a row")
    options.add_argument("--rate", type=float, default=0.15, help="share of masked tokens")
    options.add_argument("--micro-tokens", type=int, default=65_536, help="tokens in one forward pass")
    options.add_argument("--rows", type=int, default=8192, help="rows on disk")
    options.add_argument("--steps", type=int, default=40, help="steps of one timing")
    options.add_argument("--warmup", type=int, default=20)
    options.add_argument("--rounds", type=int, default=3, help="timings, of which the median counts")
    options.add_argument("--gemm", type=int, default=8192, help="side of the largest product")
    options.add_argument("--compile", choices=["auto", "no"], default="auto")
    options.add_argument("--rival", choices=["yes", "no"], default="yes")
    options.add_argument("--json", type=Path, help="write the table here as well")
    given = options.parse_args()
    table = kernels(given) if given.call == "kernels" else throughput(given)
    header = {"call": given.call, "device": _device_name(given.device), "torch": torch.__version__}
    print(json.dumps(header))
    columns = list(dict.fromkeys(key for row in table for key in row))
    widths = [max(len(key), *(len(_cell(row.get(key))) for row in table)) for key in columns]
    for cells in (columns, *([_cell(row.get(key)) for key in columns] for row in table)):
        print("  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True)))
    if given.json:
        given.json.write_text(json.dumps({**header, "options": vars(given) | {"json": None}, "table": table}, indent=1))


def kernels(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Ceilings, products, attention against float64, one step against float32."""
    device, dtype = torch.device(given.device), torch.bfloat16
    architecture = _architecture(given)
    table: list[dict[str, Any]] = []
    width, inner, tokens = architecture.width, architecture.feed_forward, given.micro_tokens
    shapes = [("ceiling", given.gemm, given.gemm, given.gemm), ("qkv", tokens, width, 3 * width)]
    shapes += [
        ("mlp in", tokens, width, inner),
        ("mlp out", tokens, inner, width),
        ("head", tokens // 8, width, given.vocab),
    ]
    for name, m, k, n in shapes:
        left, right = _random((m, k), device, dtype), _random((k, n), device, dtype)
        seconds = _seconds(functools.partial(torch.matmul, left, right), given, device)
        row = {
            "what": f"product {name}",
            "shape": f"{m}x{k}x{n}",
            "ms": 1e3 * seconds,
            "TFLOP/s": 2e-12 * m * k * n / seconds,
        }
        table.append(row)
    buffer = _random((given.gemm, given.gemm), device, torch.float32)
    target = torch.empty_like(buffer)
    seconds = _seconds(functools.partial(target.copy_, buffer), given, device)
    table.append({"what": "copy", "ms": 1e3 * seconds, "TB/s": 2e-12 * buffer.numel() * 4 / seconds})
    for length in sorted({given.length, 2 * given.length}):
        table += _attention_rows(given, architecture, length, device, dtype)
    table.append(_one_step(given, architecture, device))
    return table


def throughput(given: argparse.Namespace) -> list[dict[str, Any]]:
    """The ladder from a plain model to the trained one, then the rival."""
    device = torch.device(given.device)
    dtype = torch.bfloat16 if device.type == "cuda" else None
    architecture = _architecture(given)
    compiled = given.compile == "auto" and device.type == "cuda"
    backends = ("sdpa", "varlen", "flex") if device.type == "cuda" else ("sdpa",)
    ladder: list[tuple[str, Losses, str]] = [
        ("dense head", functools.partial(_dense_head, dtype=dtype), "adamw"),
        ("gathered head, last layer", losses_with(backend="sdpa", dtype=dtype, compiled=False), "adamw"),
    ]
    ladder += [
        (f"compiled, {name}", losses_with(backend=name, dtype=dtype, compiled=compiled), "adamw") for name in backends
    ]
    with tempfile.TemporaryDirectory() as directory:
        rows, vocabulary = _generated(Path(directory), given, device)
        table: list[dict[str, Any]] = []
        for name, losses, optimizer in ladder:
            table.append(_trained(name, losses, optimizer, rows, vocabulary, given, architecture))
        best = max(table[2:], key=lambda row: row["tokens/s"])
        losses = ladder[table.index(best)][1]
        table.append(_trained(best["what"] + ", muon", losses, "muon", rows, vocabulary, given, architecture))
        cached = _trained(
            best["what"] + ", cached rows", losses, "adamw", rows, vocabulary, given, architecture, cached=True
        )
        table.append(cached)
        table.append(_pauses(architecture, device, Path(directory)))
        if given.rival == "yes":
            table.append(_rival(rows, vocabulary, given, architecture, compiled=compiled))
    for row in table:
        if "tokens/s" in row:
            row["x rival"] = row["tokens/s"] / table[-1]["tokens/s"] if given.rival == "yes" else None
    return table


def _architecture(given: argparse.Namespace) -> Architecture:
    return architecture_of(
        given.model, vocab_size=given.vocab, positions=2 * given.length, pad_id=0,
        layers=given.layers, width=given.width, heads=given.heads,
    )  # fmt: skip


def _attention_rows(
    given: argparse.Namespace, a: Architecture, length: int, device: torch.device, dtype: torch.dtype
) -> list[dict[str, Any]]:
    """Forward and backward of each kernel, full and local, with its error against float64 on the first row."""
    rng = np.random.default_rng(0)
    num_rows = max(1, given.micro_tokens // length)
    pieces = [_piece_lengths(rng, length) for _ in range(num_rows)]
    lengths_BP = torch.tensor([row + [0] * (max(map(len, pieces)) - len(row)) for row in pieces], device=device)
    q, k, v = (_random((num_rows, length, a.heads, a.head_width), device, dtype).requires_grad_() for _ in range(3))
    table = []
    for backend in ("sdpa", "varlen", "flex") if device.type == "cuda" else ("sdpa",):
        for is_global in (True, False) if a.family == "modernbert" else (True,):
            row: dict[str, Any] = {
                "what": f"attention {backend} {'full' if is_global else 'local'}",
                "shape": f"{num_rows}x{length}",
            }
            try:
                layout = layout_of(lengths_BP, length, a.window, backend)

                def step(layout: Any = layout, is_global: bool = is_global) -> Tensor:
                    mixed = attend(q, k, v, layout, is_global=is_global, slots_BQ=None)
                    torch.autograd.grad(mixed, (q, k, v), torch.ones_like(mixed))
                    return mixed

                exact = layout_of(lengths_BP[:1].cpu(), length, a.window)
                first = [heads[:1].detach().double().cpu() for heads in (q, k, v)]
                wanted = attend(*first, exact, is_global=is_global, slots_BQ=None)
                real = exact.document_BS < exact.num_pieces
                error = (step()[:1].detach().double().cpu() - wanted)[real].abs().max() / wanted[real].abs().max()
                row |= {"ms": 1e3 * _seconds(step, given, device), "error": float(error)}
            except Exception as error:
                row["failed"] = f"{type(error).__name__}: {str(error).splitlines()[0][:60]}"
            table.append(row)
    return table


def _one_step(given: argparse.Namespace, a: Architecture, device: torch.device) -> dict[str, Any]:
    """Loss and gradient of one small microbatch: bfloat16 on the device against float32 on the CPU."""
    with tempfile.TemporaryDirectory() as directory:
        results = []
        for where, dtype in ((torch.device("cpu"), None), (device, torch.bfloat16)):
            rows, vocabulary = _generated(Path(directory) / where.type, given, where, num_rows=4)
            model = build_model(a, seed=0).to(where)
            batch = read_microbatch(
                rows, np.arange(2), settings=Settings(mask_rate=given.rate), step=0, vocabulary=vocabulary
            )
            loss = loss_sums(model, batch, layout_for(model, batch), dtype)[0] / batch.masked.weight_BK.sum()
            loss.backward()
            gradient = torch.cat([parameter.grad.flatten().cpu() for parameter in model.parameters()])
            results.append((loss.item(), gradient))
    (exact, gradient), (loss, other) = results
    angle = torch.cosine_similarity(gradient, other, dim=0).item()
    return {"what": "one step, bfloat16", "loss": loss, "error": abs(loss - exact) / exact, "gradient cosine": angle}


def _dense_head(model: Model, batch: Microbatch, *, dtype: torch.dtype | None) -> Tensor:
    """The way of most trainers: logits of all tokens, ignored where nothing is masked."""
    layout = layout_for(model, batch)
    logits_BSV = model(batch.masked.ids_BS, layout, dtype=dtype).token_BQV
    target_BS = torch.full_like(batch.masked.ids_BS, -100)
    labels_BK = torch.where(batch.masked.weight_BK > 0, batch.masked.labels_BK, -100)
    target_BS.scatter_(1, batch.masked.slots_BK, labels_BK)
    loss = functional.cross_entropy(logits_BSV.flatten(0, 1).float(), target_BS.flatten(), reduction="sum")
    return torch.stack((loss, torch.zeros_like(loss)))


def _trained(
    name: str,
    losses: Losses,
    optimizer: str,
    rows: Rows,
    vocabulary: Vocabulary,
    given: argparse.Namespace,
    a: Architecture,
    *,
    cached: bool = False,
) -> dict[str, Any]:
    """Seconds of real steps, one microbatch each: read, mask, forward, backward, update."""
    device = torch.device(given.device)
    world = World(0, 1, device)
    settings = Settings(mask_rate=given.rate)
    micro_rows = max(1, given.micro_tokens // given.length)
    model = build_model(a, seed=0).to(device)
    optimizers = build_optimizers(model, optimizer, lr=1e-4, weight_decay=0.01)
    number, work, kept = 0, torch.zeros(4, dtype=torch.float64, device=device), None

    def step() -> None:
        nonlocal number, work, kept
        if kept is None or not cached:
            rows_B = rows_at(number * micro_rows, micro_rows, num_rows=len(rows), seed=0)
            kept = read_microbatch(rows, rows_B, settings=settings, step=number, vocabulary=vocabulary)
        taken = take_step(model, losses, optimizers, [kept], num_rows=micro_rows, clip=1.0, world=world)
        number, work = number + 1, work + taken.work_4

    try:
        for _ in range(given.warmup):
            step()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        rates, flops = [], []
        for _ in range(given.rounds):
            work.zero_()
            begun = _now(device)
            for _ in range(given.steps):
                step()
            seconds = _now(device) - begun
            done = Work(*work.tolist())
            rates.append(done.tokens / seconds)
            flops.append(training_flops(a, done) / seconds)
    except Exception as error:
        return {"what": name, "tokens/s": 0.0, "failed": f"{type(error).__name__}: {str(error).splitlines()[0][:60]}"}
    rate = statistics.median(flops)
    row = {"what": name, "tokens/s": statistics.median(rates), "spread": (max(rates) - min(rates)) / max(rates)}
    row["TFLOP/s"] = 1e-12 * rate
    if device.type == "cuda":
        row |= {"of 989": rate / SHEET_PEAK, "of 790": rate / MEASURED_PEAK}
        row["GiB"] = torch.cuda.max_memory_allocated(device) / 2**30
    return row


def _pauses(a: Architecture, device: torch.device, directory: Path) -> dict[str, Any]:
    """How long training stands still for a checkpoint, and how long the writing takes behind its back."""
    model = build_model(a, seed=0).to(device)
    optimizers = build_optimizers(model, "adamw", lr=1e-4, weight_decay=0.01)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizers[0].step()
    writer = CheckpointWriter(directory / "checkpoints", keep=1)
    begun = _now(device)
    writer.save(collect_tensors(model, optimizers), {"step": 1})
    pause_s = _now(device) - begun
    writer.wait()
    return {"what": "checkpoint", "pause ms": 1e3 * pause_s, "ms": 1e3 * (_now(device) - begun)}


def _rival(
    rows: Rows, vocabulary: Vocabulary, given: argparse.Namespace, a: Architecture, *, compiled: bool
) -> dict[str, Any]:
    """`transformers` with SDPA, compiled, bfloat16 autocast, fused AdamW, sparse prediction where it has it."""
    import transformers

    device = torch.device(given.device)
    values = hugging_face_config(a, SPECIAL_IDS) | {"attn_implementation": "sdpa"}
    values |= {"sparse_prediction": True} if a.family == "modernbert" else {}
    values |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0} if a.family == "bert" else {}
    kind = getattr(transformers, values["architectures"][0])
    model = kind(kind.config_class(**values)).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    run = torch.compile(model) if compiled else model
    micro_rows = max(1, given.micro_tokens // given.length)
    settings = Settings(mask_rate=given.rate)

    def step(number: int) -> int:
        rows_B = rows_at(number * micro_rows, micro_rows, num_rows=len(rows), seed=0)
        batch = read_microbatch(rows, rows_B, settings=settings, step=number, vocabulary=vocabulary)
        labels = torch.full_like(batch.masked.ids_BS, -100)
        labels.scatter_(1, batch.masked.slots_BK, torch.where(batch.masked.weight_BK > 0, batch.masked.labels_BK, -100))
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = run(input_ids=batch.masked.ids_BS, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return int(batch.lengths_BP.sum())

    for number in range(given.warmup):
        step(number)
    rates = []
    for number in range(given.rounds):
        begun = _now(device)
        tokens = sum(step(given.warmup + number * given.steps + index) for index in range(given.steps))
        rates.append(tokens / (_now(device) - begun))
    return {
        "what": "transformers",
        "tokens/s": statistics.median(rates),
        "spread": (max(rates) - min(rates)) / max(rates),
    }


def _generated(
    directory: Path, given: argparse.Namespace, device: torch.device, num_rows: int | None = None
) -> tuple[Rows, Vocabulary]:
    """Write rows as one shard and open them; the vocabulary needs no tokenizer."""
    rng = np.random.default_rng(0)
    lengths = [_piece_lengths(rng, given.length) for _ in range(num_rows or given.rows)]
    ids = 5 + (rng.zipf(1.2, len(lengths) * given.length) - 1) % (given.vocab - 5)
    flat = ids.reshape(len(lengths), given.length)
    for row, pieces in zip(flat, lengths, strict=True):
        ends = np.cumsum(pieces)
        row[ends - 1] = SPECIAL_IDS["sep"]
        row[np.concatenate(([0], ends[:-1]))] = SPECIAL_IDS["cls"]
    metadata = {
        "tokenizer_hash": "generated", "vocab_size": given.vocab, "seq_length": given.length, "packing": "best_fit",
        "max_pieces": max(map(len, lengths)), "special_ids": SPECIAL_IDS,
    }  # fmt: skip
    columns = {
        "input_ids": pa.array(list(flat), pa.list_(pa.uint16())),
        "document_lengths": pa.array(lengths, pa.list_(pa.int32())),
    }
    table = pa.table(columns).replace_schema_metadata({"gristmill": json.dumps(metadata)})
    directory.mkdir(parents=True, exist_ok=True)
    with (
        pa.OSFile(str(directory / "data-00000-of-00001.arrow"), "wb") as sink,
        pa.ipc.new_stream(sink, table.schema) as out,
    ):
        out.write_table(table)
    maskable_V = torch.arange(given.vocab) >= len(SPECIAL_IDS)
    vocabulary = Vocabulary(SPECIAL_IDS["mask"], maskable_V, maskable_V, torch.arange(len(SPECIAL_IDS), given.vocab))
    return Rows(directory), vocabulary.to(device)


def _piece_lengths(rng: np.random.Generator, length: int) -> list[int]:
    """Return lengths of documents (median 329, mean 539 tokens) that fill one row exactly, each of 3 or more."""
    lengths: list[int] = []
    left = length
    while left:
        piece = min(left, max(3, int(rng.lognormal(np.log(329), 1.0))))
        piece = left if left - piece < 3 else piece
        lengths.append(piece)
        left -= piece
    return lengths


def _random(shape: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    return torch.randn(shape, device=device).to(dtype)


def _seconds(call: Callable[[], object], given: argparse.Namespace, device: torch.device) -> float:
    """Median seconds of one call."""
    for _ in range(max(1, given.warmup // 4)):
        call()
    rounds = []
    for _ in range(given.rounds):
        begun = _now(device)
        for _ in range(max(1, given.steps // 4)):
            call()
        rounds.append((_now(device) - begun) / max(1, given.steps // 4))
    return statistics.median(rounds)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


def _cell(value: object) -> str:
    if value is None:
        return ""
    return (
        f"{value:,.4g}"
        if isinstance(value, float) and value < 1000
        else f"{value:,.0f}"
        if isinstance(value, float)
        else str(value)
    )


if __name__ == "__main__":
    main()
