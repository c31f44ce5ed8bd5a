"""The entry points as a person meets them."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT
from train import record

TINY = [
    "--config=configs/gpt.py:width=16",
    "--config.model.layers=1",
    "--config.data.sequence_length=32",
    "--config.data.eval_tokens=1024",
]


def python(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300
    )


def entry_points() -> list[str]:
    found = [f"scaling.{path.parent.name}" for path in sorted(ROOT.glob("scaling/*/__main__.py"))]
    assert {"scaling.plan", "scaling.sweep", "scaling.fit", "scaling.study"} <= set(found)
    return ["train", "train.compile", *found]


@pytest.mark.parametrize("module", entry_points())
def test_help_comes_at_once(module):
    # CPU seconds, for a busy machine's sake; nothing waits in --help, so they are what a person
    # waits on a free one.
    before = os.times()
    result = python(module, "--help")
    after = os.times()
    seconds = (
        after.children_user - before.children_user + after.children_system - before.children_system
    )
    assert result.returncode == 0
    assert "--" in result.stdout
    assert seconds < 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "--config: missing"),
        (["--config=configs/nothing.py"], "nothing.py"),
        (["--config=configs/gpt.py"], "--workdir: missing"),
        (["--config=configs/gpt.py", "--workdir={new}", "--config.model.widht=3"], "width"),
        (["--config=configs/gpt.py", "--workdir={new}", "--config.steps=many"], "steps"),
        (["--config=configs/gpt.py", "--workdir={new}", "--config.steps=-5"], "config.steps: -5"),
        (["--config=configs/gpt.py", "--workdir=/dev/null/x"], "/dev/null/x: Not a directory"),
        (["--config=configs/gpt.py", "--workdir={new}", "--config.data.source=folder:/no"], "/no"),
        (["--unknown=1"], "unknown"),
        (["stray"], "unexpected argument 'stray'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, says, tmp_path):
    result = python("train", *(a.format(new=tmp_path / "new") for a in arguments))
    assert result.returncode == 2, result.stderr
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert says in line


def test_before_the_first_step_it_stops_at_once_and_leaves_no_claim(tmp_path):
    command = ["-m", "train", f"--workdir={tmp_path}", *TINY]
    process = subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, text=True, stderr=subprocess.PIPE
    )
    while not (tmp_path / ".lock").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 75
    (line,) = said.splitlines()
    assert "nothing is lost" in line
    assert not (tmp_path / "config.json").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGHUP, 75)])
def test_one_run_stopped_resumed_and_finished(number, code, tmp_path):
    command = ["train", f"--workdir={tmp_path}", *TINY]
    command.append("--config.steps=2000")
    process = subprocess.Popen(
        [sys.executable, "-m", *command], cwd=ROOT, text=True, stdout=subprocess.PIPE
    )
    metrics = tmp_path / "metrics.jsonl"
    while not metrics.exists() or metrics.stat().st_size == 0:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == code
    assert "the same command goes on from there" in said
    if number == signal.SIGHUP:
        return
    step = re.search(r"stopped after step (\d+) of 2000", said)[1]
    done = python(*command)
    assert done.returncode == 0, done.stderr
    assert f"goes on from step {step} of 2000" in done.stdout
    result = record.load(tmp_path / "record.json")
    assert f"loss {result.loss:.4f}" in done.stdout
    again = python(*command)
    assert again.returncode == 0
    assert "was already finished" in again.stdout
