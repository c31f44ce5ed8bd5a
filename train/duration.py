"""Durations in a config, in place of a number of steps or a share of the run.

    "500 steps"   "3 epochs"   "2e6 tokens", in the unit of the data   "10%", of the run's steps

What a run holds, and its record and digest, are the plain numbers that they come to.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from train.cli import LARGEST, InputError, nearest

_FORM = re.compile(r"\s*(\d+\.?\d*(?:[eE][+-]?\d+)?)\s*(%|[A-Za-z]+)\s*")
_STEPS = (("log_every",), ("evaluation", "every"), ("checkpoint", "every"))
_SHARES = (("schedule", "warmup"), ("schedule", "cooldown"))

Ask = Callable[[str], Any]  # of the data: "unit", "units_per_row" or "train_rows"


def plain(values: Mapping[str, Any], ask: Ask) -> Mapping[str, Any]:
    """A config's nested mapping with the numbers that its durations come to.

    Those of steps are rounded, and at least 1 where they are more than nothing.

    Args:
      values: of a run; nothing of it need be right.
      ask: is called where the data must be known: for their unit, and for epochs.

    Raises:
      InputError: a text that is no duration, or one that this run cannot have.
    """
    evals = values.get("evals")
    further = [("evals", name, "every") for name in evals] if isinstance(evals, Mapping) else []
    values = _changed(values, ["steps"], lambda text: _whole(_steps(text, values, ask)))

    def to_steps(text: str) -> int:
        share = _share(text)
        length = _steps(text, values, ask) if share is None else share * _at_least_1(values)
        return _whole(length)

    def to_share(text: str) -> float:
        share = _share(text)
        return _steps(text, values, ask) / _at_least_1(values) if share is None else share

    for path in (*_STEPS, *further):
        values = _changed(values, path, to_steps)
    for path in _SHARES:
        values = _changed(values, path, to_share)
    return values


def _changed(values: Any, path: Sequence[str], change: Callable, before: str = "config") -> Any:
    """With `change` of what stands at a path, where it is a text."""
    if not isinstance(values, Mapping) or path[0] not in values:
        return values
    name, *rest = path
    here, value = f"{before}.{name}", values[name]
    if rest:
        return {**values, name: _changed(value, rest, change, here)}
    if not isinstance(value, str):
        return values
    try:
        return {**values, name: change(value)}
    except ValueError as error:
        raise InputError(f"{here}: {value!r}; {error}") from error


def _read(text: str) -> tuple[float, str]:
    """The amount, and what it is of."""
    found = _FORM.fullmatch(text)
    if not found or float(found[1]) > LARGEST:
        allowed = "'500 steps', '3 epochs', '2e6 tokens' (the unit of the data) or '10%'"
        raise ValueError(f"must be int or float, or such as {allowed}")
    return float(found[1]), found[2]


def _share(text: str) -> float | None:
    """The share of a run that a text names; None where it names a length."""
    amount, of = _read(text)
    return amount / 100 if of == "%" else None


def _steps(text: str, values: Mapping[str, Any], ask: Ask) -> float:
    amount, of = _read(text)
    if of in ("step", "steps"):
        return amount
    rows = _at_least_1(values, "batch_size")
    if of in ("epoch", "epochs"):
        if (epoch := ask("train_rows")) is None:
            raise ValueError("these data have no epochs: they are without end")
        return amount * epoch / rows
    unit = ask("unit")
    if of not in (unit, f"{unit}s"):
        raise ValueError(nearest(of, ("steps", "epochs", f"{unit}s")))
    return amount / (rows * ask("units_per_row"))


def _at_least_1(values: Mapping[str, Any], name: str = "steps") -> int:
    value = values.get(name)
    if type(value) is not int or value < 1:
        raise ValueError(f"config.{name} is {value!r}; at least 1")
    return value


def _whole(steps: float) -> int:
    return max(1, round(steps)) if steps else 0
