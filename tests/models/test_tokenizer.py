import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import tokenizer

CONFIG = tokenizer.Config(side=12, channels=3, patch=4, width=6, blocks=2, levels=(4, 3, 5))


def test_numbers_are_rounded_to_their_levels_and_gradients_are_those_of_the_bound():
    z = jnp.linspace(-9, 9, 601)[:, None] * jnp.ones((1, 3))
    found = np.asarray(tokenizer.quantize(z, CONFIG.levels))
    wanted = ([-1, -0.5, 0, 0.5], [-1, 0, 1], [-1, -0.5, 0, 0.5, 1])
    for column, levels in zip(found.T, wanted):
        assert np.unique(column).tolist() == levels
        assert (np.diff(column) >= 0).all()
    # 0 is in the middle of the level that is 0, where there is one: nothing is dead at the start.
    assert not found[300].any()
    # Of an odd number of levels: half of tanh's range over half the number.
    slope = jax.grad(lambda x: tokenizer.quantize(x, (5,))[0])(jnp.array([0.3]))
    assert slope[0] == pytest.approx((1 - np.tanh(0.3) ** 2) * 2 * 1.001 / 2, rel=1e-5)


def test_a_code_is_a_number_in_mixed_radix():
    digits = np.stack(np.unravel_index(np.arange(60), (5, 3, 4)))[::-1].T  # the first counts least
    z = (digits - np.array([2, 1, 2])) / np.array([2, 1, 2])
    assert tokenizer.number(jnp.asarray(z), CONFIG.levels).tolist() == list(range(60))


def test_patches_are_put_together_again():
    image = jax.random.normal(jax.random.key(0), (2, 12, 12, 3))
    parts = tokenizer.patches(image, 4)
    assert parts[1, 2, 0].tolist() == image[1, 8:12, 0:4].ravel().tolist()
    assert (tokenizer.whole(parts, 4) == image).all()


def test_a_far_part_of_an_image_changes_no_code():
    model = tokenizer.Model(dataclasses.replace(CONFIG, side=40))
    image = jax.random.uniform(jax.random.key(0), (1, 40, 40, 3))
    variables = nn.meta.unbox(jax.jit(model.init)(jax.random.key(1), {"image": image}))
    # At the start the second convolutions are 0: a code is of its patch alone.
    codes = model.apply(variables, {"image": image})[1]
    other = model.apply(variables, {"image": image.at[:, 36:].set(0.0)})[1]
    assert (codes[:, :9] == other[:, :9]).all()
    assert (codes[:, 9] != other[:, 9]).any()
    assert codes.shape == (1, 10, 10)
    assert int(codes.max()) < 60


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"side": 10}, "side: 10; must be a multiple of patch, 4"),
        ({"levels": (8, 1)}, "levels: .*each at least 2"),
        ({"levels": (256, 257)}, "levels: .*up to 65536"),
        ({"width": 0}, "width: 0; must be at least 1"),
    ],
)
def test_bad_configs_say_why(changes, said):
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(CONFIG, **changes)


def test_images_of_another_size_are_refused():
    with pytest.raises(ValueError, match="side: 12; the data's images are 32x32x3"):
        CONFIG.fits({"shape": (32, 32, 3)})
