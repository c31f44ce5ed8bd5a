"""Tables with a bias and a vector of each user, item or other thing that has a number.

The number just after a table's last row is of nobody: what is looked up for it is 0.

Shape letters: B batch (and what else its numbers have), K width.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers.placement import spread
from models.layers.weights import gathered, weight

SPREAD = 0.1  # of the first values of vectors


def looked_up(
    module: nn.Module, of: str, rows: int, width: int, number_B: jax.Array
) -> tuple[jax.Array, jax.Array | None]:
    """Biases [B] and vectors [B, K] of what has these numbers; no vectors where K is 0.

    Args:
      module: whose tables they are: embedding_OF_bias and embedding_OF.
      of: what a row stands for, such as "user"; its axis is named "users".
      rows: of each table.
      width: K.
      number_B: int, at most `rows`.
    """
    axis, zeros, rest = f"{of}s", nn.initializers.zeros, (None,) * (number_B.ndim - 1)
    number_B = spread(number_B, "batch", *rest)
    bias = weight(module, f"embedding_{of}_bias", {axis: rows}, {}, init=zeros)
    bias_B = _rows(spread(bias, axis), number_B)
    if not width:
        return bias_B, None
    normal = nn.initializers.normal(SPREAD)
    table = weight(module, f"embedding_{of}", {axis: rows}, {"embed": width}, init=normal)
    table = gathered(table, (axis, "embed"), jnp.float32)
    return bias_B, spread(_rows(table, number_B), "batch", *rest, None)


def squares(bias_B: jax.Array, vector_BxK: jax.Array | None) -> jax.Array:
    """The sum of the squares of what was looked up, [B]."""
    bias_B = jnp.square(bias_B)
    return bias_B if vector_BxK is None else bias_B + jnp.square(vector_BxK).sum(axis=-1)


def _rows(table: jax.Array, number_B: jax.Array) -> jax.Array:
    """Rows of a table, and zeros for numbers that are past its end."""
    return jnp.take(table, number_B, axis=0, mode="fill", fill_value=0)
