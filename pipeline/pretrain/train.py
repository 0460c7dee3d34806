"""The training run, read from top to bottom: shards in, checkpoints, log, model and summary out."""

import dataclasses
import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.pretrain.architecture import Architecture, architecture_of
from pipeline.pretrain.batch import rows_before, rows_of_step
from pipeline.pretrain.checkpoint import CheckpointWriter, collect_tensors, restore_tensors
from pipeline.pretrain.execution import choose_execution, compute_dtype
from pipeline.pretrain.export import check_target, export_model
from pipeline.pretrain.fill_mask import encode_prompts, fill_prompts, fill_rows
from pipeline.pretrain.log import Log, read_log
from pipeline.pretrain.model import build_model, compile_blocks
from pipeline.pretrain.objective import losses_with, read_microbatch
from pipeline.pretrain.optimizer import build_optimizers, set_lr_share
from pipeline.pretrain.order import rows_at
from pipeline.pretrain.pretrained import read_pretrained, refuse_other_tokenizer, take_weights
from pipeline.pretrain.pretrained_config import find_pretrained, told_as
from pipeline.pretrain.resume import finished_summary, last_checkpoint
from pipeline.pretrain.rows import Rows, ShardMetadata
from pipeline.pretrain.schedule import lr_share
from pipeline.pretrain.settings import LONGEST_ROW, Settings
from pipeline.pretrain.sharding import shard_model
from pipeline.pretrain.splitmix import fold
from pipeline.pretrain.step import take_step
from pipeline.pretrain.tracker import Tracker
from pipeline.pretrain.validation import unigram_entropy, validate, validation_batches
from pipeline.pretrain.vocabulary import read_vocabulary
from pipeline.pretrain.watch import TrainingStoppedError, Watch
from pipeline.pretrain.world import ALONE, World

# Values are read back from the device this often; between two readings the host runs ahead of it.
LOG_EVERY = 10


def train(
    settings: Settings,
    out: Path,
    *,
    say: Callable[[str], None],
    progress: Callable[[str], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
    world: World = ALONE,
) -> dict[str, Any]:
    """Train on the shards in `out` until `settings.steps` are done, resuming where an earlier call left off.

    Writes `out/checkpoints/`, `out/pretrain/log.jsonl`, `out/model/` and, last, `out/pretrain/summary.json`. With equal
    settings, shards, torch build, threads and microbatch the weights are equal bit by bit, however often the run was
    killed. A finished run is left alone.

    Args:
        settings: of the run.
        out: output directory of the run, holding `shards/` and `tokenizer/`, seen by every process.
        say: receives lines for the user.
        progress: receives the line of progress after every step.
        stop: asked now and then; True on any process writes a checkpoint and stops all.
        world: the processes of the run; each calls this function with equal arguments.

    Returns:
        the summary.

    Raises:
        ValueError: a user's mistake: no shards, shards that disagree, a checkpoint made with other settings.
        TrainingStoppedError: stopped on demand, or the loss is not finite.
    """
    settings.check()
    first, device = world.rank == 0, world.device
    say, progress = (say, progress) if first else (_silence, _silence)
    rows, held_out = _open_rows(settings, out)
    metadata = rows.metadata
    identity = {"settings": settings.trajectory(), "shards": [rows.fingerprint, held_out.fingerprint]}
    if summary := finished_summary(out, identity):
        say(f"already trained: {summary['steps']} steps, validation loss {summary['validation_loss']}")
        return summary
    check_target(out / "model")
    checkpoint = last_checkpoint(out / "checkpoints", identity, say)
    kept = checkpoint.record if checkpoint else {}

    tokenizer_json = out / "tokenizer" / "tokenizer.json"
    architecture, weights = _start(settings, metadata, tokenizer_json)
    execution = choose_execution(settings, kept.get("execution", {}), architecture, rows, world, say)
    if kept and (other := execution.differences(kept["execution"])):
        say(f"resumed with {other}: the last bits of the weights will differ from those of an undisturbed run")
    torch.set_num_threads(execution.threads)
    if settings.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        # Only warned of: sums of integers count as not deterministic, too.
        torch.use_deterministic_algorithms(True, warn_only=True)
    micro_rows, dtype = execution.micro_rows, compute_dtype(settings, device)
    sharded = settings.shard and world.size > 1
    losses = losses_with(backend=execution.attention, dtype=dtype, compiled=execution.compile == "model")

    model = build_model(architecture, seed=fold(settings.seed, 0) >> 1)
    if weights:
        with told_as("pretrain.init_from"):
            take_weights(model, weights)
    model.to(device)
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    if execution.compile == "block":
        compile_blocks(model)
    if sharded:
        shard_model(model, world)
    optimizers = build_optimizers(model, settings.optimizer, lr=settings.lr, weight_decay=settings.weight_decay)
    if checkpoint:
        restore_tensors(checkpoint.tensors, model, optimizers)
    vocabulary = read_vocabulary(metadata, tokenizer_json).to(device)
    encode_prompts(tokenizer_json, settings.prompts, vocabulary.mask_id, architecture.positions)  # not after the night
    held_out_batches = validation_batches(held_out, settings=settings, micro_rows=micro_rows, vocabulary=vocabulary)

    first_step = kept.get("step", 0)
    log = None
    if first:
        tracker = Tracker(settings.wandb, out / "pretrain", identity) if settings.wandb else None
        log = Log(out / "pretrain" / "log.jsonl", last_step=first_step, tracker=tracker)
    writer = CheckpointWriter(out / "checkpoints", keep=settings.keep, before=log.sync if log else lambda: None)
    watch = Watch(
        log,
        progress,
        settings=settings,
        architecture=architecture,
        world=world,
        first_step=first_step,
        tokens=kept.get("tokens", 0),
        seconds=kept.get("seconds", 0),
    )
    say(
        f"{settings.init_from or settings.model}: {num_parameters:,} parameters, {rows.num_tokens:,} tokens in "
        f"{len(rows):,} rows, steps {first_step} to {settings.steps} of {settings.batch_rows} rows, "
        f"{world.size} x {device}, {execution.threads} threads"
    )

    for step in range(first_step, settings.steps):
        # The same global batch for any number of microbatches and processes.
        lr_factor = lr_share(settings.schedule, step, settings.steps, warmup=settings.warmup, decay=settings.decay)
        set_lr_share(optimizers, lr_factor)
        num_rows = rows_of_step(settings, step)
        rows_N = rows_at(rows_before(settings, step), num_rows, num_rows=len(rows), seed=settings.seed)
        begun = time.monotonic()
        batches = [
            read_microbatch(
                rows, rows_N[start : start + micro_rows], settings=settings, step=step, vocabulary=vocabulary
            )
            for start in range(world.rank * micro_rows, num_rows, world.size * micro_rows)
        ]
        read_s = time.monotonic() - begun
        taken = take_step(model, losses, optimizers, batches, num_rows=num_rows, clip=settings.clip, world=world)

        # Nothing below changes a weight.
        done = step + 1
        watch.add(done, settings.lr * lr_factor, taken, read_s)
        reading = done % LOG_EVERY == 0 or done == settings.steps
        stopping = (reading or world.size == 1) and _any(stop(), world)
        looking = done % settings.eval_every == 0 and done < settings.steps
        saving = done % settings.checkpoint_every == 0 or done == settings.steps or stopping
        if reading or looking or saving:
            watch.read(writer.last)
        if looking and held_out_batches:
            validation = validate(model, held_out_batches, world=world, backend=execution.attention, dtype=dtype)
            watch.write([{"step": done, **_measured(validation._asdict())}])
            say(
                f"step {done}/{settings.steps}  validation loss {validation.loss:.3f}  "
                f"accuracy {validation.accuracy:.1%}"
            )
        if saving and (log or sharded):
            tensors = collect_tensors(model, optimizers)
        if saving and log:
            record: dict[str, Any] = {"step": done, "tokens": watch.tokens, "seconds": watch.seconds}
            record |= {**identity, "execution": dataclasses.asdict(execution)}
            writer.save(tensors, record)
        if stopping and done < settings.steps:
            writer.wait()
            raise TrainingStoppedError(f"stopped after step {done} of {settings.steps}; the same command resumes there")

    writer.wait()
    seconds = watch.seconds
    say(watch.describe(settings.steps))
    validation = validate(model, held_out_batches, world=world, backend=execution.attention, dtype=dtype)
    if sharded:  # What follows is done by the first process alone, which cannot run a sharded model.
        tensors = collect_tensors(model, [])
        model = build_model(architecture, seed=0).to(device)
        restore_tensors(tensors, model, [])
    summary = {}
    if log:
        counts_V = rows.token_counts() * vocabulary.maskable_V.cpu().numpy()
        watch.write([{"step": settings.steps, **_measured(validation._asdict())}] if held_out_batches else [])
        log.close()
        curve = [line["loss"] for line in read_log(out / "pretrain" / "log.jsonl") if "loss" in line]
        examples = (
            fill_prompts(model, tokenizer_json, settings.prompts, vocabulary.mask_id)
            if settings.prompts
            else fill_rows(model, tokenizer_json, held_out, seed=settings.seed)
        )
        export_model(model, out / "tokenizer", out / "model", special_ids=metadata.special_ids)
        summary = {
            "model": settings.init_from or settings.model,
            "parameters": num_parameters,
            "steps": settings.steps,
            "tokens": watch.tokens,
            "seconds": round(seconds, 3),
            "tokens_per_second": round(watch.tokens / seconds),
            "first_loss": curve[0],
            "last_loss": curve[-1],
            "validation_loss": _or_none(validation.loss),
            "validation_accuracy": _or_none(validation.accuracy),
            "next_sentence_accuracy": _or_none(validation.next_accuracy),
            "unigram_entropy": _or_none(unigram_entropy(counts_V, held_out_batches)),
            "uniform_entropy": math.log(len(vocabulary.random_R)),
            "execution": dataclasses.asdict(execution),
            "fill_mask": examples,
            "identity": identity,
        }
        draft = out / "pretrain" / "summary.tmp"
        draft.write_text(json.dumps(summary, indent=2) + "\n")
        draft.replace(out / "pretrain" / "summary.json")
    world.wait()
    return summary


def check_start(settings: Settings, out: Path) -> None:
    """Raise the ValueError with which `train` would refuse to start afresh; nothing is written or trained."""
    rows, held_out = _open_rows(settings.check(), out)
    tokenizer_json = out / "tokenizer" / "tokenizer.json"
    architecture, weights = _start(settings, rows.metadata, tokenizer_json)
    model = build_model(architecture, seed=0)
    if weights:
        with told_as("pretrain.init_from"):
            take_weights(model, weights)
    vocabulary = read_vocabulary(rows.metadata, tokenizer_json)
    encode_prompts(tokenizer_json, settings.prompts, vocabulary.mask_id, architecture.positions)
    validation_batches(held_out, settings=settings, micro_rows=1, vocabulary=vocabulary)


def _open_rows(settings: Settings, out: Path) -> tuple[Rows, Rows]:
    """Return the rows to train and to validate on.

    Raises:
        ValueError: there are none, or not such as the settings need.
    """
    shards = out / settings.shards
    rows, held_out = Rows(shards / "train"), Rows(shards / "validation")
    if not held_out.metadata.agrees_with(rows.metadata):
        raise ValueError(f"{shards}: train and validation were made differently; run tokenize again")
    if not len(rows):
        raise ValueError(f"{rows.directory}: no rows to train on")
    if settings.objective == "mlm+nsp" and not rows.are_pairs:
        raise ValueError("pretrain.objective: mlm+nsp needs sentence pairs, but the shards hold packed documents")
    if rows.metadata.seq_length > LONGEST_ROW:
        raise ValueError(
            f"{rows.directory}: rows of {rows.metadata.seq_length} tokens, at most {LONGEST_ROW} are possible"
        )
    return rows, held_out


def _start(
    settings: Settings, metadata: ShardMetadata, tokenizer_json: Path
) -> tuple[Architecture, dict[str, Tensor] | None]:
    """Return the architecture, and the weights of an existing checkpoint where the run starts from one."""
    next_sentence = settings.objective == "mlm+nsp"
    if not settings.init_from:
        architecture = architecture_of(
            settings.model,
            vocab_size=metadata.vocab_size,
            positions=metadata.seq_length,
            pad_id=metadata.special_ids["pad"],
            layers=settings.layers,
            width=settings.width,
            heads=settings.heads,
            next_sentence=next_sentence,
        )
        return architecture, None
    with told_as("pretrain.init_from"):
        directory = find_pretrained(settings.init_from)
        refuse_other_tokenizer(directory, tokenizer_json)
        return read_pretrained(
            directory, vocab_size=metadata.vocab_size, seq_length=metadata.seq_length, next_sentence=next_sentence
        )


def _any(flag: bool, world: World) -> bool:
    """Whether `flag` is set on any process."""
    return flag if world.size == 1 else bool(world.sum_(torch.tensor(float(flag), device=world.device)))


def _measured(values: dict[str, float]) -> dict[str, float]:
    """Return the values that are numbers, under the names of the log."""
    return {f"validation_{name}": value for name, value in values.items() if not math.isnan(value)}


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _silence(line: str) -> None:
    """Ranks above 0 say nothing."""
