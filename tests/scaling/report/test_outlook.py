"""What a report says of runs to come, and what it compares: on a study made up of known numbers."""

import dataclasses
import json
import re

import numpy as np
import pytest

from scaling import report
from scaling.plan import prices
from scaling.report import ahead, curves, exponents, files, findings, outlook, page
from scaling.report.drawing import Axis, Figure, Series
from scaling.runs import numbers
from tests.scaling.report.report_case import LAW
from train import record
from train.cli import InputError
from train.identity import digest_of


@pytest.fixture(scope="module")
def found(known_study):
    """The study, what its report finds, and its figures."""
    study = files.read(known_study)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scaling.report.frontier.POINTS", 4)
        what = findings.find(study)
        return study, what, curves.figures(study, what)


def named(figure: Figure, start: str) -> list[Series]:
    return [series for series in figure.series if series.name.startswith(start)]


def test_the_curve_drawn_is_the_sealed_forecasts_own(found):
    study, _, figures = found
    (target,) = study.forecast.targets
    lines = named(figures["forecast"], "forecast,")
    (band,) = named(figures["forecast"], "90% interval of a run")
    assert not named(figures["forecast"], "best loss by")
    assert [line.dashed for line in lines] == [False, True]
    assert lines[-1].x[-1] == pytest.approx(target.C)
    assert lines[-1].y[-1] == pytest.approx(target.median, rel=1e-9)
    assert (band.y_low[-1], band.y_high[-1]) == pytest.approx(target.interval90, rel=1e-9)


def test_no_curve_is_drawn_that_is_not_of_the_seal(found):
    study, what, _ = found
    (target,) = study.forecast.targets
    moved = dataclasses.replace(target, median=1.1 * target.median)
    study = dataclasses.replace(
        study, forecast=dataclasses.replace(study.forecast, targets=(moved,))
    )
    made = dataclasses.make_dataclass("Made", ["median"])(np.array([target.median]))
    (note,) = outlook._other_than_sealed(study, made)
    assert "that was sealed: its curve is not drawn" in note
    without = dataclasses.replace(what, outlook=outlook.Outlook(notes=(note,)))
    assert named(curves.figures(study, without)["forecast"], "best loss by")


def test_budgets_ahead_have_the_best_size_its_loss_time_and_cost(found):
    study, what, _ = found
    made = what.outlook.budgets
    best = study.fit.allocate(made.C)
    np.testing.assert_allclose([made.N, made.D], [best["N"], best["D"]], rtol=1e-6)
    true = LAW["E"] + LAW["A"] * made.N ** -LAW["alpha"] + LAW["B"] * made.D ** -LAW["beta"]
    inside = (made.interval90[:, 0] < true) & (true < made.interval90[:, 1])
    assert inside.all()
    rows = re.findall(r"<tr>(<td.*?)</tr>", ahead.section(study, what.outlook))
    assert len(rows) == len(made.C) >= 3
    cells = re.findall(r"<td[^>]*>([^<]*)", rows[-1])
    own = prices.rate(throughput=made.C[-1] / 50.0)  # the held-out run trained for 50 s
    hired = prices.rate(device=ahead.DEVICE)
    measured = study.run("heldout-big").C / 50.0
    assert cells[7] == prices.spent(dataclasses.replace(own, flops=measured), made.C[-1])[0]
    assert cells[8] == prices.spent(hired, made.C[-1])[0]
    assert cells[5] == numbers.loss(made.median[-1])


def test_what_to_run_next_is_as_cheap_as_it_says(found):
    _, what, _ = found
    words = what.outlook.following
    assert words.startswith("One more run of N = ")
    before, after = (float(text) for text in re.findall(r"±([\d.]+)%", words))
    assert 0 < after < before
    assert "if chinchilla is right" in words


def test_a_budget_without_a_minimum_comes_first(found):
    study, _, _ = found
    budget = dataclasses.replace(study.isoflop.budgets[0], problem="no interior minimum")
    budget = dataclasses.replace(budget, losses=np.sort(budget.losses))
    study = dataclasses.replace(
        study, isoflop=dataclasses.replace(study.isoflop, budgets=(budget,))
    )
    assert "train smaller sizes there (no interior minimum)" in outlook._following(study)


@pytest.mark.parametrize("told", ["", "the runs differ too much"])
def test_a_refused_forecast_is_said_with_its_reason(known_study, tmp_path, monkeypatch, told):
    """The reason comes from sealing, or is found again by forecasting."""
    for name in ("plan.json", "runs.csv", "law.json", "isoflop.json"):
        (tmp_path / name).write_bytes((known_study / name).read_bytes())
    plan = json.loads((known_study / "plan.json").read_text())
    for run in plan["runs"]:
        if run["role"] == "fit":
            path = f"runs/{run['run']}/record.json"
            record.save(tmp_path / path, record.load(known_study / path))
    monkeypatch.setattr("scaling.report.page.to_image", lambda figure, *paths: None)

    def refuse(*_):
        raise InputError("targets: too far")

    monkeypatch.setattr("scaling.report.outlook.forecast", refuse)
    text = report.write(tmp_path, refused=told).read_text()
    assert f"There is no forecast, it was refused: {told or 'too far'}." in text
    assert "There is no forecast to draw: the line is" in text
    assert "the least loss that the law expects" in text


def test_a_study_that_cannot_be_sealed_writes_its_page_and_says_so(tmp_path, monkeypatch):
    from scaling.study import line as study

    told = {}

    def refuse(folder, allow_missing):
        raise InputError("targets: too far")

    monkeypatch.setattr("scaling.study.line._plan", lambda settings, folder: None)
    monkeypatch.setattr("scaling.study.line._fit", lambda *_: None)
    monkeypatch.setattr("scaling.sweep.sweeping.sweep", lambda *_, **__: None)
    monkeypatch.setattr("scaling.runs.records.save_table", lambda *_: None)
    monkeypatch.setattr("scaling.forecast.sealing.seal", refuse)
    monkeypatch.setattr("scaling.report.write", lambda folder, **given: told.update(given))
    settings = dataclasses.make_dataclass("Settings", ["heldout"])((4.0,))
    with pytest.raises(InputError, match="too far"):
        study.study(settings, tmp_path)
    assert told == {"refused": "targets: too far"}


def test_captions_speak_of_what_is_drawn_alone():
    series = (Series("outcome", (1.0,), (1.0,), "points"),)
    figures = {"a": Figure("t", Axis("x"), Axis("y"), series)}
    told = {"": "All.", "outcome": "Star.", "sealed forecast": "Diamond."}
    assert "<figcaption>All. Star. <span" in page.figure("a", figures, told)


def test_contours_join_equal_losses_and_lean_on_the_frontier(found):
    study, what, figures = found
    lines = named(figures["contours"], "loss ")
    assert len(lines) > 4
    for line in lines:
        level = float(line.name.split()[1])
        inside = np.isfinite(line.x)
        N = line.y[inside]
        D = line.x[inside] / study.fit.flops_per_nd / N
        np.testing.assert_allclose(study.fit.predict(N, D), level, rtol=1e-9)
    frontier = np.concatenate([s.y for s in named(figures["contours"], "efficient frontier")])
    assert set(frontier) <= set(what.advice.N)


def test_the_law_is_drawn_along_the_runs_of_each_budget(found):
    study, _, figures = found
    lines = named(figures["isoflop"], "the law chinchilla")
    assert len(lines) == 4
    first = [run for run in study.role("fit") if run.ok][:5]
    assert [lines[0].x[0], lines[0].x[-1]] == pytest.approx([first[0].N, first[-1].N])
    at_ends = study.fit.predict([first[0].N, first[-1].N], [first[0].D, first[-1].D])
    assert [lines[0].y[0], lines[0].y[-1]] == pytest.approx(list(at_ends))


def test_exponents_of_the_study_stand_beside_the_published(found):
    study, what, _ = found
    ways = {one.way: one for one in what.estimates}
    a = LAW["beta"] / (LAW["alpha"] + LAW["beta"])
    low, high = np.quantile(ways["approach 3"].draws[:, 0], [0.005, 0.995])
    assert low < a < high
    assert ways["approach 2"].a == study.isoflop.N_exponent
    text = exponents.table(what.estimates)
    besiroglu = re.search(r"Besiroglu.*?</tr>", text)[0]
    assert "0.513" in besiroglu  # .3658 / (.3478 + .3658)


def test_residuals_are_the_same_along_compute_size_and_data(found):
    study, _, figures = found
    for name, across in (("residuals", "C"), ("residuals_by_N", "N"), ("residuals_by_D", "D")):
        shown = [s for s in figures[name].series if s.kind == "points" and not s.name]
        drawn = {(x, y) for s in shown for x, y in zip(s.x, s.y)}
        off = np.expm1(study.fit.residuals)
        assert drawn == {
            (getattr(study.run(run), across), e) for run, e in zip(study.fit.runs, off)
        }


def test_the_envelope_is_the_least_loss_of_all_curves(found):
    _, _, figures = found
    (envelope,) = named(figures["loss_curves"], "envelope")
    every = [s for s in figures["loss_curves"].series if s.name.startswith("C = ")]
    for x, y in list(zip(envelope.x, envelope.y))[::10]:
        at = [
            np.exp(np.interp(np.log(x), np.log(s.x), np.log(s.y), left=np.inf, right=np.inf))
            for s in every
        ]
        assert y == pytest.approx(min(at))


def test_bytes_are_called_bytes(known_study, tmp_path):
    plan = json.loads((known_study / "plan.json").read_text())
    for run in plan["runs"]:
        run["config"] = {"data": {"name": "text", "tokenizer": "bytes"}}
        run["config_sha256"] = digest_of(run["config"])
    record.save_json(tmp_path / "plan.json", plan)
    study = files.read(tmp_path)
    assert study.unit == "byte"
    assert curves.loss_label(study) == "loss, nats per byte"
    assert files.read(known_study).unit == "token"
