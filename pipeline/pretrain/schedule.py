"""Learning rate schedules: a share of the highest rate for each step."""

import math


def lr_share(name: str, step: int, steps: int, *, warmup: float, decay: float) -> float:
    """Return the share (0 to 1) of the highest learning rate at `step` of `steps`.

    The first step of a warm-up is above zero and the step after the last would be zero, so no step is wasted.

    Args:
        name: `wsd` (warm-up, stable, then 1 - sqrt: Haegele et al., arXiv 2405.18392), `linear` or `cosine`.
        step: 0 for the first.
        steps: of the whole run.
        warmup: share of the steps that rise linearly.
        decay: share of the steps that fall, for `wsd`.
    """
    rising = round(warmup * steps)
    if step < rising:
        return (step + 1) / rising
    if name == "wsd":
        falling = round(decay * steps)
        into = step - (steps - falling)
        return 1.0 if into < 0 else 1.0 - math.sqrt((into + 1) / (falling + 1))
    progress = (step - rising + 1) / (steps - rising + 1)
    return 1.0 - progress if name == "linear" else 0.5 * (1.0 + math.cos(math.pi * progress))
