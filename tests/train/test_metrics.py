"""Metrics as a crash or another program leaves them."""

import errno
import json
import os

import pytest

from train import metrics


def test_what_is_damaged_is_left_out_and_the_rest_is_kept(tmp_path, capsys):
    good = [{"step": 1, "loss": 4.0}, {"step": 2, "loss": 3.0}, {"step": 2, "eval_loss": 3.5}]
    later = {"step": 9, "loss": 1.0}
    lines = [json.dumps(line).encode() for line in (*good, later)]
    damaged = [b"\0\0\0\0" + lines[1], b"\xff", b"[1]", b'{"step": "2"}', b"[" * 100_000]
    cut_off = lines[3][:10]
    content = b"\n".join([lines[0], *damaged, lines[1], lines[2], lines[3], cut_off])
    (tmp_path / metrics.FILE).write_bytes(content)
    assert metrics.read(tmp_path) == [*good, later]
    metrics.Writer(tmp_path, 2).close()
    assert metrics.read(tmp_path) == good
    said = capsys.readouterr().err
    assert "metrics.jsonl: 5 damaged lines are dropped, the first of them line 2" in said
    metrics.Writer(tmp_path, 2).close()
    assert capsys.readouterr().err == ""


def test_a_line_cut_off_by_a_kill_is_not_worth_a_word(tmp_path, capsys):
    (tmp_path / metrics.FILE).write_text('{"step": 1, "loss": 4.0}\n{"step": 2, "lo')
    metrics.Writer(tmp_path, 1).close()
    assert metrics.read(tmp_path) == [{"step": 1, "loss": 4.0}]
    assert capsys.readouterr().err == ""


def test_steps_come_in_order_and_once(tmp_path):
    lines = [(3, 3.0), (1, 1.0), (3, 3.5), (2, 2.0)]
    text = "".join(json.dumps({"step": step, "loss": loss}) + "\n" for step, loss in lines)
    (tmp_path / metrics.FILE).write_text(text)
    assert [line["loss"] for line in metrics.read(tmp_path)] == [1.0, 2.0, 3.5]


@pytest.mark.parametrize("method", ["write_event", "flush"])
def test_a_run_goes_on_where_tensorboard_cannot_be_written(method, tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    writer = metrics.Writer(tmp_path, 0)
    writer.write(1, {"loss": 1.0})
    monkeypatch.setattr(metrics.EventsWriter, method, full)
    for step in range(2, 50):  # more than any queue holds
        writer.write(step, {"loss": 1.0})
    writer.close()
    assert len(metrics.read(tmp_path)) == 49
    said = capsys.readouterr().err
    assert said == (
        f"warning: {tmp_path}/tensorboard: No space left on device; goes on without TensorBoard\n"
    )


def test_tensorboard_has_every_value(tmp_path):
    writer = metrics.Writer(tmp_path, 0)
    for step in range(1, 4):
        writer.write(step, {"loss": 1.0, "rate": 2.0})
    (file,) = (tmp_path / "tensorboard").iterdir()
    assert file.name.startswith("events.out.tfevents.")
    content = file.read_bytes()  # at once, for who looks on
    assert content.count(b"loss") == content.count(b"rate") == 3
    writer.close()
