"""The cache: folders that are built once, appear whole or not at all, and are checked when read.

It lies in $ALLOMETRY_CACHE (default ~/.cache/allometry). Of several processes that want an entry
one builds it and the others wait for it. A builder holds a lock, which dies with its process: what
a killed one leaves is swept by the next. Modes are those of the umask, so users can share a cache;
one that can only be read serves what it has.
"""

import contextlib
import fcntl
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np

T = TypeVar("T")
BUILDING = ".building-"


def folder() -> Path:
    """Where the cache is (OSError where there is no home folder to hold it)."""
    try:
        return Path(os.environ.get("ALLOMETRY_CACHE") or "~/.cache/allometry").expanduser()
    except RuntimeError as error:
        raise OSError(f"ALLOMETRY_CACHE: {error}; set this variable to a folder") from None


def scratch() -> BinaryIO:
    """A file in the cache without a name, which is gone when it is closed."""
    with _writing():
        folder().mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryFile(dir=folder())


def entry(name: str, read: Callable[[Path], T | None], build: Callable[[Path], None]) -> T:
    """What `read` makes of the entry `name`.

    Where `read` returns None, for an entry that is absent or damaged, `build` fills an empty folder
    that becomes the entry.

    Raises OSError where the cache can be neither read nor written.
    """
    place = folder() / name
    if (found := read(place)) is not None:
        return found
    with _builder(name) as temporary:
        if (found := read(place)) is not None:  # of another process
            return found
        if place.exists():
            print(f"{place} is damaged: it is built again", file=sys.stderr)
        build(temporary)
        with _writing():
            if place.exists():
                shutil.rmtree(place)
            temporary.rename(place)
        if (found := read(place)) is None:
            raise OSError(f"{place}: written, and not the same when read")
        return found


def arrays(name: str, file: str, make: Callable[[], Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Arrays by name, made once and kept in a file (.npz) of the entry `name`."""

    def read(folder: Path) -> dict[str, np.ndarray] | None:
        try:  # a zip has a sum of each part
            with np.load(folder / file, allow_pickle=False) as found:
                return dict(found)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):
            return None

    return entry(name, read, lambda folder: np.savez(folder / file, **make()))


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(
            f"ALLOMETRY_CACHE: cannot write {str(folder())!r} ({error.strerror or error}); "
            "set this variable to a folder that can be written"
        ) from None


@contextlib.contextmanager
def _builder(name: str) -> Iterator[Path]:
    """An empty folder for the one process that builds entry `name` now; gone afterwards."""
    lock = folder() / f"{BUILDING}{name}.lock"
    with contextlib.ExitStack() as held:
        with _writing():
            folder().mkdir(parents=True, exist_ok=True)
            _sweep()
            held.enter_context(_locked(lock, wait=True))
            temporary = lock.with_suffix(f".{os.urandom(4).hex()}")
            temporary.mkdir()
        held.callback(shutil.rmtree, temporary, ignore_errors=True)
        yield temporary


def _sweep() -> None:
    """Removes what builders left that were killed."""
    for lock in {path.with_suffix(".lock") for path in folder().glob(f"{BUILDING}*.*")}:
        with contextlib.suppress(OSError), _locked(lock, wait=False) as held:
            for path in folder().glob(f"{lock.stem}.*") if held else ():
                if path != lock:
                    shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _locked(path: Path, wait: bool) -> Iterator[bool]:
    """Holds a lock file, which is there only as long; False where another does, unless we wait."""
    while True:
        with _opened(path) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not wait:
                    yield False
                    return
                print(f"{path.parent}: another process builds the same; waiting", file=sys.stderr)
                fcntl.flock(file, fcntl.LOCK_EX)
            if not _is_at(file, path):  # whoever held it has removed it
                continue
            try:
                yield True
            finally:
                with contextlib.suppress(OSError):
                    path.unlink()
            return


def _opened(path: Path) -> BinaryIO:
    try:
        return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "rb")
    except PermissionError:  # another user's, which is enough to wait for
        return path.open("rb")


def _is_at(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
