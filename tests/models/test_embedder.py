import flax.linen as nn
import jax
import numpy as np
import pytest

from models import embedder
from models.layers import residual
from tests.models.layers.test_convolution import images

VALUES = {
    "stages": 2,
    "width": 4,
    "norm": "group",
    "dtype": "float32",
    "stem": 1,
    "blocks": 1,
    "dimension": 5,
    "identities": 3,
}


def made():
    model, x = embedder.Model(embedder.Config(**VALUES)), images((2, 3, 2, 8, 8, 3))
    return model, x, model.init(jax.random.key(0), {"image": x})


def test_an_embedding_is_what_the_trunk_sees_on_a_sphere():
    model, x, boxed = made()
    variables = jax.tree.map(np.asarray, nn.meta.unbox(boxed))
    found = model.apply(variables, {"image": x})
    params = variables["params"]

    class Trunk(nn.Module):
        @nn.compact
        def __call__(self, image):
            return residual.trunk(model.config, image, False)

    seen = np.asarray(Trunk().apply({"params": params}, x.reshape(12, 8, 8, 3))).reshape(12, -1)
    z = seen @ params["projection"]["kernel"] + params["projection"]["bias"]
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    np.testing.assert_allclose(found["embedding"].reshape(12, 5), z, rtol=1e-4, atol=1e-5)
    rows = params["head"] / np.linalg.norm(params["head"], axis=0)
    np.testing.assert_allclose(found["cosine"].reshape(12, 3), z @ rows, rtol=1e-4, atol=1e-5)


def test_no_image_looks_at_another():
    model, x, variables = made()
    other = np.concatenate([x[:, :1], 5 * x[:, 1:]], axis=1)
    one, two = (model.apply(variables, {"image": i}, train=True)["embedding"] for i in (x, other))
    np.testing.assert_array_equal(one[:, 0], two[:, 0])
    assert not np.array_equal(one[:, 1], two[:, 1])


def test_the_axes_of_all_parameters_have_names():
    boxes = jax.tree.leaves(
        made()[2]["params"], is_leaf=lambda x: isinstance(x, nn.LogicallyPartitioned)
    )
    assert all(isinstance(box, nn.LogicallyPartitioned) for box in boxes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"norm": "batch"}, "norm: 'batch'; with it images look at others"),
        ({"width": 7}, "width: 7; with norm 'group' a multiple of 2"),
        ({"dimension": 1}, "dimension: 1; must be at least 2"),
        ({"identities": -1}, "identities: -1; must be at least 0"),
    ],
)
def test_what_a_config_cannot_be(changes, said):
    with pytest.raises(ValueError, match=said):
        embedder.Config(**VALUES | changes)


def test_what_does_not_fit():
    with pytest.raises(ValueError, match="stem: 1; each halves the image, which is 1x8x3"):
        embedder.Config(**VALUES).fits({"shape": (1, 8, 3), "train_identities": 3})
    with pytest.raises(ValueError, match=r"identities: 3; must be 0 \(none\) or at least 4"):
        embedder.Config(**VALUES).fits({"shape": (8, 8, 3), "train_identities": 4})
