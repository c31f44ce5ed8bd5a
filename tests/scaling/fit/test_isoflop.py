"""Approach 2: the best size at each budget, and what it refuses."""

import numpy as np
import pandas as pd
import pytest

from scaling.fit.bias import judged
from scaling.fit.fitting import fit
from scaling.fit.isoflop import IsoflopFit, isoflop, load
from train.cli import InputError

E, A, B, ALPHA, BETA = 1.8172, 482.01, 2085.43, 0.3478, 0.3658
EXPONENT = BETA / (ALPHA + BETA)


def best_size(C):
    """Closed form of argmin_N under C = 6 N D (Hoffmann et al. 2022, eq. 4)."""
    ratio = (ALPHA * A / (BETA * B)) ** (1 / (ALPHA + BETA))
    return ratio * (C / 6) ** EXPONENT


def grid(noise=0.0, seed=0, budgets=5, sizes=5, width=4.0, shift=1.0):
    rng = np.random.default_rng(seed)
    C = np.repeat(np.geomspace(1e18, 5e19, budgets), sizes)
    N = best_size(C) * np.tile(np.geomspace(1 / width, width, sizes), budgets) * shift
    D = C / (6 * N)
    loss = E + A * N**-ALPHA + B * D**-BETA
    loss = loss * np.exp(noise * rng.standard_normal(len(N)))
    return pd.DataFrame({"N": N, "D": D, "C": C, "loss": loss})


@pytest.mark.parametrize("method", ["parabola", "akima"])
def test_noise_free_vertices_lie_at_the_closed_form(method):
    runs = grid(sizes=11, width=2.0)
    found = isoflop(runs, method, bootstrap=20)
    for budget in found.budgets:
        assert pytest.approx(best_size(budget.C), rel=0.02) == budget.N
        assert pytest.approx(budget.C / 6 / budget.N, rel=1e-6) == budget.D
    assert found.N_exponent == pytest.approx(EXPONENT, abs=0.004)
    assert found.N_exponent + found.D_exponent == pytest.approx(1.0, abs=1e-9)
    assert found.optimum(1e21)["N"] == pytest.approx(best_size(1e21), rel=0.05)


def test_an_exact_parabola_is_recovered_exactly():
    # log loss = (log N - .5 log C)^2 / 50 + 1 - .05 log C, so N* = sqrt(C).
    C = np.repeat([1e16, 1e17, 1e18], 5)
    N = np.sqrt(C) * np.tile(np.geomspace(0.4, 2.0, 5), 3)
    loss = np.exp((np.log(N) - 0.5 * np.log(C)) ** 2 / 50 + 4 - 0.05 * np.log(C))
    found = isoflop(pd.DataFrame({"N": N, "D": C / 6 / N, "C": C, "loss": loss}), bootstrap=10)
    assert found.N_exponent == pytest.approx(0.5, abs=1e-9)
    assert found.N_coefficient == pytest.approx(1.0, rel=1e-6)
    assert found.intervals["N_exponent"] == pytest.approx((0.5, 0.5), abs=1e-6)


def test_intervals_hold_the_truth_at_about_their_rate():
    # 50 studies at 90%: the hits are Binomial(50, .9), standard deviation 2.1. Fewer than 39 has
    # probability 0.3% for a right interval; one that holds the truth 70% of the time passes with
    # probability 8%. The upper side is a width: three times the spread of the estimates is useless.
    hits, estimates, widths = 0, [], []
    for seed in range(50):
        found = isoflop(grid(noise=0.003, seed=seed), bootstrap=200, seed=seed)
        low, high = found.intervals["N_exponent"]
        hits += low <= EXPONENT <= high
        estimates.append(found.N_exponent)
        widths.append(high - low)
    assert hits >= 39
    assert np.median(widths) < 3 * 1.645 * np.std(estimates)


def test_budgets_without_a_minimum_are_left_out_and_said():
    runs = grid()
    edge = runs["C"] == runs["C"].max()
    runs.loc[edge, "loss"] = 3.0 * (runs.loc[edge, "N"] / 1e8) ** -0.1  # still falling
    found = isoflop(runs, bootstrap=20)
    assert found.budgets[-1].problem.startswith("no interior minimum")
    assert np.isnan(found.budgets[-1].N)
    assert any("no interior minimum" in warning for warning in found.warnings)
    assert found.N_exponent == pytest.approx(EXPONENT, abs=0.02)


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        (grid(shift=30.0), "no interior minimum"),
        (grid(budgets=1), "1 of 1 compute budgets"),
        (grid(sizes=2), "2 model sizes"),
    ],
)
def test_tables_without_two_minima_are_refused(runs, words):
    with pytest.raises(InputError, match=words):
        isoflop(runs, bootstrap=5)


def test_held_out_runs_do_not_enter():
    runs = grid().assign(split="fit")
    wild = runs.iloc[[0]].assign(loss=0.5, split="heldout")
    found = isoflop(pd.concat([runs, wild], ignore_index=True), bootstrap=5)
    assert found.N_exponent == isoflop(runs, bootstrap=5).N_exponent


def test_file_round_trip_and_broken_files(tmp_path):
    path = str(tmp_path / "isoflop.json")
    found = isoflop(grid(noise=0.003), bootstrap=30)
    found.save(path)
    back = load(path)
    assert back.optimum(1e20)["N"] == found.optimum(1e20)["N"]
    np.testing.assert_array_equal(back.draws, found.draws)
    np.testing.assert_array_equal(back.budgets[0].losses, found.budgets[0].losses)
    for broken in ("", "[]", "{}", found.to_json()[:-5], '{"format": 1, "version": 1}'):
        with pytest.raises(InputError):
            IsoflopFit.from_json(broken)


def test_bias_of_the_parabola_on_this_very_grid_is_said():
    """On noise-free runs of a known law, what the bias predicts is what the estimate gets wrong."""
    runs = grid(sizes=5, width=8.0)
    law = fit(runs, bootstrap=0, starts=32)
    found = judged(runs, law, bootstrap=20)
    wrong = found.N_exponent - EXPONENT
    off = found.optimum(found.bias["C"])["N"] / best_size(found.bias["C"]) - 1
    assert abs(off) > 0.008  # the grid is wide and the loss not symmetric
    assert found.bias["N_bias"] == pytest.approx(off, abs=1e-4)
    assert found.bias["exponent_bias"] == pytest.approx(wrong, abs=1e-4)
    assert any("approach 2 on this grid, were chinchilla the truth" in w for w in found.warnings)
    assert IsoflopFit.from_json(found.to_json()).bias == found.bias
    assert isoflop(runs, bootstrap=20).bias is None
    # It is in the result, and said aloud only where the intervals do not hold it.
    rng = np.random.default_rng(0)
    noisy = runs.assign(loss=runs["loss"] * np.exp(0.005 * rng.standard_normal(len(runs))))
    found = judged(noisy, law, bootstrap=100)
    assert found.bias["N_bias"] == pytest.approx(off, abs=1e-4)
    assert not any("the truth" in warning for warning in found.warnings)
    assert len(judged(runs, law, bootstrap=0).warnings) == 1


def test_an_interpolated_minimum_may_lie_beside_a_lowest_run_at_the_edge():
    x = np.arange(5.0)
    rows = []
    for C, best in ((1e18, 0.3), (1e20, 0.4)):  # in log N, counted from the smallest run
        N = 1e7 * (C / 1e18) ** 0.5 * np.exp(x)
        rows += [(C, n, C / 6 / n, 3 * np.exp(0.01 * (at - best) ** 2)) for n, at in zip(N, x)]
    runs = pd.DataFrame(rows, columns=["C", "N", "D", "loss"])
    made = isoflop(runs, method="akima", bootstrap=0)
    assert all(np.argmin(budget.losses) == 0 for budget in made.budgets)
    assert np.isclose(made.N_exponent, 0.5 + 0.1 / np.log(100), atol=0.01)
