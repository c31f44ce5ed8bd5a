"""Layers that transformer families are made of.

Shape letters: B batch, L length, M length of what is looked at, D model width, H heads, G key/value
heads, K head width, F hidden width. Parameters are float32; `dtype` is what matrix products are
computed in. Normalisation, attention probabilities and anything that is summed over a vocabulary
stay in float32.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers import pipeline, placement, quantized, ring, weights
from models.layers.attention import attend, attend_after
from models.layers.placement import spread

ACTIVATIONS = ("gelu", "swiglu")
EPSILON = 1e-6  # added to the mean square in a norm
# What the backward pass of a block computes again: nothing, everything, or all but the products
# with a weight. The more, the less memory; on CPU also the faster, since stacked residuals are slow
# to write there, but where they are not stacked ("unrolled": nothing, and layers stand one by one
# in the program) and stay in the cache.
REMAT = {
    "none": None,
    "unrolled": None,
    "full": jax.checkpoint_policies.nothing_saveable,
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}
_IN_CACHE = 2**14  # numbers of a residual stream whose steps are faster unrolled (LOG.md)
_LAYERS = 8  # at most, that are unrolled unasked: each is compiled


@dataclass(frozen=True)
class Shape:
    """What a block is, but for its width, which is that of its input."""

    heads: int
    kv_heads: int
    hidden: int
    activation: str  # of ACTIVATIONS, or "silu" (models.layers.conformer)
    causal: bool
    qk_norm: bool
    norm_epsilon: float
    rope_base: float  # 0 = positions are not rotary
    out_gain: float  # of the weights that lead back into the residual stream
    dropout: float
    dtype: jnp.dtype  # of activations and matrix products
    quantize: str

    @classmethod
    def of(cls, config: Any, branches: int, *, causal: bool, **others: Any) -> "Shape":
        """What a family's blocks are, by the fields of its config that have the same names.

        Args:
          config: of the family.
          branches: residual ones in all: their sum keeps its scale at any depth (Radford et al.
            2019).
          causal: whether a token sees those before it alone.
          others: fields that the config has not, or has for something else.
        """
        known = {"kv_heads": config.heads, "norm_epsilon": EPSILON, "quantize": "none"}
        known |= {f.name: getattr(config, f.name) for f in fields(cls) if hasattr(config, f.name)}
        known |= {"dtype": jnp.dtype(config.dtype), "out_gain": branches**-0.5, "causal": causal}
        return cls(**known | others)


def check(config: Any, counts: Sequence[str]) -> None:
    """Checks the fields of a family's config that say what its blocks are.

    Args:
      config: of the family.
      counts: its fields that are numbers of something.

    Raises:
      ValueError: naming the field and what is allowed.
    """
    allowed = {
        "activation": ACTIVATIONS,
        "dtype": ("float32", "bfloat16"),
        "remat": ("auto", *sorted(REMAT)),
    }
    for field, values in allowed.items():
        if getattr(config, field) not in values:
            raise ValueError(f"{field}: {getattr(config, field)!r}; allowed: {', '.join(values)}")
    for field in counts:
        if getattr(config, field) < 1:
            raise ValueError(f"{field}: {getattr(config, field)}; must be at least 1")
    if config.width % config.heads or (config.width // config.heads) % 2:
        given = f"heads: {config.heads}; width {config.width}"
        raise ValueError(f"{given} / heads must be even and whole")
    if not 0 <= config.dropout < 1:
        raise ValueError(f"dropout: {config.dropout}; must be in [0, 1)")


def matrix(
    module: nn.Module,
    name: str,
    inputs: weights.Axes,
    outputs: weights.Axes,
    gain: float = 1.0,
    each: weights.Axes = MappingProxyType({}),
) -> jax.Array:
    """A weight of a module with a Shape, in its dtype. See `weights.weight`."""
    w = weights.weight(module, name, inputs, outputs, gain=gain, each=each)
    return weights.gathered(w, (*each, *inputs, *outputs), module.shape.dtype)


def dense(x: jax.Array, w: jax.Array, quantize: str = "none") -> jax.Array:
    """[..., D] times [D, ...] -> [..., ...], as one plain matrix product.

    Quantized (models.layers.quantized), x is [B, L, D]. XLA:CPU runs the gradient of a product with
    two batch axes at half the speed of the flattened one. Batch and length can only be flattened if
    they are not both split.
    """
    if quantize != "none":
        y = quantized.einsum(quantize, "bld,dn->bln", x, w.reshape(w.shape[0], -1))
        return y.reshape(*x.shape[:-1], *w.shape[1:])
    if placement.ways("length") > 1 or placement.platform() != "cpu":
        return jnp.tensordot(x, w, axes=1)
    y = x.reshape(-1, x.shape[-1]) @ w.reshape(w.shape[0], -1)
    return y.reshape(*x.shape[:-1], *w.shape[1:])


class RMSNorm(nn.Module):
    """Root-mean-square normalisation over the last axis (Zhang and Sennrich 2019)."""

    dtype: jnp.dtype
    epsilon: float = EPSILON

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        # So small that it is copied to all devices.
        size = {"norm": x.shape[-1]}
        scale = weights.weight(self, "scale", {}, size, init=nn.initializers.ones)
        x = x.astype(jnp.float32)
        x = x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + self.epsilon)
        return (x * scale.reshape((1,) * (x.ndim - 1) + (-1,))).astype(self.dtype)


def rotate(x_BxHxLxK: jax.Array, positions_L: jax.Array, base: float) -> jax.Array:
    """Rotary position embedding (Su et al. 2021) in the half-split layout."""
    K = x_BxHxLxK.shape[-1]
    frequency_k = base ** (-jnp.arange(0, K, 2, dtype=jnp.float32) / K)
    angle_Lxk = positions_L.astype(jnp.float32)[:, None] * frequency_k[None, :]
    cos_Lxk, sin_Lxk = jnp.cos(angle_Lxk)[None, None], jnp.sin(angle_Lxk)[None, None]
    a, b = jnp.split(x_BxHxLxK.astype(jnp.float32), 2, axis=-1)
    rotated = jnp.concatenate([a * cos_Lxk - b * sin_Lxk, b * cos_Lxk + a * sin_Lxk], axis=-1)
    return rotated.astype(x_BxHxLxK.dtype)


class Keys(NamedTuple):
    """Keys and values of tokens; of all layers, with an axis N before."""

    key_BxGxLxK: jax.Array
    value_BxGxLxK: jax.Array


class Cache(NamedTuple):
    """Keys and values of the tokens that were written so far, with room for those to come; of all
    layers, with an axis N before."""

    key_BxGxMxK: jax.Array
    value_BxGxMxK: jax.Array
    place: jax.Array  # int32 [], how many were written

    @classmethod
    def empty(cls, layers: int, rows: int, room: int, width: int, of: Shape) -> "Cache":
        """Of all layers, where nothing is written; `room` is M."""
        none = jnp.zeros((layers, rows, of.kv_heads, room, width // of.heads), of.dtype)
        return cls(none, none, jnp.zeros(layers, jnp.int32))

    def write(self, new: Keys) -> "Cache":
        """That of all layers with L tokens more, which the layers gave."""
        old, place = (self.key_BxGxMxK, self.value_BxGxMxK), self.place[0]
        put = jax.lax.dynamic_update_slice_in_dim
        written = (put(x, y, place, axis=x.ndim - 2) for x, y in zip(old, new))
        return Cache(*written, self.place + new.key_BxGxLxK.shape[-2])


class Attention(nn.Module):
    """Self-attention with rotary positions, grouped key/value heads and optional QK-norm.

    `keep_BxL` (bool; None = all) says which tokens are no padding. With a `cache` x are the
    next tokens, which look at those there too; their keys and values are given to be written.
    """

    shape: Shape

    @nn.compact
    def __call__(
        self, x_BxLxD: jax.Array, keep_BxL: jax.Array | None = None, cache: Cache | None = None
    ) -> tuple[jax.Array, Keys | None]:
        of, D = self.shape, x_BxLxD.shape[-1]
        H, G = of.heads, of.kv_heads
        K = D // H
        of_query, of_key = {"heads": H, "head_width": K}, {"kv_heads": G, "head_width": K}
        q_DxHxK = matrix(self, "query", {"embed": D}, of_query)
        k_DxGxK = matrix(self, "key", {"embed": D}, of_key)
        v_DxGxK = matrix(self, "value", {"embed": D}, of_key)
        o_HxKxD = matrix(self, "out", of_query, {"embed": D}, gain=of.out_gain)
        q_BxHxLxK = dense(x_BxLxD, q_DxHxK, of.quantize).swapaxes(1, 2)
        k_BxGxLxK = dense(x_BxLxD, k_DxGxK, of.quantize).swapaxes(1, 2)
        v_BxGxLxK = dense(x_BxLxD, v_DxGxK, of.quantize).swapaxes(1, 2)
        if of.qk_norm:
            q_BxHxLxK = RMSNorm(of.dtype, of.norm_epsilon, name="query_norm")(q_BxHxLxK)
            k_BxGxLxK = RMSNorm(of.dtype, of.norm_epsilon, name="key_norm")(k_BxGxLxK)
        positions_L = ring.positions(x_BxLxD.shape[1])
        if cache is not None:
            positions_L += cache.place
        if of.rope_base:
            q_BxHxLxK = rotate(q_BxHxLxK, positions_L, of.rope_base)
            k_BxGxLxK = rotate(k_BxGxLxK, positions_L, of.rope_base)
        q_BxHxLxK = spread(q_BxHxLxK, "batch", "heads", "length", None)
        k_BxGxLxK = spread(k_BxGxLxK, "batch", "kv_heads", "length", None)
        v_BxGxLxK = spread(v_BxGxLxK, "batch", "kv_heads", "length", None)
        if cache is None:
            a_BxHxLxK = attend(q_BxHxLxK, k_BxGxLxK, v_BxGxLxK, causal=of.causal, keep_BxM=keep_BxL)
        else:
            a_BxHxLxK = attend_after(q_BxHxLxK, k_BxGxLxK, v_BxGxLxK, *cache)
        new = None if cache is None else Keys(k_BxGxLxK, v_BxGxLxK)
        a_BxLxD = a_BxHxLxK.swapaxes(1, 2).reshape(x_BxLxD.shape)
        y_BxLxD = dense(a_BxLxD, o_HxKxD.reshape(D, D), of.quantize)
        return spread(y_BxLxD, "batch", "length", None), new


class MLP(nn.Module):
    """Two-layer perceptron with GELU or SiLU, or gated with SiLU (SwiGLU, Shazeer 2020)."""

    shape: Shape

    @nn.compact
    def __call__(self, x_BxLxD: jax.Array) -> jax.Array:
        of, D, F = self.shape, x_BxLxD.shape[-1], self.shape.hidden
        in_DxF = matrix(self, "in", {"embed": D}, {"hidden": F})
        h_BxLxF = dense(x_BxLxD, in_DxF, of.quantize)
        if of.activation == "swiglu":
            gate_DxF = matrix(self, "gate", {"embed": D}, {"hidden": F})
            gate_BxLxF = dense(x_BxLxD, gate_DxF, of.quantize)
            h_BxLxF = nn.silu(gate_BxLxF) * h_BxLxF
        else:
            h_BxLxF = {"gelu": nn.gelu, "silu": nn.silu}[of.activation](h_BxLxF)
        h_BxLxF = spread(h_BxLxF, "batch", "length", "hidden")
        out_FxD = matrix(self, "out", {"hidden": F}, {"embed": D}, gain=of.out_gain)
        return spread(dense(h_BxLxF, out_FxD, of.quantize), "batch", "length", None)


class Block(nn.Module):
    """Pre-norm residual block: x + attention(norm(x)), then x + mlp(norm(x)).

    `perceptron` makes, of a Shape, what stands in its place: a module from and to [B, L, D].
    Takes and returns, as `nn.scan` wants, a carry; of each layer it takes its cache and gives what
    is to be written there, where x are next tokens (None: they are a whole text). And it takes what
    all layers share: which tokens are no padding (None = all).
    """

    shape: Shape
    train: bool
    perceptron: Callable[..., nn.Module] = MLP

    @nn.compact
    def __call__(
        self,
        x_BxLxD: jax.Array,
        cache: Cache | None = None,
        keep_BxL: jax.Array | None = None,
    ) -> tuple[jax.Array, Keys | None]:
        x_BxLxD = spread(x_BxLxD, "batch", "length", None)

        def drop(y):
            return nn.Dropout(self.shape.dropout, deterministic=not self.train)(y)

        def norm(name):
            return RMSNorm(self.shape.dtype, self.shape.norm_epsilon, name=name)

        attention = Attention(self.shape, name="attention")
        mlp = self.perceptron(self.shape, name="mlp")
        y_BxLxD, new = attention(norm("attention_norm")(x_BxLxD), keep_BxL, cache)
        x_BxLxD = x_BxLxD + drop(y_BxLxD)
        x_BxLxD = x_BxLxD + drop(mlp(norm("mlp_norm")(x_BxLxD)))
        return x_BxLxD, new


def chosen(remat: str, layers: int, x: jax.Array) -> str:
    """A name in REMAT: `remat`, or for "auto" the fastest on these devices, `x` going in."""
    if remat != "auto":
        return remat
    small = x.size <= _IN_CACHE and layers <= _LAYERS
    return "unrolled" if placement.platform() == "cpu" and small else "full"


def scanned(block: type[nn.Module], layers: int, remat: str) -> Callable[..., nn.Module]:
    """What makes `layers` blocks as one module, of a block's fields; `remat` is a name in REMAT.

    A block takes and returns a carry, and takes something of its own layer and something that all
    layers share.
    """
    policy = REMAT[remat]
    return nn.scan(
        nn.remat(block, prevent_cse=False, policy=policy) if policy else block,
        variable_axes={"params": 0, "losses": 0, "metrics": 0},
        split_rngs={"params": True, "dropout": True},
        in_axes=(0, nn.broadcast),
        length=layers,
        unroll=layers if remat == "unrolled" else 1,
        metadata_params={nn.PARTITION_NAME: "layers"},
    )


def stack(
    layers: int,
    shape: Shape,
    x: jax.Array,
    *,
    remat: str,
    train: bool,
    perceptron: Callable[..., nn.Module] = MLP,
) -> nn.Module:
    """`layers` blocks as one scanned module with parameters stacked on a leading `layers` axis.

    Scanning keeps compile time independent of depth. `remat` is a name in REMAT, or "auto", by what
    is to go in, `x`. Where the layers are split over devices, each of these scans its own
    (models.layers.pipeline).
    """
    stages = placement.ways("layers")
    blocks = scanned(Block, layers // stages, chosen(remat, layers // stages, x))
    if stages == 1:
        return blocks(shape, train, perceptron, name="blocks")
    own = blocks(shape, train, perceptron, parent=None)
    return pipeline.Stages(
        lambda params, x: own.apply({"params": params}, x, None, None)[0], name="blocks"
    )
