import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import factorization as recipes
from models import factorization
from tests.data.sources.test_rows import write
from tests.data.test_ratings import drawn
from tests.train.devices.meshes import train_on
from train import accounting, run
from train import config as configuration

U, I, K = 5, 4, 3
VALUES = {"user_rows": U, "item_rows": I, "rank": K, "penalty": 0.01}
USER, ITEM = np.array([0, 4, 2, 4, 5, 1]), np.array([3, 0, 0, 0, 1, 4])  # 5 and 4 are cold
BATCH = {"user": jnp.asarray(USER), "item": jnp.asarray(ITEM)}


def built(**changes):
    """A model, and parameters of which none is as it starts."""
    model = factorization.Model(factorization.Config(**VALUES | changes))
    params = nn.meta.unbox(model.init(jax.random.key(0), BATCH))["params"]
    rng = np.random.default_rng(0)
    return model, jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype), params)


def padded(table):
    """A table with zeros for who is cold."""
    return np.concatenate([table, np.zeros_like(table[:1])])


def by_hand(params):
    p = {name: np.asarray(x, np.float64) for name, x in params.items()}
    user, item = padded(p["embedding_user"])[USER], padded(p["embedding_item"])[ITEM]
    biases = padded(p["embedding_user_bias"])[USER], padded(p["embedding_item_bias"])[ITEM]
    y = p["bias"] + sum(biases) + (user * item).sum(axis=1)
    squares = U * (user**2).sum(1) + I * (item**2).sum(1) + U * biases[0] ** 2 + I * biases[1] ** 2
    return y, squares


def test_ratings_and_penalty_are_those_of_the_equations():
    model, params = built()
    y, own = model.apply({"params": params}, BATCH, mutable=["losses"])
    expected, squares = by_hand(params)
    np.testing.assert_allclose(y, expected, rtol=1e-5)
    (penalty,) = jax.tree.leaves(own)
    np.testing.assert_allclose(penalty, 0.01 * squares, rtol=1e-5)


def test_who_is_cold_is_told_by_the_other_alone_and_moves_no_table():
    model, params = built()
    cold = {"user": jnp.array([U]), "item": jnp.array([2])}
    y, grads = jax.value_and_grad(lambda p: model.apply({"params": p}, cold)[0])(params)
    assert y == pytest.approx(float(params["bias"][0] + params["embedding_item_bias"][2]), rel=1e-6)
    moved = {name for name, grad in grads.items() if np.any(grad)}
    assert moved == {"bias", "embedding_item_bias"}


def test_over_all_ratings_the_penalty_is_a_ridge():
    """Where everybody rates everything: of the squares in the tables, whatever their sizes."""
    model, params = built()
    user, item = (jnp.asarray(x.ravel()) for x in np.indices((U, I)))
    _, own = model.apply({"params": params}, {"user": user, "item": item}, mutable=["losses"])
    squares = sum(float((x**2).sum()) for name, x in params.items() if name != "bias")
    assert float(jax.tree.leaves(own)[0].mean()) == pytest.approx(0.01 * squares, rel=1e-5)


def test_tables_dense_weights_and_those_of_one_rating_are_counted():
    for rank in (0, K):
        model, _ = built(rank=rank)
        params = jax.eval_shape(model.init, jax.random.key(0), BATCH)["params"]
        found = accounting.count_parameters(params, model.config.used)
        tables = (U + I) * (rank + 1)
        assert (found["embedding"], found["body"]) == (tables, 1)
        assert found["active"] == 2 * (rank + 1) + 1
        flops = accounting.training_flops(found, {"weights": 0, "attention": 2 * rank}, 10)
        assert (flops["6nd"], flops["6nd_body"]) == (60 * found["active"], 60)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"user_rows": 0}, "user_rows: 0; must be at least 1"),
        ({"rank": -1}, "rank: -1; must be at least 0"),
        ({"penalty": -0.1}, "penalty: -0.1; must be at least 0"),
    ],
)
def test_what_a_config_may_not_hold(changes, message):
    with pytest.raises(ValueError, match=message):
        factorization.Config(**VALUES | changes)


def test_tables_of_another_size_than_the_data_do_not_fit():
    factorization.Config(**VALUES).fits({"user_rows": U, "item_rows": I})
    with pytest.raises(ValueError, match="item_rows: 4; must be 6, as many as the data have"):
        factorization.Config(**VALUES).fits({"user_rows": U, "item_rows": 6})


def on(source, **changes):
    """A run on a table of 30 users and 20 items of its own."""
    config = recipes.recipe(4, 1e4)
    config.data.update(source=source, unique=0)
    config.model.update(user_rows=30, item_rows=20)
    config.batch_size, config.evaluation.batch_size, config.steps = 16, 64, 10
    config.update_from_flattened_dict(changes)
    return configuration.resolve(config.to_dict())


def test_a_run_learns_what_two_vectors_make(tmp_path):
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(30, 2)) @ rng.normal(size=(2, 20))
    header, *lines = drawn(share=0.9).splitlines()
    cells = (line.split(",") for line in lines)
    told = [f"{u},{i},{truth[int(u[1:]), int(i[1:])]:.4f}" for u, i, _ in cells]
    source = write(tmp_path, "\n".join([header, *told]))
    changes = {"steps": 400, "batch_size": 64, "model.rank": 2, "model.penalty": 1e-5}
    metrics = run.run(on(source, **changes), tmp_path / "run").metrics
    (rmse, error), (loss, _) = metrics["rmse"], metrics["loss"]
    assert rmse < 0.2 * truth.std()
    assert rmse == pytest.approx(loss**0.5)
    assert 0 < error < rmse / 2
    assert metrics["mae"][0] < rmse


def test_tables_are_split_over_tensor_and_no_number_depends_on_it(tmp_path):
    config = on(write(tmp_path, drawn() + "stranger,i0,5\n"), **{"model.user_rows": 31})
    one, other = train_on(config, {}, {"mesh": {"tensor": 2, "fsdp": 2}}, devices=4)
    assert one["losses"][-1] < one["losses"][0]
    assert other["losses"] == pytest.approx(one["losses"], rel=1e-5)
    # 31 users are no even number.
    split = other["split"]["params"]
    assert split["embedding_item"] == ["fsdp", "tensor"]
    assert (split["embedding_item_bias"], split["embedding_user"]) == (["tensor"], ["fsdp"])
    assert other["split"]["opt_state"]["embedding_item"] == ["fsdp", "tensor"]
