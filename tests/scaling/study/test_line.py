"""The whole line on a small scale, on a problem whose answer theory knows."""

import dataclasses
import functools
import json

import pytest

from configs.studies import linear
from scaling import report
from scaling.fit import isoflop
from scaling.fit.fitting import fit
from scaling.forecast import scoring, sealing
from scaling.plan import planning
from scaling.runs import plans
from scaling.runs.table import read_runs
from scaling.study import line
from scaling.sweep import sweeping
from scaling.sweep.ending import Unfinished
from train.cli import InputError

BUDGETS = linear.get_config().budgets[:-1]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The study of configs/studies/linear.py but for its dearest budget, from plan to report."""
    workdir = tmp_path_factory.mktemp("linear")
    asked = {"bar": {"loss": 1e-9}, "metrics": ("loss",), "budgets": BUDGETS}
    settings = planning.resolve(linear.get_config().to_dict() | asked)
    with pytest.MonkeyPatch.context() as patch:
        # Intervals and curves of the page need many refits, its files of figures are drawn slowly,
        # and nothing here is about them.
        patch.setattr(line, "fit", functools.partial(fit, bootstrap=100))
        patch.setattr("scaling.report.frontier.POINTS", 4)
        patch.setattr("scaling.report.page.to_image", lambda figure, *paths: None)
        yield settings, workdir, line.study(settings, workdir)


def test_every_part_is_there(done):
    _, workdir, report = done
    names = ["plan.json", "runs.csv", "law.json", "isoflop.json", "forecast.json", "score.json"]
    assert all((workdir / name).stat().st_size for name in names)
    assert report == workdir / "report.html"


def test_the_page_says_whether_the_bar_was_met(done):
    *_, page = done
    assert 'href="figures/metric_loss.png"' in page.read_text()
    assert "bar 1e-09: missed" in page.read_text()


def test_exponents_are_those_of_theory(done):
    # With spectrum j^-2 and a flat teacher the loss is noise^2 + 1/N where data abounds and falls
    # as D^-(1/2) where features do (Lin et al. 2024, theorem 4.1, a = 2), so N* grows as C^(1/3).
    _, workdir, _ = done
    runs = read_runs(str(workdir / "runs.csv"), split="role")
    optimum = isoflop.load(str(workdir / "isoflop.json"))
    assert optimum.N_exponent == pytest.approx(1 / 3, abs=0.05)
    assert optimum.D_exponent == pytest.approx(2 / 3, abs=0.05)
    # The terms cross over sharply, which the coupled form can follow and the additive one cannot.
    params = fit(runs, law="coupled", bootstrap=0).params
    assert params["alpha"] * params["k"] == pytest.approx(1.0, abs=0.15)
    assert params["beta"] * params["k"] == pytest.approx(0.5, abs=0.15)


def test_the_forecast_was_sealed_before_the_run_and_holds(done):
    _, workdir, _ = done
    sealed = json.loads((workdir / "forecast.json").read_text())
    scores = json.loads((workdir / "score.json").read_text())
    (score,) = scores["scores"]
    known = (workdir / "runs" / score["run"] / "seal.sha256").read_text()
    assert known.strip() == sealed["sha256"]
    assert scores["notes"] == []
    record = json.loads((workdir / "runs" / score["run"] / "record.json").read_text())
    assert sealed["created"] < record["started"]
    assert score["loss"] == record["loss"]
    assert score["inside90"]


def test_a_metric_was_sealed_beside_what_is_fitted_and_scored_in_its_own_units(done):
    _, workdir, page = done
    (target,) = json.loads((workdir / "forecast.json").read_text())["metrics"]["loss"]["targets"]
    (score,) = json.loads((workdir / "score.json").read_text())["scores"]
    found = score["metrics"]["loss"]
    assert found["value"] == score["loss"]
    assert found["error"] == pytest.approx(target["median"] - score["loss"])
    assert found["inside90"]
    assert "sealed forecast, 90% interval" in page.read_text()


def test_a_second_call_changes_nothing(done, monkeypatch):
    settings, workdir, _ = done
    monkeypatch.setattr(report, "write", lambda *_: None)  # the page is made anew
    kept = [p for p in workdir.rglob("*.json") if p.name != "config.json"]
    before = {p: p.read_bytes() for p in kept}
    line.study(settings, workdir)
    assert {p: p.read_bytes() for p in kept} == before


def test_a_workdir_holds_one_study(done):
    _, workdir, _ = done
    config = linear.get_config()
    config.budgets = (2e4, 8e4)
    with pytest.raises(InputError, match="holds another study: 11 of its 21 runs"):
        line.study(planning.resolve(config.to_dict()), workdir)


@pytest.fixture
def steps(monkeypatch):
    """The steps of a study after its plan, as they are called; one of them may be made to fail."""
    called, errors = [], {}

    def step(name):
        def call(*_, **__):
            called.append(name)
            if name in errors:
                raise errors[name]

        return call

    for module, name in (
        (sweeping, "sweep"),
        (line, "_fit"),
        (sealing, "seal"),
        (scoring, "score"),
        (report, "write"),
    ):
        monkeypatch.setattr(module, name, step(name))
    return called, errors


def test_a_study_with_runs_left_over_is_not_sealed_unless_told(steps, tmp_path):
    called, errors = steps
    settings = planning.resolve(linear.get_config().to_dict())
    errors["sweep"] = Unfinished("fit", 25, {"one": "locked"})
    with pytest.raises(Unfinished):
        line.study(settings, tmp_path)
    assert called == ["sweep"]
    with pytest.raises(Unfinished):  # of the held-out run
        line.study(settings, tmp_path, allow_missing=True)
    assert called == ["sweep", "sweep", "_fit", "seal", "sweep"]


def test_a_study_without_a_forecast_has_a_page(steps, tmp_path):
    called, errors = steps
    settings = planning.resolve(linear.get_config().to_dict())
    errors["seal"] = InputError("1 of the runs to fit are missing")
    with pytest.raises(InputError, match="missing"):
        line.study(settings, tmp_path)
    assert called == ["sweep", "_fit", "seal", "write"]


def test_the_plan_that_is_there_stands_unless_its_data_are_others_now(steps, tmp_path):
    settings = planning.resolve(linear.get_config().to_dict())
    made = planning.make(settings)
    values = json.loads(json.dumps(dataclasses.asdict(made)))
    for run in values["runs"]:  # as an older version wrote it
        run["run"] = f"old-{run['run']}"
        del run["data_sha256"]
    (tmp_path / "plan.json").write_text(json.dumps(values | {"version": 1}))
    line.study(settings, tmp_path)
    there = planning.load(tmp_path / "plan.json")
    assert [run.run for run in there.runs] == [f"old-{run.run}" for run in made.runs]
    assert [run.data_sha256 for run in there.runs] == [run.data_sha256 for run in made.runs]
    changed = [dataclasses.replace(run, data_sha256="0" * 64) for run in there.runs]
    plans.save(tmp_path / "plan.json", dataclasses.replace(there, runs=tuple(changed)))
    with pytest.raises(InputError, match=r"config\.data: changed since the study was planned"):
        line.study(settings, tmp_path)
