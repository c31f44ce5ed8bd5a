import jax
import jax.numpy as jnp
import numpy as np
import pytest

from train.score import bind
from train.tasks import masked_token
from train.tasks.masked_token import MASK, SPECIAL, Config

B, L, V = 64, 40, 50
ROOM, PADDED = Config(share=0.15, padded=False), Config(share=0.15, padded=True)
TOKENS = jax.random.randint(jax.random.key(0), (B, L), 0, V - SPECIAL)


def keys(seed: int) -> jax.Array:
    return jax.random.split(jax.random.key(seed), B)


ask = jax.jit(masked_token.ask, static_argnums=0)


def test_masks_are_a_function_of_the_key_of_a_row_alone():
    whole = ask(ROOM, TOKENS, keys(0))
    jax.tree.map(np.testing.assert_array_equal, whole, ask(ROOM, TOKENS, keys(0)))
    part = ask(ROOM, TOKENS[5:9], keys(0)[5:9])
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[5:9], b), whole, part)
    other = ask(ROOM, TOKENS, keys(1))
    assert np.mean(np.sort(whole.places_BxM) == np.sort(other.places_BxM)) < 0.3
    assert len({tuple(row) for row in np.sort(whole.places_BxM).tolist()}) > B / 2


def test_what_is_asked_for_is_what_stood_there_and_the_rest_is_shown():
    found, tokens = ask(ROOM, TOKENS, keys(0)), np.asarray(TOKENS) + SPECIAL
    assert found.places_BxM.shape == (B, 6)
    rows = np.arange(B)[:, None]
    np.testing.assert_array_equal(found.tokens_BxM, tokens[rows, found.places_BxM])
    assert all(len(set(row)) == 6 for row in found.places_BxM.tolist())
    shown = np.array(found.shown_BxL)
    at = shown[rows, found.places_BxM]
    shown[rows, found.places_BxM] = found.tokens_BxM
    np.testing.assert_array_equal(shown, tokens)
    assert np.mean(at == MASK) == pytest.approx(0.8, abs=0.06)
    assert np.mean(at == found.tokens_BxM) == pytest.approx(0.1, abs=0.05)
    # What replaces a token is one of its row.
    for row, said in zip(tokens, at):
        assert set(said) - {MASK} <= set(row)


def test_padding_is_not_asked_for_and_short_rows_are_asked_for_less():
    lengths = np.arange(B) % (L + 1)
    tokens = (TOKENS + SPECIAL) * (np.arange(L)[None] < lengths[:, None])
    found = ask(PADDED, tokens, keys(0))
    expected = [min(n, max(1, round(0.15 * n))) for n in lengths]
    np.testing.assert_array_equal(found.is_BxM.sum(axis=1), expected)
    assert np.all(found.tokens_BxM[found.is_BxM] > 0)
    assert np.all((found.shown_BxL > 0) == (tokens > 0))


def test_sums_are_those_of_an_independent_count():
    logits = np.random.default_rng(0).normal(size=(B, 6, V)).astype(np.float32)
    weight = (np.arange(B) < 50).astype(np.float32)
    batch = {"tokens": TOKENS, "weight": jnp.asarray(weight)}
    asked = ask(ROOM, TOKENS, keys(3))

    def model(shown, places):
        np.testing.assert_array_equal(shown["tokens"], asked.shown_BxL)
        return jnp.asarray(logits)

    found = masked_token.losses(ROOM, model, batch, keys(3))
    log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    nats = -np.take_along_axis(log_p, np.asarray(asked.tokens_BxM)[..., None], -1)[..., 0]
    np.testing.assert_allclose(found.sums["loss"], nats.sum(axis=1) * weight, rtol=1e-4)
    right = (logits.argmax(-1) == asked.tokens_BxM).sum(axis=1) * weight
    np.testing.assert_array_equal(found.sums["accuracy"], right)
    np.testing.assert_array_equal(found.units, 6 * weight)
    np.testing.assert_array_equal(found.objective, found.sums["loss"])


def test_an_evaluation_asks_the_same_at_every_batch_size():
    """As the trainer gives keys: by the number of a row in the set."""

    def asked(rows):
        _, own = bind(None, {}, {}, jax.random.key(23), jnp.asarray(rows), train=False)
        return ask(ROOM, TOKENS[jnp.asarray(rows)], own).places_BxM

    whole = asked(range(8))
    np.testing.assert_array_equal(whole[4:], asked(range(4, 8)))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_bad_share_is_named(share):
    with pytest.raises(ValueError, match=r"share: .*; must be in \(0, 1\)"):
        Config(share=share, padded=True)
