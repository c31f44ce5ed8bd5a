import json
import math
import random
import re
import shutil
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path
from unittest import mock

import jax
import numpy as np
import pytest

from configs import linear
from scaling.sweep.worker import FORKSERVER
from train import before, cache, checkpoint, evaluation, metrics, record, run, step
from train import config as configuration
from train.cli import InputError


def final_state(workdir: Path, config) -> step.State:
    functions = step.compile_for(config, before.open_data(config).eval_batch(0, 1))
    checkpoints = checkpoint.Checkpoints(workdir, config, before.open_data(config).digest)
    state = checkpoints.restore(config.steps, functions.abstract)
    checkpoints.close()
    return jax.device_get(state)


def without_pace(lines: list[dict[str, float]]) -> list[dict[str, float]]:
    """What a run has computed, without how fast."""
    return [{k: v for k, v in x.items() if k not in ("tokens_per_second", "mfu")} for x in lines]


def assert_same_run(a: Path, b: Path, config) -> None:
    """Identical to the bit: parameters, optimizer state, logged numbers, the loss of record."""
    assert without_pace(metrics.read(a)) == without_pace(metrics.read(b))
    assert [line["step"] for line in metrics.read(a) if "loss" in line] == list(range(1, 41))
    jax.tree.map(np.testing.assert_array_equal, final_state(a, config), final_state(b, config))
    ours, theirs = record.load(a / "record.json"), record.load(b / "record.json")
    assert (ours.loss, ours.loss_se, ours.curve) == (theirs.loss, theirs.loss_se, theirs.curve)


def go_on_until_killed(values: dict, workdir: Path, last: int, told: Connection) -> None:
    """A run that says its steps and waits after the step `last`, however late it is killed."""
    cache.use_cache()

    def progress(step: int, *_) -> None:
        told.send(step)
        if step >= last:
            time.sleep(600)

    run.run(configuration.resolve(values), workdir, progress=progress)


def kill_after(step: int, delay: float, config, workdir: Path) -> None:
    """Starts a run in a process of its own, and kills that."""
    ours, theirs = FORKSERVER.Pipe(duplex=False)
    given = (configuration.to_dict(config), workdir, 38, theirs)
    process = FORKSERVER.Process(target=go_on_until_killed, args=given)
    process.start()
    theirs.close()
    while ours.recv() < step:
        pass
    time.sleep(delay)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """A run that nobody disturbs."""
    return tmp_path_factory.mktemp("unbroken") / "run"


@pytest.mark.parametrize(
    ("kind", "kills"),
    [("between saves", 1), pytest.param("while saving", 2, marks=pytest.mark.slow)],
)
def test_a_killed_run_ends_with_the_same_bits(kind, kills, tiny, unbroken, tmp_path):
    # "while saving" saves every step, so that whenever the process dies a save is under way.
    config = tiny(**{"model.dropout": 0.1, "checkpoint.every": 7 if kind == "between saves" else 1})
    run.run(config, unbroken)
    draw = random.Random(kind)
    workdir = tmp_path / "run"
    for _ in range(kills):
        kill_after(draw.randint(5, 35), draw.random() * 0.05, config, workdir)
    assert run.finished(workdir) is None
    run.run(config, workdir)
    assert_same_run(workdir, unbroken, config)


def test_a_stopped_run_goes_on_from_where_it_stopped(tiny, unbroken, tmp_path):
    config = tiny(**{"model.dropout": 0.1})
    run.run(config, unbroken)
    steps = []
    with pytest.raises(run.Interrupted, match="after step 12 of 40"):
        run.run(config, tmp_path / "run", should_stop=lambda: steps.append(1) or len(steps) == 12)
    assert run.finished(tmp_path / "run") is None
    seen = []
    run.run(
        config,
        tmp_path / "run",
        progress=lambda step, *_: seen.append(step),
        resumed=lambda step: seen.append(f"from {step}"),
        saved=lambda: seen.append("saved"),
    )
    assert seen == ["from 12", *range(13, 41), "saved"]
    assert_same_run(tmp_path / "run", unbroken, config)


def test_a_finished_run_does_nothing(tiny, tmp_path):
    config = tiny(steps=3)
    first = run.run(config, tmp_path)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.json*") if p.name != "config.json"}
    assert run.run(config, tmp_path) == first
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_a_workdir_holds_one_run(tiny, tmp_path):
    run.run(tiny(steps=2), tmp_path)
    with pytest.raises(InputError, match=re.escape("config.steps: 3, not 2; give a new workdir")):
        run.run(tiny(steps=3), tmp_path)


@pytest.mark.parametrize("when", ["before it is evaluated", "before its record is written"])
def test_a_trained_run_is_on_disk_before_it_is_evaluated(when, tiny, unbroken, tmp_path):
    config = tiny(**{"model.dropout": 0.1})
    run.run(config, unbroken)

    class Killed(BaseException):
        pass

    def die(*_):
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run._Run, "evaluate" if "evaluated" in when else "record", die)
        with pytest.raises(Killed):
            run.run(config, tmp_path / "run")
    assert (tmp_path / "run" / "checkpoints" / "40").is_dir()
    seen = []
    run.run(config, tmp_path / "run", progress=lambda step, *_: seen.append(step))
    assert seen == []
    assert_same_run(tmp_path / "run", unbroken, config)


def test_a_stop_at_the_last_step_saves_it(tiny, unbroken, tmp_path):
    config, polls = tiny(**{"model.dropout": 0.1}), []
    run.run(config, unbroken)
    with pytest.raises(run.Interrupted, match="after step 40 of 40"):
        run.run(config, tmp_path / "run", should_stop=lambda: polls.append(1) or len(polls) == 40)
    run.run(config, tmp_path / "run")
    assert_same_run(tmp_path / "run", unbroken, config)


def stop_at(config, workdir: Path, step: int) -> None:
    """Leaves a run as a stop after some steps does, taken one by one."""
    polls = []
    one = mock.patch.object(run, "at_once", return_value=1)
    with one, pytest.raises(run.Interrupted):
        run.run(config, workdir, should_stop=lambda: polls.append(1) or len(polls) == step)


def test_a_run_has_one_start_and_the_seconds_of_all_its_calls(tiny, tmp_path):
    config = tiny()
    stop_at(config, tmp_path, 5)
    started = json.loads((tmp_path / "config.json").read_text())["started"]
    beside = tmp_path / "checkpoints" / "5" / "run" / "metadata"
    content = json.loads(beside.read_text())
    assert content["seconds"]["total"] > 0
    beside.write_text(json.dumps(content | {"seconds": {"train": 900.0, "log": 9.0, "total": 1e3}}))
    result = run.run(config, tmp_path)
    assert result.started == started
    assert 900 < result.seconds["train"] < result.seconds["total"] - 9
    assert 1e3 < result.seconds["total"] < 1e3 + 600
    assert sum(v for k, v in result.seconds.items() if k != "total") == pytest.approx(
        result.seconds["total"], abs=0.01
    )


def test_how_often_a_run_is_looked_at_may_change_under_way(tiny, tmp_path):
    before_it = tiny(steps=8, log_every=4)
    stop_at(before_it, tmp_path / "run", 4)
    changes = {"evaluation.every": 3, "evaluation.batch_size": 32}
    changed = tiny(steps=8, log_every=1, **changes)
    result, whole = run.run(changed, tmp_path / "run"), run.run(changed, tmp_path / "whole")
    assert result.loss == pytest.approx(whole.loss, rel=1e-6)
    assert result.config_sha256 == whole.config_sha256 == configuration.digest(changed)
    assert configuration.digest(changed) != configuration.digest(before_it)  # as in old files
    assert [x["step"] for x in result.evaluations] == [6, 8]
    assert [step for step, _ in result.curve] == [1, 4, 5, 6, 7, 8]
    states = [final_state(tmp_path / name, changed) for name in ("run", "whole")]
    jax.tree.map(np.testing.assert_array_equal, *states)


def test_a_folder_of_version_1_is_refused_in_one_line(tiny, tmp_path):
    config = tiny(**{"checkpoint.every": 0})
    stop_at(config, tmp_path, 5)
    shutil.rmtree(tmp_path / "checkpoints" / "5" / "run")
    claim = tmp_path / "config.json"
    claim.write_text(json.dumps(configuration.to_dict(config)))
    with pytest.raises(InputError, match=r"config.seed: 1, not 0; give a new workdir"):
        run.run(tiny(seed=1), tmp_path)
    # It does not say of which data and in which order it is, and must not go on in another one.
    with pytest.raises(InputError, match=r"config.data: .* in another order; give a new workdir"):
        run.run(config, tmp_path)


def table(path: Path, seed: int):
    """A run of seconds on a table drawn from a seed."""
    rows = np.random.default_rng(seed).normal(size=(64, 2))
    path.write_text("a,y\n" + "".join(f"{a},{y}\n" for a, y in rows))
    config = linear.get_config()
    changes = {"source": f"csv:{path}", "target": "y", "features": 0, "eval_examples": 0}
    config.update_from_flattened_dict({f"data.{k}": v for k, v in changes.items()})
    config.model.features, config.steps, config.batch_size = 1, 6, 4
    return configuration.resolve(config.to_dict())


def test_data_that_changed_between_two_calls_are_refused(tmp_path):
    file, workdir = tmp_path / "table.csv", tmp_path / "run"
    stop_at(table(file, 0), workdir, 3)
    config = table(file, 1)
    with pytest.raises(InputError, match=r"config.data: the data have changed .*give a new work"):
        run.run(config, workdir)
    assert run.run(table(file, 0), workdir).status == "ok"


@pytest.mark.parametrize(
    "wrong", [{"model.vocab_size": 100}, {"mesh.data": 3}, {"model.activation": "relu"}]
)
def test_a_run_that_was_refused_claims_nothing(wrong, tiny, tmp_path):
    with pytest.raises(InputError):
        run.run(tiny(**wrong), tmp_path)
    assert run.run(tiny(steps=1), tmp_path).status == "ok"


def test_a_first_step_that_fails_claims_nothing(tiny, tmp_path, monkeypatch):
    # As for want of memory, which only the step itself shows.
    config = tiny(batch_size=8)
    functions = step.compile_for(config, before.open_data(config).eval_batch(0, 1))
    broken = functions._replace(train=lambda *_: 1 / 0)
    with monkeypatch.context() as patch:
        patch.setattr(step, "compile_for", lambda *_: broken)
        with pytest.raises(ZeroDivisionError):
            run.run(config, tmp_path)
    assert run.run(tiny(steps=1), tmp_path).status == "ok"


def test_two_processes_cannot_share_a_workdir(tiny, tmp_path):
    with run.locked(tmp_path), pytest.raises(InputError, match="another process is at work here"):
        run.run(tiny(), tmp_path)


def test_a_run_that_diverges_says_so(tiny, tmp_path):
    config = tiny(**{"optimizer.learning_rate": 1e30, "optimizer.clip_norm": 0.0})
    result = run.run(config, tmp_path)
    assert result.status == "diverged"
    assert re.fullmatch(r"(loss|[a-z]+_norm) (nan|inf) at step \d+", result.reason)
    assert result.loss is None
    assert record.load(tmp_path / "record.json") == result


def test_a_run_that_ends_far_above_its_start_has_diverged(tmp_path):
    values = linear.get_config()
    values.optimizer.name, values.optimizer.learning_rate = "adamw", 1e6
    values.data.features, values.data.eval_examples, values.model.features = 8, 64, 4
    values.steps, values.log_every = 40, 20
    result = run.run(configuration.resolve(values.to_dict()), tmp_path)
    assert result.status == "diverged"
    found = re.fullmatch(
        r"validation loss (\S+) after step 40, far above the (\S+) of the first weights",
        result.reason,
    )
    assert float(found[1]) == pytest.approx(result.evaluations[-1]["metrics"]["loss"][0], rel=1e-5)
    assert float(found[1]) > 1e3
    assert 0.1 < float(found[2]) < 10
    assert [point[0] for point in result.curve] == [1, 20, 40]
    assert result.loss is None


def test_a_run_that_learns_by_heart_is_not_taken_for_diverged(tiny, tmp_path, monkeypatch):
    # Its validation loss rises, its training loss falls.
    monkeypatch.setattr(evaluation.Evaluator, "metrics", lambda *_, **__: {"loss": [500.0, 1.0]})
    assert run.run(tiny(), tmp_path).status == "ok"


@pytest.mark.parametrize(
    ("loss", "initial", "error", "far"),
    [
        (6.8e11, 5.5, 0.1, True),
        (11.2, 5.5, 0.1, True),
        (10.0, 5.5, 0.1, False),
        (-5.0, -5.5, 0.1, False),
        (3.0, -1.0, 0.1, True),
        (0.5, 0.01, 0.1, False),  # by chance, perhaps
        (5.5, 5.5, math.inf, False),
    ],
)
def test_far_above(loss, initial, error, far):
    assert evaluation.far_above(loss, initial, error) == far


def test_a_batch_that_nobody_sent_to_the_devices_is_an_error(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(run.hosts, "batch", lambda read, size, sharding: read(0, 1))
    with pytest.raises(Exception, match="Disallowed host-to-device transfer"):
        run.run(tiny(), tmp_path)


def test_the_record_tells_all(tiny, tmp_path):
    config = tiny(**{"evaluation.every": 15})
    result = run.run(config, tmp_path, name="a name")
    assert result.run == "a name"
    assert configuration.resolve(result.config) == config
    assert result.config_sha256 == configuration.digest(config)
    assert result.D == 40 * 4 * 32
    assert result.N["total"] == sum(result.N[k] for k in ("embedding", "body", "head"))
    assert result.C["6nd"] == 6 * result.N["total"] * result.D
    assert [x["step"] for x in result.evaluations] == [15, 30, 40]
    assert result.evaluations[-1]["metrics"] == result.metrics
    assert result.metrics[result.of_record] == [result.loss, result.loss_se]
    assert result.curve[-1][0] == 40
    assert 0 < result.loss_se < 0.2 < result.loss
    # A byte a token, but for the separators.
    bits = [x / np.log(2) for x in result.metrics["loss"]]
    assert result.metrics["bits_per_byte"] == pytest.approx(bits, rel=0.02)
    assert sum(v for k, v in result.seconds.items() if k != "total") == pytest.approx(
        result.seconds["total"], abs=0.01
    )
    assert record.load(tmp_path / "record.json") == result
    assert result.throughput > 0
    assert result.mfu is None  # of no peak
    assert sum("tokens_per_second" in line for line in metrics.read(tmp_path)) > 10
    assert list((tmp_path / "tensorboard").iterdir())


def test_the_loss_of_record_does_not_depend_on_the_evaluation_batch(tiny, tmp_path):
    a = run.run(tiny(steps=2), tmp_path / "a")
    b = run.run(tiny(steps=2, **{"evaluation.batch_size": 7}), tmp_path / "b")
    assert a.loss == pytest.approx(b.loss, rel=1e-6)
    assert a.loss_se == pytest.approx(b.loss_se, rel=1e-5)


def test_the_split_of_a_folder_is_told(tiny, tmp_path):
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "train.txt").write_text("an old tale of the sea\n" * 40)
    (texts / "val.txt").write_text("an old tale of the land\n" * 20)
    told = []
    config = tiny(**{"data.source": f"folder:{texts}", "steps": 2})
    run.run(config, tmp_path / "run", tell=told.append)
    assert told == [
        f"folder:{texts}: 1 document, 920 bytes to train on; "
        "1 document, 480 bytes (34.3%) held out: by name"
    ]


def test_the_vocabulary_must_hold_the_data(tiny, tmp_path):
    with pytest.raises(
        InputError, match=r"config.model.vocab_size: 100; the data needs at least \d+"
    ):
        run.run(tiny(**{"model.vocab_size": 100}), tmp_path)
