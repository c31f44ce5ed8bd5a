"""Forecasts of metrics: of worlds whose accuracy is known, sealed, scored in their own units."""

import json

import numpy as np
import pandas as pd
import pytest

from scaling.forecast import metric, scoring, sealing, show
from scaling.runs.measure import Measure
from tests.scaling.forecast.test_sealing import a_record
from tests.scaling.forecast.test_sealing import study as a_study
from train import record
from train.cli import InputError

ACCURACY = Measure("accuracy", 1.0)
EXAMPLES = 10_000
study = a_study


def error(N, D, exponent=0.35):
    """The true error rate, from chance (.9) to a floor."""
    below = 0.03 + 12 * N**-exponent + 60 * D**-exponent
    return below / np.sqrt(1 + (below / 0.9) ** 2)


def runs_and_target(seed=0, noise=0.01):
    """20 runs at four budgets, and one of four times the largest."""
    rng = np.random.default_rng(seed)
    budgets = [1e10, 3.2e10, 1e11, 3.2e11]
    rows = [(C, share) for C in budgets for share in (0.4, 0.65, 1, 1.5, 2.4)]
    C, share = np.array([*rows, (1.28e12, 1.0)]).T
    N = 0.09 * C**0.48 * share
    table = pd.DataFrame({"N": N, "D": C / 6 / N, "C": C, "loss": 1.0})
    rate = error(table["N"], table["D"]) * np.exp(noise * rng.standard_normal(len(table)))
    wrong = rng.binomial(EXAMPLES, rate)
    table["accuracy"] = 1 - wrong / EXAMPLES
    table["accuracy_se"] = np.sqrt(rate * (1 - rate) / EXAMPLES)
    return table.iloc[:-1], table.iloc[-1:]


@pytest.mark.slow
def test_intervals_cover_the_accuracy_that_comes_out():
    """8 worlds, each covered with chance .9: 2 or fewer misses have chance .96."""
    inside, off = 0, []
    for seed in range(8):
        runs, target = runs_and_target(seed)
        made = metric.sealed(runs, target[["N", "D", "C"]], ACCURACY)["targets"][0]
        low, high = made["interval90"]
        assert low < made["interval50"][0] < made["median"] < made["interval50"][1] < high < 1
        value = target["accuracy"].iloc[0]
        inside += low <= value <= high
        off.append(abs(made["median"] - value))
    assert inside >= 6
    assert np.median(off) < 0.03


def test_a_law_with_two_plateaus_follows_what_leaves_chance():
    """The cheap half of these runs knows next to nothing, which no power of N and D follows."""
    C = np.repeat(np.geomspace(1e6, 1e12, 7), 4)
    N = 0.3 * C**0.5 * np.tile([0.4, 0.8, 1.6, 3.2], 7)
    runs = pd.DataFrame({"N": N, "D": C / 6 / N, "C": C})
    runs["accuracy"] = 1 - error(runs["N"], runs["D"])
    assert (runs["accuracy"] < 0.15).sum() >= 8
    made = metric.forecast_lack(runs, pd.DataFrame({"N": [1e6], "D": [1e7], "C": [6e13]}), ACCURACY)
    assert made.weights["two_plateaus"] > 0.9
    assert made.median[0] == pytest.approx(error(1e6, 1e7), rel=0.02)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"accuracy": np.nan}, "too few|no runs"),
        ({"accuracy": 1.0}, "20 of 20 runs reach the best value, 1: nothing is left"),
        ({"accuracy": np.tile([0.9, 1.1], 10)}, "both sides of the best value 1"),
    ],
)
def test_what_cannot_be_forecast_is_said_in_the_seal(changes, words):
    runs, target = runs_and_target()
    made = metric.sealed(runs.assign(**changes), target[["N", "D", "C"]], ACCURACY)
    assert set(made) == {"best", "refused"}
    assert pd.Series([made["refused"]]).str.contains(words).all(), made["refused"]


def test_a_run_that_reaches_the_best_value_is_left_out_and_said():
    runs, target = runs_and_target()
    perfect = runs.assign(accuracy=runs["accuracy"].where(runs.index != 3, 1.0))
    points = target[["N", "D", "C"]]
    made, without = (metric.sealed(t, points, ACCURACY) for t in (perfect, runs.drop(index=3)))
    assert any(
        "1 of 20 runs reach the best value, 1: left out" in line for line in made["warnings"]
    )
    assert made["targets"] == without["targets"]


def test_no_interval_leaves_what_is_possible():
    """Accuracies that lie at zero, but for noise: an error rate a little above 1 is none."""
    runs, target = runs_and_target()
    low = runs.assign(accuracy=0.002 + 0.001 * np.cos(np.arange(len(runs))), accuracy_se=0.001)
    points, bounded = target[["N", "D", "C"]], Measure("accuracy", 1.0, worst=0.0)
    free, made = (metric.sealed(low, points, measure) for measure in (ACCURACY, bounded))
    assert free["targets"][0]["interval90"][0] < 0
    assert made["targets"][0]["interval90"][0] == 0
    assert made["targets"][0]["interval90"][1] == free["targets"][0]["interval90"][1]
    assert any("worst value there can be, 0, and end at it" in w for w in made["warnings"])
    assert metric.sealed(runs, points, bounded) == metric.sealed(runs, points, ACCURACY)


def test_an_unknown_metric_names_the_nearest():
    runs, target = runs_and_target()
    with pytest.raises(InputError, match="acuracy: no run has this metric; did you mean 'accuracy"):
        metric.forecast_lack(runs, target, Measure("acuracy", 1.0))


def test_the_loss_of_the_task_is_not_what_is_fitted():
    """Where laws are fitted to an error, the loss is one more metric, in a column of its own."""
    runs, target = runs_and_target()
    runs = runs.assign(loss=1 - runs["accuracy"], task_loss=2 * (1 - runs["accuracy"]))
    points = target[["N", "D", "C"]]
    fitted = metric.forecast_lack(runs.drop(columns="task_loss"), points, Measure("loss"))
    other = metric.forecast_lack(runs, points, Measure("loss"))
    np.testing.assert_allclose(other.median, 2 * fitted.median, rtol=1e-3)


def asked(study, **more) -> None:
    """Gives the runs of a study an accuracy, and asks for forecasts of it and of another metric."""
    table = pd.read_csv(study / "runs.csv")
    table["accuracy"] = 1 - table["loss"] / 10
    table["accuracy_se"] = 0.001
    table.to_csv(study / "runs.csv", index=False)
    path = study / "plan.json"
    plan = json.loads(path.read_text())
    plan["study"] |= {"metrics": ["accuracy", "f1"], "best": {"accuracy": 1.0, "f1": 1.0}} | more
    record.save_json(path, plan)


def test_metrics_are_sealed_with_the_loss_and_scored(study, capsys):
    asked(study)
    sealed = json.loads(sealing.seal(study).read_text())
    assert sealed["target"] == "loss"
    made, refused = sealed["metrics"]["accuracy"], sealed["metrics"]["f1"]
    assert "no run has this metric" in refused["refused"]
    (target,) = made["targets"]
    (main,) = sealed["targets"]
    assert target["run"] == "big"
    assert target["median"] == pytest.approx(1 - main["median"] / 10, abs=0.005)
    ended = a_record(metrics={"loss": [2.2, 0.001], "accuracy": [0.779, 0.002]})
    record.save(study / "runs" / "big" / "record.json", ended)
    (score,) = json.loads(scoring.score(study).read_text())["scores"]
    found = score["metrics"]["accuracy"]
    low, high = target["interval90"]
    assert (found["value"], found["value_se"]) == (0.779, 0.002)
    assert found["error"] == pytest.approx(target["median"] - 0.779)
    assert found["inside90"] is (low <= 0.779 <= high)
    show.print_study(study)
    printed = capsys.readouterr().out
    assert "Sealed forecasts of metrics" in printed
    assert "f1: no forecast" in printed


def test_runs_whose_metric_changed_are_no_longer_those_sealed(study):
    asked(study)
    sealing.seal(study)
    table = pd.read_csv(study / "runs.csv")
    table.loc[3, "accuracy"] += 1e-6
    table.to_csv(study / "runs.csv", index=False)
    with pytest.raises(InputError, match="sealed from other runs"):
        sealing.seal(study)


def test_a_seal_of_version_2_holds_and_is_scored(study):
    """As it was written before metrics were forecast: neither target nor metrics."""
    sealed = json.loads(sealing.seal(study).read_text())
    older = {k: v for k, v in sealed.items() if k not in ("target", "metrics", "sha256")}
    older["version"] = 2
    record.save_json(study / "forecast.json", older | {"sha256": sealing.digest(older)})
    sealing.seal(study)
    record.save(study / "runs" / "big" / "record.json", a_record())
    (score,) = json.loads(scoring.score(study).read_text())["scores"]
    assert score["metrics"] == {}
    assert score["loss"] == 2.2
