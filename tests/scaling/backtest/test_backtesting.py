"""The back-test: origins that leak nothing, selection that finds the right law, honest tables."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from scaling.backtest.backtesting import Task, backtest, by_source, cut_by_compute, summary
from scaling.fit import origins
from scaling.forecast import calibration
from scaling.runs.table import validate
from tests import verbs
from tests.scaling.forecast.test_forecasting import grid, world
from train.cli import InputError


@pytest.fixture(scope="module")
def found():
    return origins.backtest(grid())


def test_an_origin_knows_only_what_lies_below_its_cut(found):
    runs = found.runs
    for place, origin in enumerate(found.origins):
        column = "C" if origin.kind == "compute" else "N"
        known, later = runs[origin.trained], runs[~origin.trained]
        assert known[column].max() < later[column].min()
        assert len(known) >= origins.FEWEST_RUNS
        forecast_there = np.isfinite(found.error[:, place]).any(axis=0)
        np.testing.assert_array_equal(forecast_there, ~origin.trained)
    assert {origin.kind for origin in found.origins} == {"compute", "size"}


def test_what_lies_beyond_an_origin_does_not_reach_its_forecast():
    """Spoil the dearest budget: forecasts of it from below must not move, only the errors."""
    runs = grid()
    spoilt = runs.assign(loss=np.where(runs["C"] == runs["C"].max(), 3.0, runs["loss"]))
    one, two = (origins.backtest(table, ("tied",)) for table in (runs, spoilt))
    top = (runs["C"] == runs["C"].max()).to_numpy()
    checked = 0
    for place, origin in enumerate(one.origins):
        if origin.kind == "compute" and not (origin.trained & top).any():
            forecasts = [np.log(b.runs["loss"].to_numpy()) - b.error[0, place] for b in (one, two)]
            np.testing.assert_allclose(forecasts[0][top], forecasts[1][top], rtol=1e-4)
            checked += 1
    assert checked


def test_decades_beyond_are_those_of_the_column_that_leaves_most():
    known = pd.DataFrame({"N": [1e6, 1e7], "D": [1e9, 1e8], "C": [6e15, 6e15]})
    points = pd.DataFrame({"N": [1e8, 1e6, 1e7], "D": [1e8, 1e8, 1e11], "C": [6e16, 1e14, 6e18]})
    np.testing.assert_allclose(origins.beyond(points, known), [1.0, 0.0, 3.0], atol=1e-12)


@pytest.mark.parametrize("true_law", ["no_floor", "floor"])
def test_selection_follows_the_evidence(true_law):
    """Without noise the laws that contain the true form beat those that do not."""
    runs = grid(noise=0.0, sizes=8)
    if true_law == "no_floor":
        inside = runs["N"] ** -0.74 + 4e3 * runs["D"] ** -0.7
        runs["loss"] = 10.0 * inside**0.11
    judged = calibration.calibrate(origins.backtest(runs))
    miss = dict(zip(judged.backtest.laws, judged.miss))
    weight = dict(zip(judged.backtest.laws, judged.weights))
    if true_law == "no_floor":
        assert miss["coupled_no_floor"] < 1e-5 < miss["kaplan"]
        assert weight["coupled_no_floor"] > 0.5  # the others come within 1e-4 of this world
    else:
        assert miss["coupled"] < 1e-3 < miss["coupled_no_floor"]
        assert weight["coupled_no_floor"] + weight["kaplan"] < 0.02


def test_few_runs_leave_the_laws_alike():
    """The same misses weigh less where fewer runs stand behind them."""
    found = origins.backtest(grid(), resamples=4)
    few = dataclasses.replace(
        found, runs=found.runs.iloc[:8], residual=found.residual[:, :8], error=found.error
    )
    spread = [np.ptp(np.log(calibration.calibrate(each).weights)) for each in (few, found)]
    assert 0 < spread[0] < spread[1]
    miss = found.misses().mean(axis=1) ** 2
    alike = np.exp(np.log(miss).mean())
    expected = 1 / (20 * alike + 24 * miss)
    np.testing.assert_allclose(calibration.calibrate(found).weights, expected / expected.sum())


def test_dear_runs_count_more_in_a_forecast():
    """Cheap runs off the law that the dear ones follow pull an even fit away, not a leaning one."""
    runs = grid(noise=0.0, budgets=4.0 ** np.arange(7) * 1e17)
    low = runs["C"] < 1e18
    runs["loss"] *= np.where(low, 1.05, 1.0)
    target = pd.DataFrame({"N": [3e9], "D": [6e10], "C": [6 * 3e9 * 6e10]})
    truth = np.log(world(3e9, 6e10))
    off = [
        abs(origins.backtest(runs, ("tied",), lean=lean).refits[0].full.log(target)[0] - truth)
        for lean in (0.0, 1.0)
    ]
    assert off[1] < off[0] / 2


def test_scale_grows_with_every_cause():
    near, far = np.array([0.1]), np.array([1.0])
    small = np.array([1e-6])
    base = calibration.scale(0.002, 0.01, near, small)
    assert calibration.scale(0.002, 0.01, far, small) > 2 * base
    assert calibration.scale(0.01, 0.01, near, small) > 2 * base
    assert calibration.scale(0.002, 0.2, near, small) > base
    assert calibration.scale(0.002, 0.01, near, np.array([1e-3])) > 2 * base
    assert calibration.scale(0.002, 0.01, near, small, np.array([1e-3])) > 2 * base
    (ends,) = calibration.interval(np.log([2.0]), np.array([0.01]), 0.9)
    # t with 4 degrees of freedom: 95% quantile 2.132 (any table of it)
    np.testing.assert_allclose(np.log(ends / 2.0), [-0.02132, 0.02132], rtol=1e-3)


def test_a_law_that_the_runs_cannot_carry_is_left_out_and_said():
    runs = grid()
    two_sizes = pd.concat([runs.assign(N=size, D=runs["C"] / 6 / size) for size in (1e8, 3e8)])
    found = origins.backtest(two_sizes)
    assert "coupled" not in found.laws
    assert "needs 3 different N, there are 2" in found.left_out["coupled"]


def test_a_table_without_split_is_cut_by_compute_and_keeps_budgets_whole():
    cut = cut_by_compute(validate(grid()))
    held, known = cut[cut["split"] == "heldout"], cut[cut["split"] == "fit"]
    assert held["C"].min() > known["C"].max()
    assert len(held) == 6  # the dearest of four budgets


def test_backtest_of_a_known_world():
    task = backtest("world", grid(sizes=8))
    assert (task.fitted, task.heldout) == (24, 8)
    assert task.error < 0.01
    assert task.cover90 >= 0.75
    assert task.decades == pytest.approx(np.log10(4))
    assert not task.refused


def test_a_refusal_is_a_result():
    runs = grid(sizes=2).iloc[:6]
    task = backtest("small", runs)
    assert "too few" in task.refused
    assert summary([task])["refused"] == 1
    with pytest.raises(InputError, match="loss"):
        backtest("wrong", runs.assign(loss=-1.0))


def test_summary_is_of_the_tasks_that_were_forecast():
    made = {"cover50": 0.5, "cover90": 1.0, "half_width90": 0.02, "seconds": 2.0}
    tasks = [Task("a", 9, 1, error=0.01, **made), Task("b", 9, 1, error=0.03, **made)]
    total = summary([*tasks, Task("c", 3, 1, refused="too few", seconds=1.0)])
    assert total["median_error"] == pytest.approx(0.02)
    assert (total["tasks"], total["refused"], total["seconds"]) == (3, 1, 5.0)
    apart = [dataclasses.replace(task, source=task.name) for task in tasks]
    assert [each["median_error"] for each in by_source(apart).values()] == [0.01, 0.03]


def run(*arguments):
    return verbs.call("scaling.backtest", *arguments)


def test_command_line(tmp_path):
    grid().to_csv(tmp_path / "one.csv", index=False)
    grid().drop(columns="loss").to_csv(tmp_path / "broken.csv", index=False)
    done = run(f"--runs={tmp_path}/one.csv", f"--out={tmp_path}/out.json", "--law=tied")
    assert done.returncode == 0, done.stderr
    assert "median |error|" in done.stdout
    assert done.stderr.startswith("1/1 one: |error|")
    # A table that cannot be read costs the exit code and no other table's result.
    both = run(f"--runs={tmp_path}/*.csv", f"--out={tmp_path}/both.json", "--law=tied")
    assert both.returncode == 1
    broken, one = json.loads((tmp_path / "both.json").read_text())["tasks"]
    assert "loss" in broken["refused"]
    assert one | {"seconds": 0} == json.loads((tmp_path / "out.json").read_text())["tasks"][0] | {
        "seconds": 0
    }
    missing = run(f"--runs={tmp_path}/*.txt")
    assert missing.returncode == 2
    assert missing.stderr.startswith("error: --runs")
    assert missing.stderr.count("\n") == 1
