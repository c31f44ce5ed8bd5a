"""The compiled functions of a run: initial state, training step, evaluation.

Learning rate, weight decay, seed and horizon are inputs of the step (`Hyper`), not constants in it,
so all runs of one shape share one executable: `compile_for` gives the same functions for configs
that differ in those alone.
"""

import contextlib
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
from train import accounting, accumulate, optimizer, tasks
from train.cli import InputError
from train.config import NO_START, Checkpoint, Choice, RunConfig
from train.devices import sharding
from train.score import OWN, Bound, bind, score

# On CPU, LLVM's optimiser takes longer over a program that runs once than it can save.
_RUN_ONCE = {"xla_backend_optimization_level": 0}

_EVALUATION = 23  # seed of what is drawn in evaluation: the same for all runs


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
    extra: Any  # every other collection that a model keeps: statistics of batches, averages
    opt_state: Any


class Functions(NamedTuple):
    """Jitted functions of one shape of run, and the state's shardings and shapes."""

    init: Any  # hyper -> State
    train: Any  # (State, batch, hyper) -> (State, metrics); donates State
    many: Any  # (State, K batches, how many, hyper) -> the same of the last; None: no gain
    evaluate: Any  # (State, evaluation batch, its index) -> (sums {name: [B]}, units [B])
    examine: Any  # the same -> {name: [B, ...]}, what the task keeps of each row; None: nothing
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
        evaluation=dataclasses.replace(config.evaluation, every=0, error=0.0),
        start=NO_START,
        evals={},
        seed=0,
        steps=1,
        log_every=1,
    )
    return _functions(static, _shapes(example), None if devices is None else tuple(devices))


class _Batch(dict):
    """Arrays of a data set, by name. One that is asked for and not there is bad input."""

    def __missing__(self, name: str) -> Any:
        there = ", ".join(sorted(self))
        raise InputError(f"config.data.name: its batches have {there}; {name!r} is asked for")


def build_model(config: RunConfig) -> nn.Module:
    """The Flax module of a run."""
    return models.load(config.model.name).Model(config.model.config)


def variables(module: nn.Module, key: jax.Array, example: dict[str, Any]) -> tuple[Any, Any]:
    """A model's first parameters, boxed with the names of their axes, and what else it keeps."""
    made = module.init(key, _Batch(example))
    params = made.pop("params")
    return params, {name: kept for name, kept in made.items() if name not in OWN}


def abstract_variables(config: RunConfig, example: dict[str, np.ndarray]) -> tuple[Any, Any]:
    """The shapes of the same; nothing is computed."""
    return jax.eval_shape(lambda: variables(build_model(config), jax.random.key(0), example))


def count(
    config: RunConfig, example: dict[str, np.ndarray]
) -> tuple[dict[str, int], dict[str, int]]:
    """N by group, and FLOPs by kind of one example's forward pass, see train.accounting.

    The pass is the task's: all that it asks of the model for the losses of one row.
    """
    return _count(config.model, config.task, _shapes(example))


def _shapes(example: dict[str, np.ndarray]) -> tuple:
    """What a compiled function must know of examples, but for how many they are."""
    return tuple((k, v.shape[1:], v.dtype.str) for k, v in sorted(example.items()))


def _zeros(shapes: tuple) -> dict[str, np.ndarray]:
    """One example of nothing."""
    return {k: np.zeros((1, *shape), dtype) for k, shape, dtype in shapes}


@functools.lru_cache(maxsize=256)
def _count(chosen: Choice, task: Choice, shapes: tuple) -> tuple[dict[str, int], dict[str, int]]:
    model, one = models.load(chosen.name).Model(chosen.config), _zeros(shapes)
    params, extra = jax.eval_shape(lambda: variables(model, jax.random.key(0), one))
    extra = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), nn.meta.unbox(extra))

    def forward(params, batch):
        asked = (params, extra, _Batch(batch), jax.random.key(0))
        losses, _ = score(model, task, *asked, train=False)
        return losses

    N = accounting.count_parameters(params, getattr(chosen.config, "used", {}))
    return N, accounting.forward_flops(forward, params, one)


class _Program:
    """What is traced: the pure functions of one shape of run."""

    def __init__(self, config: RunConfig, shapes: tuple, mesh: jax.sharding.Mesh):
        self.config, self.mesh, self.one = config, mesh, _zeros(shapes)
        self.model, self.task = build_model(config), tasks.load(config.task.name)
        params, extra = abstract_variables(config, self.one)
        sharding.check(config, params, self.one, mesh)
        # Rows of a batch look at one another.
        self.together = not self.task.DIVISIBLE or bool(extra)
        self.check(params)
        self.roles = optimizer.roles_of(params)
        self.boxed = jax.eval_shape(self.init, hyper_of(config))
        self.sharding = sharding.of_tree(self.boxed, mesh)

    def check(self, params) -> None:
        """Raises InputError where model, task and optimizer do not go together."""
        task, model, players = self.config.task.name, self.config.model.name, self.task.PLAYERS
        if players and set(players) != set(params):
            raise InputError(
                f"config.task.name: {task!r} trains {', '.join(players)}; {model} is made of "
                f"{', '.join(sorted(params))}"
            )
        try:
            optimizer.check(self.config.optimizer, params)
        except ValueError as error:
            raise InputError(f"config.optimizer.{error}") from error
        if self.config.accumulate > 1 and self.together:
            raise InputError(
                f"config.accumulate: {self.config.accumulate}; must be 1: in {model} with {task} "
                "the rows of a batch look at one another"
            )

    def init(self, hyper: Hyper) -> State:
        """The first state, its parameters boxed with the names of their axes."""
        params, extra = variables(self.model, jax.random.key(hyper.seed), self.one)
        tx = self.optimizer(0.0, 0.0)
        return State(jnp.zeros((), jnp.int32), params, extra, tx.init(params))

    def optimizer(self, rate, weight_decay, step=0) -> optax.GradientTransformation:
        """The run's, with these inputs."""
        of_run, players = self.config.optimizer, self.task.PLAYERS
        return optimizer.build(of_run, rate, weight_decay, players, self.roles, step)

    @contextlib.contextmanager
    def placed(self, batch):
        """Traces for the mesh; gives the batch in the order in which devices hold it."""
        with placement.on(sharding.place(self.mesh, self.config.microbatches)):
            yield sharding.arrange(batch, self.mesh, models.axes(self.config.model.name))

    def score(self, params, extra, batch, key, rows, **kwargs) -> tuple[tasks.Losses, Bound]:
        """See train.score."""
        with self.placed(batch) as batch:
            return score(self.model, self.config.task, params, extra, batch, key, rows, **kwargs)

    def gradient(self, params, extra, numbered, key):
        """Of the mean objective over a batch's units, each player's by its own parameters.

        With what the model keeps, the mean of each metric, and the units. `numbered`: the batch,
        and which row of a step's whole batch each of its rows is.
        """
        examples, rows = numbered

        def mean_objective(own, player):
            held = {} if player is None else jax.lax.stop_gradient(params)
            losses, model = self.score({**held, **own}, extra, examples, key, rows, train=True)
            units = jnp.sum(losses.units)
            means = {name: jnp.sum(x * losses.units) / units for name, x in model.metrics.items()}
            means |= {name: jnp.sum(x) / units for name, x in losses.sums.items()}
            objective = losses.objective if player is None else losses.objective[player]
            return jnp.sum(objective) / units, (means, units, model.extra)

        grads = {}
        for player in self.task.PLAYERS or (None,):
            own = params if player is None else {player: params[player]}
            # Every player's pass keeps the same: only the gradients differ.
            part, (means, units, kept) = jax.grad(mean_objective, has_aux=True)(own, player)
            grads |= part
        return grads, means, units, kept

    def divided(self) -> accumulate.Gradient:
        """The gradient: in parts, where the config says, and added up over copies at the end.

        That is worth it where it lies split before, or is a sum of parts. Of weights that are
        copied over further axes that rows are split over, it would be a second sum.
        """
        config, place = self.config, sharding.place(self.mesh)
        copies = place.copies()
        others = set(place.axes("batch")) - set(copies)
        apart = (others or config.accumulate > 1) and others <= set(place.axes("embed"))

        def whole(params, batch, key):
            return self.gradient(params, {}, batch, key)[:3]

        def constrain(grads):
            where = sharding.of_tree(self.boxed.params, self.mesh)
            return jax.lax.with_sharding_constraint(grads, where)

        if config.accumulate > 1:
            whole = accumulate.mean(whole, config.accumulate, constrain)
        if copies and apart:
            dtype = jnp.dtype(getattr(config.model.config, "dtype", "float32"))
            if self.mesh.devices.flat[0].platform == "cpu":  # XLA aborts over such sums in bfloat16
                dtype = jnp.dtype("float32")
            whole = accumulate.apart(whole, self.mesh, copies, dtype)
        return whole

    def train(self, state: State, batch, hyper: Hyper) -> tuple[State, dict[str, jax.Array]]:
        """One step, and its metrics."""
        # The key of a step depends on seed and step alone: a resumed run draws what it would have
        # drawn.
        config, key = self.config, jax.random.fold_in(jax.random.key(hyper.seed), state.step)
        batch = batch, jnp.arange(len(batch["weight"]))
        if self.together:
            grads, means, _, extra = self.gradient(state.params, state.extra, batch, key)
        else:
            extra = state.extra  # there is none
            grads, means, _ = self.divided()(state.params, batch, key)
        rate = optimizer.learning_rate(
            config.schedule, state.step, hyper.steps, hyper.learning_rate
        )
        tx = self.optimizer(rate, hyper.weight_decay, state.step)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        # The gradient's before it is clipped. A norm of the updates or the parameters is a sum over
        # devices that waits for no other: XLA:CPU starts it in another order on each, and hangs.
        metrics = means | {"grad_norm": optax.tree.norm(grads), "learning_rate": rate}
        return State(state.step + 1, params, extra, opt_state), metrics

    def many(
        self, state: State, batches, count, hyper: Hyper
    ) -> tuple[State, dict[str, jax.Array]]:
        """The first `count` steps of a stack of batches [K, B, ...], and the last one's metrics.

        The count is an input, so that one program takes any number of steps, all in one way.
        """

        def step(now, carry):
            batch = jax.tree.map(lambda a: jax.lax.dynamic_index_in_dim(a, now, 0, False), batches)
            return self.train(carry[0], batch, hyper)

        first = jax.tree.map(lambda a: a[0], batches)
        metrics = jax.eval_shape(self.train, state, first, hyper)[1]
        none = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), metrics)
        return jax.lax.fori_loop(0, count, step, (state, none))

    def rows(self, batch, index) -> tuple[jax.Array, jax.Array]:
        """Key and row numbers of evaluation batch `index`: its place in the set, at any size."""
        B = len(batch["weight"])
        return jax.random.key(_EVALUATION), index * B + jnp.arange(B)

    def evaluate(self, state: State, batch, index) -> tuple[dict[str, jax.Array], jax.Array]:
        """Sums and units of each row, [B] each."""
        key, rows = self.rows(batch, index)
        losses, _ = self.score(state.params, state.extra, batch, key, rows, train=False)
        return losses.sums, losses.units

    def examine(self, state: State, batch, index) -> dict[str, jax.Array]:
        """What the task keeps of each row, [B, ...]."""
        key, rows = self.rows(batch, index)
        with placement.on(sharding.place_whole(self.mesh, self.config.microbatches)):
            model, keys = bind(self.model, state.params, state.extra, key, rows, train=False)
            return self.task.examine(self.config.task.config, model, batch, keys)


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
        many=jax.jit(program.many, donate_argnums=0) if _loops(program, mesh, abstract) else None,
        evaluate=jax.jit(
            program.evaluate, in_shardings=(of_state, of_batch, copied), out_shardings=copied
        ),
        examine=program.task.examine
        and jax.jit(
            program.examine, in_shardings=(of_state, of_batch, copied), out_shardings=copied
        ),
        abstract=abstract,
        mesh=mesh,
    )


def _loops(program: _Program, mesh: jax.sharding.Mesh, abstract: State) -> bool:
    """Whether steps in a loop are the steps alone, and cost no more.

    On an accelerator the host would be asked at each one whether it is the last. XLA:CPU computes
    convolutions in a loop in another way, several times as slowly.
    """
    if mesh.size > 1 or mesh.devices.flat[0].platform != "cpu":
        return False
    return not accounting.convolves(program.evaluate, abstract, program.one, np.int32(0))
