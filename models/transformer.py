"""Layers that transformer families are made of.

Shape letters: B batch, L length, D model width, H heads, G key/value heads, K head width, F hidden
width. Parameters are float32; `dtype` is what matrix products are computed in. Normalisation,
attention probabilities and anything that is summed over a vocabulary stay in float32.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

ACTIVATIONS = ("gelu", "swiglu")


def _matrix(module: nn.Module, name: str, shape, axes, fan_in: int, gain: float = 1.0):
    """A float32 weight with entries N(0, gain^2 / fan_in), given in compute dtype."""
    init = nn.with_logical_partitioning(nn.initializers.normal(gain / fan_in**0.5), axes)
    return module.param(name, init, shape, jnp.float32).astype(module.dtype)


def dense(x: jax.Array, w: jax.Array) -> jax.Array:
    """[..., D] times [D, ...] -> [..., ...], as one plain matrix product.

    XLA:CPU runs the gradient of a product with two batch axes at half the speed of the flattened
    one.
    """
    y = x.reshape(-1, x.shape[-1]) @ w.reshape(w.shape[0], -1)
    return y.reshape(*x.shape[:-1], *w.shape[1:])


class RMSNorm(nn.Module):
    """Root-mean-square normalisation over the last axis (Zhang and Sennrich 2019)."""

    dtype: jnp.dtype
    axis: str = "embed"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        init = nn.with_logical_partitioning(nn.initializers.ones, (self.axis,))
        scale = self.param("scale", init, (x.shape[-1],), jnp.float32)
        x = x.astype(jnp.float32)
        x = x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + 1e-6)
        return (x * scale.reshape((1,) * (x.ndim - 1) + (-1,))).astype(self.dtype)


def rotate(x_BxHxLxK: jax.Array, base: float) -> jax.Array:
    """Rotary position embedding (Su et al. 2021) in the half-split layout."""
    L, K = x_BxHxLxK.shape[-2:]
    frequency_k = base ** (-jnp.arange(0, K, 2, dtype=jnp.float32) / K)
    angle_Lxk = jnp.arange(L, dtype=jnp.float32)[:, None] * frequency_k[None, :]
    cos_Lxk, sin_Lxk = jnp.cos(angle_Lxk)[None, None], jnp.sin(angle_Lxk)[None, None]
    a, b = jnp.split(x_BxHxLxK.astype(jnp.float32), 2, axis=-1)
    rotated = jnp.concatenate([a * cos_Lxk - b * sin_Lxk, b * cos_Lxk + a * sin_Lxk], axis=-1)
    return rotated.astype(x_BxHxLxK.dtype)


def attend(q_BxHxLxK: jax.Array, k_BxHxLxK: jax.Array, v_BxHxLxK: jax.Array, *, causal: bool):
    """Softmax attention, [B, H, L, K] -> [B, H, L, K].

    Head-major operands make both products plain batched matrix products, which is what XLA:CPU runs
    fast; the mask is added to the scores because a select breaks its fusion with the softmax.
    """
    L, K = q_BxHxLxK.shape[-2:]
    scores_BxHxLxL = jnp.einsum(
        "bhlk,bhmk->bhlm", q_BxHxLxK * K**-0.5, k_BxHxLxK, preferred_element_type=jnp.float32
    )
    if causal:
        mask_LxL = jnp.where(jnp.tri(L, dtype=bool), 0.0, -1e30).astype(jnp.float32)
        scores_BxHxLxL += mask_LxL[None, None]
    p_BxHxLxL = jax.nn.softmax(scores_BxHxLxL, axis=-1).astype(v_BxHxLxK.dtype)
    return jnp.einsum("bhlm,bhmk->bhlk", p_BxHxLxL, v_BxHxLxK)


class Attention(nn.Module):
    """Self-attention with rotary positions, grouped key/value heads and optional QK-norm."""

    heads: int
    kv_heads: int
    causal: bool
    qk_norm: bool
    rope_base: float
    out_gain: float
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x_BxLxD: jax.Array) -> jax.Array:
        D, H, G = x_BxLxD.shape[-1], self.heads, self.kv_heads
        K = D // H
        q_DxHxK = _matrix(self, "query", (D, H, K), ("embed", "heads", "head_width"), D)
        k_DxGxK = _matrix(self, "key", (D, G, K), ("embed", "kv_heads", "head_width"), D)
        v_DxGxK = _matrix(self, "value", (D, G, K), ("embed", "kv_heads", "head_width"), D)
        o_HxKxD = _matrix(
            self, "out", (H, K, D), ("heads", "head_width", "embed"), D, gain=self.out_gain
        )
        q_BxHxLxK = dense(x_BxLxD, q_DxHxK).swapaxes(1, 2)
        k_BxGxLxK = dense(x_BxLxD, k_DxGxK).swapaxes(1, 2)
        v_BxGxLxK = dense(x_BxLxD, v_DxGxK).swapaxes(1, 2)
        if self.qk_norm:
            q_BxHxLxK = RMSNorm(self.dtype, "head_width", name="query_norm")(q_BxHxLxK)
            k_BxGxLxK = RMSNorm(self.dtype, "head_width", name="key_norm")(k_BxGxLxK)
        q_BxHxLxK = rotate(q_BxHxLxK, self.rope_base)
        k_BxGxLxK = rotate(k_BxGxLxK, self.rope_base)
        k_BxHxLxK = jnp.repeat(k_BxGxLxK, H // G, axis=1)
        v_BxHxLxK = jnp.repeat(v_BxGxLxK, H // G, axis=1)
        a_BxHxLxK = attend(q_BxHxLxK, k_BxHxLxK, v_BxHxLxK, causal=self.causal)
        return dense(a_BxHxLxK.swapaxes(1, 2).reshape(x_BxLxD.shape), o_HxKxD.reshape(D, D))


class MLP(nn.Module):
    """Two-layer perceptron with GELU, or gated with SiLU (SwiGLU, Shazeer 2020)."""

    hidden: int
    activation: str
    out_gain: float
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x_BxLxD: jax.Array) -> jax.Array:
        D, F = x_BxLxD.shape[-1], self.hidden
        h_BxLxF = dense(x_BxLxD, _matrix(self, "in", (D, F), ("embed", "hidden"), D))
        if self.activation == "swiglu":
            gate_BxLxF = dense(x_BxLxD, _matrix(self, "gate", (D, F), ("embed", "hidden"), D))
            h_BxLxF = nn.silu(gate_BxLxF) * h_BxLxF
        else:
            h_BxLxF = nn.gelu(h_BxLxF)
        return dense(h_BxLxF, _matrix(self, "out", (F, D), ("hidden", "embed"), F, self.out_gain))


class Block(nn.Module):
    """Pre-norm residual block: x + attention(norm(x)), then x + mlp(norm(x)).

    Takes and returns a carry and nothing, as `nn.scan` wants.
    """

    heads: int
    kv_heads: int
    hidden: int
    activation: str
    causal: bool
    qk_norm: bool
    rope_base: float
    out_gain: float
    dropout: float
    train: bool
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x_BxLxD: jax.Array, _=None) -> tuple[jax.Array, None]:
        def drop(y):
            return nn.Dropout(self.dropout, deterministic=not self.train)(y)

        attention = Attention(
            self.heads,
            self.kv_heads,
            self.causal,
            self.qk_norm,
            self.rope_base,
            self.out_gain,
            self.dtype,
            name="attention",
        )
        mlp = MLP(self.hidden, self.activation, self.out_gain, self.dtype, name="mlp")
        x_BxLxD = x_BxLxD + drop(attention(RMSNorm(self.dtype, name="attention_norm")(x_BxLxD)))
        x_BxLxD = x_BxLxD + drop(mlp(RMSNorm(self.dtype, name="mlp_norm")(x_BxLxD)))
        return x_BxLxD, None


def stack(layers: int, *, remat: bool, **block) -> nn.Module:
    """`layers` blocks as one scanned module with parameters stacked on a leading `layers` axis.

    Scanning keeps compile time independent of depth. `remat` recomputes a block's inside in the
    backward pass: less memory, and on CPU faster too, since stacked residuals are slow to write
    there.
    """
    body = nn.remat(Block, prevent_cse=False) if remat else Block
    scanned = nn.scan(
        body,
        variable_axes={"params": 0},
        split_rngs={"params": True, "dropout": True},
        length=layers,
        metadata_params={nn.PARTITION_NAME: "layers"},
    )
    return scanned(**block, name="blocks")
