"""The suggestion of model, batch and steps for a budget."""

import pytest

from pipeline.pretrain.rows import Rows
from pipeline.pretrain.suggest import suggest, suggestion_lines
from tests.pretrain.shards import write_split


def test_small_data_want_a_small_model(out):
    """A thousand tokens are used up four times by any model, so the smallest is suggested and the budget not spent."""
    rows = Rows(out / "shards" / "train")
    table = suggest(rows, family="bert", gpu_hours=1000)
    assert [row.model for row in table] == [
        "bert-tiny",
        "bert-mini",
        "bert-small",
        "bert-medium",
        "bert-base",
        "bert-large",
    ]
    assert [row.chosen for row in table] == [True] + [False] * 5
    assert all(row.epochs == pytest.approx(4.0) for row in table)
    assert all(row.hours < 1 for row in table)
    assert sum("<- suggested" in line for line in suggestion_lines(table)) == 1


def test_budget_is_spent(out, monkeypatch):
    """Over endless shards tokens times FLOPs is the budget, and the largest model that sees enough is chosen."""
    rows = Rows(out / "shards" / "train")
    monkeypatch.setattr(Rows, "num_tokens", 10**18)
    for hours, chosen in ((0.01, "modernbert-tiny"), (100, "modernbert-base"), (100_000, "modernbert-large")):
        table = suggest(rows, family="modernbert", gpu_hours=hours, flops_per_second=4e14)
        assert [row.model for row in table if row.chosen] == [chosen]
        for row in table:
            assert row.tokens * row.flops_per_token == pytest.approx(hours * 3600 * 4e14)
            assert row.hours == pytest.approx(hours)
            assert row.batch_rows & (row.batch_rows - 1) == 0
        enough = [row for row in table if row.tokens_per_parameter >= 300]
        assert not enough or enough[-1].chosen


def test_no_rows(tmp_path):
    """Shards without a row are refused, not divided by."""
    write_split(tmp_path / "train", [], num_files=1)
    with pytest.raises(ValueError, match="no rows to train on"):
        suggest(Rows(tmp_path / "train"), family="bert", gpu_hours=1.0)


@pytest.mark.parametrize(
    ("changed", "words"), [({"family": "gpt"}, "'gpt' is not one of"), ({"gpu_hours": 0}, "above 0")]
)
def test_mistakes(out, changed, words):
    """An unknown family and a budget of nothing are refused."""
    with pytest.raises(ValueError, match=words):
        suggest(Rows(out / "shards" / "train"), **{"family": "bert", "gpu_hours": 1.0, **changed})
