"""How every entry point starts and fails: one clear line on standard error and exit code 2."""

import difflib
import io
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from absl import app, flags, logging

from train.dials import left_behind

flags.disclaim_key_flags()  # what `define_path` defines belongs to the file that calls it

BAD_INPUT, NOT_SAVED, STOPPED = 2, 74, 130  # 74 is EX_IOERR of sysexits.h, 130 what shells use
LARGEST = 1e60  # of numbers read: their products stay far from overflow
SEED = {"lower_bound": 0, "upper_bound": 2**32 - 1}  # of flags
_CALLS = ("config_flags.py", "parse")  # the file and function of ml_collections that run a config
CONFIG_HELP = (
    "What to train: FILE.py, or FILE.py:width=128,tokens=1e7 to turn the dials of its recipe."
)


class InputError(Exception):
    """The user gave something wrong: the message names it, its value, and what is allowed."""


class Unavailable(InputError):
    """Something a run needs is not there now, which may pass: a lock, a file, room on a disk.

    It says nothing about the run: whoever trains many of them tries this one again.
    """


_OF_FLAGS = (InputError, flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError)


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Says what is allowed where `name` stood, the nearest valid name first."""
    allowed = sorted(map(str, allowed))
    close = difflib.get_close_matches(str(name), allowed, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}allowed: {', '.join(allowed)}"


def require(ok: bool, field: str, value: Any, allowed: str) -> None:
    """Raises ValueError that names a config's field, what it holds and what is allowed."""
    if not ok:
        raise ValueError(f"{field}: {value!r}; {allowed}")


def numbers(flag: str, given: Iterable[str]) -> list[float]:
    """The positive numbers of a flag that takes a list. Raises InputError naming the wrong one."""
    values = []
    for text in given:
        try:
            values.append(float(text))
        except ValueError:
            raise InputError(f"--{flag}: {text!r}; a number, or several with commas") from None
        if not 1 / LARGEST < values[-1] < LARGEST:
            raise InputError(f"--{flag}: {text!r}; a positive number below {LARGEST:g}")
    return values


def define_path(name: str, default: str | None, help: str) -> None:
    """A flag for a path of the user's: all are made so, that `~` means the same in each of them.

    It takes a word as well, for a flag that is either. Parsing raises InputError for an address
    such as gs://bucket/run, a name that is not UTF-8, and a `~` without a home.
    """
    flags.DEFINE(_PathParser(name), name, default, help, flags.FLAGS, flags.ArgumentSerializer())


class _PathParser(flags.ArgumentParser):
    def __init__(self, name: str):
        self.name = name

    def parse(self, given: str) -> str:
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", given):
            raise InputError(
                f"--{self.name}: {given!r} is an address; allowed: a path, so mount the bucket "
                "(e.g. with gcsfuse), or use a local folder and copy it"
            )
        try:
            given.encode()  # libraries that write our files take no other names
            return str(Path(given).expanduser()) if given.startswith("~") else given
        except UnicodeEncodeError:
            raise InputError(f"--{self.name}: {given!r}; allowed: a name in UTF-8") from None
        except RuntimeError:
            raise InputError(f"--{self.name}: {given!r}; there is no such home folder") from None


def config_values(example: str) -> dict[str, Any]:
    """The values of --config, overrides applied. Raises InputError if it is missing."""
    config = flags.FLAGS.config
    if config is None:
        raise InputError(f"--config: missing; give a file, e.g. --config={example}")
    try:
        if not callable(getattr(config, "to_dict", None)):
            raise InputError(f"--config: get_config gave {config!r}; it must give a ConfigDict")
        values = config.to_dict()
    except OSError as error:  # a missing file comes to light at the first look at its values
        raise InputError(f"--config: {error}") from None
    for line in left_behind(flags.FLAGS["config"], values):
        print(f"note: {line}", file=sys.stderr)
    return values


class _Output(io.FileIO):
    """A terminal, pipe or file for what people read: a full or closed one takes it and loses it.

    What a run came to is in its files and its exit code; no run fails because nobody listens.
    """

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def never_fail_to_print() -> None:
    """Lets nothing that happens to standard output and error disturb this process."""
    sys.stdout, sys.stderr = _never_fail(sys.stdout, 1), _never_fail(sys.stderr, 2)


def _never_fail(stream: io.TextIOWrapper | None, descriptor: int) -> io.TextIOWrapper:
    """The stream that stands in for standard output or error, and neither fills up nor breaks."""
    if stream is None:  # started with it closed: a file that is opened next would get its number
        closed = os.open(os.devnull, os.O_WRONLY)
        if closed != descriptor:
            os.dup2(closed, descriptor)
            os.close(closed)
    return io.TextIOWrapper(
        io.BufferedWriter(_Output(descriptor, "w", closefd=False)),
        encoding=stream.encoding if stream else "utf-8",
        errors="replace",  # what an ASCII terminal cannot show
        line_buffering=descriptor == 2 or os.isatty(descriptor),
    )


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if text else type(error).__name__


def _failure(error: Exception) -> tuple[str, int] | None:
    """The line and the exit code of what is no defect of ours; None for what is."""
    if isinstance(error, InputError):
        return _one_line(error), BAD_INPUT
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}", NOT_SAVED
    # JAX's own kind of error is not asked for: it may not be imported yet, and need not be.
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and re.search("RESOURCE_EXHAUSTED|Out of memory", str(error))
    ):
        return f"out of memory: {_one_line(error)[:300]}", BAD_INPUT
    return None


def _at_home(config: re.Match) -> str:
    return config[1] + os.path.expanduser(config[2])


def _parse_flags(argv: list[str]) -> list[str]:
    try:
        # No shell expands the ~ of --config=~/mine.py, and no file has that name.
        argv = [re.sub("^(--?config=)(~.*)", _at_home, given) for given in argv]
        return flags.FLAGS(argv)
    except SystemExit:  # --help has printed its text; absl would leave with 1
        sys.exit(0)
    # Config overrides are applied while flags are parsed, and ml_collections reports a bad one with
    # whichever exception the assignment raised. A config is a program, and raises anything.
    except Exception as error:
        told = _in_config(error)
        if told is None and not isinstance(error, _OF_FLAGS):
            raise
        missing = error.args[0] if error.args else None
        if told is None and isinstance(missing, KeyError):  # so says ml_collections
            told = f"--config: no such field: {' '.join(str(missing.args[0]).split())}"
        print(f"error: {told or _one_line(error)}", file=sys.stderr)
        sys.exit(BAD_INPUT)


def _in_config(error: BaseException | None) -> str | None:
    """Where in a config what was raised, and what; None where no config raised it."""
    while error is not None:
        frames = traceback.extract_tb(error.__traceback__)
        calls = [n for n, f in enumerate(frames) if (Path(f.filename).name, f.name) == _CALLS]
        if calls and isinstance(error, flags.Error):  # a wrong dial: its line says all
            return None
        # ml_collections gives some in words of its own, and absl those in its.
        if calls and not str(error).startswith("Error whilst parsing"):
            theirs = [f for f in frames[calls[-1] + 1 :] if "importlib" not in f.filename]
            theirs = [f for f in theirs if Path(f.filename).name != _CALLS[0]]
            where = f"{theirs[-1].filename}:{theirs[-1].lineno}: " if theirs else ""
            return f"--config: {where}{type(error).__name__}: {_one_line(error)}"
        error = error.__context__
    return None


def run_main(main: Callable[[], int | None]) -> None:
    """Parses flags, calls `main`, and exits with its code (None is 0).

    What the user gave wrong, a file that cannot be read or written, a lack of memory and Ctrl-C are
    told in one line and an exit code; any other exception is a defect of ours and keeps its
    traceback. Nothing that happens to standard output or error changes the exit code.
    """
    never_fail_to_print()

    def guarded(argv: list[str]) -> int:
        try:
            if len(argv) > 1:
                raise InputError(f"unexpected argument {argv[1]!r}: everything is given by flags")
            # absl shows what libraries say about themselves by default; a person asked for our
            # output.
            if not flags.FLAGS["verbosity"].present:
                logging.set_verbosity(logging.WARNING)
            return main() or 0
        except KeyboardInterrupt:
            return STOPPED
        except Exception as error:
            if (known := _failure(error)) is None:
                raise
            print(f"error: {known[0]}", file=sys.stderr)
            return known[1]

    app.run(guarded, flags_parser=_parse_flags)
