import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import bert
from train import accounting

B, L, V, D, E, F = 2, 9, 19, 16, 4, 32


def config(**changes) -> bert.Config:
    base = bert.Config(
        vocab_size=V,
        layers=3,
        shared=False,
        width=D,
        embedding_width=0,
        positions="rotary",
        length=L,
        heads=2,
        hidden=F,
        activation="gelu",
        dropout=0.0,
        remat="none",
        dtype="float32",
    )
    return dataclasses.replace(base, **changes)


def batch() -> dict[str, jax.Array]:
    """The second text ends early."""
    return {"tokens": jax.random.randint(jax.random.key(0), (B, L), 1, V).at[1, 5:].set(0)}


@functools.cache
def begun(of: bert.Config):
    return nn.meta.unbox(jax.jit(bert.Model(of).init)(jax.random.key(1), batch()))


@functools.cache
def jitted(of: bert.Config):
    return jax.jit(bert.Model(of).apply)


VARIANTS = {
    "plain": {},
    "learned": {"positions": "learned"},
    "albert": {"shared": True, "embedding_width": E},
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_every_token_sees_all_of_its_text_and_no_padding(changes):
    c, given = config(**changes), batch()
    before = jitted(c)(begun(c), given)
    for t in range(L):
        changed = given["tokens"].at[0, t].add(1) % V
        after = jitted(c)(begun(c), {"tokens": jnp.maximum(changed, 1)})
        assert np.all(np.any(after[0] != before[0], axis=-1))
    short = {"tokens": given["tokens"][1:, :5]}
    alone = bert.Model(c).apply(begun(c), short)
    np.testing.assert_allclose(alone[0], before[1, :5], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_the_order_of_tokens_counts(changes):
    c, tokens = config(**changes), batch()["tokens"][:1]
    there, back = (bert.Model(c).apply(begun(c), {"tokens": x}) for x in (tokens, tokens[:, ::-1]))
    assert np.max(np.abs(there - back[:, ::-1])) > 1e-3


def test_places_choose_among_the_logits_of_all_tokens():
    c, places = config(), jnp.array([[3, 0], [1, 4]])
    every, chosen = (jitted(c)(begun(c), batch(), *p) for p in ((), (places,)))
    expected = np.take_along_axis(np.asarray(every), np.asarray(places)[..., None], 1)
    np.testing.assert_allclose(chosen, expected, rtol=1e-5, atol=1e-6)


def test_shared_layers_equal_layers_with_the_same_weights():
    shared, apart = config(shared=True), config()
    params = begun(shared)["params"]
    blocks = jax.tree.map(lambda w: jnp.repeat(w, 3, axis=0), params["blocks"])
    a = jitted(shared)({"params": params}, batch())
    b = jitted(apart)({"params": params | {"blocks": blocks}}, batch())
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def counted(c: bert.Config):
    """N by group, and FLOPs of a row of which two tokens are asked for."""
    params, one = begun(c)["params"], {"tokens": jnp.ones((1, L), jnp.int32)}
    boxed = jax.eval_shape(bert.Model(c).init, jax.random.key(0), one)["params"]
    places = jnp.zeros((1, 2), jnp.int32)
    flops = accounting.forward_flops(
        lambda p, b: bert.Model(c).apply({"params": p}, b, places), params, one
    )
    return accounting.count_parameters(boxed, c.used), flops


def test_size_and_cost_equal_the_count_by_hand():
    N, flops = counted(config())
    block = 4 * D * D + 2 * D * F
    assert N["embedding"] == V * D
    assert N["body"] == 3 * (block + 2 * D + 2 * D // 2) + 2 * D  # and scales of norms
    assert N["total"] == N["active"] == N["embedding"] + N["body"]
    expected = {"weights": 2 * (3 * L * block + 2 * V * D), "attention": 3 * 2 * 2 * L * L * D}
    assert flops == expected


def test_shared_layers_cost_what_others_do_and_count_once():
    """What is unique is N; what is active has them as often as a token passes through."""
    (apart, dear), (shared, same) = (counted(config(shared=s)) for s in (False, True))
    assert dear == same
    assert shared["active"] == apart["total"]
    block = (apart["body"] - 2 * D) // 3
    assert shared["total"] == apart["total"] - 2 * block


def test_a_narrow_embedding_is_small():
    N, _ = counted(config(embedding_width=E))
    assert (N["embedding"], N["head"]) == (V * E + E * D, D * E)


def test_rows_that_are_longer_than_learned_positions_are_refused():
    c = config(positions="learned", length=L - 1)
    with pytest.raises(ValueError, match=f"length: {L - 1}; the data's rows have {L} tokens"):
        bert.Model(c).init(jax.random.key(0), batch())
