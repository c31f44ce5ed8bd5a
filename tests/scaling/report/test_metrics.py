"""Every metric of a study on its page: errors, forecast, bar; and the name of what is fitted."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from scaling import report
from scaling.fit import repeats
from scaling.forecast import metric, sealing
from scaling.report import curves, files, metrics, outlook
from scaling.report.findings import Findings
from scaling.report.outlook import Outlook
from scaling.runs import plans, records
from scaling.runs.measure import Measure
from tests.scaling.report.report_case import Page
from train import record

pytestmark = pytest.mark.xdist_group("report")


@pytest.fixture(scope="module")
def folder(known_study, tmp_path_factory):
    """The known study with an accuracy of .005 around a law, a part of it, a forecast and a bar."""
    folder = tmp_path_factory.mktemp("measured") / "study"
    left = shutil.ignore_patterns("*.svg", "*.png", "report.html")
    shutil.copytree(known_study, folder, ignore=left)
    accuracies = {}
    for path in sorted(folder.glob("runs/*/record.json")):
        ended = json.loads(path.read_text())
        if ended["status"] == "ok":
            value = 1 - 0.1 * ended["loss"] ** 1.5
            ended["metrics"] |= {"accuracy": [value, 0.005], "recall/cat": [value, None]}
            record.save_json(path, ended)
            accuracies[ended["run"]] = value
    table = pd.read_csv(folder / "runs.csv")
    table["accuracy"] = table["run"].map(accuracies)
    table["accuracy_se"] = 0.005
    table.to_csv(folder / "runs.csv", index=False)
    settings(folder, metrics=["accuracy", "f1"], bar={"accuracy": 0.5}, best={"accuracy": 1.0})
    seal = json.loads((folder / "forecast.json").read_text())
    (target,) = seal["targets"]
    runs = table[(table["role"] == "fit") & (table["status"] == "ok")]
    wanted = pd.DataFrame([{name: target[name] for name in ("N", "D", "C")}])
    made = metric.sealed(runs, wanted, Measure("accuracy", 1.0))
    made["targets"][0]["run"] = target["run"]
    none = {"best": 1.0, "refused": "f1: no run has this metric"}
    seal |= {"version": 3, "target": "loss", "metrics": {"accuracy": made, "f1": none}}
    del seal["sha256"]
    record.save_json(folder / "forecast.json", seal | {"sha256": sealing.digest(seal)})
    scores = json.loads((folder / "score.json").read_text())
    value = accuracies[target["run"]]
    found = {"value": value, "value_se": 0.005, "median": made["targets"][0]["median"]}
    found |= {"error": found["median"] - value, "inside50": True, "inside90": True}
    scores["version"], scores["scores"][0]["metrics"] = 3, {"accuracy": found}
    record.save_json(folder / "score.json", scores)
    return folder


def settings(folder, **study) -> None:
    path = folder / "plan.json"
    plan = json.loads(path.read_text())
    plan["study"] |= study
    record.save_json(path, plan)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr("scaling.report.page.to_image", lambda figure, *paths: None)
    monkeypatch.setattr(
        "scaling.report.outlook.look", lambda study, refused="": outlook.Outlook(refused)
    )
    monkeypatch.setattr("scaling.report.frontier.POINTS", 3)


def test_a_metric_has_a_figure_with_errors_forecast_and_bar(folder):
    study = files.read(folder)
    assert metrics.shown(study) == ["bits_per_byte", "accuracy"]
    for run in study.runs:
        if run.ok:
            run.record.config["evals"] = {"few": {}}
            run.record.metrics.update({"few/loss": [1.0, 0.1], "few/recall/cat": [0.5, None]})
    assert metrics.shown(study) == ["bits_per_byte", "accuracy", "few/loss"]
    figure = metrics.figures(study)["metric_accuracy"]
    by_name = {series.name: series for series in figure.series}
    fitted = by_name["runs fitted"]
    assert len(fitted.x) == 20
    np.testing.assert_allclose(np.subtract(fitted.y_high, fitted.y), 0.005)
    (target,) = study.forecast.metrics["accuracy"].targets
    sealed, outcome = by_name["sealed forecast, 90% interval"], by_name["outcome"]
    assert (sealed.x, sealed.y) == ([target.C], [target.median])
    assert outcome.y == [study.run(target.run).record.metrics["accuracy"][0]]
    bar = by_name["bar 0.5: met"]
    assert (bar.x[1], bar.y) == (target.C, [0.5, 0.5])
    line = [series for series in figure.series if series.name.startswith("forecast,")][-1]
    assert (line.x[-1], line.y[-1]) == pytest.approx((target.C, target.median))


def test_a_bar_that_is_not_reached_is_missed(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "study")
    settings(tmp_path / "study", bar={"accuracy": 0.99}, metrics=[])
    figure = metrics.figures(files.read(tmp_path / "study"))["metric_accuracy"]
    assert "bar 0.99: missed" in [series.name for series in figure.series]
    (held,) = files.read(tmp_path / "study").role("heldout")
    (tmp_path / "study" / "runs" / held.name / "record.json").unlink()
    figure = metrics.figures(files.read(tmp_path / "study"))["metric_accuracy"]
    assert "bar 0.99" in [series.name for series in figure.series]  # nobody knows yet


def test_the_page_says_of_each_metric_what_came_out(folder, quick):
    page = Page(report.write(folder))
    row = next(row for row in page.rows if row[0] == "accuracy")
    (score,) = files.read(folder).scores
    assert float(row[1]) == pytest.approx(score.metrics["accuracy"]["value"], abs=1e-4)
    assert row[3:5] == ["0.5000", "met"]
    assert row[-1] == "inside"
    assert "f1: no forecast: f1: no run has this metric" in page.words
    assert next(row for row in page.rows if row[0] == "run" and "role" in row)[6] == "loss"


def test_the_fitted_metric_is_called_by_its_name(folder, tmp_path, quick):
    other = tmp_path / "study"
    shutil.copytree(folder, other)
    settings(other, target="accuracy")
    # Files of what was fitted, and a table to match.
    for name in ("isoflop.json", "law.json", "forecast.json", "score.json"):
        (other / name).unlink()
    plan = json.loads((other / "plan.json").read_text())

    records.save_table(other, plans.load(other / "plan.json"))
    assert plan["study"]["best"] == {"accuracy": 1.0}
    page = Page(report.write(other))
    label = "|1 − accuracy|"
    assert f"What {label} does a model of" in page.words
    assert next(row for row in page.rows if row[0] == "run" and "role" in row)[6] == label
    assert f"the curves are of the training loss, not of {label}" in page.words
    study = files.read(other)
    found = Findings(None, "none", 1.0, (), Outlook())
    drawn = curves.figures(study, found)
    assert drawn["isoflop"].title == f"{label} at each budget against size"
    assert drawn["isoflop"].y.label == label
    assert drawn["loss_curves"].y.label == "training loss, nats per token"
    assert max(drawn["forecast"].series[0].y) < 1


def test_the_curve_is_of_the_studys_data_which_repeat(folder):
    study = files.read(folder)
    unique = study.runs[-1].account.unique
    made = outlook.on_data(study, [(1.0, 4 * unique, 1.0), (1.0, 0.5 * unique, 1.0)])
    np.testing.assert_allclose(repeats.passes(made), [4, 1])
