import dataclasses
import json
import logging
import math
import os
import re
import resource
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from scaling.sweep.worker import FORKSERVER
from train import before, checkpoint, metrics, run, step
from train.cli import InputError
from train.config import RunConfig

EXTRA = [{"key": "extra", "key_type": 2}]  # as Orbax names a part of the state


@pytest.fixture
def state() -> step.State:
    """Something to save that needs no model."""
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(size=(64, 32)).astype(np.float32), "b": np.zeros(8, np.float32)}
    state = step.State(np.int32(1), weights, {}, jax.tree.map(np.ones_like, weights))
    return jax.tree.map(jax.numpy.asarray, state)


def like(state: step.State) -> step.State:
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
    )


@pytest.fixture
def keep_two(tiny) -> RunConfig:
    """A run that saves every step and keeps two."""
    return tiny(**{"checkpoint.every": 1, "checkpoint.keep": 2})


def saved(
    workdir: Path,
    state: step.State,
    losses: dict[int, float | None],
    config: RunConfig,
    data_sha256: str = "d",
):
    """Checkpoints with a state at each step of `losses`; the step is in it."""
    checkpoints = checkpoint.Checkpoints(workdir, config, data_sha256)
    for number, loss in losses.items():
        checkpoints.save(number, at(state, number), loss)
    checkpoints.wait()
    return checkpoints


def at(state: step.State, number: int) -> step.State:
    return state._replace(step=jax.numpy.int32(number))


def as_version_1(folder: Path) -> None:
    """Makes of a checkpoint what earlier versions saved: a state and a config."""
    for item in ("run", "metrics"):
        shutil.rmtree(folder / item, ignore_errors=True)


def cut(folder: Path) -> None:
    file = largest(folder)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(folder: Path) -> None:
    file = largest(folder)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))


def lose(folder: Path) -> None:
    shutil.rmtree(folder / "state")


def largest(folder: Path) -> Path:
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def reshard(base: RunConfig, workdir: Path) -> None:
    """Saves a state on one mesh and restores it on others, in a process with 8 devices."""
    jax.config.update("jax_num_cpu_devices", 8)
    example = before.open_data(base).eval_batch(0, 1)

    def abstract(devices: int, **sizes) -> step.State:
        mesh = dataclasses.replace(base.mesh, **{"data": 1, **sizes})
        changed = dataclasses.replace(base, mesh=mesh)
        return step.compile_for(changed, example, jax.devices()[:devices]).abstract

    rng = np.random.default_rng(0)

    def leaf(a: jax.ShapeDtypeStruct) -> jax.Array:
        value = rng.normal(size=a.shape) * 100
        return jax.device_put(value.astype(a.dtype), a.sharding)

    saved = jax.tree.map(leaf, abstract(8, fsdp=8))
    saved = saved._replace(step=jax.device_put(np.int32(3), saved.step.sharding))
    checkpoints = checkpoint.Checkpoints(workdir, base, "d")
    checkpoints.save(3, saved)
    checkpoints.wait()
    digests = {int(checkpoint.digest(saved))}
    for sizes in ({"data": 2, "fsdp": 2, "tensor": 2}, {}, {"tensor": 2, "fsdp": 2}):
        target = abstract(math.prod(sizes.values()), **sizes)
        state = checkpoints.restore(3, target)
        digests.add(int(checkpoint.digest(state)))
        jax.tree.map(np.testing.assert_array_equal, jax.device_get(state), jax.device_get(saved))
        assert jax.tree.all(jax.tree.map(lambda x, a: x.sharding == a.sharding, state, target))
    assert len(digests) == 1


def test_a_state_goes_to_any_mesh_and_back(tiny, tmp_path):
    config = tiny(**{"model.heads": 2, "model.kv_heads": 2, "model.width": 32, "batch_size": 8})
    process = FORKSERVER.Process(target=reshard, args=(config, tmp_path))
    process.start()
    process.join()
    assert process.exitcode == 0


@pytest.mark.parametrize("damage", [cut, flip, lose])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    damage, state, keep_two, tmp_path, capsys
):
    saved(tmp_path, state, {1: None, 2: None}, keep_two).close()
    damage(tmp_path / "checkpoints" / "2")
    checkpoints = checkpoint.Checkpoints(tmp_path, keep_two, "d")
    found, number = checkpoints.restore_newest(like(state))
    assert number == found.step == 1
    jax.tree.map(np.testing.assert_array_equal, found, state)
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "checkpoint 2 cannot be used" in line
    assert "going on from checkpoint 1" in line
    assert (tmp_path / "checkpoints.damaged" / "2").is_dir()
    # Step 2 comes again, and the good one stays until there are two others.
    checkpoints.save(2, at(state, 2))
    checkpoints.wait()
    assert checkpoints.steps() == [1, 2]
    checkpoints.close()


def without_extra(folder: Path) -> None:
    """Makes of a state what versions saved that had no `State.extra`."""
    path = folder / "state" / "_METADATA"
    content = json.loads(path.read_text())
    tree = content["tree_metadata"]
    kept = {k: v for k, v in tree.items() if v["key_metadata"][1:2] != EXTRA}
    assert len(kept) == len(tree) - 1
    path.write_text(json.dumps(content | {"tree_metadata": kept}))


def test_a_checkpoint_of_versions_that_knew_no_extra_is_restored(state, keep_two, tmp_path):
    saved(tmp_path, state, {1: None, 2: None}, keep_two).close()
    without_extra(tmp_path / "checkpoints" / "2")
    checkpoints = checkpoint.Checkpoints(tmp_path, keep_two, "d")
    found, number = checkpoints.restore_newest(like(state))
    checkpoints.close()
    assert number == 2
    jax.tree.map(np.testing.assert_array_equal, found, at(state, 2))


def test_where_none_can_be_used_nothing_is_touched(state, keep_two, tmp_path):
    saved(tmp_path, state, {1: None, 2: None}, keep_two).close()
    for number in "12":
        cut(tmp_path / "checkpoints" / number)
    checkpoints = checkpoint.Checkpoints(tmp_path, keep_two, "d")
    with pytest.raises(InputError, match=r"no checkpoint can be used: .*checkpoints/2.*points/1"):
        checkpoints.restore_newest(like(state))
    checkpoints.close()
    assert {"1", "2"} <= set(os.listdir(tmp_path / "checkpoints"))


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("changes", "data_sha256", "number", "says"),
    [
        ({"seed": 1}, "d", 4, "config.seed: 0, not 1"),
        ({"steps": 80}, "d", 4, "config.steps: 40, not 80"),
        ({"optimizer.learning_rate": 0.5}, "d", 4, "config.optimizer.learning_rate"),
        ({}, "other", 4, "checkpoint.data_sha256: 'd', not 'other'"),
        ({}, "d", 3, "3, not 4|not 3"),
    ],
)
def test_a_checkpoint_of_another_run_or_step_is_set_aside(
    changes, data_sha256, number, says, version, state, tiny, tmp_path, capsys
):
    ours = tiny()
    foreign = tiny(**changes)
    saved(tmp_path / "theirs", state, {number: None}, foreign, data_sha256).close()
    saved(tmp_path, state, {2: None}, ours).close()
    folder = tmp_path / "checkpoints" / "4"
    (tmp_path / "theirs" / "checkpoints" / str(number)).rename(folder)
    if version == 1:
        as_version_1(folder)
    checkpoints = checkpoint.Checkpoints(tmp_path, ours, "d")
    found, number = checkpoints.restore_newest(like(state))
    checkpoints.close()
    if version == 1 and data_sha256 == "other":  # which it could not tell
        assert number == 4
        return
    assert number == found.step == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "checkpoint 4 cannot be used" in line
    assert re.search(says, line)
    assert (tmp_path / "checkpoints.damaged" / "4").is_dir()


def test_an_old_checkpoint_of_another_run_does_not_stay_among_the_best(state, tiny, tmp_path):
    ours = tiny(**{"checkpoint.best": 1, "evaluation.every": 1})
    saved(tmp_path / "theirs", state, {1: 0.1}, tiny(seed=1)).close()
    saved(tmp_path, state, {2: 5.0, 3: 6.0}, ours).close()
    (tmp_path / "theirs" / "checkpoints" / "1").rename(tmp_path / "checkpoints" / "1")
    checkpoints = checkpoint.Checkpoints(tmp_path, ours, "d")
    assert checkpoints.restore_newest(like(state))[1] == 3
    assert checkpoints.steps() == [2, 3]
    checkpoints.close()


def test_a_run_may_go_on_elsewhere_and_save_more_often(state, tiny, tmp_path):
    saved(tmp_path, state, {1: None}, tiny()).close()
    changes = {"mesh.data": 2, "mesh.fsdp": 4, "accumulate": 2, "checkpoint.every": 3}
    checkpoints = checkpoint.Checkpoints(tmp_path, tiny(**changes), "d")
    assert checkpoints.restore_newest(like(state))[1] == 1
    checkpoints.close()


def test_what_a_run_took_is_saved_with_it(state, keep_two, tmp_path):
    checkpoints = saved(tmp_path, state, {1: None}, keep_two)
    checkpoints.save(2, at(state, 2), seconds={"train": 1.5, "total": 2.0})
    checkpoints.wait()
    assert checkpoints.seconds(2) == {"train": 1.5, "total": 2.0}
    as_version_1(tmp_path / "checkpoints" / "2")
    assert checkpoints.seconds(2) == {}
    checkpoints.close()


def test_the_newest_and_the_best_are_kept(state, tiny, tmp_path):
    losses = {1: 5.0, 2: 3.0, 3: None, 4: 4.0, 5: 6.0, 6: None, 7: 7.0}
    kept = tiny(**{"checkpoint.keep": 2, "checkpoint.best": 2, "evaluation.every": 1})
    checkpoints = saved(tmp_path, state, losses, kept)
    assert checkpoints.steps() == [2, 4, 6, 7]
    checkpoints.close()
    # After a restart as well: what is best is on disk.
    again = saved(tmp_path, state, {8: None, 9: 3.5, 10: 9.0}, kept)
    assert again.steps() == [2, 9, 10]
    # A loss that is known after the save displaces the worst of the best.
    again.note({10: 1.0, 77: 0.0})
    assert again.steps() == [2, 9, 10]
    again.save(11, at(state, 11))
    again.save(12, at(state, 12))
    again.wait()
    assert again.steps() == [2, 9, 11, 12]
    again.note({12: 2.5, 11: 8.0})
    assert again.steps() == [2, 11, 12]
    again.close()


def test_losses_of_checkpoints_saved_without_are_written_to_them(state, tiny, tmp_path):
    kept = tiny(**{"checkpoint.keep": 1, "checkpoint.best": 2, "evaluation.every": 1})
    saved(tmp_path, state, {1: 5.0, 2: 3.0, 3: 4.0, 4: 6.0}, kept).close()
    for number in "234":
        as_version_1(tmp_path / "checkpoints" / number)
    checkpoints = checkpoint.Checkpoints(tmp_path, kept, "d")
    checkpoints.note({1: 5.0, 2: 3.0, 3: 4.0, 4: 6.0})
    checkpoints.save(5, at(state, 5), 3.5)
    checkpoints.wait()
    assert checkpoints.steps() == [2, 5]
    checkpoints.close()


@pytest.mark.parametrize("stop", [None, 33])
def test_a_run_keeps_its_best_also_when_it_was_stopped(stop, tiny, tmp_path):
    changes = {"evaluation.every": 5, "optimizer.learning_rate": 0.5, "optimizer.clip_norm": 0.0}
    config = tiny(**changes, **{"checkpoint.every": 0, "checkpoint.keep": 1, "checkpoint.best": 2})
    if stop:
        polls = []
        with pytest.raises(run.Interrupted):
            run.run(config, tmp_path, should_stop=lambda: polls.append(1) or len(polls) == stop)
    result = run.run(config, tmp_path)
    losses = {x["step"]: x["metrics"]["loss"][0] for x in result.evaluations}
    assert len(losses) == 8
    best = sorted(losses, key=losses.get)[:2]
    found = {int(p.name) for p in (tmp_path / "checkpoints").iterdir()}
    assert found == {*best, 40}


def test_the_best_needs_evaluations(tiny):
    with pytest.raises(InputError, match=r"config.evaluation.every: 0; above 0 for checkpoint"):
        tiny(**{"checkpoint.best": 1})


def test_a_full_disk_stops_the_run_and_leaves_the_old_checkpoints(tiny, tmp_path):
    config, polls = tiny(), []
    with pytest.raises(run.Interrupted):
        run.run(config, tmp_path, should_stop=lambda: polls.append(1) or len(polls) == 12)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # No file may grow beyond this: logs fit, a state does not.
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(checkpoint.SaveError, match=r"cannot save: .*step 12 is whole") as said:
            run.run(config, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(said.value)
    assert run.finished(tmp_path) is None
    assert run.run(config, tmp_path).status == "ok"
    steps = [line["step"] for line in metrics.read(tmp_path) if "loss" in line]
    assert steps == list(range(1, 41))


@pytest.mark.parametrize("leaf", range(5))
def test_the_digest_sees_a_bit(leaf, state):
    leaves, tree = jax.tree.flatten(jax.tree.map(np.array, state))
    before = int(checkpoint.digest(jax.tree.unflatten(tree, leaves)))
    leaves[leaf].reshape(-1).view(np.uint32)[-1] ^= 1 << 13
    assert int(checkpoint.digest(jax.tree.unflatten(tree, leaves))) != before


def test_brackets_in_a_workdirs_name_hide_no_checkpoint(tiny, tmp_path):
    workdir, asked = tmp_path / "lr[0.1] *?", []
    with pytest.raises(run.Interrupted):
        run.run(tiny(steps=4), workdir, should_stop=lambda: asked.append(1) or len(asked) == 2)
    seen = []
    result = run.run(tiny(steps=4), workdir, resumed=seen.append)
    assert (seen, result.status) == ([2], "ok")


@pytest.mark.parametrize(("file", "shown"), [("/lib/orbax/a.py", 0), ("/lib/other.py", 1)])
def test_what_a_save_failed_of_is_told_once(file, shown, caplog):
    why = OSError("full")
    failed = logging.LogRecord("absl", logging.ERROR, file, 1, "failed", (), (OSError, why, None))
    logging.getLogger("absl").handle(failed)
    assert len(caplog.records) == shown
