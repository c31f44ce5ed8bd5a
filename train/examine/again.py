"""A run's checkpoint, evaluated as the run itself did; and whether that gives what it gave then."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from train import evaluation, metrics, record, saved, step
from train.cli import InputError, nearest
from train.config import RunConfig
from train.evaluation import Measured

_ROUNDING = 1e-5  # relative; float32 sums in another order come within it


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """The run's own evaluation set as a checkpoint sees it: arrays [n, ...], padding among the
    rows."""

    config: RunConfig
    step: int
    facts: Mapping[str, Any]  # of the data
    metrics: Measured  # and of the further sets, see `evaluation.named`
    sums: dict[str, np.ndarray]  # [n], over a row's units
    units: np.ndarray  # [n]; 0 for padding
    columns: dict[str, np.ndarray]  # [n], all that has one value a row, but for its weight
    inputs: dict[str, np.ndarray]  # what went in, of the first rows
    kept: dict[str, np.ndarray]  # what the task keeps


@dataclasses.dataclass(frozen=True)
class Verdict:
    """How metrics compare with those that a run has logged."""

    compared: int  # how many could be
    apart: float  # the largest difference, as a share of the value
    differing: dict[str, float]  # those further apart than rounding: the value that was logged


def evaluate(
    workdir: Path, step_number: int, column: str | None = None, rows: int = 0
) -> Evaluated:
    """Evaluates a checkpoint.

    Args:
      workdir: the run's folder.
      step_number: of the checkpoint; 0 = the newest.
      column: one that must be among `Evaluated.columns`; None: none is wanted.
      rows: at least so many in `Evaluated.inputs`, where there are as many.

    Raises:
      InputError: no such checkpoint or column, or the data are not those of the run.
    """
    run = saved.open_run(workdir, step_number)
    if column:
        batch = run.dataset.eval_batch(0, run.config.evaluation.batch_size)
        _check_column(column, run.functions, batch)
    return _evaluate(run, run.state(), rows)


def _check_column(name: str, functions: step.Functions, batch: dict[str, np.ndarray]) -> None:
    found = dict(batch)
    if functions.examine:
        found |= jax.eval_shape(functions.examine, functions.abstract, batch, 0)
    allowed = _columns(found)
    if name in found and name not in allowed:
        raise InputError(
            f"--slices: {name!r} has {list(found[name].shape[1:])} a row; it must have one value"
        )
    if name not in allowed:
        there = nearest(name, allowed) if allowed else "no column has one value a row"
        raise InputError(f"--slices: {name!r}; {there}")


def _evaluate(run: saved.Run, state: step.State, rows: int) -> Evaluated:
    config, dataset, functions = run.config, run.dataset, run.functions
    evaluators = evaluation.evaluators(config, dataset, functions)
    evaluator = evaluators.pop("")
    sums, units, kept = evaluator.rows(state, whole=True)
    measured = evaluator.summed(sums, units, kept)
    for name, further in evaluators.items():
        measured |= evaluation.named(name, further.metrics(state, last=True))
    size, inputs, columns = config.evaluation.batch_size, [], []
    for i in range(evaluator.batches()):
        batch = dataset.eval_batch(i, size)
        columns.append(_columns(batch))
        if not i or i * size < rows:
            inputs.append(batch)
    return Evaluated(
        config=config,
        step=int(state.step),
        facts=dataset.facts,
        metrics=measured,
        sums=sums,
        units=units,
        columns=_columns(kept or {}) | _joined(columns),
        inputs=_joined(inputs),
        kept=kept or {},
    )


def _columns(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: x for name, x in arrays.items() if x.ndim == 1 and name != "weight"}


def _joined(batches: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([one[name] for one in batches]) for name in batches[0]}


def known(workdir: Path, step_number: int) -> Measured:
    """What the run found itself at a step; {} if it has not evaluated there."""
    path = workdir / "record.json"
    if path.exists():
        found = record.load(path)
        if found.metrics and step_number == found.config["steps"]:
            return found.metrics
    return metrics.evaluated_at(workdir, step_number)


def compare(now: Measured, then: Measured) -> Verdict:
    """Holds metrics against those that were logged, as far as both have them."""
    apart = {
        name: abs(now[name][0] - then[name][0]) / max(abs(then[name][0]), 1e-30)
        for name in now.keys() & then.keys()
    }
    differing = {name: then[name][0] for name in sorted(apart) if apart[name] > _ROUNDING}
    return Verdict(len(apart), max(apart.values(), default=0.0), differing)
