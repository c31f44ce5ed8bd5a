"""A model's forward pass as a program that any release of JAX, or what else reads StableHLO, runs.

Weights are its inputs and lie beside it: one program serves all checkpoints of a shape, and none is
too large for it. The number of rows is open, but in models whose layers must know it: those take
one.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax import export

from train import record
from train.cli import InputError
from train.export import tensors

PROGRAM, WEIGHTS, SHAPES, README = (
    "forward.jax_export",
    "weights.safetensors",
    "shapes.json",
    "README.md",
)
PLATFORMS = ("cpu", "cuda", "tpu")
ROWS = "rows"
_README = """# {name}

`{program}` is what the model gives for a batch, as `jax.export` serialised it (StableHLO, for
{on}). `{shapes}` has its inputs and outputs; `{rows}` stands for any number of
rows. After `pip install jax flatbuffers`, in this folder:

```python
import json

import numpy as np
from jax import export

with open("{weights}", "rb") as file:
    size = int.from_bytes(file.read(8), "little")
    header, content = json.loads(file.read(size)), file.read()
weights = {{
    name: np.frombuffer(content[slice(*told["data_offsets"])], "<f4").reshape(told["shape"])
    for name, told in header.items()
    if name != "__metadata__"
}}
with open("{program}", "rb") as file:
    forward = export.deserialize(bytearray(file.read()))
batch = {{{batch}}}
outputs = forward.call(weights, batch)
```
"""


def check() -> None:
    """Raises InputError where what JAX writes programs with is not installed."""
    if not find_spec("flatbuffers"):
        raise InputError("--to: stablehlo needs a package: pip install flatbuffers==25.12.19")


def write(
    out: Path, model: nn.Module, variables: dict[str, Any], example: dict[str, np.ndarray]
) -> str:
    """Writes the program, the weights, the shapes and how to use them. Says what the model is.

    Args:
      out: the folder.
      model: of the run.
      variables: of the model, float32.
      example: a batch of its data [1, ...]; what the model does not read of it is no input.
    """
    leaves = jax.tree_util.tree_leaves_with_path(variables)
    paths = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
    weights = {path: np.asarray(leaf) for path, (_, leaf) in zip(paths, leaves)}
    of_variables = jax.tree.structure(variables)

    def forward(weights: dict[str, jax.Array], batch: dict[str, jax.Array]) -> Any:
        return model.apply(of_variables.unflatten([weights[path] for path in paths]), batch)

    used = _read(forward, weights, example)
    (rows,) = export.symbolic_shape(ROWS)
    try:
        asked, program = _exported(forward, weights, {name: example[name] for name in used}, rows)
    except (TypeError, jax.core.InconclusiveDimensionOperation):
        asked, program = _exported(forward, weights, {name: example[name] for name in used}, 1)
    tensors.write(out / WEIGHTS, weights)
    with record.replacing(out / PROGRAM) as file:
        file.write(program.serialize())
    outputs = jax.tree.unflatten(program.out_tree, program.out_avals)
    shapes = {
        "batch": {name: _told(x) for name, x in asked.items()},
        "outputs": jax.tree.map(_told, outputs, is_leaf=lambda x: hasattr(x, "shape")),
        "weights": {name: _told(x) for name, x in weights.items()},
        "platforms": PLATFORMS,
        "calling_convention": program.calling_convention_version,
        "jax": jax.__version__,
    }
    record.save_json(out / SHAPES, shapes)
    batch = ", ".join(f'"{n}": np.zeros({_one(x)}, "{x.dtype}")' for n, x in asked.items())
    names = {"program": PROGRAM, "weights": WEIGHTS, "shapes": SHAPES, "rows": ROWS}
    name, on = type(model).__module__.removeprefix("models."), ", ".join(PLATFORMS)
    record.save_text(out / README, _README.format(name=name, on=on, batch=batch, **names))
    return f"the forward pass of {name}"


def _exported(
    forward: Any, weights: dict[str, Any], batch: dict[str, Any], rows: Any
) -> tuple[dict[str, jax.ShapeDtypeStruct], export.Exported]:
    asked = {n: jax.ShapeDtypeStruct((rows, *x.shape[1:]), x.dtype) for n, x in batch.items()}
    given = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), weights)
    return asked, export.export(jax.jit(forward), platforms=PLATFORMS)(given, asked)


def _read(forward: Any, weights: dict[str, Any], batch: dict[str, Any]) -> list[str]:
    """The arrays of a batch that the model reads, sorted by name."""
    jaxpr = jax.make_jaxpr(forward)(weights, batch).jaxpr
    read = {id(v) for equation in jaxpr.eqns for v in equation.invars}
    read |= {id(v) for v in jaxpr.outvars}
    inputs = jaxpr.invars[len(weights) :]
    return [name for name, v in zip(sorted(batch), inputs) if id(v) in read]


def _told(array: Any) -> dict[str, Any]:
    shape = [size if isinstance(size, int) else str(size) for size in array.shape]
    return {"shape": shape, "dtype": np.dtype(array.dtype).name}


def _one(array: Any) -> tuple[int, ...]:
    return (1, *array.shape[1:])
