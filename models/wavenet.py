"""wavenet: makes sound sample by sample, by dilated causal convolutions (van den Oord et al. 2016,
arXiv:1609.03499).

Layers have kernels of two samples that lie 1, 2, 4, .. apart, again and again; each adds to what
the next one reads and to what the head does (section 2.4). All of them are told what is being said
(section 2.5): the phoneme, its neighbours, and how far through it a sample is, once a hop.

What a layer remembers of the past is a queue as long as its dilation (Paine et al. 2016, "Fast
Wavenet generation algorithm", arXiv:1611.09482); a pass over many samples at once is one with
queues of zeros. Convolutions are products of pairs: as fast as XLA's own on CPU at 8 to 16
channels, and not slow inside of loops (benchmarks/results/families/wavenet.md).

Shape letters: B batch, L samples, F hops, D width, V levels of a sample, N layers.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers import convolution, vocabulary
from models.layers.weights import gathered, weight


@dataclasses.dataclass(frozen=True)
class Config:
    vocab_size: int  # V; of these three 0 in a config: what the data have
    labels: int  # phonemes there are
    hop: int  # samples of a label
    stacks: int  # times that the dilations go up
    dilations: int  # of a stack: 1, 2, 4, .. samples
    width: int  # D

    def __post_init__(self):
        for field in ("vocab_size", "labels", "hop", "stacks", "dilations", "width"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field}: {getattr(self, field)}; must be at least 1")
        if self.dilations > 16:
            raise ValueError(f"dilations: {self.dilations}; must be at most 16")

    @property
    def receptive_field(self) -> int:
        """Samples that a sample is predicted from."""
        return 1 + self.stacks * (2**self.dilations - 1)

    def fits(self, facts: Mapping[str, Any]) -> None:
        """Raises ValueError where the data score samples without all that a layer reads."""
        if self.hop != facts["hop"]:
            raise ValueError(f"hop: {self.hop}; must be that of the data, {facts['hop']}")
        if self.receptive_field > facts["context"] + 1:
            what = f"{self.receptive_field} samples are read"
            allowed = f"at most data.context and one, {facts['context'] + 1}"
            raise ValueError(f"dilations: {self.dilations}; {what}; allowed: {allowed}")


class Memory(NamedTuple):
    """What is remembered between samples."""

    queues: tuple[jax.Array, ...]  # of each layer its inputs so far back as it reads, [B, d, D]
    phonemes_BxFx3: jax.Array  # int, of the whole row
    places_BxF: jax.Array
    place: jax.Array  # int32 [], samples read


class Model(nn.Module):
    """batch["tokens"] int [B, L], batch["phonemes"] int [B, F, 3] and batch["places"] float [B, F],
    L / F samples of each, -> logits float32 [B, L, V] of the next sample.

    To make sound, `begin` and then `step`, one sample at a time or several.
    """

    config: Config

    def __call__(self, batch: dict[str, jax.Array], *, train: bool = False) -> jax.Array:
        labels = batch["phonemes"], batch["places"]
        return self._read(batch["tokens"], labels, self._zeros(len(batch["tokens"])))[1]

    def begin(self, batch: dict[str, jax.Array], *, train: bool = False) -> Memory:
        """What is remembered of no sample."""
        queues, first = self._zeros(len(batch["tokens"])), jnp.zeros((), jnp.int32)
        return Memory(queues, batch["phonemes"], batch["places"], first)

    def step(
        self, memory: Memory, tokens_BxL: jax.Array, *, train: bool = False
    ) -> tuple[Memory, jax.Array]:
        """Reads samples; the logits [B, L, V] are those of `__call__` at their places."""
        L = tokens_BxL.shape[1]
        hops_L = (memory.place + jnp.arange(L)) // self.config.hop
        labels = (jnp.take(x, hops_L, axis=1, mode="clip") for x in memory[1:3])
        queues, logits_BxLxV = self._read(tokens_BxL, tuple(labels), memory.queues)
        return memory._replace(queues=queues, place=memory.place + L), logits_BxLxV

    def _zeros(self, B: int) -> tuple[jax.Array, ...]:
        c = self.config
        return tuple(jnp.zeros((B, d, c.width)) for d in _dilations(c))

    @nn.compact
    def _read(self, tokens_BxL: jax.Array, labels: tuple, queues: tuple) -> tuple[tuple, jax.Array]:
        c, L, D = self.config, tokens_BxL.shape[1], self.config.width
        N = c.stacks * c.dilations
        # A level is a number too: its neighbours are alike from the first step on.
        level_BxLx1 = 2 * tokens_BxL[..., None] / (c.vocab_size - 1) - 1
        x_BxLxD = convolution.dense(D, (None, "embed"), "level")(level_BxLx1)
        x_BxLxD += vocabulary.embed(vocabulary.embedding(self, c.vocab_size, D), tokens_BxL)
        said_BxFxD = self._said(*labels)
        skips_BxLxD, kept = 0.0, []
        for layer, queue_BxdxD in enumerate(queues):
            all_BxSxD = jnp.concatenate([queue_BxdxD, x_BxLxD], axis=1)  # d + L samples
            y_BxLx2D = _Layer(name=f"layer_{layer}")(all_BxSxD[:, :L], x_BxLxD, said_BxFxD)
            x_BxLxD += y_BxLx2D[..., :D]
            skips_BxLxD += y_BxLx2D[..., D:]
            kept.append(all_BxSxD[:, L:])
        y_BxLxD = nn.relu(skips_BxLxD * N**-0.5)
        y_BxLxD = nn.relu(convolution.dense(D, ("embed", "embed"), "out")(y_BxLxD))
        return tuple(kept), convolution.dense(c.vocab_size, ("embed", "vocab"), "head")(y_BxLxD)

    def _said(self, phonemes_BxFx3: jax.Array, places_BxF: jax.Array) -> jax.Array:
        """What is being said in each hop."""
        c, init = self.config, nn.initializers.normal(0.5)
        sizes = {"phonemes": c.labels}, {"embed": c.width}
        table_3xPxD = weight(self, "phonemes", *sizes, each={"places": 3}, init=init)
        table_3xPxD = gathered(table_3xPxD, ("places", "phonemes", "embed"), jnp.float32)
        x_BxFxD = sum(jnp.take(table_3xPxD[i], phonemes_BxFx3[..., i], axis=0) for i in range(3))
        place_BxFxD = convolution.dense(c.width, (None, "embed"), "place")(places_BxF[..., None])
        return nn.gelu(x_BxFxD + place_BxFxD)


def _dilations(config: Config) -> list[int]:
    return [2**k for k in range(config.dilations)] * config.stacks


class _Layer(nn.Module):
    """Gated units on pairs of samples (section 2.3) -> what is added to the next layer's input and,
    behind it, to the head's, [B, L, 2D]."""

    @nn.compact
    def __call__(
        self, past_BxLxD: jax.Array, now_BxLxD: jax.Array, said_BxFxD: jax.Array
    ) -> jax.Array:
        L, D, F = *now_BxLxD.shape[1:], said_BxFxD.shape[1]
        pair_BxLx2D = jnp.concatenate([past_BxLxD, now_BxLxD], axis=-1)
        # Of a hop one product serves all its samples.
        told_BxFx2D = convolution.dense(2 * D, ("embed", "hidden"), "said")(said_BxFxD)
        z_BxLx2D = convolution.dense(2 * D, ("embed", "hidden"), "pair")(pair_BxLx2D)
        z_BxLx2D += jnp.repeat(told_BxFx2D, L // F, axis=1)
        gated_BxLxD = jnp.tanh(z_BxLx2D[..., :D]) * nn.sigmoid(z_BxLx2D[..., D:])
        return convolution.dense(2 * D, ("hidden", "embed"), "on")(gated_BxLxD)
