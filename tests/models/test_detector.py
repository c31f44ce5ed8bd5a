import flax.linen as nn
import jax
import numpy as np
import pytest

from models import detector
from tests.models.layers.test_convolution import images

VALUES = {
    "stages": 3,
    "width": 4,
    "norm": "group",
    "dtype": "float32",
    "classes": 5,
    "blocks": 1,
    "tower": 1,
}
PLACES = 8 * 8 + 4 * 4 + 2 * 2


def made():
    model, x = detector.Model(detector.Config(**VALUES)), images((2, 32, 32, 3))
    return model, x, nn.meta.unbox(model.init(jax.random.key(0), {"image": x}))


def test_before_it_has_learnt_a_box_is_a_stride_wide_around_its_place():
    model, x, variables = made()
    found = jax.tree.map(np.asarray, model.apply(variables, {"image": x}))
    assert found["class"].shape == (2, PLACES, 5)
    assert not found["class"].any()
    np.testing.assert_allclose(1 / (1 + np.exp(-found["object"])), detector.RARE, rtol=1e-5)
    np.testing.assert_array_equal(found["stride"], [4] * 64 + [8] * 16 + [16] * 4)
    np.testing.assert_array_equal(found["centre"][[0, 1, 8, 64]], [[2, 2], [6, 2], [2, 6], [4, 4]])
    half = found["stride"][:, None] / 2
    expected = np.concatenate([found["centre"] - half, found["centre"] + half], axis=-1)
    np.testing.assert_allclose(found["box"], np.stack([expected] * 2), rtol=1e-6)


def test_what_a_head_says_is_centre_and_size_in_strides():
    model, x, variables = made()
    bias = variables["params"]["head"]["said"]["bias"]
    said = np.array([0, 0.5, -0.25, np.log(3), np.log(2)])
    variables["params"]["head"]["said"]["bias"] = bias.at[:5].set(said)
    left, top, right, bottom = np.asarray(model.apply(variables, {"image": x})["box"][0, 64])
    # Of the first place of stride 8, whose centre is 4.
    np.testing.assert_allclose([left + right, top + bottom], [2 * (4 + 4), 2 * (4 - 2)], rtol=1e-5)
    np.testing.assert_allclose([right - left, bottom - top], [24, 16], rtol=1e-5)


def test_no_image_looks_at_another_and_all_axes_have_names():
    model, x, variables = made()
    heads = variables["params"]["head"]["said"]
    heads["kernel"] = jax.random.normal(jax.random.key(1), heads["kernel"].shape)
    other = np.concatenate([x[:1], 5 * x[1:]])
    one, two = (model.apply(variables, {"image": i}, train=True)["box"] for i in (x, other))
    np.testing.assert_array_equal(one[0], two[0])
    assert not np.array_equal(one[1], two[1])
    boxes = jax.tree.leaves(
        model.init(jax.random.key(0), {"image": x})["params"],
        is_leaf=lambda box: isinstance(box, nn.LogicallyPartitioned),
    )
    assert all(isinstance(box, nn.LogicallyPartitioned) for box in boxes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stages": 2}, "stages: 2; must be 3, one a level"),
        ({"norm": "batch"}, "norm: 'batch'; levels share norms"),
        ({"tower": 0}, "tower: 0; must be at least 1"),
        ({"classes": 0}, "classes: 0; must be at least 1"),
    ],
)
def test_what_a_config_cannot_be(changes, said):
    with pytest.raises(ValueError, match=said):
        detector.Config(**VALUES | changes)


def test_what_does_not_fit():
    with pytest.raises(ValueError, match="images have sides of whole 16s, not 32x40x3"):
        detector.Config(**VALUES).fits({"shape": (32, 40, 3)})
