"""The training step of a run compiled ahead of time, for TPUs that are not here.

What is compiled is the very function that `train.run` calls, from shapes alone: neither parameters
nor data exist. So a compile tells whether a run fits its devices and what a step of it costs them,
and that nothing in it (kernels, meshes, shapes) is refused, before a device is paid for.
"""

import contextlib
import dataclasses
import re
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

import data
from train import accounting, before, step
from train.compile import cost as hlo_cost
from train.compile import topology
from train.config import RunConfig, of_data

# The three ways in which libtpu says that a program does not fit, and what it needs and may have.
_REFUSALS = (
    r"total memory required.*?\(([\d.]+\w)\) exceeds available HBM \(([\d.]+\w)\)",
    r"in memory space hbm\. Used ([\d.]+\w) of ([\d.]+\w) hbm",
    r"Hbm usage: ([\d.]+\w).*exceeding available bytes: ([\d.]+\w)",
)


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes of HBM that a step needs on each device."""

    total: float
    available: float
    arguments: float | None = None  # state and batch; None where the compiler refused
    outputs: float | None = None  # what does not take the place of an argument
    temporaries: float | None = None
    program: float | None = None

    @property
    def fits(self) -> bool:
        """Whether a device has that much."""
        return self.total <= self.available


@dataclasses.dataclass(frozen=True)
class Traffic:
    """A step's collectives of one kind along the same mesh axes (conventions: `cost`)."""

    kind: str
    axes: str  # e.g. "fsdp", or "data x fsdp"
    network: str  # "ici" within a slice, "dcn" between slices
    count: int
    bytes: float  # that each device receives


@dataclasses.dataclass(frozen=True)
class Cost:
    """One step on one device. `seconds` has the time that each resource is busy at its peak rate
    ("compute", "hbm", "ici", "dcn"); a step takes at least the longest of them ("step")."""

    flops: float  # of matrix products, recomputation included
    model_flops: float  # three forward passes, half of attention masked: what the step is for
    hbm_bytes: float
    traffic: tuple[Traffic, ...]
    seconds: dict[str, float]
    mfu: float  # model FLOPs over what the chip could do in that time: at most this
    unknown_kernels: int  # custom kernels that state no FLOPs
    unknown_loops: int  # loops with no known trip count, counted once


@dataclasses.dataclass(frozen=True)
class Report:
    """What a compile for a topology tells of a run."""

    topology: str
    slices: int
    devices: int
    mesh: dict[str, int]
    parameters: int
    memory: Memory
    cost: Cost | None  # None where the compiler refused the program for its memory
    compile_seconds: float
    unread: str = ""  # why the program it made could not be read, so that `cost` is None

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dicts, ready for JSON."""
        return dataclasses.asdict(self) | {"fits": self.memory.fits}


def compile_step(config: RunConfig, name: str, slices: int = 1) -> Report:
    """Compiles a run's training step for `slices` slices of topology `name`, e.g. "v5e:16x16".

    Takes from seconds to some minutes, and a gigabyte or two of this machine's memory.

    Raises:
      InputError: no such topology, no libtpu, or the mesh or batch does not fit it.
    """
    chip, devices = topology.chip(name), topology.devices(name, slices)
    example = example_of(config)
    functions = step.compile_for(config, example, devices)
    batch = {
        key: jax.ShapeDtypeStruct((config.batch_size, *value.shape[1:]), value.dtype)
        for key, value in example.items()
    }
    begin, cost, unread = time.monotonic(), None, ""
    lowered = functions.train.lower(functions.abstract, batch, step.hyper_of(config))
    try:
        with _uncached():
            compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        memory = _refused(error)
    else:
        memory = _memory(compiled, chip)
        try:
            found = hlo_cost.cost(compiled.as_text(), len(devices), slices)
            cost = _cost(found, config, functions.mesh, chip)
        except ValueError as error:  # another compiler may write what is not known here
            unread = str(error)
    params = functions.abstract.params
    return Report(
        topology=name,
        slices=slices,
        devices=len(devices),
        mesh=dict(functions.mesh.shape),
        parameters=accounting.count_parameters(params)["total"],
        memory=memory,
        cost=cost,
        compile_seconds=time.monotonic() - begin,
        unread=unread,
    )


@contextlib.contextmanager
def _uncached() -> Iterator[None]:
    """Keeps a program out of the compilation cache: without a TPU it could not be read again."""
    name = "jax_persistent_cache_min_compile_time_secs"
    before = getattr(jax.config, name)
    jax.config.update(name, float("inf"))
    try:
        yield
    finally:
        jax.config.update(name, before)


def example_of(config: RunConfig) -> dict[str, np.ndarray]:
    """One example of a run's data, of which only shapes and types matter; opened if it must be.

    Raises InputError or Unavailable where the data's config, or what must be opened, is wrong.
    """
    known = of_data(data.spec, config.data)
    return before.open_data(config).eval_batch(0, 1) if known is None else known


def _memory(compiled: jax.stages.Compiled, chip: topology.Chip) -> Memory:
    found = compiled.memory_analysis()
    parts = {
        "arguments": float(found.argument_size_in_bytes),
        "outputs": float(found.output_size_in_bytes - found.alias_size_in_bytes),
        "temporaries": float(found.temp_size_in_bytes),
        "program": float(found.generated_code_size_in_bytes),
    }
    return Memory(total=sum(parts.values()), available=chip.hbm, **parts)


def _refused(error: jax.errors.JaxRuntimeError) -> Memory:
    """What libtpu says that the program needs. Raises an error about anything else again."""
    text = " ".join(str(error).split())
    for pattern in _REFUSALS:
        if found := re.search(pattern, text):
            return Memory(*map(_bytes, found.groups()))
    raise error


def _bytes(text: str) -> float:
    """libtpu's "76.05G" in bytes."""
    return float(text[:-1]) * 1024.0 ** "BKMGT".index(text[-1])


def _cost(
    found: hlo_cost.Cost, config: RunConfig, mesh: jax.sharding.Mesh, chip: topology.Chip
) -> Cost:
    traffic = _traffic(found.collectives, mesh)
    model_flops = _model_flops(config) / mesh.size
    seconds = {
        # What a kernel that states no FLOPs does is not in those found, but in the model's.
        "compute": max(found.flops, model_flops) / chip.flops,
        "hbm": found.hbm_bytes / chip.hbm_bandwidth,
        "ici": sum(t.bytes for t in traffic if t.network == "ici") / chip.ici_bandwidth,
        "dcn": sum(t.bytes for t in traffic if t.network == "dcn") / chip.dcn_bandwidth,
    }
    seconds["step"] = max(seconds.values())
    return Cost(
        flops=found.flops,
        model_flops=model_flops,
        hbm_bytes=found.hbm_bytes,
        traffic=traffic,
        seconds=seconds,
        mfu=model_flops / chip.flops / seconds["step"],
        unknown_kernels=found.unknown_kernels,
        unknown_loops=found.unknown_loops,
    )


def _model_flops(config: RunConfig) -> float:
    """FLOPs of one step on all devices together, see train/accounting.py: "causal"."""
    counts, forward = step.count(config, example_of(config))
    return accounting.training_flops(counts, forward, config.batch_size)["causal"]


def _traffic(
    collectives: tuple[hlo_cost.Collective, ...], mesh: jax.sharding.Mesh
) -> tuple[Traffic, ...]:
    """Collectives added up by kind and mesh axes, those with most bytes first."""
    slice_of = [getattr(device, "slice_index", 0) for device in mesh.devices.flat]
    counts: dict[tuple[str, str, str], int] = defaultdict(int)
    sizes: dict[tuple[str, str, str], float] = defaultdict(float)
    for one in collectives:
        if one.bytes == 0:  # between a device and itself
            continue
        places = one.groups or (tuple(range(mesh.size)),)
        between = [{slice_of[p] for p in group} for group in places]
        network = "dcn" if any(len(there) > 1 for there in between) else "ici"
        axes = _axes(places, mesh) if one.groups else "slice"
        counts[one.kind, axes, network] += one.count
        sizes[one.kind, axes, network] += one.count * one.bytes
    order = sorted(counts, key=lambda key: (-sizes[key], key))
    return tuple(Traffic(*key, count=counts[key], bytes=sizes[key]) for key in order)


def _axes(groups: tuple[tuple[int, ...], ...], mesh: jax.sharding.Mesh) -> str:
    """The mesh axes along which the members of a group differ."""
    differ = set()
    for group in groups:
        where = np.unravel_index(group, mesh.devices.shape)
        differ |= {name for name, at in zip(mesh.axis_names, where) if len(set(at.tolist())) > 1}
    return " x ".join(name for name in mesh.axis_names if name in differ)
