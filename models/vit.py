"""vit: a transformer that sees an image as a sequence of patches.

That of Dosovitskiy et al. 2021 (arXiv:2010.11929) with the plain choices of Beyer et al. 2022
(arXiv:2205.01580), fixed sines of a patch's row and column and no token for the class, and the
blocks of `gpt`. What the patches say is averaged, or asked for by one learnt query (Zhai et al.
2022, arXiv:2106.04560, appendix A: multi-head attention pooling).

Shape letters: B batch, L patches, P numbers of a patch, D model width, H heads, K head width.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from models.layers import convolution, transformer
from models.layers.attention import attend
from models.layers.weights import gathered, weight

POOLS = ("mean", "query")


@dataclasses.dataclass(frozen=True)
class Config:
    classes: int  # 0 in a config: as many as the data has
    patch: int  # pixels of a side; must divide those of an image
    layers: int
    width: int  # D, a multiple of 4
    heads: int  # H; width / heads must be even
    hidden: int  # width of the perceptron
    pool: str  # what stands for all patches: their "mean" | what a learnt "query" finds in them
    activation: str  # "gelu" | "swiglu"
    qk_norm: bool  # normalise queries and keys per head (Dehghani et al. 2023)
    dropout: float  # rate, on each residual branch
    remat: str  # what the backward pass computes again: one of `transformer.REMAT`, or "auto"
    dtype: str  # of activations and matrix products: "float32" | "bfloat16"

    def __post_init__(self):
        transformer.check(self, ("patch", "layers", "width", "heads", "hidden"))
        if self.classes < 2:
            raise ValueError(f"classes: {self.classes}; must be at least 2")
        if self.width % 4:
            raise ValueError(f"width: {self.width}; must be a multiple of 4")
        if self.pool not in POOLS:
            raise ValueError(f"pool: {self.pool!r}; allowed: {', '.join(POOLS)}")

    def fits(self, facts: Mapping[str, Any]) -> None:
        """Raises ValueError where the data's images are no whole number of patches."""
        if any(side % self.patch for side in facts["shape"][:2]):
            shape = "x".join(map(str, facts["shape"]))
            raise ValueError(f"patch: {self.patch}; must divide the sides of an image of {shape}")


class Model(nn.Module):
    """batch["image"] float [B, height, width, channels] -> logits float32 [B, classes]."""

    config: Config

    @nn.compact
    def __call__(self, batch: dict[str, jax.Array], *, train: bool = False) -> jax.Array:
        c, dtype = self.config, jnp.dtype(self.config.dtype)
        x_BxLxP = patches(batch["image"], c.patch).astype(dtype)
        patch_PxD = weight(self, "patch", {"pixels": x_BxLxP.shape[-1]}, {"embed": c.width})
        x_BxLxD = transformer.dense(x_BxLxP, gathered(patch_PxD, ("pixels", "embed"), dtype))
        rows, columns = (side // c.patch for side in batch["image"].shape[1:3])
        x_BxLxD += sines(rows, columns, c.width).astype(dtype)[None]
        blocks = transformer.stack(c.layers, self.shape(), x_BxLxD, remat=c.remat, train=train)
        x_BxLxD, _ = blocks(x_BxLxD, None, None)
        x_BxLxD = transformer.RMSNorm(dtype, name="out_norm")(x_BxLxD)
        pool = Query(self.shape(), name="pool") if c.pool == "query" else lambda x: x.mean(axis=1)
        x_BxD = pool(x_BxLxD)
        return convolution.dense(c.classes, ("embed", None), "head")(x_BxD.astype(jnp.float32))

    def shape(self) -> transformer.Shape:
        """What its blocks are."""
        c = self.config
        return transformer.Shape.of(c, 2 * c.layers, causal=False, rope_base=0.0)


class Query(nn.Module):
    """[B, L, D] -> [B, D]: attention of one learnt query, then a perceptron beside it."""

    shape: transformer.Shape

    @nn.compact
    def __call__(self, x_BxLxD: jax.Array) -> jax.Array:
        of, (B, _, D) = self.shape, x_BxLxD.shape
        heads = {"heads": of.heads, "head_width": D // of.heads}
        q_HxK = weight(self, "query", {}, heads, init=nn.initializers.normal(1.0)).astype(of.dtype)
        k_BxHxLxK, v_BxHxLxK = (
            transformer.dense(
                x_BxLxD, transformer.matrix(self, name, {"embed": D}, heads)
            ).swapaxes(1, 2)
            for name in ("key", "value")
        )
        q_BxHx1xK = jnp.broadcast_to(q_HxK[None, :, None], (B, *q_HxK.shape[:1], 1, D // of.heads))
        found_BxHx1xK = attend(q_BxHx1xK, k_BxHxLxK, v_BxHxLxK, causal=False)
        out_HxKxD = transformer.matrix(self, "out", heads, {"embed": D})
        y_Bx1xD = transformer.dense(found_BxHx1xK.reshape(B, 1, D), out_HxKxD.reshape(D, D))
        norm = transformer.RMSNorm(of.dtype, name="norm")
        return (y_Bx1xD + transformer.MLP(of, name="mlp")(norm(y_Bx1xD)))[:, 0]


def patches(image_BxHxWxC: jax.Array, side: int) -> jax.Array:
    """[B, H, W, C] -> [B, patches, side * side * C], row by row of patches."""
    B, H, W, C = image_BxHxWxC.shape
    split = image_BxHxWxC.reshape(B, H // side, side, W // side, side, C)
    return split.swapaxes(2, 3).reshape(B, -1, side * side * C)


def sines(rows: int, columns: int, width: int) -> jax.Array:
    """Fixed positions, float32 [rows * columns, width]: sines and cosines of the column and of the
    row, in waves of 1 to 10,000 radians a place (Beyer et al. 2022)."""
    row_L, column_L = (x.ravel() for x in np.indices((rows, columns)))
    wave_K = 10_000.0 ** -np.linspace(0, 1, width // 4)
    turned = [np.outer(place_L, wave_K) for place_L in (column_L, row_L)]
    parts = [f(x) for x in turned for f in (np.sin, np.cos)]
    return jnp.asarray(np.concatenate(parts, axis=1), jnp.float32)
