import hashlib
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from scipy import linalg

from configs import gan
from models import cnn
from train import before, run, step
from train import config as configuration
from train.cli import InputError
from train.score import score
from train.tasks import adversarial

RNG = np.random.default_rng(0)
NETWORK = {"classes": 10, "stages": 2, "width": 4, "norm": "batch", "dtype": "float32"}
NETWORK |= {"hidden": 6, "dropout": 0.0}


@pytest.fixture
def digits(tmp_path, monkeypatch):
    """Makes a run on digits of 8 x 8 pixels, and a classifier of first weights to measure it by."""
    network = cnn.Model(cnn.Config(**NETWORK))
    variables = nn.meta.unbox(network.init(jax.random.key(0), {"image": jnp.zeros((1, 8, 8, 1))}))
    flat = traverse_util.flatten_dict(variables, sep="/")
    path = tmp_path / "features" / "digits.npz"
    path.parent.mkdir()
    np.savez(path, model=json.dumps({"name": "cnn"} | NETWORK), **flat)
    monkeypatch.setattr(adversarial, "FEATURES", path.parent)
    adversarial._read.cache_clear()

    def make(**changes):
        config = gan.recipe(4, 640)
        config.data.update(source="digits", evaluation="validation")
        config.model.update(side=8, latent=4)
        config.task.update(features="digits", sha256=sha256(path))
        config.update(steps=20, batch_size=16)
        config.evaluation.batch_size = 60
        config.update_from_flattened_dict(changes)
        return configuration.resolve(config.to_dict())

    yield make
    adversarial._read.cache_clear()


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def scored(config, params, batch, **options):
    return score(
        step.build_model(config), config.task, params, {}, batch, jax.random.key(3), **options
    )[0]


def started(config):
    dataset = before.open_data(config)
    batch = dataset.train_batch(0, 0, 8)
    params = nn.meta.unbox(step.variables(step.build_model(config), jax.random.key(0), batch)[0])
    return dataset, batch, params


def test_what_each_player_minimises_by_hand(digits):
    config = digits(**{"task.penalty": 3.0})
    _, batch, params = started(config)
    batch["weight"][6:] = 0
    found = scored(config, params, batch, train=True)
    # The same images, made anew from the keys that a task is given.
    drawn = jax.random.fold_in(jax.random.key(3), 1)
    keys = jax.vmap(lambda row: jax.random.fold_in(drawn, row))(jnp.arange(8))
    model = step.build_model(config)

    def judge(image):
        return model.apply({"params": params}, image[None], method="judge")[0]

    made = model.apply({"params": params}, keys, method="make")
    for i in range(6):
        real, fake = judge(batch["image"][i]), judge(made[i])
        slopes = [np.sum(np.square(jax.grad(judge)(x))) for x in (batch["image"][i], made[i])]
        pairing = np.log1p(np.exp(fake - real))
        assert found.sums["loss"][i] == pytest.approx(pairing, rel=1e-4)
        assert found.sums["told_apart"][i] == (real > fake)
        assert found.sums["slope"][i] == pytest.approx(slopes[0], rel=1e-4)
        assert found.objective["critic"][i] == pytest.approx(pairing + 1.5 * sum(slopes), rel=1e-4)
        other = np.log1p(np.exp(real - fake))
        assert found.objective["generator"][i] == pytest.approx(other, rel=1e-4)
    for x in (found.units, *found.sums.values(), *found.objective.values()):
        np.testing.assert_array_equal(x[6:], 0)


def test_a_step_may_be_taken_in_parts_and_the_slope_is_trained_away(digits):
    """The critic's gradient is that of its objective, second derivatives and all."""
    after = []
    for parts in (1, 4):
        steep = {"task.penalty": 50.0, "optimizer.learning_rate": 0.01}
        config = digits(accumulate=parts, **steep)
        dataset, _, _ = started(config)
        functions, hyper = step.compile_for(config, dataset.eval_batch(0, 1)), step.hyper_of(config)
        batch, state = dataset.train_batch(0, 0, 16), functions.init(hyper)
        for _ in range(20 if parts == 1 else 1):
            state, means = functions.train(state, batch, hyper)
            after.append(means)
    first, last, in_parts = after[0], after[-2], after[-1]
    for name in ("loss", "slope", "grad_norm"):
        assert float(first[name]) == pytest.approx(float(in_parts[name]), rel=1e-4)
    assert last["slope"] < first["slope"] / 3


def test_a_player_may_be_held_still(digits):
    """A group of the optimizer, for which nothing is kept."""
    group = {"match": "critic/*", "rate": 0.0, "decay": 1.0, "every": 1}
    config = digits(**{"optimizer.groups": [group]})
    dataset, batch, _ = started(config)
    functions, hyper = step.compile_for(config, dataset.eval_batch(0, 1)), step.hyper_of(config)
    first = functions.init(hyper)
    begun = jax.tree.map(jnp.array, first.params)
    state, _ = functions.train(first, batch, hyper)
    moved = jax.tree.map(lambda a, b: bool(np.any(a != b)), state.params, begun)
    assert not any(jax.tree.leaves(moved["critic"]))
    assert any(jax.tree.leaves(moved["generator"]))
    sizes = {name: len(jax.tree.leaves(half)) for name, half in begun.items()}
    arrays = [x for x in jax.tree.leaves(state.opt_state) if x.ndim]
    assert len(arrays) == 2 * sizes["generator"]


def test_a_run_has_a_distance_of_record(digits, tmp_path):
    result = run.run(digits(), tmp_path / "run")
    assert result.of_record == "frechet"
    assert [result.loss, result.loss_se] == result.metrics["frechet"]
    assert set(result.metrics) == {
        *("loss", "told_apart", "slope"),
        *("frechet", "floor", "precision", "recall", "variety", "collapsed"),
    }
    assert result.metrics["frechet"][0] > result.metrics["floor"][0] > 0
    assert 0 < result.loss_se < result.loss


def test_what_is_kept_is_what_the_layer_before_the_classes_gives(digits):
    config = digits()
    batch = before.open_data(config).train_batch(0, 0, 8)
    functions = step.compile_for(config, batch)
    state = functions.init(step.hyper_of(config))
    kept = functions.examine(state, batch, 0)
    assert kept["image"].shape == (8, 8, 8, 1)
    network = cnn.Model(cnn.Config(**NETWORK))
    variables = nn.meta.unbox(network.init(jax.random.key(0), {"image": jnp.zeros((1, 8, 8, 1))}))
    # The head begins at 0: from other weights of it the layer before can be read off.
    for j in range(6):
        head = np.zeros((6, 10), np.float32)
        head[j, 0] = 1
        moved = jax.tree.map(np.asarray, variables)
        moved["params"]["head"]["kernel"] = head
        out = network.apply(moved, batch)[:, 0]
        np.testing.assert_allclose(np.maximum(kept["real"][:, j], 0), out, rtol=1e-4, atol=1e-5)
    assert np.any(kept["real"] < 0)


@pytest.mark.parametrize("a", [np.zeros((1, 3)), np.full((9, 3), np.nan), np.full((9, 3), np.inf)])
def test_no_distance_is_known_of_one_row_nor_of_what_is_no_number(a):
    assert np.isnan(adversarial.frechet(a, RNG.normal(size=(9, 3))))


def test_the_frechet_distance_is_that_of_a_root_taken_otherwise():
    a, b = RNG.normal(size=(500, 6)) @ RNG.normal(size=(6, 6)), RNG.normal(size=(400, 6)) + 0.5
    both = linalg.sqrtm(np.cov(a, rowvar=False) @ np.cov(b, rowvar=False)).real
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2)
    expected += np.trace(np.cov(a, rowvar=False) + np.cov(b, rowvar=False) - 2 * both)
    assert adversarial.frechet(a, b) == pytest.approx(expected, rel=1e-6)
    assert adversarial.frechet(a, a) == pytest.approx(0, abs=1e-6)
    assert adversarial.frechet(a, a + 2) == pytest.approx(6 * 4)
    assert adversarial.frechet(b - 0.5, 3 * (b - 0.5)) == pytest.approx(
        4 * np.trace(np.cov(b, rowvar=False)) + 4 * np.sum((b - 0.5).mean(0) ** 2)
    )


def rows(made, real, classes):
    return {"made": made, "real": real, "class": classes, "real_class": np.arange(len(real)) % 4}


def summary(made, real, classes=None):
    classes = np.arange(len(made)) % 4 if classes is None else classes
    return adversarial.summarise(None, rows(made, real, classes), {})


def test_precision_is_of_what_is_made_and_recall_of_what_is_real():
    real = RNG.normal(size=(400, 3))
    real[::2] += 100  # two modes
    found = summary(real, real)
    assert [found[name] for name in ("precision", "recall", "variety")] == [1.0, 1.0, 1.0]
    assert found["frechet"] == pytest.approx(0, abs=1e-6)
    assert found["collapsed"] == 0.0
    # One mode alone, by its own points: all is real, half of what is real is made.
    one = np.repeat(real[1::2], 2, axis=0)
    found = summary(one, real)
    assert found["precision"] == 1.0
    assert found["recall"] == pytest.approx(0.5)
    # Far from all: nothing is real, nothing is made.
    found = summary(real + 1000, real)
    assert [found[name] for name in ("precision", "recall")] == [0.0, 0.0]


def test_a_collapse_is_said():
    real = RNG.normal(size=(400, 3))
    found = summary(real, real, np.zeros(400, int))
    assert found["variety"] == pytest.approx(1 / 4)
    assert found["collapsed"] == 1.0
    found = summary(real, real, np.arange(400) % 2)
    assert found["variety"] == pytest.approx(1 / 2)
    assert found["collapsed"] == 0.0


def test_the_floor_is_that_of_halves_of_what_is_real():
    real = RNG.normal(size=(400, 3))
    real[::2] += 2
    assert summary(real, real)["floor"] == pytest.approx(12, rel=0.1)


def test_other_features_are_another_metric(digits):
    with pytest.raises(
        InputError, match=r"config.task.*sha256: '0'; the features have [0-9a-f]{64}"
    ):
        digits(**{"task.sha256": "0"})
    with pytest.raises(InputError, match="features: 'faces'; allowed: digits"):
        digits(**{"task.features": "faces"})
    with pytest.raises(InputError, match=r"penalty: -1\.0; must be at least 0"):
        digits(**{"task.penalty": -1.0})


def test_no_object_of_a_stranger_is_made(digits):
    path = adversarial.FEATURES / "digits.npz"
    np.savez(path, model=np.array([print], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        adversarial.classifier("digits")
