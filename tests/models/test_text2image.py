import dataclasses
import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import text2image

T, I, K, V = 4, 9, 12, 20
CONFIG = text2image.Config(
    vocab_size=V,
    layers=2,
    width=16,
    heads=2,
    kv_heads=2,
    hidden=32,
    activation="gelu",
    qk_norm=True,
    norm_epsilon=1e-6,
    embedding_norm=True,
    rope_base=10_000.0,
    tied=False,
    dropout=0.0,
    remat="none",
    dtype="float32",
    quantize="none",
    text=T,
    places=I,
    codes=K,
)
MODEL = text2image.Model(CONFIG)


def batch(seed=0):
    keys = jax.random.split(jax.random.key(seed))
    text = jax.random.randint(keys[0], (3, T), K, V)
    codes = jax.random.randint(keys[1], (3, I - 1), 0, K)
    return {"tokens": jnp.concatenate([text, codes], axis=1)}


@functools.cache
def variables():
    return nn.meta.unbox(jax.jit(MODEL.init)(jax.random.key(1), batch()))


def test_a_code_is_predicted_from_the_caption_and_the_codes_before_it():
    call = jax.jit(MODEL.apply)
    tokens = batch()["tokens"]
    logits = call(variables(), {"tokens": tokens})
    assert logits.shape == (3, I, K)
    nats = math.log(K)
    assert jnp.mean(jax.nn.logsumexp(logits, axis=-1) - logits.mean(-1)) == pytest.approx(
        nats, 0.05
    )
    for place in range(T + I - 1):
        changed = tokens.at[:, place].set((tokens[:, place] + 1) % K)
        moved = np.abs(call(variables(), {"tokens": changed}) - logits).max(axis=(0, 2)) > 0
        # The last word is read where the first code is predicted.
        assert moved.tolist() == [i >= place - T + 1 for i in range(I)]


def test_written_code_by_code_the_logits_are_those_of_the_whole():
    tokens = batch()["tokens"]
    apply = jax.jit(MODEL.apply, static_argnames="method")
    memory = apply(variables(), {"tokens": tokens}, method="begin")
    parts = []
    for part in (tokens[:, :3], tokens[:, 3:4], tokens[:, 4:9], tokens[:, 9:]):
        memory, logits = apply(variables(), memory, part, method="step")
        parts.append(logits)
    whole = apply(variables(), {"tokens": tokens})
    np.testing.assert_allclose(jnp.concatenate(parts, axis=1)[:, T - 1 :], whole, atol=2e-5)


def test_other_captions_and_none():
    tokens, other = batch()["tokens"], batch(5)["tokens"]
    apply = functools.partial(MODEL.apply, variables(), {"tokens": tokens}, method="captioned")
    for text, wanted in ((other[:, :T], other[:, :T]), (None, jnp.full((3, T), K))):
        given = {"tokens": jnp.concatenate([wanted, tokens[:, T:]], axis=1)}
        np.testing.assert_array_equal(apply(text), MODEL.apply(variables(), given))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"codes": V}, "codes: 20; vocab_size 20 must have room for words too"),
        ({"tied": True}, "tied: True; allowed: False"),
        ({"text": 0}, "text: 0; must be at least 1"),
    ],
)
def test_bad_configs_say_why(changes, said):
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(CONFIG, **changes)


def test_data_of_another_tokenizer_are_refused():
    facts = {"text": T, "places": I, "codes": 1000}
    with pytest.raises(ValueError, match="codes: 12; the data have 1000"):
        CONFIG.fits(facts)
