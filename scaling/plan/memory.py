"""What a run needs of a device's memory, before it is trained.

The state is exact: parameters, their gradients and what the optimizer keeps. Activations are an
estimate: what JAX saves of the forward pass for the backward pass, from the traced program of the
run's own model and batch. The compiler may keep less (it fuses and computes again) and needs some
room to work in.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from train import optimizer, step, tasks
from train.compile import ahead
from train.config import Choice, RunConfig
from train.score import score

_AGAIN = ("remat2", "checkpoint")  # names of jax.checkpoint among primitives, by version


class Memory(NamedTuple):
    """Bytes of one run: `state` is exact, `activations` an estimate."""

    state: int
    activations: int

    @property
    def total(self) -> int:
        """Both together."""
        return self.state + self.activations


def of_run(config: RunConfig, example: dict[str, np.ndarray]) -> Memory:
    """Memory of a run on batches that look like `example` (any batch size); nothing is compiled.

    A batch in parts (config.accumulate) needs the activations of one part, and room for the sum of
    gradients.
    """
    params, extra = step.abstract_variables(config, example)
    players = tasks.load(config.task.name).PLAYERS
    tx = optimizer.build(config.optimizer, 0.0, 0.0, players, optimizer.roles_of(params))
    kept = jax.eval_shape(tx.init, params)
    rows, copies = config.batch_size // config.accumulate, 2 + (config.accumulate > 1)
    batch = {
        name: jax.ShapeDtypeStruct((rows, *value.shape[1:]), value.dtype)
        for name, value in example.items()
    }
    state = copies * _bytes(params) + _bytes(kept) + _bytes(extra)
    return Memory(state, _activations(config, params, extra, batch))


def of_runs(configs: Sequence[RunConfig]) -> list[Memory]:
    """Memory of each run; those that differ in what needs no memory are traced once."""
    examples: dict[Choice, dict[str, np.ndarray]] = {}
    found: dict[RunConfig, Memory] = {}
    needs = []
    for config in configs:
        if config.data not in examples:
            examples[config.data] = ahead.example_of(config)
        shape = shape_of(config)
        if shape not in found:
            found[shape] = of_run(shape, examples[config.data])
        needs.append(found[shape])
    return needs


def parts_that_fit(config: RunConfig, there: float) -> int | None:
    """Fewest parts of a batch, a power of two, with which a run needs less than `there` bytes."""
    example, parts = ahead.example_of(config), config.accumulate
    while config.batch_size % parts == 0:
        if of_run(dataclasses.replace(config, accumulate=parts), example).total < there:
            return parts
        parts *= 2
    return None


def shape_of(config: RunConfig) -> RunConfig:
    """The same for all runs that differ in what needs no memory."""
    rates = dataclasses.replace(config.optimizer, learning_rate=0.0, weight_decay=0.0)
    return dataclasses.replace(config, optimizer=rates, seed=0, steps=1, log_every=1)


def _activations(config: RunConfig, params: Any, extra: Any, batch: Any) -> int:
    """Bytes saved by the forward pass, and of the dearest part that is computed again.

    Of several players it is the sum of their objectives, which saves no less than one of them.
    """
    model = step.build_model(config)

    def objective(params, extra, batch, key):
        losses, _ = score(model, config.task, params, extra, batch, key, train=True)
        return sum(jnp.sum(x) for x in jax.tree.leaves(losses.objective))

    inputs = (params, extra, batch, jax.eval_shape(lambda: jax.random.key(0)))
    forward = jax.make_jaxpr(objective)(*inputs)
    again = [_saved(core.jaxpr_as_fun(part), part.in_avals) for part in _rematerialised(forward)]
    return _saved(objective, inputs) + max(again, default=0)


def _saved(function: Callable, arguments: Sequence[Any]) -> int:
    """Bytes that the backward pass of a function needs beside its arguments."""
    floats = [
        all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in jax.tree.leaves(argument))
        for argument in arguments
    ]

    def residuals(*arguments):
        def of_floats(*values):
            given = iter(values)
            return function(*(next(given) if f else a for f, a in zip(floats, arguments)))

        values = (argument for f, argument in zip(floats, arguments) if f)
        return jax.tree.leaves(jax.vjp(of_floats, *values)[1])

    jaxpr = jax.make_jaxpr(residuals)(*arguments).jaxpr
    made = {v for v in jaxpr.outvars if not isinstance(v, core.Literal)} - set(jaxpr.invars)
    return sum(_size(variable.aval) for variable in made)


def _rematerialised(closed: core.ClosedJaxpr) -> Iterator[core.ClosedJaxpr]:
    """The parts of a program that the backward pass computes again."""
    for eqn in closed.jaxpr.eqns:
        for value in jax.tree.leaves(eqn.params, is_leaf=_is_jaxpr):
            if not _is_jaxpr(value):
                continue
            inner = value if isinstance(value, core.ClosedJaxpr) else core.ClosedJaxpr(value, ())
            if eqn.primitive.name in _AGAIN:
                yield inner
            else:
                yield from _rematerialised(inner)


def _is_jaxpr(value: Any) -> bool:
    return isinstance(value, core.Jaxpr | core.ClosedJaxpr)


def _bytes(tree: Any) -> int:
    return sum(_size(leaf) for leaf in jax.tree.leaves(tree))


def _size(array: Any) -> int:
    return math.prod(array.shape) * array.dtype.itemsize
