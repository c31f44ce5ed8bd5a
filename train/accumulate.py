"""A step's gradient from parts of its batch: one after the other, in the memory of one part
(`mean`), or each on the devices that hold its rows, which meet once at the end (`apart`)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

# (params, batch, key) -> gradient of a mean over units, means of metrics, units
Gradient = Callable[[Any, Any, jax.Array], tuple[Any, dict[str, jax.Array], jax.Array]]


def mean(gradient: Gradient, parts: int, constrain: Callable[[Any], Any]) -> Gradient:
    """The same of a batch in parts, as if it were not divided: means weighted by parts' units.

    The key is the same for all parts: randomness is by row (train.dropout).

    Args:
      gradient: of one part.
      parts: at least 1; they divide the rows of a batch.
      constrain: puts the sum of the gradients where the parameters lie.
    """

    def whole(params: Any, batch: Any, key: jax.Array):
        # Every parts-th row, so that each part has an equal share of every device's rows.
        divided = jax.tree.map(lambda x: x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1), batch)

        def add(total, part):
            summed = jax.tree.map(jnp.add, total, _sums(*gradient(params, part, key)))
            return (constrain(summed[0]), *summed[1:]), None

        first = jax.tree.map(lambda x: x[0], divided)
        start = jax.tree.map(jnp.zeros_like, jax.eval_shape(gradient, params, first, key))
        return _means(*jax.lax.scan(add, start, divided)[0])

    return whole


def apart(
    gradient: Gradient, mesh: jax.sharding.Mesh, axes: tuple[str, ...], dtype: jnp.dtype
) -> Gradient:
    """The same of a batch that is split over mesh axes over which parameters are copied.

    Each place along these axes is traced for itself, so that its gradient lies where its own
    parameters do, split over the other axes, before it is added to those of other places, once a
    step. Left to the compiler both sums are one, of whole gradients, in each part of a batch.

    Args:
      gradient: of the rows of one place.
      mesh: of the devices.
      axes: of the mesh; they divide the rows of a batch.
      dtype: in which gradients meet: that in which they were computed.
    """

    def local(params: Any, batch: Any, key: jax.Array):
        grads, means, units = _sums(*gradient(params, batch, key))
        sent = jax.lax.psum(jax.tree.map(lambda x: x.astype(dtype), grads), axes)
        grads = jax.tree.map(lambda x, like: x.astype(like.dtype), sent, grads)
        return _means(grads, *jax.lax.psum((means, units), axes))

    copied, rows = PartitionSpec(), PartitionSpec(axes)
    return jax.shard_map(
        local,
        mesh=mesh,
        in_specs=(copied, rows, copied),
        out_specs=copied,
        axis_names=set(axes),
        check_vma=False,
    )


def _sums(grads: Any, means: Any, units: jax.Array) -> tuple[Any, Any, jax.Array]:
    """Of means over units. A part of nothing but padding has means of 0/0."""
    return *jax.tree.map(lambda x: jnp.where(units > 0, x * units, 0), (grads, means)), units


def _means(grads: Any, means: Any, units: jax.Array) -> tuple[Any, Any, jax.Array]:
    return *jax.tree.map(lambda x: x / units, (grads, means)), units
