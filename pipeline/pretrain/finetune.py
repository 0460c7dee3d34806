"""Fine-tuning for sequence classification, and the evaluation of what came out."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from pipeline.pretrain.attention import layout_of
from pipeline.pretrain.classifier import Classifier, load_classifier, save_classifier
from pipeline.pretrain.execution import usual_threads
from pipeline.pretrain.export import check_target
from pipeline.pretrain.labelled import Labelled
from pipeline.pretrain.metrics import classification_report, confusion_matrix
from pipeline.pretrain.optimizer import build_optimizers, set_lr_share
from pipeline.pretrain.order import permute
from pipeline.pretrain.pretrained_config import told_as
from pipeline.pretrain.schedule import lr_share
from pipeline.pretrain.splitmix import fold
from pipeline.pretrain.world import usual_device

_WEIGHT_DECAY, _WARMUP, _CLIP = 0.01, 0.1, 1.0
_ROUND_UP = 8


class _Encoded(NamedTuple):
    """Texts as ids and token types, cut to the longest the model takes."""

    ids: list[list[int]]
    types: list[list[int]]


def finetune(
    model: Path,
    train: Labelled,
    validation: Labelled,
    to: Path,
    *,
    lrs: tuple[float, ...] = (5e-5,),
    epochs: int = 3,
    batch_rows: int = 32,
    seed: int = 0,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Train a classifier on `train`, keep the best epoch of the best learning rate, write it to `to`.

    The best has the highest accuracy on `validation`, of equal ones the highest F1.

    Args:
        model: directory of a pretrained model, as `export_model` or `transformers` writes it.
        train: examples to learn from; their labels are the classes.
        validation: examples to choose by.
        to: directory of the fine-tuned model, which AutoModelForSequenceClassification opens; new, empty, or of a model
            that was written by this function before.
        lrs: learning rates to try, each from the pretrained weights.
        epochs: passes over `train`, at least 1, with a linear schedule.
        batch_rows: examples in a step.
        seed: of fresh weights, order and dropout.
        say: receives one line an epoch.

    Returns:
        the report of `classification_report` on `validation`, with `lr`, `epoch` and `classes`.

    A learning rate at which the loss is not finite is given up.

    Raises:
        ValueError: a label of `validation` that `train` has not, one class alone, no learning rate with a finite loss,
            a model that cannot be read, or of `check_target`.
    """
    if epochs < 1:
        raise ValueError(f"finetune: {epochs} epochs; at least 1")
    if not all(0 < lr < math.inf for lr in lrs):
        raise ValueError(f"finetune: learning rates {', '.join(map(str, lrs))}; each must be above 0")
    to = check_target(to)  # not after the training
    if to == model.resolve():
        raise ValueError(f"finetune: {to} is the pretrained model itself; name a new directory")
    classes = classes_of(train)
    if unknown := sorted(set(validation.labels) - set(classes)):
        raise ValueError(f"finetune: label {unknown[0]!r} occurs in validation only; {len(classes)} classes in train")
    if len(classes) < 2:
        raise ValueError(f"finetune: all examples of train have the label {classes[0]!r}; there is nothing to learn")
    tokenizer = _tokenizer(model)
    device = usual_device()
    label_N = np.array([classes.index(label) for label in train.labels])
    best: dict[str, Any] = {"accuracy": -1.0, "f1": -1.0}
    weights: dict[str, Tensor] = {}
    for lr in lrs:
        torch.manual_seed(seed)
        with told_as("--model"):
            classifier, _ = load_classifier(model, classes)
        torch.set_num_threads(usual_threads(classifier.architecture))
        classifier.to(device)
        encoded = _encode(tokenizer, train, classifier.architecture.positions)
        found: tuple[dict[str, Any], dict[str, Tensor]] = best, weights
        for epoch, loss in enumerate(_epochs(classifier, encoded, label_N, lr, epochs, batch_rows, seed)):
            if not math.isfinite(loss):
                say(f"lr {lr:g}  epoch {epoch + 1}/{epochs}  the loss is not finite; given up")
                break
            report = evaluate_classifier(classifier, classes, tokenizer, validation, batch_rows=batch_rows)
            say(
                f"lr {lr:g}  epoch {epoch + 1}/{epochs}  loss {loss:.4f}  "
                f"accuracy {report['accuracy']:.2%}  F1 {report['f1']:.4f}  Matthews {report['matthews']:.4f}"
            )
            # Where one class is rare many epochs are equally right, and the first of them has learned only the other.
            if (report["accuracy"], report["f1"]) > (found[0]["accuracy"], found[0]["f1"]):
                copies = {name: value.detach().cpu().clone() for name, value in classifier.state_dict().items()}
                found = {**report, "lr": lr, "epoch": epoch + 1, "classes": classes}, copies
        else:
            best, weights = found
    if not weights:
        raise ValueError(f"finetune: the loss is not finite at any of {', '.join(map(str, lrs))}; give a lower --lr")
    classifier.load_state_dict(weights)
    save_classifier(classifier, classes, model, to)
    return best


def _epochs(
    classifier: Classifier,
    encoded: _Encoded,
    label_N: NDArray[np.int64],
    lr: float,
    epochs: int,
    batch_rows: int,
    seed: int,
) -> Iterator[float]:
    """Train epoch by epoch and yield the mean loss of each, not a number once the loss or a weight is not finite."""
    device = next(classifier.parameters()).device
    optimizers = build_optimizers(classifier, "adamw", lr=lr, weight_decay=_WEIGHT_DECAY)
    steps = epochs * math.ceil(len(label_N) / batch_rows)
    step = 0
    for epoch in range(epochs):
        classifier.train()
        order_N = permute(np.arange(len(label_N)), size=len(label_N), key=fold(seed, epoch))
        total = 0.0
        for rows_B, logits_BC in _logits(classifier, encoded, order_N, batch_rows):
            loss = functional.cross_entropy(logits_BC, torch.from_numpy(label_N[rows_B]).to(device))
            set_lr_share(optimizers, lr_share("linear", step, steps, warmup=_WARMUP, decay=0.0))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(classifier.parameters(), _CLIP)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
            total += loss.item() * len(rows_B)
            step += 1
            if not math.isfinite(total):
                break
        # The last step of an epoch may have spoiled weights that no loss has seen yet.
        whole = all(bool(parameter.isfinite().all()) for parameter in classifier.parameters())
        yield total / len(label_N) if whole else math.nan


def classes_of(examples: Labelled) -> list[str]:
    """Return the names of the classes in the order of their logits: numbers by value, so 0 to 19 are themselves."""
    names = set(examples.labels)
    if all(name.removeprefix("-").isdecimal() for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)


def evaluate_directory(model: Path, examples: Labelled, *, batch_rows: int = 64) -> dict[str, Any]:
    """Return the report of the fine-tuned model in `model` on `examples`.

    Raises:
        ValueError: the model has learned no classes, or not those of `examples`.
    """
    with told_as("--model"):
        classifier, classes = load_classifier(model)
    torch.set_num_threads(usual_threads(classifier.architecture))
    classifier.to(usual_device())
    if unknown := sorted(set(examples.labels) - set(classes)):
        raise ValueError(f"evaluate: label {unknown[0]!r} is none of the {len(classes)} that {model} has learned")
    return evaluate_classifier(classifier, classes, _tokenizer(model), examples, batch_rows=batch_rows)


@torch.no_grad()
def evaluate_classifier(
    classifier: Classifier, classes: list[str], tokenizer: Tokenizer, examples: Labelled, *, batch_rows: int
) -> dict[str, Any]:
    """Return the report of `classifier`, whose classes are named `classes`, on `examples`."""
    classifier.eval()
    encoded = _encode(tokenizer, examples, classifier.architecture.positions)
    guess_N = np.zeros(len(examples.labels), np.int64)
    # Texts of similar length together: less padding, and the answers do not depend on it.
    order_N = np.argsort([len(ids) for ids in encoded.ids], kind="stable")
    for rows_B, logits_BC in _logits(classifier, encoded, order_N, batch_rows):
        guess_N[rows_B] = logits_BC.argmax(1).cpu().numpy()
    truth_N = np.array([classes.index(label) for label in examples.labels])
    return classification_report(confusion_matrix(truth_N, guess_N, len(classes)), classes)


def _logits(
    classifier: Classifier, encoded: _Encoded, order_N: NDArray[np.int64], batch_rows: int
) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
    """Yield example numbers and their logits [B, C], batch by batch in the given order."""
    a = classifier.architecture
    device = next(classifier.parameters()).device
    for start in range(0, len(order_N), batch_rows):
        rows_B = order_N[start : start + batch_rows]
        lengths = [len(encoded.ids[row]) for row in rows_B]
        longest = min(a.positions, -(-max(lengths) // _ROUND_UP) * _ROUND_UP)
        ids_BS = torch.full((len(rows_B), longest), a.pad_id)
        types_BS = torch.zeros((len(rows_B), longest), dtype=torch.int64)
        for index, (row, length) in enumerate(zip(rows_B, lengths, strict=True)):
            ids_BS[index, :length] = torch.tensor(encoded.ids[row])
            types_BS[index, :length] = torch.tensor(encoded.types[row])
        layout = layout_of(torch.tensor(lengths, device=device).unsqueeze(1), longest, a.local_window)
        yield rows_B, classifier(ids_BS.to(device), layout, types_BS.to(device))


def _encode(tokenizer: Tokenizer, examples: Labelled, longest: int) -> _Encoded:
    tokenizer.enable_truncation(longest)
    pairs = any(examples.others)
    texts = list(zip(examples.texts, examples.others, strict=True)) if pairs else examples.texts
    encodings = tokenizer.encode_batch(texts)
    return _Encoded([encoding.ids for encoding in encodings], [encoding.type_ids for encoding in encodings])


def _tokenizer(model: Path) -> Tokenizer:
    path = model / "tokenizer.json"
    if not path.exists():
        raise ValueError(f"{model}: no tokenizer.json beside the model")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - tokenizers raises bare Exceptions
        raise ValueError(f"{path}: not readable as a tokenizer ({error})") from None
    tokenizer.no_padding()
    return tokenizer
