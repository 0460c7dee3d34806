"""What is done with a model beside pretraining it: fine-tune, evaluate, suggest. Torch is imported when asked for."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import UserError

if TYPE_CHECKING:  # a machine that trains has PyTorch, and neither pydantic nor what the other stages need
    from pipeline.config import Config
    from pipeline.job import Say


def finetune(options: argparse.Namespace, say: "Say") -> dict[str, Any]:
    """Train a classifier and return its report on the validation set.

    Raises:
        UserError: files or directories that are not what they should be.
    """
    from pipeline.pretrain.finetune import finetune as train  # noqa: PLC0415

    try:
        return train(
            Path(options.model),
            _labelled(options.train, options),
            _labelled(options.validation, options),
            Path(options.to),
            lrs=tuple(options.lr),
            epochs=options.epochs,
            seed=options.seed,
            say=say,
        )
    except (ValueError, FileNotFoundError) as error:
        raise UserError(str(error)) from None


def evaluate(options: argparse.Namespace, say: "Say") -> dict[str, Any]:
    """Return the report of a model on labelled data, or on the validation rows of a run.

    Raises:
        UserError: files or directories that are not what they should be.
    """
    from pipeline.pretrain.evaluate import evaluate_masked_lm  # noqa: PLC0415
    from pipeline.pretrain.finetune import evaluate_directory  # noqa: PLC0415

    try:
        if options.shards:
            return evaluate_masked_lm(Path(options.model), Path(options.shards), mask_rate=options.mask_rate)
        examples = _labelled(options.data, options)
        say(f"{len(examples.labels):,} examples")
        return evaluate_directory(Path(options.model), examples)
    except (ValueError, FileNotFoundError) as error:
        raise UserError(str(error)) from None


def _labelled(name: str, options: argparse.Namespace) -> Any:
    """Return the examples of a file, or of `NAME[:CONFIG][:SPLIT]`, a dataset of the hub or one saved on disk.

    Raises:
        ValueError: no such file, dataset, configuration, split or column.
    """
    from pipeline.pretrain.labelled import collect_labelled, read_labelled  # noqa: PLC0415

    columns = {"text": options.text, "other": options.other, "label": options.label}
    if Path(name).is_file() or Path(name).suffix in (".jsonl", ".csv", ".tsv", ".parquet", ".gz", ".zst"):
        return read_labelled(Path(name), **columns)
    return collect_labelled(_dataset_rows(name, options.label), name, **columns)


def _dataset_rows(name: str, label: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a dataset; labels that are numbers of named classes come as the names."""
    import datasets  # noqa: PLC0415 - slow, and the trainer itself does without

    path, *rest = name.split(":")
    config, split = rest if len(rest) == 2 else (None, rest[0] if rest else "train")
    try:
        if (Path(path) / "dataset_dict.json").is_file() or (Path(path) / "state.json").is_file():
            found = datasets.load_from_disk(path)
            table = found[split] if isinstance(found, datasets.DatasetDict) else found
        else:
            table = datasets.load_dataset(path, config, split=split)
    except KeyError:
        raise ValueError(f"{path}: no split {split!r}, but {', '.join(found)}") from None
    except (ValueError, OSError, datasets.exceptions.DatasetGenerationError) as error:
        raise ValueError(f"{name}: neither a file nor a dataset ({' '.join(str(error).split())})") from None
    feature = table.features.get(label)
    named = isinstance(feature, datasets.ClassLabel)
    for row in table:
        # Hidden labels of test sets are -1.
        yield {**row, label: feature.int2str(row[label]) if row[label] >= 0 else None} if named else row


def suggest(config: "Config", gpu_hours: float) -> list[str]:
    """Return model, batch and steps for the shards of a run and a budget, with the formula.

    Raises:
        UserError: there are no shards, or the budget is not above 0.
    """
    from pipeline.pretrain.architecture import PRESETS  # noqa: PLC0415
    from pipeline.pretrain.rows import Rows  # noqa: PLC0415
    from pipeline.pretrain.settings import Settings  # noqa: PLC0415
    from pipeline.pretrain.suggest import suggest as table  # noqa: PLC0415
    from pipeline.pretrain.suggest import suggestion_lines  # noqa: PLC0415

    family = PRESETS[config.pretrain.model][0] if config.pretrain else "modernbert"
    settings = config.pretrain or Settings()
    try:
        rows = Rows(Path(config.output) / settings.shards / "train")
        return suggestion_lines(table(rows, family=family, gpu_hours=gpu_hours, mask_rate=settings.mask_rate))
    except (ValueError, FileNotFoundError) as error:
        raise UserError(str(error)) from None
