"""Popularity and a linear model beside a model that ranks."""

import numpy as np
import pytest
from sklearn import metrics

from benchmarks import offers
from tests.data.sources.test_rows import write
from train.cli import InputError


def test_no_other_weights_without_a_diagonal_are_better():
    """Of the squared errors and the ridge, the gradient off the diagonal vanishes."""
    met = (np.random.default_rng(0).random((40, 12)) < 0.3).astype(float)
    weights = np.linalg.lstsq(met, offers.ease(met, 5.0), rcond=None)[0]
    np.testing.assert_allclose(np.diag(weights), 0, atol=1e-9)
    gradient = met.T @ (met @ weights - met) + 5.0 * weights
    np.testing.assert_allclose(gradient - np.diag(np.diag(gradient)), 0, atol=1e-9)


def test_metrics_are_those_of_the_library_among_what_is_not_met():
    rng = np.random.default_rng(0)
    met = (rng.random((30, 40)) < 0.3).astype(float)
    item = np.array([rng.choice(np.flatnonzero(row == 0)) for row in met])
    shown = np.where(met > 0, np.arange(40), 40)
    held_out = {"user": np.arange(30), "item": item, "met": shown, "weight": np.ones(30)}
    scores = rng.normal(size=met.shape)
    found = offers.measure(scores, held_out)
    offered = np.where(met > 0, -100, scores)
    expected = metrics.ndcg_score(np.eye(40)[item], offered, k=10)
    assert found["ndcg@10"][0] == pytest.approx(expected)
    assert found["recall@10"][0] == metrics.top_k_accuracy_score(
        item, offered, k=10, labels=np.arange(40)
    )


def test_what_is_most_popular_is_offered_to_all(tmp_path):
    lines = "".join(f"u{user},a{item}\n" for user, item in np.ndindex(9, 3))
    source = write(tmp_path, "user,item\n" + lines)
    met, held_out = offers.opened(source, "test")
    assert met.sum() == 18
    assert len(held_out["item"]) == 9
    # Of three items two are met, so that the one that is not comes first.
    assert offers.measure(offers.popularity(met), held_out)["recall@10"][0] == 1
    with pytest.raises(InputError, match=r"--source: data\.source: 'netflix'; allowed: msq"):
        offers.opened("netflix", "test")
