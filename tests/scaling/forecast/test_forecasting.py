"""Forecasts: right about worlds whose law is known, honest about those they cannot know, sealed."""

import jax
import numpy as np
import pandas as pd
import pytest

from scaling.fit import repeats
from scaling.fit.ready import published
from scaling.forecast.forecasting import forecast, forecast_by
from scaling.laws import LAWS
from train.cli import InputError

BIG = pd.DataFrame({"N": [2e9, 4e9], "D": [4e10, 8e10]})


def world(N, D, E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=0.37):
    """The true loss; constants as in Besiroglu et al. 2024."""
    return E + A * N**-alpha + B * D**-beta


def grid(noise=0.003, seed=0, budgets=(1e18, 4e18, 16e18, 64e18), sizes=6):
    """An IsoFLOP design with relative noise."""
    rows = []
    for C in budgets:
        for share in np.linspace(-0.7, 0.7, sizes):
            N = 0.1 * C**0.5 * np.exp(share)
            rows.append((N, C / 6 / N, C))
    runs = pd.DataFrame(rows, columns=["N", "D", "C"])
    rng = np.random.default_rng(seed)
    runs["loss"] = world(runs["N"], runs["D"]) * np.exp(noise * rng.standard_normal(len(runs)))
    return runs


def test_noise_free_world_is_forecast_exactly_by_its_own_law():
    made = forecast(grid(noise=0.0), BIG, law="chinchilla")
    np.testing.assert_allclose(made.median, world(BIG["N"], BIG["D"]), rtol=1e-4)
    assert made.law == "chinchilla"
    assert set(made.by_law) == {"chinchilla"}


def test_default_forecast_covers_the_truth_and_knows_its_distance():
    """12 worlds, each covered with chance .9 at both targets together: 3 or fewer misses in 12 has
    chance .974, so 18 of 24 is a bar that an honest interval passes 97 times in 100."""
    inside, narrow = 0, []
    for seed in range(12):
        made = forecast(grid(seed=seed), BIG)
        truth = world(BIG["N"], BIG["D"])
        inside += int(((made.interval90[:, 0] < truth) & (truth < made.interval90[:, 1])).sum())
        narrow.append(np.median(made.half_width90))
    assert inside >= 18
    assert np.median(narrow) < 0.05
    expected = np.log10(6 * BIG["N"] * BIG["D"] / 64e18)
    np.testing.assert_allclose(made.decades, expected, atol=1e-6)
    assert (made.interval50[:, 0] > made.interval90[:, 0]).all()
    assert np.diff(made.half_width90) > 0  # farther is less sure
    assert sum(made.weights.values()) == pytest.approx(1)
    assert any("back-test from" in line for line in made.reasons)


def test_more_noise_makes_wider_intervals():
    widths = [forecast(grid(noise=noise), BIG).half_width90[0] for noise in (0.001, 0.02)]
    assert widths[1] > 1.5 * widths[0]


def test_seed_replicates_set_the_noise():
    """Runs that a law fits well but that scatter by seed at one point are still noisy."""
    runs = pd.concat([grid(noise=0.0).assign(seed=0)] * 3, ignore_index=True)
    runs["seed"] = np.repeat([0, 1, 2], len(runs) // 3)
    quiet = forecast(runs, BIG, law="tied").half_width90[0]
    runs["loss"] *= np.exp(0.02 * np.repeat([-1, 0, 1], len(runs) // 3))
    noisy = forecast(runs, BIG, law="tied").half_width90[0]
    assert noisy > quiet + 0.02


def test_heldout_and_failed_runs_do_not_enter():
    runs = grid().assign(role="fit", status="ok")
    spoilt = runs.iloc[:4].assign(loss=99.0, role="heldout")
    failed = runs.iloc[:4].assign(loss=77.0, status="diverged")
    both = pd.concat([runs, spoilt, failed], ignore_index=True)
    np.testing.assert_array_equal(forecast(runs, BIG).median, forecast(both, BIG).median)


@pytest.mark.parametrize(
    ("runs", "targets", "words"),
    [
        (grid().iloc[:4], BIG, "too few"),
        (grid()[lambda r: r["N"] < r["N"].min() * 1.01], BIG, "too few"),
        (grid(), BIG * [1e6, 1e6], "decades beyond"),
        (grid(noise=0.4), BIG, "interval.*most where D/N is"),
        (grid(), BIG.assign(N=-1.0), "targets: N"),
        (grid(), BIG.iloc[:0], "targets: 0"),
        (grid(), BIG[["N"]], "no column 'C'|no column 'D'"),
        (grid().drop(columns="loss"), BIG, "loss"),
    ],
)
def test_refuses_in_words(runs, targets, words):
    with pytest.raises(InputError, match=words):
        forecast(runs, targets)


def test_unknown_law_names_the_nearest():
    with pytest.raises(InputError, match="did you mean 'chinchilla'"):
        forecast(grid(), BIG, law="chinchila")


def test_warns_where_the_target_differs_in_kind():
    runs = grid().assign(recipe="cosine", epochs=1.0)
    made = forecast(runs, BIG.assign(recipe="constant"))
    assert "recipe: the target has constant" in " ".join(made.warnings)
    same = forecast(runs, BIG.assign(recipe="cosine", epochs=1.0))
    assert not any(w.startswith(("recipe", "epochs")) for w in same.warnings)


def test_far_targets_are_warned_of_by_compute_too():
    runs = grid(budgets=4.0 ** np.arange(6) * 1e17)
    # Not larger than the runs in N or D by half a decade each, but by .8 in C.
    target = pd.DataFrame({"N": [runs["N"].max() * 2.5], "D": [runs["D"].max() * 2.5]})
    far = forecast(runs, target)
    (said,) = (line for line in far.warnings if line.startswith("far target"))
    assert "C 1" in said
    assert "cannot be seen" in said
    near = forecast(runs, pd.DataFrame({"N": [1.5e9], "D": [3e10]}))
    assert not any(line.startswith("far target") for line in near.warnings)
    widths = [made.half_width90[0] for made in (near, far)]
    assert widths[1] > 1.5 * widths[0]


def test_ill_trained_runs_are_left_out_where_that_mends_the_law():
    runs = grid(budgets=4.0 ** np.arange(4) * 1e18, sizes=7)
    big = pd.DataFrame({"N": runs["N"].max() * np.array([3.0, 5.0, 8.0, 12.0, 20.0])})
    big["D"] = big["N"] * [0.5, 0.3, 0.2, 0.1, 0.05]
    big["C"] = 6 * big["N"] * big["D"]
    truth = world(BIG["N"], BIG["D"])
    broken = big.assign(loss=world(big["N"], big["D"]) * [1.3, 1.5, 1.7, 1.9, 2.2])
    made = forecast(pd.concat([runs, broken], ignore_index=True), BIG)
    (said,) = (line for line in made.warnings if line.startswith("left out"))
    assert "5 of 33 runs have D/N below 1" in said
    assert "more data" in said
    np.testing.assert_allclose(made.median, truth, rtol=0.02)
    np.testing.assert_array_equal(made.median, forecast(runs, BIG).median)
    # Where a law explains them they stay, however few their examples.
    sound = big.assign(loss=world(big["N"], big["D"]))
    made = forecast(pd.concat([runs, sound], ignore_index=True), BIG)
    assert not any(line.startswith("left out") for line in made.warnings)


def test_undecayed_runs_are_said():
    made = forecast(grid().assign(schedule="constant"), BIG)
    assert any("before their learning rate has decayed" in line for line in made.warnings)
    same = forecast(grid().assign(schedule="constant"), BIG.assign(schedule="constant"), law="tied")
    assert not any("decayed" in line for line in same.warnings)


def test_unique_examples_are_counted():
    runs = grid(noise=0.0, sizes=9)
    runs["U"] = runs["D"] / np.tile([1.0, 3.0, 12.0], 12)
    truth = {"E": 1.8, "A": 480.0, "B": 2100.0, "alpha": 0.35, "beta": 0.37, "RD": 15.0, "RN": 5.0}

    def world_of_few(table):
        with jax.enable_x64(True):
            columns = {k: table[k].to_numpy() for k in "NDU"}
            return np.asarray(LAWS["data_constrained"].form(truth, columns))

    runs["loss"] = world_of_few(runs)
    targets = BIG.assign(U=BIG["D"] / 8)
    made = forecast(runs, targets, law="data_constrained")
    np.testing.assert_allclose(made.median, world_of_few(targets), rtol=2e-3)
    assert not any(line.startswith("epochs") for line in made.warnings)
    with pytest.raises(InputError, match="--unique"):
        forecast(runs, BIG, law="data_constrained")
    # With no law named, that law is taken where the runs identify R, from epochs as from U.
    told = "repeated data: runs pass up to 12.00 times over theirs, targets 8.00; these runs tell"
    by_epochs = [t.assign(epochs=t["D"] / t["U"]).drop(columns="U") for t in (runs, targets)]
    found = forecast(*by_epochs)
    assert found.law == "data_constrained"
    assert any(line.startswith(told) for line in found.reasons)
    np.testing.assert_allclose(found.median, world_of_few(targets), rtol=2e-3)
    fresh = forecast(grid(), targets, law="tied")
    assert any("passes 8.00 times" in line for line in fresh.warnings)
    by_paper = forecast_by(published("hoffmann2022_a3"), targets)
    assert any("passes 8.00 times" in line for line in by_paper.warnings)


def test_targets_alone_that_repeat_are_forecast_on_what_their_data_are_worth():
    made = forecast(grid(noise=0.0), BIG.assign(epochs=8.0))
    R = 15.387756
    worth = BIG["D"] / 8 * (1 + R * (1 - np.exp(-7 / R)))
    np.testing.assert_allclose(made.median, world(BIG["N"], worth), rtol=4e-3)
    assert (made.median > 1.001 * world(BIG["N"], BIG["D"])).all()
    np.testing.assert_array_equal(made.targets["D"], BIG["D"])
    assert any("by Muennighoff et al. 2023 (R = 15.4)" in line for line in made.reasons)
    assert not any(line.startswith("epochs") for line in made.warnings)


def test_what_repeated_data_is_worth():
    runs = pd.DataFrame({"N": 1e6, "D": [50.0, 100.0, 400.0, 1e9], "U": 100.0})
    np.testing.assert_allclose(repeats.passes(runs), [1, 1, 4, 1e7])
    R = 15.0  # 3 more passes are worth 15 (1 - e^-.2), endless ones 15
    expected = [50, 100, 100 + 1500 * (1 - np.exp(-0.2)), 1600]
    np.testing.assert_allclose(repeats.worth(runs, R), expected)
    (said,) = repeats.note(runs)
    assert "2 of the 4 runs pass more than once over their data, up to 10000000.00 times" in said
    unknown = runs.drop(columns="U").assign(epochs=[0.5, np.nan, None, 1.0])
    np.testing.assert_array_equal(repeats.worth(unknown, R), runs["D"])
    known = runs.drop(columns="U").assign(epochs=[0.5, 1, 4, 1e7])
    np.testing.assert_allclose(repeats.worth(known, R), expected)
    assert repeats.note(unknown) == []


def test_published_law_gives_the_paper_s_value_and_no_interval():
    made = forecast_by(published("hoffmann2022_a3"), pd.DataFrame({"N": [7e10], "D": [1.4e12]}))
    by_hand = 1.69 + 406.4 / 7e10**0.34 + 410.7 / 1.4e12**0.28
    np.testing.assert_allclose(made.median, by_hand, rtol=1e-12)
    assert made.interval90 is None
    assert any("no interval" in line for line in made.warnings)


def test_fitted_law_alone_has_an_interval():
    from scaling.fit.fitting import fit

    law = fit(grid(), "tied", starts=32, bootstrap=100)
    made = forecast_by(law, BIG)
    np.testing.assert_allclose(made.median, law.predict(BIG["N"].to_numpy(), BIG["D"].to_numpy()))
    truth = world(BIG["N"], BIG["D"]).to_numpy()
    assert ((made.interval90[:, 0] < truth) & (truth < made.interval90[:, 1])).all()
