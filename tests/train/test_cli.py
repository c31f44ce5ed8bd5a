"""How every entry point starts and ends, on programs of a line: no JAX is imported here."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

# What stands in place of WORK is the entry point's work; its --out is a path.
PROGRAM = """
from absl import flags
from ml_collections import config_flags
from train import cli
def main():
    WORK
cli.define_path("out", None, "A path.")
config_flags.DEFINE_config_file("config")
cli.run_main(main)
"""


def program(work: str, *arguments: str, environment: dict | None = None, **streams):
    script = PROGRAM.replace("WORK", work)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT,
        env=os.environ | (environment or {}),
        timeout=60,
        **streams,
    )


@pytest.mark.parametrize("code", [0, 3])
def test_a_full_terminal_changes_no_exit_code(code):
    with Path("/dev/full").open("w") as full:
        for work in (f"print('much ' * 10_000); return {code}", f"print(1); return {code}"):
            done = program(work, stdout=full, stderr=full)
            assert done.returncode == code


def test_a_closed_pipe_changes_no_exit_code():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as nobody:
        done = program("print('much ' * 10_000); return 3", stdout=nobody)
    assert (done.returncode, done.stderr) == (3, b"")


def test_a_file_never_takes_the_place_of_a_terminal_that_is_closed(tmp_path):
    work = "print(1); file = open(flags.FLAGS.out, 'w'); print(2); return file.fileno() < 3"
    out = tmp_path / "file"
    script = PROGRAM.replace("WORK", work)
    closed = 'exec "$0" -c "$1" --out="$2" >&- 2>&-'
    command = ["sh", "-c", closed, sys.executable, script, str(out)]
    assert subprocess.run(command, cwd=ROOT, timeout=60).returncode == 0
    assert out.read_text() == ""


def test_a_terminal_without_the_characters_shows_others():
    done = program("print('a – b ━ \\udcff')", environment={"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stdout, done.stderr) == (0, b"a ? b ? ?\n", b"")


@pytest.mark.parametrize(
    ("work", "code", "says"),
    [
        ("raise cli.InputError('this\\nis wrong')", 2, "error: this is wrong"),
        ("open('/no/such/file')", 74, "error: /no/such/file: No such file or directory"),
        ("raise MemoryError", 2, "error: out of memory: MemoryError"),
        ("raise RuntimeError('RESOURCE_EXHAUSTED: x')", 2, "error: out of memory: RESOURCE_"),
        ("raise KeyboardInterrupt", 130, ""),
    ],
)
def test_what_is_no_defect_is_one_line(work, code, says):
    done = program(work)
    assert done.returncode == code
    assert done.stderr.decode().startswith(says)
    assert len(done.stderr.splitlines()) <= 1


def test_a_defect_keeps_its_traceback():
    done = program("raise RuntimeError('a defect')")
    assert done.returncode == 1
    assert b"Traceback" in done.stderr


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("gs://bucket/run", "--out: 'gs://bucket/run' is an address; allowed: a path"),
        ("file:///tmp/run", "is an address"),
        ("~nobody.here/run", "--out: '~nobody.here/run'; there is no such home folder"),
        (b"/tmp/\xff", "allowed: a name in UTF-8"),
    ],
)
def test_a_path_that_cannot_be_one_is_refused(given, says):
    done = program("return 0", b"--out=" + (given if isinstance(given, bytes) else given.encode()))
    assert done.returncode == 2
    assert says in done.stderr.decode()


def test_a_tilde_is_a_home_folder_in_every_path():
    done = program("print(flags.FLAGS.out)", "--out=~/a", environment={"HOME": "/here"})
    assert done.stdout == b"/here/a\n"


def test_every_flag_of_a_path_is_made_as_one():
    paths = "workdir|out|runs|report|json|throughput"
    for folder in ("train", "scaling"):
        for source in (ROOT / folder).rglob("*.py"):
            found = re.search(rf'DEFINE_string\(\s*"({paths})"', source.read_text())
            assert not found, f"{source}: --{found[1]}"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def get_config(:", "SyntaxError: "),
        ("import nowhere_at_all", "CONFIG:1: ModuleNotFoundError: No module named"),
        ("def get_config():\n  return {}['a']", "CONFIG:2: KeyError: 'a'"),
        ("def get_config():\n  return int('x')", "CONFIG:2: ValueError: invalid literal"),
        ("def get_config(a):\n  pass", "TypeError: get_config() missing 1 required positional"),
        ("def get_config():\n  return 3", "get_config gave 3; it must give a ConfigDict"),
    ],
)
def test_what_a_config_raises_is_one_line_that_says_where(text, says, tmp_path):
    config = tmp_path / "config.py"
    config.write_text(text)
    work = "cli.config_values('x')"
    done = program(work, f"--config={config}")
    assert done.returncode == 2
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith(f"error: --config: {says.replace('CONFIG', str(config))}")


def test_a_field_that_no_config_has_is_told_as_one(tmp_path):
    config = tmp_path / "config.py"
    config.write_text(
        "import ml_collections\ndef get_config():\n  return ml_collections.ConfigDict({'steps': 1})"
    )
    for field, says in (("typo", "'typo'"), ("step", "'step' Did you mean \"steps\" instead of")):
        done = program("cli.config_values('x')", f"--config={config}", f"--config.{field}=2")
        assert done.returncode == 2
        (line,) = done.stderr.decode().splitlines()
        assert line.startswith(f"error: --config: no such field: {says}")
