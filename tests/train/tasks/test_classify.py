import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics

from configs import cnn, resnet
from train import config as configuration
from train import run
from train.tasks import classify

LOGITS = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
LABEL = np.random.default_rng(1).integers(3, size=40)
BATCH = {
    "label": jnp.asarray(LABEL, jnp.int32),
    "weight": jnp.asarray(np.arange(40) < 30, jnp.float32),
}
PLAIN = classify.Config(smoothing=0.0)


def model(batch):
    return jnp.asarray(LOGITS)


def chances(logits):
    grown = np.exp(logits.astype(np.float64))
    return grown / grown.sum(axis=1, keepdims=True)


def test_sums_are_those_of_an_independent_count():
    found = classify.losses(PLAIN, model, BATCH, None)
    np.testing.assert_array_equal(found.units, BATCH["weight"])
    means = {name: float(x.sum()) / 30 for name, x in found.sums.items()}
    real, said = LABEL[:30], LOGITS[:30].argmax(1)
    assert means["loss"] == pytest.approx(metrics.log_loss(real, chances(LOGITS[:30])), rel=1e-5)
    assert means["accuracy"] == pytest.approx(metrics.accuracy_score(real, said))
    assert classify.derived(PLAIN, means, {})["error"] == pytest.approx(np.mean(real != said))
    assert all(np.all(np.asarray(x)[30:] == 0) for x in (*found.sums.values(), found.objective))


def test_labels_are_smoothed_in_what_is_minimised_alone():
    plain, smooth = (classify.losses(classify.Config(s), model, BATCH, None) for s in (0.0, 0.3))
    np.testing.assert_array_equal(plain.objective, plain.sums["loss"])
    np.testing.assert_array_equal(smooth.sums["loss"], plain.sums["loss"])
    uniform = -np.log(chances(LOGITS)).mean(1) * np.asarray(BATCH["weight"])
    expected = 0.7 * np.asarray(plain.sums["loss"]) + 0.3 * uniform
    np.testing.assert_allclose(smooth.objective, expected, rtol=1e-5)


def test_a_mixed_row_is_of_both_its_classes():
    other, share = (LABEL + 1) % 3, np.linspace(0, 1, 40).astype(np.float32)
    mixed = BATCH | {"other_label": jnp.asarray(other, jnp.int32), "share": jnp.asarray(share)}
    found = classify.losses(PLAIN, model, mixed, None)
    log = -np.log(chances(LOGITS))[np.arange(40)[:, None], np.stack([LABEL, other], axis=1)]
    expected = (share * log[:, 0] + (1 - share) * log[:, 1]) * np.asarray(BATCH["weight"])
    np.testing.assert_allclose(found.objective, expected, rtol=1e-4, atol=1e-6)
    larger = np.where(share > 0.5, LABEL, other)
    right = (LOGITS.argmax(1) == larger) * np.asarray(BATCH["weight"])
    np.testing.assert_array_equal(found.sums["accuracy"], right)


def summary(label, said, **facts):
    """Of rows that are all but sure of a class of three."""
    chance = np.where(np.eye(3)[said] > 0, 0.98, 0.01).astype(np.float32)
    rows = {"label": np.array(label), "chance": chance}
    return classify.summarise(PLAIN, rows, {"classes": 3} | facts)


def test_metrics_of_the_whole_set_by_hand():
    # Class 0: 2 of 3 found, 1 said wrongly. Class 1: 1 of 2 found, 1 said wrongly. Class 2: all.
    found = summary([0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 0, 2], class_names=("shirt", "coat", "bag"))
    recall = {"recall/shirt": 2 / 3, "recall/coat": 1 / 2, "recall/bag": 1.0}
    precision = {"precision/shirt": 2 / 3, "precision/coat": 1 / 2, "precision/bag": 1.0}
    # Each against the rest: pairs of a row of it and another, ranked right or alike.
    auc = {"auc": np.mean([(4 + 4 / 2) / 9, (3 + 4 / 2) / 8, 1])}
    sure, wrong = 0.02**2 + 2 * 0.01**2, 0.98**2 + 0.99**2 + 0.01**2
    assert found == pytest.approx(
        {"macro_f1": (2 / 3 + 1 / 2 + 1) / 3, "brier": (4 * sure + 2 * wrong) / 6}
        | recall
        | precision
        | auc
    )


def test_a_class_that_no_row_is_of_has_no_recall():
    found = summary([0, 0, 1], [0, 1, 1])
    both = {f"{kind}/{name}" for kind in ("recall", "precision") for name in (0, 1)}
    assert set(found) == {"macro_f1", "brier"} | both
    assert found["macro_f1"] == pytest.approx(2 / 3)


def test_who_always_says_one_class_gets_what_scikit_learn_gives():
    label, said = [0, 1, 1, 1], [1, 1, 1, 1]
    rows = {"label": np.array(label), "chance": np.tile(np.float32([0.3, 0.7]), (4, 1))}
    found = classify.summarise(PLAIN, rows, {"class_names": ("no", "yes")})
    assert found["macro_f1"] == metrics.f1_score(label, said, average="macro", zero_division=0)
    assert (found["recall/no"], found["recall/yes"], found["precision/yes"]) == (0, 1, 0.75)
    assert "precision/no" not in found
    assert found["auc"] == 0.5


def test_the_brier_score_of_two_classes_sums_both_squares():
    rows = {"label": np.array([0, 1]), "chance": np.array([[0.9, 0.1], [0.6, 0.4]], np.float32)}
    assert classify.summarise(PLAIN, rows, {})["brier"] == pytest.approx((0.02 + 0.72) / 2)


def test_chances_and_classes_are_kept_of_each_row():
    kept = classify.examine(PLAIN, model, BATCH, None)
    np.testing.assert_array_equal(kept["label"], LABEL)
    np.testing.assert_allclose(kept["chance"], chances(LOGITS), rtol=1e-5)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0])
def test_what_smoothing_cannot_be(smoothing):
    with pytest.raises(ValueError, match=r"smoothing: .*; must be in \[0, 1\)"):
        classify.Config(smoothing)


@pytest.mark.parametrize(
    ("family", "norm", "mixup"),
    [(cnn, "batch", 0.1), pytest.param(resnet, "group", 0.0, marks=pytest.mark.slow)],
)
def test_a_run_learns_digits(tmp_path, family, norm, mixup):
    config = family.recipe(8, 9600)
    config.data.update(source="digits", evaluation="validation", unique=0, flip=False, crop=0)
    config.data.mixup, config.model.norm = mixup, norm
    config.model.update({"stem": 0} if family is resnet else {})
    config.steps = 120
    config.checkpoint.every = 0
    metrics = run.run(configuration.resolve(config.to_dict()), tmp_path).metrics
    (accuracy, error), (f1, _) = metrics["accuracy"], metrics["macro_f1"]
    # 180 images are held out; nearest neighbours tell .98 of them apart.
    assert accuracy > 0.93
    assert 0 < error < 0.02
    assert f1 == pytest.approx(accuracy, abs=0.02)
    assert metrics["error"][0] == pytest.approx(1 - accuracy)
    assert sum(name.startswith("recall/") for name in metrics) == 10
