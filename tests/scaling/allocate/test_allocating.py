"""Allocation against closed forms, scipy and published numbers; and what it refuses."""

import dataclasses
import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import optimize

from scaling.allocate import allocating, command
from scaling.fit import envelope, optimum, origins
from scaling.fit.ready import published
from scaling.forecast import calibration
from scaling.plan import prices
from tests import verbs
from tests.scaling.report.report_case import make_record
from train import record
from train.cli import InputError

LAW = {"E": 1.8172, "A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658}
A_EXPONENT = LAW["beta"] / (LAW["alpha"] + LAW["beta"])


def with_params(name, **params):
    fit = published(name)
    new = {**fit.params, **params}
    return dataclasses.replace(fit, params=new, centred=new)


def loss_of(N, D, p=LAW):
    return p["E"] + p["A"] * N ** -p["alpha"] + p["B"] * D ** -p["beta"]


def best_size(C, p=LAW):
    """Hoffmann et al. 2022, eq. 4."""
    ratio = (p["alpha"] * p["A"] / (p["beta"] * p["B"])) ** (1 / (p["alpha"] + p["beta"]))
    return ratio * (C / 6) ** (p["beta"] / (p["alpha"] + p["beta"]))


@pytest.fixture(scope="module")
def law():
    return published("besiroglu2024")


@pytest.fixture(scope="module")
def drawn(law):
    """The law with draws that scatter by a percent."""
    shake = np.random.default_rng(0).standard_normal((60, 5))
    names = [law.params[name] for name in law.law.names]
    return dataclasses.replace(law, draws=np.array(names) * np.exp(0.01 * shake))


@pytest.mark.parametrize("C", [1e18, 1e21, 1e25])
def test_the_optimum_is_the_closed_form(law, C):
    found = allocating.by_law(law, C)
    assert pytest.approx(best_size(C), rel=1e-6) == found.N
    assert pytest.approx(C, rel=1e-12) == 6 * found.N * found.D
    assert found.loss == pytest.approx(loss_of(found.N, found.D), rel=1e-12)
    on = optimum.surface(law)
    assert optimum.elasticity(on, C)[0] == pytest.approx(A_EXPONENT, abs=1e-5)


def test_other_laws_have_the_optimum_that_calculus_finds():
    # Kaplan et al. 2020, eq. 1.5, at D = C / 6 N: (Nc/N)^(aN/aD) + 6 Dc N / C is least where
    # aN/aD (Nc/N)^(aN/aD) = 6 Dc N / C.
    kaplan, C = published("kaplan2020"), 1e21
    p = kaplan.params
    ratio = p["alphaN"] / p["alphaD"]
    N = (ratio * p["Nc"] ** ratio * C / (6 * p["Dc"])) ** (1 / (1 + ratio))
    found = allocating.by_law(kaplan, C)
    assert pytest.approx(N, rel=1e-5) == found.N
    loss = ((p["Nc"] / N) ** ratio + 6 * N * p["Dc"] / C) ** p["alphaD"]
    assert found.loss == pytest.approx(loss, rel=1e-9)


def test_draws_become_intervals_that_hold_each_draws_own_optimum(drawn):
    found = allocating.by_law(drawn, 1e21)
    each = [best_size(1e21, dict(zip(drawn.law.names, row))) for row in drawn.draws]
    low, high = found.intervals["N"]
    assert low < found.N < high
    assert np.mean([low <= N <= high for N in each]) == pytest.approx(0.9, abs=0.04)


def test_a_wrong_size_costs_what_the_closed_form_says(law):
    best = best_size(1e22)
    lowest = loss_of(best, 1e22 / 6 / best)
    for factor in (0.5, 2.0):
        found = allocating.cost_of_wrong(law, 1e22, factor)
        N = factor * best
        D = ((lowest - LAW["E"] - LAW["A"] * N ** -LAW["alpha"]) / LAW["B"]) ** (-1 / LAW["beta"])
        assert found.extra == pytest.approx(6 * N * D / 1e22 - 1, rel=1e-4)
        assert found.extra > 0
        assert found.loss > lowest
    assert np.isinf(allocating.cost_of_wrong(law, 1e22, 0.01).extra)


def test_serving_is_what_scipy_finds_along_the_curve_of_equal_loss(law, drawn):
    C, tokens = 1e22, 5e12
    N = best_size(C)
    wanted = loss_of(N, C / 6 / N)

    def total(log_N):
        size = np.exp(log_N)
        gap = wanted - LAW["E"] - LAW["A"] * size ** -LAW["alpha"]
        return 6 * size * (LAW["B"] / gap) ** (1 / LAW["beta"]) + 2 * size * tokens

    lowest = np.log((LAW["A"] / (wanted - LAW["E"])) ** (1 / LAW["alpha"]))
    answer = optimize.minimize_scalar(
        total, bounds=(lowest + 1e-3, np.log(N)), method="bounded", options={"xatol": 1e-9}
    )
    found = allocating.for_serving(law, C, tokens)
    assert found.training + found.serving == pytest.approx(answer.fun, rel=1e-8)
    assert pytest.approx(np.exp(answer.x), rel=1e-3) == found.N
    assert loss_of(found.N, found.D) == pytest.approx(wanted, rel=1e-10)
    assert found.training + found.serving < found.plain
    assert pytest.approx(N, rel=1e-3) == allocating.for_serving(law, C, 0.0).N
    low, high = allocating.for_serving(drawn, C, tokens).interval
    assert low < found.N < high


def test_serving_reproduces_the_example_of_sardana_et_al():
    # Figure 1 (arXiv:2401.00448): a model as good as the compute-optimal 13B one, serving 2e12
    # tokens, is better had with 7B parameters: 1.7e22 FLOPs saved, 17%.
    law = with_params("hoffmann2022_a3", alpha=0.336, beta=0.283)
    C = optimize.brentq(lambda c: best_size(c, law.params) - 13e9, 1e21, 1e24)
    found = allocating.for_serving(law, C, 2e12)
    saved = found.plain - found.training - found.serving
    assert pytest.approx(7e9, rel=0.01) == found.N
    assert saved == pytest.approx(1.7e22, rel=0.01)
    assert round(100 * saved / found.plain) == 17


def test_limited_data_is_what_a_search_over_the_papers_equations_finds(law):
    # Muennighoff et al. 2023, eqs. 5-7, written down again and searched on a fine grid.
    C, unique, RD, RN = 1e23, 1e10, 15.387756, 5.309743
    enough = optimize.brentq(lambda n: best_size(6 * n * unique) - n, 1e6, 1e13)
    N = np.geomspace(1e9, 1e13, 400_001)
    D = C / 6 / N
    useful, once = np.minimum(enough, N), np.minimum(unique, D)
    data = once * (1 + RD * (1 - np.exp(-(D / once - 1) / RD)))
    size = useful * (1 + RN * (1 - np.exp(-(N / useful - 1) / RN)))
    loss = loss_of(size, data)
    found = allocating.by_law(law, C, unique)
    assert found.loss == pytest.approx(loss.min(), rel=1e-8)
    assert pytest.approx(N[loss.argmin()], rel=1e-2) == found.N
    assert found.loss > allocating.by_law(law, C).loss


def test_enough_data_changes_nothing_and_less_is_worse(law):
    free = allocating.by_law(law, 1e21)
    assert allocating.by_law(law, 1e21, 10 * free.D).loss == pytest.approx(free.loss, rel=1e-9)
    losses = [allocating.by_law(law, 1e21, free.D * share).loss for share in (0.3, 0.1, 0.01)]
    assert free.loss < losses[0] < losses[1] < losses[2]


def crossing(noise=0.0, seed=0):
    """Fourteen sizes, each on twelve amounts of data."""
    rng = np.random.default_rng(seed)
    N = np.repeat(np.geomspace(2e7, 5e9, 14), 12)
    D = np.tile(np.geomspace(2e8, 5e11, 12), 14)
    loss = loss_of(N, D) * np.exp(noise * rng.standard_normal(len(N)))
    return pd.DataFrame({"N": N, "D": D, "loss": loss})


def test_approach_1_finds_the_exponent_where_curves_cross():
    found = envelope.envelope(crossing(), bootstrap=100)
    assert found.exponent == pytest.approx(A_EXPONENT, abs=0.03)
    at = found.optimum(1e20)
    assert at["N"] == pytest.approx(best_size(1e20), rel=0.15)
    low, high = at["intervals"]["N"]
    assert low < best_size(1e20) < high
    assert pytest.approx(1e20 / 6, rel=1e-9) == at["N"] * at["D"]
    with pytest.raises(InputError, match="approach 1 needs"):
        envelope.envelope(crossing().drop_duplicates("N"))


def test_runs_give_every_approach_they_can_carry():
    C = np.repeat(np.geomspace(1e18, 5e19, 4), 6)
    N = best_size(C) * np.tile(np.geomspace(0.3, 3.0, 6), 4)
    rng = np.random.default_rng(1)
    D = C / 6 / N
    loss = loss_of(N, D) * np.exp(0.002 * rng.standard_normal(24))
    runs = pd.DataFrame({"N": N, "D": D, "C": C, "loss": loss})
    every, _, said = allocating.by_runs(runs, [1e20])
    assert [a.way for a in every][-1] == "law average"
    assert any("weights of the size laws" in note for note in said)
    found, fit, notes = allocating.by_runs(runs, [1e20], law="chinchilla")
    assert [a.way for a in found] == ["approach 2", "approach 3 (chosen law)"]
    assert fit.law.name == "chinchilla"
    for a in found:
        low, high = a.intervals["N"]
        assert low < a.N < high
        assert pytest.approx(best_size(1e20), rel=0.3) == a.N
    assert any(note.startswith("approach 1:") for note in notes)
    assert any("approach 2 on this grid" in note for note in notes)


def test_the_average_is_the_optimum_of_the_weighted_log_losses(law):
    rng = np.random.default_rng(0)
    N = np.repeat(np.geomspace(1e7, 1e9, 6), 6)
    D = np.tile(np.geomspace(2e8, 2e10, 6), 6)
    loss = loss_of(N, D) * np.exp(0.003 * rng.standard_normal(36))
    runs = pd.DataFrame({"N": N, "D": D, "C": 6 * N * D, "loss": loss})
    judged = calibration.calibrate(origins.backtest(runs))
    judged = dataclasses.replace(judged, weights=np.array([0.5, 0.3, 0.1, 0.1]))
    found = allocating.by_average(judged, 1e21)
    sizes = np.geomspace(1e8, 1e10, 20_001)
    grid = pd.DataFrame({"N": sizes, "D": 1e21 / 6 / sizes})
    losses = judged.weights @ judged.by_law(grid)
    assert pytest.approx(sizes[np.argmin(losses)], rel=1e-3) == found.N
    assert found.loss == pytest.approx(np.exp(losses.min()), rel=1e-8)
    low, high = found.intervals["N"]
    assert low < best_size(1e21) < high
    # The laws disagree by more than the draws of any one of them.
    one = dataclasses.replace(judged, weights=np.eye(4)[0])
    narrow = allocating.by_average(one, 1e21).intervals["N"]
    assert np.log(high / low) > 1.2 * np.log(narrow[1] / narrow[0])


def test_weighted_intervals_are_quantiles():
    values = np.random.default_rng(0).standard_normal(4001)
    same = allocating._weighted_interval(values, np.full(4001, 0.2))
    assert same == pytest.approx(tuple(np.quantile(values, [0.05, 0.95])), abs=0.01)
    doubled = allocating._weighted_interval(values, 1.0 + (values > 0))
    again = np.quantile(np.concatenate([values, values[values > 0]]), [0.05, 0.95])
    assert doubled == pytest.approx(tuple(again), abs=0.01)


def test_many_budgets_at_once_are_the_closed_form_of_each(drawn):
    C = np.array([[1e19, 1e20], [1e21, 1e23]])
    found = drawn.allocate(C)
    draws = drawn.natural_draws
    a = draws["beta"] / (draws["alpha"] + draws["beta"])
    ratio = draws["alpha"] * draws["A"] / (draws["beta"] * draws["B"])
    scale = ratio ** (1 / (draws["alpha"] + draws["beta"]))
    for place in np.ndindex(2, 2):
        assert found["N"][place] == pytest.approx(best_size(C[place]), rel=1e-6)
        ends = [side[place] for side in found["intervals"]["N"]]
        assert ends == pytest.approx(drawn.interval(scale * (C[place] / 6) ** a), rel=1e-6)
    assert np.ndim(drawn.allocate(1e21)["N"]) == 0
    with pytest.raises(InputError, match="C: array"):
        drawn.allocate(np.array([1e20, -1.0]))


def test_bad_requests_are_refused(law):
    for wrong in (-1.0, 0.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="--C"):
            allocating.by_law(law, wrong)
    with pytest.raises(InputError, match="repeated data is defined for"):
        allocating.by_law(published("kaplan2020"), 1e21, unique=1e9)
    with pytest.raises(InputError, match="serve_tokens"):
        allocating.for_serving(law, 1e21, -1.0)
    with pytest.raises(InputError, match="unique_tokens"):
        allocating.by_law(law, 1e21, unique=0.0)


def test_hours_and_money_follow_from_the_rate():
    rate = prices.rate(None, throughput=2e14, price=3.0, devices=4)
    assert rate.hours(2e14 * 3600 * 8) == pytest.approx(2.0)
    assert rate.dollars(2e14 * 3600 * 8) == pytest.approx(24.0)
    known = prices.rate("h100", mfu=0.5)
    assert known.flops == pytest.approx(0.5 * prices.DEVICES["h100"].peak)
    assert prices.DEVICES["h100"].date in known.words
    assert prices.rate("h100", price=1.0).dollars(3600 * known.flops) == pytest.approx(1.25)
    assert prices.rate("h200").dollars(1e18) is None
    assert prices.rate() is None
    for device in prices.DEVICES.values():
        assert (device.price is None) == (device.source == "") == (device.date == "")
    with pytest.raises(InputError, match="--throughput: 'fast'"):
        prices.rate(throughput="fast")
    with pytest.raises(InputError, match="did you mean 'h100'"):
        prices.rate("h101")
    for bad in ({"mfu": 1.5}, {"price": -1.0}, {"throughput": 0.0}, {"devices": 0}):
        with pytest.raises(InputError):
            prices.rate("h100", **bad)


def test_throughput_is_measured_by_a_record(tmp_path):
    found = make_record("pilot", 1e6, 3e15, 0.0, device={"platform": "gpu", "devices": 4})
    record.save(tmp_path / "record.json", found)
    rate = prices.rate(throughput=str(tmp_path / "record.json"))
    assert rate.flops == pytest.approx(3e15 / 50 / 4)
    assert "measured by pilot" in rate.words
    record.save(tmp_path / "record.json", dataclasses.replace(found, seconds={}))
    with pytest.raises(InputError, match="has no seconds"):
        prices.rate(throughput=str(tmp_path / "record.json"))


def run(monkeypatch, **changes):
    names = "runs n d c loss split seed throughput price unique_tokens serve_tokens device out law"
    names += " flops hours days money n_unit d_unit c_unit metric"
    given = dict.fromkeys(names.split(" ")) | {"mfu": 0.4, "devices": 1, "C": [], **changes}
    command.run(SimpleNamespace(**given))


def test_the_command_prints_and_writes_the_same_numbers(monkeypatch, capsys, tmp_path):
    out = tmp_path / "a.json"
    given = {"law": "besiroglu2024", "serve_tokens": 1e12, "device": "a100", "out": str(out)}
    run(monkeypatch, C=["1e21", "1e22"], **given)
    shown, written = capsys.readouterr().out, json.loads(out.read_text())
    assert written["allocations"][0]["N"] == pytest.approx(best_size(1e21), rel=1e-6)
    assert f"{best_size(1e21) / 1e9:.3g}B" in shown
    assert [w["factor"] for w in written["wrong"]] == [0.5, 2.0, 0.5, 2.0]
    for words in ("Sardana", "Besiroglu", prices.DEVICES["a100"].date):
        assert words in shown


@pytest.mark.parametrize("budget", [{"flops": 1e21}, {"hours": 1000.0}, {"money": 2000.0}])
def test_the_budget_may_be_flops_hours_or_money(monkeypatch, tmp_path, budget):
    out = tmp_path / "a.json"
    given = {"law": "besiroglu2024", "throughput": 1e21 / 3.6e6, "price": 2.0, "out": str(out)}
    run(monkeypatch, **given, **budget)
    assert json.loads(out.read_text())["allocations"][0]["C"] == pytest.approx(1e21)
    for wrong, words in (({}, "none given"), (budget | {"C": ["1e21"]}, "give one")):
        with pytest.raises(InputError, match=words):
            run(monkeypatch, **given, **wrong)
    with pytest.raises(InputError, match="below 1e"):
        run(monkeypatch, **given, **dict.fromkeys(budget, 1e300))


@pytest.mark.parametrize("verb", ["allocate", "plan"])
def test_help_lists_the_flags_of_other_modules(verb):
    command = [sys.executable, "-m", f"scaling.{verb}", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True).stdout
    assert {"--flops:", "--hours:", "--money:", "--price:", "--devices:"} <= set(shown.split())


def test_a_bad_flag_is_one_line_and_exit_2():
    for flag, words in (("--C=many", "--C: 'many'"), ("--seed=-1", "flag --seed=-1: -1 is not")):
        done = verbs.call("scaling.allocate", "--law=besiroglu2024", flag)
        assert done.returncode == 2
        assert done.stderr.startswith(f"error: {words}")
        assert len(done.stderr.strip().splitlines()) == 1
