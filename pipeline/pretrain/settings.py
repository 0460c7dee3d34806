"""The settings of one pretraining run: everything that determines its weights, and how it is watched."""

import dataclasses
import difflib
import math
import re
from typing import Any, ClassVar, Self

from pipeline.pretrain.architecture import PRESETS

OBJECTIVES = ("mlm", "mlm+nsp")
OPTIMIZERS = ("adamw", "stableadamw", "muon")
SCHEDULES = ("wsd", "linear", "cosine")
PRECISIONS = ("auto", "float32", "bfloat16")
_KERNELS = ("sdpa", "varlen", "flex")
ATTENTIONS = ("auto", *_KERNELS, *(f"{whole}+{near}" for whole in _KERNELS for near in _KERNELS if whole != near))
COMPILES = ("auto", "model", "block", "no")

LONGEST_ROW = 1 << 14  # tokens; a position has 14 bits in the hash that draws the masks

# Changing one of these changes no weight, or only its last bits by the order of additions, so a run may be resumed with
# another value: on a smaller GPU, for instance, which must take fewer rows at a time.
WATCHING = frozenset(
    (
        "checkpoint_every", "keep", "eval_every", "validation_rows", "prompts", "threads", "attention", "compile",
        "shard", "wandb", "micro_rows",
    )
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """One pretraining run. The defaults train a BERT-base of good quality on one large GPU.

    Args:
        model: a name of `architecture.PRESETS`, such as `bert-base` or `modernbert-base`.
        layers: number of layers, instead of the preset's.
        width: width of the residual stream, instead of the preset's; the feed-forward width follows in proportion.
        heads: number of attention heads, instead of the preset's.
        init_from: directory or hub name of a Hugging Face checkpoint to go on with, such as another run's `model/`
            for a second phase on longer rows, or one of its `checkpoints/`; its architecture is taken, `model` is not.
            Empty for fresh weights.
        shards: directory of the rows under OUT: `shards`, or one of other row lengths such as `shards-8192`, for a
            second phase on long rows.
        objective: `mlm`, masked language modelling, or `mlm+nsp`, with BERT's next-sentence loss, on sentence pairs.
        mask_rate: share of a row's maskable tokens to predict. BERT took 0.15; MosaicBERT and ModernBERT take 0.3.
        whole_word: mask all tokens of a word or none; one of more than 16 tokens counts as several, and each piece of a
            script without spaces as one.
        steps: number of optimizer steps.
        batch_rows: rows in one step, over all processes and microbatches.
        batch_warmup: share of the steps during which the batch grows from an eighth to its full size.
        micro_rows: rows in one forward pass; 0 chooses by device and memory. The choice is kept in the checkpoint.
        optimizer: `adamw`, `stableadamw`, or `muon` (Muon on the matrices of the blocks, AdamW on the rest).
        lr: highest learning rate; Muon's update is scaled to AdamW's, so one rate serves all three.
        weight_decay: decoupled decay of the matrices; never of norms and biases.
        clip: largest norm of the gradient.
        schedule: `wsd` (warm-up, stable, decay), `linear` or `cosine`; each ends at zero.
        warmup: share of the steps during which the learning rate rises.
        decay: share of the steps during which `wsd` falls.
        precision: `float32`, `bfloat16` (weights and optimizer stay float32), or `auto`: bfloat16 on a GPU.
        attention: `sdpa`, `varlen`, `flex`, two of them as `varlen+flex` for global and local layers, or `auto`: on a
            GPU the fastest of a short race. Kept in the checkpoint.
        compile: `model` as one graph, `block` by block (faster to compile, somewhat slower to run), `no`, or `auto`:
            on a GPU, as one graph unless `shard` is set. Kept in the checkpoint.
        deterministic: on a GPU, add in the same order each time, so that a resumed run is bit-equal there as well; the
            kernels for that are slower. A CPU always does.
        shard: divide weights, gradients and optimizer state among the processes (FSDP2; AdamW only), for models too
            large for one GPU.
        seed: determines initial weights, order of rows and masks, and nothing else does.
        threads: CPU threads; 0 takes one for a narrow model and all for others. Kept in the checkpoint.
        checkpoint_every: steps between checkpoints.
        keep: number of newest checkpoints kept.
        eval_every: steps between looks at the validation rows.
        validation_rows: at most this many rows are looked at, each time the same ones with the same masks.
        wandb: project of Weights & Biases that gets the log as well; empty for none.
        prompts: sentences with one [MASK] each, filled in at the end; empty takes three validation rows instead.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    model: str = "bert-base"
    layers: int | None = None
    width: int | None = None
    heads: int | None = None
    init_from: str = ""
    shards: str = "shards"
    objective: str = "mlm"
    mask_rate: float = 0.3
    whole_word: bool = False
    steps: int = 70_000
    batch_rows: int = 1024
    batch_warmup: float = 0.0
    micro_rows: int = 0
    optimizer: str = "adamw"
    lr: float = 5e-4
    weight_decay: float = 0.01
    clip: float = 1.0
    schedule: str = "wsd"
    warmup: float = 0.05
    decay: float = 0.2
    precision: str = "auto"
    attention: str = "auto"
    compile: str = "auto"
    deterministic: bool = False
    shard: bool = False
    seed: int = 0
    threads: int = 0
    checkpoint_every: int = 1000
    keep: int = 2
    eval_every: int = 1000
    validation_rows: int = 1024
    wandb: str = ""
    prompts: tuple[str, ...] = ()

    def check(self) -> Self:
        """Return self.

        Raises:
            ValueError: a value is not among the valid ones; the message names the field, the value and what is valid.
        """
        for name, valid in (
            ("model", tuple(PRESETS)),
            ("objective", OBJECTIVES),
            ("optimizer", OPTIMIZERS),
            ("schedule", SCHEDULES),
            ("precision", PRECISIONS),
            ("attention", ATTENTIONS),
            ("compile", COMPILES),
        ):
            if getattr(self, name) not in valid:
                raise ValueError(f"pretrain.{name}: {getattr(self, name)!r} is not one of {', '.join(valid)}")
        for name in ("steps", "batch_rows", "checkpoint_every", "keep", "eval_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"pretrain.{name}: {getattr(self, name)} must be at least 1")
        for name in ("layers", "width", "heads"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"pretrain.{name}: {getattr(self, name)} must be at least 1")
        for name in ("micro_rows", "threads", "validation_rows", "weight_decay"):
            if getattr(self, name) < 0:
                raise ValueError(f"pretrain.{name}: {getattr(self, name)} must not be negative")
        for name in ("lr", "weight_decay"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"pretrain.{name}: {getattr(self, name)} must be a number")
        for name in ("lr", "clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"pretrain.{name}: {getattr(self, name)} must be above 0")
        if not 0 < self.mask_rate < 1:
            raise ValueError(f"pretrain.mask_rate: {self.mask_rate} must lie between 0 and 1")
        for name in ("warmup", "decay", "batch_warmup"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"pretrain.{name}: {getattr(self, name)} must be a share of the steps, 0 to 1")
        if not re.fullmatch(r"shards(-[1-9]\d*)?", self.shards):
            raise ValueError(f"pretrain.shards: {self.shards!r} is neither shards nor shards-N, rows of N tokens")
        if self.warmup + self.decay > 1 and self.schedule == "wsd":
            raise ValueError(
                f"pretrain.warmup + pretrain.decay: {self.warmup} + {self.decay} is more than the whole run"
            )
        if self.shard and self.optimizer != "adamw":
            raise ValueError(f"pretrain.shard: {self.optimizer} needs whole tensors; set optimizer to adamw")
        if self.batch_warmup and self.batch_rows % 8:
            raise ValueError(f"pretrain.batch_rows: {self.batch_rows} is not a multiple of 8, as batch_warmup needs")
        if self.init_from and (self.layers or self.width or self.heads):
            raise ValueError("pretrain.init_from: the checkpoint has its own layers, width and heads; leave them out")
        if self.objective == "mlm+nsp" and not self.init_from and not self.model.startswith("bert-"):
            raise ValueError(f"pretrain.objective: mlm+nsp needs a model of the bert family, not {self.model}")
        smallest = self.batch_rows // 8 if self.batch_warmup else self.batch_rows
        if self.micro_rows and smallest % self.micro_rows:
            first = f", of which batch_warmup takes {smallest} at first," if self.batch_warmup else ""
            raise ValueError(
                f"pretrain.batch_rows: {self.batch_rows}{first} is not a multiple of micro_rows {self.micro_rows}"
            )
        for prompt in self.prompts:
            if prompt.count("[MASK]") != 1:
                raise ValueError(f"pretrain.prompts: {prompt!r} must contain [MASK] once")
        return self

    def trajectory(self) -> dict[str, Any]:
        """Return the settings that a resumed run must share with its checkpoint."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in WATCHING}


def settings_from_dict(values: Any) -> Settings:
    """Return checked settings from the values of a JSON or YAML object.

    Raises:
        ValueError: no object, an unknown key (the nearest valid one is named), a value of the wrong type or out of
            range.
    """
    fields = {field.name: field.type for field in dataclasses.fields(Settings)}
    if not isinstance(values, dict):
        raise ValueError(f"pretrain: the settings are no JSON object, but {str(values)[:40]}")  # noqa: TRY004 - a file's
    for key in values:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, 1)
            raise ValueError(f"pretrain.{key}: unknown key" + (f", did you mean {near[0]}?" if near else ""))
    given = dict(values)
    if isinstance(given.get("prompts"), list):
        given["prompts"] = tuple(given["prompts"])
    for key, value in given.items():
        kinds: Any = fields[key]
        if kinds is float:
            kinds = float | int
        elif key == "prompts":
            kinds = tuple
        wrong = isinstance(value, bool) != (kinds is bool) or not isinstance(value, kinds)
        if wrong or (key == "prompts" and not all(isinstance(prompt, str) for prompt in value)):
            raise ValueError(f"pretrain.{key}: {value!r} has the wrong type")
    return Settings(**given).check()
