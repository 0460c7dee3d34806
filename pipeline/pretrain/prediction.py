"""What a model predicts."""

from typing import NamedTuple

from torch import Tensor


class Prediction(NamedTuple):
    """Logits of one microbatch.

    Attributes:
        token_BQV: logits over the vocabulary at each slot.
        next_B2: logits of "B continues A" and "B does not"; None for models without that head.
    """

    token_BQV: Tensor
    next_B2: Tensor | None
