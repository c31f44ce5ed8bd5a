import flax.linen as nn
import jax
import numpy as np
import pytest

from models import driver
from tests.models import test_vit
from tests.models.layers.test_convolution import images

VALUES = {name: x for name, x in test_vit.VALUES.items() if name not in ("patch", "pool")}


@pytest.fixture(scope="module")
def built():
    """A model applied, cars, and parameters of which none is as it starts: the head starts at 0."""
    model, cars = driver.Model(driver.Config(**VALUES)), images((2, 5, 6))
    variables = nn.meta.unbox(jax.jit(model.init)(jax.random.key(0), {"cars": cars}))
    leaves, tree = jax.tree.flatten(variables)
    moved = [leaf + 0.1 * images(leaf.shape, i) for i, leaf in enumerate(leaves)]
    return jax.jit(model.apply), cars, jax.tree.unflatten(tree, moved)


def test_a_pass_is_what_its_layers_are_one_by_one(built):
    apply, cars, variables = built
    p = jax.tree.map(np.asarray, variables["params"])
    for seen, found in zip(cars, apply(variables, {"cars": cars})):
        h = np.asarray(seen) @ p["cars"] + p["shift"]
        for i in range(2):
            h = test_vit.block(h, jax.tree.map(lambda w, i=i: w[i], p["blocks"]))
        own = test_vit.normed(h, p["out_norm"])[0]
        logits = own @ p["head"]["kernel"] + p["head"]["bias"]
        np.testing.assert_allclose(found, logits, rtol=1e-4, atol=1e-4)


def test_others_may_change_places_and_the_driver_may_not(built):
    apply, cars, variables = built
    first, others, swapped = (
        apply(variables, {"cars": cars[:, order]})
        for order in ([0, 1, 2, 3, 4], [0, 4, 2, 1, 3], [1, 0, 2, 3, 4])
    )
    np.testing.assert_allclose(first, others, rtol=1e-4, atol=1e-5)
    assert abs(first - swapped).max() > 1e-3


def test_all_actions_are_as_likely_at_first():
    start = jax.jit(driver.Model(driver.Config(**VALUES)).init_with_output)
    logits, _ = start(jax.random.key(0), {"cars": images((2, 5, 6))})
    np.testing.assert_array_equal(logits, np.zeros((2, 3)))


def test_a_bad_field_is_named():
    for field, value in (("classes", 1), ("layers", 0), ("heads", 3)):
        with pytest.raises(ValueError, match=f"{field}"):
            driver.Config(**VALUES | {field: value})
