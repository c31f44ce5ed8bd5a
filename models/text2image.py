"""text2image: gpt over a caption and then the codes of an image (Ramesh et al. 2021, "Zero-shot
text-to-image generation", arXiv:2102.12092), of which only the codes are predicted.

Text and image have one vocabulary in ranges of their own: codes from 0, then the token that fills
captions, then words. The head knows the codes alone, so nothing else can be drawn; that fits small
data, where what is learnt of captions as text is of no use to the image. Each place has a vector of
its own beside its token's, because an image has two directions and rotary positions one.

Shape letters: B batch, T tokens of a caption, I codes of an image, L tokens read, D model width, V
vocabulary, K codes there are.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from models import gpt
from models.layers import transformer, vocabulary
from models.layers.weights import gathered, weight

NEWER = gpt.NEWER


@dataclasses.dataclass(frozen=True)
class Config(gpt.Config):
    """0 in a config, `vocab_size` and these are what the data have; `tied` must be False."""

    text: int  # T, tokens of a caption
    places: int  # I, codes of an image
    codes: int  # K, those there are, the first of the vocabulary

    def __post_init__(self):
        super().__post_init__()
        transformer.check(self, ("text", "places", "codes"))
        if self.codes >= self.vocab_size:
            given = f"codes: {self.codes}; vocab_size {self.vocab_size}"
            raise ValueError(f"{given} must have room for words too")
        if self.tied:
            raise ValueError("tied: True; allowed: False, as the head has the codes alone")

    def fits(self, facts: Mapping[str, Any]) -> None:
        """Raises ValueError where captions, images or the codes are not those of the data."""
        for field in ("text", "places", "codes"):
            if getattr(self, field) != facts[field]:
                given = f"{field}: {getattr(self, field)}"
                raise ValueError(f"{given}; the data have {facts[field]}")


class Model(gpt.Model):
    """batch["tokens"] int [B, T + I - 1], a caption and all codes but the last, -> logits float32
    [B, I, K] of the codes.

    To draw, `begin` and then `step`; its logits at a place are of what comes next, and of no use
    before the last token of the caption.
    """

    config: Config

    def __call__(self, batch: dict[str, jax.Array], *, train: bool = False) -> jax.Array:
        return self._read(batch["tokens"], None, train)[1]

    def captioned(
        self, batch: dict[str, jax.Array], text_BxT: jax.Array | None, *, train: bool = False
    ) -> jax.Array:
        """As called, with other captions; None: with none."""
        c, tokens = self.config, batch["tokens"]
        if text_BxT is None:
            text_BxT = jnp.full((len(tokens), c.text), c.codes, tokens.dtype)
        return self._read(jnp.concatenate([text_BxT, tokens[:, c.text :]], axis=1), None, train)[1]

    @nn.compact
    def _read(
        self, tokens_BxL: jax.Array, cache: transformer.Cache | None, train: bool
    ) -> tuple[transformer.Keys | None, jax.Array]:
        c, dtype, L = self.config, jnp.dtype(self.config.dtype), tokens_BxL.shape[1]
        table_VxD = vocabulary.embedding(self, c.vocab_size, c.width)
        sizes = {"places": c.text + c.places - 1}, {"embed": c.width}
        init = nn.initializers.normal(0.25 * c.width**-0.5)
        place_LxD = weight(self, "embedding_places", *sizes, init=init)
        place_LxD = gathered(place_LxD, ("places", "embed"), jnp.float32)
        first = 0 if cache is None else cache.place[0]
        place_LxD = jax.lax.dynamic_slice_in_dim(place_LxD, first, L)
        x_BxLxD = vocabulary.embed(table_VxD, tokens_BxL) + place_LxD[None]
        norm = functools.partial(transformer.RMSNorm, dtype, c.norm_epsilon)
        x_BxLxD = norm(name="in_norm")(x_BxLxD) if c.embedding_norm else x_BxLxD.astype(dtype)
        of = {"remat": c.remat, "train": train, "perceptron": self.perceptron()}
        blocks = transformer.stack(c.layers, self.shape(), x_BxLxD, **of)
        x_BxLxD, new = blocks(x_BxLxD, cache, None)
        if cache is None:
            x_BxLxD = x_BxLxD[:, c.text - 1 :]
        x_BxLxD = norm(name="out_norm")(x_BxLxD)
        return new, vocabulary.unembed(x_BxLxD, vocabulary.head(self, c.codes, c.width))
