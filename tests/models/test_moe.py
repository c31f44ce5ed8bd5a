import dataclasses
import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from models import moe

B, L, V, E = 2, 12, 19, 4
# LLVM's optimiser would take most of the time of these tests.
quick = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def config(**changes) -> moe.Config:
    base = moe.Config(
        vocab_size=V,
        layers=1,
        width=16,
        heads=2,
        kv_heads=2,
        hidden=8,
        activation="gelu",
        qk_norm=True,
        norm_epsilon=1e-6,
        embedding_norm=True,
        rope_base=10_000.0,
        tied=True,
        dropout=0.0,
        remat="none",
        dtype="float32",
        quantize="none",
        experts=E,
        top_k=2,
        capacity=2.0,
        balance_loss=0.01,
        router_z_loss=0.001,
    )
    return dataclasses.replace(base, **changes)


def layer(**changes) -> moe.Experts:
    model = moe.Model(config(**changes))
    return model.perceptron()(dataclasses.replace(model.shape(), out_gain=1.0))


def tokens(seed: int = 0) -> dict[str, jax.Array]:
    return {"tokens": jax.random.randint(jax.random.key(seed), (B, L), 0, V)}


@functools.cache
def parameters(activation: str = "gelu", layers: int = 1) -> dict:
    """Of a model; capacity, losses and the number of choices make no difference to them."""
    model = moe.Model(config(activation=activation, layers=layers))
    return nn.meta.unbox(quick(model.init)(jax.random.key(1), tokens()))["params"]


def of_layer(activation: str = "gelu") -> dict:
    """Parameters of `layer`."""
    return jax.tree.map(lambda w: w[0], parameters(activation)["blocks"]["mlp"])


def activations(seed: int = 0) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), (B, L, 16))


def reference(p: dict, x_BxLxD: np.ndarray, top_k: int, slots: int) -> np.ndarray:
    """Token by token: what the layer should give if an expert takes the first `slots` of a row."""
    y = np.zeros_like(x_BxLxD)
    for b in range(B):
        taken = np.zeros(E, int)
        for t in range(L):
            x = x_BxLxD[b, t]
            p_E = np.exp(x @ p["router"])
            p_E /= p_E.sum()
            chosen = np.argsort(-p_E)[:top_k]
            total = p_E[chosen].sum() if top_k > 1 else 1.0
            for e in chosen:
                taken[e] += 1
                if taken[e] > slots:
                    continue
                h = x @ p["in"][e]
                if "gate" in p:
                    gate = x @ p["gate"][e]
                    h = gate / (1 + np.exp(-gate)) * h
                else:
                    h = h / 2 * (1 + np.tanh((2 / np.pi) ** 0.5 * (h + 0.044715 * h**3)))
                y[b, t] += p_E[e] / total * (h @ p["out"][e])
    return y


@pytest.mark.parametrize(
    ("changes", "slots"),
    [
        ({}, L),
        ({"top_k": 3, "activation": "swiglu", "capacity": 9.0}, L),
        ({"capacity": 0.5}, 3),
        ({"top_k": 1, "capacity": 0.5}, 2),  # 1.5, rounded up
    ],
)
def test_each_token_gets_its_experts_in_the_order_of_the_row(changes, slots):
    module, x = layer(**changes), activations()
    p = of_layer(module.shape.activation)
    given = jax.tree.map(np.asarray, p)
    expected = reference(given, np.asarray(x), module.top_k, slots)
    np.testing.assert_allclose(quick(module.apply)({"params": p}, x), expected, atol=1e-5)
    if slots < L:
        everything = reference(given, np.asarray(x), module.top_k, L)
        assert np.max(np.abs(everything - expected)) > 0.01, "nothing was dropped"


@pytest.mark.parametrize("capacity", [2.0, 0.5], ids=["dropless", "dropping"])
def test_no_logit_sees_a_later_token(capacity):
    """At any capacity: a later token never takes the slot of an earlier one."""
    model, batch = moe.Model(config(capacity=capacity)), tokens()
    p, apply = parameters(), quick(model.apply)
    before = apply({"params": p}, batch)
    for t in (3, 7):
        other = {"tokens": batch["tokens"].at[:, t].add(1) % V}
        after = apply({"params": p}, other)
        np.testing.assert_array_equal(before[:, :t], after[:, :t])
        assert np.all(np.any(before[:, t] != after[:, t], axis=-1))


def test_rows_do_not_see_one_another():
    model, batch = moe.Model(config(capacity=0.5)), tokens()
    p, apply = parameters(), quick(model.apply)
    together = apply({"params": p}, batch)
    alone = apply({"params": p}, {"tokens": batch["tokens"][1:]})
    np.testing.assert_allclose(together[1:], alone, atol=1e-6)


def test_balance_is_least_when_routing_is_even():
    even_BxLxE = jnp.zeros((1, L, E))
    turns_BxLxk = jnp.arange(L)[None, :, None] % E
    np.testing.assert_allclose(moe.balance(even_BxLxE, turns_BxLxk), [1.0], rtol=1e-6)
    # Tokens that take turns and are sure of it are even as well.
    sure_BxLxE = 100.0 * jax.nn.one_hot(turns_BxLxk[..., 0], E)
    np.testing.assert_allclose(moe.balance(sure_BxLxE, turns_BxLxk), [1.0], rtol=1e-6)
    # All to one, and all to the same two.
    one_BxLxE = jnp.zeros((1, L, E)).at[..., 2].set(100.0)
    np.testing.assert_allclose(moe.balance(one_BxLxE, jnp.full((1, L, 1), 2)), [E], rtol=1e-6)
    two_BxLxE = one_BxLxE.at[..., 1].set(100.0)
    both_BxLxk = jnp.broadcast_to(jnp.array([1, 2]), (1, L, 2))
    np.testing.assert_allclose(moe.balance(two_BxLxE, both_BxLxk), [E / 2], rtol=1e-6)


def test_router_z_is_the_mean_square_of_log_z():
    logits = np.random.default_rng(0).normal(size=(B, L, E)).astype(np.float32)
    expected = np.mean(np.log(np.exp(logits).sum(-1)) ** 2, axis=1)
    np.testing.assert_allclose(moe.router_z(jnp.asarray(logits)), expected, rtol=1e-5)


def test_layers_hand_out_their_weighted_losses_row_by_row():
    """An untouched router is even: balance 1 and log(Z) = log E, in every layer."""
    model, batch = moe.Model(config(layers=2, remat="full")), tokens()
    p = jax.tree.map(jnp.zeros_like, parameters(layers=2))
    _, sown = quick(lambda p: model.apply({"params": p}, batch, mutable=["losses"]))(p)
    (loss_NxB,) = jax.tree.leaves(sown["losses"])
    expected = 0.01 * 1 + 0.001 * np.log(E) ** 2
    np.testing.assert_allclose(loss_NxB, np.full((2, B), expected), rtol=1e-5)


def test_layers_hand_out_what_they_drop_row_by_row():
    """An untouched router sends every token to the same k experts, which take C of L."""
    model, batch = moe.Model(config(layers=2, capacity=0.5)), tokens()
    p = jax.tree.map(jnp.zeros_like, parameters(layers=2))
    _, sown = quick(lambda p: model.apply({"params": p}, batch, mutable=["metrics"]))(p)
    (dropped_NxB,) = jax.tree.leaves(sown["metrics"])
    C = math.ceil(0.5 * config().top_k * L / E)
    np.testing.assert_allclose(dropped_NxB, np.full((2, B), 1 - C / L), rtol=1e-6)


@pytest.mark.parametrize("top_k", [1, 2])
def test_the_router_learns_from_the_output(top_k):
    module, x, p = layer(top_k=top_k), activations(), of_layer()
    grads = quick(jax.grad(lambda p: jnp.sum(jnp.square(module.apply({"params": p}, x)))))(p)
    assert np.all(np.linalg.norm(grads["router"], axis=0) > 1e-3)


def test_a_tiny_batch_can_be_learned():
    model, batch = moe.Model(config()), tokens()
    p, tx = parameters(), optax.adam(0.02)

    def loss(p):
        logits_BxLxV = model.apply({"params": p}, batch)[:, :-1]
        targets = batch["tokens"][:, 1:]
        return optax.softmax_cross_entropy_with_integer_labels(logits_BxLxV, targets).mean()

    def step(carry, _):
        p, state = carry
        value, grads = jax.value_and_grad(loss)(p)
        updates, state = tx.update(grads, state)
        return (optax.apply_updates(p, updates), state), value

    _, losses = quick(lambda start: jax.lax.scan(step, start, length=80))((p, tx.init(p)))
    assert losses[0] > 2.5
    assert losses[-1] < 0.2


def test_bfloat16_is_close_to_float32():
    full, half = layer(), layer(dtype="bfloat16")
    x = activations().astype(jnp.bfloat16)
    p = of_layer()
    a, b = (quick(module.apply)({"params": p}, x) for module in (full, half))
    assert b.dtype == jnp.bfloat16
    assert 0 < np.max(np.abs(a - b.astype(jnp.float32))) < 0.05 * np.std(a)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("experts", 0, "at least 1"),
        ("top_k", 5, r"in \[1, 4\]"),
        ("capacity", 0.0, "above 0"),
        ("balance_loss", -0.1, "at least 0"),
        ("width", 0, "at least 1"),
    ],
)
def test_a_bad_field_is_named(field, value, says):
    with pytest.raises(ValueError, match=f"{field}.*{says}"):
        config(**{field: value})
