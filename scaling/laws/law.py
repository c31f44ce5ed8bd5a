"""What a law is: a form, its parameters, the columns it needs and where it comes from."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Values = Mapping[str, Any]


# Of those that numpy has not: its own form, and where JAX has it.
_PLAIN = {
    "sigmoid": lambda x: np.exp(-np.logaddexp(0.0, -x)),
    "softplus": lambda x: np.logaddexp(x, 0.0),
    "stop_gradient": lambda x: x,
}
_TRACED = {"sigmoid": "jax.nn", "softplus": "jax.nn", "stop_gradient": "jax.lax"}


class _Functions:
    """Elementwise functions and sums: numpy's where all arguments are, JAX's where one is traced.

    So a law is fitted by JAX and looked at by numpy, which compiles nothing for a new shape; and
    who lists the laws does not wait for JAX to be imported.
    """

    def __getattr__(self, name: str) -> Callable:
        plain = _PLAIN.get(name) or getattr(np, name)
        package = _TRACED.get(name, "jax.numpy")

        def call(*args: Any, **kwargs: Any) -> Any:
            if all(isinstance(x, np.ndarray | np.generic | float | int) for x in args):
                return plain(*args, **kwargs)
            return getattr(importlib.import_module(package), name)(*args, **kwargs)

        setattr(self, name, call)
        return call


xp = _Functions()


@dataclass(frozen=True)
class Parameter:
    """One parameter of a law.

    Attributes:
      name: its name in the formula.
      transform: the coordinate that the fit moves in: 'log' (positive), 'logit' (between 0 and 1)
        or 'identity'.
      start: range of the random starts, in centred units (every column divided by its centre).
      bounds: values the fit may not leave, in centred units. An estimate that stays there is
        reported as "at its bound".
    """

    name: str
    transform: str
    start: tuple[float, float]
    bounds: tuple[float, float]


@dataclass(frozen=True, eq=False)  # hashed by identity: a law is a static argument of jit
class Law:
    """One row of the table of laws.

    Attributes:
      form: (parameters, columns) -> prediction of `target`; by `xp`, elementwise over runs.
      natural: (parameters in centred units, centres) -> parameters in natural units, such that
        form(natural(p, c), x) == c[target] * form(p, x / c). Called with 1/c it goes back.
      columns: the columns that the form reads, one value a run.
      linear: parameters in which the form is linear; random starts solve for them exactly.
      distinct: how many different values of a column the law needs to be identified at all.
      uncentred: columns and targets whose zero or unit has a meaning; their centre is 1.
      nonnegative: columns that may be zero; they are uncentred.
      centred_as: columns that share another column's centre, because the form compares the two.
      wide: columns whose cells are vectors, all of one length.
      schedules: a law along one training: its rows are logged steps, its columns come from
        scaling.runs.schedules.
    """

    name: str
    formula: str
    source: str
    parameters: tuple[Parameter, ...]
    form: Callable[[Values, Values], Any]
    natural: Callable[[Values, Values], dict[str, Any]]
    columns: tuple[str, ...] = ("N", "D")
    target: str = "loss"
    linear: tuple[str, ...] = ()
    distinct: Mapping[str, int] = field(default_factory=dict)
    uncentred: tuple[str, ...] = ()
    nonnegative: tuple[str, ...] = ()
    centred_as: Mapping[str, str] = field(default_factory=dict)
    wide: tuple[str, ...] = ()
    schedules: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Parameter names, in the order of every [.., P] array."""
        return tuple(parameter.name for parameter in self.parameters)

    def centres(self, columns: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Geometric means of the columns and of the target, 1 for the uncentred ones."""
        centres = {}
        for name in (*self.columns, self.target):
            source = self.centred_as.get(name, name)
            plain = source in self.uncentred or source in self.nonnegative
            centres[name] = 1.0 if plain else float(np.exp(np.mean(np.log(columns[source]))))
        return centres


def to_value(parameter: Parameter, theta: Any) -> Any:
    """Coordinate of the fit -> value in centred units."""
    if parameter.transform == "log":
        return xp.exp(theta)
    if parameter.transform == "logit":
        return 1 / (1 + xp.exp(-theta))
    return theta


def values_of(law: Law, theta: Any) -> dict[str, Any]:
    """Coordinates [P, ..] -> parameters in centred units, by name."""
    return {p.name: to_value(p, theta[i]) for i, p in enumerate(law.parameters)}


def to_coordinate(parameter: Parameter, value: Any) -> Any:
    """Value in centred units -> coordinate of the fit. Inverse of `to_value`."""
    if parameter.transform == "log":
        return np.log(value)
    if parameter.transform == "logit":
        return np.log(value) - np.log1p(-np.asarray(value))
    return value


def power(base: Any, exponent: Any) -> Any:
    """base ** exponent for base > 0, by one exp: twice as fast to differentiate as `**`."""
    return xp.exp(exponent * xp.log(base))


def exponent(name: str) -> Parameter:
    """A scaling exponent: positive, most published ones lie between .05 and 1."""
    return Parameter(name, "log", start=(0.05, 1.0), bounds=(1e-3, 5.0))


def coefficient(name: str) -> Parameter:
    """A term's size at the centre of the data, as a share of the centre's loss."""
    return Parameter(name, "log", start=(0.01, 1.0), bounds=(1e-9, 1e4))


def scale(name: str, low: float, high: float) -> Parameter:
    """A positive parameter with a start range of its own."""
    return Parameter(name, "log", start=(low, high), bounds=(1e-12, 1e12))


def signed(name: str, reach: float) -> Parameter:
    """A parameter of either sign, about as large as `reach`."""
    return Parameter(name, "identity", start=(-reach, reach), bounds=(-100 * reach, 100 * reach))


def floor(name: str = "E") -> Parameter:
    """The irreducible part, as a share of the centre's loss."""
    return Parameter(name, "log", start=(0.05, 0.95), bounds=(1e-9, 10.0))
