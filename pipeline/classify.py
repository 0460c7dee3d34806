"""What is done with a model beside pretraining it: fine-tune, evaluate, suggest. Torch is imported when asked for."""

import argparse
from pathlib import Path
from typing import Any

from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.job import Say


def finetune(options: argparse.Namespace, say: Say) -> dict[str, Any]:
    """Train a classifier and return its report on the validation set.

    Raises:
        UserError: files or directories that are not what they should be.
    """
    from pipeline.pretrain.finetune import finetune as train  # noqa: PLC0415
    from pipeline.pretrain.labelled import read_labelled  # noqa: PLC0415

    columns = {"text": options.text, "other": options.other, "label": options.label}
    try:
        return train(
            Path(options.model),
            read_labelled(Path(options.train), **columns),
            read_labelled(Path(options.validation), **columns),
            Path(options.to),
            lrs=tuple(options.lr),
            epochs=options.epochs,
            seed=options.seed,
            say=say,
        )
    except (ValueError, FileNotFoundError) as error:
        raise UserError(str(error)) from None


def evaluate(options: argparse.Namespace, say: Say) -> dict[str, Any]:
    """Return the report of a model on labelled data, or on the validation rows of a run.

    Raises:
        UserError: files or directories that are not what they should be.
    """
    from pipeline.pretrain.evaluate import evaluate_masked_lm  # noqa: PLC0415
    from pipeline.pretrain.finetune import evaluate_directory  # noqa: PLC0415
    from pipeline.pretrain.labelled import read_labelled  # noqa: PLC0415

    try:
        if options.shards:
            return evaluate_masked_lm(Path(options.model), Path(options.shards), mask_rate=options.mask_rate)
        examples = read_labelled(Path(options.data), text=options.text, other=options.other, label=options.label)
        say(f"{len(examples.labels):,} examples")
        return evaluate_directory(Path(options.model), examples)
    except (ValueError, FileNotFoundError) as error:
        raise UserError(str(error)) from None


def suggest(config: Config, gpu_hours: float) -> list[str]:
    """Return model, batch and steps for the shards of a run and a budget, with the formula.

    Raises:
        UserError: there are no shards, or the budget is not above 0.
    """
    from pipeline.pretrain.architecture import PRESETS  # noqa: PLC0415
    from pipeline.pretrain.rows import Rows  # noqa: PLC0415
    from pipeline.pretrain.suggest import suggest as table  # noqa: PLC0415
    from pipeline.pretrain.suggest import suggestion_lines  # noqa: PLC0415

    family = PRESETS[config.pretrain.model][0] if config.pretrain else "modernbert"
    directory = config.pretrain.shards if config.pretrain else "shards"
    try:
        rows = Rows(Path(config.output) / directory / "train")
        return suggestion_lines(table(rows, family=family, gpu_hours=gpu_hours))
    except (ValueError, FileNotFoundError) as error:
        raise UserError(str(error)) from None
