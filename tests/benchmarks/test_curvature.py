from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from benchmarks import curvature

C = 0.1


def bowl(N, best):
    return 2 * np.exp(C * np.log(N / best) ** 2)


def test_parabolas_of_runs_have_their_curvature():
    sizes = np.array([100, 200, 400, 800])
    parts = [
        pd.DataFrame({"N": sizes, "C": budget * (1 + 0.01 * np.arange(4)), "loss": bowl(sizes, at)})
        for budget, at in ((1e9, 180), (2e9, 260), (4e9, 390))
    ]
    np.testing.assert_allclose(curvature.curvature(pd.concat(parts)), C, rtol=1e-9)
    parts[1]["loss"] = bowl(sizes, 260) ** 2  # of two, and of one twice as curved
    low, mean, high = curvature.curvature(pd.concat(parts))
    assert mean == pytest.approx(C * 4 / 3)
    assert low < C < high
    assert np.isnan(curvature.curvature(parts[0])[0])


def test_what_a_wrong_size_costs_is_read_off_the_law():
    best = np.array([[900.0], [1000.0]])
    fit = SimpleNamespace(
        flops_per_nd=6.0,
        predict=lambda N, D: bowl(N, 1000.0),
        predict_draws=lambda N, D: bowl(N[None], best),
    )
    for cost in curvature.costs(fit, 6e6):
        np.testing.assert_allclose(cost, np.exp(C * np.log(4) ** 2) - 1, rtol=0.05)
    assert curvature.interval(np.array([0.2, *np.linspace(0, 1, 101)])) == "20.0% (5.0% to 95.0%)"
