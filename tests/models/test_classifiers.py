"""Texts told apart: the last state of lstm_classifier, the mean of bert_classifier."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import bert_classifier, lstm_classifier
from train import accounting

B, L, V, D = 3, 7, 11, 8
LSTM = {"vocab_size": V, "classes": 2, "layers": 2, "width": D, "dropout": 0.0, "dtype": "float32"}
BERT = LSTM | {
    "shared": False,
    "embedding_width": 0,
    "positions": "rotary",
    "length": L,
    "heads": 2,
    "hidden": 16,
    "activation": "gelu",
    "remat": "none",
}


def batch() -> dict[str, jax.Array]:
    """Texts of 7, 4 and 1 tokens."""
    tokens = jax.random.randint(jax.random.key(0), (B, L), 1, V)
    return {"tokens": tokens.at[1, 4:].set(0).at[2, 1:].set(0)}


@functools.cache
def made(family: str, **changes):
    """A model, and variables with a head that tells classes apart."""
    module, values = (lstm_classifier, LSTM) if family == "lstm" else (bert_classifier, BERT)
    model = module.Model(module.Config(**values | changes))
    params = nn.meta.unbox(jax.jit(model.init)(jax.random.key(1), batch()))["params"]
    first = params["head"]["kernel"]
    np.testing.assert_array_equal(first, 0)
    params["head"]["kernel"] = jax.random.normal(jax.random.key(2), first.shape)
    return model, {"params": params}, jax.jit(model.apply)


@pytest.mark.parametrize("family", ["lstm", "bert"])
def test_padding_makes_no_difference(family):
    _, variables, apply = made(family)
    long = {"tokens": jnp.pad(batch()["tokens"], ((0, 0), (0, 5)))}
    a, b = apply(variables, batch()), apply(variables, long)
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    short = {"tokens": batch()["tokens"][1:2, :4]}
    np.testing.assert_allclose(apply(variables, short), a[1:2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", ["lstm", "bert"])
def test_every_token_and_their_order_count(family):
    _, variables, apply = made(family)
    before, tokens = apply(variables, batch()), batch()["tokens"]
    for t in range(L):
        changed = tokens.at[0, t].set(tokens[0, t] % (V - 1) + 1)
        after = apply(variables, {"tokens": changed})
        assert np.all(after[0] != before[0])
        np.testing.assert_array_equal(after[1:], before[1:])
    back = apply(variables, {"tokens": tokens[:1, ::-1]})
    assert np.all(np.abs(back - before[:1]) > 1e-4)


def test_an_empty_text_has_no_nan():
    for family in ("lstm", "bert"):
        _, variables, apply = made(family)
        assert np.isfinite(apply(variables, {"tokens": jnp.zeros((B, L), jnp.int32)})).all()


@pytest.mark.parametrize("family", ["lstm", "bert"])
def test_the_axes_of_all_parameters_have_names(family):
    model, _, _ = made(family)
    params = jax.eval_shape(model.init, jax.random.key(0), batch())["params"]
    boxes = jax.tree.leaves(params, is_leaf=lambda x: isinstance(x, nn.LogicallyPartitioned))
    assert all(isinstance(box, nn.LogicallyPartitioned) for box in boxes)
    N = accounting.count_parameters(params)
    assert (N["embedding"], N["head"]) == (V * D, 2 * D + 2)


@pytest.mark.parametrize(
    ("family", "field", "value", "says"),
    [
        ("lstm", "classes", 1, "at least 2"),
        ("lstm", "dtype", "float8", "float32, bfloat16"),
        ("lstm", "dropout", 1.0, r"\[0, 1\)"),
        ("bert", "classes", 1, "at least 2"),
        ("bert", "positions", "sines", "rotary, learned"),
        ("bert", "embedding_width", -1, "or more"),
    ],
)
def test_a_bad_field_is_named(family, field, value, says):
    with pytest.raises(ValueError, match=f"{field}.*{says}"):
        made(family, **{field: value})
