import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from models.layers import convolution


def images(shape, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def reference(x, kernel) -> np.ndarray:
    """The convolution of stride 1, one plane at a time."""
    planes = [
        sum(
            signal.correlate2d(image[..., i], kernel[..., i, o], "same") for i in range(x.shape[-1])
        )
        for image in x
        for o in range(kernel.shape[-1])
    ]
    out = np.stack(planes).reshape(len(x), kernel.shape[-1], *x.shape[1:3])
    return out.transpose(0, 2, 3, 1)


def test_a_convolution_is_the_sum_of_correlations_of_planes():
    x = images((2, 6, 5, 3))
    layer = convolution.Convolution(4, 3, "batch")
    made, variables = layer.init_with_output(jax.random.key(0), x)
    kernel = np.asarray(jax.tree.leaves(variables)[0])
    np.testing.assert_allclose(made, reference(x, kernel), atol=1e-5)
    strided = convolution.Convolution(4, 3, "batch", stride=2).apply(variables, x[:, :5])
    np.testing.assert_allclose(strided, reference(x[:, :5], kernel)[:, ::2, ::2], atol=1e-5)


def test_before_groups_a_kernel_is_standardised():
    x = images((2, 5, 5, 3))
    layer = convolution.Convolution(4, 3, "group")
    made, variables = layer.init_with_output(jax.random.key(0), x)
    kernel = np.asarray(jax.tree.leaves(variables)[0])
    flat = kernel.reshape(-1, 4)
    flat = (flat - flat.mean(0)) / flat.std(0)
    np.testing.assert_allclose(made, reference(x, flat.reshape(kernel.shape)), rtol=2e-4, atol=1e-4)
    moved = jax.tree.map(lambda k: 7 * k + 3, variables)
    np.testing.assert_allclose(layer.apply(moved, x), made, rtol=1e-3, atol=1e-3)


def test_batch_norm_trains_on_the_batch_and_evaluates_on_what_it_keeps():
    x = 3 + 2 * images((8, 4, 4, 4))
    layer = convolution.Norm("batch")
    variables = layer.init(jax.random.key(0), x, False)
    made, changed = layer.apply(variables, x, True, mutable=["batch_stats"])
    np.testing.assert_allclose(made.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(made.std((0, 1, 2)), 1, atol=1e-4)
    kept = changed["batch_stats"]["batch"]
    np.testing.assert_allclose(kept["mean"], 0.1 * x.mean((0, 1, 2)), rtol=1e-4)
    np.testing.assert_allclose(kept["var"], 0.9 + 0.1 * x.var((0, 1, 2)), rtol=1e-4)
    evaluated = layer.apply({**variables, **changed}, x, False)
    scale = np.sqrt(np.asarray(kept["var"]) + 1e-5)
    np.testing.assert_allclose(evaluated, (x - np.asarray(kept["mean"])) / scale, rtol=1e-4)


@pytest.mark.parametrize(("channels", "size"), [(8, 4), (6, 2)])
def test_groups_are_of_an_images_own_pixels(channels, size):
    x = 3 + 2 * images((3, 4, 4, channels))
    layer = convolution.Norm("group")
    variables = layer.init(jax.random.key(0), x, False)
    assert set(variables) == {"params"}
    made = np.asarray(layer.apply(variables, x, True)).reshape(3, 4, 4, -1, size)
    np.testing.assert_allclose(made.mean((1, 2, 4)), 0, atol=1e-5)
    np.testing.assert_allclose(made.std((1, 2, 4)), 1, atol=1e-4)


def test_halving_takes_the_largest_and_its_gradient():
    x = images((2, 5, 6, 3))
    made = convolution.halve(jnp.asarray(x))
    assert made.shape == (2, 2, 3, 3)
    for i, j in np.ndindex(2, 3):
        window = x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        np.testing.assert_array_equal(made[:, i, j], window.max((1, 2)))
    gradient = jax.grad(lambda x: convolution.halve(x).sum())(x)
    assert set(np.unique(gradient)) == {0, 1}
    assert gradient.sum() == made.size


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": 1}, "classes: 1; must be at least 2"),
        ({"stages": 0}, "stages: 0; must be at least 1"),
        ({"norm": "layer"}, "norm: 'layer'; allowed: batch, group"),
        ({"norm": "group", "width": 7}, "width: 7; with norm 'group' a multiple of 2"),
        ({"dtype": "float16"}, "dtype: 'float16'; allowed: float32, bfloat16"),
    ],
)
def test_what_no_network_can_be(changes, message):
    values = {"classes": 10, "stages": 2, "width": 8, "norm": "batch", "dtype": "float32"}
    with pytest.raises(ValueError, match=message):
        convolution.Config(**values | changes)
