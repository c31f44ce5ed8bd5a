"""The loss over (N, D) by a law's estimate or by each of its draws, and the best points on it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.laws import LAWS
from scaling.laws.at import At
from train.cli import InputError

if TYPE_CHECKING:
    from scaling.fit.fitted import Fit
    from scaling.laws import Law

# Half-lives of repeated tokens and of excess parameters, in passes: Muennighoff et al. 2023
# (arXiv:2305.16264), fitted on C4.
REPEATS = {"RD": 15.387756, "RN": 5.309743}
_GRID = 161
_SHRINK, _STEPS = 0.6180339887498949, 42  # leaves 1e-9 of a grid cell
_HALVINGS = 52
_MOST_DATA = 1e40
_REACH = 12.0  # the best size to serve is looked for within e^12 times the compute-optimal one


@dataclass(frozen=True)
class Surface:
    """A law of N and D at K parameter sets.

    Attributes:
      at: the law at parameters [K, 1], so that each may have points of its own.
      flops_per_nd: training FLOPs are flops_per_nd N D; serving costs a third of that a token
        (the forward pass alone).
      unique: examples there are without repeating any; None where data is not scarce.
    """

    at: At
    flops_per_nd: float
    unique: float | None = None

    def loss(self, N: np.ndarray, D: np.ndarray) -> np.ndarray:
        """Loss [K, G] at N and D that broadcast to [K, G]."""
        N, D = np.broadcast_arrays(np.asarray(N, np.float64), np.asarray(D, np.float64))
        fresh = D if self.unique is None else np.full(D.shape, self.unique)
        with np.errstate(all="ignore"):
            return self.at.predict({"N": N, "D": D, "U": fresh})


@dataclass(frozen=True)
class Mixture:
    """Surfaces whose log losses are averaged by weight [L], as a forecast averages its laws."""

    parts: tuple[Surface, ...]
    weights: np.ndarray

    @property
    def flops_per_nd(self) -> float:
        """Training FLOPs over N D, the same for all parts."""
        return self.parts[0].flops_per_nd

    def loss(self, N: np.ndarray, D: np.ndarray) -> np.ndarray:
        """Loss at N and D; see `Surface.loss`."""
        each = np.stack([np.log(part.loss(N, D)) for part in self.parts])
        return np.exp(np.tensordot(self.weights, each, 1))


@dataclass(frozen=True)
class Points:
    """K points on a surface, [K] each; NaN where there is no best one."""

    N: np.ndarray
    D: np.ndarray
    loss: np.ndarray


def surface(fit: "Fit", draws: bool = False, unique: float | None = None) -> Surface:
    """The surface of a law's estimate (K = 1) or of its bootstrap draws; see `over`."""
    return over(fit.drawn if draws else At.of(fit.law, fit.params), fit.flops_per_nd, unique)


def over(at: At, flops_per_nd: float, unique: float | None = None) -> Surface:
    """The surface of a law at one parameter set or at [K].

    `unique` counts a repeated example for less than a new one, by Muennighoff et al. 2023, section
    3; a law that is not of that form itself takes its two half-lives from the paper.

    Raises:
      InputError: the law has no N and D, or is of a form to which that correction does not apply.
    """
    law = at.law
    if not over_size(law):
        usable = ", ".join(name for name, other in LAWS.items() if over_size(other))
        raise InputError(f"--law: {law.name!r} is no law of loss over N and D; allowed: {usable}")
    # In natural units: an optimum found in others may differ in its last bits.
    each = At(law, at.theta.reshape(-1, 1, len(law.names)), at.centres).natural()
    if unique is None or law.name == "data_constrained":
        return Surface(each, flops_per_nd, unique)
    if law.name not in ("chinchilla", "tied", "no_floor"):
        raise InputError(
            f"--unique_tokens: repeated data is defined for chinchilla, tied, no_floor and "
            f"data_constrained; the law is {law.name!r}"
        )
    values = each.values
    values.setdefault("beta", values["alpha"])
    values.setdefault("E", np.zeros(1))
    return Surface(At.of(LAWS["data_constrained"], values | REPEATS), flops_per_nd, unique)


def allocate(fit: "Fit", C: float | np.ndarray) -> dict[str, Any]:
    """N, D and loss of a law at its best for each C, shaped like C, with `intervals` of the three.

    An interval is (low, high) over the bootstrap draws that have a best size, NaN without any.

    Raises:
      InputError: a budget is not positive, or the law has no best size there.
    """
    C = np.asarray(C, np.float64)
    if not (np.isfinite(C) & (C > 0)).all():
        raise InputError(f"C: {C[()]!r}; positive numbers of FLOPs")
    flat = C.ravel()
    point = best(surface(fit), flat)
    if not np.isfinite(point.N).all():
        at = flat[~np.isfinite(point.N)][0]
        raise InputError(
            f"C: {at:g}; law {fit.law.name!r} with these parameters has no best size there "
            "(the loss keeps falling towards one end)"
        )
    drawn = surface(fit, draws=True)
    draws = [best(drawn, one) for one in flat] if len(fit.draws) else []
    shaped = lambda values: np.reshape(values, C.shape)[()]  # noqa: E731
    result: dict[str, Any] = {k: shaped(getattr(point, k)) for k in ("N", "D", "loss")}
    result["intervals"] = {}
    for name in ("N", "D", "loss"):
        ends = np.full((len(flat), 2), np.nan)
        for place, one in enumerate(draws):
            kept = getattr(one, name)[np.isfinite(one.N)]
            if len(kept):
                ends[place] = fit.interval(kept)
        result["intervals"][name] = (shaped(ends[:, 0]), shaped(ends[:, 1]))
    return result


def over_size(law: "Law") -> bool:
    """Whether a law gives the loss over N and D, unique examples aside."""
    return {"N", "D"} <= set(law.columns) <= {"N", "D", "U"} and law.target == "loss"


def best(on: Surface | Mixture, C: float | np.ndarray) -> Points:
    """Least loss at training compute C = flops_per_nd N D; a number, or one for each of K."""
    product = np.reshape(np.asarray(C, np.float64), (-1, 1)) / on.flops_per_nd
    span = np.log(product)

    def loss(share: np.ndarray) -> np.ndarray:  # N = product ** share
        size = np.exp(share * span)
        return on.loss(size, product / size)

    share = _least(loss, np.zeros_like(span), np.ones_like(span))
    N = np.exp(share * span)
    return Points(N[:, 0], (product / N)[:, 0], loss(share)[:, 0])


def elasticity(on: Surface, C: float, step: float = 0.05) -> np.ndarray:
    """a = d log N* / d log C at C, [K]."""
    above, below = (best(on, C * np.exp(side * step)).N for side in (1, -1))
    return np.log(above / below) / (2 * step)


def data_needed(on: Surface, loss: np.ndarray, N: np.ndarray) -> np.ndarray:
    """D [K, G] at which models of N [K, G] reach `loss` [K, 1]; infinite where none does."""
    N = np.asarray(N, np.float64)
    low = np.zeros(np.broadcast_shapes(N.shape, loss.shape))
    high = low + np.log(_MOST_DATA)
    reached = on.loss(N, np.exp(high)) <= loss
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        enough = on.loss(N, np.exp(middle)) <= loss
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return np.where(reached, np.exp(high), np.inf)


def serve(on: Surface, loss: np.ndarray, tokens: float, near: np.ndarray) -> Points:
    """Least training plus serving FLOPs for a model of the given loss (Sardana et al. 2024, eq. 2).

    Args:
      loss: [K] to be reached. tokens: to be served over the model's life.
      near: [K] sizes to look around, e.g. the compute-optimal ones.
    """
    wanted, centre = np.reshape(loss, (-1, 1)), np.log(np.reshape(near, (-1, 1)))

    def cost(log_N: np.ndarray) -> np.ndarray:
        N = np.exp(log_N)
        return np.log(N) + np.log(data_needed(on, wanted, N) + tokens / 3)

    N = np.exp(_least(cost, centre - _REACH, centre + _REACH))
    return Points(N[:, 0], data_needed(on, wanted, N)[:, 0], np.asarray(loss, np.float64))


def _least(function: Callable, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """x [K, 1] of the least value between `low` and `high` [K, 1]: a grid, then golden section.

    NaN where the least value lies at an end: there is no interior minimum.
    """
    grid = low + (high - low) * np.linspace(0.0, 1.0, _GRID)
    at = function(grid)
    at = np.where(np.isfinite(at), at, np.inf)
    place = np.argmin(at, axis=1)[:, None]
    grid = np.broadcast_to(grid, at.shape)  # one interval may serve many parameter sets
    low = np.take_along_axis(grid, np.maximum(place - 1, 0), 1)
    high = np.take_along_axis(grid, np.minimum(place + 1, _GRID - 1), 1)
    left, right = high - _SHRINK * (high - low), low + _SHRINK * (high - low)
    at_left, at_right = function(left), function(right)
    for _ in range(_STEPS):
        smaller = at_left < at_right
        low, high = np.where(smaller, low, left), np.where(smaller, right, high)
        new = np.where(smaller, high - _SHRINK * (high - low), low + _SHRINK * (high - low))
        at_new = function(new)
        left, right = np.where(smaller, new, right), np.where(smaller, left, new)
        at_left, at_right = (
            np.where(smaller, at_new, at_right),
            np.where(smaller, at_left, at_new),
        )
    return np.where((place == 0) | (place == _GRID - 1), np.nan, (low + high) / 2)
