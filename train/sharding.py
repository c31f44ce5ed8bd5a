"""Sharding is data: parameters carry logical axis names, and one table maps those to mesh axes."""

import dataclasses
import math

import flax.linen as nn
import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from train.cli import InputError
from train.config import Mesh

# Logical axis of a parameter -> mesh axis. An axis that is not listed is copied.
RULES = (
    ("vocab", "tensor"),
    ("heads", "tensor"),
    ("kv_heads", "tensor"),
    ("hidden", "tensor"),
    ("embed", "fsdp"),
    ("features", "fsdp"),
)
BATCH = PartitionSpec(("data", "fsdp"))


def make_mesh(config: Mesh, devices: list[jax.Device] | None = None) -> jax.sharding.Mesh:
    """The device mesh of a config. Raises InputError if it does not fit the devices."""
    devices = jax.devices() if devices is None else devices
    sizes = dataclasses.asdict(config)
    given = math.prod(s for s in sizes.values() if s != -1)
    if -1 in sizes.values():
        sizes = {k: len(devices) // given if s == -1 else s for k, s in sizes.items()}
    if math.prod(sizes.values()) != len(devices):
        text = " x ".join(f"{k}={s}" for k, s in dataclasses.asdict(config).items())
        raise InputError(f"config.mesh: {text}; must multiply to the {len(devices)} devices here")
    return jax.make_mesh(
        tuple(sizes.values()),
        tuple(sizes),
        axis_types=(AxisType.Auto,) * len(sizes),
        devices=devices,
    )


def of_tree(tree, mesh: jax.sharding.Mesh):
    """NamedShardings for a tree whose leaves may be boxed with logical axis names."""
    return nn.logical_to_mesh_sharding(nn.get_partition_spec(tree), mesh, RULES)


def of_batch(mesh: jax.sharding.Mesh) -> NamedSharding:
    """Batches are split over their first axis."""
    return NamedSharding(mesh, BATCH)


def copied(mesh: jax.sharding.Mesh) -> NamedSharding:
    """The same value on every device."""
    return NamedSharding(mesh, PartitionSpec())


def check_batch(field: str, batch_size: int, mesh: jax.sharding.Mesh) -> None:
    """Raises InputError if a batch cannot be split evenly over the mesh."""
    parts = mesh.shape["data"] * mesh.shape["fsdp"]
    if batch_size % parts:
        raise InputError(f"{field}: {batch_size}; must be a multiple of data x fsdp = {parts}")
