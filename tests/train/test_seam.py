"""The seam between trainer and family, by families that no model of ours is like."""

import dataclasses
import json
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from models.layers import weights
from tests.train import toys
from tests.train.test_run import final_state, stop_at
from tests.train.toys import config, duel
from train import before, evaluation, optimizer, run, step, tasks
from train import config as configuration
from train.cli import InputError
from train.identity import digest_of
from train.score import score

# Sums and units of an evaluation set of nothing but padding.
NOTHING = ({"loss": np.zeros(2), "near": np.zeros(2)}, np.zeros(2))


@pytest.fixture(autouse=True)
def with_toys(monkeypatch):
    for package, path in toys.paths().items():
        monkeypatch.setattr(package, "__path__", path)


def functions_of(config):
    dataset = before.open_data(config)
    return dataset, step.compile_for(config, dataset.eval_batch(0, 1))


def test_what_a_model_keeps_is_a_part_of_the_state(tmp_path):
    result = run.run(duel(), tmp_path / "whole")
    stop_at(duel(), tmp_path / "run", 7)
    assert run.run(duel(), tmp_path / "run").metrics == result.metrics
    states = [final_state(tmp_path / name, duel()) for name in ("whole", "run")]
    jax.tree.map(np.testing.assert_array_equal, *states)
    mean = states[0].extra["batch_stats"]["generator"]["BatchNorm_0"]["mean"]
    assert np.all(mean != 0)


def test_runs_of_one_shape_are_packed_by_one_more_axis():
    """Statistics, two players and all, by rates and seeds of their own."""
    dataset, functions = functions_of(duel())
    of_run, batch = step.hyper_of(duel()), dataset.train_batch(0, 0, 8)
    hypers = [
        of_run._replace(seed=np.uint32(seed), learning_rate=np.float32(rate))
        for seed, rate in ((0, 0.01), (1, 0.01), (1, 0.1))
    ]
    together = jax.tree.map(lambda *x: np.stack(x), *hypers)
    states = jax.vmap(functions.init)(together)
    states, values = jax.vmap(functions.train, in_axes=(0, None, 0))(states, batch, together)
    alone = [functions.train(functions.init(hyper), batch, hyper) for hyper in hypers]
    expected = jax.tree.map(lambda *x: np.stack(x), *alone)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        *((states, values), expected),
    )
    weights = jax.tree.leaves(states.params)[0]
    assert not np.array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[1], weights[2])


def test_every_player_goes_down_its_own_objective():
    chosen = duel(**{"optimizer.name": "sgd", "optimizer.b1": 0.0, "optimizer.clip_norm": 0.0})
    dataset, functions = functions_of(chosen)
    hyper = step.hyper_of(chosen)._replace(weight_decay=np.float32(0))
    first = functions.init(hyper)
    params, extra = jax.tree.map(jnp.array, (first.params, first.extra))
    batch = dataset.train_batch(0, 0, 8)
    after, seen = functions.train(first, batch, hyper)
    key = jax.random.fold_in(jax.random.key(0), 0)

    def objective(own, player):
        whole = {**params, **own}
        losses, _ = score(
            step.build_model(chosen), chosen.task, whole, extra, batch, key, train=True
        )
        return losses.objective[player].sum() / 8

    for player in ("generator", "critic"):
        gradient = jax.grad(objective)({player: params[player]}, player)[player]
        expected = jax.tree.map(
            lambda p, g: p - seen["learning_rate"] * g, params[player], gradient
        )
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7),
            after.params[player],
            expected,
        )


def test_metrics_of_the_whole_set_have_errors_and_those_not_defined_are_left_out(tmp_path):
    result = run.run(duel(**{"evaluation.every": 6}), tmp_path)
    assert result.of_record == "distance"
    assert [result.loss, result.loss_se] == result.metrics["distance"]
    assert result.loss_se > 0
    assert set(result.metrics) == {"loss", "distance"}
    # The number of record is there at every evaluation, whatever it takes.
    assert [set(x["metrics"]) for x in result.evaluations] == [{"loss", "distance"}] * 2


def test_means_are_per_unit_and_what_follows_from_them_has_their_errors(tmp_path):
    result = run.run(config(**{"evaluation.every": 6}), tmp_path)
    batch = before.open_data(config()).eval_batch(0, 100)
    state = final_state(tmp_path, config())
    _, functions = functions_of(config())
    sums, units = functions.evaluate(state, batch, 0)
    np.testing.assert_array_equal(units, batch["copies"])
    loss = float(np.sum(sums["loss"]) / np.sum(units))
    mean, error = result.metrics["loss"]
    assert mean == pytest.approx(loss, rel=1e-6)
    assert result.metrics["rms"] == pytest.approx([loss**0.5, error / 2 / loss**0.5], rel=1e-2)
    near = result.metrics["near"]
    assert result.metrics["far"] == pytest.approx([1 - near[0], near[1]])
    # Decoding and the like is for the end alone, where the number of record is a mean.
    assert "radius" not in result.evaluations[0]["metrics"]
    radius = np.linalg.norm(
        step.build_model(config()).apply({"params": state.params}, batch), axis=1
    )
    expected = [radius.mean(), radius.std(ddof=1) / 10]
    assert result.metrics["radius"] == pytest.approx(expected, rel=0.35)
    assert result.metrics["radius"][0] == pytest.approx(expected[0], rel=1e-5)


def test_the_jackknife_of_a_mean_is_its_standard_error():
    rows = np.random.default_rng(0).normal(5.0, size=4000)
    task = dataclasses.replace(
        tasks.load("regression"), summarise=lambda config, rows, facts: {"m": rows["x"].mean()}
    )
    sums, units = {"loss": rows}, np.ones(4000)
    found = evaluation.metrics(task, None, {}, sums, units, {"x": rows})
    assert found["m"][0] == pytest.approx(found["loss"][0])
    assert found["m"][1] == pytest.approx(found["loss"][1], rel=0.4)  # of 20 groups: 16% in sd


def test_what_no_number_can_be_said_of_is_no_crash():
    found = evaluation.metrics(tasks.load("denoise"), None, {}, *NOTHING, None)
    assert np.isnan(found["loss"][0])
    assert found["loss"][1] is None
    # Beyond what a float holds: the perplexity of 800 nats a token, the square of 400 nats'.
    facts, translate = {"eval_tokens": 3, "eval_bytes": 9}, tasks.load("translate")
    for loss, defined in ((800.0, False), (400.0, True)):
        sums = {"loss": np.array([loss, loss + 1, loss]), "accuracy": np.zeros(3)}
        found = evaluation.metrics(translate, None, facts, sums, np.ones(3), None)
        assert ("perplexity" in found) == defined
        assert found["bits_per_byte"][1] > 0
    assert found["perplexity"][1] is None


def test_what_does_not_follow_from_means_an_error_away_has_an_unknown_error():
    derived = lambda config, means, facts: {"bits": math.log2(means["loss"])}  # noqa: E731
    task = dataclasses.replace(tasks.load("regression"), derived=derived)
    sums = {"loss": np.array([9.0, 0.0, 0.0])}  # 3 +- 3: no logarithm of 0
    found = evaluation.metrics(task, None, {}, sums, np.ones(3), None)
    assert found["bits"] == [math.log2(3), None]


def test_a_run_whose_numbers_are_lost_after_the_last_step_has_diverged(tmp_path, monkeypatch):
    def lost(*args):
        raise AssertionError("the rows of a model that gives no numbers are not summed up")

    task = dataclasses.replace(tasks.load("denoise"), OF_RECORD="radius", summarise=lost)
    monkeypatch.setattr(tasks, "load", lambda name: task)
    train = step.compile_for

    def compiled(*args):
        functions = train(*args)

        def evaluate(state, batch, index):
            sums, units = functions.evaluate(state, batch, index)
            return {name: x + np.nan for name, x in sums.items()}, units

        return functions._replace(evaluate=evaluate)

    monkeypatch.setattr(step, "compile_for", compiled)
    result = run.run(config(), tmp_path)
    assert (result.status, result.reason) == ("diverged", "validation loss nan at step 12")


def test_a_number_of_record_without_an_error_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation, "mean_and_error", lambda *_: (0.5, np.inf))
    with pytest.raises(InputError, match="too few validation rows for an error of the loss"):
        run.run(config(), tmp_path)


def test_what_is_drawn_depends_on_no_batch_size():
    def means(**changes):
        chosen = config(**changes)
        dataset, functions = functions_of(chosen)
        hyper = step.hyper_of(chosen)
        batch = dataset.train_batch(0, 0, 8)
        return functions.train(functions.init(hyper), batch, hyper)[1]

    whole, parts = means(), means(accumulate=4)
    assert float(whole["loss"]) == pytest.approx(float(parts["loss"]), rel=1e-6)
    dataset, functions = functions_of(config())
    state = functions.init(step.hyper_of(config()))
    once, _ = functions.evaluate(state, dataset.eval_batch(0, 32), 0)
    second, _ = functions.evaluate(state, dataset.eval_batch(1, 16), 1)
    np.testing.assert_allclose(once["loss"][16:], second["loss"], rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: duel(accumulate=2), "config.accumulate: 2; must be 1: in pair with duel the rows"),
        (lambda: config("noisy", "duel"), "'duel' trains generator, critic; noisy is made of body"),
        (
            lambda: config(**{"optimizer.groups": [group("tail/*")]}),
            r"config.optimizer.groups\[0\].match: 'tail/\*'; no such parameters",
        ),
        (
            lambda: config(**{"optimizer.groups": [group("bo*"), group("body/*")]}),
            r"config.optimizer.groups\[1\].match: 'body/\*'; earlier groups take all of them",
        ),
        (
            lambda: config(**{"optimizer.groups": [group("role:hiden")]}),
            r"groups\[0\].match: 'role:hiden'; did you mean 'role:hidden'\? allowed: role:hidden, ",
        ),
    ],
)
def test_what_does_not_go_together_is_one_line(make, says, tmp_path):
    with pytest.raises(InputError, match=says):
        run.run(make(), tmp_path)


def test_a_model_says_which_data_it_fits(monkeypatch, tmp_path):
    dataset = before.open_data(duel())
    monkeypatch.setattr(type(dataset), "facts", {"dimensions": 3}, raising=False)
    monkeypatch.setattr(
        type(dataset), "__init__", lambda self, config: setattr(self, "eval_rows", 9)
    )
    with pytest.raises(InputError, match="width: 8; only for points in a plane"):
        run.run(duel(), tmp_path)


def write_feelings(folder):
    """A file of 9 kB, whose words tell the class."""
    rng, words = np.random.default_rng(0), (("sad", "bad", "grey"), ("glad", "good", "bright"))
    lines = [f"{' '.join(rng.choice(words[i % 2], 4))} {i},{i % 2}\n" for i in range(400)]
    (folder / "feelings.csv").write_text("text,label\n" + "".join(lines))
    return f"csv:{folder}/feelings.csv"


def test_a_classifier_of_texts_learns(tmp_path):
    result = run.run(toys.texts(write_feelings(tmp_path)), tmp_path / "run")
    assert result.unit == "text"
    assert result.metrics["accuracy"][0] > 0.95
    assert {"recall/0", "recall/1", "macro_f1"} < result.metrics.keys()
    with pytest.raises(InputError, match=r"config\.model\.classes: 0; give the number of"):
        toys.texts(write_feelings(tmp_path), **{"model.classes": 0})


def test_an_array_of_any_name_is_the_models(monkeypatch):
    """The trainer numbers rows beside a batch, not in it."""
    task, seen = tasks.load("denoise"), []

    def losses(chosen, model, batch, keys):
        seen.append(batch["row"].shape[1:])
        return task.losses(chosen, model, batch, keys)

    monkeypatch.setattr(tasks, "load", lambda name: dataclasses.replace(task, losses=losses))
    batch = before.open_data(config()).train_batch(0, 0, 8) | {"row": np.ones((8, 5), np.float32)}
    for chosen in (config(), config(accumulate=2)):
        step._functions.cache_clear()
        functions, hyper = step.compile_for(chosen, batch), step.hyper_of(chosen)
        functions.train(functions.init(hyper), batch, hyper)
    step._functions.cache_clear()
    assert set(seen) == {(5,)}


def group(match: str, rate: float = 1.0, decay: float = 1.0, every: int = 1) -> dict:
    return {"match": match, "rate": rate, "decay": decay, "every": every}


def test_groups_have_their_own_rates_and_the_frozen_keep_nothing():
    plain, grouped = (
        config(),
        config(**{"optimizer.groups": [group("body/*", 0.0), group("*/bias", 0.5)]}),
    )
    after = []
    for chosen in (plain, grouped):
        dataset, functions = functions_of(chosen)
        hyper = step.hyper_of(chosen)
        first = functions.init(hyper)
        begun = jax.tree.map(jnp.array, first.params)
        state, _ = functions.train(first, dataset.train_batch(0, 0, 8), hyper)
        after.append(jax.tree.map(np.subtract, state.params, begun) | {"kept": state.opt_state})
    moved, ours = after
    assert not np.any(ours["body"]["kernel"])
    assert not np.any(ours["body"]["bias"])
    np.testing.assert_allclose(ours["head"]["kernel"], moved["head"]["kernel"], rtol=1e-5)
    np.testing.assert_allclose(ours["head"]["bias"], moved["head"]["bias"] / 2, rtol=1e-4)
    sizes = [sum(x.size for x in jax.tree.leaves(part["kept"])) for part in after]
    assert sizes[1] < sizes[0] - 2 * (2 * 8 + 8) + 4


def test_what_is_frozen_does_not_clip_the_rest():
    changes = {"optimizer.groups": [group("body/*", 0.0)], "optimizer.clip_norm": 1.0}
    changes |= {"optimizer.name": "sgd", "optimizer.b1": 0.0}
    tx = optimizer.build(config(**changes).optimizer, 1.0, 0.0)
    gradient = {"body": {"w": jnp.full(3, 100.0)}, "head": {"w": jnp.full(4, 0.1)}}
    updates, _ = tx.update(gradient, tx.init(gradient), gradient)
    np.testing.assert_allclose(updates["head"]["w"], -0.1, rtol=1e-6)
    assert not np.any(updates["body"]["w"])


def test_a_group_may_wait_and_clips_nothing_until_then():
    changes = {"optimizer.groups": [group("a", every=2)], "optimizer.clip_norm": 5.0}
    changes |= {"optimizer.name": "sgd", "optimizer.b1": 0.0}
    chosen = config(**changes).optimizer
    gradient = {"a": jnp.full(1, 8.0), "b": jnp.full(1, 6.0)}
    state, moves = optimizer.build(chosen, 1.0, 0.0).init(gradient), []

    @jax.jit
    def take(state, now):
        return optimizer.build(chosen, 1.0, 0.0, step=now).update(gradient, state, gradient)

    for now in range(4):
        updates, state = take(state, now)
        moves += [[float(updates[name][0]) for name in "ab"]]
    np.testing.assert_allclose(moves, [[-4, -3], [0, -5]] * 2, rtol=1e-6)


def test_a_group_may_be_of_a_role():
    groups = [group("blocks/attention/*", 0.25), group("role:hidden", 0.5), group("role:v*", 0.0)]
    chosen = dataclasses.replace(
        config().optimizer, groups=tuple(optimizer.Group(**values) for values in groups)
    )
    boxes = {
        name: weights.boxed(lambda: jnp.ones(()), *sides)()
        for name, sides in {
            "embedding": (("vocab",), ("embed",)),
            "blocks/attention/query": (("embed",), ("heads",)),
            "blocks/mlp/in": (("embed",), ("hidden",)),
            "blocks/norm": ((), ("norm",)),
        }.items()
    }
    params = traverse_util.unflatten_dict(boxes, sep="/")
    optimizer.check(chosen, params)
    roles, bare = optimizer.roles_of(params), nn.meta.unbox(params)
    tx = optimizer.build(chosen, 1.0, 0.0, roles=roles)
    # What is kept lies in boxes at first, and not in a step.
    kept = nn.meta.unbox(tx.init(params))
    assert jax.tree.structure(kept) == jax.tree.structure(tx.init(bare))
    updates, _ = tx.update(bare, kept, bare)
    found = traverse_util.flatten_dict(updates, sep="/")
    assert {name: round(float(-x), 4) for name, x in found.items()} == dict(
        zip(boxes, (1.0, 0.25, 0.5, 0.0))
    )


def test_a_config_without_groups_is_that_of_older_versions(tmp_path):
    values = configuration.to_dict(config())
    older = json.loads(json.dumps(values))
    del older["optimizer"]["groups"]
    assert digest_of(older) == configuration.digest(config())
    assert configuration.other_run(config(), older) == []
    grouped = config(**{"optimizer.groups": [group("body/*")]})
    assert configuration.digest(grouped) != configuration.digest(config())
    assert configuration.resolve(configuration.to_dict(grouped)) == grouped
