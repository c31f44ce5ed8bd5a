"""Ring attention: causal attention over a sequence that is split over devices.

Each device keeps its queries and passes its keys and values on to the next one, until all have seen
all (Liu et al. 2023, arXiv:2310.01889); partial results are merged by their log-sum-exp (Milakov
and Gimelshein 2018). Of 2C chunks device i holds chunks i and 2C - 1 - i, so that each has as much
to do as the others (Brandon et al. 2023, "Striped Attention", has the argument; the zig-zag order
is that of Llama 3, arXiv:2407.21783, section 3.3.2).

Shape letters: B batch, G key/value heads, R queries' heads per key/value head, L length on one
device, K head width, c = L / 2 a chunk.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from models import placement


class Part(NamedTuple):
    """Attention of some queries to some of the keys, in float32, not yet divided by `total`."""

    sum_BxGxRxcxK: jax.Array  # of exp(score - top) value
    top_BxGxRxc: jax.Array  # largest score
    total_BxGxRxc: jax.Array  # sum of exp(score - top)


def zigzag(length: int, ways: int) -> np.ndarray:
    """Which position of a sequence stands at each place, int [length], if it is split `ways` ways.

    Raises:
      ValueError: the length is not a multiple of 2 x ways.
    """
    if length % (2 * ways):
        raise ValueError(f"length: {length}; must be a multiple of 2 x {ways}")
    chunks = np.arange(length).reshape(2 * ways, -1)
    return np.stack([chunks[:ways], chunks[ways:][::-1]], axis=1).reshape(length)


def positions(length: int) -> jax.Array:
    """Which position stands at each place, int [length], as the sequence lies on the devices."""
    ways = placement.ways("length")
    return jnp.arange(length) if ways == 1 else jnp.asarray(zigzag(length, ways))


def attend(q_BxHxLxK: jax.Array, k_BxGxLxK: jax.Array, v_BxGxLxK: jax.Array) -> jax.Array:
    """Causal softmax attention in zig-zag order, [B, H, L, K] -> [B, H, L, K]."""
    (axis,) = placement.current().axes("length")
    queries, keys = ("batch", "heads", "length", None), ("batch", "kv_heads", "length", None)
    local = functools.partial(_on_one_device, axis=axis, ways=placement.ways("length"))
    return placement.each_device(local, (q_BxHxLxK, k_BxGxLxK, v_BxGxLxK), (queries, keys, keys))


def _on_one_device(q_BxHxLxK, k_BxGxLxK, v_BxGxLxK, *, axis: str, ways: int) -> jax.Array:
    B, H, L, K = q_BxHxLxK.shape
    G = k_BxGxLxK.shape[1]
    q = (q_BxHxLxK * K**-0.5).reshape(B, G, H // G, L, K)
    q_low, q_high = jnp.split(q, 2, axis=-2)
    me = jax.lax.axis_index(axis)
    onward = [(i, (i + 1) % ways) for i in range(ways)]

    # A device's own keys: each chunk sees itself causally, and the high one sees the low one.
    (k_low, k_high), (v_low, v_high) = (jnp.split(x, 2, axis=-2) for x in (k_BxGxLxK, v_BxGxLxK))
    low = _part(q_low, k_low, v_low, causal=True)
    high = _merge(_part(q_high, k_low, v_low), _part(q_high, k_high, v_high, causal=True))

    # Scores are computed again in the backward pass: they are what is quadratic in the length.
    @functools.partial(jax.checkpoint, prevent_cse=False)
    def absorb(low, high, keys, values, before):
        (k_low, k_high), (v_low, v_high) = (jnp.split(x, 2, axis=-2) for x in (keys, values))
        high = _merge(high, _part(q_high, k_low, v_low))
        seen = _part(
            jnp.where(before, q_low, q_high),
            jnp.where(before, k_low, k_high),
            jnp.where(before, v_low, v_high),
        )
        merged = _merge(_select(before, low, high), seen)
        return _select(before, merged, low), _select(before, high, merged)

    def turn(carry, distance):
        low, high, keys, values = carry
        keys, values = jax.lax.ppermute((keys, values), axis, onward)
        # These are the keys of the device `distance` before this one. Its low chunk is earlier than
        # our high one in any case. If that device is before us in the sequence (not around the
        # corner), its low chunk is also before our low one; if not, its high chunk is before our
        # high one. Nothing else is visible.
        low, high = absorb(low, high, keys, values, me >= distance)
        return (low, high, keys, values), None

    start = (low, high, k_BxGxLxK, v_BxGxLxK)
    carry, _ = jax.lax.scan(turn, start, jnp.arange(1, ways))
    out = [part.sum_BxGxRxcxK / part.total_BxGxRxc[..., None] for part in carry[:2]]
    return jnp.concatenate(out, axis=-2).reshape(B, H, L, K).astype(q_BxHxLxK.dtype)


def _part(q_BxGxRxcxK, k_BxGxcxK, v_BxGxcxK, *, causal: bool = False) -> Part:
    scores = jnp.einsum(
        "bgrlk,bgmk->bgrlm", q_BxGxRxcxK, k_BxGxcxK, preferred_element_type=jnp.float32
    )
    if causal:
        mask = jnp.where(jnp.tri(scores.shape[-1], dtype=bool), 0.0, -1e30).astype(jnp.float32)
        scores += mask[None, None, None]
    top = jax.lax.stop_gradient(jnp.max(scores, axis=-1))
    p = jnp.exp(scores - top[..., None])
    summed = jnp.einsum(
        "bgrlm,bgmk->bgrlk",
        p.astype(v_BxGxcxK.dtype),
        v_BxGxcxK,
        preferred_element_type=jnp.float32,
    )
    return Part(summed, top, jnp.sum(p, axis=-1))


def _merge(a: Part, b: Part) -> Part:
    top = jnp.maximum(a.top_BxGxRxc, b.top_BxGxRxc)
    of_a, of_b = (jnp.exp(part.top_BxGxRxc - top) for part in (a, b))
    return Part(
        a.sum_BxGxRxcxK * of_a[..., None] + b.sum_BxGxRxcxK * of_b[..., None],
        top,
        a.total_BxGxRxc * of_a + b.total_BxGxRxc * of_b,
    )


def _select(first: jax.Array, a: Part, b: Part) -> Part:
    return jax.tree.map(lambda x, y: jnp.where(first, x, y), a, b)
