"""The entry points as a person meets them."""

import os
import signal
import subprocess
import sys

import pytest

from tests import verbs
from tests.conftest import ROOT
from train import record

TINY = [
    "--config=configs/gpt.py:width=16",
    "--config.model.layers=1",
    "--config.data.sequence_length=32",
    "--config.data.eval_tokens=1024",
]


# A train that is where it is to be sent a signal, and stays there however late the signal comes.
MAIN = "\nimport runpy\nrunpy.run_module('train', run_name='__main__', alter_sys=True)"
NEVER_COMPILED = """
import time
from train import step
def wait(*_):
    print("compiles", flush=True)
    time.sleep(600)
step.compile_for = wait
"""
WAITS_AT_STEP_5 = """
import sys
from train import run, stopping
run.at_once = lambda *_: 1
asked, calls = stopping.Requests.asked, []
def wait(self):
    calls.append(1)
    if len(calls) == 5:
        assert not asked(self)
        print("at step 5", flush=True)
        sys.stdin.readline()
        while not asked(self):
            pass
    return asked(self)
stopping.Requests.asked = wait
"""


def start(prepare: str, *arguments: str) -> subprocess.Popen:
    """A process that is `python -m train`, with something changed in it first."""
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    code = [sys.executable, "-c", prepare + MAIN, *arguments]
    return subprocess.Popen(code, cwd=ROOT, text=True, **streams)


def python(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300
    )


def entry_points() -> list[str]:
    found = [f"scaling.{path.parent.name}" for path in sorted(ROOT.glob("scaling/*/__main__.py"))]
    assert {"scaling.plan", "scaling.sweep", "scaling.fit", "scaling.study"} <= set(found)
    return ["train", "train.compile", "train.examine", "train.generate", *found]


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
    result = verbs.call("train", *(a.format(new=tmp_path / "new") for a in arguments))
    assert result.returncode == 2, result.stderr
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert says in line


def test_before_the_first_step_it_stops_at_once_and_leaves_no_claim(tmp_path):
    process = start(NEVER_COMPILED, f"--workdir={tmp_path}", *TINY)
    assert process.stdout.readline() == "compiles\n"
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=600)
    assert process.returncode == 75, said
    assert (tmp_path / ".lock").exists()
    (line,) = said.splitlines()[-1:]
    assert "nothing is lost" in line
    assert not (tmp_path / "config.json").exists()


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGHUP, 75, marks=pytest.mark.slow)],
)
def test_one_run_stopped_resumed_and_finished(number, code, tmp_path):
    command = [f"--workdir={tmp_path}", *TINY, "--config.steps=30"]
    process = start(WAITS_AT_STEP_5, *command)
    assert process.stdout.readline() == "at step 5\n"
    process.send_signal(number)
    said, errors = process.communicate("go on\n", timeout=600)
    assert process.returncode == code, errors
    assert "stopped after step 5 of 30; the same command goes on from there" in said
    if number == signal.SIGHUP:
        return
    done = verbs.call("train", *command)
    assert done.returncode == 0, done.stderr
    assert "goes on from step 5 of 30" in done.stdout
    result = record.load(tmp_path / "record.json")
    assert f"loss {result.loss:.4f}" in done.stdout
    again = verbs.call("train", *command)
    assert again.returncode == 0
    assert "was already finished" in again.stdout
