"""Sequence classification: an encoder, one vector a text, one logit a class.

Parameter names are those of `transformers.BertForSequenceClassification` and `ModernBertForSequenceClassification`.
Shapes: B texts, S tokens, D width, C classes.
"""

import json
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.pretrain import bert, modernbert
from pipeline.pretrain.architecture import Architecture
from pipeline.pretrain.attention import Layout
from pipeline.pretrain.disk import write_tensors
from pipeline.pretrain.export import replace_directory
from pipeline.pretrain.pretrained import read_pretrained, take_weights

_DROPOUT = 0.1
# The parts that a checkpoint of pretraining has not, or not always.
_FRESH = ("classifier.", "bert.pooler.")


class BertClassifier(nn.Module):
    """The pooled [CLS] through dropout and a linear map."""

    def __init__(self, a: Architecture, num_classes: int) -> None:
        super().__init__()
        self.architecture = a
        self.bert = bert.Encoder(a)
        self.classifier = nn.Linear(a.width, num_classes)

    def forward(self, ids_BS: Tensor, layout: Layout, types_BS: Tensor) -> Tensor:
        """Return logits [B, C] of the first document of each row."""
        hidden_BSD = self.bert(ids_BS, layout, types_BS, None, self.classifier.weight.dtype)
        pooled_BD = torch.tanh(self.bert.pooler(hidden_BSD[:, 0]))
        return self.classifier(functional.dropout(pooled_BD, _DROPOUT, self.training))


class ModernBertClassifier(nn.Module):
    """The mean over tokens (local layers see no [CLS]) through the head, dropout and a linear map."""

    def __init__(self, a: Architecture, num_classes: int) -> None:
        super().__init__()
        self.architecture = a
        self.model = modernbert.Encoder(a)
        self.head = modernbert.Head(a)
        self.classifier = nn.Linear(a.width, num_classes)

    def forward(self, ids_BS: Tensor, layout: Layout, types_BS: Tensor) -> Tensor:
        """Return logits [B, C] of the first document of each row; there are no token types."""
        del types_BS
        hidden_BSD = self.model(ids_BS, layout, None, self.classifier.weight.dtype)
        real_BS1 = (layout.document_BS == 0).unsqueeze(2).to(hidden_BSD.dtype)
        mean_BD = (hidden_BSD * real_BS1).sum(1) / real_BS1.sum(1)
        return self.classifier(functional.dropout(self.head(mean_BD), _DROPOUT, self.training))


Classifier = BertClassifier | ModernBertClassifier


def load_classifier(directory: Path, classes: list[str] | None = None) -> tuple[Classifier, list[str]]:
    """Return the classifier in `directory` and the names of its classes.

    Args:
        directory: of a fine-tuned model, or with `classes` of a pretrained one, to which a fresh linear map is added.
        classes: names of the classes to learn; None for those that the model has learned.

    Raises:
        ValueError: no such model, an architecture that is not ours, or a model that has learned no classes.
    """
    architecture, tensors = read_pretrained(directory, vocab_size=0, seq_length=0, next_sentence=True)
    if classes is None:
        if "classifier.weight" not in tensors:
            raise ValueError(f"{directory}: has learned no classes; fine-tune it first")
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        # `transformers` leaves names out that nobody gave.
        known = config.get("id2label") or {row: f"LABEL_{row}" for row in range(len(tensors["classifier.weight"]))}
        classes = [known[key] for key in sorted(known, key=int)]
    kind = BertClassifier if architecture.family == "bert" else ModernBertClassifier
    model = kind(architecture, len(classes))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith(_FRESH):
                nn.init.zeros_(parameter) if name.endswith("bias") else nn.init.normal_(parameter, std=0.02)
    if tensors.get("classifier.weight", model.classifier.weight).shape != model.classifier.weight.shape:
        tensors = {name: value for name, value in tensors.items() if not name.startswith("classifier.")}
    take_weights(model, tensors, may_lack=_FRESH)
    return model, classes


def save_classifier(model: Classifier, classes: list[str], source: Path, to: Path) -> None:
    """Write the model for AutoModelForSequenceClassification, with config and tokenizer of `source`."""
    name = (
        "BertForSequenceClassification" if isinstance(model, BertClassifier) else "ModernBertForSequenceClassification"
    )
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    config |= {"architectures": [name], "problem_type": "single_label_classification"}
    config |= {"classifier_pooling": "mean"} if model.architecture.family == "modernbert" else {}
    config |= {"id2label": dict(enumerate(classes)), "label2id": {name: index for index, name in enumerate(classes)}}
    with replace_directory(to) as draft:
        for path in source.glob("*token*.json"):
            (draft / path.name).write_bytes(path.read_bytes())
        (draft / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        tensors = {key: parameter.detach().float().cpu().contiguous() for key, parameter in model.named_parameters()}
        write_tensors(draft / "model.safetensors", tensors, {"format": "pt"})
