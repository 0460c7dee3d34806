"""Watching a run: log lines, the line of progress, and the refusal of losses that are not finite."""

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from pipeline.pretrain.architecture import Architecture
from pipeline.pretrain.batch import rows_before
from pipeline.pretrain.flops import Work, peaks_of, training_flops
from pipeline.pretrain.log import Log
from pipeline.pretrain.settings import Settings
from pipeline.pretrain.step import Step
from pipeline.pretrain.world import World

_BAR = 20


class TrainingStoppedError(RuntimeError):
    """The run stopped before its end; the same command resumes from the last good checkpoint."""


class Watch:
    """Collects steps without reading them from the device, until `read` does so for all at once.

    Args:
        log: None on all ranks but the first, which keep count only.
        progress: receives the line of progress after every step.
        settings: of the run.
        architecture: of which the operations are counted.
        world: the processes that share the work.
        first_step: of this process.
        tokens: trained on before `first_step`.
        seconds: of training before `first_step`.
    """

    def __init__(
        self,
        log: Log | None,
        progress: Callable[[str], None],
        *,
        settings: Settings,
        architecture: Architecture,
        world: World,
        first_step: int,
        tokens: int,
        seconds: float,
    ) -> None:
        self.tokens = tokens
        self._log, self._progress, self._settings, self._first_step = log, progress, settings, first_step
        self._begun, self._earlier_s = time.monotonic(), seconds
        self._architecture, self._world, self._peaks = architecture, world, peaks_of(world.device)
        self._read_s = 0.0
        self._last = _Reading(self._begun, tokens, 0.0, 0.0)
        self._measured: dict[str, float] = {}  # between the last two readings
        self._loss = math.nan
        self._flops = 0.0
        self._pending: list[tuple[int, float, Step]] = []

    @property
    def seconds(self) -> float:
        """Seconds of training, earlier processes included."""
        return time.monotonic() - self._begun + self._earlier_s

    def add(self, done: int, lr: float, step: Step, read_s: float) -> None:
        """Remember the step after which `done` steps are done, and the seconds that the host spent reading its rows."""
        self._read_s += read_s
        self._pending.append((done, lr, step))
        self._progress(self.describe(done))

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
        if not lines:
            return
        self._measure()
        lines[-1] |= self._measured
        self._loss = lines[-1]["loss"]
        self.write(lines)
        for line in lines:
            if not (math.isfinite(line["loss"]) and math.isfinite(line["grad_norm"])):
                raise TrainingStoppedError(
                    f"step {line['step']}: loss {line['loss']}, gradient norm {line['grad_norm']}: not finite; "
                    f"last good checkpoint: {last_checkpoint()}; the same command would come to the same end: "
                    "lower pretrain.lr or lengthen pretrain.warmup, from the start or in another output with that "
                    "checkpoint as pretrain.init_from"
                )

    def pause(self) -> None:
        """Leave the time since the last reading out of the rates: nothing was trained then, but validated."""
        self._last = self._last._replace(clock=time.monotonic())

    def _measure(self) -> None:
        """Take the rates since the reading before: tokens, operations (by both peaks of the device), reading rows."""
        now = _Reading(time.monotonic(), self.tokens, self._flops, self._read_s)
        before, self._last = self._last, now
        elapsed_s = max(now.clock - before.clock, 1e-9)
        self._measured = {
            "tokens_per_second": round((now.tokens - before.tokens) / elapsed_s, 1),
            "read_share": round((now.read_s - before.read_s) / elapsed_s, 4),
        }
        if self._peaks is not None:
            rate = (now.flops - before.flops) / elapsed_s / self._world.size
            sheet, measured = self._peaks
            self._measured |= {"tflops": round(rate / 1e12, 1), "mfu": round(rate / sheet, 4)}
            self._measured |= {"mfu_measured": round(rate / measured, 4)} if measured else {}

    def describe(self, done: int) -> str:
        """Return the line of progress: values are those of the last reading, the time left goes by rows."""
        rows, all_rows = rows_before(self._settings, done), rows_before(self._settings, self._settings.steps)
        here = rows - rows_before(self._settings, self._first_step)
        left_s = (time.monotonic() - self._begun) * (all_rows - rows) / max(here, 1)
        filled = _BAR * rows // all_rows
        parts = [f"[{'#' * filled}{'.' * (_BAR - filled)}] step {done}/{self._settings.steps}"]
        if not math.isnan(self._loss):
            parts += [f"loss {self._loss:.3f}"]
        if rate := self._measured:
            parts += [f"{rate['tokens_per_second']:,.0f} tokens/s"]
            if self._peaks is not None:
                sheet, measured = self._peaks
                shares = f"{rate['mfu']:.1%} of {sheet / 1e12:.0f}" + (
                    f", {rate['mfu_measured']:.1%} of {measured / 1e12:.0f} measured" if measured else ""
                )
                parts += [f"{rate['tflops']:.0f} TFLOP/s ({shares})"]
            parts += [f"reading {rate['read_share']:.1%}"]
        return "  ".join([*parts, f"{_clock(left_s)} left"])

    def write(self, lines: list[dict[str, Any]]) -> None:
        """Write `lines` to the log."""
        if self._log:
            self._log.write(lines)


class _Reading(NamedTuple):
    """Sums since this process began, and when they were taken."""

    clock: float
    tokens: int
    flops: float
    read_s: float


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"
