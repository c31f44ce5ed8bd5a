"""What of a run laws are fitted to: a metric, as how far it lies from the best there is."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from train.cli import InputError
from train.record import Record


@dataclass(frozen=True)
class Measure:
    """A metric of runs.

    Attributes:
      name: as in a record; "" is each run's number of record.
      best: the value that cannot be surpassed: 0 where less is better, 1 for an accuracy, 100 for
        BLEU. Laws are fitted to the distance from it.
      worst: the value at the other end, infinite where there is none.
    """

    name: str = ""
    best: float = 0.0
    worst: float = math.inf

    @property
    def label(self) -> str:
        """What laws are fitted to, for people."""
        name = self.name or "loss"
        return f"|{self.best:g} − {name}|" if self.best else name

    def of(self, run: Record) -> tuple[float | None, float | None]:
        """A run's value and its standard error; None where there is none."""
        if self.name in ("", run.of_record):
            return run.loss, run.loss_se
        value, error = run.metrics.get(self.name, (None, None))
        return value, error

    def lack(self, value: Any) -> Any:
        """How far values lie from the best one; a negative one of best value 0 stays negative."""
        return abs(self.best - value) if self.best else value

    def value(self, lack: Any, side: float) -> Any:
        """The inverse of `lack`, on one `side` of the best value."""
        return self.best + side * lack if self.best else lack

    @property
    def most(self) -> float:
        """The largest `lack` there can be."""
        return abs(self.best - self.worst)

    def side(self, values: np.ndarray) -> float:
        """1 where values lie above the best one, -1 where below. Raises InputError for both."""
        sides = np.unique(np.sign(values - self.best))
        if len(sides[sides != 0]) > 1:
            raise InputError(
                f"{self.name}: from {values.min():g} to {values.max():g}, on both sides of the "
                f"best value {self.best:g}"
            )
        return float(sides[sides != 0][0]) if sides.any() else 1.0

    def meets(self, value: float, bar: float) -> bool:
        """Whether a value is as good as the bar, or better."""
        return abs(self.best - value) <= abs(self.best - bar)


def target(study: Mapping[str, Any]) -> Measure:
    """What a study's laws are fitted to, by the settings in its plan; older ones name nothing."""
    return measure(study, str(study.get("target", "")))


def asked(study: Mapping[str, Any]) -> list[tuple[str, Measure]]:
    """Every metric that a study's settings name, and the field that does."""
    named = [("target", target(study).name)]
    named += [(field, name) for field in ("metrics", "bar") for name in study.get(field) or ()]
    return [(field, measure(study, name)) for field, name in named if name]


def measure(study: Mapping[str, Any], name: str) -> Measure:
    """One of a study's metrics."""
    best, worst = (study.get(end) or {} for end in ("best", "worst"))
    return Measure(name, float(best.get(name, 0.0)), float(worst.get(name, math.inf)))
