"""A whole run against the loop that one would write by hand around a model of `transformers`."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pipeline.pretrain.export import export_model
from pipeline.pretrain.log import read_log
from pipeline.pretrain.objective import read_microbatch
from pipeline.pretrain.order import rows_at
from pipeline.pretrain.schedule import lr_share
from pipeline.pretrain.settings import Settings
from pipeline.pretrain.start import architecture_and_weights, first_model, open_rows
from pipeline.pretrain.train import train
from pipeline.pretrain.vocabulary import read_vocabulary
from tests.pretrain.shards import SPECIAL_IDS, WORDS, write_split

STEPS, ROWS = 6, 16


def _theirs(directory):
    """The model in `directory` without dropout, of which pretraining here has none."""
    import transformers

    model = transformers.AutoModelForMaskedLM.from_pretrained(directory, attn_implementation="eager").train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


def _labels(batch):
    """Labels of all tokens, -100 where nothing is predicted, and the mask of what is no padding."""
    masked = batch.masked
    labels_BS = torch.full_like(masked.ids_BS, -100)
    for row in range(len(labels_BS)):
        real_K = masked.weight_BK[row] > 0
        labels_BS[row, masked.slots_BK[row][real_K]] = masked.labels_BK[row][real_K]
    real_BS = torch.arange(labels_BS.shape[1]) < batch.lengths_BP.sum(1, keepdim=True)
    return labels_BS, real_BS.long()


@pytest.mark.parametrize("name", ["bert-tiny", "modernbert-demo"])
def test_a_run_is_the_loop_around_a_model_of_transformers(out, name):
    """Losses and weights after some steps: microbatches, mean over predictions, clipping, schedule, weight decay."""
    rng = np.random.default_rng(0)
    rows = [[[2, *rng.integers(5, 5 + len(WORDS), int(rng.integers(5, 28))).tolist(), 3]] for _ in range(40)]
    write_split(out / "shards" / "train", rows)
    settings = Settings(
        model=name, layers=2, width=32, heads=2, steps=STEPS, batch_rows=ROWS, micro_rows=4, lr=0.01, weight_decay=0.1,
        clip=0.5, warmup=0.3, schedule="linear", whole_word=True, threads=1,
    )  # fmt: skip
    train(settings, out, say=lambda line: None)
    ours = [line["loss"] for line in read_log(out / "pretrain" / "log.jsonl") if "loss" in line]

    tokenizer_json = out / "tokenizer" / "tokenizer.json"
    shards, _ = open_rows(settings, out)
    architecture, _ = architecture_and_weights(settings, shards.metadata, tokenizer_json)
    begun = first_model(architecture, None, settings.seed)
    export_model(begun, out / "tokenizer", out / "begun", special_ids=SPECIAL_IDS)
    model = _theirs(out / "begun")
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-6)
    vocabulary = read_vocabulary(shards.metadata, tokenizer_json)
    for step in range(STEPS):
        rows_B = rows_at(step * ROWS, ROWS, num_rows=len(shards), seed=settings.seed)
        batch = read_microbatch(shards, rows_B, settings=settings, step=step, vocabulary=vocabulary)
        labels_BS, real_BS = _labels(batch)
        loss = model(input_ids=batch.masked.ids_BS, attention_mask=real_BS, labels=labels_BS).loss
        loss.backward()
        assert torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5) > 0.5, "nothing would be clipped"
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * lr_share("linear", step, STEPS, warmup=0.3, decay=0.0)
        optimizer.step()
        optimizer.zero_grad()
        assert ours[step] == pytest.approx(loss.item(), rel=1e-5)
    trained = load_file(out / "model" / "model.safetensors")
    for key, parameter in model.named_parameters():
        assert torch.allclose(trained[key], parameter, rtol=1e-4, atol=1e-5), key
