import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from models.layers import conformer, transformer

B, L, D, H, F, K = 2, 9, 8, 2, 12, 5
HEARD = (9, 6)  # steps of each row
SHAPE = transformer.Shape(
    heads=H,
    kv_heads=H,
    hidden=F,
    activation="silu",
    causal=False,
    qk_norm=True,
    norm_epsilon=1e-6,
    rope_base=1e4,
    out_gain=0.5,
    dropout=0.0,
    dtype=jnp.dtype("float32"),
    quantize="none",
)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def norm(x, of):
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-6) * of["scale"]


def perceptron(x, of):
    h = x @ of["in"]
    return (h * sigmoid(h)) @ of["out"]


def attention(x, of):
    """Of one recording, of which all is heard."""
    found = 0
    for head in range(H):
        q, k, v = (x @ of[name][:, head] for name in ("query", "key", "value"))
        q, k = norm(q, of["query_norm"]), norm(k, of["key_norm"])
        width = D // H // 2
        turn = np.exp(1j * np.arange(len(x))[:, None] * 1e4 ** (-np.arange(width) / width))
        # A pair of channels as a complex number: how far two turn from one another is their place.
        q, k = ((y[:, :width] + 1j * y[:, width:]) * turn for y in (q, k))
        p = np.exp((q @ k.conj().T).real / np.sqrt(D // H))
        found = found + p / p.sum(axis=1, keepdims=True) @ v @ of["out"][head]
    return found


def convolution(x, of):
    """The same, channel by channel by numpy's own convolution, which mirrors the kernel."""
    h = (x @ of["in"]) * sigmoid(x @ of["gate"])
    h = np.stack([np.convolve(h[:, d], of["depthwise"][::-1, d], "same") for d in range(D)], axis=1)
    h = norm(h, of["norm"])
    return (h * sigmoid(h)) @ of["out"]


def test_a_block_is_the_equations_of_the_paper_written_out():
    made = conformer.Block(SHAPE, K, train=False)
    x = jax.random.normal(jax.random.key(0), (B, L, D))
    keep = jnp.arange(L)[None] < jnp.array(HEARD)[:, None]
    params = nn.meta.unbox(made.init(jax.random.key(1), x, keep))
    keys = jax.random.key(2)
    params = jax.tree.map(lambda w: w + 0.3 * jax.random.normal(keys, w.shape), params)
    of = jax.tree.map(lambda w: np.asarray(w, np.float64), params["params"])
    found = made.apply(params, x, keep)
    for row, steps in enumerate(HEARD):
        y = np.asarray(x[row, :steps], np.float64)
        y = y + perceptron(norm(y, of["before_norm"]), of["before"]) / 2
        y = y + attention(norm(y, of["attention_norm"]), of["attention"])
        y = y + convolution(norm(y, of["convolution_norm"]), of["convolution"])
        y = y + perceptron(norm(y, of["after_norm"]), of["after"]) / 2
        np.testing.assert_allclose(
            found[row, :steps], norm(y, of["out_norm"]), rtol=1e-4, atol=1e-5
        )


def test_a_depthwise_convolution_is_one_of_each_channel():
    x, w = (jax.random.normal(jax.random.key(i), s) for i, s in enumerate(((B, L, D), (K, D))))
    theirs = jax.lax.conv_general_dilated(
        x,
        w[:, None],
        (1,),
        "SAME",
        dimension_numbers=("NWC", "WIO", "NWC"),
        feature_group_count=D,
    )
    np.testing.assert_allclose(conformer.depthwise(x, w), theirs, rtol=1e-5, atol=1e-5)
