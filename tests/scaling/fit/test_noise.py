"""The objective that follows the noise."""

import numpy as np
import pytest

from scaling.fit.fitting import fit
from scaling.fit.noise import objective_for
from tests.scaling.fit.test_fitting import study


@pytest.mark.slow
def test_the_objective_follows_the_noise():
    runs, kept = study(noise=0.01), {"bootstrap": 0, "starts": 16}
    robust = fit(runs, **kept)
    assert fit(runs, objective="auto", **kept).objective == objective_for(robust.residuals)
    rng = np.random.default_rng(0)
    assert objective_for(0.01 * rng.standard_normal(400)).name == "mse_log"
    outliers = objective_for(0.01 * rng.standard_t(1.5, 400))
    assert outliers.name == "huber_log"
    assert 0.003 < outliers.delta < 0.03
