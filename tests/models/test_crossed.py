import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import crossed as recipes
from models import crossed
from tests.data.sources.test_rows import write
from tests.train.devices.meshes import train_on
from train import accounting, run
from train import config as configuration

U, I, V, F, K, H = 5, 4, 6, 2, 3, 7
VALUES = {"user_rows": U, "item_rows": I, "context_rows": V, "contexts": F}
VALUES |= {"width": K, "layers": 2, "hidden": H, "bias_penalty": 0.01, "vector_penalty": 0.02}
# Of the last rating nothing is known: its numbers are those just after the tables.
USER, ITEM = np.array([0, 4, 2, U]), np.array([3, 0, 0, I])
CONTEXT = np.array([[0, 3], [2, 5], [1, V], [V, V]])
BATCH = {"user": jnp.asarray(USER), "item": jnp.asarray(ITEM), "context": jnp.asarray(CONTEXT)}


def built(**changes):
    """A model, and parameters of which none is as it starts."""
    model = crossed.Model(crossed.Config(**VALUES | changes))
    params = nn.meta.unbox(model.init(jax.random.key(0), BATCH))["params"]
    rng = np.random.default_rng(0)
    return model, jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype), params)


def by_hand(p, user, item, context):
    """Equation 1 of DCN V2 and a perceptron of one rating."""
    y, x0 = p["bias"][0], []
    looked_up = [
        ("user", user, U),
        ("item", item, I),
        *(("context", value, V) for value in context),
    ]
    for of, number, rows in looked_up:
        known = number < rows
        bias = p[f"embedding_{of}_bias"][number] if known else 0.0
        vector = p[f"embedding_{of}"][number] if known else np.zeros(K)
        y += bias
        x0.append(vector)
    x = x0 = np.concatenate(x0)
    for layer in range(2):
        x = x0 * (x @ p[f"cross_{layer}"] + p[f"cross_{layer}_bias"]) + x
    h = x0 @ p["up"] + p["up_bias"]
    gelu = 0.5 * h * (1 + np.tanh((2 / np.pi) ** 0.5 * (h + 0.044715 * h**3)))
    return y + x @ p["sum_crossed"][:, 0] + gelu @ p["sum_deep"][:, 0]


def test_ratings_and_penalty_are_those_of_the_equations():
    model, params = built()
    y, own = model.apply({"params": params}, BATCH, mutable=["losses"])
    p = {name: np.asarray(x, np.float64) for name, x in params.items()}
    expected = [by_hand(p, *row) for row in zip(USER, ITEM, CONTEXT)]
    np.testing.assert_allclose(y, expected, rtol=1e-4)
    squares = {name: (x**2).sum() for name, x in p.items() if name.startswith("embedding")}
    penalty = sum((0.01 if "bias" in name else 0.02) * x for name, x in squares.items())
    np.testing.assert_allclose(jax.tree.leaves(own)[0], np.full(4, penalty), rtol=1e-5)


def test_a_rating_of_which_nothing_is_known_moves_no_table():
    model, params = built()
    batch = {name: x[3:] for name, x in BATCH.items()}
    grads = jax.grad(lambda p: model.apply({"params": p}, batch)[0])(params)
    assert {name for name, grad in grads.items() if np.any(grad)} == {"bias", "up_bias", "sum_deep"}


def test_tables_dense_weights_and_those_of_one_rating_are_counted():
    for contexts, rows in ((F, V), (0, 0)):
        given = VALUES | {"contexts": contexts, "context_rows": rows}
        model = crossed.Model(crossed.Config(**given))
        batch = BATCH if contexts else {name: BATCH[name] for name in ("user", "item")}
        params = jax.eval_shape(model.init, jax.random.key(0), batch)["params"]
        found = accounting.count_parameters(params, model.config.used)
        D = (2 + contexts) * K
        dense = 1 + 2 * (D * D + D) + D + D * H + 2 * H
        assert (found["embedding"], found["body"]) == ((U + I + rows) * (K + 1), dense)
        assert found["active"] == (2 + contexts) * (K + 1) + dense
        assert found["active_body"] == dense


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"item_rows": 0}, "item_rows: 0; must be at least 1"),
        ({"width": 0}, "width: 0; must be at least 1"),
        ({"layers": -1}, "layers: -1; must be at least 0"),
        ({"contexts": 0}, "context_rows: 6; must be 0 where contexts is 0"),
        ({"context_rows": 1}, "context_rows: 1; must be at least 2, one of each of contexts"),
    ],
)
def test_what_a_config_may_not_hold(changes, message):
    with pytest.raises(ValueError, match=message):
        crossed.Config(**VALUES | changes)


def test_tables_of_another_size_than_the_data_do_not_fit():
    facts = {name: VALUES[name] for name in ("user_rows", "item_rows", "context_rows", "contexts")}
    crossed.Config(**VALUES).fits(facts)
    with pytest.raises(ValueError, match="context_rows: 6; must be 8, as many as the data have"):
        crossed.Config(**VALUES).fits(facts | {"context_rows": 8})


def on(folder, **changes):
    """A run on 30 users and 20 items, whose ratings are told by a product of two contexts alone."""
    rng, lines = np.random.default_rng(0), []
    signs = {"a": 1, "b": -1}
    for user, item in np.ndindex(30, 20):
        x, y = rng.choice(list(signs), 2)
        lines.append(f"u{user},i{item},{signs[x] * signs[y] + 0.1 * rng.normal():.3f},{x},{y}")
    config = recipes.recipe(4, 1e4)
    source = write(folder, "user,item,rating,x,y\n" + "\n".join(lines))
    config.data.update(source=source, unique=0, contexts=("x", "y"))
    config.model.update(user_rows=30, item_rows=20, context_rows=4)
    config.batch_size, config.evaluation.batch_size, config.steps = 16, 64, 10
    config.update_from_flattened_dict(changes)
    return configuration.resolve(config.to_dict())


def test_a_run_learns_what_no_column_tells_alone(tmp_path):
    changes = {"steps": 300, "batch_size": 64, "optimizer.learning_rate": 0.02}
    found = run.run(on(tmp_path, **changes), tmp_path / "run").metrics
    assert found["rmse"][0] < 0.3


def test_tables_are_split_over_tensor_and_no_number_depends_on_it(tmp_path):
    one, other = train_on(on(tmp_path), {}, {"mesh": {"tensor": 2, "fsdp": 2}}, devices=4)
    assert other["losses"] == pytest.approx(one["losses"], rel=1e-5)
    split = other["split"]["params"]
    assert split["embedding_item"] == split["embedding_context"] == ["fsdp", "tensor"]
    assert split["embedding_context_bias"] == ["tensor"]
    assert split["cross_0"] == split["up"] == ["fsdp", "tensor"]
