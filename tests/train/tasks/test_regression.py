import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics

from train import evaluation, tasks
from train.tasks import regression

SAID, TRUE = np.random.default_rng(0).normal(size=(2, 40)).astype(np.float32)
BATCH = {"y": jnp.asarray(TRUE), "weight": jnp.asarray(np.arange(40) < 30, jnp.float32)}


def test_errors_are_those_of_an_independent_count():
    found = regression.losses(regression.Config(), lambda batch: SAID, BATCH, None)
    np.testing.assert_array_equal(found.objective, found.sums["loss"])
    sums = {name: np.asarray(x) for name, x in found.sums.items()}
    units = np.asarray(found.units)
    measured = evaluation.metrics(
        tasks.load("regression"), regression.Config(), {}, sums, units, None
    )
    true, said = TRUE[:30], SAID[:30]
    expected = {
        "loss": metrics.mean_squared_error(true, said),
        "mae": metrics.mean_absolute_error(true, said),
        "rmse": metrics.root_mean_squared_error(true, said),
    }
    assert {name: value for name, (value, _) in measured.items()} == pytest.approx(expected)
    # To first order, the error of a root is that of its square over twice the root.
    first = measured["loss"][1] / 2 / expected["rmse"]
    assert measured["rmse"][1] == pytest.approx(first, rel=0.02)


def test_what_the_model_says_is_kept():
    kept = regression.examine(regression.Config(), lambda batch: SAID, BATCH, None)
    np.testing.assert_array_equal(kept["prediction"], SAID)
