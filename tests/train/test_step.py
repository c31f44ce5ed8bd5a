import dataclasses
import math

import jax
import numpy as np
import pytest
from flax import traverse_util

from configs.base import mup
from train import before, evaluation, optimizer, step
from train.config import Optimizer, Schedule


def losses(config, steps: int) -> list[float]:
    dataset = before.open_data(config)
    functions = step.compile_for(config, dataset.eval_batch(0, 1))
    hyper = step.hyper_of(config)
    state, out = functions.init(hyper), []
    for now in range(steps):
        state, metrics = functions.train(
            state, dataset.train_batch(config.seed, now, config.batch_size), hyper
        )
        out.append(float(metrics["loss"]))
    return out


def test_the_first_loss_is_log_v(tiny):
    # Over a few seeds: frequent bytes make up most of a batch, so one draw of their embeddings
    # moves its loss by 1%.
    for changes in (
        {},
        {"model.tied": False},
        {"model.width": 128, "model.heads": 4, "model.kv_heads": 4},
    ):
        config = tiny(**changes)
        dataset = before.open_data(config)
        functions = step.compile_for(config, dataset.eval_batch(0, 1))
        first = []
        for seed in range(16):
            hyper = step.hyper_of(dataclasses.replace(config, seed=seed))
            batch = dataset.train_batch(seed, 0, config.batch_size)
            sums, _ = functions.evaluate(functions.init(hyper), batch, 0)
            first += sums["loss"].tolist()
        assert np.mean(first) / dataset.units_per_row == pytest.approx(math.log(257), rel=0.01)


def test_golden_losses(tiny):
    # Measured with jax 0.10.2 on an x86-64 CPU. May change with the initialisation, the order of
    # the data, the corpus or the optimizer, and with nothing else; the tolerance covers other
    # versions and other processors.
    assert losses(tiny(), 3) == pytest.approx([5.58773, 5.48613, 5.33900], abs=2e-3)


def test_a_tiny_model_learns_a_tiny_batch_by_heart(tiny):
    config = tiny(**{"model.width": 32, "model.heads": 1, "model.kv_heads": 1, "steps": 150})
    config = dataclasses.replace(
        config, optimizer=dataclasses.replace(config.optimizer, learning_rate=1e-2)
    )
    dataset = before.open_data(config)
    functions, hyper = step.compile_for(config, dataset.eval_batch(0, 1)), step.hyper_of(config)
    state, batch = functions.init(hyper), dataset.train_batch(0, 0, config.batch_size)
    for _ in range(config.steps):
        state, metrics = functions.train(state, batch, hyper)
    assert float(metrics["loss"]) < 0.1


def test_runs_of_one_shape_share_one_executable(tiny):
    base = tiny()
    other = dataclasses.replace(
        base,
        seed=5,
        steps=77,
        log_every=3,
        optimizer=dataclasses.replace(base.optimizer, learning_rate=0.5, weight_decay=0.7),
    )
    dataset = before.open_data(base)
    example, batch = dataset.eval_batch(0, 1), dataset.train_batch(0, 0, base.batch_size)
    functions = step.compile_for(base, example)
    assert step.compile_for(other, example) is functions
    compiled = functions.train._cache_size()
    for config in (base, other):
        state = functions.init(step.hyper_of(config))
        for _ in range(2):
            state, metrics = functions.train(state, batch, step.hyper_of(config))
    assert functions.train._cache_size() <= max(compiled, 1)
    # The first two steps warm up; rates are proportional to the peak over the run's own horizon.
    assert float(metrics["learning_rate"]) == pytest.approx(0.5 * 2 / 7.7)


def test_seeds_differ_and_repeat(tiny):
    base = tiny()
    seeded = dataclasses.replace(base, seed=1)
    assert losses(base, 2) == losses(base, 2)
    assert losses(base, 2) != losses(seeded, 2)


def test_dropout_is_drawn_anew_each_step(tiny):
    config = tiny(**{"model.dropout": 0.5})
    frozen = dataclasses.replace(
        config, optimizer=dataclasses.replace(config.optimizer, learning_rate=0.0)
    )
    dataset = before.open_data(frozen)
    functions, hyper = step.compile_for(frozen, dataset.eval_batch(0, 1)), step.hyper_of(frozen)
    state, batch = functions.init(hyper), dataset.train_batch(0, 0, config.batch_size)
    seen = []
    for _ in range(2):
        state, metrics = functions.train(state, batch, hyper)
        seen.append(float(metrics["loss"]))
    assert seen[0] != seen[1]


def schedule(**changes) -> Schedule:
    return dataclasses.replace(
        Schedule(name="cosine", warmup=0.1, cooldown=0.0, final=0.1), **changes
    )


def rates(config: Schedule, steps: int = 100, peak: float = 2.0) -> np.ndarray:
    return np.array([optimizer.learning_rate(config, t, steps, peak) for t in range(steps + 1)])


def test_schedules():
    cosine = rates(schedule())
    np.testing.assert_allclose(cosine[:10], 2 * np.arange(1, 11) / 10, rtol=1e-6)
    np.testing.assert_allclose(cosine[55], 2 * (0.1 + 0.9 / 2), rtol=1e-5)
    np.testing.assert_allclose(cosine[100], 0.2, rtol=1e-5)
    assert np.all(np.diff(cosine[10:]) <= 0)
    wsd = rates(schedule(name="wsd", cooldown=0.2, final=0.0))
    np.testing.assert_allclose(wsd[10:80], 2.0, rtol=1e-5)
    np.testing.assert_allclose(wsd[[80, 90, 100]], [2, 1, 0], atol=1e-5)
    np.testing.assert_allclose(rates(schedule(name="constant"))[9:], 2.0)


def test_weight_decay_is_decoupled_and_spares_scales_and_biases():
    config = Optimizer("adamw", 0.0, 0.0, 0.9, 0.95, 1e-8, 0.0, ())
    tx = optimizer.build(config, 0.1, 0.5)
    params = {"in": np.array([4.0]), "norm": {"scale": np.array([4.0])}, "bias": np.array([4.0])}
    zero = jax.tree.map(np.zeros_like, params)
    updates, _ = tx.update(zero, tx.init(params), params)
    assert updates["in"] == pytest.approx(-0.1 * 0.5 * 4.0)
    assert updates["norm"]["scale"] == updates["bias"] == 0


def test_the_gradient_is_clipped_by_its_global_norm():
    tx = optimizer.build(Optimizer("sgd", 0.0, 0.0, 0.0, 0.0, 1e-8, 1.0, ()), 1.0, 0.0)
    params = {"a": np.array([0.0]), "b": np.array([0.0])}
    grads = {"a": np.array([3.0], np.float32), "b": np.array([4.0], np.float32)}
    updates, _ = tx.update(grads, tx.init(params), params)
    assert (float(updates["a"][0]), float(updates["b"][0])) == pytest.approx((-0.6, -0.8))


def test_mup_slows_down_what_takes_from_a_wider_layer(tiny):
    changes = {"model.tied": False, "model.dtype": "float32", "optimizer.weight_decay": 0.0}
    config = tiny(**changes, **{"optimizer.groups": mup(64, 16)})
    dataset = before.open_data(config)
    example, hyper = dataset.eval_batch(0, 1), step.hyper_of(config)
    functions = step.compile_for(config, example)
    first = functions.init(hyper)
    begun = jax.tree.map(np.array, first.params)
    after, metrics = functions.train(first, dataset.train_batch(0, 0, config.batch_size), hyper)
    # Adam's first step is as long as its rate, wherever there is a gradient.
    far = jax.tree.map(lambda a, b: np.abs(a - b).max(), after.params, begun)
    roles = optimizer.roles_of(step.abstract_variables(config, example)[0])
    expected = {"input": 1.0, "vector": 1.0, "hidden": 0.25, "output": 0.25}
    assert set(roles.values()) == set(expected)
    for path, moved in traverse_util.flatten_dict(far, sep="/").items():
        rate = moved / float(metrics["learning_rate"])
        assert rate == pytest.approx(expected[roles[path]], rel=1e-3), path


def test_mean_and_error_do_not_depend_on_the_batches():
    rng = np.random.default_rng(0)
    loss, units = rng.gamma(3, 2, 1000).astype(np.float32), np.full(1000, 4.0, np.float32)
    padded = np.concatenate([loss, [0.0]]), np.concatenate([units, [0.0]])
    mean, error = evaluation.mean_and_error(loss, units)
    assert evaluation.mean_and_error(*(x[::-1] for x in padded)) == (mean, error)
    assert mean == pytest.approx(loss.astype(np.float64).mean() / 4)
    assert error == pytest.approx(loss.astype(np.float64).std(ddof=1) / 4 / math.sqrt(1000))


def test_z_loss_is_minimised_but_not_reported(tiny):
    plain, regularised = tiny(), tiny(**{"task.z_loss": 1.0})
    a, b = losses(plain, 2), losses(regularised, 2)
    assert a[0] == b[0]
    assert a[1] != b[1]


@pytest.mark.parametrize("parts", [2, 4])
def test_dropout_does_not_depend_on_how_a_batch_is_divided(parts, tiny):
    whole = {"model.dropout": 0.5, "model.layers": 2}
    divided = losses(tiny(**whole, accumulate=parts), 3)
    assert divided == pytest.approx(losses(tiny(**whole), 3), rel=1e-5)
    assert divided != pytest.approx(losses(tiny(**whole, seed=1), 3), rel=1e-3)
