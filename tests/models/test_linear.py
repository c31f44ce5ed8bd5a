import jax
import numpy as np
import pytest

from models import linear


def test_predicts_from_the_leading_features():
    model = linear.Model(linear.Config(features=2, bias=True))
    x = np.array([[1.0, 2.0, 100.0], [3.0, 4.0, -100.0]], np.float32)
    params = {"weight": np.array([10.0, 1.0], np.float32), "bias": np.array([0.5], np.float32)}
    np.testing.assert_allclose(model.apply({"params": params}, {"x": x}), [12.5, 34.5])


def test_starts_at_zero_and_counts_its_parameters():
    model = linear.Model(linear.Config(features=3, bias=False))
    params = model.init(jax.random.key(0), {"x": np.ones((1, 5), np.float32)})["params"]
    (weight,) = jax.tree.leaves(params)
    np.testing.assert_array_equal(weight, np.zeros(3))


def test_more_features_than_the_data_has():
    model = linear.Model(linear.Config(features=6, bias=False))
    with pytest.raises(ValueError, match="features: 6; the data has 5"):
        model.init(jax.random.key(0), {"x": np.ones((1, 5), np.float32)})
