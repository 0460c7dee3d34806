"""The trainee: the model of a run on its device, with its optimizers and its losses, as the run computes them."""

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pipeline.pretrain.architecture import Architecture
from pipeline.pretrain.checkpoint import Checkpoint, collect_tensors, restore_tensors
from pipeline.pretrain.execution import Execution, choose_execution, compute_dtype
from pipeline.pretrain.model import Model, build_model, compile_blocks
from pipeline.pretrain.objective import Losses, Microbatch, losses_with
from pipeline.pretrain.optimizer import build_optimizers
from pipeline.pretrain.rows import Rows
from pipeline.pretrain.settings import Settings
from pipeline.pretrain.sharding import is_sharded, shard_model
from pipeline.pretrain.start import architecture_and_weights, first_model
from pipeline.pretrain.validation import Validation, validate
from pipeline.pretrain.world import World


class Trainee(NamedTuple):
    """What is trained, and how it is computed."""

    architecture: Architecture
    execution: Execution
    dtype: torch.dtype | None  # of the computation; None for that of the parameters
    model: Model
    optimizers: list[torch.optim.Optimizer]
    losses: Losses
    world: World

    @property
    def num_parameters(self) -> int:
        """Parameters of the whole model."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def is_sharded(self) -> bool:
        """Whether each process holds a part of it."""
        return is_sharded(self.model)

    def record(self) -> dict[str, Any]:
        """Return what a checkpoint must say beside the tensors."""
        return {"architecture": asdict(self.architecture), "execution": asdict(self.execution)}

    def tensors(self) -> dict[str, Tensor]:
        """Return copies of all that the next step depends on; of a sharded model every process must call this."""
        return collect_tensors(self.model, self.optimizers)

    def validate(self, batches: list[Microbatch]) -> Validation:
        """Return the means over `batches`."""
        return validate(self.model, batches, world=self.world, attention=self.execution.attention, dtype=self.dtype)

    def whole_model(self) -> Model:
        """Return a model that one process can run alone, on inputs of any length.

        Compiled blocks are made for one shape: texts of other lengths would compile them again, and fail at the ninth.
        Of a sharded model every process must call this.
        """
        if not self.is_sharded and self.execution.compile != "block":
            return self.model
        tensors = collect_tensors(self.model, [])
        model = build_model(self.architecture, seed=0).to(self.world.device)
        restore_tensors(tensors, model, [])
        return model


def prepare(
    settings: Settings,
    rows: Rows,
    tokenizer_json: Path,
    checkpoint: Checkpoint | None,
    world: World,
    say: Callable[[str], None],
) -> Trainee:
    """Return the trainee as `checkpoint` left it; without one, as `settings` begin.

    A checkpoint holds everything: what `settings.init_from` names may be gone by the time a run is resumed.
    """
    kept = checkpoint.record if checkpoint else {}
    architecture, weights = (
        (Architecture(**kept["architecture"]), None)
        if checkpoint
        else architecture_and_weights(settings, rows.metadata, tokenizer_json)
    )
    execution = choose_execution(settings, kept.get("execution", {}), architecture, rows, world, say)
    if kept and (other := execution.differences(kept["execution"])):
        say(f"resumed with {other}: the last bits of the weights will differ from those of an undisturbed run")
    torch.set_num_threads(execution.threads)
    if settings.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        # Only warned of: sums of integers count as not deterministic, too.
        torch.use_deterministic_algorithms(True, warn_only=True)
    dtype = compute_dtype(settings, world.device)
    losses = losses_with(attention=execution.attention, dtype=dtype, compiled=execution.compile == "model")
    model = first_model(architecture, weights, settings.seed).to(world.device)
    if execution.compile == "block":
        compile_blocks(model)
    if settings.shard and world.size > 1:
        shard_model(model, world)
    optimizers = build_optimizers(model, settings.optimizer, lr=settings.lr, weight_decay=settings.weight_decay)
    if checkpoint:
        restore_tensors(checkpoint.tensors, model, optimizers)
    return Trainee(architecture, execution, dtype, model, optimizers, losses, world)
