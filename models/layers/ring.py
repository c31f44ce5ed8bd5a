"""Ring attention: causal attention over a sequence that is split over devices.

Each device keeps its queries and passes its keys and values on to the next one, until all have seen
all (Liu et al. 2023, arXiv:2310.01889); partial results are merged by their log-sum-exp (Milakov
and Gimelshein 2018). The forward pass keeps its result and the log-sum-exp of each query: from
these the backward pass computes probabilities again (Dao et al. 2022, arXiv:2205.14135, algorithm
4), going round once more, with the gradients of keys and values beside them, which come home in the
end. So a device never holds more than two stations' keys.

Of 2C chunks device i holds chunks i and 2C - 1 - i, so that each has as much to do as the others
(Brandon et al. 2023, "Striped Attention", has the argument; the zig-zag order is that of Llama 3,
arXiv:2407.21783, section 3.3.2).

Shape letters: B batch, G key/value heads, R queries' heads per key/value head, L length on one
device, K head width, c = L / 2 a chunk.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from models.layers import placement

# Scores are computed for so many queries at a time that they stay in the fast memory of a TPU:
# these are 32 MiB.
_MOST_SCORES = 1 << 23
_einsum = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)


class Part(NamedTuple):
    """Attention of some queries to some of the keys, in float32, not yet divided by `total`."""

    sum_BxGxRxcxK: jax.Array  # of exp(score - top) value
    top_BxGxRxcx1: jax.Array  # largest score
    total_BxGxRxcx1: jax.Array  # sum of exp(score - top)


class Query(NamedTuple):
    """What the backward pass knows of some queries."""

    q_BxGxRxcxK: jax.Array
    d_out_BxGxRxcxK: jax.Array  # gradient of their results
    lse_BxGxRxcx1: jax.Array  # log-sum-exp of all their scores
    delta_BxGxRxcx1: jax.Array  # their results times the gradients of these, summed


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
    (axis,), ways = placement.current().axes("length"), placement.ways("length")

    def local(q_BxHxLxK, k_BxGxLxK, v_BxGxLxK):
        B, H, L, K = q_BxHxLxK.shape
        G = k_BxGxLxK.shape[1]
        q_BxGxRxLxK = (q_BxHxLxK * K**-0.5).reshape(B, G, H // G, L, K)
        return _ring(axis, ways, q_BxGxRxLxK, k_BxGxLxK, v_BxGxLxK).reshape(B, H, L, K)

    queries, keys = ("batch", "heads", "length", None), ("batch", "kv_heads", "length", None)
    return placement.each_device(local, (q_BxHxLxK, k_BxGxLxK, v_BxGxLxK), (queries, keys, keys))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _ring(axis: str, ways: int, q_BxGxRxLxK, k_BxGxLxK, v_BxGxLxK) -> jax.Array:
    return _forward(axis, ways, q_BxGxRxLxK, k_BxGxLxK, v_BxGxLxK)[0]


def _forward(axis: str, ways: int, q, k, v) -> tuple[jax.Array, tuple]:
    (q_low, q_high), (k_low, k_high), (v_low, v_high) = map(_halves, (q, k, v))
    # A device's own keys: each chunk sees itself causally, and the high one sees the low one.
    low = _part(q_low, k_low, v_low, causal=True)
    high = _merge(_part(q_high, k_low, v_low), _part(q_high, k_high, v_high, causal=True))

    def turn(carry, distance):
        low, high, keys = carry
        (k_low, k_high), (v_low, v_high) = map(_halves, keys)
        before = _is_before(axis, distance)
        high = _merge(high, _part(q_high, k_low, v_low))
        seen = _part(*_select(before, (q_low, k_low, v_low), (q_high, k_high, v_high)))
        merged = _merge(_select(before, low, high), seen)
        low, high = _select(before, merged, low), _select(before, high, merged)
        # What comes next is on its way while this is computed; the last of it is not used.
        return (low, high, _pass_on(keys, axis, ways)), None

    start = (low, high, _pass_on((k, v), axis, ways))
    (low, high, _), _ = jax.lax.scan(turn, start, jnp.arange(1, ways))
    out = _joined(*(part.sum_BxGxRxcxK / part.total_BxGxRxcx1 for part in (low, high)))
    lse = _joined(*(part.top_BxGxRxcx1 + jnp.log(part.total_BxGxRxcx1) for part in (low, high)))
    out = out.astype(q.dtype)
    return out, (q, k, v, out, lse)


def _backward(axis: str, ways: int, kept: tuple, d_out) -> tuple[jax.Array, ...]:
    q, k, v, out, lse = kept
    delta = _einsum("bgrlk,bgrlk->bgrl", d_out, out)[..., None]
    low, high = map(Query, *map(_halves, (q, d_out, lse, delta)))
    (k_low, k_high), (v_low, v_high) = map(_halves, (k, v))
    dq_low, *d_low = _gradients(low, k_low, v_low, causal=True)
    dq_high, *d_more = _gradients(high, k_low, v_low)
    dq_more, *d_high = _gradients(high, k_high, v_high, causal=True)
    d_keys = list(map(_joined, _add(d_low, d_more), d_high))

    def turn(carry, distance):
        dq_low, dq_high, (k, v, *d_keys) = carry
        (k_low, k_high), (v_low, v_high) = map(_halves, (k, v))
        before = _is_before(axis, distance)
        dq_more, *d_low = _gradients(high, k_low, v_low)
        dq_seen, *d_seen = _gradients(*_select(before, (low, k_low, v_low), (high, k_high, v_high)))
        nothing = jax.tree.map(jnp.zeros_like, (dq_seen, d_seen))
        dq_low, d_low = _add((dq_low, d_low), _select(before, (dq_seen, d_seen), nothing))
        dq_rest, d_high = _select(before, nothing, (dq_seen, d_seen))
        d_keys = _add(d_keys, list(map(_joined, d_low, d_high)))
        # The last turn brings all home.
        onward = _pass_on((k, v, *d_keys), axis, ways)
        return (dq_low, dq_high + dq_more + dq_rest, onward), None

    start = (dq_low, dq_high + dq_more, _pass_on((k, v, *d_keys), axis, ways))
    (dq_low, dq_high, (_, _, dk, dv)), _ = jax.lax.scan(turn, start, jnp.arange(1, ways))
    return tuple(d.astype(x.dtype) for d, x in ((_joined(dq_low, dq_high), q), (dk, k), (dv, v)))


_ring.defvjp(_forward, _backward)


def _is_before(axis: str, distance: jax.Array) -> jax.Array:
    """Whether keys from the device `distance` before this one do not come round the corner.

    Their low chunk is earlier than our high one in any case. If that device is before us in the
    sequence, it is also earlier than our low one; if not, its high chunk is earlier than our high
    one. Nothing else is visible.
    """
    return jax.lax.axis_index(axis) >= distance


def _part(q_BxGxRxcxK, k_BxGxcxK, v_BxGxcxK, *, causal: bool = False) -> Part:
    def of_block(_, block):
        first, (q,) = block
        scores = _scores(q, k_BxGxcxK, first if causal else None)
        top = jnp.max(scores, axis=-1, keepdims=True)
        p = jnp.exp(scores - top)
        summed = _einsum("bgrlm,bgmk->bgrlk", p.astype(v_BxGxcxK.dtype), v_BxGxcxK)
        return None, Part(summed, top, jnp.sum(p, axis=-1, keepdims=True))

    _, parts = jax.lax.scan(of_block, None, _blocks((q_BxGxRxcxK,), k_BxGxcxK))
    return jax.tree.map(_whole, parts)


def _gradients(
    query: Query, k_BxGxcxK, v_BxGxcxK, *, causal: bool = False
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Of queries, keys and values, float32, by what these queries see of these keys."""

    def of_block(carry, block):
        dk, dv = carry
        first, (q, d_out, lse, delta) = block
        p = jnp.exp(_scores(q, k_BxGxcxK, first if causal else None) - lse)
        d_scores = p * (_einsum("bgrlk,bgmk->bgrlm", d_out, v_BxGxcxK) - delta)
        d_scores = d_scores.astype(q.dtype)
        dq = _einsum("bgrlm,bgmk->bgrlk", d_scores, k_BxGxcxK)
        dk += _einsum("bgrlm,bgrlk->bgmk", d_scores, q)
        dv += _einsum("bgrlm,bgrlk->bgmk", p.astype(q.dtype), d_out)
        return (dk, dv), dq

    zero = jnp.zeros(k_BxGxcxK.shape, jnp.float32)
    (dk, dv), dq = jax.lax.scan(of_block, (zero, zero), _blocks(query, k_BxGxcxK))
    return _whole(dq), dk, dv


def _scores(q_BxGxRxbxK, k_BxGxcxK, first: jax.Array | None) -> jax.Array:
    """Scores [B, G, R, b, c]; causal if the place of the `first` query among the keys is given."""
    scores = _einsum("bgrlk,bgmk->bgrlm", q_BxGxRxbxK, k_BxGxcxK)
    if first is not None:
        b, c = scores.shape[-2:]
        visible = jnp.arange(c)[None] <= first + jnp.arange(b)[:, None]
        scores += jnp.where(visible, 0.0, -1e30).astype(jnp.float32)[None, None, None]
    return scores


def _blocks(queries: tuple[jax.Array, ...], k_BxGxcxK) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    """Queries [..., c, K] as [n, ..., c / n, K], and which is the first of each block."""
    *lead, c, _ = queries[0].shape
    scores = math.prod(lead) * c * k_BxGxcxK.shape[-2]
    n = next((n for n in range(1, c) if c % n == 0 and scores <= n * _MOST_SCORES), c)
    cut = (jnp.moveaxis(x.reshape(*lead, n, c // n, x.shape[-1]), -3, 0) for x in queries)
    return jnp.arange(0, c, c // n), tuple(cut)


def _whole(blocks: jax.Array) -> jax.Array:
    """[n, ..., b, K] -> [..., n b, K]."""
    n, *lead, b, K = blocks.shape
    return jnp.moveaxis(blocks, 0, -3).reshape(*lead, n * b, K)


def _halves(x: jax.Array) -> list[jax.Array]:
    return jnp.split(x, 2, axis=-2)


def _joined(low: jax.Array, high: jax.Array) -> jax.Array:
    return jnp.concatenate([low, high], axis=-2)


def _merge(a: Part, b: Part) -> Part:
    top = jnp.maximum(a.top_BxGxRxcx1, b.top_BxGxRxcx1)
    of_a, of_b = (jnp.exp(part.top_BxGxRxcx1 - top) for part in (a, b))
    return Part(
        a.sum_BxGxRxcxK * of_a + b.sum_BxGxRxcxK * of_b,
        top,
        a.total_BxGxRxcx1 * of_a + b.total_BxGxRxcx1 * of_b,
    )


def _select(first: jax.Array, a: Any, b: Any) -> Any:
    return jax.tree.map(lambda x, y: jnp.where(first, x, y), a, b)


def _add(a: Any, b: Any) -> Any:
    return jax.tree.map(jnp.add, a, b)


def _pass_on(tree: Any, axis: str, ways: int) -> Any:
    """To the next device."""
    return jax.lax.ppermute(tree, axis, [(i, (i + 1) % ways) for i in range(ways)])
