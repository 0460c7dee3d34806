"""Watching a run: log lines, progress lines, and the refusal of losses that are not finite."""

import math
import time
from collections.abc import Callable
from typing import Any

from pipeline.pretrain.architecture import Architecture
from pipeline.pretrain.flops import Work, peaks_of, training_flops
from pipeline.pretrain.log import Log
from pipeline.pretrain.step import Step
from pipeline.pretrain.world import World

_SAY_EVERY_S = 5.0


class TrainingStoppedError(RuntimeError):
    """The run stopped before its end; the same command resumes from the last good checkpoint."""


class Watch:
    """Collects steps without reading them from the device, until `read` does so for all at once.

    Args:
        log: None on all ranks but the first, which keep count only.
        say: receives progress lines.
        architecture: of which the operations are counted.
        world: the processes that share the work.
        steps: of the whole run.
        first_step: of this process.
        tokens: trained on before `first_step`.
        seconds: of training before `first_step`.
    """

    def __init__(
        self,
        log: Log | None,
        say: Callable[[str], None],
        *,
        architecture: Architecture,
        world: World,
        steps: int,
        first_step: int,
        tokens: int,
        seconds: float,
    ) -> None:
        self.tokens = tokens
        self._log, self._say, self._steps, self._first_step = log, say, steps, first_step
        self._first_tokens, self._begun, self._earlier_s = tokens, time.monotonic(), seconds
        self._said, self._read_s = self._begun, 0.0
        self._architecture, self._world, self._flops, self._peaks = architecture, world, 0.0, peaks_of(world.device)
        self._pending: list[tuple[int, float, Step]] = []

    @property
    def seconds(self) -> float:
        """Seconds of training, earlier processes included."""
        return time.monotonic() - self._begun + self._earlier_s

    def add(self, done: int, lr: float, step: Step, read_s: float) -> None:
        """Remember the step after which `done` steps are done, and the seconds that the host spent reading its rows."""
        self._read_s += read_s
        self._pending.append((done, lr, step))

    def read(self, last_checkpoint: Callable[[], str]) -> None:
        """Log the remembered steps.

        Raises:
            TrainingStoppedError: a loss or gradient norm is not finite.
        """
        lines = []
        for done, lr, (losses_2, norm, work_4) in self._pending:
            work = Work(*work_4.tolist())
            self.tokens += int(work.tokens)
            self._flops += training_flops(self._architecture, work)
            token_loss, next_loss = losses_2.tolist()
            line = {"step": done, "loss": token_loss + next_loss, "lr": lr, "grad_norm": float(norm)}
            if next_loss:
                line |= {"token_loss": token_loss, "next_loss": next_loss}
            clock = {"seconds": round(self.seconds, 3), "read_seconds": round(self._read_s, 3)}
            lines.append({**line, "tokens": self.tokens, **clock})
        self._pending.clear()
        self.write(lines)
        for line in lines:
            if not (math.isfinite(line["loss"]) and math.isfinite(line["grad_norm"])):
                raise TrainingStoppedError(
                    f"step {line['step']}: loss {line['loss']}, gradient norm {line['grad_norm']}: not finite; "
                    f"last good checkpoint: {last_checkpoint()}; the same command would come to the same end: "
                    "lower pretrain.lr or lengthen pretrain.warmup"
                )
        now, done = time.monotonic(), lines[-1]["step"] if lines else 0
        if lines and (now - self._said > _SAY_EVERY_S or done == self._steps):
            self._said = now
            elapsed = now - self._begun
            left_s = (self._steps - done) * elapsed / (done - self._first_step)
            self._say(
                f"step {done}/{self._steps}  loss {lines[-1]['loss']:.3f}  lr {lines[-1]['lr']:.1e}  "
                f"{(self.tokens - self._first_tokens) / elapsed:,.0f} tokens/s  {self._speed(elapsed)}"
                f"{_clock(left_s)} left"
            )

    def _speed(self, elapsed_s: float) -> str:
        """Return the model FLOP utilisation against what is known of the device, empty where nothing is."""
        if self._peaks is None:
            return ""
        rate = self._flops / elapsed_s / self._world.size
        sheet, measured = self._peaks
        shares = f"{rate / sheet:.1%} of {sheet / 1e12:.0f}" + (
            f", {rate / measured:.1%} of {measured / 1e12:.0f} measured" if measured else ""
        )
        return f"{rate / 1e12:.0f} TFLOP/s ({shares})  "

    def write(self, lines: list[dict[str, Any]]) -> None:
        """Write `lines` to the log."""
        if self._log:
            self._log.write(lines)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"
