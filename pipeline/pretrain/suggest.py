"""A suggestion: which model, batch and number of steps suit the shards at hand and a budget of GPU hours.

    tokens = hours * 3600 * GPUs * FLOP/s reached / FLOPs per token

The largest model is taken that still sees enough tokens for its size, without reading the shards too often. Enough is
300 tokens a parameter: an encoder learns from a share of its tokens and is trained once to be used often, and the
cheapest recipe that reaches BERT's quality spends 333 (MosaicBERT: 36.7 billion tokens on 110 million parameters). Up
to four passes over the same text are nearly as good as new text (Muennighoff et al., arXiv 2305.16264).
"""

import dataclasses

import torch

from pipeline.pretrain.architecture import PRESETS, architecture_of
from pipeline.pretrain.flops import Work, attended_pairs, training_flops
from pipeline.pretrain.model import num_parameters
from pipeline.pretrain.rows import Rows

TOKENS_PER_PARAMETER, MOST_EPOCHS = 300.0, 4.0
_MOST_STEPS, _LEAST_BATCH, _LARGEST_BATCH = 70_000, 1 << 15, 1 << 20


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Suggestion:
    """One model under a budget.

    Args:
        model: preset.
        parameters: all of them.
        flops_per_token: of a training step.
        tokens: that the budget pays for, at most four passes over the shards.
        epochs: passes over the shards.
        tokens_per_parameter: `tokens / parameters`.
        batch_rows: rows in a step.
        steps: number of steps.
        hours: on all GPUs together; less than the budget where the shards are used up.
        chosen: the largest that sees enough tokens.
    """

    model: str
    parameters: int
    flops_per_token: float
    tokens: float
    epochs: float
    tokens_per_parameter: float
    batch_rows: int
    steps: int
    hours: float
    chosen: bool


def suggest(
    rows: Rows, *, family: str, gpu_hours: float, mask_rate: float = 0.3, flops_per_second: float = 0.4 * 989e12
) -> list[Suggestion]:
    """Return a suggestion for each preset of `family`, small to large, of which one is chosen.

    Args:
        rows: the training rows; their lengths decide the cost of attention.
        family: `bert` or `modernbert`.
        gpu_hours: hours times GPUs.
        mask_rate: share of masked tokens.
        flops_per_second: that one GPU reaches; the default is 40% of an H100's or H200's data sheet.

    Raises:
        ValueError: a family that does not exist, a budget that is not above 0, or no rows.
    """
    names = [name for name, numbers in PRESETS.items() if numbers[0] == family and not name.endswith("-demo")]
    if not names:
        raise ValueError(f"pretrain --suggest: family {family!r} is not one of bert, modernbert")
    if not gpu_hours > 0:
        raise ValueError(f"pretrain --suggest: {gpu_hours} GPU hours must be above 0")
    if not len(rows):
        raise ValueError(f"{rows.directory}: no rows to train on")
    metadata = rows.metadata
    sample = rows.read(torch.arange(min(len(rows), 1024)).numpy())
    length = float(sample.lengths_BP.sum())
    table = []
    for name in names:
        a = architecture_of(
            name,
            vocab_size=metadata.vocab_size,
            positions=metadata.seq_length,
            pad_id=metadata.special_ids["pad"],
        )
        parameters = num_parameters(a)
        full, local = attended_pairs(torch.from_numpy(sample.lengths_BP), a.window // 2)
        work = Work(predictions=mask_rate * length, tokens=length, full_pairs=float(full), local_pairs=float(local))
        flops = training_flops(a, work) / length
        tokens = min(3600 * gpu_hours * flops_per_second / flops, MOST_EPOCHS * rows.num_tokens)
        per_row = rows.num_tokens / len(rows)
        batch = min(max(tokens / _MOST_STEPS, _LEAST_BATCH), _LARGEST_BATCH)
        # A power of two divides well among GPUs and microbatches.
        batch_rows = 1 << max(3, round(batch / per_row).bit_length() - 1)
        table.append(
            Suggestion(
                model=name,
                parameters=parameters,
                flops_per_token=flops,
                tokens=tokens,
                epochs=tokens / rows.num_tokens,
                tokens_per_parameter=tokens / parameters,
                batch_rows=batch_rows,
                steps=max(1, round(tokens / (batch_rows * per_row))),
                hours=tokens * flops / flops_per_second / 3600,
                chosen=False,
            )
        )
    enough = [number for number, row in enumerate(table) if row.tokens_per_parameter >= TOKENS_PER_PARAMETER]
    chosen = max(enough, default=0)
    table[chosen] = dataclasses.replace(table[chosen], chosen=True)
    return table


def suggestion_lines(table: list[Suggestion]) -> list[str]:
    """Return the suggestion as lines for a terminal, formula included."""
    columns = (
        "model",
        "parameters",
        "MFLOP/token",
        "tokens",
        "passes",
        "tokens/par.",
        "batch_rows",
        "steps",
        "GPU hours",
    )
    lines = [
        "tokens = GPU hours * 3600 * FLOP/s reached / FLOPs per token, at most 4 passes over the shards; the largest",
        f"model with {TOKENS_PER_PARAMETER:.0f} tokens a parameter is taken (the smallest where none has them)",
        f"{columns[0]:18}" + "".join(f"{name:>13}" for name in columns[1:]),
    ]
    for row in table:
        cells = (
            f"{row.parameters / 1e6:.1f}M",
            f"{row.flops_per_token / 1e6:.0f}",
            f"{row.tokens / 1e9:.2f}B",
            f"{row.epochs:.2f}",
            f"{row.tokens_per_parameter:.0f}",
            f"{row.batch_rows}",
            f"{row.steps}",
            f"{row.hours:.1f}",
        )
        mark = "  <- suggested" if row.chosen else ""
        lines += [f"{row.model:18}" + "".join(f"{cell:>13}" for cell in cells) + mark]
    return lines
