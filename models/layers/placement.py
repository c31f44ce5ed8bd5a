"""On which devices a model runs, and how the axes of its arrays are split over them.

A model names the axes of its arrays (`spread`), never those of a mesh. Layers whose computation
depends on the devices (ring attention, pipelines, experts, kernels) ask here into how many parts an
axis is split (`ways`), or for the mesh itself (`current`). Who traces a model says which devices it
is for (`on`); where nobody does, there is one device, and nothing here changes anything.
"""

import contextlib
import contextvars
import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence

import jax
from jax.sharding import NamedSharding, PartitionSpec

Rules = tuple[tuple[str, tuple[str, ...]], ...]


@dataclasses.dataclass(frozen=True)
class Placement:
    """A mesh of devices, and the mesh axes that each logical axis is split over."""

    mesh: jax.sharding.Mesh
    rules: Rules
    microbatches: int = 0  # of a pipeline; 0 = as many as stages

    def rest(self) -> jax.sharding.Mesh | jax.sharding.AbstractMesh:
        """The mesh, without the axes of which each device is traced for itself."""
        here = jax.sharding.get_abstract_mesh()
        return self.mesh if here.empty else here

    def axes(self, name: str | None) -> tuple[str, ...]:
        """The mesh axes, of more than one device, that a logical axis is split over."""
        own = self.rest().manual_axes
        return tuple(
            a for a in dict(self.rules).get(name, ()) if self.mesh.shape[a] > 1 and a not in own
        )

    def ways(self, name: str | None) -> int:
        """Into how many parts a logical axis is split."""
        return math.prod(self.mesh.shape[a] for a in self.axes(name))

    def copies(self) -> tuple[str, ...]:
        """The mesh axes that rows are split over and no parameter is."""
        other = {a for name, axes in self.rules if name != "batch" for a in axes}
        return tuple(a for a in self.axes("batch") if a not in other)

    def sharding(self, shape: Sequence[int], names: Sequence[str | None]) -> NamedSharding:
        """Where an array with these logical axes lies. An axis that cannot be split evenly is
        copied."""
        if len(shape) != len(names):
            raise ValueError(f"{len(names)} axis names {tuple(names)} for shape {tuple(shape)}")
        split = [
            self.axes(name) if size % self.ways(name) == 0 else ()
            for size, name in zip(shape, names)
        ]
        return NamedSharding(self.rest(), PartitionSpec(*(axes or None for axes in split)))


_CURRENT: contextvars.ContextVar[Placement | None] = contextvars.ContextVar(
    "placement", default=None
)


@contextlib.contextmanager
def on(place: Placement) -> Iterator[None]:
    """Models that are traced inside this context are traced for these devices."""
    token = _CURRENT.set(place)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def current() -> Placement | None:
    """The devices that are traced for, if there are several."""
    place = _CURRENT.get()
    return place if place is not None and place.mesh.size > 1 else None


def platform() -> str:
    """The kind of device that is traced for: "cpu", "gpu", "tpu"; "cpu" where nobody said."""
    place = _CURRENT.get()
    return "cpu" if place is None else place.mesh.devices.flat[0].platform


def ways(name: str) -> int:
    """Into how many parts a logical axis is split; 1 on one device."""
    place = current()
    return 1 if place is None else place.ways(name)


def spread(x: jax.Array, *names: str | None) -> jax.Array:
    """`x`, with each axis split as its name says; an axis named None is copied."""
    place = current()
    if place is None:
        return x
    return jax.lax.with_sharding_constraint(x, place.sharding(x.shape, names))


def each_device(
    function: Callable[..., jax.Array],
    arrays: Sequence[jax.Array],
    names: Sequence[Sequence[str | None]],
    along: Sequence[str] | None = None,
) -> jax.Array:
    """Calls `function` on each device with its own parts of `arrays`, whose axes have `names`.

    The result has the axes of the first array. For kernels that the compiler cannot split, and for
    functions that talk to other devices themselves. Where `along` names axes, those of the mesh
    that these are not split over stay the compiler's; `names` then has no others.
    """
    place = current()
    if place is None:
        return function(*arrays)
    mesh = place.rest()
    axes = set(mesh.axis_names) - set(mesh.manual_axes)
    if along is not None:
        axes = {axis for name in along for axis in place.axes(name)}
    if not axes:
        return function(*arrays)
    specs = tuple(place.sharding(x.shape, n).spec for x, n in zip(arrays, names))
    # Kernels do not say over which mesh axes their results vary, which is what would be checked.
    split = jax.shard_map(
        function,
        mesh=mesh,
        in_specs=specs,
        out_specs=specs[0],
        axis_names=axes,
        check_vma=False,
    )
    return split(*arrays)
