import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics

from train.tasks import ranking

ROWS, ITEMS, REAL = 40, 30, 33
RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(ROWS, ITEMS)).astype(np.float32)
ITEM = RNG.integers(ITEMS, size=ROWS)
MASKED = np.where(
    (RNG.random((ROWS, ITEMS)) < 0.3) & (np.arange(ITEMS) != ITEM[:, None]), -np.inf, LOGITS
)
MASKED[REAL:, 0] = -np.inf  # what a row of padding asks for may not be offered
BATCH = {
    "item": jnp.asarray(np.where(np.arange(ROWS) < REAL, ITEM, 0), jnp.int32),
    "weight": jnp.asarray(np.arange(ROWS) < REAL, jnp.float32),
}


def model(batch):
    return jnp.asarray(MASKED)


def test_sums_are_those_of_the_library():
    found = ranking.losses(ranking.Config(), model, BATCH, None)
    means = {name: float(x.sum()) / REAL for name, x in found.sums.items()}
    item, scores = ITEM[:REAL], np.where(np.isfinite(MASKED), MASKED, -100)[:REAL]
    right = np.eye(ITEMS)[item]
    chance = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    labels = np.arange(ITEMS)
    expected = {
        "loss": metrics.log_loss(item, chance, labels=labels),
        "recall@10": metrics.top_k_accuracy_score(item, scores, k=10, labels=labels),
        "ndcg@10": metrics.ndcg_score(right, scores, k=10),
        "mrr": metrics.label_ranking_average_precision_score(right, scores),
    }
    assert means == pytest.approx(expected, rel=1e-5)
    assert all(np.all(np.asarray(x)[REAL:] == 0) for x in (*found.sums.values(), found.objective))
    np.testing.assert_array_equal(found.objective, found.sums["loss"])


def test_of_equals_the_right_one_comes_last():
    same = jnp.zeros((1, 12))
    assert ranking.ranks(same, jnp.array([3])).tolist() == [12]


def test_what_is_offered_first_is_kept():
    kept = ranking.examine(ranking.Config(), model, BATCH, None)
    first = np.argsort(-MASKED, axis=1)[:, :10]
    np.testing.assert_array_equal(kept["offered"], first)
    among = (first[:REAL] == ITEM[:REAL, None]).any(axis=1)
    np.testing.assert_array_equal(kept["rank"][:REAL] <= 10, among)
