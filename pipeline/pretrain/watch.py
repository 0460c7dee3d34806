"""Watching a run: log lines, progress lines, and the refusal of losses that are not finite."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.pretrain.log import Log
from pipeline.pretrain.step import Step

_SAY_EVERY_S = 5.0


class TrainingStoppedError(RuntimeError):
    """The run stopped before its end; the same command resumes from the last good checkpoint."""


class Watch:
    """Collects steps without reading them from the device, until `read` does so for all at once.

    Args:
        log: None on all ranks but the first, which keep count only.
        say: receives progress lines.
        steps: of the whole run.
        first_step: of this process.
        tokens: trained on before `first_step`.
        seconds: of training before `first_step`.
    """

    def __init__(
        self, log: Log | None, say: Callable[[str], None], *, steps: int, first_step: int, tokens: int, seconds: float
    ) -> None:
        self.tokens = tokens
        self._log, self._say, self._steps, self._first_step = log, say, steps, first_step
        self._first_tokens, self._begun, self._earlier_s = tokens, time.monotonic(), seconds
        self._said = self._begun
        self._pending: list[tuple[int, float, Step]] = []

    @property
    def seconds(self) -> float:
        """Seconds of training, earlier processes included."""
        return time.monotonic() - self._begun + self._earlier_s

    def add(self, done: int, lr: float, step: Step) -> None:
        """Remember the step after which `done` steps are done."""
        self._pending.append((done, lr, step))

    def read(self, checkpoints: Path) -> None:
        """Log the remembered steps.

        Raises:
            TrainingStoppedError: a loss or gradient norm is not finite.
        """
        lines = []
        for done, lr, (losses_2, norm, num_tokens) in self._pending:
            self.tokens += int(num_tokens)
            token_loss, next_loss = losses_2.tolist()
            line = {"step": done, "loss": token_loss + next_loss, "lr": lr, "grad_norm": float(norm)}
            if next_loss:
                line |= {"token_loss": token_loss, "next_loss": next_loss}
            lines.append({**line, "tokens": self.tokens, "seconds": round(self.seconds, 3)})
        self._pending.clear()
        self.write(lines)
        for line in lines:
            if not (math.isfinite(line["loss"]) and math.isfinite(line["grad_norm"])):
                last = max((path.name for path in checkpoints.glob("step-*")), default="none")
                raise TrainingStoppedError(
                    f"step {line['step']}: loss {line['loss']}, gradient norm {line['grad_norm']}: not finite; "
                    f"last good checkpoint: {last}; lower pretrain.lr or lengthen pretrain.warmup"
                )
        now, done = time.monotonic(), lines[-1]["step"] if lines else 0
        if lines and (now - self._said > _SAY_EVERY_S or done == self._steps):
            self._said = now
            elapsed = now - self._begun
            left_s = (self._steps - done) * elapsed / (done - self._first_step)
            self._say(
                f"step {done}/{self._steps}  loss {lines[-1]['loss']:.3f}  lr {lines[-1]['lr']:.1e}  "
                f"{(self.tokens - self._first_tokens) / elapsed:,.0f} tokens/s  {_clock(left_s)} left"
            )

    def write(self, lines: list[dict[str, Any]]) -> None:
        """Write `lines` to the log."""
        if self._log:
            self._log.write(lines)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"
