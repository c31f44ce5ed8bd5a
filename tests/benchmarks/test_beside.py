"""Two laws and two runs side by side."""

import numpy as np
import pandas as pd
import pytest

from benchmarks import beside
from scaling.fit.fitting import fit


def table(factor: float) -> pd.DataFrame:
    """Runs that take `factor` times the compute of others for the same loss."""
    N, D = (x.ravel() for x in np.meshgrid(np.geomspace(1e4, 1e6, 5), np.geomspace(1e6, 1e8, 5)))
    loss = 1.5 + 60 * N**-0.4 + 200 * D**-0.4
    return pd.DataFrame({"N": N, "D": D * factor, "C": 6 * N * D * factor, "loss": loss})


def test_a_model_that_takes_three_times_the_data_takes_three_times_the_compute():
    """And not less: both are spent at their own best size."""
    few = {"starts": 16, "bootstrap": 8}
    a, b = (fit(table(factor), **few) for factor in (1.0, 3.0))
    # B is 3^.4 times as large: at the best size compute rises by 3^(.4 (1/.4 + 1/.4) / 2).
    ratio, ends = beside.multiplier(a, b, np.array([1e12, 1e13]))
    np.testing.assert_allclose(ratio, 3.0, rtol=0.03)
    assert (ends[:, 0] <= ratio * 1.03).all()
    assert (ends[:, 1] >= ratio * 0.97).all()


def test_what_lies_beyond_the_grid_is_not_known():
    curve, grid = np.array([3.0, 2.0, np.nan]), np.array([1.0, 10.0, 100.0])
    assert beside._at(2.5, curve, grid) == pytest.approx(10**0.5)
    assert np.isnan(beside._at(1.0, curve, grid))


def test_where_more_tokens_before_one_no_longer_help():
    rng = np.random.default_rng(0)
    falls_until_8 = np.minimum(np.arange(1, 65), 8.0) ** -0.5
    nats = falls_until_8 + 0.1 * rng.normal(size=(400, 64))
    mean, error = beside.positions(nats)
    np.testing.assert_allclose(mean, falls_until_8, atol=5 * 0.1 / 20)
    np.testing.assert_allclose(error, 0.1 / 20, rtol=0.2)
    # The stretch from 9 to 16 is lower than that from 5 to 8, which still fell.
    assert beside.gains_until(nats) == 16
    assert [end for end, _ in beside.stretches(nats)] == [1, 2, 4, 8, 16, 32, 64]
    assert beside.gains_until(rng.normal(size=(400, 64))) < 64
