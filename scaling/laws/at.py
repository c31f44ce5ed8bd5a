"""A law at parameters, one set or many: the one place where a law is evaluated."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from scaling.laws import LAWS, PUBLISHED, Law
from scaling.laws.law import values_of


@dataclass(frozen=True, eq=False)
class At:
    """A law at one parameter set, or at many.

    Attributes:
      law: the row of the table of laws.
      theta: [*lead, P] parameters in the order of `law.names`, in centred units.
      centres: what columns and target were divided by; 1 each where theta is in natural units.
    """

    law: Law
    theta: np.ndarray
    centres: Mapping[str, float]

    @staticmethod
    def of(law: Law, values: Mapping[str, Any], centres: Mapping[str, float] | None = None) -> "At":
        """At parameters by name, that broadcast; in natural units where no centres are given."""
        theta = [np.asarray(values[name], np.float64) for name in law.names]
        if centres is None:
            centres = dict.fromkeys((*law.columns, law.target), 1.0)
        return At(law, np.stack(np.broadcast_arrays(*theta), axis=-1), centres)

    @staticmethod
    def coordinates(law: Law, theta: np.ndarray, centres: Mapping[str, float]) -> "At":
        """At coordinates [*lead, P] of the fit (see scaling.fit.solve)."""
        with _silent():
            return At.of(law, values_of(law, np.moveaxis(theta, -1, 0)), centres)

    @staticmethod
    def published(name: str) -> "At":
        """At a published parameter set. Raises KeyError for an unknown name."""
        entry = PUBLISHED[name]
        return At.of(LAWS[entry.law], entry.params)

    @property
    def values(self) -> dict[str, np.ndarray]:
        """Parameters by name, [*lead] each, in centred units."""
        return dict(zip(self.law.names, np.moveaxis(self.theta, -1, 0)))

    def natural(self) -> "At":
        """The same parameters in natural units."""
        with _silent():
            return At.of(self.law, self.law.natural(self.values, self.centres))

    def over(self, axes: int) -> "At":
        """With so many axes after the leading ones: each parameter set at points of that rank."""
        lead, count = self.theta.shape[:-1], self.theta.shape[-1]
        return At(self.law, self.theta.reshape(*lead, *(1,) * axes, count), self.centres)

    def log(self, columns: Mapping[str, Any]) -> np.ndarray:
        """Log of the prediction; see `predict`."""
        return np.log(self.predict(columns))

    def predict(self, columns: Mapping[str, Any]) -> np.ndarray:
        """The law's target, float64; theta's leading axes and the columns broadcast.

        Args:
          columns: those that the law reads, in natural units; more are ignored. A law with wide
            ones, which have an axis more, takes at most one leading axis and puts it in front.
        """
        law = self.law
        if law.wide and self.theta.ndim > 1:  # one after another: such a form sums over much
            rows = [At(law, row, self.centres).predict(columns) for row in self.theta]
            return np.stack(rows)
        values = self.values
        scaled = {
            name: np.asarray(columns[name], np.float64) / self.centres[name] for name in law.columns
        }
        with _silent():
            result = np.asarray(law.form(values, scaled)) * self.centres[law.target]
        if law.wide:
            return result
        parts = (*values.values(), *scaled.values())
        return np.broadcast_to(result, np.broadcast_shapes(*map(np.shape, parts)))


def _silent() -> np.errstate:
    """Where a law has no value it gives inf or NaN, and what asks looks for that."""
    return np.errstate(all="ignore")
