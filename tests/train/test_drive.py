"""Steps taken at once are the steps taken one by one."""

import jax
import numpy as np
import pytest

from configs import cnn
from tests.train.test_run import final_state, without_pace
from train import before, metrics, run, step
from train.config import resolve
from train.drive import at_once


def test_steps_taken_at_once_give_the_bits_of_one_by_one(tiny, tmp_path, monkeypatch):
    changes = {"model.dropout": 0.1, "accumulate": 2, "checkpoint.every": 8, "evaluation.every": 6}
    config = tiny(steps=20, log_every=5, **changes)
    fed, several = [], run._Run.several

    def watched(self, begun, until):
        fed.append((begun, until))
        return several(self, begun, until)

    monkeypatch.setattr(run._Run, "several", watched)
    ours = run.run(config, tmp_path / "many")
    ends = [1, 5, 6, 8, 10, 12, 15, 16, 18, 20]  # of a first log, and where something is due
    assert fed == list(zip([0, *ends], ends))
    monkeypatch.setattr(run, "at_once", lambda *_: 1)
    theirs = run.run(config, tmp_path / "one")
    assert len(fed) == len(ends)
    lines = [without_pace(metrics.read(tmp_path / name)) for name in ("many", "one")]
    assert lines[0] == lines[1]
    assert (ours.loss, ours.loss_se, ours.curve) == (theirs.loss, theirs.loss_se, theirs.curve)
    states = [final_state(tmp_path / name, config) for name in ("many", "one")]
    jax.tree.map(np.testing.assert_array_equal, *states)


def test_convolutions_are_not_looped_over(tiny):
    """XLA:CPU has slower ones, with other last digits, in a loop."""
    convolves = cnn.recipe(4, 320)
    convolves.data.update(source="digits", evaluation="validation", unique=0)
    for config, looped in ((tiny(), True), (resolve(convolves.to_dict()), False)):
        row = before.open_data(config).eval_batch(0, 1)
        assert (step.compile_for(config, row).many is not None) == looped


@pytest.mark.parametrize(
    ("flops", "changes", "expected"),
    [
        (1e3, {}, 32),
        (1e8, {}, 3),
        (1e10, {}, 1),  # one is above what a call should hold
        (1e3, {"log_every": 1}, 1),
        (1e3, {"evaluation.every": 5}, 5),
        (1e3, {"steps": 4}, 4),
    ],
)
def test_a_call_holds_what_is_soon_done_and_ends_where_something_is_due(
    flops, changes, expected, tiny
):
    rare = {"log_every": 100, "checkpoint.every": 0, "steps": 1000}
    assert at_once(tiny(**rare | changes), flops) == expected
