"""The compiled functions of a run: initial state, training step, evaluation step.

Learning rate, weight decay, seed and horizon are inputs of the step (`Hyper`), not constants in it,
so all runs of one shape share one executable: `compile_for` gives the same functions for configs
that differ in those alone.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

import models
from models.layers import placement
from train import accounting, accumulate, dropout, optimizer, tasks
from train.config import Checkpoint, Choice, RunConfig
from train.devices import sharding

# On CPU, LLVM's optimiser takes longer over a program that runs once than it can save.
_RUN_ONCE = {"xla_backend_optimization_level": 0}


_ROW = "row"  # beside the arrays of a batch: which row of it each example is


class Hyper(NamedTuple):
    """What a sweep varies: scalars, or arrays over packed runs."""

    learning_rate: jax.Array  # float32, peak
    weight_decay: jax.Array  # float32
    seed: jax.Array  # uint32
    steps: jax.Array  # int32, the horizon


class State(NamedTuple):
    """Everything that a training step changes."""

    step: jax.Array  # int32, steps taken
    params: Any
    opt_state: Any


class Functions(NamedTuple):
    """Jitted functions of one shape of run, and the state's shardings and shapes."""

    init: Any  # hyper -> State
    train: Any  # (State, batch, hyper) -> (State, metrics); donates State
    evaluate: Any  # (params, batch) -> (loss [B], units [B])
    abstract: State  # ShapeDtypeStructs with shardings, for restoring
    mesh: jax.sharding.Mesh


def hyper_of(config: RunConfig) -> Hyper:
    """The step's inputs for one run."""
    return Hyper(
        np.float32(config.optimizer.learning_rate),
        np.float32(config.optimizer.weight_decay),
        np.uint32(config.seed),
        np.int32(config.steps),
    )


def compile_for(
    config: RunConfig,
    example: dict[str, np.ndarray],
    devices: Sequence[jax.Device] | None = None,
) -> Functions:
    """Functions for a run on batches that look like `example` (any batch size); `devices` if they
    are not to be those of this machine."""
    static = dataclasses.replace(
        config,
        optimizer=dataclasses.replace(config.optimizer, learning_rate=0.0, weight_decay=0.0),
        checkpoint=Checkpoint(every=0, keep=1, best=0),
        evaluation=dataclasses.replace(config.evaluation, every=0),
        seed=0,
        steps=1,
        log_every=1,
    )
    return _functions(static, _shapes(example), None if devices is None else tuple(devices))


def build_model(config: RunConfig) -> nn.Module:
    """The Flax module of a run."""
    return models.load(config.model.name).Model(config.model.config)


def abstract_params(config: RunConfig, example: dict[str, np.ndarray]) -> Any:
    """Shapes of a run's parameters, with logical axis names; nothing is computed."""
    return jax.eval_shape(lambda: build_model(config).init(jax.random.key(0), example))["params"]


def count(
    config: RunConfig, example: dict[str, np.ndarray]
) -> tuple[dict[str, int], dict[str, int]]:
    """N by group, and FLOPs by kind of one example's forward pass, see train.accounting."""
    return _count(config.model, _shapes(example))


def _shapes(example: dict[str, np.ndarray]) -> tuple:
    """What a compiled function must know of examples, but for how many they are."""
    return tuple((k, v.shape[1:], v.dtype.str) for k, v in sorted(example.items()))


def _zeros(shapes: tuple) -> dict[str, np.ndarray]:
    """One example of nothing."""
    return {k: np.zeros((1, *shape), dtype) for k, shape, dtype in shapes}


@functools.lru_cache(maxsize=256)
def _count(chosen: Choice, shapes: tuple) -> tuple[dict[str, int], dict[str, int]]:
    model, one = models.load(chosen.name).Model(chosen.config), _zeros(shapes)
    params = jax.eval_shape(model.init, jax.random.key(0), one)["params"]
    N = accounting.count_parameters(params, getattr(chosen.config, "used", {}))
    forward = accounting.forward_flops(
        lambda params, batch: model.apply({"params": params}, batch), params, one
    )
    return N, forward


class _Program:
    """What is traced: the pure functions of one shape of run."""

    def __init__(self, config: RunConfig, shapes: tuple, mesh: jax.sharding.Mesh):
        self.config, self.mesh, self.one = config, mesh, _zeros(shapes)
        self.model, self.task = build_model(config), tasks.load(config.task.name)
        self.boxed = jax.eval_shape(self.init, hyper_of(config))
        sharding.check(config, self.boxed.params, self.one, mesh)
        self.sharding = sharding.of_tree(self.boxed, mesh)

    def init(self, hyper: Hyper) -> State:
        """The first state, its parameters boxed with the names of their axes."""
        params = self.model.init(jax.random.key(hyper.seed), self.one)["params"]
        tx = optimizer.build(self.config.optimizer, 0.0, 0.0)
        return State(jnp.zeros((), jnp.int32), params, tx.init(params))

    def score(self, params, batch, **kwargs) -> tuple[tasks.Losses, dict[str, jax.Array]]:
        """Losses, and what the model itself measures, per unit [B]."""
        batch = sharding.arrange(batch, self.mesh)
        with placement.on(sharding.place(self.mesh, self.config.microbatches)):
            outputs, own = self.model.apply(
                {"params": params}, batch, mutable=["losses", "metrics"], **kwargs
            )
        losses = self.task.losses(self.config.task.config, outputs, batch)
        # Both collections are per unit, [B] or [layers, B].
        extra = sum(x.reshape(-1, x.shape[-1]).sum(0) for x in jax.tree.leaves(own.get("losses")))
        measured = {
            "/".join(key.key for key in path[:-1]): x.reshape(-1, x.shape[-1]).mean(0)
            for path, x in jax.tree_util.tree_leaves_with_path(own.get("metrics"))
        }
        return losses._replace(objective=losses.objective + losses.units * extra), measured

    def gradient(self, params, batch, key):
        """Of the mean objective over a batch's units; the mean of each metric; the units."""
        examples = {name: x for name, x in batch.items() if name != _ROW}

        def mean_objective(params):
            with nn.intercept_methods(dropout.by_row(batch[_ROW])):
                losses, measured = self.score(params, examples, train=True, rngs={"dropout": key})
            units = jnp.sum(losses.units)
            means = {name: jnp.sum(x * losses.units) / units for name, x in measured.items()}
            means["loss"] = jnp.sum(losses.loss) / units
            return jnp.sum(losses.objective) / units, (means, units)

        grads, (means, units) = jax.grad(mean_objective, has_aux=True)(params)
        return grads, means, units

    def train(self, state: State, batch, hyper: Hyper) -> tuple[State, dict[str, jax.Array]]:
        """One step, and its metrics."""
        # The key of a step depends on seed and step alone: a resumed run draws what it would have
        # drawn.
        config, key = self.config, jax.random.fold_in(jax.random.key(hyper.seed), state.step)
        batch = batch | {_ROW: jnp.arange(len(batch["weight"]))}
        if config.accumulate == 1:
            grads, means, _ = self.gradient(state.params, batch, key)
        else:
            grads, means = accumulate.mean(
                self.gradient, state.params, batch, key, config.accumulate, self.sharding.params
            )
        rate = optimizer.learning_rate(
            config.schedule, state.step, hyper.steps, hyper.learning_rate
        )
        tx = optimizer.build(config.optimizer, rate, hyper.weight_decay)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        # The gradient's before it is clipped. A norm of the updates or the parameters is a sum over
        # devices that waits for no other: XLA:CPU starts it in another order on each, and hangs.
        metrics = means | {"grad_norm": optax.tree.norm(grads), "learning_rate": rate}
        return State(state.step + 1, params, opt_state), metrics

    def evaluate(self, params, batch) -> tuple[jax.Array, jax.Array]:
        """Loss and units of each example, [B] each."""
        losses, _ = self.score(params, batch)
        return losses.loss, losses.units


@functools.lru_cache(maxsize=64)
def _functions(
    config: RunConfig, shapes: tuple, devices: tuple[jax.Device, ...] | None
) -> Functions:
    mesh = sharding.make_mesh(config.mesh, devices)
    program = _Program(config, shapes, mesh)
    of_state, of_batch, copied = program.sharding, sharding.of_batch(mesh), sharding.copied(mesh)
    abstract = jax.tree.map(
        lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s),
        nn.meta.unbox(program.boxed),
        of_state,
    )
    return Functions(
        init=jax.jit(
            lambda hyper: nn.meta.unbox(program.init(hyper)),
            out_shardings=of_state,
            compiler_options=_RUN_ONCE if jax.default_backend() == "cpu" else None,
        ),
        # Outputs are pinned: left to the compiler, the state's sharding may change and step 2
        # recompile.
        train=jax.jit(
            program.train,
            in_shardings=(of_state, of_batch, copied),
            out_shardings=(of_state, copied),
            donate_argnums=0,
        ),
        evaluate=jax.jit(
            program.evaluate,
            in_shardings=(of_state.params, of_batch),
            out_shardings=(copied, copied),
        ),
        abstract=abstract,
        mesh=mesh,
    )
