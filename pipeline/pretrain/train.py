"""The training run, read from top to bottom: shards in, checkpoints, log, model and summary out."""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.pretrain.architecture import architecture_of
from pipeline.pretrain.checkpoint import (
    Checkpoint,
    collect_tensors,
    load_checkpoints,
    restore_tensors,
    save_checkpoint,
)
from pipeline.pretrain.export import export_model
from pipeline.pretrain.fill_mask import fill_prompts, fill_rows
from pipeline.pretrain.log import Log, read_log
from pipeline.pretrain.model import build_model
from pipeline.pretrain.objective import loss_sum, predict, read_microbatch
from pipeline.pretrain.optimizer import build_optimizers, set_lr_share
from pipeline.pretrain.order import rows_at
from pipeline.pretrain.rows import Rows
from pipeline.pretrain.schedule import lr_share
from pipeline.pretrain.settings import Settings
from pipeline.pretrain.splitmix import fold
from pipeline.pretrain.validation import unigram_entropy, validate, validation_batches
from pipeline.pretrain.vocabulary import read_vocabulary

# Values are read back from the device this often; between two readings the host runs ahead of it.
LOG_EVERY = 10
_NARROW = 256
_SAY_EVERY_S = 5.0


class TrainingStoppedError(RuntimeError):
    """The run stopped before its end; the same command resumes from the last good checkpoint."""


def train(
    settings: Settings, out: Path, *, say: Callable[[str], None], stop: Callable[[], bool] = lambda: False
) -> dict[str, Any]:
    """Train on `out/shards` until `settings.steps` are done, resuming where an earlier call left off.

    Writes `out/checkpoints/`, `out/pretrain/log.jsonl`, `out/model/` and, last, `out/pretrain/summary.json`. With equal
    settings, shards, torch build, threads and microbatch the weights are equal bit by bit, however often the run was
    killed. A finished run is left alone.

    Args:
        settings: of the run.
        out: output directory of the run, holding `shards/` and `tokenizer/`.
        say: receives progress lines.
        stop: asked after every step; True writes a checkpoint and stops.

    Returns:
        the summary.

    Raises:
        ValueError: a user's mistake: no shards, shards that disagree, a checkpoint made with other settings.
        TrainingStoppedError: stopped on demand, or the loss is not finite.
    """
    settings.check()
    rows, held_out = Rows(out / "shards" / "train"), Rows(out / "shards" / "validation")
    metadata = rows.metadata
    if held_out.metadata != metadata:
        raise ValueError(f"{out / 'shards'}: train and validation were made differently; run tokenize again")
    if not len(rows):
        raise ValueError(f"{out / 'shards' / 'train'}: no rows to train on")
    identity = {
        "settings": settings.trajectory(),
        "shards": [rows.fingerprint, held_out.fingerprint],
    }
    summary_path = out / "pretrain" / "summary.json"
    if (summary := _finished(summary_path, identity)) and (out / "model").is_dir():
        say(f"already trained: {summary['steps']} steps, validation loss {summary['validation_loss']}")
        return summary
    checkpoint = _last_checkpoint(out / "checkpoints", identity, say)
    kept = checkpoint.record if checkpoint else {}

    # What changes the order of additions, and so the last bits: explicit, and the same after a resume.
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    architecture = architecture_of(
        settings.model,
        vocab_size=metadata.vocab_size,
        positions=metadata.seq_length,
        pad_id=metadata.special_ids["pad"],
        layers=settings.layers,
        width=settings.width,
        heads=settings.heads,
    )
    threads = (
        settings.threads or kept.get("threads") or (1 if architecture.width < _NARROW else torch.get_num_threads())
    )
    micro_rows = settings.micro_rows or kept.get("micro_rows") or _micro_rows(settings, metadata.seq_length, device)
    torch.set_num_threads(threads)
    if kept and (threads, torch.__version__) != (kept["threads"], kept["torch"]):
        say(
            f"resumed on {threads} threads, torch {torch.__version__}; begun on {kept['threads']}, {kept['torch']}: "
            "the last bits of the weights will differ from those of an undisturbed run"
        )

    model = build_model(architecture, seed=fold(settings.seed, 0) >> 1).to(device)
    optimizers = build_optimizers(model, settings.optimizer, lr=settings.lr, weight_decay=settings.weight_decay)
    if checkpoint:
        restore_tensors(checkpoint.tensors, model, optimizers)
    vocabulary = read_vocabulary(metadata, out / "tokenizer" / "tokenizer.json").to(device)
    held_out_batches = validation_batches(held_out, settings=settings, micro_rows=micro_rows, vocabulary=vocabulary)

    first_step, tokens = kept.get("step", 0), kept.get("tokens", 0)
    begun = time.monotonic() - kept.get("seconds", 0.0)
    log = Log(out / "pretrain" / "log.jsonl", last_step=first_step)
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    say(
        f"{settings.model}: {num_parameters:,} parameters, {rows.num_tokens:,} tokens in {len(rows):,} rows, "
        f"steps {first_step} to {settings.steps} of {settings.batch_rows} rows, {device}, {threads} threads"
    )

    pending: list[tuple[dict[str, Any], Tensor, Tensor, Tensor]] = []
    said, here = time.monotonic(), (time.monotonic(), tokens)
    for step in range(first_step, settings.steps):
        # One step: the same global batch for any number of microbatches; the loss is a mean over all its predictions.
        share = lr_share(settings.schedule, step, settings.steps, warmup=settings.warmup, decay=settings.decay)
        set_lr_share(optimizers, share)
        rows_N = rows_at(step * settings.batch_rows, settings.batch_rows, num_rows=len(rows), seed=settings.seed)
        batches = [
            read_microbatch(
                rows, rows_N[start : start + micro_rows], settings=settings, step=step, vocabulary=vocabulary
            )
            for start in range(0, len(rows_N), micro_rows)
        ]
        num_predictions = torch.stack([batch.masked.weight_BK.sum() for batch in batches]).sum().clamp(min=1)
        loss = torch.zeros((), device=device)
        for batch in batches:
            part = loss_sum(predict(model, batch), batch.masked) / num_predictions
            part.backward()
            loss += part.detach()
        norm = nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()

        # Watching: nothing below changes a weight.
        num_tokens = torch.stack([batch.lengths_BP.sum() for batch in batches]).sum()
        pending.append(({"step": step + 1, "lr": settings.lr * share}, loss, norm, num_tokens))
        done, stopping = step + 1, stop()
        looking = done % settings.eval_every == 0 and done < settings.steps
        saving = done % settings.checkpoint_every == 0 or done == settings.steps or stopping
        if done % LOG_EVERY == 0 or saving or looking:
            lines, tokens = _read_back(pending, tokens, time.monotonic() - begun)
            pending.clear()
            log.write(lines)
            _refuse_non_finite(lines, out / "checkpoints")
            if time.monotonic() - said > _SAY_EVERY_S or done == settings.steps:
                said = time.monotonic()
                rate = (tokens - here[1]) / (said - here[0])
                left_s = (settings.steps - done) * (said - here[0]) / (done - first_step)
                say(
                    f"step {done}/{settings.steps}  loss {lines[-1]['loss']:.3f}  lr {lines[-1]['lr']:.1e}  "
                    f"{rate:,.0f} tokens/s  {_clock(left_s)} left"
                )
        if looking and held_out_batches:
            validation_loss, accuracy = validate(model, held_out_batches)
            log.write([{"step": done, "validation_loss": validation_loss, "validation_accuracy": accuracy}])
            say(f"step {done}/{settings.steps}  validation loss {validation_loss:.3f}  accuracy {accuracy:.1%}")
        if saving:
            log.sync()
            record = {
                **identity,
                "step": done,
                "tokens": tokens,
                "seconds": time.monotonic() - begun,
                "threads": threads,
                "micro_rows": micro_rows,
                "torch": torch.__version__,
            }
            save_checkpoint(out / "checkpoints", collect_tensors(model, optimizers), record, keep=settings.keep)
        if stopping and done < settings.steps:
            raise TrainingStoppedError(f"stopped after step {done} of {settings.steps}; the same command resumes there")

    seconds = time.monotonic() - begun
    losses = [line["loss"] for line in read_log(out / "pretrain" / "log.jsonl") if "loss" in line]
    tokenizer_json = out / "tokenizer" / "tokenizer.json"
    validation_loss, accuracy, entropy = math.nan, math.nan, math.nan
    if held_out_batches:
        validation_loss, accuracy = validate(model, held_out_batches)
        counts_V = rows.token_counts() * vocabulary.maskable_V.cpu().numpy()
        entropy = unigram_entropy(counts_V, held_out_batches)
        log.write([{"step": settings.steps, "validation_loss": validation_loss, "validation_accuracy": accuracy}])
    log.close()
    examples = (
        fill_prompts(model, tokenizer_json, settings.prompts, vocabulary.mask_id)
        if settings.prompts
        else fill_rows(model, tokenizer_json, held_out, seed=settings.seed)
    )
    export_model(model, out / "tokenizer", out / "model", special_ids=metadata.special_ids)
    summary = {
        "model": settings.model,
        "parameters": num_parameters,
        "steps": settings.steps,
        "tokens": tokens,
        "seconds": round(seconds, 3),
        "tokens_per_second": round(tokens / seconds),
        "first_loss": losses[0],
        "last_loss": losses[-1],
        "validation_loss": _or_none(validation_loss),
        "validation_accuracy": _or_none(accuracy),
        "unigram_entropy": _or_none(entropy),
        "uniform_entropy": math.log(len(vocabulary.random_R)),
        "threads": threads,
        "micro_rows": micro_rows,
        "fill_mask": examples,
        "identity": identity,
    }
    draft = summary_path.with_suffix(".tmp")
    draft.write_text(json.dumps(summary, indent=2) + "\n")
    draft.replace(summary_path)
    return summary


def _finished(path: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """Return the summary of a run of the same settings and shards, if it was finished."""
    summary = json.loads(path.read_text()) if path.exists() else {}
    return summary if summary.get("identity") == _as_json(identity) else None


def _last_checkpoint(directory: Path, identity: dict[str, Any], say: Callable[[str], None]) -> Checkpoint | None:
    """Return the newest intact checkpoint.

    Raises:
        ValueError: it was made with other settings or shards; or there are checkpoints, but none is intact.
    """
    refused: list[str] = []
    checkpoint = next(load_checkpoints(directory, refused), None)
    for line in refused:
        say(line)
    if checkpoint is None:
        if refused:
            raise ValueError(f"{directory}: no intact checkpoint; delete the directory to train from the start")
        return None
    wanted, found = _as_json(identity), checkpoint.record
    settings, old = wanted["settings"], found["settings"]
    other = [
        f"{name} {old.get(name)!r}, now {settings[name]!r}" for name in settings if old.get(name) != settings[name]
    ]
    if found["shards"] != wanted["shards"]:
        other.append("other shards")
    if other:
        advice = f"restore them, delete {directory}, or choose another output"
        raise ValueError(f"{checkpoint.path}: made with {'; '.join(other)}: {advice}")
    return checkpoint


def _micro_rows(settings: Settings, seq_length: int, device: torch.device) -> int:
    """Return the largest divisor of the batch that fits: 65,536 tokens keep a GPU busy, 4,096 stay in a CPU's cache."""
    most = max(1, (65_536 if device.type == "cuda" else 4_096) // seq_length)
    return max(rows for rows in range(1, settings.batch_rows + 1) if settings.batch_rows % rows == 0 and rows <= most)


def _read_back(
    pending: list[tuple[dict[str, Any], Tensor, Tensor, Tensor]], tokens: int, seconds: float
) -> tuple[list[dict[str, Any]], int]:
    """Return the log lines of the steps in `pending`, and the tokens after them."""
    lines = []
    for line, loss, norm, num_tokens in pending:
        tokens += int(num_tokens)
        numbers = {"loss": float(loss), "grad_norm": float(norm), "tokens": tokens, "seconds": round(seconds, 3)}
        lines.append({**line, **numbers})
    return lines, tokens


def _refuse_non_finite(lines: list[dict[str, Any]], checkpoints: Path) -> None:
    for line in lines:
        if not (math.isfinite(line["loss"]) and math.isfinite(line["grad_norm"])):
            last = max((path.name for path in checkpoints.glob("step-*")), default="none")
            raise TrainingStoppedError(
                f"step {line['step']}: loss {line['loss']}, gradient norm {line['grad_norm']}: not finite; "
                f"last good checkpoint: {last}; lower pretrain.lr or lengthen pretrain.warmup"
            )


def _as_json(value: dict[str, Any]) -> dict[str, Any]:
    """Return `value` as it reads after a round through JSON."""
    return json.loads(json.dumps(value))


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"
