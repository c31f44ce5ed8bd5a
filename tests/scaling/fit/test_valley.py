"""Best settings read off a whole sweep."""

import numpy as np
import pandas as pd
import pytest

from scaling.fit.fitting import fit
from tests.scaling.fit.test_fitting import surface
from train.cli import InputError


def sweep(seed=0):
    """Losses of a grid of rates and batches around a known best setting of each N and D."""
    rows = []
    for N in (1e8, 3e8, 1e9):
        for D in (2e9, 8e9):
            best, most = 1.79 * N**-0.713 * D**0.307, 0.58 * D**0.571
            for rate in best * 2.0 ** np.arange(-3.3, 3):
                for batch in most * 2.0 ** np.arange(-2.6, 3):
                    r, q = np.log(rate / best), np.log(batch / most)
                    height = 0.004 * r**2 + 0.003 * q**2 - 0.003 * r * q
                    rows.append((N, D, rate, batch, surface(N, D) * np.exp(height)))
    runs = pd.DataFrame(rows, columns=["N", "D", "lr", "batch", "loss"])
    return runs.assign(loss=runs["loss"] * (1 + 1e-5 * np.random.default_rng(seed).normal()))


def test_a_whole_sweep_is_fitted_at_its_best_rates():
    found = fit(sweep(), "step_lr", bootstrap=0, starts=32)
    assert found.n == 6
    assert found.params == pytest.approx({"K": 1.79, "a": -0.713, "b": 0.307}, rel=1e-4)
    assert any("regret" in line and "0.000% at most" in line for line in found.diagnostics.warnings)
    # The lowest run of a cell whose valley lies outside its grid stands for it, aloud.
    few = sweep().query("lr > 1.1 * 1.79 * N ** -0.713 * D ** 0.307 or N > 2e8")
    found = fit(few, "step_batch", bootstrap=0, starts=32)
    assert any("2 of them have no lowest point" in line for line in found.diagnostics.warnings)
    with pytest.raises(InputError, match="--loss tells which is best"):
        fit(sweep().drop(columns="loss"), "step_lr", bootstrap=0)
