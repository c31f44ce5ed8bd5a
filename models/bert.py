"""bert: masked language model, a transformer that reads in both directions.

After Devlin et al. 2019 (arXiv:1810.04805), with the blocks of gpt; see `models.layers.encoder`.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers import encoder, transformer, vocabulary

Config = encoder.Config


class Model(nn.Module):
    """batch["tokens"] int [B, L], padded with 0, and places int [B, M] -> logits float32 [B, M, V].

    They are of the tokens at these places, as the others cost no product with the head; without
    places of all, [B, L, V]. The embedding is the head too. On devices that split the vocabulary V
    is rounded up, see `vocabulary.unembed`.
    """

    config: Config

    @nn.compact
    def __call__(
        self, batch: dict[str, jax.Array], places: jax.Array | None = None, *, train: bool = False
    ) -> jax.Array:
        c = self.config
        table_VxE = encoder.embedding(self, c)
        x_BxMxD = encoder.read(self, c, table_VxE, batch["tokens"], train)
        if places is not None:
            x_BxMxD = jnp.take_along_axis(x_BxMxD, places[:, :, None], axis=1)
        if c.embedding_width:
            x_BxMxD = transformer.dense(x_BxMxD, encoder.projection(self, "head_in", c))
        return vocabulary.unembed(x_BxMxD, table_VxE.T)
