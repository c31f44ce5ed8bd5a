import flax.linen as nn
import jax
import numpy as np
import pytest
from scipy import special

from models import vit
from models.layers import transformer
from tests.models.layers.test_convolution import images

VALUES = {
    "classes": 3,
    "patch": 2,
    "layers": 2,
    "width": 8,
    "heads": 2,
    "hidden": 12,
    "pool": "mean",
    "activation": "gelu",
    "qk_norm": True,
    "dropout": 0.0,
    "remat": "full",
    "dtype": "float32",
}


def built(**changes):
    """A model, images, and parameters of which none is as it starts: the head starts at 0."""
    model, x = vit.Model(vit.Config(**VALUES | changes)), images((2, 4, 6, 1))
    variables = nn.meta.unbox(jax.jit(model.init)(jax.random.key(0), {"image": x}))
    leaves, tree = jax.tree.flatten(variables)
    moved = [leaf + 0.1 * images(leaf.shape, i) for i, leaf in enumerate(leaves)]
    return model, x, jax.tree.unflatten(tree, moved)


def normed(x, weights):
    return x / np.sqrt(np.mean(x**2, -1, keepdims=True) + 1e-6) * weights["scale"]


def attended(q_HxLxK, k_HxMxK, v_HxMxK):
    scores = np.einsum("hlk,hmk->hlm", q_HxLxK, k_HxMxK) / q_HxLxK.shape[-1] ** 0.5
    return np.einsum("hlm,hmk->lhk", special.softmax(scores, axis=-1), v_HxMxK)


def block(x_LxD, w):
    y = normed(x_LxD, w["attention_norm"])
    q, k, v = (np.einsum("ld,dhk->hlk", y, w["attention"][n]) for n in ("query", "key", "value"))
    q, k = (normed(z, w["attention"][f"{n}_norm"]) for n, z in (("query", q), ("key", k)))
    x_LxD = x_LxD + np.einsum("lhk,hkd->ld", attended(q, k, v), w["attention"]["out"])
    return x_LxD + perceptron(normed(x_LxD, w["mlp_norm"]), w["mlp"])


def perceptron(x, w):
    return np.asarray(nn.gelu(x @ w["in"])) @ w["out"]


@pytest.mark.parametrize("pool", vit.POOLS)
def test_a_pass_is_what_its_layers_are_one_by_one(pool):
    model, x, variables = built(pool=pool)
    p = jax.tree.map(np.asarray, variables["params"])
    for image, found in zip(x, jax.jit(model.apply)(variables, {"image": x})):
        places = [(r, c) for r in range(2) for c in range(3)]
        seen = [image[2 * r : 2 * r + 2, 2 * c : 2 * c + 2].ravel() for r, c in places]
        h = np.stack(seen) @ p["patch"] + np.asarray(vit.sines(2, 3, 8))
        for i in range(2):
            h = block(h, jax.tree.map(lambda w, i=i: w[i], p["blocks"]))
        h = normed(h, p["out_norm"])
        if pool == "query":
            k, v = (np.einsum("ld,dhk->hlk", h, p["pool"][n]) for n in ("key", "value"))
            y = attended(p["pool"]["query"][:, None], k, v)
            y = np.einsum("lhk,hkd->ld", y, p["pool"]["out"])
            h = y + perceptron(normed(y, p["pool"]["norm"]), p["pool"]["mlp"])
        logits = h.mean(axis=0) @ p["head"]["kernel"] + p["head"]["bias"]
        np.testing.assert_allclose(found, logits, rtol=1e-4, atol=1e-4)


def test_places_are_told_by_row_and_by_column():
    found = np.asarray(vit.sines(2, 3, 8)).reshape(2, 3, 4, 2)
    for row, column in np.ndindex(2, 3):
        for wave, turn in enumerate((1.0, 1e-4)):
            told = [f(place * turn) for place in (column, row) for f in (np.sin, np.cos)]
            np.testing.assert_allclose(found[row, column, :, wave], told, rtol=1e-5)


def test_patches_may_change_places_where_no_place_is_told(monkeypatch):
    monkeypatch.setattr(vit, "sines", lambda rows, columns, width: np.zeros((6, width)))
    model, x, variables = built()
    other = np.concatenate([x[:, 2:], x[:, :2]], axis=1)
    apply = jax.jit(model.apply)
    a, b = (apply(variables, {"image": given}) for given in (x, other))
    np.testing.assert_allclose(a, b, rtol=1e-5)


def test_without_a_base_positions_are_not_turned():
    x = images((1, 3, 8))
    shape = vit.Model(vit.Config(**VALUES)).shape()
    attention = transformer.Attention(shape)
    params = jax.jit(attention.init)(jax.random.key(0), x)
    apply = jax.jit(attention.apply)
    a, b = (apply(params, given)[0] for given in (x, x[:, ::-1]))
    np.testing.assert_allclose(a, b[:, ::-1], rtol=1e-5, atol=1e-6)


def test_all_classes_are_as_likely_at_first():
    model = vit.Model(vit.Config(**VALUES))
    start = jax.jit(model.init_with_output)
    logits, _ = start(jax.random.key(0), {"image": images((2, 4, 4, 1))})
    np.testing.assert_array_equal(logits, np.zeros((2, 3)))


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("classes", 1, "at least 2"),
        ("patch", 0, "at least 1"),
        ("pool", "max", "allowed: mean, query"),
        ("heads", 3, "width 8 / heads"),
        ("layers", 0, "at least 1"),
    ],
)
def test_a_bad_field_is_named(field, value, says):
    with pytest.raises(ValueError, match=f"{field}.*{says}"):
        vit.Config(**VALUES | {field: value})


def test_width_is_shared_by_four_kinds_of_waves():
    with pytest.raises(ValueError, match="width: 6; must be a multiple of 4"):
        vit.Config(**VALUES | {"width": 6, "heads": 1})


def test_images_are_whole_patches():
    config = vit.Config(**VALUES)
    config.fits({"shape": (4, 6, 1)})
    with pytest.raises(ValueError, match="patch: 2; must divide the sides of an image of 4x5x1"):
        config.fits({"shape": (4, 5, 1)})
