"""Gradient accumulation: a batch in parts, one after the other, in the memory of one part."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

# (params, batch, key) -> gradient of a mean over units, means of metrics, units
Gradient = Callable[[Any, Any, jax.Array], tuple[Any, dict[str, jax.Array], jax.Array]]


def mean(
    gradient: Gradient, params: Any, batch: Any, key: jax.Array, parts: int, shardings: Any
) -> tuple[Any, dict[str, jax.Array]]:
    """Gradient and metrics of a batch as if it were not divided: means weighted by parts' units.

    The key is the same for all parts: randomness is by row (train.dropout).

    Args:
      gradient: of one part.
      params: the first argument of `gradient`.
      batch: a tree of arrays [B, ...]; B is a multiple of `parts`.
      key: for randomness.
      parts: at least 1.
      shardings: where the sum of the gradients lies: where `params` lie.
    """
    # Every parts-th row, so that each part has an equal share of every device's rows.
    divided = jax.tree.map(lambda x: x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1), batch)

    def add(total, part):
        grads, means, units = gradient(params, part, key)
        # A part of nothing but padding has means of 0/0.
        counted = jax.tree.map(lambda x: jnp.where(units > 0, x * units, 0), (grads, means))
        summed = jax.tree.map(jnp.add, total, (*counted, units))
        return (jax.lax.with_sharding_constraint(summed[0], shardings), *summed[1:]), None

    first = jax.tree.map(lambda x: x[0], divided)
    start = jax.tree.map(jnp.zeros_like, jax.eval_shape(gradient, params, first, key))
    (grads, means, units), _ = jax.lax.scan(add, start, divided)
    return jax.tree.map(lambda x: x / units, (grads, means))
