"""Ring attention, with a mapped axis in place of devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.layers import attention, ring

WAYS, B, G, R, L, K = 4, 2, 2, 3, 48, 8


def arrays(dtype: str = "float32") -> list[jax.Array]:
    """Queries, keys, values and the gradient of the result."""
    rng = np.random.default_rng(0)
    shapes = [(B, G * R, L, K), (B, G, L, K), (B, G, L, K), (B, G * R, L, K)]
    return [jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes]


def on_one_device(q, k, v, d_out) -> list[jax.Array]:
    """Attention, and the gradients of its arguments."""
    out, gradients = jax.vjp(functools.partial(attention.xla, causal=True), q, k, v)
    return [out, *gradients(d_out)]


def around(q, k, v, d_out) -> list[jax.Array]:
    """The same by a ring of devices."""

    def local(q, k, v, d_out):
        queries = (B, G, R, L // WAYS, K)
        ring_of = functools.partial(ring._ring, "ring", WAYS)
        out, gradients = jax.vjp(ring_of, (q * K**-0.5).reshape(queries), k, v)
        dq, dk, dv = gradients(d_out.reshape(queries))
        return out.reshape(q.shape), dq.reshape(q.shape) * K**-0.5, dk, dv

    def split(x):  # into the devices' parts, in zig-zag order
        return jnp.stack(jnp.split(x[:, :, order], WAYS, axis=2))

    def whole(x):
        return jnp.concatenate(list(x), axis=2)[:, :, np.argsort(order)]

    order = ring.zigzag(L, WAYS)
    found = jax.jit(jax.vmap(local, axis_name="ring"))(*map(split, (q, k, v, d_out)))
    return list(map(whole, found))


@pytest.mark.parametrize("queries", [6, 2, 1])
def test_the_ring_gives_the_attention_and_gradients_of_one_device(monkeypatch, queries):
    """However many queries are taken at a time, of the 6 of a chunk."""
    monkeypatch.setattr(ring, "_MOST_SCORES", B * G * R * queries * L // WAYS // 2)
    for found, expected in zip(around(*arrays()), on_one_device(*arrays())):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_bfloat16_is_close_to_float32():
    for found, expected in zip(around(*arrays("bfloat16")), on_one_device(*arrays())):
        assert found.dtype == jnp.bfloat16
        error = np.abs(found.astype(jnp.float32) - expected)
        assert np.max(error) < 0.02 * np.max(np.abs(expected))


def test_nothing_of_other_devices_is_kept_for_the_backward_pass():
    def kept(q, k, v):
        return jax.vjp(functools.partial(ring._ring, "ring", WAYS), q, k, v)[1]

    q, k = (jnp.zeros((WAYS, *shape, L // WAYS, K)) for shape in ((B, G, R), (B, G)))
    found = jax.eval_shape(jax.vmap(kept, axis_name="ring"), q, k, k)
    # Queries, keys, values, the result and a number for each query.
    sizes = sorted(x.size for x in jax.tree.leaves(found))
    assert sizes == [q.size // K, k.size, k.size, q.size, q.size]


def test_a_length_that_cannot_be_divided_is_an_error():
    with pytest.raises(ValueError, match="length: 12; must be a multiple of 2 x 4"):
        ring.zigzag(12, 4)
