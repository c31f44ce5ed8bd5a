"""Runs that are evaluated on further sets beside their own."""

import json

import jax
import numpy as np
import pytest

from configs import linear
from tests import verbs
from tests.train.test_run import final_state, stop_at
from tests.train.test_seam import with_toys
from tests.train.toys import config, further
from train import before, evaluation, metrics, record, run
from train import config as configuration
from train.cli import InputError
from train.identity import digest_of

__all__ = ["with_toys"]  # a fixture of all tests here

SETS = further(few={"every": 4}, fewer={"data": {"name": "rings", "eval_rows": 9}})


def evaluated(**changes):
    return config(evals=SETS, **changes)


def test_further_sets_say_the_same_metrics_of_other_rows(tmp_path):
    chosen = evaluated(**{"evaluation.every": 6})
    result = run.run(chosen, tmp_path / "run")
    assert {"loss", "far", "radius", "few/loss", "few/far", "few/radius"} < result.metrics.keys()
    own = [{name for name in one["metrics"] if name.endswith("loss")} for one in result.evaluations]
    assert [one["step"] for one in result.evaluations] == [4, 6, 8, 12]
    assert own == [{"few/loss"}, {"loss"}, {"few/loss"}, {"loss", "few/loss", "fewer/loss"}]
    # The toy's rows are numbered: the first of its own set.
    state = final_state(tmp_path / "run", chosen)
    sets = before.open_data(config()), *before.open_further(chosen).values()
    functions = run.step.compile_for(chosen, sets[0].eval_batch(0, 1))
    sums, units = functions.evaluate(state, sets[0].eval_batch(0, 40), 0)
    for name, rows in (("few", 40), ("fewer", 9)):
        expected = evaluation.mean_and_error(np.array(sums["loss"])[:rows], np.array(units)[:rows])
        assert result.metrics[f"{name}/loss"] == pytest.approx(expected, rel=1e-4)
    assert [x.eval_rows for x in sets] == [100, 40, 9]
    assert record.load(tmp_path / "run" / "record.json") == result
    assert configuration.resolve(result.config) == chosen
    # They change nothing of the run.
    plain = run.run(config(**{"evaluation.every": 6}), tmp_path / "plain")
    assert plain.metrics == {k: v for k, v in result.metrics.items() if "/" not in k}
    assert plain.curve == result.curve
    done = verbs.call("train.examine", f"--workdir={tmp_path / 'run'}", "--rows=2")
    assert (done.returncode, "to the bit" in done.stdout) == (0, True), done.stdout + done.stderr
    value, error = result.metrics["few/loss"]
    assert f"  few/loss {value:.6g} +- {error:.4g}\n" in done.stdout


@pytest.mark.parametrize("first", [evaluated, config])
def test_a_run_goes_on_with_them_or_gets_them_under_way(first, tmp_path):
    whole = run.run(evaluated(), tmp_path / "whole")
    stop_at(first(), tmp_path / "run", 5)
    result = run.run(evaluated(), tmp_path / "run")
    assert (result.metrics, result.curve) == (whole.metrics, whole.curve)
    steps = [4, 8, 12] if first is evaluated else [8, 12]
    assert [one["step"] for one in result.evaluations] == steps
    assert result.evaluations == whole.evaluations[-len(steps) :]
    assert [x["step"] for x in metrics.read(tmp_path / "run") if "loss" in x] == [*range(1, 13)]
    states = [final_state(tmp_path / name, evaluated()) for name in ("whole", "run")]
    jax.tree.map(np.testing.assert_array_equal, *states)


def test_without_them_a_config_is_that_of_older_versions():
    older = {k: v for k, v in configuration.to_dict(config()).items() if k != "evals"}
    assert digest_of(older) == configuration.digest(config())
    assert configuration.resolve(older) == config()
    held = json.loads(json.dumps(configuration.to_dict(evaluated())))
    assert configuration.resolve(held) == evaluated()
    assert configuration.digest(evaluated()) != configuration.digest(config())
    assert configuration.other_run(evaluated(), older) == []


@pytest.mark.parametrize(
    ("sets", "says"),
    [
        (further(**{"a/b": {}}), "config.evals: 'a/b'; names of letters, digits, _ and -"),
        ({"few": {"every": 3}}, "config.evals.few.batch_size: missing"),
        (further(few={"every": -1}), "config.evals.few.every: -1; at least 0"),
        (further(few={"task": {"name": "dnoise"}}), "config.evals.few.task.name: 'dnoise'; did"),
        (
            further(few={"task": {"name": "duel"}}),
            "config.evals.few.task.name: 'duel' has generator, critic; the run has no players",
        ),
        (
            further(few={"data": {"name": "rings", "eval_rows": 1}}),
            "config.evals.few.data: 1 validation rows; at least 2",
        ),
        (
            further(few={"data": linear.get_config().data.to_dict()}),
            "config.evals.few.data.name: its batches have weight, x, y; 'point' is asked for",
        ),
    ],
)
def test_a_wrong_one_is_one_line(sets, says, tmp_path):
    with pytest.raises(InputError) as caught:
        run.run(config(evals=sets), tmp_path / "run")
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "config.json").exists()


def test_an_evaluation_ends_once_its_loss_is_known_well_enough(tiny):
    chosen = tiny(**{"evaluation.batch_size": 4, "steps": 1})
    dataset = before.open_data(chosen)
    functions = run.step.compile_for(chosen, dataset.eval_batch(0, 1))
    state = functions.init(run.step.hyper_of(chosen))
    sums, units, _ = evaluation.Evaluator(chosen, dataset, functions).rows(state, whole=False)
    assert len(units) == dataset.eval_rows == 64
    # What would have been known after each look.
    known = {
        n: evaluation.mean_and_error(sums["loss"][:n], units[:n])[1] for n in (4, 8, 16, 32, 64)
    }
    for wanted in (known[4], known[16], 0.9 * min(known.values())):
        seen = next((n for n, error in known.items() if error <= wanted), 64)
        less = tiny(**{"evaluation.batch_size": 4, "evaluation.error": wanted, "steps": 1})
        assert run.step.compile_for(less, dataset.eval_batch(0, 1)) is functions
        evaluator = evaluation.Evaluator(less, dataset, functions)
        part, own, _ = evaluator.rows(state, whole=False)
        assert len(own) == seen
        np.testing.assert_array_equal(part["loss"], sums["loss"][:seen])
        assert len(evaluator.rows(state, whole=True)[1]) == 64  # metrics of the whole set


def test_without_such_an_error_a_config_is_that_of_older_versions():
    older = configuration.to_dict(evaluated())
    for one in (older["evaluation"], *older["evals"].values()):
        assert one.pop("error") == 0
    assert digest_of(older) == configuration.digest(evaluated())
    assert configuration.resolve(older) == evaluated()
    other = config(**{"evaluation.error": 0.01})
    assert configuration.digest(other) != configuration.digest(config())
    assert configuration.other_run(other, configuration.to_dict(config())) == []  # it may change
