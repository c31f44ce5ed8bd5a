"""What a 3 x 3 convolution with its gradients costs, in three ways to write it.

    python -m benchmarks.convolution

Prints GFLOP/s, forward and backward, of one process: XLA's convolution, one product with the nine
shifted images side by side, and the sum of nine products.
"""

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

BATCH, SECONDS = 32, 0.3
SHAPES = ((28, 1, 16), (28, 8, 8), (28, 16, 16), (14, 16, 32), (14, 32, 32), (7, 64, 64))


def convolution(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """[B, H, W, C] with [3, 3, C, O] -> [B, H, W, O]."""
    axes = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=axes)


def patches(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The same as one product."""
    beside = jnp.concatenate(_shifted(x), axis=-1)
    return beside @ kernel.reshape(-1, kernel.shape[-1])


def shifts(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The same as nine."""
    parts = kernel.reshape(9, *kernel.shape[2:])
    return sum(image @ part for image, part in zip(_shifted(x), parts))


def _shifted(x: jax.Array) -> list[jax.Array]:
    _, H, W, _ = x.shape
    around = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return [around[:, i : i + H, j : j + W] for i in range(3) for j in range(3)]


def seconds(function: Callable, x: np.ndarray, kernel: np.ndarray) -> float:
    """The shortest time of a call with both gradients."""
    both = jax.jit(jax.grad(lambda x, k: jnp.square(function(jnp.tanh(x), k)).sum(), (0, 1)))
    jax.block_until_ready(both(x, kernel))
    shortest, end = np.inf, time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        jax.block_until_ready(both(x, kernel))
        shortest = min(shortest, time.perf_counter() - start)
    return shortest


def main() -> None:
    """Prints the table."""
    ways = (convolution, patches, shifts)
    print(f"{'image':>7} {'channels':>10}", *(f"{way.__name__:>12}" for way in ways))
    rng = np.random.default_rng(0)
    for side, C, O in SHAPES:
        x = rng.normal(size=(BATCH, side, side, C)).astype(np.float32)
        kernel = rng.normal(size=(3, 3, C, O)).astype(np.float32) / C
        flops = 3 * 2 * BATCH * side**2 * kernel.size
        speeds = [f"{flops / seconds(way, x, kernel) / 1e9:12.1f}" for way in ways]
        print(f"{side:>3}x{side:<3} {C:>4} to {O:>2}", *speeds, flush=True)


if __name__ == "__main__":
    main()
