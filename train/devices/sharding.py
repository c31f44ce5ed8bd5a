"""Sharding is data: arrays carry logical axis names, and one table maps those to mesh axes."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import models
from models.layers import ring
from models.layers.placement import Placement
from train.cli import InputError
from train.config import Mesh, RunConfig

# Axes of the mesh from the slowest network to the fastest: neighbours in the last one are
# neighbours in the machine.
AXES = ("slice", "stage", "data", "fsdp", "expert", "context", "tensor")

# Logical axis -> the mesh axes it is split over. One that is not listed is copied.
RULES = (
    # of activations
    # Stages share a batch wherever they are no stages (models.layers.pipeline), which wants the
    # axes that no parameter is split over first.
    ("batch", ("slice", "data", "stage", "fsdp", "expert")),
    ("length", ("context",)),
    # of parameters, and of activations where these have them
    ("vocab", ("tensor",)),
    ("users", ("tensor",)),
    ("items", ("tensor",)),
    ("contexts", ("tensor",)),
    ("heads", ("tensor",)),
    ("kv_heads", ("tensor",)),
    ("hidden", ("tensor",)),
    # of parameters
    ("layers", ("stage",)),
    ("embed", ("fsdp",)),
    ("features", ("fsdp",)),
    ("experts", ("expert",)),
)
# A vocabulary is what the data make it, and so are users, items and contexts. One that cannot be
# split evenly is copied as a parameter, and rounded up where logits are made
# (models.layers.vocabulary.unembed).
ANY_SIZE = ("vocab", "users", "items", "contexts")


def make_mesh(config: Mesh, devices: Sequence[jax.Device] | None = None) -> jax.sharding.Mesh:
    """The device mesh of a config. Raises InputError if it does not fit the devices."""
    devices = jax.devices() if devices is None else list(devices)
    given = {axis: getattr(config, axis) for axis in AXES}
    rest = len(devices) // math.prod(size for size in given.values() if size != -1)
    sizes = {axis: rest if size == -1 else size for axis, size in given.items()}
    if math.prod(sizes.values()) != len(devices):
        text = " x ".join(f"{k}={s}" for k, s in given.items() if s != 1) or "one device"
        raise InputError(f"config.mesh: {text}; must multiply to the {len(devices)} devices here")
    slices = len({getattr(device, "slice_index", 0) for device in devices})
    if slices == 1:
        kinds = (AxisType.Auto,) * len(AXES)
        return jax.make_mesh(tuple(sizes.values()), AXES, axis_types=kinds, devices=devices)
    if sizes["slice"] != slices:
        raise InputError(f"config.mesh.slice: {sizes['slice']}; these devices are {slices} slices")
    within = mesh_utils.create_hybrid_device_mesh(
        (1, *list(sizes.values())[1:]), (slices,) + (1,) * (len(AXES) - 1), devices
    )
    return jax.sharding.Mesh(within, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def place(mesh: jax.sharding.Mesh, microbatches: int = 0) -> Placement:
    """What a model needs to know of the mesh that it is traced for."""
    return Placement(mesh, RULES, microbatches)


def place_whole(mesh: jax.sharding.Mesh, microbatches: int = 0) -> Placement:
    """The same where sequences are not split, and stay in the order of the data.

    Of what is kept of a row, nobody knows along which axis a sequence lies.
    """
    rules = tuple(rule for rule in RULES if rule[0] != "length")
    return Placement(mesh, rules, microbatches)


def of_tree(tree: Any, mesh: jax.sharding.Mesh) -> Any:
    """NamedShardings for a tree whose leaves may be boxed with logical axis names."""
    placement = place(mesh)

    def of_box(box: Any) -> Any:
        names = nn.get_partition_spec(box)
        # A box is empty where an optimizer keeps nothing for a parameter of another group.
        return jax.tree.map(
            lambda leaf: placement.sharding(leaf.shape, _names(names, leaf)), nn.meta.unbox(box)
        )

    return jax.tree.map(of_box, tree, is_leaf=lambda x: isinstance(x, nn.meta.AxisMetadata))


def _names(spec: PartitionSpec | None, leaf: Any) -> tuple[str | None, ...]:
    names = tuple(spec or ())
    return names + (None,) * (len(leaf.shape) - len(names))


def of_batch(mesh: jax.sharding.Mesh) -> NamedSharding:
    """Batches are split over their first axis."""
    return NamedSharding(mesh, PartitionSpec(dict(RULES)["batch"]))


def copied(mesh: jax.sharding.Mesh) -> NamedSharding:
    """The same value on every device."""
    return NamedSharding(mesh, PartitionSpec())


def spread(shape: Sequence[int], mesh: jax.sharding.Mesh) -> NamedSharding:
    """Of an array that is only looked at: over all devices, along the first axis that divides."""
    even = [axis for axis, size in enumerate(shape) if size % mesh.size == 0]
    spec = [None] * even[0] + [mesh.axis_names] if even else []
    return NamedSharding(mesh, PartitionSpec(*spec))


def arrange(
    batch: dict[str, jax.Array], mesh: jax.sharding.Mesh, axes: Mapping[str, Sequence[str]]
) -> dict[str, jax.Array]:
    """A batch whose sequences are in the order in which devices hold them.

    Args:
      batch: arrays [B, ...].
      mesh: of the devices.
      axes: names of the axes of those arrays that are more than rows, see `models`.
    """
    ways = place(mesh).ways("length")
    if ways == 1:
        return batch
    return {
        name: jnp.take(x, ring.zigzag(x.shape[axis], ways), axis=axis)
        if (axis := _along(axes, name)) is not None
        else x
        for name, x in batch.items()
    }


def _along(axes: Mapping[str, Sequence[str]], name: str) -> int | None:
    """Which axis of an array is its sequence, None if none is."""
    names = tuple(axes.get(name, ()))
    return names.index("length") if "length" in names else None


def check(
    config: RunConfig, params: Any, example: dict[str, np.ndarray], mesh: jax.sharding.Mesh
) -> None:
    """Raises InputError if a run cannot be split over a mesh.

    Args:
      config: of the run.
      params: shapes of its parameters, with logical axis names.
      example: a batch of any size.
      mesh: of the devices.
    """
    if mesh.shape["stage"] > 1:
        _check_stages(config, mesh.shape["stage"])
    _check_dropout(config, mesh)
    _check_batch(config, "config.batch_size", config.batch_size, mesh, config.accumulate)
    _check_batch(config, "config.evaluation.batch_size", config.evaluation.batch_size, mesh)
    placement, used = place(mesh), set(place(mesh).axes("batch"))
    for spec, leaf in zip(
        jax.tree.leaves(nn.get_partition_spec(params)), jax.tree.leaves(nn.meta.unbox(params))
    ):
        for name, size in zip(spec, leaf.shape):
            used |= set(placement.axes(name))
            if size % placement.ways(name) and name not in ANY_SIZE:
                (axis,) = placement.axes(name)
                raise InputError(
                    f"config.mesh.{axis}: {mesh.shape[axis]}; must divide the {size} {name} of "
                    f"{config.model.name}"
                )
    axes, context = models.axes(config.model.name), mesh.shape["context"]
    for name in sorted(axes.keys() & example.keys()):
        if (axis := _along(axes, name)) is None:
            continue
        used.add("context")
        length = example[name].shape[axis]
        if context > 1 and length % (2 * context):
            raise InputError(
                f"config.mesh.context: {context}; twice that must divide the sequence length, "
                f"{length}"
            )
    for axis, size in mesh.shape.items():
        if size > 1 and axis not in used:
            raise InputError(
                f"config.mesh.{axis}: {size}; {config.model.name} has nothing to split over it"
            )


def _check_stages(config: RunConfig, stages: int) -> None:
    name, field = config.model.name, f"config.mesh.stage: {stages}"
    if not getattr(models.load(name), "SPLITS_LAYERS", False):
        raise InputError(f"{field}; the layers of {name} cannot be split into stages")
    if config.microbatches % stages:
        raise InputError(
            f"config.microbatches: {config.microbatches}; must be a multiple of mesh.stage = "
            f"{stages}, or 0"
        )


def _check_dropout(config: RunConfig, mesh: jax.sharding.Mesh) -> None:
    """Raises InputError where a run's dropout would depend on its mesh.

    What a row loses is drawn for the whole row, in the order in which its device holds it.
    """
    for axis in ("stage", "context"):
        if mesh.shape[axis] > 1 and getattr(config.model.config, "dropout", 0.0):
            raise InputError(
                f"config.mesh.{axis}: {mesh.shape[axis]}; must be 1 with config.model.dropout "
                "above 0"
            )


def _check_batch(
    config: RunConfig, field: str, batch_size: int, mesh: jax.sharding.Mesh, parts: int = 1
) -> None:
    """Raises InputError if a batch, in `parts` one after the other, cannot be split evenly."""
    factors = {axis: mesh.shape[axis] for axis in place(mesh).axes("batch")}
    if config.microbatches and factors.pop("stage", None):
        factors["microbatches"] = config.microbatches
    if parts > 1:
        factors["accumulate"] = parts
    least = math.prod(factors.values())
    if batch_size % least:
        raise InputError(
            f"{field}: {batch_size}; must be a multiple of {' x '.join(factors)} = {least}"
        )
