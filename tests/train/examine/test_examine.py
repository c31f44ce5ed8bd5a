"""`python -m train.examine` on runs of the toys and of a small language model."""

import dataclasses
import json

import numpy as np
import pytest

from tests import verbs
from tests.train.test_run import stop_at
from tests.train.test_seam import with_toys
from tests.train.toys import config, duel
from train import before, evaluation, record, run, step, workdir
from train.examine import again, examples

__all__ = ["with_toys"]  # a fixture of all tests here


def lines(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "examples.jsonl").read_text().splitlines()]


def test_a_finished_run_is_found_as_it_was_and_its_rows_can_be_read(tmp_path):
    result = run.run(config(**{"evaluation.every": 5}), tmp_path)
    done = verbs.call("train.examine", f"--workdir={tmp_path}", "--rows=7")
    assert done.returncode == 0, done.stderr
    assert "step 12 of 12, 100 rows" in done.stdout
    assert "what the run found, to the bit" in done.stdout
    for name, (value, error) in result.metrics.items():
        assert f"  {name} {value:.6g} +- {error:.4g}\n" in done.stdout
    rows = lines(tmp_path)
    batch = before.open_data(config()).eval_batch(0, 7)
    assert [row["row"] for row in rows] == list(range(7))
    np.testing.assert_allclose([row["batch"]["point"] for row in rows], batch["point"], rtol=1e-5)
    assert [row["units"] for row in rows] == batch["copies"].tolist()
    assert all(row["kept"]["radius"] > 0 for row in rows)
    # An earlier checkpoint is held against what was logged there.
    done = verbs.call("train.examine", f"--workdir={tmp_path}", "--step=10", "--rows=0")
    assert "step 10 of 12" in done.stdout
    assert "what the run found, to the bit" in done.stdout


def test_parts_of_the_set_by_a_column_of_the_data_or_of_what_is_kept(tmp_path):
    run.run(config(), tmp_path)
    done = verbs.call("train.examine", f"--workdir={tmp_path}", "--slices=copies")
    assert done.returncode == 0, done.stderr
    found = again.evaluate(tmp_path, 0, "copies")
    copies = found.columns["copies"]
    for value in (1.0, 2.0, 3.0):
        inside = (copies == value) & (found.units > 0)
        mean = found.sums["loss"][inside].sum() / found.units[inside].sum()
        (row,) = [x for x in done.stdout.splitlines() if x.strip().startswith(f"{value} ")]
        assert row.split()[:3] == [f"{value}", f"{inside.sum()}", f"{mean:.4g}"]
    assert "corrected for 3 x 2 by Holm" in done.stdout
    assert "radius" in found.columns
    assert lines(tmp_path)[0].keys() == {"row", "units", "per_unit", "batch", "kept"}


def test_numbers_that_are_not_those_of_the_record_are_told(tmp_path):
    run.run(duel(), tmp_path)
    held = record.load(tmp_path / "record.json")
    value, error = held.metrics["loss"]
    cases = (
        (1 + 1e-7, "but for rounding: at most 1e-07 of", 0),
        (1.01, f"not what the run found: loss {value * 1.01:.6g}", 1),
    )
    for factor, says, code in cases:
        changed = held.metrics | {"loss": [value * factor, error]}
        record.save(tmp_path / "record.json", dataclasses.replace(held, metrics=changed))
        done = verbs.call("train.examine", f"--workdir={tmp_path}", "--rows=0")
        assert (done.returncode, says in done.stdout) == (code, True), done.stdout


def test_a_run_under_way_is_examined_where_it_is(tmp_path):
    stop_at(config(), tmp_path, 7)
    done = verbs.call("train.examine", f"--workdir={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert "step 7 of 12" in done.stdout
    assert "has not been evaluated at this step" in done.stdout
    assert run.run(config(), tmp_path).status == "ok"


def test_a_run_of_many_devices_is_examined_on_those_that_are_here(tmp_path):
    run.run(config(), tmp_path)
    claim = json.loads((tmp_path / "config.json").read_text())
    claim["config"]["mesh"] |= {"data": 2, "fsdp": 4}
    (tmp_path / "config.json").write_text(json.dumps(claim))
    done = verbs.call("train.examine", f"--workdir={tmp_path}", "--rows=0")
    assert (done.returncode, "to the bit" in done.stdout) == (0, True), done.stderr


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--slices=copis"], "--slices: 'copis'; did you mean 'copies'? allowed: copies, radius"),
        (["--slices=point"], "--slices: 'point' has [2] a row; it must have one value"),
        (["--slices=radius"], "--slices: 'radius' has 100 values; at most 50"),
        (["--step=3"], "--step: 3; there are checkpoints of 10, 12"),
        (["--rows=-1"], "--rows"),
        (["--workdir=/nowhere"], "--workdir: '/nowhere'; it holds no run"),
    ],
)
def test_bad_input_is_one_line(flags, says, tmp_path):
    run.run(config(), tmp_path)
    done = verbs.call("train.examine", f"--workdir={tmp_path}", *flags)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_without_a_checkpoint_there_is_nothing_to_see(tmp_path):
    held = before.open_data(config())
    workdir.claim(tmp_path, config(), held.digest, "now", {})
    done = verbs.call("train.examine", f"--workdir={tmp_path}")
    assert (done.returncode, "it has no checkpoint" in done.stderr) == (2, True)


def test_token_ids_are_text_and_large_arrays_their_kind(tmp_path):
    run.run(config(), tmp_path)
    found = again.evaluate(tmp_path, 0)
    facts = {"decode": lambda ids: "".join(chr(i) for i in ids)}
    n = len(found.units)
    inputs = found.inputs | {"tokens": np.full((n, 3), ord("a")), "image": np.zeros((n, 9, 9))}
    kept = {"label": np.arange(n), "odd": np.full(n, np.nan, np.float32)}
    found = dataclasses.replace(found, facts=facts, inputs=inputs, kept=kept)
    row = json.loads(examples.lines(found, 2)[1])
    assert row["batch"]["tokens"] == "aaa"
    assert row["batch"]["image"] == "float64 [9, 9]"
    assert row["kept"] == {"label": 1, "odd": None}


def test_a_language_model_tells_the_loss_of_each_token_when_it_is_examined_alone(tiny, tmp_path):
    """A run of it has nothing to summarise, so it does not pass over its set for that again."""
    chosen = tiny(steps=4)
    dataset = before.open_data(chosen)
    functions = step.compile_for(chosen, dataset.eval_batch(0, 1))

    def asked(*_):
        raise AssertionError

    deaf = evaluation.Evaluator(chosen, dataset, functions._replace(examine=asked))
    state = functions.init(step.hyper_of(chosen))
    assert set(deaf.metrics(state, True)) == {"loss", "bits_per_byte"}
    run.run(chosen, tmp_path)
    found = again.evaluate(tmp_path, 0)
    assert found.kept["nats"].shape == (64, 32)
    np.testing.assert_allclose(found.kept["nats"].sum(axis=1), found.sums["loss"], rtol=1e-5)
