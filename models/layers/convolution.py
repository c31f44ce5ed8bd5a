"""What networks of convolutions share: the convolution, its norm, pooling. Images are [B, H, W, C].

XLA's own convolution is the fastest on CPU too, but for one channel in: 25 to 110 GFLOP/s a core at
8 to 64 channels, where a product with gathered patches has half (benchmarks/convolution.py).
"""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax

from models.layers import weights

NORMS = ("batch", "group", "instance")
GROUP = 4  # channels of a group, or 2 where there are no whole fours


@dataclasses.dataclass(frozen=True)
class Trunk:
    """What every network of convolutions has."""

    stages: int  # each has half the pixels and twice the channels of the one before
    width: int  # channels of the first stage
    norm: str  # "batch" | "group" | "instance"
    dtype: str  # of activations and convolutions: "float32" | "bfloat16"

    def __post_init__(self):
        for field in ("stages", "width"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field}: {getattr(self, field)}; must be at least 1")
        if self.norm not in NORMS:
            raise ValueError(f"norm: {self.norm!r}; allowed: {', '.join(NORMS)}")
        if self.norm == "group" and self.width % 2:
            raise ValueError(f"width: {self.width}; with norm 'group' a multiple of 2")
        if self.dtype not in ("float32", "bfloat16"):
            raise ValueError(f"dtype: {self.dtype!r}; allowed: float32, bfloat16")

    def fits(self, facts: Mapping[str, Any]) -> None:
        """Raises ValueError where nothing of the data's images is left when they are halved."""
        field, times = self.halvings
        if min(facts["shape"][:2]) < 2**times:
            shape = "x".join(map(str, facts["shape"]))
            raise ValueError(f"{field}: {times}; each halves the image, which is {shape}")

    @property
    def halvings(self) -> tuple[str, int]:
        """How often `halve` is done, and the field that says so."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Config(Trunk):
    """What every one that tells classes apart has."""

    classes: int  # 0 in a config: as many as the data has

    def __post_init__(self):
        super().__post_init__()
        if self.classes < 2:
            raise ValueError(f"classes: {self.classes}; must be at least 2")


class Convolution(nn.Module):
    """[B, H, W, C] -> [B, H / stride, W / stride, features], rounded up; zeros around the image.

    Before a norm within an image the kernel is standardised: each of its outputs has weights of
    mean 0 and variance 1 (Qiao et al. 2019, "Micro-batch training with batch-channel normalization
    and weight standardization", section 3), which does for small batches what a norm over them
    would.
    """

    features: int
    size: int  # of the kernel, in pixels
    norm: str  # that follows
    stride: int = 1
    axis: str = "channels"  # of what comes in; "pixels" of an image

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        inputs = {"rows": self.size, "columns": self.size, self.axis: x.shape[-1]}
        outputs, init = {"embed": self.features}, nn.initializers.he_normal()
        kernel = weights.weight(self, "kernel", inputs, outputs, init=init)
        if self.norm != "batch":
            kernel = jax.nn.standardize(kernel, axis=(0, 1, 2), epsilon=1e-8)
        return jax.lax.conv_general_dilated(
            x,
            weights.gathered(kernel, (*inputs, *outputs), x.dtype),
            (self.stride, self.stride),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )


class Norm(nn.Module):
    """Normalises each channel over the batch and its pixels (Ioffe and Szegedy 2015), or over an
    image's own pixels ("instance": Ulyanov et al. 2016), or groups of GROUP channels over those (Wu
    and He 2018); then a scale and a shift a channel.

    "batch" keeps the mean and the variance to evaluate with in the collection batch_stats, and
    makes rows look at one another, so that a step cannot be taken in parts.
    """

    kind: str
    scale: float = 1.0  # at the start

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        start = nn.initializers.constant(self.scale)
        boxed = functools.partial(weights.boxed, inputs=(), outputs=("norm",))
        kept = {
            "scale_init": boxed(start),
            "bias_init": boxed(nn.initializers.zeros),
            "dtype": x.dtype,
        }
        if self.kind != "batch":
            size = math.gcd(x.shape[-1], GROUP) if self.kind == "group" else 1
            return nn.GroupNorm(num_groups=None, group_size=size, name="group", **kept)(x)
        running = nn.BatchNorm(use_running_average=not train, momentum=0.9, name="batch", **kept)
        return running(x)


def halve(x: jax.Array) -> jax.Array:
    """The largest of each 2 x 2 pixels; of an odd size the last row or column is left out.

    (The gradient of a window's maximum scatters, which is slow on CPU; that of an axis' does not.)
    """
    B, H, W, C = x.shape
    x = x[:, : H // 2 * 2, : W // 2 * 2].reshape(B, H // 2, 2, W // 2, 2, C)
    return x.max(axis=(2, 4))


def biased(
    features: int,
    name: str,
    *,
    inputs: str = "channels",
    outputs: str = "embed",
    init: nn.initializers.Initializer | None = None,
) -> nn.Conv:
    """Of 3 x 3 pixels with a bias; zeros around the image. `inputs` and `outputs` are what the
    channels are: "pixels" of an image."""
    kernel = init or nn.initializers.he_normal()
    return nn.Conv(
        features,
        (3, 3),
        kernel_init=weights.boxed(kernel, ("rows", "columns", inputs), (outputs,)),
        bias_init=weights.boxed(nn.initializers.zeros, (), ("norm",)),
        name=name,
    )


def dense(
    features: int,
    axes: tuple[str | None, str | None],
    name: str,
    init: nn.initializers.Initializer | None = None,
) -> nn.Dense:
    """A layer [..., C] -> [..., features] with a bias; `axes` are those of its kernel. A head
    starts at 0: all classes are as likely, and the first loss is the log of their number.
    """
    kernel = init or (nn.initializers.zeros if name == "head" else nn.initializers.he_normal())
    return nn.Dense(
        features,
        kernel_init=weights.boxed(kernel, axes[:1], axes[1:]),
        bias_init=weights.boxed(nn.initializers.zeros, (), axes[1:]),
        name=name,
    )
