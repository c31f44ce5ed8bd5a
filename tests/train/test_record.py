"""The files of a run: written whole, read strictly."""

import contextlib
import dataclasses
import json
import os
import re
from importlib.metadata import version
from importlib.util import find_spec

import pytest

from train import config as configuration
from train import record, run
from train.cli import InputError


@pytest.mark.parametrize(("mask", "mode"), [(0o077, 0o600), (0o002, 0o664), (0o022, 0o644)])
def test_files_get_the_mode_that_the_umask_leaves(mask, mode, tmp_path):
    before = os.umask(mask)
    try:
        record.save_text(tmp_path / "a", "text")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == mode


def test_what_a_kill_left_is_swept_and_nothing_else(tmp_path):
    left = tmp_path / ".a.json.01ab23cd.tmp"
    others = [tmp_path / name for name in (".a.json.original", ".b.json.01ab23cd.tmp", "a.json.x")]
    for path in (left, *others):
        path.write_text("half of it")
    with contextlib.ExitStack() as writing:
        file = writing.enter_context(record.replacing(tmp_path / "a.json"))
        record.save_text(tmp_path / "a.json", "another's")  # takes nothing from the one above
        file.write(b"whole")
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "a.json", *others])
    assert (tmp_path / "a.json").read_text() == "whole"


def test_a_file_that_cannot_be_written_is_named_itself(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "a.json", tmp_path / "no" / ("n" * 300)):
        with pytest.raises(OSError, match=r"File exists|name too long") as caught:
            record.save_text(path, "text")
        assert caught.value.filename in (str(path), str(path.parent))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[1]", "list where an object is expected"),
        (b'"text"', "str where an object is expected"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 900 + b"1" + b"}" * 900, "nested deeper than"),
        (b'{"a": NaN}', "not a finite number"),
        (b'{"a": 1e999}', "not a finite number"),
        (b'{"a": ' + b"9" * 5000 + b"}", "5000 digits"),
        (b'{"a": "\xff"}', "can't decode byte 0xff"),
        (b"", "not JSON"),
    ],
)
def test_a_file_that_is_no_json_object_is_one_line(content, says, tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=says) as caught:
        record.load_json(path)
    assert str(caught.value).startswith(str(path))
    assert len(str(caught.value)) < 300


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo"):
        with pytest.raises(InputError, match="not a file"):
            record.load_json(path)


@pytest.fixture
def tiny_record(tiny) -> dict:
    config = tiny()
    numbers = dict.fromkeys(("D", "loss", "loss_se", "epochs"), 1.0)
    texts = dict.fromkeys(("unit", "data_sha256", "started", "finished"), "x")
    made = record.Record(
        run="a",
        status="ok",
        reason="",
        config=configuration.to_dict(config),
        config_sha256=configuration.digest(config),
        seed=0,
        N={"total": 1},
        C={"forward": 1.0},
        curve=[],
        of_record="loss",
        metrics={"loss": [1.0, 1.0]},
        evaluations=[],
        seconds={"total": 1.0},
        device={},
        versions={},
        revision=None,
        **numbers,
        **texts,
    )
    return dataclasses.asdict(made)


def test_records_of_older_versions_are_read(tiny_record, tmp_path):
    newer = ("of_record", "metrics")
    old = {k: v for k, v in tiny_record.items() if k not in newer} | {"bits_per_byte": 1.5}
    old |= {"loss": 2.0, "loss_se": 0.2, "evaluations": [[5, 3.0, 0.3]], "version": 2}
    record.save_json(tmp_path / "2.json", old)
    result = record.load(tmp_path / "2.json")
    assert result.of_record == "loss"
    assert result.metrics == {"loss": [2.0, 0.2], "bits_per_byte": [1.5, pytest.approx(0.15)]}
    assert result.evaluations == [{"step": 5, "metrics": {"loss": [3.0, 0.3]}}]
    for name in ("throughput", "mfu"):  # newer than version 1
        del old[name]
    record.save_json(tmp_path / "1.json", old | {"version": 1})
    result = record.load(tmp_path / "1.json")
    assert (result.throughput, result.mfu) == (None, None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ("[]", "list where an object is expected"),
        ('{"version": 99}', "version: 99; must be 1 to 3"),
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


@pytest.mark.parametrize("changes", [{"loss": -1.25}, {"metrics": {"loss": [1.0, None]}}])
def test_a_record_is_read_as_it_was_written(changes, tiny, tmp_path):
    result = dataclasses.replace(run.run(tiny(steps=1), tmp_path), **changes)
    record.save(tmp_path / "again.json", result)
    assert record.load(tmp_path / "again.json") == result


def test_versions_are_of_all_that_decides_numbers():
    assert {"python", "jax", "jaxlib", "ml_dtypes"} <= set(record.versions())
    assert record.versions().get("qwix") == (version("qwix") if find_spec("qwix") else None)


def test_a_file_is_the_old_one_or_the_new_one(tmp_path):
    path = tmp_path / "file.json"
    record.save_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        record.save_json(path, {"a": float("nan")})
    assert record.load_json(path) == {"a": 1}
    assert os.listdir(tmp_path) == ["file.json"]
