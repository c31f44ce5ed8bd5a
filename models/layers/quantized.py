"""Products with a weight in eight bits, in training too. Weights themselves stay float32.

Both sides of a product are rounded to eight bits, times a scale for each row of the left one and
each column of the right one (what is largest there is the largest number of eight bits); sums are
int32 or float32. Scales are those of the values at hand, so there is no state. Rounding has the
gradient of doing nothing (straight-through, Bengio et al. 2013, arXiv:1308.3432).

int8: the gradient of the left side too is a product in int8, that of the weight, a sum over all
tokens, is not (SwitchBack, Wortsman et al. 2023, arXiv:2304.13013). fp8: all three products are;
values are e4m3, and gradients, which need more range, e5m2 (Micikevicius et al. 2022,
arXiv:2209.05433).

The arithmetic is qwix's, which is optional and imported only here and when it is used.
"""

import functools
import importlib.util

import jax
import jax.numpy as jnp

VERSION = "0.1.8"  # of qwix, the one tested
# Types of values, of gradients with respect to values, and of those with respect to weights.
KINDS = {
    "none": None,
    "int8": (jnp.int8, jnp.int8, None),
    "fp8": (jnp.float8_e4m3fn, jnp.float8_e5m2, jnp.float8_e5m2),
}
# The largest of a row is 127 steps. qwix makes it 127.5, which the last bit of a float32 rounds up
# or down: another one on every mesh.
_LARGEST = {jnp.int8: f"absmax,{127.5 / 127}"}


def check(kind: str) -> None:
    """Raises ValueError for a name that is not in KINDS, and where qwix is needed and missing."""
    if kind not in KINDS:
        raise ValueError(f"quantize: {kind!r}; allowed: fp8, int8, none")
    if KINDS[kind] and importlib.util.find_spec("qwix") is None:
        raise ValueError(f"quantize: {kind!r} needs qwix: pip install 'qwix=={VERSION}'")


def einsum(kind: str, axes: str, x: jax.Array, w: jax.Array) -> jax.Array:
    """jnp.einsum(axes, x, w) in the bits of this kind, given in the type of x.

    Axes of the result must be in the order of a matrix product: those that both sides have, those
    of x, those of w.
    """
    return _einsum(kind, axes, x, w) if KINDS[kind] else jnp.einsum(axes, x, w)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _einsum(kind: str, axes: str, x: jax.Array, w: jax.Array) -> jax.Array:
    values, _, _ = KINDS[kind]
    return _product(axes, (x, values), (w, values))


def _forward(kind: str, axes: str, x: jax.Array, w: jax.Array):
    return _einsum(kind, axes, x, w), (x, w)


def _backward(kind: str, axes: str, kept: tuple[jax.Array, jax.Array], g: jax.Array):
    x, w = kept
    values, gradients, weight_gradients = KINDS[kind]
    sides, out = axes.split("->")
    left, right = sides.split(",")
    dx = _product(f"{out},{right}->{left}", (g, gradients), (w, values))
    if weight_gradients is None:
        dw = jnp.einsum(f"{left},{out}->{right}", x, g)
    else:
        dw = _product(f"{left},{out}->{right}", (x, values), (g, weight_gradients))
    return dx, dw.astype(w.dtype)


_einsum.defvjp(_forward, _backward)


def _product(axes: str, *sides: tuple[jax.Array, jnp.dtype]) -> jax.Array:
    """einsum of arrays, each rounded to its type with a scale for all that is summed together."""
    import qwix

    of_sides, out = axes.split("->")
    names = of_sides.split(",")
    both = [axis for axis in names[0] if axis in names[1]]
    # What is summed over, then what is not: as jax.lax.dot_general wants.
    shared = [axis for axis in both if axis not in out], [axis for axis in both if axis in out]
    dimensions = tuple(tuple([n.index(a) for a in group] for n in names) for group in shared)
    few_bits = (
        # In bfloat16 a scale would be rounded as coarsely as the values.
        qwix.quantize(
            x.astype(jnp.float32),
            dtype,
            channelwise_axes=[i for i, axis in enumerate(own) if axis in out],
            calibration_method=_LARGEST.get(dtype, "absmax"),
        )
        for own, (x, dtype) in zip(names, sides)
    )
    return qwix.dot_general(*few_bits, dimensions).astype(sides[0][0].dtype)
