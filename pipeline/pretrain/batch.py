"""The size of the batch: constant, or growing in steps while the loss still falls fast (batch-size warm-up).

The sizes are eighths of the full batch, whole numbers of microbatches, so that no shape changes: small batches make
more updates of the same tokens early on, when gradients agree anyway (McCandlish et al., arXiv 1812.06162).
"""

from pipeline.pretrain.settings import Settings

STAGES = 8


def rows_of_step(settings: Settings, step: int) -> int:
    """Return the rows in the global batch of `step`."""
    return rows_before(settings, step + 1) - rows_before(settings, step)


def rows_before(settings: Settings, step: int) -> int:
    """Return the rows in all batches before `step`, in constant time."""
    growing = round(settings.batch_warmup * settings.steps)
    if not growing:
        return step * settings.batch_rows
    part = settings.batch_rows // STAGES
    # Stage j has j + 1 parts and starts at the first step s with s * (STAGES - 1) // growing == j.
    starts = [-(-stage * growing // (STAGES - 1)) for stage in range(STAGES)]
    return part * sum(max(0, step - start) for start in starts)


def smallest_batch(settings: Settings) -> int:
    """Return the rows of the smallest global batch, of which all others are multiples."""
    return settings.batch_rows // STAGES if settings.batch_warmup else settings.batch_rows
