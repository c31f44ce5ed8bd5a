"""Many hosts: how the processes of one run find each other, share a batch, agree, and end.

Every process of a run calls the same functions in the same order. With one process each of them
does nothing, or what it is given to do, at once. Process 0 leads: it alone writes records, metrics
and progress. The workdir is one shared folder.

JAX by itself notices a dead process after 100 s and ends the others with a stack trace, or leaves
them waiting. So the processes also watch each other, see `train.devices.watch`.
"""

import contextlib
import importlib.util
import json
import os
import re
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from jax._src import distributed  # its store of texts: no public way needs no devices
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec

from train.cli import InputError
from train.devices import watch

T = TypeVar("T")

# Of each launcher, the variables that JAX needs of it; the first says how many processes there are.
_LAUNCHERS = {
    "Slurm": ("SLURM_NTASKS", "SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_PROCID"),
    "Open MPI": ("OMPI_COMM_WORLD_SIZE", "OMPI_MCA_orte_hnp_uri", "OMPI_COMM_WORLD_RANK"),
}
_CONNECT_SECONDS = 300
_KEY = "allometry/watch"


class Agreed(InputError):
    """An InputError that every process of the run raises."""


def launcher(environment: Mapping[str, str], devices: Path = Path("/dev")) -> str | None:
    """Who started several processes of this run, as far as JAX can tell by itself; None: nobody."""
    for name, (count, *others) in _LAUNCHERS.items():
        if environment.get(count, "1") != "1" and all(v in environment for v in others):
            return name
    tpu = any(devices.glob("accel*")) or any(devices.glob("vfio/[0-9]*"))
    wanted = "tpu" in (environment.get("JAX_PLATFORMS") or "tpu")
    return "TPU VM" if tpu and wanted and importlib.util.find_spec("libtpu") else None


@contextlib.contextmanager
def joined(
    coordinator: str | None = None, processes: int | None = None, process: int | None = None
) -> Iterator[None]:
    """Joins the other processes of a run, before anything else asks JAX for devices.

    On a TPU VM, under Slurm and under Open MPI all is found out; elsewhere all three arguments are
    needed, or none for a run of one process. From then on SIGTERM is JAX's (see `asked_to_stop`).
    If another process is lost, this one ends with `watch.LOST` and a line that says so.

    Args:
      coordinator: "host:port" of process 0, the same for all.
      processes: how many there are.
      process: which this one is, from 0.

    Raises:
      InputError: the arguments do not go together, the others cannot be reached, or there are no
        devices.
    """
    given = {"coordinator": coordinator, "processes": processes, "process": process}
    missing = [name for name, value in given.items() if value is None]
    if missing and len(missing) < len(given):
        raise InputError(f"--{missing[0]}: missing; several processes need all of --coordinator, "
                         "--processes and --process")  # fmt: skip
    if not missing:
        _check(coordinator, processes, process)
    if not missing or launcher(os.environ):
        _initialize(given)
    state = distributed.global_state
    if state.client is None or state.num_processes == 1:
        _find_devices()
        yield
        return
    host = state.coordinator_address.rpartition(":")[0].strip("[]")
    # The watch stands before JAX looks for devices, which all do together: it needs none.
    sentry = watch.Sentry(state.process_id, state.num_processes, host, _share)
    try:
        _find_devices()
        yield
    except Agreed:
        _leave(sentry)
        raise
    except Exception:
        # What a lost process leaves behind in the others is a failed collective. The watch knows
        # better, and ends the process if that is what it was.
        sentry.await_verdict()
        sentry.abandon()
        raise
    else:
        _leave(sentry)


def _check(coordinator: str, processes: int, process: int) -> None:
    if not re.fullmatch(r"[^\s:]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}", coordinator):
        raise InputError(f"--coordinator: {coordinator!r}; must be host:port of process 0")
    if processes < 1:
        raise InputError(f"--processes: {processes}; at least 1")
    if not 0 <= process < processes:
        raise InputError(f"--process: {process}; must be from 0 to {processes - 1}")


def _initialize(given: dict[str, Any]) -> None:
    if jax.config.jax_platforms == "cpu":
        # Without this JAX aborts, with a stack trace, the moment that process 0 is gone. It is new,
        # so accelerators keep to what is proven there.
        jax.config.update("jax_enable_recoverability", True)
    try:
        jax.distributed.initialize(
            given["coordinator"],
            given["processes"],
            given["process"],
            initialization_timeout=_CONNECT_SECONDS,
            shutdown_timeout_seconds=30,
        )
    except (RuntimeError, ValueError) as error:
        where = given["coordinator"]
        if where is None and isinstance(error, ValueError):
            return  # a TPU that is not part of a slice with a metadata server: one process
        where, reason = where or launcher(os.environ), _start_of(error)
        if "DEADLINE_EXCEEDED" in reason:
            watch.lost(f"--coordinator: {where}: not all processes came ({reason})")
        raise InputError(f"--coordinator: {where}: {reason}") from None


def _share(text: str) -> str:
    """What process 0 says, told by JAX's coordination service."""
    client = distributed.global_state.client
    if distributed.global_state.process_id == 0:
        client.key_value_set(_KEY, text)
        return text
    try:
        return client.blocking_key_value_get(_KEY, _CONNECT_SECONDS * 1000)
    except RuntimeError as error:
        watch.lost(f"process 0 was lost while the processes started ({_start_of(error)})")


def _find_devices() -> None:
    """Has JAX find the devices, of all processes. Raises InputError if it finds none here."""
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        reason = _start_of(error) or "JAX finds no such device"
        if re.search("DEADLINE_EXCEEDED|UNAVAILABLE|ABORTED|CANCELLED", reason):
            watch.lost(f"a process was lost while they started ({reason})")
        raise InputError(f"JAX_PLATFORMS: {jax.config.jax_platforms!r}; {reason}") from None


def _start_of(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _leave(sentry: watch.Sentry) -> None:
    _gather("")  # nobody leaves while another still needs it
    # With recoverability JAX does not wait for the others at the end, and aborts those that come to
    # say goodbye to a process 0 that is gone.
    in_order = jax.config.jax_enable_recoverability
    if in_order and not leads():
        jax.distributed.shutdown()
    sentry.leave()
    if in_order and leads():
        sentry.await_others()


def leads() -> bool:
    """True on the one process that writes what a run leaves, its checkpoints aside."""
    return jax.process_index() == 0


def _gather(text: str) -> list[str]:
    """What every process said, by process."""
    said = np.frombuffer(text.encode(), np.uint8)
    with jax.transfer_guard("allow"):  # see `batch`
        sizes = multihost_utils.process_allgather(np.array([len(said)], np.int32)).ravel()
        padded = np.zeros(max(1, int(sizes.max())), np.uint8)
        padded[: len(said)] = said
        rows = multihost_utils.process_allgather(padded)
    return [bytes(row[:size]).decode() for row, size in zip(rows, sizes)]


def together(work: Callable[[], T]) -> T:
    """Does `work` in every process; if any raises InputError, all raise the first one's.

    Without this one process would end, and the others wait for it.
    """
    if jax.process_count() == 1:
        return work()
    result, said = None, {"error": None}
    try:
        result = work()
    except InputError as error:
        said = {"error": str(error)}
    for process, text in enumerate(_gather(json.dumps(said))):
        error = json.loads(text)["error"]
        if error is not None:
            raise Agreed(error if process == 0 else f"process {process}: {error}")
    return result


def first(work: Callable[[], T]) -> T:
    """Does `work` in process 0 alone and gives its result, which must be JSON, to all."""
    if jax.process_count() == 1:
        return work()
    result = together(lambda: work() if leads() else None)
    return json.loads(_gather(json.dumps(result))[0])


def batch(
    read: Callable[[int, int], dict[str, np.ndarray]], size: int, sharding: NamedSharding
) -> dict[str, Any]:
    """A batch on its devices, of which every process makes only the rows that its own ones hold.

    Args:
      read: gives rows k*B/K up to (k+1)*B/K of the batch, for (k, K).
      size: B, a multiple of the number of parts that `sharding` cuts the rows into.
      sharding: of every array of the batch; an array of fewer axes has the first of them.
    """
    if jax.process_count() == 1:
        whole = read(0, 1)
        return jax.device_put(
            whole, {name: _first_axes(sharding, array.ndim) for name, array in whole.items()}
        )
    parts: dict[tuple[int, int], dict[str, np.ndarray]] = {}

    def part(rows: slice) -> dict[str, np.ndarray]:
        begin, end, _ = rows.indices(size)
        key = begin // (end - begin), size // (end - begin)
        if key not in parts:
            parts[key] = read(*key)
        return parts[key]

    mine = _first_axes(sharding, 1).addressable_devices_indices_map((size,))
    example = part(next(iter(mine.values()))[0])
    with jax.transfer_guard("allow"):  # what is meant here counts to JAX as not asked for
        return {
            name: jax.make_array_from_callback(
                (size, *array.shape[1:]),
                _first_axes(sharding, array.ndim),
                lambda index, name=name: part(index[0])[name][(slice(None), *index[1:])],
            )
            for name, array in example.items()
        }


def whole(array: jax.Array) -> np.ndarray:
    """An array of which every process holds a part, whole in each of them."""
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))


def _first_axes(sharding: NamedSharding, axes: int) -> NamedSharding:
    return NamedSharding(sharding.mesh, PartitionSpec(*sharding.spec[:axes]))


def pace(values: Any) -> None:
    """Waits for a step where several in flight could hang: processes on CPU.

    XLA's CPU client starts collectives in whatever order its threads come to them; two processes
    that begin with different ones wait for each other for good.
    """
    if jax.process_count() > 1 and jax.default_backend() == "cpu":
        jax.block_until_ready(values)


def asked_to_stop(step: int, here: bool) -> bool:
    """True in all processes at the same step, some steps after one of them was asked to stop.

    A SIGTERM to any process counts, and so does `here`.

    Args:
      step: steps taken; every process comes by at every step.
      here: this process wants to stop.
    """
    if jax.process_count() == 1:
        return here
    if here:
        os.kill(os.getpid(), signal.SIGTERM)  # JAX's preemption service tells the others
    return multihost_utils.reached_preemption_sync_point(step)
