import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import gpt
from models.layers import transformer

B, L, V = 2, 12, 19


def config(**changes) -> gpt.Config:
    base = gpt.Config(
        vocab_size=V,
        layers=3,
        width=16,
        heads=2,
        kv_heads=2,
        hidden=32,
        activation="gelu",
        qk_norm=True,
        norm_epsilon=1e-6,
        embedding_norm=True,
        rope_base=10_000.0,
        tied=True,
        dropout=0.0,
        remat="full",
        dtype="float32",
        quantize="none",
    )
    return dataclasses.replace(base, **changes)


def tokens(seed: int = 0) -> dict[str, jax.Array]:
    return {"tokens": jax.random.randint(jax.random.key(seed), (B, L), 0, V)}


def init(model: gpt.Model):
    # How it is computed makes no difference to what it begins with.
    return begun(dataclasses.replace(model.config, dropout=0.0, dtype="float32", remat="none"))


@functools.cache
def begun(of: gpt.Config):
    return nn.meta.unbox(jax.jit(gpt.Model(of).init)(jax.random.key(1), tokens()))


@functools.cache
def jitted(model: gpt.Model):
    return jax.jit(model.apply, static_argnames="train")


VARIANTS = {
    "plain": {},
    "grouped": {"kv_heads": 1},
    "swiglu_untied": {"activation": "swiglu", "tied": False},
    "no_qk_norm": {"qk_norm": False},
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_no_logit_sees_a_later_token(changes):
    model = gpt.Model(config(**changes))
    variables = init(model)
    batch = tokens()
    t = 7
    other = {"tokens": batch["tokens"].at[:, t].add(1) % V}
    apply = jitted(model)
    before, after = apply(variables, batch), apply(variables, other)
    np.testing.assert_array_equal(before[:, :t], after[:, :t])
    assert np.all(np.any(before[:, t:] != after[:, t:], axis=-1)), "every later logit should see it"


def test_scanned_blocks_equal_a_plain_loop():
    c = config()
    model = gpt.Model(c)
    variables = init(model)
    p = variables["params"]
    shape = dataclasses.replace(model.shape(), out_gain=1.0)  # of the start alone
    block = transformer.Block(shape, train=False)
    norm = transformer.RMSNorm(jnp.float32)
    x = norm.apply({"params": p["in_norm"]}, p["embedding"][tokens()["tokens"]])
    for i in range(c.layers):
        x, _ = block.apply({"params": jax.tree.map(lambda w, i=i: w[i], p["blocks"])}, x)
    logits = norm.apply({"params": p["out_norm"]}, x) @ p["embedding"].T[None]
    np.testing.assert_allclose(jitted(model)(variables, tokens()), logits, atol=1e-6)


def test_an_embedding_that_is_normalised_before_needs_no_norm():
    c = config(tied=False, norm_epsilon=1e-3)
    variables = init(gpt.Model(c))
    params = dict(variables["params"])
    table, scale = params["embedding"], params.pop("in_norm")["scale"]
    params["embedding"] = table / np.sqrt(np.mean(table**2, -1, keepdims=True) + 1e-3) * scale[None]
    bare = gpt.Model(dataclasses.replace(c, embedding_norm=False))
    a, b = jitted(bare)({"params": params}, tokens()), jitted(gpt.Model(c))(variables, tokens())
    np.testing.assert_allclose(a, b, atol=1e-6)


def gradient(model, variables):
    return jax.jit(jax.grad(lambda v: jnp.sum(jnp.square(model.apply(v, tokens())))))(variables)


@pytest.mark.parametrize("remat", ["full", "dots", "unrolled"])
def test_remat_changes_no_gradient(remat):
    with_remat, without = gpt.Model(config(remat=remat)), gpt.Model(config(remat="none"))
    variables = init(with_remat)
    a, b = gradient(with_remat, variables), gradient(without, variables)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), a, b)


def test_small_steps_on_a_cpu_are_unrolled():
    """Known by the loops over layers that are left in the program."""

    def loops(c, rows):
        model, batch = gpt.Model(c), {"tokens": np.zeros((rows, 8), np.int32)}
        variables = jax.eval_shape(model.init, jax.random.key(0), batch)
        return str(jax.make_jaxpr(model.apply)(variables, batch)).count("unroll=1\n")

    c = config(remat="auto", layers=2)
    assert loops(c, 2) == 0
    assert loops(c, 2**14 // (8 * c.width) + 1) == 1
    assert loops(dataclasses.replace(c, layers=9), 2) == 1


def test_bfloat16_is_close_to_float32():
    full, half = gpt.Model(config()), gpt.Model(config(dtype="bfloat16"))
    variables = init(full)
    a, b = (jitted(model)(variables, tokens()) for model in (full, half))
    assert b.dtype == jnp.float32
    kept = jax.eval_shape(half.init, jax.random.key(1), tokens())
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(kept))
    assert 0 < np.max(np.abs(a - b)) < 0.05 * np.std(a)


def test_rotation_depends_on_distance_alone():
    q, k = jax.random.normal(jax.random.key(0), (2, 8))
    many = jnp.broadcast_to(q, (1, 1, 20, 8)), jnp.broadcast_to(k, (1, 1, 20, 8))
    q_rotated, k_rotated = (transformer.rotate(x, jnp.arange(20), 100.0)[0, 0] for x in many)
    scores = q_rotated @ k_rotated.T
    for distance in (0, 1, 5):
        diagonal = jnp.diagonal(scores, -distance)
        np.testing.assert_allclose(diagonal, jnp.full_like(diagonal, diagonal[0]), rtol=1e-4)
    assert abs(scores[0, 0] - scores[5, 0]) > 1e-2


def test_grouped_heads_share_keys_and_values():
    c = config(kv_heads=1)
    variables = init(gpt.Model(c))
    attention = variables["params"]["blocks"]["attention"]
    assert attention["key"].shape == attention["value"].shape == (3, 16, 1, 8)
    repeated = jax.tree.map(lambda x: x, variables)
    for name in ("key", "value"):
        repeated["params"]["blocks"]["attention"][name] = jnp.repeat(attention[name], 2, axis=2)
    full = gpt.Model(config())
    np.testing.assert_allclose(
        jitted(gpt.Model(c))(variables, tokens()), jitted(full)(repeated, tokens()), atol=1e-6
    )


def test_dropout_acts_in_training_only():
    model = gpt.Model(config(dropout=0.5))
    variables = init(model)
    rngs = {"dropout": jax.random.key(3)}
    a = jitted(model)(variables, tokens(), train=True, rngs=rngs)
    b = jitted(model)(variables, tokens(), train=False)
    assert np.max(np.abs(a - b)) > 1e-3
    np.testing.assert_array_equal(b, jitted(gpt.Model(config()))(variables, tokens()))


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("activation", "relu", "gelu, swiglu"),
        ("heads", 3, "width 16 / heads"),
        ("kv_heads", 3, "must divide heads 2"),
        ("dtype", "float8", "float32, bfloat16"),
        ("quantize", "int4", "fp8, int8, none"),
        ("dropout", 1.0, r"\[0, 1\)"),
        ("remat", "some", "auto, dots, full, none, unrolled"),
        ("layers", 0, "at least 1"),
        ("norm_epsilon", 0.0, "above 0"),
    ],
)
def test_a_bad_field_is_named(field, value, says):
    with pytest.raises(ValueError, match=f"{field}.*{says}"):
        config(**{field: value})
