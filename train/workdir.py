"""A WORKDIR BELONGS TO ONE RUN: held while a process is at work in it, claimed by the first step.

`config.json` says whose it is: the config, the data's digest, what the run began with and when. A
call that fails before it has taken a step, for a typo or for want of memory, leaves no claim.
"""

import contextlib
import fcntl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from train import config as configuration
from train import record, strict
from train.cli import InputError, Unavailable
from train.config import RunConfig

VERSION = 2  # of config.json; 1 was the config alone
_CLAIM = "config.json"
_LOCK = ".lock"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds a folder against a second process; the lock dies with its process.

    Raises:
      Unavailable: another process holds it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / _LOCK).open("w")
    except OSError as error:
        raise Unavailable(f"{folder}: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unavailable(f"{folder}: another process is at work here") from None
        yield


def check_shared(workdir: Path) -> None:
    """Raises InputError where this host does not see the folder that process 0 has locked."""
    if not (workdir / _LOCK).exists():
        raise InputError(f"{workdir}: not the folder of process 0; all hosts must share one")


def check(workdir: Path, config: RunConfig, data_sha256: str | None = None) -> dict[str, Any]:
    """What the folder says of this run, whose it is, see `claim`; {} if it is nobody's.

    Args:
      workdir: the folder.
      config: of the run that wants it.
      data_sha256: digest of its data; None before they are open.

    Raises:
      Unavailable: it is another run's, or the data are no longer those that it began with.
    """
    claim = read(workdir)
    if not claim:
        return {}
    changed = configuration.other_run(config, claim["config"])
    if changed:
        raise Unavailable(f"{workdir} holds another run: {'; '.join(changed)}; give a new workdir")
    began_with = claim["data_sha256"]
    if data_sha256 and began_with is None:
        raise Unavailable(
            f"{workdir}: config.data: this run was begun by a version that put examples in another "
            "order; give a new workdir"
        )
    if data_sha256 and data_sha256 != began_with:
        raise Unavailable(
            f"{workdir}: config.data: the data have changed since this run began, or the version "
            f"that puts them in order: sha256 {data_sha256[:12]}, not {began_with[:12]}; bring "
            "back what it began with, or give a new workdir"
        )
    return claim


def claim(
    workdir: Path, config: RunConfig, data_sha256: str, started: str, start: Mapping[str, Any]
) -> None:
    """Makes a folder that is nobody's, or that is this run's already, that of a run.

    Args:
      workdir: the folder.
      config: of the run.
      data_sha256: digest of its data.
      started: when it first did, UTC in ISO 8601.
      start: what it began with, see `train.start`.
    """
    content = {"version": VERSION, "started": started, "data_sha256": data_sha256, "start": start}
    record.save_json(workdir / _CLAIM, content | {"config": configuration.to_dict(config)})


def read(workdir: Path) -> dict[str, Any]:
    """What the folder says of the run whose it is, see `claim`; {} if it is nobody's."""
    path = workdir / _CLAIM
    if not path.exists():
        return {}
    content = record.load_json(path)
    if "version" not in content:  # version 1, the config alone
        return {"config": content, "data_sha256": None, "started": "", "start": {}}
    if content["version"] != VERSION:
        raise InputError(f"{path}: version: {content['version']!r}; must be {VERSION}")
    content = {"start": {}} | content  # newer than some files of this version
    shape = {"config": dict, "data_sha256": str, "started": str, "start": dict}
    strict.check(f"{path}: ", content, shape)
    if content["start"]:
        strict.check(f"{path}: start", content["start"], record.START)
    return content
