"""TPUs that are not here: what their chips can do, and their devices as a compiler sees them."""

import contextlib
import dataclasses
import os
import re
from collections.abc import Iterator
from typing import Any

from train.cli import InputError, nearest
from train.peaks import PEAKS

GiB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
    """What one device can do, in bytes and seconds. On tpu7x a device is half a chip."""

    hbm: float  # bytes that a program may use; the chip's are more by what the system keeps
    flops: float  # peak FLOPs/s of bfloat16 matrix products
    hbm_bandwidth: float  # bytes/s
    ici_bandwidth: float  # bytes/s a device receives in a ring along one axis of the torus
    dcn_bandwidth: float  # bytes/s a device receives from other slices


# Google Cloud's pages "TPU v5e", "TPU v5p", "TPU v6e" and "TPU7x" (docs.cloud.google.com/tpu/docs,
# read in November 2026), but for `hbm`, which is the limit that libtpu 0.0.42 refuses programs at.
# `ici_bandwidth` is the stated bidirectional bandwidth of a chip, by 4 links (v5e, v6e) or 6: a
# ring uses two of them, half of whose bandwidth is for receiving.
CHIPS = {
    "v5e": Chip(15.75 * GiB, PEAKS["tpu_v5e"], 819e9, 400e9 / 4, 25e9 / 8),
    "v5p": Chip(95.74 * GiB, PEAKS["tpu_v5p"], 2765e9, 1200e9 / 6, 50e9 / 8),
    "v6e": Chip(31.25 * GiB, PEAKS["tpu_v6e"], 1638e9, 800e9 / 4, 100e9 / 8),
    "tpu7x": Chip(94.75 * GiB, PEAKS["tpu7x"], 7380e9 / 2, 1200e9 / 6 / 2, 100e9 / 8 / 2),
}


def chip(topology: str) -> Chip:
    """The chip of a topology's name. Raises InputError for one not known here."""
    kind = topology.split(":")[0]
    if kind not in CHIPS:
        raise InputError(f"--topology: {topology!r}; {nearest(kind, CHIPS)}, e.g. v5e:2x4")
    return CHIPS[kind]


def only_compile() -> None:
    """Call it before JAX starts, where nothing will run: no accelerator here need be woken."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")


def devices(topology: str, slices: int = 1) -> list[Any]:
    """The devices of `slices` slices like "v5e:16x16": to compile for, not to run on.

    Raises:
      InputError: no such topology, or libtpu, which knows them, is not installed.
    """
    chip(topology)
    if not re.fullmatch(r"\w+:\d+x\d+(x\d+)?", topology):
        raise InputError(f"--topology: {topology!r}; allowed: KIND:AxB or KIND:AxBxC, e.g. v5e:2x4")
    if slices < 1:
        raise InputError(f"--slices: {slices}; at least 1")
    import jax
    from jax.experimental import topologies

    sizes = [int(size) for size in topology.split(":")[1].split("x")]
    # A host holds 2x2 chips, which is what libtpu assumes, unless the slice is smaller than that.
    options: dict[str, Any] = (
        {} if all(size % 2 == 0 for size in sizes[:2]) else {"chips_per_host_bounds": (1,) * 3}
    )
    if slices > 1:
        options["num_slices"] = slices
    try:
        with _elsewhere():
            found = topologies.get_topology_desc(platform="tpu", topology_name=topology, **options)
    except (ImportError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if "INVALID_ARGUMENT" in reason:
            reason = reason.removeprefix("INVALID_ARGUMENT: ")
            raise InputError(f"--topology: {topology!r}; {reason}") from None
        raise InputError(
            f"--topology: libtpu cannot be loaded ({reason}); pip install "
            f"'jax[tpu]=={jax.__version__}', whose compiler needs no TPU"
        ) from None
    return list(found.devices)


@contextlib.contextmanager
def _elsewhere() -> Iterator[None]:
    """Keeps libtpu from looking for a TPU here: it would ask the network what machine this is, and
    refuse to be loaded by a second process. What it then says about the machine means nothing."""
    settings = {
        "TPU_SKIP_MDS_QUERY": "1",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
        "TPU_ACCELERATOR_TYPE": "v5litepod-8",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "TPU_STDERR_LOG_LEVEL": "3",
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:  # a training that this process starts may well be on a TPU
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
