"""The trainer's kernels and its throughput on one device, with `transformers` beside it: the two measurement calls.

    python tests/bench/pretrain_gpu.py kernels    [--device cuda] [--model modernbert-base] [--json FILE]
    python tests/bench/pretrain_gpu.py throughput [--device cuda] [--model bert-base] [--length 512] [--rate 0.15]
    python tests/bench/pretrain_gpu.py throughput --model modernbert-base --vocab 50368 --length 1024 --rate 0.3

`kernels`: ceilings of the machine (matrix product, copy), the model's products, what is bound by memory, every
attention kernel forward and backward against float64, one training step in bfloat16 against float32 on the CPU.
`throughput`: the race of attention kernels, then real tokens a second from rows on disk to the updated weights, a
ladder from a plain model to the one that trains, and `transformers` compiled on the same rows (full rows, documents not
kept apart: its fastest way). A call ends within `--seconds` and the row it is in: what is worth most is measured first,
and rows without time left are marked as skipped. Rows are generated: lengths lognormal (mean 539 tokens), ids by Zipf's
law, never zeros. `--device cpu` with small sizes runs the same code. Needs torch, numpy, pyarrow, safetensors and, for
the rival, transformers; no Beam.
"""

import argparse
import functools
import gc
import json
import statistics
import sys
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

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.pretrain.architecture import Architecture, architecture_of, hugging_face_config
from pipeline.pretrain.attention import Layout, attend, layout_of, take_rows
from pipeline.pretrain.autotune import race_backends, winner
from pipeline.pretrain.checkpoint import CheckpointWriter, collect_tensors, load_checkpoints, restore_tensors
from pipeline.pretrain.flops import Work, attended_pairs, training_flops
from pipeline.pretrain.model import Model, build_model
from pipeline.pretrain.objective import (
    Losses,
    Microbatch,
    layout_for,
    loss_sums,
    read_microbatch,
    token_loss_sum,
)
from pipeline.pretrain.optimizer import build_optimizers
from pipeline.pretrain.order import rows_at
from pipeline.pretrain.rows import Rows
from pipeline.pretrain.settings import Settings
from pipeline.pretrain.step import take_step
from pipeline.pretrain.vocabulary import Vocabulary
from pipeline.pretrain.world import World

SPECIAL_IDS = {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4}
SHEET_PEAK, MEASURED_PEAK = 989e12, 790e12
Row = dict[str, Any]


def main() -> None:
    """Run one of the two calls and print its table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("call", choices=["kernels", "throughput"])
    options.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options.add_argument(
        "--seconds", type=float, default=480, help="no row is begun after these; one takes 100 at most"
    )
    options.add_argument("--row-seconds", type=float, default=15, help="of timing, for one row of the table")
    options.add_argument("--model", default="bert-base")
    options.add_argument("--vocab", type=int, default=30_522)
    options.add_argument("--layers", type=int)
    options.add_argument("--width", type=int)
    options.add_argument("--heads", type=int)
    options.add_argument("--length", type=int, default=512, help="tokens in a row")
    options.add_argument("--lengths", type=int, nargs="+", default=[512, 1024, 8192], help="of rows, for attention")
    options.add_argument("--rate", type=float, default=0.15, help="share of masked tokens")
    options.add_argument("--micro-tokens", type=int, default=65_536, help="tokens in one forward pass")
    options.add_argument("--accumulate", type=int, default=8, help="forward passes in one step")
    options.add_argument("--rows", type=int, default=8192, help="rows on disk")
    options.add_argument("--steps", type=int, default=10, help="most steps of one timing")
    options.add_argument("--warmup", type=int, default=4)
    options.add_argument("--rounds", type=int, default=3, help="timings, of which the median counts")
    options.add_argument("--gemm", type=int, default=8192, help="side of the largest product")
    options.add_argument("--compile", choices=["auto", "eager", "no"], default="auto", help="eager: graphs, no code")
    options.add_argument("--rival", choices=["yes", "no"], default="yes")
    options.add_argument("--json", type=Path, help="write the table here as well")
    given = options.parse_args()
    table = Kernels(given).table() if given.call == "kernels" else Throughput(given).table()
    header = {"call": given.call, "device": _device_name(given.device), "torch": torch.__version__}
    print(json.dumps(header))
    columns = list(dict.fromkeys(key for row in table for key in row))
    widths = [max(len(key), *(len(_cell(row.get(key))) for row in table)) for key in columns]
    for cells in (columns, *([_cell(row.get(key)) for key in columns] for row in table)):
        print("  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())
    if given.json:
        given.json.write_text(json.dumps({**header, "options": vars(given) | {"json": None}, "table": table}, indent=1))


class Call:
    """What both calls share: sizes, the clock, and rows that may fail or be skipped without ending the call."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given, self.device = given, torch.device(given.device)
        self.on_gpu = self.device.type == "cuda"
        self.architecture: Architecture = architecture_of(
            given.model, vocab_size=given.vocab, positions=max(2 * given.length, *given.lengths), pad_id=0,
            layers=given.layers, width=given.width, heads=given.heads,
        )  # fmt: skip
        self.backends = ("varlen", "flex", "sdpa") if self.on_gpu else ("sdpa",)
        self._end = time.monotonic() + given.seconds

    def row(self, name: str, measure: Callable[[], Row]) -> Row:
        """Return `measure()` under `name`; a failure or the end of the time is told in the row."""
        if time.monotonic() > self._end:
            return {"what": name, "failed": "skipped: no time left"}
        try:
            return {"what": name, **measure()}
        except Exception as error:
            return {"what": name, "failed": f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:80]}"}
        finally:
            gc.collect()
            if self.on_gpu:
                torch.cuda.empty_cache()

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return `function` as one graph, or as it is where nothing is compiled."""
        if self.mode is None:
            return function
        return torch.compile(function, dynamic=False, fullgraph=True, backend=self.mode)

    @property
    def mode(self) -> str | None:
        """The backend of torch.compile, None for none."""
        if self.given.compile == "no" or (self.given.compile == "auto" and not self.on_gpu):
            return None
        return "eager" if self.given.compile == "eager" else "inductor"

    def seconds(self, call: Callable[[], object]) -> float:
        """Return the median seconds of one call, over rounds of as many calls as fit the time of a row."""
        for _ in range(3):
            call()
        begun = self.now()
        call()
        most = self.given.row_seconds / self.given.rounds / max(self.now() - begun, 1e-6)
        count = int(min(max(1, most), 2 * self.given.steps))
        rounds = []
        for _ in range(self.given.rounds):
            begun = self.now()
            for _ in range(count):
                call()
            rounds.append((self.now() - begun) / count)
        return statistics.median(rounds)

    def now(self) -> float:
        """Return the clock when the device is idle."""
        if self.on_gpu:
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def random(self, *shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
        """Return normal noise: zeros are multiplied faster than numbers."""
        return torch.randn(shape, device=self.device).to(dtype)


class Kernels(Call):
    """Ceilings, products, memory, attention against float64, one step against float32."""

    def table(self) -> list[Row]:
        """Return the rows."""
        a, given, tokens = self.architecture, self.given, self.given.micro_tokens
        inner = a.feed_forward * (2 if a.family == "modernbert" else 1)
        shapes = [
            ("ceiling", given.gemm, given.gemm, given.gemm),
            ("qkv", tokens, a.width, 3 * a.width),
            ("attention out", tokens, a.width, a.width),
            ("mlp in", tokens, a.width, inner),
            ("mlp out", tokens, a.feed_forward, a.width),
            ("mlp in, to the weight", a.width, tokens, inner),
            ("mlp in, to the stream", tokens, inner, a.width),
            ("head", max(1, round(given.rate * tokens)), a.width, given.vocab),
        ]
        table = [self.row(f"product {name}", functools.partial(self._product, *shape)) for name, *shape in shapes]
        table.append(self.row("copy", self._copy))
        table.append(self.row("residual and norm, both ways", functools.partial(self._streams, "norm")))
        table.append(self.row("activation, both ways", functools.partial(self._streams, "activation")))
        for length in given.lengths:
            for backend in self.backends:
                for kind in ("full", "local") if a.family == "modernbert" else ("full",):
                    measure = functools.partial(self._attention, length, backend, is_global=kind == "full")
                    table.append(self.row(f"attention {backend} {kind}", measure))
        table.append(self.row("one step, bfloat16", self._one_step))
        return table

    def _product(self, m: int, k: int, n: int) -> Row:
        left, right = self.random(m, k), self.random(k, n)
        seconds = self.seconds(functools.partial(torch.matmul, left, right))
        return {"shape": f"{m}x{k}x{n}", "ms": 1e3 * seconds, "TFLOP/s": 2e-12 * m * k * n / seconds}

    def _copy(self) -> Row:
        source = self.random(self.given.gemm, 2 * self.given.gemm, dtype=torch.float32)
        target = torch.empty_like(source)
        seconds = self.seconds(functools.partial(target.copy_, source))
        return {"ms": 1e3 * seconds, "TB/s": 2e-12 * source.numel() * 4 / seconds}

    def _streams(self, kind: str) -> Row:
        """What torch.compile makes of the passes over the stream: bytes that must move, a second.

        Near the copy's rate there is nothing left for a kernel of our own to win.
        """
        a, tokens = self.architecture, self.given.micro_tokens
        gated = a.family == "modernbert"
        weight = torch.ones(a.width, device=self.device, dtype=torch.bfloat16)
        if kind == "norm":
            function = self.compiled(lambda x, y: functional.layer_norm(x + y, (a.width,), weight))
            inputs = [self.random(tokens, a.width).requires_grad_() for _ in range(2)]
            passes = 3 + 4  # two in, one out; back: the gradient, both inputs again, one gradient out
        elif gated:
            function = self.compiled(lambda x: functional.gelu(x.chunk(2, dim=-1)[0]) * x.chunk(2, dim=-1)[1])
            inputs, passes = [self.random(tokens, 2 * a.feed_forward).requires_grad_()], 3 + 5
        else:
            function = self.compiled(functional.gelu)
            inputs, passes = [self.random(tokens, a.feed_forward).requires_grad_()], 2 + 3
        gradient = torch.randn_like(function(*inputs))

        def both() -> None:
            torch.autograd.grad(function(*inputs), inputs, gradient)

        seconds = self.seconds(both)
        return {"ms": 1e3 * seconds, "TB/s": 2e-12 * passes * gradient.numel() / seconds}

    def _attention(self, length: int, backend: str, *, is_global: bool) -> Row:
        """Forward and backward, with the error of both against float64 on the first row, and of longer offsets."""
        a, rng = self.architecture, np.random.default_rng(0)
        num_rows = max(1, self.given.micro_tokens // length)
        pieces = [_piece_lengths(rng, length) for _ in range(num_rows)]
        most = max(map(len, pieces))
        lengths_BP = torch.tensor([row + [0] * (most - len(row)) for row in pieces], device=self.device)
        shape = (num_rows, length, a.heads, a.head_width)
        q, k, v = (self.random(*shape).requires_grad_() for _ in range(3))
        gradient = self.random(num_rows, length, a.width)
        plain = functools.partial(attend, is_global=is_global, slots_BQ=None)

        def step(layout: Any) -> list[Tensor]:
            mixed = plain(q, k, v, layout)
            return [mixed, *torch.autograd.grad(mixed, (q, k, v), gradient)]

        layout = layout_of(lengths_BP, length, a.local_window, backend)
        got = [value[:1].detach().double().cpu() for value in step(layout)]
        heads = [value[:1].detach().double().cpu().requires_grad_() for value in (q, k, v)]
        wanted = [plain(*heads, layout_of(lengths_BP[:1].cpu(), length, a.local_window))]
        wanted += torch.autograd.grad(wanted[0], heads, gradient[:1].double().cpu())
        wanted[0] = wanted[0].detach()
        error = max(float((x - y).abs().max() / y.abs().max()) for x, y in zip(got, wanted, strict=True))
        longer = layout_of(functional.pad(lengths_BP, (0, 64)), length, a.local_window, backend)
        same = all(torch.equal(x, y) for x, y in zip(step(layout), step(longer), strict=True))
        seconds = self.seconds(functools.partial(step, layout))
        counts = Work(0, 0, *(float(x) for x in attended_pairs(lengths_BP, a.window // 2)))
        flops = 12 * a.width * (counts.full_pairs if is_global else counts.local_pairs)
        return {
            "shape": f"{num_rows}x{length}", "ms": 1e3 * seconds, "TFLOP/s": 1e-12 * flops / seconds, "error": error,
            "empty documents change nothing": same,
        }  # fmt: skip

    def _one_step(self) -> Row:
        """Loss and gradient of one small microbatch: bfloat16 on the device against float32 on the CPU."""
        with tempfile.TemporaryDirectory() as directory:
            results = []
            for where, dtype in ((torch.device("cpu"), None), (self.device, torch.bfloat16)):
                rows, vocabulary = _generated(Path(directory) / where.type, self.given, where, num_rows=4)
                model = build_model(self.architecture, seed=0).to(where)
                batch = read_microbatch(
                    rows, np.arange(2), settings=Settings(mask_rate=self.given.rate), step=0, vocabulary=vocabulary
                )
                backend = self.backends[0] if dtype else "sdpa"
                loss = loss_sums(model, batch, layout_for(model, batch, backend), dtype)[0]
                loss = loss / batch.masked.weight_BK.sum()
                loss.backward()
                gradient = torch.cat([parameter.grad.flatten().cpu() for parameter in model.parameters()])
                results.append((loss.item(), gradient))
        (exact, gradient), (loss, other) = results
        angle = torch.cosine_similarity(gradient, other, dim=0).item()
        return {"loss": loss, "error": abs(loss - exact) / exact, "gradient cosine": angle}


class Throughput(Call):
    """The ladder from a plain model to the trained one, then what a run does beside it, then the rival."""

    _model: Model | None = None
    _of: Losses | None = None

    def table(self) -> list[Row]:
        """Measure what is worth most first; return the rows as a ladder."""
        rows: dict[str, Row] = {}
        with tempfile.TemporaryDirectory() as directory:
            self.directory = Path(directory)
            self.rows, self.vocabulary = _generated(self.directory / "rows", self.given, self.device)

            def take(name: str, measure: Callable[..., Row], *arguments: Any, **options: Any) -> None:
                rows[name] = self.row(name, functools.partial(measure, *arguments, **options))

            take("race of attention", self._race)
            best = rows["race of attention"].get("shape", self.backends[0])
            take(f"model compiled, {best}", self._ours, self._losses(loss_sums, best))
            if self.given.rival == "yes":
                take("same loss as transformers", self._same_loss)
                take("transformers, autocast", self._rival, weights=torch.float32)
                take("transformers, bfloat16 weights", self._rival, weights=torch.bfloat16)
            others = [name for name in self.backends if name != best]
            for name in others:
                take(f"model compiled, {name}", self._ours, self._losses(loss_sums, name))
            trained = self._losses(loss_sums, best)
            plain = functools.partial(self._losses, backend=best, compiled=False)
            take("cached rows", self._ours, trained, cached=True)
            take("block compiled", self._ours, plain(loss_sums), blocks=True)
            take("whole last layer", self._ours, self._losses(_whole_last_layer, best))
            take("muon", self._ours, trained, optimizer="muon")
            take("stableadamw", self._ours, trained, optimizer="stableadamw")
            take("checkpoint", self._pauses, trained)
            for number, row in enumerate(self._profile(trained)):
                rows[f"kernel {number + 1}"] = row
            take("eager", self._ours, plain(loss_sums))
            take("eager, whole last layer", self._ours, plain(_whole_last_layer))
            take("eager, dense head", self._ours, plain(_dense_head))
            for tokens in (self.given.micro_tokens // 2, 2 * self.given.micro_tokens):
                take(f"{tokens} tokens a pass", self._ours, trained, micro_tokens=tokens)
        ladder = [
            "eager, dense head", "eager, whole last layer", "eager", "whole last layer", "block compiled",
            *(f"model compiled, {name}" for name in (*others, best)), "muon", "stableadamw", "cached rows",
        ]  # fmt: skip
        rival = max((row.get("tokens/s", 0.0) for name, row in rows.items() if name.startswith("transf")), default=0.0)
        for row in rows.values():
            if rival and row.get("tokens/s"):
                row["x rival"] = row["tokens/s"] / rival
        return [rows.pop(name) for name in ladder] + list(rows.values())

    def _losses(self, way: Callable[..., Tensor], backend: str, *, compiled: bool = True) -> Losses:
        """Return the losses by `way` as they are trained with: the layout is made outside of the graph."""
        inner = self.compiled(way) if compiled else way
        dtype = torch.bfloat16 if self.on_gpu else None
        return lambda model, batch: inner(model, batch, layout_for(model, batch, backend), dtype)

    def _race(self) -> Row:
        """The trainer's race of attention kernels: who won, and the milliseconds of all layers of each."""
        num_rows = max(1, self.given.micro_tokens // self.given.length)
        batch = self.rows.read(rows_at(0, num_rows, num_rows=len(self.rows), seed=0))
        race = race_backends(
            self.architecture,
            torch.from_numpy(batch.lengths_BP).to(self.device),
            self.given.length,
            dtype=torch.bfloat16 if self.on_gpu else torch.float32,
            backends=self.backends[::-1],
        )
        times = {f"{name} ms": 1e3 * sum(seconds) for name, seconds in race.seconds.items()}
        return {"shape": winner(race.seconds), **times}

    def _ours(
        self, losses: Losses, *, optimizer: str = "adamw", cached: bool = False, blocks: bool = False,
        micro_tokens: int = 0,
    ) -> Row:  # fmt: skip
        """Seconds of real steps: read, mask, forward, backward, and after `--accumulate` passes the update."""
        stats = torch._dynamo.utils.counters["stats"]
        step, work, _ = self._stepper(losses, optimizer, cached=cached, blocks=blocks, micro_tokens=micro_tokens)
        begun = self.now()
        step()
        first_s = self.now() - begun
        for _ in range(self.given.warmup - 1):
            step()
        if self.on_gpu:
            torch.cuda.reset_peak_memory_stats(self.device)
        graphs = stats["unique_graphs"]
        begun = self.now()
        step()
        most = self.given.row_seconds / self.given.rounds / (self.now() - begun)
        count = int(min(max(1, most), self.given.steps))
        rates, flops = [], []
        for _ in range(self.given.rounds):
            work.zero_()
            begun = self.now()
            for _ in range(count):
                step()
            seconds = self.now() - begun
            done = Work(*work.tolist())
            rates.append(done.tokens / seconds)
            flops.append(training_flops(self.architecture, done) / seconds)
        rate = statistics.median(flops)
        row = {"tokens/s": statistics.median(rates), "spread": (max(rates) - min(rates)) / max(rates)}
        row |= {"TFLOP/s": 1e-12 * rate, "first step s": first_s, "recompiled": stats["unique_graphs"] - graphs}
        if self.on_gpu:
            row |= {"of 989": rate / SHEET_PEAK, "of 790": rate / MEASURED_PEAK}
            row["GiB"] = torch.cuda.max_memory_allocated(self.device) / 2**30
        return row

    def _stepper(
        self, losses: Losses, optimizer: str, *, cached: bool = False, blocks: bool = False, micro_tokens: int = 0
    ) -> tuple[Callable[[], None], Tensor, Model]:
        """Return a function that takes one step, the sums of its work, and the model."""
        world, settings = World(0, 1, self.device), Settings(mask_rate=self.given.rate)
        micro_rows = max(1, (micro_tokens or self.given.micro_tokens) // self.given.length)
        num_rows = micro_rows * self.given.accumulate
        if self._model is None or self._of is not losses:  # else its graph is there already
            self._model, self._of = None, losses
            torch._dynamo.reset()
            self._model = build_model(self.architecture, seed=0).to(self.device)
        model = self._model
        if blocks and self.mode is not None:
            for block in model.blocks:  # as `compile_blocks` does
                block.compile(dynamic=False, fullgraph=True, backend=self.mode)
        optimizers = build_optimizers(model, optimizer, lr=1e-4, weight_decay=0.01)
        work = torch.zeros(4, dtype=torch.float64, device=self.device)
        number, kept = 0, None

        def step() -> None:
            nonlocal number, kept
            if kept is None or not cached:
                rows_N = rows_at(number * num_rows, num_rows, num_rows=len(self.rows), seed=0)
                kept = [
                    read_microbatch(self.rows, rows_B, settings=settings, step=number, vocabulary=self.vocabulary)
                    for rows_B in rows_N.reshape(-1, micro_rows)
                ]
            taken = take_step(model, losses, optimizers, kept, num_rows=num_rows, clip=1.0, world=world)
            number += 1
            work.add_(taken.work_4)

        return step, work, model

    def _pauses(self, losses: Losses) -> Row:
        """How long training stands still for a checkpoint, how long its writing takes, and how long going on takes."""
        step, _, model = self._stepper(losses, "adamw")
        optimizers = build_optimizers(model, "adamw", lr=1e-4, weight_decay=0.01)
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizers[0].step()
        for _ in range(self.given.warmup):
            step()
        writer = CheckpointWriter(self.directory / "checkpoints", keep=1)
        spans = []
        for saving in (False, True):
            begun = self.now()
            if saving:
                writer.save(collect_tensors(model, optimizers), {"step": 1})
                pause_s = time.perf_counter() - begun
            for _ in range(2):
                step()
            spans.append(self.now() - begun)
        writer.wait()
        written_s = self.now() - begun
        begun = self.now()
        restore_tensors(next(load_checkpoints(self.directory / "checkpoints", [])).tensors, model, optimizers)
        return {
            "pause ms": 1e3 * pause_s, "two steps slower by ms": 1e3 * (spans[1] - spans[0]), "ms": 1e3 * written_s,
            "resume ms": 1e3 * (self.now() - begun),
        }  # fmt: skip

    def _profile(self, losses: Losses) -> list[Row]:
        """The ten kernels that take most of a step (on a CPU: operators), with their share."""
        table: list[Row] = []

        def measure() -> Row:
            step, _, _ = self._stepper(losses, "adamw")
            for _ in range(self.given.warmup):
                step()
            activity = torch.profiler.ProfilerActivity.CUDA if self.on_gpu else torch.profiler.ProfilerActivity.CPU
            with torch.profiler.profile(activities=[activity]) as profile:
                for _ in range(3):
                    step()
                self.now()
            events = profile.key_averages()
            times = [event.self_device_time_total if self.on_gpu else event.self_cpu_time_total for event in events]
            order = sorted(range(len(times)), key=lambda index: -times[index])[:10]
            for index in order:
                event = events[index]
                row = {"what": f"kernel {len(table) + 1}", "shape": event.key[:60], "ms": times[index] / 3e3}
                table.append(row | {"share": times[index] / sum(times), "calls": event.count / 3})
            return {}

        failed = self.row("kernel 1", measure)
        return table or [failed]

    def _theirs(self, weights: torch.dtype) -> Any:
        """The same network in `transformers` with SDPA, no dropout, and sparse prediction where it has it."""
        import transformers

        values = hugging_face_config(self.architecture, SPECIAL_IDS) | {"attn_implementation": "sdpa"}
        if self.architecture.family == "modernbert":
            values["sparse_prediction"] = True
        else:
            values |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        kind = getattr(transformers, values["architectures"][0])
        return kind(kind.config_class(**values)).to(self.device, weights).train()

    def _labels(self, batch: Microbatch) -> Tensor:
        labels_BK = torch.where(batch.masked.weight_BK > 0, batch.masked.labels_BK, -100)
        return torch.full_like(batch.masked.ids_BS, -100).scatter_(1, batch.masked.slots_BK, labels_BK)

    def _same_loss(self) -> Row:
        """The two losses of one microbatch at equal weights, every row taken as one document."""
        model = build_model(self.architecture, seed=0).to(self.device)
        theirs = self._theirs(torch.float32)
        theirs.load_state_dict(model.state_dict(), strict=False)
        settings = Settings(mask_rate=self.given.rate)
        batch = read_microbatch(self.rows, np.arange(2), settings=settings, step=0, vocabulary=self.vocabulary)
        batch = batch._replace(lengths_BP=batch.lengths_BP.sum(1, keepdim=True))
        layout = layout_for(model, batch, self.backends[0])
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.on_gpu):
            expected = theirs(input_ids=batch.masked.ids_BS, labels=self._labels(batch)).loss.item()
        with torch.no_grad():
            dtype = torch.bfloat16 if self.on_gpu else None
            loss = (loss_sums(model, batch, layout, dtype)[0] / batch.masked.weight_BK.sum()).item()
        return {"loss": loss, "error": abs(loss - expected) / expected}

    def _rival(self, *, weights: torch.dtype) -> Row:
        """`transformers` compiled, fused AdamW, the same rows, masks, steps and clock."""
        self._model = None
        torch._dynamo.reset()
        model = self._theirs(weights if self.on_gpu else torch.float32)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
        run = torch.compile(model, backend=self.mode) if self.mode else model
        micro_rows = max(1, self.given.micro_tokens // self.given.length)
        num_rows, settings = micro_rows * self.given.accumulate, Settings(mask_rate=self.given.rate)
        autocast = self.on_gpu and weights == torch.float32
        tokens = torch.zeros((), dtype=torch.int64, device=self.device)
        number = 0

        def step() -> None:
            nonlocal number
            rows_N = rows_at(number * num_rows, num_rows, num_rows=len(self.rows), seed=0)
            for rows_B in rows_N.reshape(-1, micro_rows):
                batch = read_microbatch(self.rows, rows_B, settings=settings, step=number, vocabulary=self.vocabulary)
                with torch.autocast(self.device.type, torch.bfloat16, enabled=autocast):
                    loss = run(input_ids=batch.masked.ids_BS, labels=self._labels(batch)).loss
                (loss / self.given.accumulate).backward()
                tokens.add_(batch.lengths_BP.sum())
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            number += 1

        begun = self.now()
        step()
        first_s = self.now() - begun
        for _ in range(self.given.warmup - 1):
            step()
        begun = self.now()
        step()
        most = self.given.row_seconds / self.given.rounds / (self.now() - begun)
        count = int(min(max(1, most), self.given.steps))
        if self.on_gpu:
            torch.cuda.reset_peak_memory_stats(self.device)
        rates = []
        for _ in range(self.given.rounds):
            tokens.zero_()
            begun = self.now()
            for _ in range(count):
                step()
            rates.append(tokens.item() / (self.now() - begun))
        row = {"tokens/s": statistics.median(rates), "spread": (max(rates) - min(rates)) / max(rates)}
        row["first step s"] = first_s
        return row | ({"GiB": torch.cuda.max_memory_allocated(self.device) / 2**30} if self.on_gpu else {})


def _whole_last_layer(model: Model, batch: Microbatch, layout: Layout, dtype: torch.dtype | None) -> Tensor:
    """All layers for all tokens; masked ones are gathered before the head."""
    ids, slots, dtype = batch.masked.ids_BS, batch.masked.slots_BK, dtype or torch.float32
    if model.architecture.family == "bert":
        logits = model.cls.predictions(take_rows(model.bert(ids, layout, None, None, dtype), slots))
    else:
        logits = model.decoder(model.head(take_rows(model.model(ids, layout, None, dtype), slots)))
    loss = token_loss_sum(logits.float(), batch.masked)
    return torch.stack((loss, torch.zeros_like(loss)))


def _dense_head(model: Model, batch: Microbatch, layout: Layout, dtype: torch.dtype | None) -> Tensor:
    """The way of most trainers: logits of all tokens, ignored where nothing is masked."""
    logits_BSV = model(batch.masked.ids_BS, layout, dtype=dtype).token_BQV
    target_BS = torch.full_like(batch.masked.ids_BS, -100)
    labels_BK = torch.where(batch.masked.weight_BK > 0, batch.masked.labels_BK, -100)
    target_BS.scatter_(1, batch.masked.slots_BK, labels_BK)
    loss = functional.cross_entropy(logits_BSV.flatten(0, 1).float(), target_BS.flatten(), reduction="sum")
    return torch.stack((loss, torch.zeros_like(loss)))


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
