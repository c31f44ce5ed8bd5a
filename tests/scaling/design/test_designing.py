"""Designs: what they promise against studies simulated and fitted by other means."""

import dataclasses
import itertools
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import optimize

from scaling.design import command, designing, expect, points
from scaling.design.expect import target_at
from scaling.fit.bias import parabola_bias
from scaling.fit.fitting import fit
from scaling.fit.ready import published
from train.cli import InputError

NOISE = 0.003
A, B = np.log(482.01), np.log(2085.43)
TRUTH = np.array([1.8172, A, B, 0.3478, 0.3658])


def log_loss(p, N, D):
    return np.log(p[0] + np.exp(p[1] - p[3] * np.log(N)) + np.exp(p[2] - p[4] * np.log(D)))


def best_size(p, C):
    """Hoffmann et al. 2022, eq. 4, and its exponent."""
    exponent = p[4] / (p[3] + p[4])
    ratio = np.exp((np.log(p[3] / p[4]) + p[1] - p[2]) / (p[3] + p[4]))
    return ratio * (C / 6) ** exponent, exponent


@pytest.fixture(scope="module")
def law():
    return published("besiroglu2024")


@pytest.fixture(scope="module")
def target(law):
    return target_at(law, 1e22)


@pytest.fixture(scope="module")
def grid(law):
    return points.isoflop_grid(law, points.Region(1e21, 3.0, 4.0), 5, 5)


@pytest.fixture(scope="module")
def promised(law, grid, target):
    return expect.promise(law, grid.N, grid.D, NOISE, target, studies=1500)


def refit(log_losses, N, D):
    """The default objective of a fit, minimised by scipy."""
    return optimize.least_squares(
        lambda p: log_loss(p, N, D) - log_losses,
        TRUTH,
        loss="huber",
        f_scale=1e-3,
        x_scale=0.01 * np.abs(TRUTH) + 1e-3,
        max_nfev=400,
    ).x


def test_the_promise_is_what_simulated_studies_give(grid, target, promised):
    # 250 studies fitted by scipy: the 90% range of their results is known to about 6%, the
    # promise's own to 2%, so 20% is three standard deviations.
    rng = np.random.default_rng(99)
    exact, found = log_loss(TRUTH, grid.N, grid.D), []
    for _ in range(250):
        p = refit(exact + NOISE * rng.standard_normal(len(exact)), grid.N, grid.D)
        found.append((*best_size(p, target.C), np.exp(log_loss(p, target.N, target.D))))
    low, high = np.quantile(found, [0.05, 0.95], axis=0)
    at_target = np.exp(log_loss(TRUTH, target.N, target.D))
    assert np.log(promised.N_width) == pytest.approx(np.log(high[0] / low[0]), rel=0.2)
    assert promised.exponent_width == pytest.approx(high[1] - low[1], rel=0.2)
    assert promised.loss_width == pytest.approx((high[2] - low[2]) / at_target, rel=0.2)
    assert promised.N[0] < 1 < promised.N[1]
    assert promised.without == 0


def test_the_promise_is_what_a_fit_then_prints(grid, target, promised):
    rng = np.random.default_rng(7)
    exact, widths = log_loss(TRUTH, grid.N, grid.D), []
    for _ in range(10):
        loss = np.exp(exact + NOISE * rng.standard_normal(len(exact)))
        runs = pd.DataFrame({"N": grid.N, "D": grid.D, "C": grid.C, "loss": loss})
        found = fit(runs, bootstrap=200, starts=16, resample="residual")
        low, high = found.allocate(target.C)["intervals"]["N"]
        ends = found.interval(found.predict_draws(target.N, target.D))
        widths.append((np.log(high / low), float(ends[1] - ends[0])))
    N_width, loss_width = np.mean(widths, axis=0)
    assert np.log(promised.N_width) == pytest.approx(N_width, rel=0.2)
    at_target = np.exp(log_loss(TRUTH, target.N, target.D))
    assert promised.loss_width == pytest.approx(loss_width / at_target, rel=0.2)


def test_less_noise_promises_more(law, grid, target, promised):
    half = expect.promise(law, grid.N, grid.D, NOISE / 3, target, studies=400)
    assert half.loss_width < 0.6 * promised.loss_width
    with pytest.raises(InputError, match="--noise"):
        expect.promise(law, grid.N, grid.D, 0.0, target)
    with pytest.raises(InputError, match="needs at least 6"):
        expect.promise(law, grid.N[:5], grid.D[:5], NOISE, target)


def test_padding_to_more_rows_changes_nothing_but_the_noise_drawn(law, grid, target, promised):
    padded = expect.promise(law, grid.N, grid.D, NOISE, target, studies=1500, rows=32)
    assert padded.loss_width == pytest.approx(promised.loss_width, rel=0.12)
    assert np.log(padded.N_width) == pytest.approx(np.log(promised.N_width), rel=0.12)


def test_every_design_spends_its_budget_inside_its_region(law, target):
    region = points.Region(3e20, 3.0, 3.0)
    made = [
        points.isoflop_grid(law, region, 4, 5),
        points.random_design(law, region, 20),
        *(points.optimal(law, region, 20, target, c) for c in points.CRITERIA),
    ]
    for one in made:
        np.testing.assert_allclose(one.C, 6 * one.N * one.D, rtol=1e-9)
        assert len(one.N) == 20
        assert one.C.min() >= 0.999 * region.cheapest
        off = np.abs(np.log(one.N / best_size(TRUTH, one.C)[0]))
        assert off.max() <= np.log(3.0) + 1e-6
        assert 0.9 * region.flops < one.cost <= 1.000001 * region.flops
    assert made[0].cost == pytest.approx(region.flops, rel=1e-9)
    assert len(np.unique(made[0].C.round(-9))) == 4


def information(law, made, target):
    at = expect.jacobian(law, np.append(made.N, target.N), np.append(made.D, target.D))
    return at[:-1].T @ at[:-1], at[-1]


def test_optimal_designs_beat_the_others_at_what_they_are_made_for(law, target):
    region = points.Region(1e21, 3.0, 4.0)
    others = [points.isoflop_grid(law, region, 5, 5)]
    others += [points.random_design(law, region, 25, seed) for seed in range(10)]

    def volume(made):
        return np.linalg.slogdet(information(law, made, target)[0])[1]

    def variance(made):
        matrix, goal = information(law, made, target)
        return goal @ np.linalg.solve(matrix, goal)

    best_D, best_V = (points.optimal(law, region, 25, target, c) for c in points.CRITERIA)
    assert volume(best_D) > max(map(volume, others))
    assert variance(best_V) < min(map(variance, others))
    assert volume(best_D) > volume(best_V)
    assert variance(best_V) < variance(best_D)


def test_the_exchange_finds_what_trying_all_designs_finds():
    rng = np.random.default_rng(3)
    rows, goal = rng.standard_normal((9, 2)), rng.standard_normal(2)
    cost = rng.uniform(1, 4, 9)
    for criterion in points.CRITERIA:
        scores = []
        for chosen in itertools.combinations_with_replacement(range(9), 4):
            if cost[list(chosen)].sum() <= 9:
                M = rows[list(chosen)].T @ rows[list(chosen)]
                if np.linalg.cond(M) < 1e9:
                    by = {"D": -np.linalg.slogdet(M)[1], "V": goal @ np.linalg.solve(M, goal)}
                    scores.append(by[criterion])
        starts = [points._affordable(cost, 9, 4, np.random.default_rng(s)) for s in range(8)]
        found = min(points._exchange(rows, cost, 9, s, criterion, goal)[0] for s in starts)
        assert found == pytest.approx(min(scores), rel=1e-6)


def test_the_next_run_is_the_best_of_the_pool_and_narrows_the_promise(law, grid, target):
    noisy = np.exp(log_loss(TRUTH, grid.N, grid.D))
    runs = pd.DataFrame({"N": grid.N, "D": grid.D, "C": grid.C, "loss": noisy})
    region = points.Region(1e21, 3.0, 4.0)
    before, after = designing.next_runs(law, runs, region, NOISE, target)
    assert after.promise.loss_width < 0.95 * before.promise.loss_width
    new = points.Design("", *(getattr(after.design, k)[-1:] for k in ("N", "D", "C")))
    assert grid.C.min() * 0.999 <= new.C[0] <= region.flops * 1.001

    def variance(N, D, C):
        both = (np.append(x, y) for x, y in zip((grid.N, grid.D, grid.C), (N, D, C)))
        matrix, goal = information(law, points.Design("", *both), target)
        return goal @ np.linalg.solve(matrix, goal)

    chosen = variance(new.N, new.D, new.C)
    for C, factor in itertools.product(np.geomspace(grid.C.min(), 1e21, 6), (0.25, 0.5, 1, 2, 4)):
        N = best_size(TRUTH, C)[0] * factor
        assert chosen <= variance(N, C / 6 / N, C) * 1.02


def test_the_bias_of_parabolas_is_what_polyfit_gives_on_the_laws_own_losses(law):
    C = np.repeat([1e18, 1e19, 1e20], 5)
    N = best_size(TRUTH, C)[0] * np.tile(np.geomspace(0.8, 6.0, 5), 3)  # off-centre, upwards
    runs = pd.DataFrame({"N": N, "D": C / 6 / N, "C": C})
    found = parabola_bias(law, runs, C=1e22, studies=20, noise=0.001)
    vertices = []
    for place in range(3):
        x, y = np.log(N), log_loss(TRUTH, N, C / 6 / N)
        curve, slope, _ = np.polyfit(x[5 * place :][:5], y[5 * place :][:5], 2)
        vertices.append(-slope / 2 / curve)
    line = np.polyfit(np.log(C[::5]), vertices, 1)
    truth, exponent = best_size(TRUTH, 1e22)
    assert found["exponent"] == pytest.approx(exponent, abs=1e-5)
    assert found["exponent_bias"] == pytest.approx(line[0] - exponent, abs=1e-5)
    off = np.exp(np.polyval(line, np.log(1e22))) / truth - 1
    assert found["N_bias"] == pytest.approx(off, abs=1e-4)
    assert abs(off) > 0.005  # there is something to find
    assert found["N_bias_noisy"] == pytest.approx(off, abs=4 * found["N_bias_spread"] / 20**0.5)
    assert found["lost"] == 0


def test_a_symmetric_law_on_a_centred_grid_has_no_bias():
    law = published("muennighoff2023_c4")  # alpha = beta: the loss is symmetric in log N
    made = points.isoflop_grid(law, points.Region(1e21, 3.0, 2.0), 4, 7)
    found = parabola_bias(law, pd.DataFrame({"N": made.N, "D": made.D, "C": made.C}), noise=0.0)
    assert found["exponent"] == pytest.approx(0.5, abs=1e-5)
    assert found["exponent_bias"] == pytest.approx(0.0, abs=1e-4)
    assert found["N_bias"] == pytest.approx(0.0, abs=1e-3)


def test_a_law_without_a_best_size_is_refused_not_crashed_on(law, grid):
    rising = {**law.params, "A": 1e-300}  # size costs nothing: the smallest model is always best
    odd = dataclasses.replace(law, params=rising, centred=rising)
    runs = pd.DataFrame({"N": grid.N, "D": grid.D, "C": grid.C, "loss": 3.0})
    with pytest.raises(InputError, match="interior minimum"):
        parabola_bias(odd, runs)
    with pytest.raises(InputError, match="no best size"):
        target_at(odd, 1e22)


def given(**changes):
    """The flags of `python -m scaling.design`."""
    names = "device throughput price hours days money law noise target count choose out runs c"
    values = dict.fromkeys([*names.split(" "), "split"])
    values |= {"mfu": 0.4, "devices": 1, "flops": 1e21, "decades": 3.0, "studies": 50, "seed": 0}
    values |= {"budgets": [3], "sizes": [5], "spread": [3.0], "next": False}
    values |= dict.fromkeys(("n_unit", "d_unit", "c_unit", "metric"))
    values |= {"n": "N", "d": "D", "loss": "loss", "columns": []}
    return SimpleNamespace(**{**values, **changes})


def run(monkeypatch, **changes):
    command.run(given(**changes))


def test_the_command_compares_and_writes_the_chosen_design(monkeypatch, capsys, tmp_path):
    out = tmp_path / "design.csv"
    run(
        monkeypatch,
        law="besiroglu2024",
        flops=None,
        money=100.0,
        price=2.0,
        throughput=1e15,
        choose="isoflop 3x5 spread 3",
        out=str(out),
    )
    shown = capsys.readouterr().out
    for words in ("* isoflop 3x5", "random 25", "D-optimal 25", "V-optimal 25", "$100", "assumed"):
        assert words in shown
    written = pd.read_csv(out).astype(float)  # the whole numbers in it overflow int64 as products
    assert list(written.columns) == ["N", "D", "C"]
    assert written["C"].sum() == pytest.approx(50 * 3600 * 1e15, rel=1e-4)  # 50 device-hours
    np.testing.assert_allclose(6 * written["N"] * written["D"], written["C"], rtol=1e-4)


def test_the_command_suggests_next_runs(monkeypatch, capsys, tmp_path, grid):
    rng = np.random.default_rng(0)
    loss = np.exp(log_loss(TRUTH, grid.N, grid.D) + NOISE * rng.standard_normal(25))
    runs, out = tmp_path / "my.csv", tmp_path / "next.json"
    pd.DataFrame({"N": grid.N, "D": grid.D, "loss": loss}).to_csv(runs, index=False)
    run(monkeypatch, next=True, runs=str(runs), count=2, flops=1e20, target=1e22, out=str(out))
    assert "+ run 2" in capsys.readouterr().out
    written = json.loads(out.read_text())
    assert len(written["runs"]) == 2
    assert sum(r["C"] for r in written["runs"]) <= 1.0001e20
    assert written["target"]["C"] == 1e22
    assert written["noise"] == pytest.approx(NOISE, rel=0.5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "--law: not given"),
        ({"law": "besiroglu2024", "hours": 5.0}, "2 given; one is the budget"),
        ({"law": "besiroglu2024", "flops": None, "money": 5.0}, "needs --device or --throughput"),
        ({"law": "besiroglu2024", "flops": None, "money": 5.0, "device": "h200"}, "give --price"),
        ({"law": "besiroglu2024", "flops": -1.0}, "--flops"),
        ({"law": "besiroglu2024", "flops": None}, "none given"),
        ({"law": "besiroglu", "noise": 0.01}, "did you mean 'besiroglu2024'"),
        ({"law": "besiroglu2024", "next": True}, "--next: needs --runs"),
        ({"law": "besiroglu2024", "out": "x.txt"}, "--out: 'x.txt'"),
        ({"law": "besiroglu2024", "decades": 0.5}, "--decades"),
        ({"law": "besiroglu2024", "noise": 3.0}, "--noise: 3.0"),
        ({"law": "besiroglu2024", "budgets": [1]}, "--budgets"),
        ({"law": "besiroglu2024", "count": 5000}, "from 1 to 1000"),
        ({"law": "besiroglu2024", "spread": [0.5]}, "--spread"),
        ({"law": "besiroglu2024", "choose": "random 24"}, "did you mean 'random 25'"),
    ],
)
def test_bad_requests_are_refused_in_one_line(monkeypatch, changes, words):
    with pytest.raises(InputError, match=words) as error:
        run(monkeypatch, **changes)
    assert "\n" not in str(error.value)
