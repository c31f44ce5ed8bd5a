import os
import signal
import subprocess
import sys

import pytest

from data.sources import bpe
from data.sources.tokens import token_streams


class Documents:
    """Two documents."""

    fingerprint, rule, note = "two", "", ""

    def __iter__(self):
        yield False, b"some text"
        yield True, b"other text"


class Stop(BaseException):
    """What a handler of a signal raises."""


def test_a_signal_ends_a_build_at_once(empty_cache, monkeypatch):
    # A tokenizer that never answers, as the library does not for minutes.
    forever = (sys.executable, "-c", "import signal; signal.pause()")
    monkeypatch.setattr(bpe, "COMMAND", forever)
    started = []

    class Recorded(subprocess.Popen):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            started.append(self)
            signal.setitimer(signal.ITIMER_REAL, 0.1)

    monkeypatch.setattr(subprocess, "Popen", Recorded)

    def stop(*_):
        raise Stop

    before = signal.signal(signal.SIGALRM, stop)
    try:
        with pytest.raises(Stop):
            token_streams(Documents(), "bpe:300")
    finally:
        signal.signal(signal.SIGALRM, before)
    [process] = started
    assert process.returncode == -signal.SIGKILL
    assert list(empty_cache.iterdir()) == []


def test_a_tokenizer_that_dies_is_said_in_a_line(empty_cache, monkeypatch):
    monkeypatch.setattr(bpe, "COMMAND", (sys.executable, "-c", "raise SystemExit(7)"))
    with pytest.raises(OSError, match=r"data\.tokenizer: its process ended with exit code 7"):
        token_streams(Documents(), "bpe:300")
    assert list(empty_cache.iterdir()) == []


def test_the_tokenizer_ends_with_the_process_that_started_it():
    # Busy for ever, it still sees the other end of its pipe close.
    busy = (
        "import sys, threading; from data import bpe\n"
        "threading.Thread(target=bpe._end_with, args=[sys.stdin.buffer], daemon=True).start()\n"
        "while True: pass"
    )
    environment = os.environ | {"PYTHONPATH": str(bpe.ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", busy], stdin=subprocess.PIPE, env=environment
    ) as process:
        process.stdin.close()
        assert process.wait(timeout=60) == 1
