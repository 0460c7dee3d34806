"""Settings: what is refused, and in which words."""

import pydantic
import pytest

from pipeline.pretrain.architecture import PRESETS, architecture_of
from pipeline.pretrain.settings import WATCHING, Settings, settings_from_dict


def test_defaults_are_valid():
    """The defaults, and every preset with them, pass the checks."""
    for name in PRESETS:
        settings = Settings(model=name).check()
        architecture = architecture_of(settings.model, vocab_size=100, positions=8, pad_id=0)
        assert architecture.head_width % 2 == 0


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"modle": "bert-base"}, "pretrain.modle: unknown key, did you mean model?"),
        ({"model": "gpt"}, "pretrain.model: 'gpt' is not one of bert-tiny"),
        ({"objective": "clm"}, "pretrain.objective"),
        ({"steps": 0}, "pretrain.steps: 0 must be at least 1"),
        ({"steps": True}, "pretrain.steps: True has the wrong type"),
        ({"steps": "9"}, "pretrain.steps: '9' has the wrong type"),
        ({"mask_rate": 1.0}, "pretrain.mask_rate"),
        ({"lr": 0}, "pretrain.lr"),
        ({"lr": float("nan")}, "pretrain.lr"),
        ({"warmup": 0.9, "decay": 0.2}, "more than the whole run"),
        ({"batch_rows": 10, "micro_rows": 4}, "not a multiple"),
        ({"shard": True, "optimizer": "muon"}, "pretrain.shard: muon needs whole tensors"),
        ({"shard": True, "optimizer": "stableadamw"}, "pretrain.shard: stableadamw needs whole tensors"),
        ({"init_from": "x", "width": 64}, "has its own layers, width and heads"),
        ({"objective": "mlm+nsp", "model": "modernbert-base"}, "needs a model of the bert family"),
        ({"batch_warmup": 0.5, "batch_rows": 12}, "not a multiple of 8"),
        ({"shards": "../shards"}, "pretrain.shards: '../shards' is neither shards nor shards-N"),
        ({"prompts": ["no gap"]}, "must contain"),
        ({"prompts": [1]}, "pretrain.prompts: (1,) has the wrong type"),
        ({"lr": float("inf")}, "pretrain.lr: inf must be a number"),
        ({"weight_decay": float("nan")}, "pretrain.weight_decay: nan must be a number"),
        (
            {"batch_rows": 32, "micro_rows": 8, "batch_warmup": 0.5},
            "32, of which batch_warmup takes 4 at first, is not",
        ),
        (None, "pretrain: the settings are no JSON object, but None"),
        ([1], "pretrain: the settings are no JSON object, but [1]"),
    ],
)
def test_mistakes_are_one_line(values, words):
    """Each mistake names its field and value in one line."""
    with pytest.raises(ValueError) as caught:
        settings_from_dict(values)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_pydantic_embeds_it():
    """The command line's pydantic config takes the dataclass as a field and refuses unknown keys."""

    class Config(pydantic.BaseModel):
        pretrain: Settings

    assert Config(pretrain={"steps": 5, "prompts": ["a [MASK]"]}).pretrain == Settings(steps=5, prompts=("a [MASK]",))
    with pytest.raises(pydantic.ValidationError, match="stepz"):
        Config(pretrain={"stepz": 5})


def test_trajectory_leaves_out_watching():
    """Settings that only watch may change between a run and its resume; all others may not."""
    assert Settings(keep=5, eval_every=3, micro_rows=2).trajectory() == Settings().trajectory()
    assert Settings(lr=1e-3).trajectory() != Settings().trajectory()
    assert set(Settings.__dataclass_fields__) > WATCHING
