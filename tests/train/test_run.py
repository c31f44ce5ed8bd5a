import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.conftest import ROOT
from train import checkpoint, metrics, record, run, step
from train import config as configuration
from train.cli import InputError

KILLED_RUN = """
import json, sys
from pathlib import Path
from train import compilation, config, run
compilation.use_cache()
values, workdir = json.load(open(sys.argv[1])), Path(sys.argv[2])
run.run(config.resolve(values), workdir,
        progress=lambda step, *_: print(step, flush=True))
"""


def final_state(workdir: Path, config) -> step.State:
    functions = step.compile_for(config, run.open_data(config).eval_batch(0, 1))
    checkpoints = checkpoint.Checkpoints(workdir, config, run.open_data(config).digest)
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


def start(workdir: Path, config) -> subprocess.Popen:
    values = workdir.with_suffix(".json")
    values.write_text(json.dumps(configuration.to_dict(config)))
    return subprocess.Popen(
        [sys.executable, "-c", KILLED_RUN, str(values), str(workdir)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def kill_after(process: subprocess.Popen, step: int, delay: float) -> None:
    for line in process.stdout:
        if int(line) >= step:
            break
    time.sleep(delay)
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """A run that nobody disturbs."""
    return tmp_path_factory.mktemp("unbroken") / "run"


@pytest.mark.parametrize("kind", ["between saves", "while saving"])
def test_a_killed_run_ends_with_the_same_bits(kind, tiny, unbroken, tmp_path):
    # "while saving" saves every step, so that whenever the process dies a save is under way.
    config = tiny(**{"model.dropout": 0.1, "checkpoint.every": 7 if kind == "between saves" else 1})
    run.run(config, unbroken)
    draw = random.Random(kind)
    workdir = tmp_path / "run"
    for _ in range(2):
        process = start(workdir, config)
        kill_after(process, draw.randint(5, 35), draw.random() * 0.05)
        assert process.returncode == -signal.SIGKILL
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
    run.run(config, tmp_path / "run", progress=lambda step, *_: seen.append(step))
    assert seen == list(range(13, 41))
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


def test_two_processes_cannot_share_a_workdir(tiny, tmp_path):
    with run.locked(tmp_path), pytest.raises(InputError, match="another process is at work here"):
        run.run(tiny(), tmp_path)


def test_a_run_that_diverges_says_so(tiny, tmp_path):
    config = tiny(**{"optimizer.learning_rate": 1e30, "optimizer.clip_norm": 0.0})
    result = run.run(config, tmp_path)
    assert result.status == "diverged"
    assert re.fullmatch(r"(loss|grad_norm) (nan|inf) at step \d+", result.reason)
    assert result.loss is None
    assert record.load(tmp_path / "record.json") == result


def test_the_record_tells_all(tiny, tmp_path):
    config = tiny(**{"evaluation.every": 15})
    result = run.run(config, tmp_path, name="a name")
    assert result.run == "a name"
    assert configuration.resolve(result.config) == config
    assert result.config_sha256 == configuration.digest(config)
    assert result.D == 40 * 4 * 32
    assert result.N["total"] == sum(result.N[k] for k in ("embedding", "body", "head"))
    assert result.C["6nd"] == 6 * result.N["total"] * result.D
    assert [point[0] for point in result.evaluations] == [15, 30, 40]
    assert result.evaluations[-1][1:] == [result.loss, result.loss_se]
    assert result.curve[-1][0] == 40
    assert 0 < result.loss_se < 0.2 < result.loss
    assert result.bits_per_byte == pytest.approx(result.loss / np.log(2), rel=0.02)
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


def test_the_vocabulary_must_hold_the_data(tiny, tmp_path):
    with pytest.raises(
        InputError, match=r"config.model.vocab_size: 100; the data needs at least \d+"
    ):
        run.run(tiny(**{"model.vocab_size": 100}), tmp_path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ("[]", "list where an object is expected"),
        ('{"version": 99}', "version: 99; must be 1"),
        ('{"version": 1}', "missing"),
    ],
)
def test_a_corrupt_record_is_named(text, says, tmp_path):
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(InputError, match=f"{re.escape(str(path))}.*{says}"):
        record.load(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [("loss_se", -1.0), ("loss", "low"), ("D", -2.0), ("status", "fine"), ("N", 3)],
)
def test_a_record_with_a_wrong_number_is_refused(field, value, tiny, tmp_path):
    run.run(tiny(steps=1), tmp_path)
    path = tmp_path / "record.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {field: value}))
    with pytest.raises(InputError, match=f"record.json: {field}"):
        record.load(path)


def test_a_file_is_the_old_one_or_the_new_one(tmp_path):
    path = tmp_path / "file.json"
    record.save_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        record.save_json(path, {"a": float("nan")})
    assert record.load_json(path) == {"a": 1}
    assert os.listdir(tmp_path) == ["file.json"]
