"""Tables of many runs: all are fitted, in time and memory that grow with them."""

import numpy as np
import pytest

from scaling.fit import bootstrap, fitting, solve
from scaling.fit.fitting import fit
from tests.scaling.fit.test_fitting import study


def test_starts_are_tried_on_a_part_and_all_runs_are_fitted(monkeypatch):
    runs = study(noise=0.01, budgets=8, sizes=10)
    whole = fit(runs, bootstrap=0, starts=32)
    monkeypatch.setattr(fitting, "MANY_RUNS", 40)
    found = fit(runs, bootstrap=0, starts=32)
    assert found.n == whole.n == 80
    for name, value in whole.params.items():
        assert found.params[name] == pytest.approx(value, rel=1e-6)
    said = "starts were tried on 40 of the runs, the best on all"
    assert said in found.diagnostics.warnings
    assert said not in whole.diagnostics.warnings
    assert 0.5 < found.diagnostics.start_share <= 1


@pytest.mark.parametrize("resample", ["pairs", "residual"])
def test_resamples_drawn_in_parts_are_those_drawn_at_once(monkeypatch, resample):
    runs = study(budgets=4, sizes=4)
    kept = {"bootstrap": 12, "starts": 8, "resample": resample}
    whole = fit(runs, **kept)
    monkeypatch.setattr(bootstrap, "_CELLS", 5 * len(runs))
    found = fit(runs, **kept)
    np.testing.assert_allclose(found.draws, whole.draws, rtol=1e-6)
    assert found.diagnostics.redrawn == whole.diagnostics.redrawn


def test_a_part_of_a_problem_has_its_rows_alone():
    runs = study(budgets=2, sizes=10)
    law = fitting.LAWS["chinchilla"]
    columns = {name: runs[name].to_numpy() for name in "ND"}
    centres = law.centres(columns | {"loss": runs["loss"].to_numpy()})
    whole = solve.make_problem(law, solve.Objective(), columns, runs["loss"].to_numpy(), centres)
    some = solve.part(whole, np.array([7, 3]))
    assert some.runs == 2
    np.testing.assert_array_equal(some.target[:2], whole.target[[7, 3]])
    np.testing.assert_array_equal(some.columns["D"][:2], whole.columns["D"][[7, 3]])
