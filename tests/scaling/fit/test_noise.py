"""The objective that follows the noise."""

import numpy as np
import pytest

from scaling.fit.fitting import fit
from scaling.fit.noise import better, objective_for
from scaling.fit.solve import Objective
from tests.scaling.fit.test_fitting import study


def test_the_objective_follows_the_noise():
    runs, kept = study(noise=0.01), {"bootstrap": 0, "starts": 16}
    robust = fit(runs, **kept)
    chosen = objective_for(robust.residuals, len(robust.params))
    assert fit(runs, objective="auto", **kept).objective == chosen
    assert chosen.name == "mse_log"
    held = {"alpha": robust.params["alpha"]}
    assert fit(runs, objective="auto", fixed=held, **kept).objective == chosen


@pytest.mark.parametrize("count", [14, 40, 400])
def test_gaussian_noise_is_seldom_taken_for_another(count):
    rng = np.random.default_rng(0)
    drawn = 0.01 * rng.standard_normal((40, count))
    assert sum(objective_for(r, 0).name == "huber_log" for r in drawn) <= 2


def test_outliers_are_found_and_how_far_they_lie():
    rng = np.random.default_rng(0)
    found = objective_for(0.01 * rng.standard_t(1.5, 400), 0)
    assert found.name == "huber_log"
    assert 0.003 < found.delta < 0.03
    few = [objective_for(r, 0).name for r in 0.01 * rng.standard_t(1.5, (40, 40))]
    assert few.count("huber_log") > 25


def test_what_a_robust_fit_goes_through_is_no_peak():
    rng = np.random.default_rng(1)
    through = np.concatenate([np.zeros(12), 0.01 * rng.standard_normal(28)])
    assert objective_for(through, 12).name == "mse_log"
    assert objective_for(through, 0).name == "huber_log"


def test_another_objective_is_named_where_it_is_clearly_better_alone():
    rng = np.random.default_rng(2)
    gaussian, outliers = 0.01 * rng.standard_normal(400), 0.01 * rng.standard_t(1.5, 400)
    assert better(gaussian, 4, Objective()).name == "mse_log"
    assert better(gaussian, 4, Objective("mse_log")) is None
    assert better(outliers, 4, Objective("mse_log")) == objective_for(outliers, 4)
    assert better(outliers, 4, Objective("quantile")) is None
    # Of a double exponential the median, which a tiny delta finds, is the best estimate there is.
    doubles = [better(0.01 * rng.laplace(size=100), 0, Objective()) for _ in range(20)]
    assert sum(found is not None for found in doubles) <= 2
