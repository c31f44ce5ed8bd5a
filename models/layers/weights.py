"""Where a weight is declared, with the axes that it takes and those that it gives.

From that one declaration come its shape, the scale of its first values (fan-in), where it lies on
many devices (names of axes, see `placement`), and its role: which of its sides grow in a wider
model. By its role a weight's learning rate changes with width (Yang et al. 2022, "Tensor Programs
V", arXiv:2203.03466, tables 3 and 8), see `train.optimizer`.
"""

import math
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct

from models.layers.placement import spread

Axes = Mapping[str | None, int]  # sizes by name; an axis named None is copied to all devices

# Axes that are longer in a wider model. One of another name is as long in all of them.
GROWS = frozenset({"embed", "hidden", "heads", "kv_heads", "head_width", "channels", "features"})
ROLES = ("input", "hidden", "output", "vector")


class Box(nn.LogicallyPartitioned):
    """A weight with the names of its axes and its role, which stays when layers are stacked."""

    role: str = struct.field(pytree_node=False, kw_only=True)


def role(inputs: Collection[str | None], outputs: Collection[str | None]) -> str:
    """One of ROLES, by the names of the axes that a weight takes and gives.

    A vector takes none: the scale of a norm, a bias. Of the others both sides of what is hidden
    grow with width, that of an output on the side that it takes alone, that of an input on the
    other alone or on none. An embedding that is also the head is declared as one: an input.
    """
    if not inputs:
        return "vector"
    if GROWS.isdisjoint(inputs):
        return "input"
    return "output" if GROWS.isdisjoint(outputs) else "hidden"


def boxed(
    init: Callable[..., jax.Array],
    inputs: Collection[str | None],
    outputs: Collection[str | None],
    each: Collection[str | None] = (),
) -> Callable[..., Box]:
    """An initialiser that gives its values in a box, for a layer of Flax. See `weight`."""
    names, of_width = (*each, *inputs, *outputs), role(inputs, outputs)
    return lambda *args: Box(init(*args), names, role=of_width)


def weight(
    module: nn.Module,
    name: str,
    inputs: Axes,
    outputs: Axes,
    *,
    each: Axes = MappingProxyType({}),
    gain: float = 1.0,
    init: Callable[..., jax.Array] | None = None,
) -> jax.Array:
    """A parameter of a module, float32 [*each, *inputs, *outputs].

    Args:
      module: whose it is.
      name: of the parameter.
      inputs: the axes that are summed over where it is applied; none of a vector.
      outputs: those that come out.
      each: those with a weight for every place, such as experts.
      gain: its first values are N(0, gain^2 / fan-in); of a vector `init` is needed.
      init: first values of another kind.
    """
    init = init or nn.initializers.normal(gain / math.prod(inputs.values()) ** 0.5)
    shape = (*each.values(), *inputs.values(), *outputs.values())
    return module.param(name, boxed(init, inputs, outputs, each), shape, jnp.float32)


def gathered(w: jax.Array, axes: Collection[str | None], dtype: jnp.dtype) -> jax.Array:
    """A weight with these logical axes, in compute dtype, whole along its split `embed` axis.

    Said here, the compiler gathers the weight (in few bytes) and not the larger activations; the
    weight's own split, said first, is that of its gradient.
    """
    w = spread(w, *axes).astype(dtype)
    return spread(w, *(None if axis == "embed" else axis for axis in axes))
