"""Signals as a process without JAX meets them; tests/train/test_command.py has whole runs."""

import signal
import subprocess
import sys

import pytest

from tests.conftest import ROOT

# `work` says "ready" where it is to be sent a signal.
PROCESS = """
import signal, sys, time
from train import stopping
{before}
requests = stopping.Requests("here")
{work}
"""
WAIT = "print('ready', flush=True); time.sleep(60)"
UNTIL_ASKED = """
assert not requests.asked()
print('ready', flush=True)
while not requests.asked():
    time.sleep(0.01)
"""


def stopped(number: signal.Signals, work: str, before: str = "", times: int = 1):
    """Exit code and standard error of a process that is sent a signal whenever it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROCESS.format(before=before, work=work)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for _ in range(times):
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
    _, said = process.communicate(timeout=60)
    return process.returncode, said.splitlines()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75), (signal.SIGHUP, 75)]
)
def test_without_anything_to_save_a_signal_ends_the_process_at_once(number, code):
    assert stopped(number, WAIT) == (
        code,
        ["here: stopped; nothing is lost, the same command goes on"],
    )
    assert stopped(number, f"requests.asked(); requests.all_saved(); {WAIT}")[0] == code


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75), (signal.SIGHUP, 75)]
)
def test_with_something_to_save_a_signal_asks(number, code):
    found, (line,) = stopped(number, UNTIL_ASKED + "sys.exit(requests.exit_code())")
    assert found == code
    assert "saves after this step" in line


def test_a_second_ctrl_c_does_not_wait():
    code, lines = stopped(signal.SIGINT, UNTIL_ASKED + WAIT, times=2)
    assert code == 130
    assert "stopped without saving; the same command goes on from the last checkpoint" in lines[1]


def test_a_signal_between_the_last_step_and_its_save_ends_it_then():
    code, lines = stopped(signal.SIGTERM, UNTIL_ASKED + "requests.all_saved()\nprint('no')")
    assert code == 75
    assert "all steps are saved" in lines[-1]


def test_sighup_stays_ignored_under_nohup():
    ignored = "signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    work = "print('ready', flush=True); sys.stdin.readline(); print(requests.asked())"
    process = subprocess.Popen(
        [sys.executable, "-c", PROCESS.format(before=ignored, work=work)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGHUP)
    assert process.communicate("go on\n", timeout=60)[0] == "False\n"
    assert process.returncode == 0
