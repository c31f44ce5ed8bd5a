import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import seq2seq
from models.layers import transformer
from train import accounting

B, S, T, V = 3, 9, 7, 19


def config(**changes) -> seq2seq.Config:
    base = seq2seq.Config(
        vocab_size=V,
        encoder_layers=2,
        decoder_layers=3,
        width=16,
        heads=2,
        hidden=32,
        activation="gelu",
        qk_norm=True,
        rope_base=10_000.0,
        tied=True,
        copy=False,
        dropout=0.0,
        remat="full",
        dtype="float32",
    )
    return dataclasses.replace(base, **changes)


def batch(seed: int = 0) -> dict[str, jax.Array]:
    """The second source ends early, and so does its target."""
    keys = jax.random.split(jax.random.key(seed))
    source = jax.random.randint(keys[0], (B, S), 1, V).at[1, 4:].set(0)
    tokens = jax.random.randint(keys[1], (B, T), 1, V).at[1, 3:].set(0)
    return {"source": source, "tokens": tokens}


def init(model: seq2seq.Model):
    # How it is computed makes no difference to what it begins with.
    return begun(dataclasses.replace(model.config, dropout=0.0, dtype="float32", remat="none"))


@functools.cache
def begun(of: seq2seq.Config):
    return nn.meta.unbox(jax.jit(seq2seq.Model(of).init)(jax.random.key(1), batch()))


@functools.cache
def jitted(model: seq2seq.Model):
    return jax.jit(model.apply, static_argnames=("train", "method"))


VARIANTS = {
    "plain": {},
    "swiglu_untied": {"activation": "swiglu", "tied": False},
    "no_qk_norm": {"qk_norm": False},
    "copy": {"copy": True},
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_a_logit_sees_the_source_and_no_later_token(changes):
    model = seq2seq.Model(config(**changes))
    variables, apply = init(model), jitted(model)
    before, t = apply(variables, batch()), 4
    tokens = batch()["tokens"]
    after = apply(variables, batch() | {"tokens": tokens.at[:, t].set((tokens[:, t] + 1) % V)})
    np.testing.assert_array_equal(before[:, :t], after[:, :t])
    assert np.all(np.any(before[:, t:] != after[:, t:], axis=-1)), "every later logit should see it"
    for place in (0, S - 1):
        source = batch()["source"]
        other = source.at[0, place].set(source[0, place] % (V - 1) + 1)
        after = apply(variables, batch() | {"source": other})
        assert np.all(np.any(before[0] != after[0], axis=-1)), "every logit should see the source"
        np.testing.assert_array_equal(before[1:], after[1:])


def test_padding_of_a_source_is_not_seen():
    model = seq2seq.Model(config())
    variables = init(model)
    short = {"source": batch()["source"][1:2, :4], "tokens": batch()["tokens"][1:2]}
    whole = jitted(model)(variables, batch())[1:2]
    np.testing.assert_allclose(jitted(model)(variables, short), whole, atol=1e-6)
    # A row of padding alone, as the last batch of an evaluation has.
    empty = jax.tree.map(jnp.zeros_like, batch())
    assert np.isfinite(jitted(model)(variables, empty)).all()


@pytest.mark.parametrize("changes", [*VARIANTS.values(), {"dtype": "bfloat16"}])
def test_what_is_written_with_a_cache_is_what_is_taught(changes):
    model = seq2seq.Model(config(**changes))
    variables, tokens = init(model), batch()["tokens"]
    step = jax.jit(lambda *inputs: model.apply(variables, *inputs, method="step"))
    writing = jitted(model)(variables, batch(), method="begin")
    written = []
    for t in range(T):
        writing, logits_Bx1xV = step(writing, tokens[:, t : t + 1])
        written.append(logits_Bx1xV)
    taught = jitted(model)(variables, batch())
    tolerance = 1e-6 if changes.get("dtype") != "bfloat16" else 0.05 * np.std(taught)
    np.testing.assert_allclose(jnp.concatenate(written, axis=1), taught, rtol=1e-6, atol=tolerance)


def plain_attention(p, q_LxD, kv_MxD, mask_LxM, rope_base):
    """One row's attention, with one head after the other."""
    heads = []
    for h in range(p["query"].shape[1]):
        q, k, v = (
            x @ p[n][:, h] for n, x in (("query", q_LxD), ("key", kv_MxD), ("value", kv_MxD))
        )
        q, k = (
            (x * jax.lax.rsqrt(jnp.mean(x**2, -1, keepdims=True) + 1e-6)) * p[n]["scale"][None]
            for n, x in (("query_norm", q), ("key_norm", k))
        )
        q, k = (
            transformer.rotate(x[None, None], jnp.arange(len(x)), rope_base)[0, 0] for x in (q, k)
        )
        scores = jnp.where(mask_LxM, q @ k.T / k.shape[-1] ** 0.5, -jnp.inf)
        heads.append(jax.nn.softmax(scores) @ v @ p["out"][h])
    return sum(heads)


def test_equals_an_encoder_and_a_decoder_written_out():
    """Row by row, layer by layer, without padding."""
    c = config()
    variables = init(seq2seq.Model(c))
    p, row = variables["params"], 1
    source, tokens = batch()["source"][row, :4], batch()["tokens"][row, :3]

    def norm(x, weights):
        x = x * jax.lax.rsqrt(jnp.mean(x**2, -1, keepdims=True) + 1e-6)
        return x * weights["scale"][None]

    def mlp(x, weights):
        return nn.gelu(x @ weights["in"]) @ weights["out"]

    everything = jnp.ones((4, 4), bool)
    x = norm(p["embedding"][source], p["encoder"]["in_norm"])
    for i in range(c.encoder_layers):
        w = jax.tree.map(lambda w, i=i: w[i], p["encoder"]["blocks"])
        y = norm(x, w["attention_norm"])
        x = x + plain_attention(w["attention"], y, y, everything, c.rope_base)
        x = x + mlp(norm(x, w["mlp_norm"]), w["mlp"])
    read = norm(x, p["encoder"]["out_norm"])
    x = norm(p["embedding"][tokens], p["decoder"]["in_norm"])
    for i in range(c.decoder_layers):
        w = jax.tree.map(lambda w, i=i: w[i], p["decoder"]["blocks"])
        keys = jax.tree.map(lambda w, i=i: w[i], p["decoder_memory"])
        y = norm(x, w["attention_norm"])
        x = x + plain_attention(w["attention"], y, y, jnp.tri(3, dtype=bool), c.rope_base)
        y = norm(x, w["cross_norm"])
        x = x + plain_attention(w["cross"] | keys, y, read, everything[:3], c.rope_base)
        x = x + mlp(norm(x, w["mlp_norm"]), w["mlp"])
    logits = norm(x, p["decoder"]["out_norm"]) @ p["embedding"].T
    found = jitted(seq2seq.Model(c))(variables, batch())[row, :3]
    np.testing.assert_allclose(found, logits, atol=1e-5)


def test_encoder_and_decoder_are_counted_apart():
    params = init(seq2seq.Model(config(qk_norm=False)))["params"]
    N = accounting.count_parameters(params)
    D, F = 16, 32
    layer = 4 * D * D + 2 * D * F + 2 * D
    assert N["encoder"] == 2 * layer + 2 * D
    assert N["decoder"] == 3 * (layer + 4 * D * D + D) + 2 * D
    assert N["body"] == N["encoder"] + N["decoder"]
    assert N["total"] == N["body"] + V * D


def test_remat_changes_no_gradient():
    full, none = (seq2seq.Model(config(remat=remat)) for remat in ("full", "none"))
    variables = init(full)
    a, b = (
        jax.jit(jax.grad(lambda v, m=m: jnp.sum(jnp.square(m.apply(v, batch())))))(variables)
        for m in (full, none)
    )
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5), a, b)


def test_dropout_acts_in_training_only():
    model = seq2seq.Model(config(dropout=0.5))
    variables = init(model)
    rngs = {"dropout": jax.random.key(3)}
    a = jitted(model)(variables, batch(), train=True, rngs=rngs)
    b = jitted(model)(variables, batch(), train=False)
    assert np.max(np.abs(a - b)) > 1e-3
    np.testing.assert_array_equal(b, jitted(seq2seq.Model(config()))(variables, batch()))


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("activation", "relu", "gelu, swiglu"),
        ("heads", 3, "width 16 / heads"),
        ("dtype", "float8", "float32, bfloat16"),
        ("dropout", 1.0, r"\[0, 1\)"),
        ("remat", "some", "dots, full, none"),
        ("encoder_layers", 0, "at least 1"),
        ("decoder_layers", 0, "at least 1"),
    ],
)
def test_a_bad_field_is_named(field, value, says):
    with pytest.raises(ValueError, match=f"{field}.*{says}"):
        config(**{field: value})
