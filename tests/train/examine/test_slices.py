import math

import numpy as np
import pytest

from train.cli import InputError
from train.evaluation import mean_and_error
from train.examine import slices


def test_a_part_has_the_mean_of_its_rows_and_padding_is_of_none():
    rng = np.random.default_rng(0)
    column, units = rng.integers(3, size=200), rng.integers(5, size=200).astype(float)
    loss = rng.normal(size=200) * units
    parts = slices.by("size", column, {}, {"loss": loss}, units)
    assert [part.name for part in parts] == ["0", "1", "2"]
    assert sum(part.rows for part in parts) == np.sum(units > 0)
    for value, part in enumerate(parts):
        inside = column == value
        mean = part.means["loss"]
        assert (mean.value, mean.error) == mean_and_error(loss[inside], units[inside])
        assert mean.interval is None


def test_a_share_has_wilsons_interval():
    right = np.array([1.0] * 9 + [0.0] + [1.0] * 40 + [0.0] * 50)
    column = np.array([7] * 10 + [8] * 90)
    (part, _) = slices.by("k", column, {}, {"right": right}, np.ones(100))
    mean, z, n = part.means["right"], 1.959963984540054, 10
    middle, half = 0.9 + z**2 / 2 / n, z * math.sqrt(0.9 * 0.1 / n + z**2 / 4 / n**2)
    expected = [(middle + sign * half) / (1 + z**2 / n) for sign in (-1, 1)]
    assert mean.interval == pytest.approx(expected)
    # Fisher's: tables as unlikely as 9 of 10 where 40 of 90 are right, or more so.
    chance = [math.comb(49, k) * math.comb(51, 10 - k) / math.comb(100, 10) for k in range(11)]
    p = sum(c for c in chance if c <= chance[9] * (1 + 1e-9))
    assert mean.p == pytest.approx(2 * p)  # two parts, the same two-sided difference twice


def test_names_are_the_datas():
    column, x = np.array([0, 1, 1, 5]), {"loss": np.arange(4.0)}
    facts = {"class_names": ("cat", "dog"), "side_names": ["left", "right"]}

    def named(key):
        return [part.name for part in slices.by(key, column, facts, x, np.ones(4))]

    assert named("label") == ["0 cat", "1 dog", "5"]
    assert named("side") == ["0 left", "1 right", "5"]
    assert named("other") == ["0", "1", "5"]


def test_p_is_how_often_a_random_part_is_so_far_from_the_rest():
    rng = np.random.default_rng(3)
    units = rng.integers(1, 5, size=60).astype(float)
    loss, column = rng.exponential(size=60) * units, np.arange(60) % 3 == 0
    loss[column] *= 1.5
    parts = slices.by("k", column, {}, {"loss": loss}, units)
    apart = loss - loss.sum() / units.sum() * units
    drawn = [abs(rng.permutation(apart)[:20].sum()) for _ in range(20000)]
    p = np.mean(np.array(drawn) >= abs(apart[column].sum()))
    assert 0.02 < p < 0.5
    assert parts[1].means["loss"].p == pytest.approx(2 * p, rel=0.1)  # two parts, one difference


@pytest.mark.slow
def test_a_table_of_noise_seldom_alarms_and_a_part_that_is_off_is_found():
    rng = np.random.default_rng(1)
    column, alarms, found = np.repeat(np.arange(10), 40), 0, 0
    for _ in range(200):
        loss = rng.exponential(size=400)
        sums = {"loss": loss, "right": (rng.random(400) < 0.8).astype(float)}
        parts = slices.by("k", column, {}, sums, np.ones(400))
        alarms += any(mean.p < 0.05 for part in parts for mean in part.means.values())
        parts = slices.by("k", column, {}, {"loss": loss + (column == 3)}, np.ones(400))
        found += parts[3].means["loss"].p < 0.05
    assert alarms <= 20  # .05 of 200, and three standard deviations
    assert found >= 195


def test_what_is_not_known_is_not_told():
    column, loss = np.array([0, 1, 1, 1]), {"loss": np.arange(4.0)}
    alone = slices.by("k", column, {}, loss, np.ones(4))[0].means["loss"]
    assert (alone.value, alone.error) == (0.0, math.inf)
    for x in (np.arange(4.0), np.ones(4)):  # one part is all there is
        (whole,) = slices.by("k", np.zeros(4), {}, {"x": x}, np.ones(4))
        assert math.isnan(whole.means["x"].p)
    for part in slices.by("k", column, {}, {"x": np.full(4, 2.0)}, np.ones(4)):
        assert math.isnan(part.means["x"].p)  # no row differs from any other


def test_a_column_that_numbers_its_rows_is_refused():
    with pytest.raises(InputError, match="--slices: 'row' has 51 values; at most 50"):
        slices.by("row", np.arange(51), {}, {"loss": np.ones(51)}, np.ones(51))
