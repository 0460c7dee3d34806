"""The log: JSON of which every reader can read every line, and after a resume as if nothing had happened."""

import json

from pipeline.pretrain.log import Log, read_log


def _log(path, **changed):
    return Log(path, **{"last_step": 0, "steps": 4, **changed})


def test_numbers_that_are_not_finite_are_null(tmp_path):
    """JSON has no NaN: a reader that holds to it would fail at the line that tells why a run ended."""
    path = tmp_path / "log.jsonl"
    log = _log(path)
    log.write([{"step": 1, "loss": 2.5, "lr": 0}, {"step": 2, "loss": float("nan"), "grad_norm": float("inf")}])
    log.close()

    def refuse(name):
        raise AssertionError(name)

    lines = [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]
    assert lines == [{"step": 1, "loss": 2.5, "lr": 0}, {"step": 2, "loss": None, "grad_norm": None}]
    _log(path, last_step=2).close()
    assert read_log(path) == lines


def test_what_comes_again_is_dropped(tmp_path):
    """Steps after the checkpoint, a cut line, and the last validation, which comes after the last checkpoint."""
    path = tmp_path / "log.jsonl"
    log = _log(path)
    looks = [{"step": step, "validation_loss": 3.0} for step in (2, 4)]
    log.write([{"step": 1, "loss": 4.0}, {"step": 2, "loss": 3.5}, looks[0]])
    log.write([{"step": 3, "loss": 3.2}, {"step": 4, "loss": 3.0}, looks[1]])
    log.close()
    with path.open("a") as file:
        file.write('{"step": 5, "lo')
    _log(path, last_step=4).close()
    assert [(line["step"], *line.keys()) for line in read_log(path)] == [
        (1, "step", "loss"), (2, "step", "loss"), (2, "step", "validation_loss"), (3, "step", "loss"),
        (4, "step", "loss"),
    ]  # fmt: skip
    _log(path, last_step=2).close()
    assert read_log(path)[-1] == looks[0]
