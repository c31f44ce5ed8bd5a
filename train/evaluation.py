"""What a run is evaluated on, and what that says: every metric with its error.

That is its own validation set, by whose loss it is judged, and the further sets of `config.evals`.
"""

import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax.errors import FlaxError

import data
from train import before, step, tasks
from train.cli import InputError
from train.config import RunConfig, evaluated_on
from train.devices import hosts, sharding
from train.tasks import Task

Measured = dict[str, list[float | None]]  # by metric: value, and standard error where it is known

_GROUPS = 20  # of the jackknife
_ERRORS = 10  # a rise of so many standard errors is no chance


class Diverged(Exception):
    """The loss is no longer finite, or far above where it began."""


class Evaluator:
    """Passes over one evaluation set."""

    def __init__(self, config: RunConfig, dataset: data.Dataset, functions: step.Functions):
        """`config` is the run's, as if the set were its own, see `config.evaluated_on`."""
        self._config, self.dataset, self._functions = config, dataset, functions
        self._task = tasks.load(config.task.name)

    def metrics(self, state: step.State, last: bool) -> Measured:
        """See `metrics`.

        Those that need more than means (`tasks`: examine) only at the end (`last`), and where the
        number of record may be one of them; and only of tasks that have something to summarise.
        """
        whole = self._task.summarise and (last or self._task.OF_RECORD != "loss")
        return self.summed(*self.rows(state, bool(whole)))

    def summed(self, sums: Any, units: np.ndarray, rows: Any) -> Measured:
        """The same, of what `rows` gave."""
        chosen = self._config.task.config
        return metrics(self._task, chosen, self.dataset.facts, sums, units, rows)

    def rows(self, state: step.State, whole: bool) -> tuple[Any, np.ndarray, Any]:
        """Sums and units of every row, and what the task keeps of it, None where that is nothing
        or not `whole`: arrays [n, ...], padding among them.

        Where it is not `whole`, of the first rows, if their mean loss is known as well as is asked
        for (`config.evaluation.error`). That is looked at after 1, 2, 4, .. batches: so seldom
        that the last look hardly decides what is seen.
        """
        mesh = self._functions.mesh
        examine = self._functions.examine if whole else None
        scored, kept = [], []
        for i in range(self.batches()):
            batch = self.batch(i, sharding.of_batch(mesh))
            index = jax.device_put(np.int32(i), sharding.copied(mesh))
            scored.append(self._functions.evaluate(state, batch, index))
            if examine:
                kept.append(examine(state, batch, index))
            hosts.pace((scored[-1], kept[-1:]))
            if not whole and self._known(scored):
                break
        return *_joined(scored), _joined(kept) if kept else None

    def _known(self, scored: list[Any]) -> bool:
        """Whether that many batches tell the mean loss well enough."""
        wanted, n = self._config.evaluation.error, len(scored)
        if not wanted or n & (n - 1):
            return False
        sums, units = _joined(scored)
        return mean_and_error(sums["loss"], units)[1] <= wanted

    def batches(self) -> int:
        """How many there are."""
        return math.ceil(self.dataset.eval_rows / self._config.evaluation.batch_size)

    def batch(self, index: int, where: jax.sharding.NamedSharding) -> dict[str, Any]:
        """One of them, on its devices."""
        size = self._config.evaluation.batch_size
        return hosts.batch(
            lambda k, parts: self.dataset.eval_batch(index * parts + k, size // parts),
            size,
            where,
        )


def evaluators(
    config: RunConfig, dataset: data.Dataset, functions: step.Functions
) -> dict[str, Evaluator]:
    """One for each set that a run is evaluated on, by the names of `config.evaluated_on`.

    Args:
      config: of the run.
      dataset: its own, open.
      functions: its own.

    Raises:
      Unavailable: a further set is not there.
      InputError: it does not fit the run.
    """
    further = before.open_further(config)
    found = {"": Evaluator(config, dataset, functions)}
    for name, on in evaluated_on(config).items():
        if name:
            with before.said_of(name):
                found[name] = _further(config, on, further[name], functions)
    return found


def _further(
    config: RunConfig, on: RunConfig, dataset: data.Dataset, functions: step.Functions
) -> Evaluator:
    ours, theirs = (tasks.load(chosen.name).PLAYERS for chosen in (config.task, on.task))
    if ours != theirs:
        who, other = (", ".join(players) or "no players" for players in (theirs, ours))
        raise InputError(f"config.task.name: {on.task.name!r} has {who}; the run has {other}")
    row = dataset.eval_batch(0, 1)
    told = ", ".join(f"{name} {list(x.shape[1:])}" for name, x in sorted(row.items()))
    refused = f"config.data: {config.model.name} as the run has it cannot take rows of {told}"
    try:
        step.count(on, row)
        own = step.compile_for(on, row)
    except (FlaxError, TypeError, ValueError) as error:
        raise InputError(f"{refused}: {' '.join(str(error).split())[:200]}") from error
    shapes = [jax.tree.map(lambda x: x.shape, f.abstract) for f in (own, functions)]
    if shapes[0] != shapes[1]:
        raise InputError(f"{refused}: it would have other parameters")
    return Evaluator(on, dataset, own)


def named(name: str, found: Measured) -> Measured:
    """The metrics of a set as the run has them: those of a further one "NAME/METRIC".

    What is not finite of a further one is left out: no run is judged by it.
    """
    if not name:
        return found
    return {f"{name}/{key}": x for key, x in found.items() if math.isfinite(x[0])}


def check(task: Task, step_number: int, found: Measured) -> None:
    """Raises Diverged where a run's own set says no number, and InputError where it says no error.

    Args:
      task: of the run.
      step_number: steps taken.
      found: metrics of its own set.
    """
    name = task.OF_RECORD
    for needed in ("loss", name):
        if needed not in found or not math.isfinite(found[needed][0]):
            value = found.get(needed, ["is not defined"])[0]
            raise Diverged(f"validation {needed} {value} at step {step_number}")
    if found[name][1] is None:
        raise InputError(f"config.data: too few validation rows for an error of the {name}")


def _joined(batches: list[Any]) -> Any:
    """What a function gave for each batch, as arrays [n, ...] over all of them."""
    return jax.tree.map(lambda *parts: np.concatenate(parts), *jax.device_get(batches))


def mean_and_error(loss: np.ndarray, units: np.ndarray) -> tuple[float, float]:
    """Mean loss per unit, and its standard error over examples.

    Sums are exact (`math.fsum`), so the result does not depend on how the validation set was cut
    into batches. The error is that of a ratio of sums (Cochran 1977, equation 2.39): examples vary,
    their units are given.

    Args:
      loss: [n], summed over an example's units.
      units: [n]; 0 for padding.

    Returns:
      NaN where there are no units; an infinite error where one example alone has some.
    """
    loss, units = loss[units > 0].astype(np.float64), units[units > 0].astype(np.float64)
    total, n = math.fsum(units), len(units)
    if not n:
        return math.nan, math.inf
    mean = math.fsum(loss) / total
    if n < 2:
        return mean, math.inf
    spread = math.fsum(np.square(loss - mean * units)) / (n - 1)
    return mean, math.sqrt(spread * n) / total


def far_above(loss: float, initial: float, error: float) -> bool:
    """Whether a loss has risen by more than the initial one, and more than chance could do.

    Twice the initial loss, where losses are positive. No run that learns comes near; one whose
    updates are too large keeps growing. The standard error `error` of `initial` gives the scale
    where that is near zero, as a log-density may be.
    """
    return loss - initial > max(abs(initial), _ERRORS * error)


def metrics(
    task: Task,
    config: Any,
    facts: Mapping[str, Any],
    sums: Mapping[str, np.ndarray],
    units: np.ndarray,
    rows: Mapping[str, np.ndarray] | None,
) -> Measured:
    """Every number that a task has for an evaluation set, with its standard error.

    Those of the whole set have the error of a delete-a-group jackknife (Kott 2001, "The delete-a-
    group jackknife"): rows are dealt out to groups in turn, so they count as independent. They are
    not asked for where the loss is not finite. What is not finite is left out, but for the loss and
    the number of record.

    Args:
      task, config: of the run.
      facts: of its data.
      sums: [n] by name, summed over a row's units.
      units: [n]; 0 for padding.
      rows: [n, ...] by name, what the task keeps; None: only means are wanted.

    Returns:
      {name: [value, standard error]}, None for an error that is not known.
    """
    found = {name: mean_and_error(summed, units) for name, summed in sums.items()}
    found |= _derived(task, config, facts, found)
    if task.summarise and rows is not None and math.isfinite(found["loss"][0]):
        real = units > 0
        found |= _summarised(task, config, facts, {name: x[real] for name, x in rows.items()})
    return {
        name: [value, error if math.isfinite(error) else None]
        for name, (value, error) in found.items()
        if math.isfinite(value) or name in ("loss", task.OF_RECORD)
    }


def _derived(
    task: Task, config: Any, facts: Mapping[str, Any], found: Mapping[str, tuple[float, float]]
) -> dict[str, tuple[float, float]]:
    """What follows from the means; errors to first order, as if the means were independent."""
    means = {name: mean for name, (mean, _) in found.items()}
    values = task.derived(config, means, facts)
    squares = dict.fromkeys(values, 0.0)
    for name, (mean, error) in found.items():
        if not math.isfinite(mean + error):
            continue
        try:
            above, below = (
                task.derived(config, means | {name: mean + sign * error}, facts) for sign in (1, -1)
            )
            for key in values:
                half = (above[key] - below[key]) / 2
                squares[key] += half * half  # a power would raise where this is infinite
        except (ArithmeticError, KeyError, ValueError):  # nothing follows from means so far off
            squares = dict.fromkeys(values, math.inf)
    return {key: (value, math.sqrt(squares[key])) for key, value in values.items()}


def _summarised(
    task: Task, config: Any, facts: Mapping[str, Any], rows: Mapping[str, np.ndarray]
) -> dict[str, tuple[float, float]]:
    values = task.summarise(config, rows, facts)
    n = len(next(iter(rows.values())))
    groups = min(_GROUPS, n)
    turn = np.arange(n) % groups
    without = [
        task.summarise(config, {name: x[turn != group] for name, x in rows.items()}, facts)
        for group in range(groups)
    ]
    errors = {}
    for name in values:
        known = np.array([one[name] for one in without if name in one])
        k = len(known)
        # An error of fewer groups is no less an error; of one or none, none is known.
        spread = float(np.sum(np.square(known - known.mean()))) if k > 1 else math.inf
        errors[name] = math.sqrt((k - 1) / k * spread) if k > 1 else math.inf
    return {name: (float(value), errors[name]) for name, value in values.items()}
