"""Tables with a bias and a vector of each user, item or other thing that has a number.

The number just after a table's last row is of nobody: what is looked up for it is 0.

Shape letters: N rows of a table, B batch (and what else its numbers have), K width.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers.placement import spread
from models.layers.weights import gathered, weight

SPREAD = 0.1  # of the first values of vectors


class Table(NamedTuple):
    """Of a whole table, or of what was looked up in it."""

    bias: jax.Array  # [N]
    vector: jax.Array | None  # [N, K]; None where K is 0

    def squares(self) -> jax.Array:
        """Of each row the sum of its squares, [N]."""
        squares = jnp.square(self.bias)
        return squares if self.vector is None else squares + jnp.square(self.vector).sum(axis=-1)


def table(module: nn.Module, of: str, rows: int, width: int) -> Table:
    """The weights embedding_OF_bias and embedding_OF of a module.

    Args:
      module: whose they are.
      of: what a row stands for, such as "user"; its axis is named "users".
      rows: N.
      width: K.
    """
    axis, zeros, normal = f"{of}s", nn.initializers.zeros, nn.initializers.normal(SPREAD)
    bias = spread(weight(module, f"embedding_{of}_bias", {axis: rows}, {}, init=zeros), axis)
    if not width:
        return Table(bias, None)
    vector = weight(module, f"embedding_{of}", {axis: rows}, {"embed": width}, init=normal)
    return Table(bias, gathered(vector, (axis, "embed"), jnp.float32))


def look_up(whole: Table, number_B: jax.Array) -> Table:
    """The rows with these numbers, int [B] of at most N: of N it is zeros."""
    rest = (None,) * (number_B.ndim - 1)
    number_B = spread(number_B, "batch", *rest)

    def rows(of: jax.Array) -> jax.Array:
        return jnp.take(of, number_B, axis=0, mode="fill", fill_value=0)

    if whole.vector is None:
        return Table(rows(whole.bias), None)
    return Table(rows(whole.bias), spread(rows(whole.vector), "batch", *rest, None))
