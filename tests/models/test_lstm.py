import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import lstm
from models.layers import recurrent, transformer
from train import accounting

B, L, V, D = 2, 9, 19, 8


def config(**changes) -> lstm.Config:
    base = lstm.Config(vocab_size=V, layers=2, width=D, tied=True, dropout=0.0, dtype="float32")
    return dataclasses.replace(base, **changes)


def tokens(seed: int = 0) -> dict[str, jax.Array]:
    return {"tokens": jax.random.randint(jax.random.key(seed), (B, L), 0, V)}


@functools.cache
def begun(of: lstm.Config):
    return nn.meta.unbox(jax.jit(lstm.Model(of).init)(jax.random.key(1), tokens()))


@functools.cache
def jitted(model: lstm.Model):
    return jax.jit(model.apply, static_argnames="train")


def layer():
    """One of them, its weights no longer those of the start, and something to read."""
    made, x = recurrent.LSTM(5, jnp.float32), jax.random.normal(jax.random.key(0), (B, L, D))
    params = nn.meta.unbox(made.init(jax.random.key(1), x, None))["params"]
    params["bias"] += jax.random.normal(jax.random.key(2), params["bias"].shape)
    return made, {"params": params}, x


def test_a_layer_is_the_cell_of_flax_token_by_token():
    made, variables, x = layer()
    theirs = {}
    for place, gate in enumerate("ifgo"):
        own = {name: w[..., place, :] for name, w in variables["params"].items()}
        theirs[f"i{gate}"] = {"kernel": own["input"]}
        theirs[f"h{gate}"] = {"kernel": own["recurrent"], "bias": own["bias"]}
    cell = nn.OptimizedLSTMCell(5)
    carry, expected = cell.initialize_carry(jax.random.key(0), (B, D)), []
    for t in range(L):
        carry, y = cell.apply({"params": theirs}, carry, x[:, t])
        expected.append(y)
    found, state = made.apply(variables, x, None)
    np.testing.assert_allclose(found, np.stack(expected, axis=1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(state.cell_BxH, carry[0], rtol=1e-5, atol=1e-6)


def test_reading_goes_on_where_it_was_left():
    made, variables, x = layer()
    whole, _ = made.apply(variables, x, None)
    first, state = made.apply(variables, x[:, :4], None)
    rest, _ = made.apply(variables, x[:, 4:], state)
    np.testing.assert_allclose(np.concatenate([first, rest], axis=1), whole, rtol=1e-6, atol=1e-6)


def test_a_gate_forgets_little_at_first():
    params = recurrent.LSTM(5, jnp.float32).init(jax.random.key(1), jnp.ones((1, 1, D)), None)
    bias = nn.meta.unbox(params)["params"]["bias"]
    np.testing.assert_array_equal(bias.sum(axis=1), [0, 5, 0, 0])


def test_a_logit_sees_all_tokens_before_it_and_none_after():
    model, batch, t = lstm.Model(config()), tokens(), 4
    variables = begun(model.config)
    other = {"tokens": batch["tokens"].at[:, t].add(1) % V}
    before, after = jitted(model)(variables, batch), jitted(model)(variables, other)
    np.testing.assert_array_equal(before[:, :t], after[:, :t])
    assert np.all(np.any(before[:, t:] != after[:, t:], axis=-1))


def test_all_tokens_are_as_likely_at_first():
    model = lstm.Model(config(width=64, tied=False))
    log_p = jax.nn.log_softmax(jitted(model)(begun(model.config), tokens()))
    assert np.mean(log_p) == pytest.approx(-np.log(V), abs=0.05)


@pytest.mark.parametrize("tied", [True, False])
def test_size_and_cost_equal_the_count_by_hand(tied):
    """The products of a token: with what is read and with what is remembered, four gates each."""
    c = config(tied=tied)
    batch = {"tokens": jnp.zeros((1, L), jnp.int32)}
    gates = 4 * D * D + 4 * D * D
    body = c.layers * (gates + 4 * D + D) + 2 * D  # biases; the scale of each norm
    head = 0 if tied else V * D
    N = accounting.count_parameters(begun(c)["params"])
    assert (N["embedding"], N["body"], N["head"]) == (V * D, body, head)
    flops = accounting.forward_flops(
        lambda p, b: lstm.Model(c).apply({"params": p}, b), begun(c)["params"], batch
    )
    assert flops == {"weights": 2 * L * (c.layers * gates + V * D), "attention": 0}


def test_scanned_layers_equal_a_plain_loop():
    model = lstm.Model(config())
    p = begun(model.config)["params"]
    norm = transformer.RMSNorm(jnp.float32)
    x = norm.apply({"params": p["in_norm"]}, p["embedding"][tokens()["tokens"]])
    block = recurrent.Block(0.0, jnp.float32, train=False)
    for i in range(2):
        own = jax.tree.map(lambda w, i=i: w[i], p["blocks"])
        x, _ = block.apply({"params": own}, x, None)
    logits = norm.apply({"params": p["out_norm"]}, x) @ p["embedding"].T[None]
    np.testing.assert_allclose(
        jitted(model)(begun(model.config), tokens()), logits, rtol=1e-5, atol=1e-6
    )


def test_bfloat16_is_close_to_float32_and_dropout_acts_in_training_only():
    whole, half, dropping = (
        lstm.Model(config(**c)) for c in ({}, {"dtype": "bfloat16"}, {"dropout": 0.5})
    )
    variables = begun(whole.config)
    a, b = jitted(whole)(variables, tokens()), jitted(half)(variables, tokens())
    assert b.dtype == jnp.float32
    assert 0 < np.max(np.abs(a - b)) < 0.05 * np.std(a)
    np.testing.assert_array_equal(a, jitted(dropping)(variables, tokens()))
    rngs = {"dropout": jax.random.key(3)}
    assert np.any(a != jitted(dropping)(variables, tokens(), train=True, rngs=rngs))


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("layers", 0, "at least 1"),
        ("dtype", "float8", "float32, bfloat16"),
        ("dropout", 1.0, r"\[0, 1\)"),
    ],
)
def test_a_bad_field_is_named(field, value, says):
    with pytest.raises(ValueError, match=f"{field}.*{says}"):
        config(**{field: value})
