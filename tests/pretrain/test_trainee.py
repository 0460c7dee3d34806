"""The trainee: what is handed on when the training is over."""

import pytest
import torch

from pipeline.pretrain.rows import Rows
from pipeline.pretrain.settings import Settings
from pipeline.pretrain.trainee import prepare
from pipeline.pretrain.world import ALONE


@pytest.mark.parametrize("mode", ["no", "block"])
def test_the_whole_model_takes_any_length(out, mode):
    """Blocks compiled for the shape of the training would fail at the ninth other one, after the night."""
    settings = Settings(model="bert-tiny", width=32, heads=2, compile=mode, batch_rows=8, threads=1)
    rows = Rows(out / "shards" / "train")
    trainee = prepare(settings, rows, out / "tokenizer" / "tokenizer.json", None, ALONE, lambda line: None)
    model = trainee.whole_model()
    assert [block._compiled_call_impl for block in model.blocks] == [None, None]
    ours, theirs = model.state_dict(), trainee.model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
