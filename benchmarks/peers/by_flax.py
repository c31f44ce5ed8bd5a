"""A decoder put together from Flax's own layers: what one would write on a first day."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from benchmarks.peers import timing


class Decoder(nn.Module):
    """tokens int [B, L] -> logits [B, L, V]; learned positions, LayerNorm, embedding as head."""

    asked: dict

    @nn.compact
    def __call__(self, tokens):
        a = self.asked
        embed = nn.Embed(a["vocab"], a["width"])
        x = embed(tokens) + nn.Embed(a["length"], a["width"])(jnp.arange(a["length"]))
        mask = nn.make_causal_mask(tokens)
        for _ in range(a["layers"]):
            attention = nn.MultiHeadDotProductAttention(a["heads"], use_bias=False)
            x = x + attention(nn.LayerNorm(use_bias=False)(x), mask=mask)
            h = nn.Dense(4 * a["width"], use_bias=False)(nn.LayerNorm(use_bias=False)(x))
            x = x + nn.Dense(a["width"], use_bias=False)(nn.gelu(h))
        return embed.attend(nn.LayerNorm(use_bias=False)(x))


def serve(model: nn.Module, asked: timing.Asked) -> None:
    """Serves the step of any model from tokens to logits, by optax alone."""
    shape = asked["batch"], asked["length"]
    tokens, targets = jax.random.randint(jax.random.key(0), (2, *shape), 0, asked["vocab"])
    params = nn.meta.unbox(jax.jit(model.init)(jax.random.key(1), tokens))
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3, b2=0.99, weight_decay=0.1))

    def loss(params):
        logits = model.apply(params, tokens)
        return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params, kept):
        value, grads = jax.value_and_grad(loss)(params)
        updates, kept = tx.update(grads, kept, params)
        return optax.apply_updates(params, updates), kept, value

    state = params, tx.init(params)

    def calls():
        nonlocal state
        *state, value = step(*state)
        return value

    timing.serve(sum(x.size for x in jax.tree.leaves(params)), calls, jax.block_until_ready)


if __name__ == "__main__":
    serve(Decoder(timing.asked()), timing.asked())
