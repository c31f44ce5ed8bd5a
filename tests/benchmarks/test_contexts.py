"""What contexts are worth to a linear model."""

import numpy as np
import pytest

from benchmarks import contexts
from configs import crossed as recipes
from tests.data.sources.test_rows import write
from train import config as configuration
from train import run
from train.cli import InputError


def test_weights_are_those_of_a_ridge_and_what_is_cold_has_none():
    facts = {"user_rows": 3, "item_rows": 2, "context_rows": 4}
    batch = {"user": np.array([0, 3, 2]), "item": np.array([1, 0, 2])}
    batch["context"] = np.array([[0, 2], [1, 4], [4, 4]])
    x = contexts.one_hot(batch, facts, contexts=True)
    expected = np.zeros((3, 9))
    expected[[0, 0, 0, 0, 1, 1, 2], [0, 4, 5, 7, 3, 6, 2]] = 1
    np.testing.assert_array_equal(x.toarray(), expected)
    np.testing.assert_array_equal(contexts.one_hot(batch, facts, False).toarray(), expected[:, :5])
    y = np.array([1.0, 2.0, -1.0])
    weights = contexts.regression(x, y, 0.5)
    # The gradient of the squared errors and the ridge vanishes.
    np.testing.assert_allclose(x.T @ (x @ weights - y) + 0.5 * weights, 0, atol=1e-12)


def test_errors_of_a_run_are_those_of_the_same_ratings(tmp_path):
    lines = [f"u{a},i{b},{a + b},{a % 3}" for a, b in np.ndindex(20, 9)]
    source = write(tmp_path, "\n".join(["user,item,rating,kind", *lines]))
    config = recipes.recipe(2, 1e3)
    config.data.update(source=source, unique=0, contexts=("kind",))
    config.model.update(user_rows=20, item_rows=9, context_rows=3)
    config.batch_size, config.evaluation.batch_size, config.steps = 16, 64, 5
    found = run.run(configuration.resolve(config.to_dict()), tmp_path / "run").metrics
    _, held_out, _ = contexts.opened(source, "test", 0, ["kind"])
    errors = contexts.of_run(tmp_path / "run", held_out["y"])
    assert errors.mean() == pytest.approx(found["loss"][0], rel=1e-5)
    with pytest.raises(InputError, match=r"--runs: .*; a run that is evaluated on all of the test"):
        contexts.of_run(tmp_path / "run", held_out["y"][1:])
