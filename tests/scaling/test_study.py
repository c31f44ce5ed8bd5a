"""The whole line on a small scale, on a problem whose answer theory knows."""

import json

import pytest

from configs.studies import linear
from scaling import isoflop, plan, study
from scaling.fit import fit
from scaling.table import read_runs
from train.cli import InputError


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The study of configs/studies/linear.py, run from plan to report."""
    workdir = tmp_path_factory.mktemp("linear")
    settings = plan.resolve(linear.get_config().to_dict())
    return settings, workdir, study.study(settings, workdir)


def test_every_part_is_there(done):
    _, workdir, report = done
    names = ["plan.json", "runs.csv", "law.json", "isoflop.json", "forecast.json", "score.json"]
    assert all((workdir / name).stat().st_size for name in names)
    assert report == workdir / "report.html"


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
    (score,) = json.loads((workdir / "score.json").read_text())["scores"]
    record = json.loads((workdir / "runs" / score["run"] / "record.json").read_text())
    assert sealed["created"] < record["started"]
    assert score["loss"] == record["loss"]
    assert score["inside90"]


def test_a_second_call_changes_nothing(done):
    settings, workdir, _ = done
    kept = [p for p in workdir.rglob("*.json") if p.name != "config.json"]
    before = {p: p.read_bytes() for p in kept}
    study.study(settings, workdir)
    assert {p: p.read_bytes() for p in kept} == before


def test_a_workdir_holds_one_study(done):
    _, workdir, _ = done
    config = linear.get_config()
    config.budgets = (2e4, 8e4)
    with pytest.raises(InputError, match="holds another study: 16 of its 26 runs"):
        study.study(plan.resolve(config.to_dict()), workdir)
