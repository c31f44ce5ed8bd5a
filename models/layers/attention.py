"""Softmax attention: the one place where its back-end is chosen.

Shape letters: B batch, H heads, G key/value heads (G divides H), L length, M length of what is
looked at, K head width.
"""

import jax
import jax.numpy as jnp

from models.layers import placement, ring

_QUERIES, _KEYS = ("batch", "heads", None, None), ("batch", "kv_heads", None, None)


def attend(
    q_BxHxLxK: jax.Array,
    k_BxGxMxK: jax.Array,
    v_BxGxMxK: jax.Array,
    *,
    causal: bool,
    keep_BxM: jax.Array | None = None,
) -> jax.Array:
    """Softmax attention, [B, H, L, K] -> [B, H, L, K], on whatever devices are traced for.

    Args:
      q_BxHxLxK: queries.
      k_BxGxMxK, v_BxGxMxK: keys and values.
      causal: whether a query sees those up to its own place alone; then M = L.
      keep_BxM: bool, which of them are there at all; None = all. The others are padding.

    Raises:
      ValueError: attention that is not causal, over a sequence that is split over devices.
    """
    if placement.ways("length") > 1:
        if not causal or keep_BxM is not None:
            raise ValueError("causal: False; a sequence split over devices needs causal attention")
        return ring.attend(q_BxHxLxK, k_BxGxMxK, v_BxGxMxK)
    if keep_BxM is not None:
        return xla(q_BxHxLxK, k_BxGxMxK, v_BxGxMxK, causal=causal, keep_BxM=keep_BxM)
    L, K = q_BxHxLxK.shape[-2:]
    backend = BACKENDS[choose(placement.platform(), q_BxHxLxK.dtype, L, K)]
    return backend(q_BxHxLxK, k_BxGxMxK, v_BxGxMxK, causal=causal)


def attend_after(
    q_BxHxLxK: jax.Array,
    k_BxGxLxK: jax.Array,
    v_BxGxLxK: jax.Array,
    past_k_BxGxMxK: jax.Array,
    past_v_BxGxMxK: jax.Array,
    past: jax.Array,
) -> jax.Array:
    """Attention of tokens to those of a cache and, causally, to themselves: [B, H, L, K].

    The cache is only read: a compiled loop that also writes it, layer by layer, copies all of it.

    Args:
      q_BxHxLxK: queries.
      k_BxGxLxK, v_BxGxLxK: their keys and values.
      past_k_BxGxMxK, past_v_BxGxMxK: those of the cache.
      past: int32 [], how many of these there are; the others are room.
    """
    (B, H, L, K), (G, M) = q_BxHxLxK.shape, past_k_BxGxMxK.shape[1:3]
    # The queries of all heads that look at the same keys, as one matrix.
    q_BxGxQxK = (q_BxHxLxK * K**-0.5).reshape(B, G, H // G * L, K)
    scores_BxGxQxM, scores_BxGxQxL = (
        jnp.einsum("bgqk,bgmk->bgqm", q_BxGxQxK, k, preferred_element_type=jnp.float32)
        for k in (past_k_BxGxMxK, k_BxGxLxK)
    )
    scores_BxGxQxM += jnp.where(jnp.arange(M) < past, 0.0, -1e30)[None, None, None]
    causal_QxL = jnp.tile(jnp.tri(L, dtype=bool), (H // G, 1))
    scores_BxGxQxL += jnp.where(causal_QxL, 0.0, -1e30)[None, None]
    p = jax.nn.softmax(jnp.concatenate([scores_BxGxQxM, scores_BxGxQxL], axis=-1), axis=-1)
    p_BxGxQxM, p_BxGxQxL = jnp.split(p.astype(v_BxGxLxK.dtype), [M], axis=-1)
    y_BxGxQxK = jnp.einsum("bgqm,bgmk->bgqk", p_BxGxQxM, past_v_BxGxMxK)
    y_BxGxQxK += jnp.einsum("bgql,bglk->bgqk", p_BxGxQxL, v_BxGxLxK)
    return y_BxGxQxK.reshape(B, H, L, K)


def choose(platform: str, dtype: jnp.dtype, length: int, width: int) -> str:
    """The fastest back-end that takes these shapes: a name in BACKENDS."""
    # What cuDNN's flash attention takes forward and backward on any GPU since Ampere.
    cudnn_takes = dtype in (jnp.bfloat16, jnp.float16) and width % 8 == 0 and width <= 128
    if platform == "gpu" and cudnn_takes:
        return "cudnn"
    if platform == "tpu" and length % 128 == 0 and width % 64 == 0:
        return "splash"
    return "xla"


def xla(q_BxHxLxK, k_BxGxMxK, v_BxGxMxK, *, causal: bool, keep_BxM=None) -> jax.Array:
    """Two matrix products and a softmax: runs anywhere, and holds all L x M scores.

    Head-major operands make both products plain batched matrix products, which is what XLA:CPU runs
    fast; masks are added to the scores because a select breaks its fusion with the softmax.
    """
    L, K = q_BxHxLxK.shape[-2:]
    k_BxHxMxK, v_BxHxMxK = (
        jnp.repeat(x, q_BxHxLxK.shape[1] // x.shape[1], axis=1) for x in (k_BxGxMxK, v_BxGxMxK)
    )
    scores_BxHxLxM = jnp.einsum(
        "bhlk,bhmk->bhlm", q_BxHxLxK * K**-0.5, k_BxHxMxK, preferred_element_type=jnp.float32
    )
    if causal:
        mask_LxM = jnp.where(jnp.tri(L, dtype=bool), 0.0, -1e30).astype(jnp.float32)
        scores_BxHxLxM += mask_LxM[None, None]
    if keep_BxM is not None:
        mask_BxM = jnp.where(keep_BxM, 0.0, -1e30).astype(jnp.float32)
        scores_BxHxLxM += mask_BxM[:, None, None]
    p_BxHxLxM = jax.nn.softmax(scores_BxHxLxM, axis=-1).astype(v_BxHxMxK.dtype)
    return jnp.einsum("bhlm,bhmk->bhlk", p_BxHxLxM, v_BxHxMxK)


def cudnn(q_BxHxLxK, k_BxGxLxK, v_BxGxLxK, *, causal: bool) -> jax.Array:
    """Flash attention of NVIDIA's library, through `jax.nn.dot_product_attention`."""
    length_major = (x.swapaxes(1, 2) for x in (q_BxHxLxK, k_BxGxLxK, v_BxGxLxK))
    out_BxLxHxK = jax.nn.dot_product_attention(
        *length_major, is_causal=causal, implementation="cudnn"
    )
    return out_BxLxHxK.swapaxes(1, 2)


def splash(q_BxHxLxK, k_BxGxLxK, v_BxGxLxK, *, causal: bool, interpret: bool = False) -> jax.Array:
    """Flash attention for TPU that skips what is masked: JAX's Pallas kernel.

    `interpret` runs it on any device, slowly.
    """
    # Not at the top: this pulls in all of Pallas, which a run on CPU does not need.
    from jax.experimental.pallas.ops.tpu import splash_attention as library

    K = q_BxHxLxK.shape[-1]

    def local(q_BxHxLxK, k_BxGxLxK, v_BxGxLxK):
        H, L = q_BxHxLxK.shape[1:3]
        mask = library.CausalMask((L, L)) if causal else library.FullMask((L, L))
        block = next(b for b in (512, 256, 128) if L % b == 0)
        sizes = library.BlockSizes(
            block_q=block,
            block_kv=block,
            block_kv_compute=block,
            block_q_dkv=block,
            block_kv_dkv=block,
            block_kv_dkv_compute=block,
            use_fused_bwd_kernel=True,
        )
        kernel = library.make_splash_mha(
            mask=library.MultiHeadMask([mask] * H),
            head_shards=1,
            q_seq_shards=1,
            block_sizes=sizes,
            interpret=interpret,
        )
        return jax.vmap(kernel)(q_BxHxLxK * K**-0.5, k_BxGxLxK, v_BxGxLxK)

    arrays = (q_BxHxLxK, k_BxGxLxK, v_BxGxLxK)
    return placement.each_device(local, arrays, (_QUERIES, _KEYS, _KEYS))


BACKENDS = {"xla": xla, "cudnn": cudnn, "splash": splash}
