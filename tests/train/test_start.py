"""Runs that begin with what other runs have learnt."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.train import test_checkpoint
from tests.train.test_run import final_state, stop_at
from tests.train.test_seam import functions_of, group, with_toys
from tests.train.toys import config, duel
from train import checkpoint, evaluation, metrics, record, run, start, step
from train import config as configuration
from train.cli import InputError, Unavailable
from train.identity import digest_of

__all__ = ["with_toys"]  # a fixture of all tests here

ALL = ("step", "params/*", "extra/*", "opt_state/*")


def begun_from(source: Path, make=config, take=("params/*",), **changes):
    return make(**{"start.run": str(source), "start.take": take, **changes})


def equal(a, b) -> None:
    jax.tree.map(np.testing.assert_array_equal, a, b)


def first_state(chosen) -> step.State:
    """That which a run begins with."""
    _, functions = functions_of(chosen)
    taken, _ = start.read(chosen, {}, functions.abstract)
    return jax.device_get(start.graft(functions.init(step.hyper_of(chosen)), taken))


@pytest.fixture
def source(tmp_path) -> Path:
    """A run of 12 steps, evaluated at the end, that has saved steps 10 and 12."""
    run.run(config(), tmp_path / "source")
    return tmp_path / "source"


def test_a_run_is_named_from_where_the_command_is_given(source, monkeypatch):
    monkeypatch.chdir(source.parent)
    theirs = final_state(source, config())
    equal(first_state(begun_from(source.name)).params, theirs.params)


def test_fine_tuning_begins_with_the_other_runs_weights(source, tmp_path):
    theirs = final_state(source, config())
    tuned = begun_from(source, seed=3, **{"optimizer.learning_rate": 1e-4})
    first, seed = first_state(tuned), first_state(config(seed=3))
    equal(first.params, theirs.params)
    equal(first._replace(params=0), seed._replace(params=0))

    result = run.run(tuned, tmp_path / "tuned")
    known = record.load(source / "record.json")
    begun = record.load(tmp_path / "tuned" / "record.json").start
    assert begun == result.start
    assert (
        begun.pop("sha256")
        == json.loads((tmp_path / "tuned/config.json").read_text())["start"]["sha256"]
    )
    assert begun == {
        "run": str(source),
        "step": 12,
        "config_sha256": known.config_sha256,
        "N": known.N,
        "D": known.D,
        "C": known.C,
        "metrics": known.metrics,
    }
    assert (result.D, result.C) == (known.D, known.C)  # its own alone


def test_a_branch_of_a_trunk_goes_on_from_its_step(tmp_path):
    even = {"schedule.name": "constant", "schedule.warmup": 0.0}
    run.run(config(steps=10, **even), tmp_path / "trunk")
    whole = run.run(config(steps=16, **even), tmp_path / "whole")
    branch = begun_from(tmp_path / "trunk", take=ALL, steps=16, **even)
    result = run.run(branch, tmp_path / "branch")
    steps = [line["step"] for line in metrics.read(tmp_path / "branch") if "loss" in line]
    assert steps == [*range(11, 17)]
    assert (result.D, result.start["D"]) == (whole.D * 6 / 16, whole.D * 10 / 16)
    assert result.C["forward"] == pytest.approx(0.6 * result.start["C"]["forward"])
    assert result.metrics == whole.metrics
    equal(
        final_state(tmp_path / "branch", branch),
        final_state(tmp_path / "whole", config(steps=16, **even)),
    )


def test_a_tuned_run_is_judged_by_the_weights_that_it_began_with(source, tmp_path):
    known = record.load(source / "record.json").metrics["loss"]
    still = begun_from(source, seed=3, **{"optimizer.learning_rate": 0.0})
    result = run.run(still, tmp_path / "still")
    assert (result.status, [one["step"] for one in result.evaluations]) == ("ok", [0, 12])
    assert result.evaluations[0]["metrics"]["loss"] == pytest.approx(known, rel=1e-6)
    lost = begun_from(source, seed=3, **{"optimizer.learning_rate": 10.0})
    result = run.run(lost, tmp_path / "lost")
    assert result.status == "diverged"
    assert result.reason.endswith(f"far above the {known[0]:.6g} of the first weights")


@pytest.mark.parametrize(("last", "status"), [(1.2, "ok"), (3.0, "diverged")])
def test_resumed_it_is_judged_by_them_too(last, status, source, tmp_path, monkeypatch):
    losses = iter([1.0, last])  # far from the 9 of what the seed gives
    once = lambda *_, **__: {"loss": [next(losses), 0.01]}  # noqa: E731
    monkeypatch.setattr(evaluation.Evaluator, "metrics", once)
    monkeypatch.setattr(metrics, "rose", lambda *_: True)
    stop_at(begun_from(source), tmp_path / "run", 3)
    result = run.run(begun_from(source), tmp_path / "run")
    says = "" if status == "ok" else "validation loss 3 after step 12, far above the 1 of the first"
    assert (result.status, result.reason) == (status, says + " weights" * bool(says))


@pytest.mark.parametrize("stop", [3, 7])
def test_killed_before_or_after_its_first_checkpoint_it_ends_with_the_same_bits(
    stop, source, tmp_path
):
    tuned = begun_from(source, seed=1)
    result = run.run(tuned, tmp_path / "whole")
    stop_at(tuned, tmp_path / "run", stop)
    if stop == 3:  # as if it had not been able to save
        shutil.rmtree(tmp_path / "run" / "checkpoints")
        # The source has gone on since; the run began with step 12.
        shutil.copytree(source / "checkpoints" / "12", source / "checkpoints" / "13")
    else:
        shutil.rmtree(source)
    again = run.run(tuned, tmp_path / "run")
    assert (again.metrics, again.curve, again.start) == (result.metrics, result.curve, result.start)
    equal(*(final_state(tmp_path / name, tuned) for name in ("whole", "run")))


def test_a_source_that_is_another_one_by_now_is_refused(source, tmp_path):
    tuned = begun_from(source)
    stop_at(tuned, tmp_path / "run", 2)
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    shutil.rmtree(source)
    run.run(config(seed=9), source)
    with pytest.raises(Unavailable, match=r"checkpoints/12 has changed since this run began: sha"):
        run.run(tuned, tmp_path / "run")


def test_players_statistics_and_groups_are_taken_too(tmp_path):
    waits = {"optimizer.groups": [group("critic/*", every=2)]}
    run.run(duel(**waits), tmp_path / "source")
    theirs = final_state(tmp_path / "source", duel(**waits))
    first = first_state(begun_from(tmp_path / "source", duel, ALL, steps=20, **waits))
    equal(first, theirs)
    # The optimizer's state is of another shape where a group is frozen; the weights are not.
    frozen = {"optimizer.groups": [group("critic/*", rate=0.0)]}
    chosen = begun_from(tmp_path / "source", duel, ("params/critic/*", "extra/*"), seed=1, **frozen)
    first = first_state(chosen)
    equal((first.params["critic"], first.extra), (theirs.params["critic"], theirs.extra))
    run.run(chosen, tmp_path / "tuned")
    last = final_state(tmp_path / "tuned", chosen)
    equal(last.params["critic"], theirs.params["critic"])
    assert np.any(last.params["generator"]["Dense_0"]["kernel"] !=
                  first.params["generator"]["Dense_0"]["kernel"])  # fmt: skip


def test_one_part_may_be_taken_under_other_names_and_twice(source):
    renamed = ("params/critic/Dense_0=params/body",)
    chosen = begun_from(source, duel, ("params/critic/Dense_0/*",), **{"start.rename": renamed})
    body = final_state(source, config()).params["body"]
    equal(first_state(chosen).params["critic"]["Dense_0"], body)
    twice = ("params/critic/Dense_0=params/body", "params/generator/Dense_0=params/body")
    chosen = begun_from(source, duel, ("params/*/Dense_0/*",), **{"start.rename": twice})
    _, functions = functions_of(chosen)
    taken, _ = start.read(chosen, {}, functions.abstract)
    kernels = [taken[f"params/{player}/Dense_0/kernel"] for player in ("critic", "generator")]
    equal(*kernels)
    assert len({x.unsafe_buffer_pointer() for x in kernels}) == 2  # a step donates both


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"model.width": 9},
            r"params/body/bias is float32 \[9\], and float32 \[8\] there; .*head/kernel is",
        ),
        (
            {"start.take": ("params/bdy/*",)},
            "'params/bdy/.' takes nothing; did you mean 'par",
        ),
        ({"start.take": ("extra/*",)}, "takes nothing"),
        ({"start.rename": ("params/head=params/tail",)}, "head/bias is float32 .* and not there"),
        ({"start.step": 11}, "config.start.step: 11; .*source has 10, 12"),
        ({"start.run": "/nowhere"}, "config.start.run: '/nowhere'; it has no checkpoint"),
        ({"start.take": ALL}, "config.steps: 12; above 12, the step that config.start goes on"),
        ({"start.take": ()}, "config.start.take: "),
        ({"start.rename": ("params/head",)}, "config.start.rename: 'params/head'; as in"),
    ],
)
def test_what_does_not_agree_is_one_line(changes, says, source, tmp_path):
    with pytest.raises(InputError, match=says) as caught:
        run.run(begun_from(source, **changes), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.parametrize(
    "damage", [test_checkpoint.cut, test_checkpoint.flip, test_checkpoint.lose]
)
def test_a_damaged_source_is_one_line_and_stays_as_it_is(damage, tmp_path):
    wide = {"model.width": 4096}  # weights are the largest of its files
    stop_at(config(**wide), tmp_path / "source", 2)
    damage(tmp_path / "source" / "checkpoints" / "2")
    with pytest.raises(checkpoint.Unreadable, match=r"checkpoints/2/state"):
        run.run(begun_from(tmp_path / "source", **wide), tmp_path / "run")
    assert (tmp_path / "source" / "checkpoints" / "2").is_dir()


def test_a_language_model_goes_on(tiny, tmp_path):
    trunk = tiny(steps=10, **{"model.layers": 1})
    run.run(trunk, tmp_path / "source")
    begun = {"start.run": str(tmp_path / "source"), "start.take": ALL}
    branch = tiny(steps=14, **{"model.layers": 1, **begun})
    equal(first_state(branch), final_state(tmp_path / "source", trunk))
    result = run.run(branch, tmp_path / "run")
    assert (result.start["step"], result.D) == (10, result.start["D"] * 0.4)


def test_without_a_start_a_config_is_that_of_older_versions():
    values = configuration.to_dict(config())
    older = {name: value for name, value in values.items() if name != "start"}
    assert digest_of(older) == configuration.digest(config())
    assert configuration.other_run(config(), older) == []
    assert configuration.resolve(older) == config()
    assert configuration.digest(begun_from(Path("x"))) != configuration.digest(config())
