import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from configs import two_tower as recipes
from models import two_tower
from tests.data.sources.test_rows import write
from tests.train.devices.meshes import train_on
from train import config as configuration
from train import run

I, D, F = 7, 4, 6
VALUES = {"item_rows": I, "width": D, "hidden": F, "dropout": 0.0}
HISTORY = np.array([[0, 3, I, 5], [I, I, I, I], [6, 2, 1, 4], [I, 2, I, I]])
BATCH = {"history": jnp.asarray(HISTORY), "met": jnp.asarray(HISTORY)}


def built(**changes):
    """A model, and parameters of which none is as it starts."""
    model = two_tower.Model(two_tower.Config(**VALUES | changes))
    params = nn.meta.unbox(model.init(jax.random.key(0), BATCH))["params"]
    rng = np.random.default_rng(0)
    return model, jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype), params)


def by_hand(params, history):
    p = {name: np.asarray(x, np.float64) for name, x in params.items()}
    met = history[history < I]
    x = p["embedding_met"][met].sum(axis=0) / max(len(met), 1) ** 0.5
    if "up" in p:
        h = x @ p["up"]
        gelu = 0.5 * h * (1 + np.tanh((2 / np.pi) ** 0.5 * (h + 0.044715 * h**3)))
        x = x + gelu @ p["down"]
    logits = p["head_item"] @ x + p["head_bias"]
    logits[met] = -np.inf
    return logits


@pytest.mark.parametrize("hidden", [0, F])
def test_logits_are_products_of_the_towers_and_what_was_met_is_not_offered(hidden):
    model, params = built(hidden=hidden)
    found = model.apply({"params": params}, BATCH)
    expected = np.stack([by_hand(params, history) for history in HISTORY])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert np.isneginf(found).sum() == 3 + 0 + 4 + 1


def test_the_order_of_a_history_says_nothing():
    model, params = built()
    ways = [{k: x[:, order] for k, x in BATCH.items()} for order in (np.arange(4), [2, 0, 3, 1])]
    one, other = (model.apply({"params": params}, batch) for batch in ways)
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_what_dropout_takes_is_no_longer_read_and_still_not_offered():
    model, params = built(dropout=0.9)
    found = model.apply({"params": params}, BATCH, train=True, rngs={"dropout": jax.random.key(1)})
    whole = model.apply({"params": params}, BATCH)
    np.testing.assert_array_equal(np.isneginf(found), np.isneginf(whole))
    assert not np.allclose(special.softmax(found, 1), special.softmax(whole, 1))


def test_what_was_met_and_is_not_known_is_not_offered_and_not_read():
    model, params = built()
    known, more = (
        model.apply({"params": params}, BATCH | {"met": jnp.asarray(met)})
        for met in (HISTORY, np.where(HISTORY == I, 3, HISTORY))
    )
    assert np.isneginf(more[jnp.array([1, 3]), 3]).all()
    others = np.arange(I) != 3
    np.testing.assert_array_equal(known[:, others], more[:, others])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"item_rows": 0}, "item_rows: 0; must be at least 1"),
        ({"hidden": -1}, "hidden: -1; must be at least 0"),
        ({"dropout": 1.0}, r"dropout: 1.0; must be in \[0, 1\)"),
    ],
)
def test_what_a_config_may_not_hold(changes, message):
    with pytest.raises(ValueError, match=message):
        two_tower.Config(**VALUES | changes)


def on(folder, **changes):
    """A run on 60 users of 8 items each, all of one of 4 kinds, of which there are 12."""
    rng, lines = np.random.default_rng(0), []
    for user in range(60):
        lines += [f"u{user},i{12 * (user % 4) + item}" for item in rng.permutation(12)[:8]]
    config = recipes.recipe(8, 1e4)
    source = write(folder, "user,item\n" + "\n".join(lines))
    config.data.update(source=source, unique=0, length=8)
    config.model.item_rows = 48
    config.batch_size, config.evaluation.batch_size, config.steps = 16, 32, 10
    config.update_from_flattened_dict(changes)
    return configuration.resolve(config.to_dict())


def test_a_run_learns_who_meets_what(tmp_path):
    metrics = run.run(on(tmp_path, steps=200), tmp_path / "run").metrics
    # Five of a kind are left to be offered, of 41: chance would find .24, kind alone all.
    assert metrics["recall@10"][0] > 0.9
    assert metrics["loss"][0] < np.log(41) / 1.5
    assert 0 < metrics["ndcg@10"][1] < 0.1


def test_tables_are_split_over_tensor_and_no_number_depends_on_it(tmp_path):
    config = on(tmp_path, **{"model.dropout": 0.0})
    one, other = train_on(config, {}, {"mesh": {"tensor": 2, "fsdp": 2}}, devices=4)
    assert one["losses"][-1] < one["losses"][0]
    assert other["losses"] == pytest.approx(one["losses"], rel=1e-5)
    split = other["split"]["params"]
    assert split["embedding_met"] == split["head_item"] == ["fsdp", "tensor"]
    assert split["head_bias"] == ["tensor"]
