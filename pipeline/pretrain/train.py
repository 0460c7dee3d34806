"""The training run, read from top to bottom: shards in, checkpoints, log, model and summary out."""

import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from pipeline.pretrain.batch import rows_before, rows_of_step
from pipeline.pretrain.checkpoint import CheckpointWriter
from pipeline.pretrain.export import check_target, export_model
from pipeline.pretrain.fill_mask import encode_prompts
from pipeline.pretrain.log import Log
from pipeline.pretrain.objective import read_microbatch
from pipeline.pretrain.optimizer import set_lr_share
from pipeline.pretrain.order import rows_at
from pipeline.pretrain.resume import finished_summary, last_checkpoint
from pipeline.pretrain.schedule import lr_share
from pipeline.pretrain.settings import Settings
from pipeline.pretrain.start import Corpus, open_rows
from pipeline.pretrain.step import Step, take_step
from pipeline.pretrain.summary import summarise, write_summary
from pipeline.pretrain.tracker import Tracker
from pipeline.pretrain.trainee import Trainee, prepare
from pipeline.pretrain.validation import Validation, validation_batches
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
    first = world.rank == 0
    say, progress = (say, progress) if first else (_silence, _silence)
    rows, held_out = open_rows(settings, out)
    identity = {"settings": settings.trajectory(), "shards": [rows.fingerprint, held_out.fingerprint]}
    if summary := finished_summary(out, identity):
        say(f"already trained: {summary['steps']} steps, validation loss {summary['validation_loss']}")
        return summary
    check_target(out / "model")
    checkpoint = last_checkpoint(out / "checkpoints", identity, say)
    kept = checkpoint.record if checkpoint else {}

    tokenizer_json = out / "tokenizer" / "tokenizer.json"
    trainee = prepare(settings, rows, tokenizer_json, checkpoint, world, say)
    vocabulary = read_vocabulary(rows.metadata, tokenizer_json).to(world.device)
    positions = trainee.architecture.positions
    encode_prompts(tokenizer_json, settings.prompts, vocabulary.mask_id, positions)  # not after the night
    micro_rows = trainee.execution.micro_rows
    batches = validation_batches(held_out, settings=settings, micro_rows=micro_rows, vocabulary=vocabulary)
    corpus = Corpus(rows, held_out, vocabulary, batches)

    first_step = kept.get("step", 0)
    log = None
    if first:
        tracker = Tracker(settings.wandb, out / "pretrain", identity) if settings.wandb else None
        log = Log(out / "pretrain" / "log.jsonl", last_step=first_step, steps=settings.steps, tracker=tracker)
    writer = CheckpointWriter(out / "checkpoints", keep=settings.keep, before=log.sync if log else lambda: None)
    watch = Watch(
        log,
        progress,
        settings=settings,
        architecture=trainee.architecture,
        world=world,
        first_step=first_step,
        tokens=kept.get("tokens", 0),
        seconds=kept.get("seconds", 0),
    )
    say(
        f"{settings.init_from or settings.model}: {trainee.num_parameters:,} parameters, {rows.num_tokens:,} tokens in "
        f"{len(rows):,} rows, steps {first_step} to {settings.steps} of {settings.batch_rows} rows, "
        f"{micro_rows} at a time, {world.size} x {world.device}, {trainee.execution.threads} threads"
    )

    steps = range(first_step, settings.steps)
    _take_steps(steps, settings, corpus, trainee, watch=watch, writer=writer, identity=identity, say=say, stop=stop)
    seconds = watch.seconds
    say(watch.describe(settings.steps))
    validation = trainee.validate(corpus.batches)
    model = trainee.whole_model()
    summary = {}
    if log:  # the rest is done by the first process alone
        watch.write([_log_line(settings.steps, validation)] if corpus.batches else [])
        log.close()
        summary = {
            **summarise(settings, out, corpus, model, validation, tokens=watch.tokens, seconds=seconds),
            "execution": dataclasses.asdict(trainee.execution),
            "identity": identity,
        }
        export_model(model, out / "tokenizer", out / "model", special_ids=rows.metadata.special_ids)
        write_summary(out, summary)
    world.wait()
    return summary


def _take_steps(
    steps: range,
    settings: Settings,
    corpus: Corpus,
    trainee: Trainee,
    *,
    watch: Watch,
    writer: CheckpointWriter,
    identity: dict[str, Any],
    say: Callable[[str], None],
    stop: Callable[[], bool],
) -> None:
    """Train, look at the validation rows and save in between, and return when the last checkpoint is on disk."""
    world = trainee.world
    for step in steps:
        lr, taken, read_s = _take_step(step, settings, corpus, trainee)

        # Nothing below changes a weight.
        done = step + 1
        watch.add(done, lr, taken, read_s)
        reading = done % LOG_EVERY == 0 or done == settings.steps
        stopping = (reading or world.size == 1) and _any(stop(), world)
        looking = done % settings.eval_every == 0 and done < settings.steps
        saving = done % settings.checkpoint_every == 0 or done == settings.steps or stopping
        if reading or looking or saving:
            watch.read(writer.last)
        if looking and corpus.batches:
            validation = trainee.validate(corpus.batches)
            watch.pause()
            watch.write([_log_line(done, validation)])
            say(
                f"step {done}/{settings.steps}  validation loss {validation.loss:.3f}  "
                f"accuracy {validation.accuracy:.1%}"
            )
        if saving and (world.rank == 0 or trainee.is_sharded):  # of a sharded model each process holds a part
            tensors = trainee.tensors()
        if saving and world.rank == 0:
            record = {"step": done, "tokens": watch.tokens, "seconds": watch.seconds, **identity}
            writer.save(tensors, record | trainee.record())
        tensors = {}  # or else these copies would stay on the device until the next checkpoint
        if stopping and done < settings.steps:
            writer.wait()
            world.wait()  # the first process that ends takes the others with it
            raise TrainingStoppedError(f"stopped after step {done} of {settings.steps}; the same command resumes there")
    writer.wait()


def _take_step(step: int, settings: Settings, corpus: Corpus, trainee: Trainee) -> tuple[float, Step, float]:
    """Train on the rows of `step`; return its learning rate, what it was like, and the seconds spent reading rows."""
    share = lr_share(settings.schedule, step, settings.steps, warmup=settings.warmup, decay=settings.decay)
    set_lr_share(trainee.optimizers, share)
    rows, world, micro_rows = corpus.rows, trainee.world, trainee.execution.micro_rows
    # The same global batch for any number of microbatches and processes.
    num_rows = rows_of_step(settings, step)
    rows_N = rows_at(rows_before(settings, step), num_rows, num_rows=len(rows), seed=settings.seed)
    begun = time.monotonic()
    batches = [
        read_microbatch(
            rows, rows_N[start : start + micro_rows], settings=settings, step=step, vocabulary=corpus.vocabulary
        )
        for start in range(world.rank * micro_rows, num_rows, world.size * micro_rows)
    ]
    read_s = time.monotonic() - begun
    model, losses, optimizers = trainee.model, trainee.losses, trainee.optimizers
    taken = take_step(model, losses, optimizers, batches, num_rows=num_rows, clip=settings.clip, world=world)
    return settings.lr * share, taken, read_s


def _any(flag: bool, world: World) -> bool:
    """Whether `flag` is set on any process."""
    return flag if world.size == 1 else bool(world.sum_(torch.tensor(float(flag), device=world.device)))


def _log_line(step: int, validation: Validation) -> dict[str, float]:
    """Return what was measured, under the names of the log."""
    values = {f"validation_{name}": value for name, value in validation._asdict().items() if not math.isnan(value)}
    return {"step": step, **values}


def _silence(line: str) -> None:
    """Ranks above 0 say nothing."""
