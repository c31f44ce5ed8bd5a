import flax.linen as nn
import jax
import numpy as np
import pytest

from models import cnn
from tests.models.layers.test_convolution import images, reference

VALUES = {
    "classes": 3,
    "stages": 2,
    "width": 4,
    "norm": "batch",
    "dtype": "float32",
    "hidden": 6,
    "dropout": 0.0,
}


def made(shape=(2, 8, 8, 1), **changes):
    """A model, images, and variables that are no longer those of the start."""
    model, x = cnn.Model(cnn.Config(**VALUES | changes)), images(shape)
    variables = nn.meta.unbox(model.init(jax.random.key(0), {"image": x}))
    leaves, tree = jax.tree.flatten(variables)
    moved = [leaf + 0.1 * abs(images(leaf.shape, i)) for i, leaf in enumerate(leaves)]
    return model, x, jax.tree.unflatten(tree, moved)


def test_a_pass_is_what_its_layers_are_one_by_one():
    model, x, variables = made()
    params, kept = (jax.tree.map(np.asarray, variables[k]) for k in ("params", "batch_stats"))
    h = x
    for i in range(2):
        h = reference(h, params[f"convolution_{i}"]["kernel"])
        own, stats = params[f"norm_{i}"]["batch"], kept[f"norm_{i}"]["batch"]
        h = (h - stats["mean"]) / np.sqrt(stats["var"] + 1e-5) * own["scale"] + own["bias"]
        h = np.maximum(h, 0)
        B, H, W, C = h.shape
        h = h.reshape(B, H // 2, 2, W // 2, 2, C).max((2, 4))
    h = h.reshape(2, -1) @ params["hidden"]["kernel"] + params["hidden"]["bias"]
    y = np.maximum(h, 0) @ params["head"]["kernel"] + params["head"]["bias"]
    np.testing.assert_allclose(model.apply(variables, {"image": x}), y, rtol=1e-4, atol=1e-4)


def test_all_classes_are_as_likely_at_first():
    model, x = cnn.Model(cnn.Config(**VALUES)), images((2, 8, 8, 1))
    logits, _ = model.init_with_output(jax.random.key(0), {"image": x})
    np.testing.assert_array_equal(logits, np.zeros((2, 3)))


def test_the_axes_of_all_parameters_have_names():
    model = cnn.Model(cnn.Config(**VALUES))
    params = model.init(jax.random.key(0), {"image": images((1, 8, 8, 1))})["params"]
    boxes = jax.tree.leaves(params, is_leaf=lambda x: isinstance(x, nn.LogicallyPartitioned))
    assert all(isinstance(box, nn.LogicallyPartitioned) for box in boxes)
    assert sum(box.value.size for box in boxes) == (9 + 2) * 4 + (36 + 2) * 8 + 33 * 6 + 7 * 3


@pytest.mark.parametrize(("norm", "alone"), [("batch", False), ("group", True)])
def test_rows_look_at_one_another_in_training_with_batch_norm_alone(norm, alone):
    model, x, variables = made(norm=norm)
    other = np.concatenate([x[:1], 5 * x[1:]])

    def first(x, train):
        kept = [name for name in variables if train and name != "params"]
        out, _ = model.apply(variables, {"image": x}, train=train, mutable=kept)
        return out[0]

    np.testing.assert_array_equal(first(x, False), first(other, False))
    assert np.array_equal(first(x, True), first(other, True)) == alone


def test_dropout_is_for_training():
    model, x, variables = made(norm="group", dropout=0.5)
    outs = [
        model.apply(variables, {"image": x}, train=train, rngs={"dropout": jax.random.key(seed)})
        for train in (False, True)
        for seed in (0, 1)
    ]
    np.testing.assert_array_equal(outs[0], outs[1])
    assert not np.array_equal(outs[2], outs[3])


def test_what_does_not_fit():
    with pytest.raises(ValueError, match="hidden: 0; must be at least 1"):
        cnn.Config(**VALUES | {"hidden": 0})
    with pytest.raises(ValueError, match=r"dropout: 1.0; must be in \[0, 1\)"):
        cnn.Config(**VALUES | {"dropout": 1.0})
    cnn.Config(**VALUES | {"stages": 3}).fits({"shape": (8, 9, 1)})
    with pytest.raises(ValueError, match="stages: 4; each halves the image, which is 8x9x1"):
        cnn.Config(**VALUES | {"stages": 4}).fits({"shape": (8, 9, 1)})
