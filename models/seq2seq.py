"""seq2seq: an encoder that reads a source and a decoder that writes a target, token by token.

Transformer of Vaswani et al. 2017 (arXiv:1706.03762) with the parts of `gpt`: pre-norm RMSNorm
blocks, rotary positions, QK-norm, one embedding for both texts. Encoder and decoder have depths of
their own, for their parameters are not worth the same (Ghorbani et al. 2021, arXiv:2109.07740).

Token 0 is padding. Shape letters: B batch, S length of the source, T of the target, D model width,
V vocabulary, N layers of the decoder.
"""

import dataclasses
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers import copying, decoder, transformer, vocabulary

PADDING = 0
NEWER = {"copy": False}  # see `models.newer`


@dataclasses.dataclass(frozen=True)
class Config:
    vocab_size: int  # V, of both texts; 0 in a config: as many as the data have
    encoder_layers: int
    decoder_layers: int
    width: int  # D
    heads: int  # width / heads must be even (rotary positions)
    hidden: int  # width of the perceptron
    activation: str  # "gelu" | "swiglu"
    qk_norm: bool  # normalise queries and keys per head (Dehghani et al. 2023)
    rope_base: float
    tied: bool  # the embedding is also the head
    copy: bool  # tokens of the source may be written again, see `copying`
    dropout: float  # rate, on each residual branch
    remat: str  # what the backward pass computes again: one of `transformer.REMAT`, or "auto"
    dtype: str  # of activations and matrix products: "float32" | "bfloat16"

    def __post_init__(self):
        layers = ("encoder_layers", "decoder_layers")
        transformer.check(self, ("vocab_size", *layers, "width", "heads", "hidden"))


class Writing(NamedTuple):
    """A target while it is written."""

    read: decoder.Memory
    source: copying.Source
    cache: transformer.Cache  # of all layers


class Model(nn.Module):
    """batch["source"] int [B, S] and batch["tokens"] int [B, T] -> logits float32 [B, T, V].

    Those of place t are of the token that follows tokens[:, :t + 1]. To write a target, `begin` and
    then `step`, one token at a time or several. On devices that split the vocabulary V is rounded
    up, see `vocabulary.unembed`.
    """

    config: Config

    def setup(self):
        c = self.config
        self.embedding_VxD = vocabulary.embedding(self, c.vocab_size, c.width)
        if not c.tied:
            self.head_DxV = vocabulary.head(self, c.vocab_size, c.width)
        self.encoder = _Encoder(c)
        self.decoder = _Decoder(c)
        self.decoder_memory = decoder.memory(c.decoder_layers, _of_decoder(c))
        if c.copy:
            self.decoder_copy = copying.Copy(_of_decoder(c), c.width)

    def __call__(self, batch: dict[str, jax.Array], *, train: bool = False) -> jax.Array:
        read, source = self._read(batch["source"], train)
        x_BxTxD = vocabulary.embed(self.embedding_VxD, batch["tokens"])
        x_BxTxD, _ = self.decoder(x_BxTxD, read, None, source.keep_BxS, train)
        return self._unembed(x_BxTxD, source)

    def begin(self, batch: dict[str, jax.Array], *, train: bool = False) -> Writing:
        """Reads batch["source"] and makes room for as many tokens as batch["tokens"] has."""
        c, (B, T) = self.config, batch["tokens"].shape
        read, source = self._read(batch["source"], train)
        cache = transformer.Cache.empty(c.decoder_layers, B, T, c.width, _of_decoder(c))
        return Writing(read, source, cache)

    def step(
        self, writing: Writing, tokens_BxL: jax.Array, *, train: bool = False
    ) -> tuple[Writing, jax.Array]:
        """Writes tokens; the logits [B, L, V] are those of `__call__` at their places."""
        x_BxLxD = vocabulary.embed(self.embedding_VxD, tokens_BxL)
        keep_BxS = writing.source.keep_BxS
        x_BxLxD, new = self.decoder(x_BxLxD, writing.read, writing.cache, keep_BxS, train)
        logits_BxLxV = self._unembed(x_BxLxD, writing.source)
        return writing._replace(cache=writing.cache.write(new)), logits_BxLxV

    def _read(self, source_BxS: jax.Array, train: bool) -> tuple[decoder.Memory, copying.Source]:
        keep_BxS = source_BxS != PADDING
        x_BxSxD = vocabulary.embed(self.embedding_VxD, source_BxS)
        x_BxSxD = self.encoder(x_BxSxD, keep_BxS, train)
        keys = self.decoder_copy.keys(x_BxSxD) if self.config.copy else None
        source = copying.Source(source_BxS, keep_BxS, keys)
        return decoder.Memory(*self.decoder_memory(x_BxSxD)), source

    def _unembed(self, x_BxLxD: jax.Array, source: copying.Source) -> jax.Array:
        head_DxV = self.embedding_VxD.T if self.config.tied else self.head_DxV
        logits_BxLxV = vocabulary.unembed(x_BxLxD, head_DxV)
        return (
            self.decoder_copy(x_BxLxD, logits_BxLxV, source) if self.config.copy else logits_BxLxV
        )


class _Encoder(nn.Module):
    config: Config

    @nn.compact
    def __call__(self, x_BxSxD: jax.Array, keep_BxS: jax.Array, train: bool) -> jax.Array:
        c, dtype = self.config, jnp.dtype(self.config.dtype)
        shape = transformer.Shape.of(c, 2 * c.encoder_layers, causal=False)
        blocks = transformer.stack(c.encoder_layers, shape, x_BxSxD, remat=c.remat, train=train)
        x_BxSxD = transformer.RMSNorm(dtype, name="in_norm")(x_BxSxD)
        x_BxSxD, _ = blocks(x_BxSxD, None, keep_BxS)
        return transformer.RMSNorm(dtype, name="out_norm")(x_BxSxD)


class _Decoder(nn.Module):
    config: Config

    @nn.compact
    def __call__(
        self,
        x_BxTxD: jax.Array,
        read: decoder.Memory,
        cache: transformer.Cache | None,
        keep_BxS: jax.Array,
        train: bool,
    ) -> tuple[jax.Array, transformer.Keys | None]:
        c, dtype = self.config, jnp.dtype(self.config.dtype)
        blocks = decoder.stack(
            c.decoder_layers, _of_decoder(c), x_BxTxD, remat=c.remat, train=train
        )
        x_BxTxD = transformer.RMSNorm(dtype, name="in_norm")(x_BxTxD)
        x_BxTxD, new = blocks(x_BxTxD, (read, cache), keep_BxS)
        return transformer.RMSNorm(dtype, name="out_norm")(x_BxTxD), new


def _of_decoder(c: Config) -> transformer.Shape:
    return transformer.Shape.of(c, 3 * c.decoder_layers, causal=True)
