import math

import numpy as np
import pytest

from benchmarks import captions


class Rows:
    """Six training rows of three codes, of four there are; two to evaluate on."""

    train = np.array([[0, 1, 2], [0, 1, 1], [0, 2, 1], [1, 1, 2], [0, 1, 2], [2, 2, 0]])
    train_rows, eval_rows, facts = 6, 2, {"codes": 4}

    def train_batch(self, seed, step, size):
        return {"targets": self.train}

    def eval_batch(self, index, size):
        return {"targets": np.array([[0, 1, 3], [3, 3, 2]])}


def test_tables_of_counts(monkeypatch):
    monkeypatch.setattr(captions, "PASSES", 1)
    alone, after = captions.orders(Rows())
    counts = {0: 5, 1: 7, 2: 6, 3: 0}
    p = {code: (n + 1) / 22 for code, n in counts.items()}
    wanted = -np.mean([math.log(p[code]) for code in (0, 1, 3, 3, 3, 2)])
    assert alone[0] == pytest.approx(wanted)

    def bigram(seen, total, kinds, code):
        return (seen + kinds * p[code]) / (total + kinds)

    # At the start 0 four times, 1 and 2; after 0 thrice 1, once 2; after 1 twice 1, thrice 2.
    said = [bigram(4, 6, 3, 0), bigram(3, 4, 2, 1), bigram(0, 5, 2, 3)]
    said += [bigram(0, 6, 3, 3), p[3], p[2]]
    assert after[0] == pytest.approx(-np.mean(np.log(said)))


def test_wilsons_interval():
    # Newcombe 1998 (doi:10.1002/(SICI)1097-0258(19980430)17:8), table I: 81 of 263, method 3.
    assert captions.wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
