"""Tokens that are copied, against the equations written out token by token."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from models.layers import copying
from models.layers.transformer import Shape
from tests.models.test_seq2seq import config

S, T, V, D = 5, 3, 8, 4


def test_a_token_is_written_or_copied():
    rng = np.random.default_rng(0)
    x, read, logits = (rng.normal(size=(2, n, w)).astype("f4") for n, w in ((T, D), (S, D), (T, V)))
    logits[:, :, 7] = copying.LEAST  # no token, see models.layers.vocabulary.unembed
    tokens = np.array([[3, 1, 3, 4, 0], [2, 2, 2, 2, 2]], np.int32)
    model = copying.Copy(Shape.of(config(), 2, causal=True), D)

    def said(params, logits):
        keys = model.apply(params, read, method="keys")
        return model.apply(params, x, logits, copying.Source(tokens, tokens > 0, keys))

    weights = {"query": (D, D), "key": (D, D), "gate": (D, 1)}
    params = {name: rng.normal(size=size).astype("f4") for name, size in weights.items()}
    found = nn.softmax(said({"params": params}, logits))
    for row in range(2):
        for t in range(T):
            chances = np.exp(logits[row, t]) / np.exp(logits[row, t]).sum()
            writes = 1 / (1 + np.exp(-x[row, t] @ params["gate"]))
            scores = (read[row] @ params["key"]) @ (x[row, t] @ params["query"]) / 2
            looks = np.exp(scores) * (tokens[row] > 0)
            expected = writes * chances
            for place, token in enumerate(tokens[row]):
                expected[token] += (1 - writes[0]) * looks[place] / looks.sum()
            np.testing.assert_allclose(found[row, t], expected, atol=1e-6)
    assert (found[..., 7] == 0).all()
    loss = jax.grad(lambda *given: jnp.sum(nn.log_softmax(said(*given))[..., 1:7]), argnums=(0, 1))
    gradients = jax.tree.leaves(loss({"params": params}, logits))
    assert all(np.isfinite(found).all() for found in gradients)
