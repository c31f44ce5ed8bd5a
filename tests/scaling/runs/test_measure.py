"""What is fitted: the distance of a metric from the best there is, in a study's table as well."""

import dataclasses

import numpy as np
import pytest

from scaling.runs import measure, plans, records
from scaling.runs.measure import Measure
from scaling.runs.plans import Plan, PlannedRun
from tests.scaling.forecast.test_sealing import a_record
from train import record
from train.account import facts
from train.cli import InputError
from train.identity import digest_of

METRICS = {"loss": [2.2, 0.001], "accuracy": [0.75, 0.01], "recall/cat": [0.5, None]}
METRICS["few/loss"] = [1.5, 0.002]  # of a further set
CONFIG = {
    "model": {"name": "m"},
    "optimizer": {"learning_rate": 1.0, "weight_decay": 0.0},
    "batch_size": 1,
    "steps": 1,
}


def swept(folder, **study) -> Plan:
    """A plan of one run, which has ended with `METRICS`."""
    ended = a_record(metrics=METRICS, config=CONFIG, config_sha256=digest_of(CONFIG))
    run = PlannedRun(run="big", role="fit", size=1, budget=1.0, **facts(ended))
    plan = Plan({"name": "s"} | study, (run,))
    plans.save(folder / "plan.json", plan)
    record.save(folder / "runs" / "big" / "record.json", ended)
    return plan


@pytest.mark.parametrize(
    ("best", "value", "lack", "side", "worse"),
    [
        (1.0, 0.75, 0.25, -1, 0.7),  # an accuracy
        (100.0, 30.0, 70.0, -1, 29.0),  # BLEU
        (0.0, 0.3, 0.3, 1, 0.4),  # an error rate
        (1.0, 3.5, 2.5, 1, 3.6),  # a perplexity
    ],
)
def test_one_number_says_which_way_is_better_and_how_far_it_goes(best, value, lack, side, worse):
    made = Measure("m", best)
    assert made.lack(value) == lack
    assert made.side(np.array([value, worse])) == side
    assert made.value(lack, side) == value
    assert made.meets(value, worse)
    assert made.meets(value, value)
    assert not made.meets(worse, value)


def test_values_on_both_sides_of_the_best_are_refused():
    with pytest.raises(InputError, match=r"m: from 0\.9 to 1\.1, on both sides of the best"):
        Measure("m", 1.0).side(np.array([0.9, 1.1]))
    assert Measure("m", 0.0).lack(-2.0) == -2.0  # a log density: no law of what falls to 0


def test_a_plan_that_names_nothing_fits_the_number_of_record():
    ended = a_record(metrics=METRICS)
    assert measure.target({"name": "s"}).of(ended) == (2.2, 0.001)
    assert measure.target({"name": "s"}).label == "loss"
    assert Measure("loss").of(dataclasses.replace(ended, of_record="fid")) == (2.2, 0.001)
    assert Measure("chrf").of(ended) == (None, None)


def test_the_table_has_what_is_fitted_and_every_metric(tmp_path):
    plan = swept(tmp_path)
    row = records.table(tmp_path, plan).iloc[0]
    assert (row["loss"], row["loss_se"]) == (2.2, 0.001)
    assert (row["accuracy"], row["accuracy_se"]) == (0.75, 0.01)
    assert row["recall/cat"] == 0.5
    assert (row["few/loss"], row["few/loss_se"]) == (1.5, 0.002)
    assert "task_loss" not in row
    row = records.table(tmp_path, swept(tmp_path, target="few/loss")).iloc[0]
    assert (row["loss"], row["loss_se"], row["task_loss"]) == (1.5, 0.002, 2.2)
    plan = swept(tmp_path, target="accuracy", best={"accuracy": 1.0})
    row = records.table(tmp_path, plan).iloc[0]
    assert (row["loss"], row["loss_se"]) == (0.25, 0.01)
    assert (row["task_loss"], row["task_loss_se"], row["accuracy"]) == (2.2, 0.001, 0.75)
    records.save_table(tmp_path, plan)
    found = {"big": records.finished(tmp_path, plan.runs[0])}
    records.check_table(tmp_path, plan, found)
    assert "the loss is |1 − accuracy|" in records.runs_to_fit(tmp_path, plan).attrs["notes"][-1]
    with pytest.raises(InputError, match="not as in its"):  # the table is of another target
        records.check_table(tmp_path, swept(tmp_path), found)


def test_a_run_that_reached_the_best_there_is_has_nothing_to_fit(tmp_path):
    plan = swept(tmp_path, target="accuracy", best={"accuracy": 0.75})
    assert records.table(tmp_path, plan).iloc[0]["loss"] is None
    records.save_table(tmp_path, plan)
    records.check_table(tmp_path, plan, {"big": records.finished(tmp_path, plan.runs[0])})


def test_a_target_that_no_run_has_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"study.target: 'acuracy'; did you mean 'accuracy'\?"):
        records.table(tmp_path, swept(tmp_path, target="acuracy"))


def test_a_strangers_settings_are_checked(tmp_path):
    swept(tmp_path, best={"accuracy": "one"})
    with pytest.raises(InputError, match=r"study\.best\.accuracy: 'one'; must be a number"):
        plans.load(tmp_path / "plan.json")
