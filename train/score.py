"""Where a model meets its task: training, evaluation, the count of FLOPs and the estimate of memory
all come through `score`."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from train import dropout, tasks
from train.config import Choice

OWN = ("losses", "metrics")  # collections that a model fills anew at every call


class Bound:
    """A model with its variables, as a task calls it: as often as it likes, by any method.

    Attributes:
      train: whether it is being trained: a task may then draw what it is to learn from.
      extra: what the model keeps beside its parameters, changed by every call in training.
      objective: what the model itself wants minimised, per unit [B], summed over the calls.
      metrics: what it measures of itself, per unit [B], by name; of the last call that did.
    """

    def __init__(
        self,
        module: nn.Module,
        params: Any,
        extra: Any,
        key: jax.Array,
        rows_B: jax.Array,
        *,
        train: bool,
    ):
        """Binds a module; `rows_B` are the numbers of its rows, of which randomness is a function
        (train.dropout)."""
        self._module, self._params, self.extra = module, params, extra
        self._key, self._rows_B, self.train, self._calls = key, rows_B, train, 0
        self.objective: jax.Array | float = 0.0
        self.metrics: dict[str, jax.Array] = {}

    def __call__(self, *args: Any, method: str | None = None) -> Any:
        """What the method gives; `train` is added. The rows of a batch are its first axis."""
        key, self._calls = jax.random.fold_in(self._key, self._calls), self._calls + 1
        kept = list(self.extra) if self.train else []
        with nn.intercept_methods(dropout.by_row(self._rows_B)):
            outputs, changed = self._module.apply(
                {"params": self._params, **self.extra},
                *args,
                train=self.train,
                method=method,
                rngs={"dropout": key},
                mutable=[*kept, *OWN],
            )
        own = {name: changed.pop(name, {}) for name in OWN}
        self.extra = {**self.extra, **changed}
        # Both are per unit, [B] or [layers, B].
        for x in jax.tree.leaves(own["losses"]):
            self.objective += x.reshape(-1, x.shape[-1]).sum(0)
        for path, x in jax.tree_util.tree_leaves_with_path(own["metrics"]):
            name = "/".join(key.key for key in path[:-1])
            self.metrics[name] = x.reshape(-1, x.shape[-1]).mean(0)
        return outputs


def bind(
    module: nn.Module,
    params: Any,
    extra: Any,
    key: jax.Array,
    rows_B: jax.Array,
    *,
    train: bool,
) -> tuple[Bound, jax.Array]:
    """A model to call, and keys [B] for a task to draw from, one for each row of its batch."""
    model = Bound(module, params, extra, jax.random.fold_in(key, 0), rows_B, train=train)
    drawn = jax.random.fold_in(key, 1)
    return model, jax.vmap(lambda row: jax.random.fold_in(drawn, row))(rows_B)


def score(
    module: nn.Module,
    task: Choice,
    params: Any,
    extra: Any,
    batch: dict[str, jax.Array],
    key: jax.Array,
    rows_B: jax.Array | None = None,
    *,
    train: bool,
) -> tuple[tasks.Losses, Bound]:
    """A task's losses on a batch, with what the model adds to the objective; and the model.

    Args:
      module: of the run.
      task: of the run.
      params, extra: the module's variables.
      batch: arrays [B, ...].
      key: of all that is drawn.
      rows_B: the number of each row, in the batch of a step or in the evaluation set; None: from 0.
      train: whether to train: dropout, statistics of the batch.
    """
    rows_B = jnp.arange(len(batch["weight"])) if rows_B is None else rows_B
    model, keys_B = bind(module, params, extra, key, rows_B, train=train)
    losses = tasks.load(task.name).losses(task.config, model, batch, keys_B)
    own = losses.units * model.objective
    return losses._replace(objective=jax.tree.map(lambda x: x + own, losses.objective)), model
