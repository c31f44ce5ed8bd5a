import numpy as np
import pytest

import data
from data.regression import normals


def draw(dataset, count):
    return dataset.train_batch(seed=0, step=0, batch_size=count)


def test_population_loss_is_the_loss_of_the_best_restricted_predictor(spectrum_options):
    dataset = data.open_dataset("regression", spectrum_options)
    batch = draw(dataset, 40_000)
    for n in (0, 4, 30, 96):
        # Least squares on many examples, scored on others: an estimate of the best restricted loss.
        x, y = batch["x"][:, :n].astype(np.float64), batch["y"].astype(np.float64)
        weights = np.linalg.lstsq(x[:20_000], y[:20_000], rcond=None)[0]
        errors = (y[20_000:] - x[20_000:] @ weights) ** 2
        sampling = 4 * errors.std() / np.sqrt(len(errors)) + 2 * n / 20_000 * errors.mean()
        assert abs(errors.mean() - dataset.population_loss(n)) < sampling


def test_the_loss_has_the_exponent_of_the_docstring(spectrum_options):
    options = spectrum_options | {
        "features": 1 << 18,
        "spectrum": 1.2,
        "teacher": 0.5,
        "noise": 0.3,
    }
    dataset = data.open_dataset("regression", options)
    sizes = np.array([16, 32, 64, 128])
    excess = [dataset.population_loss(n) - 0.3**2 for n in sizes]
    slope = np.polyfit(np.log(sizes), np.log(excess), 1)[0]
    assert slope == pytest.approx(-0.7, abs=0.01)
    assert dataset.population_loss(1 << 18) == pytest.approx(0.09)


def test_features_have_the_spectrum(spectrum_options):
    x = draw(data.open_dataset("regression", spectrum_options), 20_000)["x"]
    variance = x.var(axis=0)
    np.testing.assert_allclose(variance, 1.0 / np.arange(1, 97), rtol=0.06)
    correlation = np.corrcoef(x[:, :20].T) - np.eye(20)
    assert abs(correlation).max() < 5 / np.sqrt(20_000)


def test_normals_are_normal():
    sample = normals(5, 0, range(1000), 333).ravel()
    count = sample.size
    # Moments of the standard normal, within 5 standard errors.
    for power, moment, variance in [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)]:
        assert abs((sample**power).mean() - moment) < 5 * np.sqrt(variance / count)
    assert (abs(sample) > 1.959964).mean() == pytest.approx(0.05, abs=0.002)


def test_examples_do_not_depend_on_batch_size_or_shard(spectrum_options):
    dataset = data.open_dataset("regression", spectrum_options)
    whole = dataset.train_batch(7, 0, 24)
    for name in ("x", "y"):
        by_four = [dataset.train_batch(7, step, 4)[name] for step in range(6)]
        shards = [dataset.train_batch(7, 0, 24, (k, 3))[name] for k in range(3)]
        np.testing.assert_array_equal(np.concatenate(by_four), whole[name])
        np.testing.assert_array_equal(np.concatenate(shards), whole[name])


def test_no_example_is_repeated_and_seeds_differ(spectrum_options):
    dataset = data.open_dataset("regression", spectrum_options)
    firsts = [
        dataset.train_batch(seed, step, 50)["x"][:, 0] for seed in (0, 1) for step in (0, 1, 2)
    ]
    firsts += [dataset.eval_batch(0, 50)["x"][:, 0]]
    assert len(np.unique(np.concatenate(firsts))) == 350


def test_evaluation_is_fixed_and_padded(spectrum_options):
    dataset = data.open_dataset("regression", spectrum_options)
    batches = [dataset.eval_batch(index, 16) for index in range(4)]
    assert {batch["x"].shape for batch in batches} == {(16, 96)}
    weight = np.concatenate([batch["weight"] for batch in batches])
    np.testing.assert_array_equal(weight, [1] * 50 + [0] * 14)
    whole = dataset.eval_batch(0, 50)
    np.testing.assert_array_equal(np.concatenate([b["x"] for b in batches])[:50], whole["x"])
    with pytest.raises(ValueError, match="there are 50 examples"):
        dataset.eval_batch(4, 16)


def test_the_digest_tells_tasks_apart(spectrum_options):
    digests = {
        data.open_dataset("regression", spectrum_options | change).digest
        for change in (
            {},
            {"noise": 0.2},
            {"teacher": 0.9},
            {"eval_examples": 51},
            {"features": 97},
        )
    }
    assert len(digests) == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "spektrum"}, "data.source: 'spektrum'; allowed: spectrum, csv:PATH"),
        ({"features": 0}, "data.features: 0"),
        ({"eval_examples": 0}, "data.eval_examples: 0"),
        ({"noise": -1.0}, "data.noise: -1.0"),
        ({"noise": float("nan")}, "data.noise: nan"),
        ({"noise": 1e300}, "data.noise: 1e+300; allowed: 0 to 1e+15"),
        ({"spectrum": -400.0, "teacher": 402.0}, "data.spectrum: -400.0 with 96 features"),
        ({"spectrum": 402.0, "teacher": -400.0}, "data.teacher: -400.0 with 96 features"),
        ({"spectrum": 0.5, "teacher": 0.5}, "data.teacher: 0.5"),
    ],
)
def test_bad_options_are_refused(spectrum_options, change, message):
    with pytest.raises(ValueError, match="allowed") as caught:
        data.open_dataset("regression", spectrum_options | change)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
