import functools

import flax.linen as nn
import jax
import numpy as np
import pytest

from models import gan
from tests.models.layers.test_convolution import images, reference

VALUES = {"side": 8, "channels": 3, "width": 4, "latent": 5, "average": 0.0}
KEYS = jax.random.split(jax.random.key(1), 3)


def made(**changes):
    """A model, and variables that are no longer those of the start."""
    model = gan.Model(gan.Config(**VALUES | changes))
    variables = nn.meta.unbox(model.init(jax.random.key(0), {"image": images((1, 8, 8, 3))}))
    leaves, tree = jax.tree.flatten(variables)
    moved = [leaf + 0.1 * images(leaf.shape, i) for i, leaf in enumerate(leaves)]
    return model, jax.tree.unflatten(tree, moved)


def active(x):
    return np.where(x > 0, x, 0.2 * x)


def convolved(x, own):
    return reference(x, own["kernel"]) + own["bias"]


def block(x, own):
    return x + convolved(active(convolved(active(x), own["first"])), own["second"])


def test_a_critic_is_what_its_layers_are_one_by_one():
    model, variables = made()
    own, x = jax.tree.map(np.asarray, variables["params"]["critic"]), images((2, 8, 8, 3))
    h = block(convolved(gan.reduced(x), own["pixels"]), own["half"])
    h = block(convolved(gan.reduced(active(h)), own["smaller"]), own["quarter"])
    y = active(h).reshape(2, -1) @ own["last"]["kernel"] + own["last"]["bias"]
    found = model.apply(variables, x, method="judge")
    np.testing.assert_allclose(found, y[:, 0], rtol=1e-4, atol=1e-4)


def test_a_generator_is_what_its_layers_are_one_by_one():
    model, variables = made()
    own = jax.tree.map(np.asarray, variables["params"]["generator"])
    z = np.stack([jax.random.normal(key, (5,)) for key in KEYS])
    h = (z @ own["first"]["kernel"] + own["first"]["bias"]).reshape(3, 2, 2, 8)
    h = np.asarray(gan.enlarged(convolved(active(block(h, own["quarter"])), own["larger"])))
    x = gan.enlarged(convolved(active(block(h, own["half"])), own["pixels"]))
    found = model.apply(variables, KEYS, method="make")
    assert found.shape == (3, 8, 8, 3)
    np.testing.assert_allclose(found, x, rtol=1e-4, atol=1e-4)


def test_pixels_are_dealt_out_to_channels_and_back():
    x = images((2, 6, 4, 3))
    small = gan.reduced(x)
    for i, j in np.ndindex(2, 2):
        place = 3 * (2 * i + j)
        np.testing.assert_array_equal(small[..., place : place + 3], x[:, i::2, j::2])
    np.testing.assert_array_equal(gan.enlarged(small), x)


def test_no_row_sees_another_and_a_key_makes_one_image():
    model, variables = made()
    together = model.apply(variables, KEYS, method="make")
    alone = model.apply(variables, KEYS[1:2], method="make")
    np.testing.assert_allclose(together[1:2], alone, rtol=1e-5, atol=1e-5)
    assert np.abs(together[0] - together[1]).max() > 0.1
    said = model.apply(variables, together, method="judge")
    again = model.apply(variables, alone, method="judge")
    np.testing.assert_allclose(said[1:2], again, rtol=1e-5, atol=1e-5)


def test_a_block_is_its_short_cut_at_the_start():
    x = images((2, 4, 4, 3))
    found, _ = gan.Block(3).init_with_output(jax.random.key(0), x)
    np.testing.assert_array_equal(found, x)


def test_players_are_the_two_halves_and_the_axes_of_their_parameters_have_names():
    model = gan.Model(gan.Config(**VALUES))
    params = model.init(jax.random.key(0), {"image": images((1, 8, 8, 3))})["params"]
    assert set(params) == {"generator", "critic"}
    boxes = jax.tree.leaves(params, is_leaf=lambda x: isinstance(x, nn.LogicallyPartitioned))
    assert all(isinstance(box, nn.LogicallyPartitioned) for box in boxes)
    # Width 4, 8 at a quarter: dense layers, convolutions of 3 x 3, biases.
    quarter, half = 2 * (9 * 8 * 8 + 8), 2 * (9 * 4 * 4 + 4)
    generator = 6 * 32 + quarter + (9 * 8 * 16 + 16) + half + (9 * 4 * 12 + 12)
    critic = (9 * 12 * 4 + 4) + half + (9 * 16 * 8 + 8) + quarter + (32 + 1)
    assert sum(box.value.size for box in boxes) == generator + critic


def test_what_does_not_fit():
    with pytest.raises(ValueError, match="latent: 0; must be at least 1"):
        gan.Config(**VALUES | {"latent": 0})
    with pytest.raises(ValueError, match="side: 30; must be a multiple of 4"):
        gan.Config(**VALUES | {"side": 30})
    gan.Config(**VALUES).fits({"shape": (8, 8, 3)})
    with pytest.raises(ValueError, match="channels: 3; the data's images are 8x8x1"):
        gan.Config(**VALUES).fits({"shape": (8, 8, 1)})


def test_images_are_made_by_the_average_of_the_generator_and_in_training_by_itself():
    model = gan.Model(gan.Config(**VALUES | {"average": 0.75}))
    begun = nn.meta.unbox(jax.jit(model.init)(jax.random.key(0), {}))
    params, kept = begun["params"], {"average": begun["average"]}
    jax.tree.map(np.testing.assert_array_equal, kept["average"]["generator"], params["generator"])
    moved = jax.tree.map(lambda w: w + 1, params)

    @jax.jit
    def taught(params, kept):
        made = {"method": "make", "train": True, "mutable": ["average"]}
        return model.apply({"params": params} | kept, KEYS, **made)

    image, kept = taught(moved, kept)
    image, kept = taught(moved, kept)
    mean = jax.tree.map(lambda w: w + (1 - 0.75**2), params["generator"])
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    jax.tree.map(close, kept["average"]["generator"], mean)
    plain = gan.Model(gan.Config(**VALUES))
    make = jax.jit(lambda params: plain.apply({"params": params}, KEYS, method="make"))
    close(image, make(moved))
    found = jax.jit(lambda v: model.apply(v, KEYS, method="make"))({"params": moved} | kept)
    close(found, make(moved | {"generator": mean}))


def test_an_average_keeps_a_share():
    with pytest.raises(ValueError, match=r"average: 1\.0; must be in \[0, 1\)"):
        gan.Config(**VALUES | {"average": 1.0})
