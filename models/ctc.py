"""ctc: hears a recording and says, step by step, which character is being spoken, or none.

The recurrent branch of Deep Speech 2 (Amodei et al. 2015, arXiv:1512.02595): a convolution over
time that takes several frames to a step, then layers of long short-term memory that read both ways,
here in pre-norm residual blocks; or, behind the same convolution, the blocks of a conformer
(models.layers.conformer). Its outputs are for connectionist temporal classification (Graves et al.
2006): class 0 is the blank.

Shape letters: B batch, F frames, M bands of pitch, L steps (F / stride), D width, K classes.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers import conformer, convolution, recurrent, transformer

BLOCKS = ("lstm", "conformer")
NEWER = {"block": "lstm", "heads": 0, "hidden": 0, "kernel": 0}  # see `models.newer`


@dataclasses.dataclass(frozen=True)
class Config:
    classes: int  # K, the blank among them; 0 in a config: as many as the data has
    stride: int  # frames of a step; 0 in a config: as many as the data says
    layers: int
    width: int  # D; half of it is the state of each direction of an LSTM
    block: str  # of BLOCKS
    # Of a conformer; 0 with an LSTM:
    heads: int  # width / heads must be even (rotary positions)
    hidden: int  # width of each perceptron
    kernel: int  # steps that the depthwise convolution looks at, an odd number
    dropout: float  # rate, on each residual branch
    dtype: str  # of activations and matrix products: "float32" | "bfloat16"

    def __post_init__(self):
        for field in ("classes", "stride", "layers", "width"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field}: {getattr(self, field)}; must be at least 1")
        if self.width % 2:
            raise ValueError(f"width: {self.width}; must be even")
        if self.block not in BLOCKS:
            raise ValueError(f"block: {self.block!r}; allowed: {', '.join(BLOCKS)}")
        self._check_conformer()
        if self.dtype not in ("float32", "bfloat16"):
            raise ValueError(f"dtype: {self.dtype!r}; allowed: float32, bfloat16")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: {self.dropout}; must be in [0, 1)")

    def _check_conformer(self) -> None:
        for field in ("heads", "hidden", "kernel"):
            if (getattr(self, field) > 0) != (self.block == "conformer"):
                must = "at least 1" if self.block == "conformer" else "0"
                given = f"{field}: {getattr(self, field)}"
                raise ValueError(f"{given}; must be {must} with block {self.block!r}")
        if self.heads and self.width % (2 * self.heads):
            given = f"heads: {self.heads}; width {self.width}"
            raise ValueError(f"{given} / heads must be even and whole")
        if self.heads and self.kernel % 2 == 0:
            raise ValueError(f"kernel: {self.kernel}; must be odd")

    def fits(self, facts) -> None:
        """Raises ValueError where the data leave out what fits into other steps than these."""
        if facts["stride"] != self.stride:
            raise ValueError(f"stride: {self.stride}; must be that of the data, {facts['stride']}")


class Model(nn.Module):
    """batch["speech"] float32 [B, F, M], zeros after its end, and batch["frames"] int [B] -> logits
    float32 [B, L, K].

    Steps of which a frame is past the end say nothing, and no other step looks at them.
    """

    config: Config

    @nn.compact
    def __call__(self, batch: dict[str, jax.Array], *, train: bool = False) -> jax.Array:
        c, dtype = self.config, jnp.dtype(self.config.dtype)
        (B, F, M), stride = batch["speech"].shape, c.stride
        L = F // stride
        keep_BxL = jnp.arange(L)[None] < (batch["frames"] // stride)[:, None]
        x_BxLxM = batch["speech"].astype(dtype).reshape(B, L, stride * M)
        x_BxLxM = jnp.where(keep_BxL[..., None], x_BxLxM, 0)
        # A convolution over the frames of a step and the next one, as one product, which is faster
        # on CPU.
        x_BxLxM = jnp.concatenate([x_BxLxM, jnp.pad(x_BxLxM[:, 1:], ((0, 0), (0, 1), (0, 0)))], -1)
        x_BxLxD = convolution.dense(c.width, (None, "embed"), "steps")(x_BxLxM)
        x_BxLxD = transformer.RMSNorm(dtype, name="in_norm")(nn.gelu(x_BxLxD))
        for layer in range(c.layers):
            x_BxLxD = self._block(f"block_{layer}", train)(x_BxLxD, keep_BxL)
        x_BxLxD = transformer.RMSNorm(jnp.float32, name="out_norm")(x_BxLxD)
        return convolution.dense(c.classes, ("embed", None), "head")(x_BxLxD)

    def _block(self, name: str, train: bool) -> nn.Module:
        c = self.config
        if c.block == "lstm":
            return _Block(c.dropout, jnp.dtype(c.dtype), train, name=name)
        of = transformer.Shape.of(
            c, conformer.BRANCHES, causal=False, activation="silu", qk_norm=True, rope_base=1e4
        )
        return conformer.Block(of, c.kernel, train, name=name)


class _Block(nn.Module):
    """x + lstm(norm(x)), half of the channels from the first step on, half from the last one."""

    dropout: float
    dtype: jnp.dtype
    train: bool

    @nn.compact
    def __call__(self, x_BxLxD: jax.Array, keep_BxL: jax.Array) -> jax.Array:
        y_BxLxD = transformer.RMSNorm(self.dtype, name="norm")(x_BxLxD)
        half = x_BxLxD.shape[-1] // 2
        ways = [
            recurrent.LSTM(half, self.dtype, reverse, name=name)(y_BxLxD, None, keep_BxL)[0]
            for name, reverse in (("forwards", False), ("backwards", True))
        ]
        y_BxLxD = jnp.concatenate(ways, axis=-1)
        return x_BxLxD + nn.Dropout(self.dropout, deterministic=not self.train)(y_BxLxD)
