"""Alternating least squares beside a factorisation."""

import numpy as np
import pytest

from benchmarks import als
from tests.data.sources.test_rows import write
from tests.data.test_ratings import drawn
from train.cli import InputError


def ratings(seed=0, share=0.8):
    """Of 20 users and 15 items, what biases and two vectors make; and a batch of some."""
    rng = np.random.default_rng(seed)
    whole = rng.normal(size=(20, 1)) + rng.normal(size=15)
    whole += rng.normal(size=(20, 2)) @ rng.normal(size=(2, 15))
    user, item = np.nonzero(rng.random((20, 15)) < share)
    ones = np.ones(len(user), np.float32)
    return whole, {"user": user, "item": item, "y": whole[user, item], "weight": ones}


def test_what_vectors_made_is_found_again():
    whole, train = ratings()
    user, item = als.factorise(train, 20, 15, rank=2, ridge=1e-6, sweeps=300)
    np.testing.assert_allclose(user @ item.T, whole, atol=0.02)


def test_no_vector_beside_it_is_better():
    """The gradient of the squared errors and the ridge vanishes."""
    _, train = ratings()
    ridge = 3.0
    user, item = als.factorise(train, 20, 15, rank=2, ridge=ridge, sweeps=500)
    off = np.zeros((20, 15))
    off[train["user"], train["item"]] = (user @ item.T)[train["user"], train["item"]] - train["y"]
    for gradient in (
        off @ item[:, [0, 2, 3]] + ridge * user[:, [0, 2, 3]],
        off.T @ user[:, [1, 2, 3]] + ridge * item[:, [1, 2, 3]],
    ):
        np.testing.assert_allclose(gradient, 0, atol=1e-3)


def test_of_who_is_cold_the_other_tells_alone():
    _, train = ratings()
    user, item = als.factorise(train, 20, 15, rank=2, ridge=1.0)
    held_out = {"user": np.array([20, 3]), "item": np.array([4, 15]), "weight": np.ones(2)}
    said = np.array([item[4, 1], user[3, 0]])
    held_out["y"] = said + np.array([3, 4])
    assert als.rmse(held_out, user, item)[0] == pytest.approx(12.5**0.5)


def test_all_rows_are_read_and_what_is_no_source_is_one_line(tmp_path):
    train, held_out, facts = als.opened(write(tmp_path, drawn()), "test", 0)
    assert len(train["y"]) + len(held_out["y"]) > 300
    assert (facts["user_rows"], facts["item_rows"]) == (30, 20)
    with pytest.raises(InputError, match=r"--source: data\.source: 'netflix'; allowed: msq"):
        als.opened("netflix", "test", 0)
