"""A block that looks at all of a recording by attention and at what is near by convolution.

Gulati et al. 2020, "Conformer", arXiv:2005.08100, section 2, with a few changes. Positions are
rotary, not those of Transformer-XL, and queries and keys are normalised. Norms are root mean
squares of one step's channels, also the one behind the depthwise convolution, where the paper has a
batch norm: its statistics would be of padding too, and of other recordings. Weights that lead back
into the residual stream start smaller by the root of its branches.

Shape letters: B batch, L steps, D model width, F hidden width, K steps that a channel looks at.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers import transformer
from models.layers.placement import spread
from models.layers.transformer import RMSNorm, dense, matrix

BRANCHES = 4  # of a block, between two norms of the residual stream


def depthwise(x_BxLxF: jax.Array, w_KxF: jax.Array) -> jax.Array:
    """Each channel by itself over K steps, as many before as after; zeros around: [B, L, F].

    A product with shifted copies: on CPU three to five times as fast, with its gradient,
    as XLA's convolution in groups (24 to 96 channels).
    """
    (K, _), L = w_KxF.shape, x_BxLxF.shape[1]
    around_BxSxF = jnp.pad(x_BxLxF, ((0, 0), (K // 2, K // 2), (0, 0)))
    moved_KxBxLxF = jnp.stack([around_BxSxF[:, k : k + L] for k in range(K)])
    return jnp.einsum("kblf,kf->blf", moved_KxBxLxF, w_KxF)


class Convolution(nn.Module):
    """Section 2.2: a gated linear unit, a depthwise convolution, norm, swish, and back.

    As wide as its input; steps that are not kept are zeros to the others.
    """

    shape: transformer.Shape
    kernel: int  # K, odd

    @nn.compact
    def __call__(self, x_BxLxD: jax.Array, keep_BxL: jax.Array) -> jax.Array:
        of, D = self.shape, x_BxLxD.shape[-1]
        in_DxF, gate_DxF = (matrix(self, n, {"embed": D}, {"hidden": D}) for n in ("in", "gate"))
        w_KxF = matrix(self, "depthwise", {"steps": self.kernel}, {"hidden": D})
        out_FxD = matrix(self, "out", {"hidden": D}, {"embed": D}, gain=of.out_gain)
        h_BxLxF = dense(x_BxLxD, in_DxF) * nn.sigmoid(dense(x_BxLxD, gate_DxF))
        h_BxLxF = jnp.where(keep_BxL[..., None], h_BxLxF, 0)
        h_BxLxF = depthwise(spread(h_BxLxF, "batch", "length", "hidden"), w_KxF)
        h_BxLxF = nn.silu(RMSNorm(of.dtype, of.norm_epsilon, name="norm")(h_BxLxF))
        return spread(dense(h_BxLxF, out_FxD), "batch", "length", None)


class Block(nn.Module):
    """Half a perceptron, attention, convolution, half a perceptron, each of what is normalised and
    added to its input; then a norm (section 2.4). keep_BxL: bool, which steps are no padding."""

    shape: transformer.Shape
    kernel: int
    train: bool

    @nn.compact
    def __call__(self, x_BxLxD: jax.Array, keep_BxL: jax.Array) -> jax.Array:
        of = self.shape

        def norm(name):
            return RMSNorm(of.dtype, of.norm_epsilon, name=f"{name}_norm")

        def drop(y):
            return nn.Dropout(of.dropout, deterministic=not self.train)(y)

        def perceptron(name):
            return 0.5 * drop(transformer.MLP(of, name=name)(norm(name)(x_BxLxD)))

        x_BxLxD = x_BxLxD + perceptron("before")
        attention = transformer.Attention(of, name="attention")
        x_BxLxD = x_BxLxD + drop(attention(norm("attention")(x_BxLxD), keep_BxL)[0])
        convolution = Convolution(of, self.kernel, name="convolution")
        x_BxLxD = x_BxLxD + drop(convolution(norm("convolution")(x_BxLxD), keep_BxL))
        x_BxLxD = x_BxLxD + perceptron("after")
        return norm("out")(x_BxLxD)
