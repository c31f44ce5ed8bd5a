"""The fit against independent truth: scipy, closed forms, known rates, and its refusals."""

import json

import jax
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from scaling.fit import bootstrap, profiles
from scaling.fit.fitting import Fit, fit, load
from scaling.laws import LAWS
from scaling.runs.replicates import clusters, mixed, seed_noise
from train.cli import InputError

TRUE = {"E": 1.8172, "A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658}


def surface(N, D, p=TRUE):
    return p["E"] + p["A"] * N ** -p["alpha"] + p["B"] * D ** -p["beta"]


def study(noise=0.003, seed=0, budgets=5, sizes=5):
    rng = np.random.default_rng(seed)
    C = np.repeat(np.geomspace(1e18, 5e19, budgets), sizes)
    N = 0.1 * np.sqrt(C) * np.tile(np.geomspace(0.25, 4.0, sizes), budgets)
    D = C / (6 * N)
    loss = surface(N, D) * np.exp(noise * rng.standard_normal(len(N)))
    return pd.DataFrame({"N": N, "D": D, "C": C, "loss": loss})


@pytest.fixture(scope="module")
def fitted():
    return fit(study(), bootstrap=200, starts=64)


def objective(name, p, runs, delta=1e-3):
    """The objectives written down again, in natural units."""
    prediction = surface(runs["N"].to_numpy(), runs["D"].to_numpy(), p)
    r = np.log(prediction / runs["loss"].to_numpy())
    if name == "huber_log":
        size = np.abs(r)
        return np.sum(np.where(size <= delta, r**2 / 2, delta * (size - delta / 2)))
    if name == "mse_log":
        return np.mean(r**2)
    if name == "quantile":
        return np.mean(np.maximum(0.7 * -r, -0.3 * -r))
    return np.mean((prediction - runs["loss"].to_numpy()) ** 2)


@pytest.mark.parametrize("name", ["huber_log", "mse_log", "mse", "quantile"])
def test_scipy_finds_nothing_better(name):
    runs = study(noise=0.01)
    found = fit(runs, objective=name, bootstrap=0, starts=64, tau=0.7)
    assert found.value == pytest.approx(objective(name, found.params, runs), rel=1e-9)
    keys = list(TRUE)

    def at(x):
        return objective(name, dict(zip(keys, np.exp(x))), runs) * 1e4

    best = min(
        optimize.minimize(
            at, np.log([start[k] for k in keys]), method="Nelder-Mead",
            options={"maxiter": 4000, "maxfev": 4000, "xatol": 1e-10, "fatol": 1e-13},
        ).fun
        for start in (TRUE, dict(found.params))
    )  # fmt: skip
    assert found.value * 1e4 <= best * (1 + 1e-6)


def test_the_optimum_is_stationary_and_most_starts_reach_it(fitted):
    assert fitted.diagnostics.start_share > 0.9
    assert fitted.diagnostics.gradient < 1e-6
    assert fitted.n == 25
    assert set(fitted.intervals) == set(TRUE)


def test_precision_does_not_depend_on_the_process():
    assert not jax.config.jax_enable_x64
    found = fit(study(noise=0.0), bootstrap=0, starts=16)
    assert found.params["alpha"] == pytest.approx(TRUE["alpha"], rel=1e-8)
    assert jax.numpy.ones(1).dtype == np.float32


@pytest.mark.parametrize("resample", ["pairs", pytest.param("residual", marks=pytest.mark.slow)])
def test_intervals_hold_the_truth_at_about_their_rate(resample):
    # Hits are Binomial(50, .9) with standard deviation 2.1: 39 or fewer has probability 1%, 49 or
    # more 3%.
    size, data = 5e9, 1e11
    names = ("alpha", "beta", "E", "prediction")
    hits, widths, estimates = dict.fromkeys(names, 0), [], []
    for seed in range(50):
        runs = study(seed=100 + seed)
        found = fit(runs, bootstrap=150, starts=8, seed=seed, resample=resample)
        ends = found.interval(found.predict_draws(size, data))
        intervals = {**found.intervals, "prediction": ends}
        truth = {**TRUE, "prediction": surface(size, data)}
        for name in names:
            hits[name] += bool(intervals[name][0] <= truth[name] <= intervals[name][1])
        widths.append(float(ends[1] - ends[0]))
        estimates.append(float(found.predict(size, data)))
    assert all(40 <= count <= 48 for count in hits.values()), hits
    assert np.median(widths) < 3 * 2 * 1.645 * np.std(estimates)


def test_allocation_is_the_closed_form(fitted):
    p, C = fitted.params, 1e21
    ratio = (p["alpha"] * p["A"] / (p["beta"] * p["B"])) ** (1 / (p["alpha"] + p["beta"]))
    size = ratio * (C / 6) ** (p["beta"] / (p["alpha"] + p["beta"]))
    plan = fitted.allocate(C)
    assert plan["N"] == pytest.approx(size, rel=1e-5)
    assert 6 * plan["N"] * plan["D"] == pytest.approx(C, rel=1e-9)
    assert plan["loss"] == pytest.approx(surface(size, C / 6 / size, p), rel=1e-9)
    low, high = plan["intervals"]["N"]
    assert low < plan["N"] < high


def test_json_round_trip_and_plain_evaluation(fitted, tmp_path):
    path = str(tmp_path / "law.json")
    fitted.save(path)
    back = load(path)
    at = (np.array([1e9, 2e9]), 3e10)
    np.testing.assert_array_equal(back.predict(*at), fitted.predict(*at))
    np.testing.assert_array_equal(back.predict_draws(*at), fitted.predict_draws(*at))
    assert back.allocate(1e21) == fitted.allocate(1e21)
    assert back.diagnostics == fitted.diagnostics
    with open(path) as file:
        plain = json.load(file)
    np.testing.assert_allclose(surface(*at, p=plain["params"]), fitted.predict(*at), rtol=1e-9)


def test_broken_law_files_are_refused(fitted, tmp_path):
    whole = json.loads(fitted.to_json())
    broken = ["", "[]", "{}", fitted.to_json()[:-9]]
    broken += [json.dumps({**whole, "version": 99}), json.dumps({**whole, "law": "chinchila"})]
    for gone in set(whole) - {"formula", "source"}:  # those two are for people
        broken.append(json.dumps({key: value for key, value in whole.items() if key != gone}))
    for text in broken:
        with pytest.raises(InputError):
            Fit.from_json(text)
    with pytest.raises(InputError, match="cannot be read"):
        load(str(tmp_path / "absent.json"))
    with pytest.raises(InputError, match="cannot be written"):
        fitted.save("/proc/law.json")


def test_heldout_runs_do_not_enter(fitted):
    runs = study().assign(split="fit")
    wild = runs.iloc[[3]].assign(loss=50.0, split="heldout")
    found = fit(pd.concat([wild, runs], ignore_index=True), bootstrap=0, starts=64)
    assert found.params["alpha"] == pytest.approx(fitted.params["alpha"], rel=1e-9)
    assert found.n == 25


def test_weights_count_like_repeated_runs():
    runs = study()
    weights = np.where(np.arange(25) % 3 == 0, 2.0, 1.0)
    twice = pd.concat([runs, runs[weights == 2]], ignore_index=True)
    weighted = fit(runs, bootstrap=0, starts=32, weights=weights)
    repeated = fit(twice, bootstrap=0, starts=32)
    for name in TRUE:
        assert weighted.params[name] == pytest.approx(repeated.params[name], rel=1e-6)


def test_fixed_parameters_stay(fitted):
    found = fit(study(), bootstrap=20, starts=32, fixed={"E": 1.8})
    assert found.params["E"] == pytest.approx(1.8, rel=1e-12)
    assert found.value >= fitted.value
    with pytest.raises(InputError, match="exponent must be as well"):
        fit(study(), bootstrap=0, fixed={"A": 480.0})


def test_a_profile_is_the_re_optimised_objective(fitted):
    # The end of alpha's profile is where the objective, refitted with alpha held, has risen by
    # exp(F h / (2 dof)); refit there by `fixed` and compare.
    low, high = fitted.diagnostics.profiles["alpha"]
    assert low < fitted.params["alpha"] < high
    held = [fit(study(), bootstrap=0, starts=32, fixed={"alpha": end}).value for end in (low, high)]
    runs = study()
    r = np.log(fitted.predict(runs["N"], runs["D"]) / runs["loss"].to_numpy())
    h = np.sum(np.clip(r, -1e-3, 1e-3) * r) / objective("huber_log", fitted.params, runs)
    rise = stats.f.ppf(fitted.level, 1, 25 - 5) * h / (2 * (25 - 5))
    # Ends are interpolated between points of the profile.
    assert np.log(np.array(held) / fitted.value) == pytest.approx([rise, rise], rel=0.03)


def test_a_coefficient_s_profile_moves_the_exponents_too():
    """Held 2% inside its end A passes the test of level, held 2% outside it fails: by scipy."""
    runs, delta = study(noise=0.01, budgets=8, sizes=8), 0.1
    found = fit(runs, delta=delta, bootstrap=0, starts=32)
    free = ("E", "B", "alpha", "beta")
    centre = np.exp(np.mean(np.log(runs["N"])))

    def least(A):
        # Along the valley A N^-alpha stays what it is at the centre of the runs.
        start = dict(found.params)
        start["alpha"] += np.log(A / found.params["A"]) / np.log(centre)

        def at(x):
            return objective("huber_log", {"A": A, **dict(zip(free, np.exp(x)))}, runs, delta) * 1e3

        x = np.log([start[name] for name in free])
        options = {"maxfev": 6000, "maxiter": 6000, "xatol": 1e-10, "fatol": 1e-12}
        for _ in range(2):
            x = optimize.minimize(at, x, method="Nelder-Mead", options=options).x
        return at(x) / 1e3

    # All residuals lie within delta, so that the objective is of squares.
    rise = stats.f.ppf(found.level, 1, 64 - 5) / (64 - 5)
    low, high = found.diagnostics.profiles["A"]
    assert low * 1.2 < found.params["A"] < high / 1.2
    for end, outwards in ((low, 1 / 1.02), (high, 1.02)):
        inside, outside = (np.log(least(A) / found.value) for A in (end / outwards, end * outwards))
        assert inside < rise < outside


def test_what_the_runs_cannot_tell_is_said(monkeypatch):
    # All runs at one tokens-to-parameters ratio on four sizes: the terms in N and D are the same.
    N = np.geomspace(1e8, 3e9, 12)
    loss = surface(N, 20 * N) * np.exp(0.003 * np.random.default_rng(1).standard_normal(12))
    found = fit(pd.DataFrame({"N": N, "D": 20 * N, "loss": loss}), bootstrap=0, starts=64)
    assert {"alpha", "beta"} & set(found.diagnostics.flat)
    assert any("not identified by these 12 runs" in w for w in found.diagnostics.warnings)
    # So is it where nothing is left to be looked at between the first steps and a bound.
    monkeypatch.setattr(profiles, "_NEAR", len(profiles._STEPS))
    near = fit(pd.DataFrame({"N": N, "D": 20 * N, "loss": loss}), bootstrap=0, starts=16)
    assert any(None in ends for ends in near.diagnostics.profiles.values())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r.iloc[:5], "5 runs to fit"),
        (lambda r: r.assign(N=1e8), "N takes 1 different value;"),
        (lambda r: r.assign(loss=-1.0), "'loss', row 0"),
        (lambda r: r.assign(loss=np.nan), "'loss', row 0"),
        (lambda r: r.drop(columns=["D", "C"]), "has no D"),
        (lambda r: r.iloc[:0], "no runs"),
    ],
)
def test_tables_that_cannot_carry_the_law_are_refused(change, words):
    with pytest.raises(InputError, match=words):
        fit(change(study()), bootstrap=0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"law": "chinchila"}, "did you mean 'chinchilla'"),
        ({"objective": "huber"}, "huber_log"),
        ({"delta": 0.0}, "--delta"),
        ({"starts": 0}, "--starts"),
        ({"bootstrap": -1}, "--bootstrap"),
        ({"level": 1.5}, "--level"),
        ({"weights": np.ones(3)}, "--weights"),
        ({"weights": "weigth"}, "no column 'weigth'"),
        ({"fixed": {"gamma": 1.0}}, "fixed"),
        ({"resample": "rows"}, "--resample"),
    ],
)
def test_bad_arguments_are_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        fit(study(), **arguments)


def repeated(seeds=4, noise=0.004, shared=0.0, seed=0):
    """Every point of a grid with several seeds; `shared` is what the law misses at each point."""
    rng = np.random.default_rng(seed)
    runs = study(noise=0.0)
    runs["loss"] *= np.exp(shared * rng.standard_normal(len(runs)))
    runs = pd.concat([runs.assign(seed=s) for s in range(seeds)], ignore_index=True)
    return runs.assign(loss=runs["loss"] * np.exp(noise * rng.standard_normal(len(runs))))


def test_noise_between_seeds_is_measured_apart_from_what_the_law_misses():
    # 75 degrees of freedom: the standard error of the estimate is .004 / sqrt(150) = .0003.
    runs = repeated(noise=0.004, shared=0.02)
    assert seed_noise(runs, ("N", "D"), "loss") == pytest.approx(0.004, abs=0.001)
    twice = pd.concat([runs, runs], ignore_index=True)  # the same row again is no new seed
    assert seed_noise(twice, ("N", "D"), "loss") == pytest.approx(0.004, abs=0.001)
    assert seed_noise(runs.assign(learning_rate=runs["seed"] + 1.0), ("N", "D"), "loss") is None
    assert seed_noise(study(), ("N", "D"), "loss") is None


def test_replicates_are_drawn_by_point_then_by_seed():
    runs = repeated()
    counts = bootstrap.draw_counts(clusters(runs, LAWS["tied"]), 2000, np.random.default_rng(0))
    points = counts.reshape(2000, 4, 25).sum(axis=1)
    assert set(np.unique(points)) <= {0.0, 4.0, 8.0, 12.0, 16.0, 20.0, 24.0, 28.0, 32.0}
    assert (counts.sum(axis=1) == 100).all()
    # A point is never drawn at rate (1 - 1/25)^25 = .360, a run where its point is not, or where
    # each of the 4 m draws inside it takes another seed: (1 - (1 - .75^4) / 25)^25 = .500.
    assert np.mean(points == 0) == pytest.approx(0.360, abs=0.01)
    assert np.mean(counts == 0) == pytest.approx(0.500, abs=0.01)


def test_checkpoints_of_a_run_are_drawn_all_or_none():
    runs = study().assign(run=np.repeat([f"r{i}" for i in range(5)], 5))
    counts = bootstrap.draw_counts(clusters(runs, LAWS["tied"]), 50, np.random.default_rng(0))
    each = counts.reshape(50, 5, 5)
    np.testing.assert_array_equal(each, np.broadcast_to(each[:, :, :1], each.shape))


def test_seeds_do_not_pass_for_independent_evidence():
    """What the law misses at a point is shared by its seeds: the interval must not shrink."""
    runs = repeated(noise=0.001, shared=0.01)
    by_point = fit(runs, "tied", bootstrap=200, starts=16)
    by_run = fit(runs.drop(columns="seed"), "tied", bootstrap=200, starts=16)
    width = [np.std(f.natural_draws["alpha"]) for f in (by_point, by_run)]
    assert width[0] > 1.5 * width[1]  # 4 seeds a point: 2 times, if they scattered not at all
    assert any("points have several seeds" in w for w in by_point.diagnostics.warnings)
    assert any("the form of the law" in w for w in by_point.diagnostics.warnings)
    assert by_point.diagnostics.seed_noise == pytest.approx(0.001, rel=0.3)
    assert by_run.diagnostics.seed_noise is None


def test_mixed_recipes_are_said():
    runs = study().assign(recipe=["a", "b"] * 12 + ["a"])
    assert mixed(runs) == ["recipe: the runs mix 2 kinds (a, b)"]
    found = fit(runs, "tied", bootstrap=0, starts=8)
    assert any("mix 2 kinds" in w for w in found.diagnostics.warnings)


def test_the_back_test_stands_beside_the_parameters():
    # The true form errs by little more than its noise beyond its origins, a wrong one by more.
    right = fit(study(), "chinchilla", bootstrap=0, starts=16, backtest=True)
    wrong = fit(study(), "no_floor", bootstrap=0, starts=16, backtest=True)
    errors = {}
    for name, found in (("right", right), ("wrong", wrong)):
        assert [b.kind for b in found.backtest.beyond] == ["compute", "size"]
        errors[name] = [b.error for b in found.backtest.beyond]
        assert Fit.from_json(found.to_json()).backtest == found.backtest
    assert max(errors["right"]) < 0.01 < min(errors["wrong"])
    in_compute = right.backtest.beyond[0]
    # The first origin knows the two cheapest of five budgets at most: the rest lie beyond it.
    assert in_compute.runs == 15
    assert in_compute.decades == pytest.approx(np.log10(50) * 3 / 4, abs=0.01)
    assert "median |error|" in right.backtest.lines()[0]


def test_what_cannot_be_back_tested_is_said():
    few = fit(study().iloc[::5], "tied", bootstrap=0, starts=8, backtest=True)
    assert few.backtest.beyond == ()
    assert "no back-test" in few.backtest.lines()[0]
    N = np.geomspace(1e6, 1e9, 12)
    alone = pd.DataFrame({"N": N, "loss": 1.7 + 400 * N**-0.31})
    found = fit(alone, "power_floor", bootstrap=0, starts=16, backtest=True).backtest
    assert [b.kind for b in found.beyond] == ["size"]
    assert found.beyond[0].error < 1e-4
    assert fit(alone, "power", bootstrap=0, starts=8).backtest is None


def test_laws_of_version_1_are_still_read(fitted):
    old = json.loads(fitted.to_json()) | {"version": 1}
    del old["backtest"], old["diagnostics"]["seed_noise"]
    assert Fit.from_json(json.dumps(old)).params == fitted.params


_number = st.one_of(
    st.floats(1e-3, 1e12), st.sampled_from([1.0, 2.0, 1e300, 1e-300, 0.0, -1.0, float("nan")])
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(_number, _number, _number), min_size=0, max_size=16))
def test_any_numbers_give_a_fit_or_one_line(rows):
    runs = pd.DataFrame(rows, columns=["N", "D", "loss"])
    try:
        found = fit(runs, "tied", bootstrap=8, starts=8)
    except InputError:
        return
    assert all(np.isfinite(value) for value in found.params.values())
    found.to_json()
