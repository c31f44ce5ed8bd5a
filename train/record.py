"""The record of a run: one JSON file with all that a study needs, none of it from a log."""

import contextlib
import dataclasses
import fcntl
import functools
import json
import os
import platform
import re
import secrets
import stat
import subprocess
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, BinaryIO

from train import account, strict
from train.account import Account
from train.cli import InputError

VERSION = 3  # in 1, `started` and `seconds` were of the last call alone; in 2, only losses
STATUSES = ("ok", "diverged", "failed")
_MAX_BYTES = 64 * 2**20
_TEMPORARY = re.compile(r"\.[0-9a-f]{8}\.tmp")  # ends the names of `replacing`


METRICS = {str: [float, (float, None)]}  # by name: value, and standard error where it is known


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record(Account):
    """One run. Numbers that a failed run never reached are None."""

    run: str  # name of the run, unique in its study
    status: str  # one of STATUSES
    reason: str  # why it is not ok; "" if it is
    of_record: str  # the metric that `loss` is
    loss: float | None  # of record, on the whole validation set
    loss_se: float | None  # its standard error, over validation rows
    metrics: Annotated[dict[str, list[float | None]], METRICS]  # all of the task's, there
    # [step, training loss], thinned
    curve: Annotated[list[list[float]], [[float, float]]]
    # Each on the whole validation set.
    evaluations: Annotated[list[dict[str, Any]], [{"step": float, "metrics": METRICS}]]
    started: str  # UTC, ISO 8601; the first of a run's calls
    finished: str
    seconds: dict[str, float]  # of all calls: total, compile, train, evaluate, checkpoint, log
    device: dict[str, Any]
    versions: dict[str, str]
    revision: str | None  # git revision of this code, "+" appended if it was changed
    throughput: float | None = None  # units a second of training, the median over the run
    mfu: float | None = None  # the same as a share of the devices' peak, see train.pace
    # What it began with that is not its seed's, see train.start; D and C are of what came after.
    start: dict[str, Any] = dataclasses.field(default_factory=dict)
    version: int = VERSION


START = {
    **dict.fromkeys(("run", "config_sha256", "sha256"), str),
    "step": int,
    # What checkpoints of older versions do not say.
    **{"N": ({"total": float, str: float}, None), "D": (float, None)},
    "C": ({"forward": float, str: float}, None),
    "metrics": METRICS,
}


def save_json(path: Path, value: Any) -> None:
    """Writes strict JSON so that the file is either the old one or the whole new one."""
    text = json.dumps(value, indent=1, allow_nan=False) + "\n"
    save_text(path, text)


def save_text(path: Path, text: str, once: bool = False) -> None:
    """Writes a text file atomically, see `replacing`."""
    with replacing(path, once) as file:
        file.write(text.encode())


@contextlib.contextmanager
def replacing(path: Path, once: bool = False) -> Iterator[BinaryIO]:
    """A file to write that takes the place of `path` whole: a temporary one, fsync, rename.

    With `once` it replaces nothing: FileExistsError where `path` is there, and for all but one of
    several that write it at once. What killed processes left of earlier attempts is removed. Raises
    OSError naming `path`.
    """
    name = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        file, name = _temporary(path)
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if once:
                os.link(name, path)
                name.unlink()
            else:
                os.replace(name, path)
    except BaseException as error:
        if name is not None:
            name.unlink(missing_ok=True)
        if isinstance(error, OSError) and _TEMPORARY.search(str(error.filename or ".0.tmp")):
            raise OSError(error.errno, os.strerror(error.errno or 0), str(path)) from error
        raise


def _temporary(path: Path) -> tuple[BinaryIO, Path]:
    """A new file beside `path`, locked for as long as it is open, with the mode that files get."""
    while True:
        name = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        file = name.open("xb")
        if _lock(file, otherwise=True) and os.fstat(file.fileno()).st_nlink:
            return file, name
        file.close()  # another process took it for one that was left, and removes it


def _sweep(path: Path) -> None:
    """Removes temporary files of `path` that nobody writes any more: their locks are free."""
    for found in path.parent.iterdir():
        if found.name.startswith(f".{path.name}.") and _TEMPORARY.fullmatch(
            found.name.removeprefix(f".{path.name}")
        ):
            with contextlib.suppress(OSError), found.open("r+b") as file:
                if _lock(file, otherwise=False):
                    found.unlink()


def _lock(file: BinaryIO, otherwise: bool) -> bool:
    """Whether the file could be locked; `otherwise` where the file system knows no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return otherwise
    return True


def load_json(path: Path) -> dict[str, Any]:
    """Reads a file with a JSON object.

    Raises:
      InputError: naming the file and the place, if it cannot be read or is not such a file.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise InputError(f"{path}: not a file")
        if found.st_size > _MAX_BYTES:
            raise InputError(f"{path}: larger than {_MAX_BYTES} bytes")
        value = strict.parse(path.read_bytes().decode())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: {type(value).__name__} where an object is expected")
    return value


def save(path: Path, record: Record) -> None:
    """Writes a record."""
    save_json(path, account.to_json(record))


def load(path: Path) -> Record:
    """Reads and checks a record. Raises InputError naming the file and the field."""
    values = load_json(path)
    if values.get("version") not in range(1, VERSION + 1):
        raise InputError(f"{path}: version: {values.get('version')!r}; must be 1 to {VERSION}")
    if values["version"] < VERSION:
        values = _as_of_now(path, values)
    found = account.from_json(Record, f"{path}: ", values)
    if found.status not in STATUSES:
        raise InputError(f"{path}: status: {found.status!r}; allowed: {', '.join(STATUSES)}")
    if found.start:
        strict.check(f"{path}: start", found.start, START)
    if found.status == "ok":  # the loss itself may be of either sign: a log-density
        strict.check(f"{path}: ", values, {"loss": float, "loss_se": float})
        if values["loss_se"] < 0:
            given = values["loss_se"]
            raise InputError(f"{path}: loss_se: {given!r}; must be a number of at least 0")
    return found


def _as_of_now(path: Path, values: dict[str, Any]) -> dict[str, Any]:
    """A record of an older version, in today's form. Raises InputError."""
    older = {"bits_per_byte": (float, None), "evaluations": [[float, float, float]]}
    strict.check(f"{path}: ", values, older | {"loss": (float, None), "loss_se": (float, None)})
    values = {"throughput": None, "mfu": None, "of_record": "loss", "start": {}} | values
    found = {"loss": [values["loss"], values["loss_se"]]}
    bits = values.pop("bits_per_byte")
    if bits is not None and values["loss"]:
        found["bits_per_byte"] = [bits, abs(bits / values["loss"]) * (values["loss_se"] or 0.0)]
    values["metrics"] = found if values["status"] == "ok" else {}
    values["evaluations"] = [
        {"step": step, "metrics": {"loss": [loss, error]}}
        for step, loss, error in values["evaluations"]
    ]
    return values


@functools.cache
def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that decide a run's numbers, as far as installed."""
    names = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "ml_dtypes", "qwix")
    found = {"python": platform.python_version()}
    for name in (*names, "libtpu", "sacrebleu"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    # Accelerators: plugins of JAX, and the libraries that CUDA's come with.
    for package in metadata.distributions():
        name = package.name
        if name.startswith("nvidia-") or any(
            e.group == "jax_plugins" for e in package.entry_points
        ):
            found[name] = package.version
    return found


@functools.cache
def revision() -> str | None:
    """The git revision of this code, "+" appended if it was changed; None outside git."""
    root = Path(__file__).parent.parent

    def git(*args: str) -> str:
        command = ["git", "-C", str(root), *args]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=10
        ).stdout

    try:
        return git("rev-parse", "HEAD").strip() + (
            "+" if git("status", "--porcelain").strip() else ""
        )
    except (OSError, subprocess.SubprocessError):
        return None


def device() -> dict[str, Any]:
    """Where a run is computed."""
    import jax

    devices = jax.devices()
    return {
        "platform": devices[0].platform,
        "kind": devices[0].device_kind,
        "devices": len(devices),
        "processes": jax.process_count(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "machine": platform.machine(),
    }
