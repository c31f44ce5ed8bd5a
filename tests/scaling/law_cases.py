"""For every law: parameters of a realistic size and columns that a study might have."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

Maker = Callable[[np.random.Generator, int], np.ndarray]


@dataclass(frozen=True)
class Case:
    """Known parameters (natural units) and a maker of each column."""

    params: Mapping[str, float]
    columns: Mapping[str, Maker]


def spread(low: float, high: float) -> Maker:
    """Values log-uniform between low and high."""
    return lambda rng, count: np.exp(rng.uniform(np.log(low), np.log(high), count))


SIZES = {"N": spread(1e7, 1e10), "D": spread(1e9, 1e12)}
_FULL = {"E": 1.8172, "A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658}

CASES: dict[str, Case] = {
    "power": Case({"A": 40.0, "alpha": 0.13}, {"N": SIZES["N"]}),
    "power_floor": Case({"E": 1.7, "A": 400.0, "alpha": 0.31}, {"N": SIZES["N"]}),
    "chinchilla": Case(_FULL, SIZES),
    "tied": Case({"E": 1.8, "A": 500.0, "B": 1500.0, "alpha": 0.3527}, SIZES),
    "coupled": Case(
        {"E": 1.76, "A": 401.0, "R": 4.3, "alpha": 0.424, "beta": 0.431, "k": 0.774}, SIZES
    ),
    "kaplan": Case({"Nc": 6.4e13, "Dc": 1.8e13, "alphaN": 0.076, "alphaD": 0.103}, SIZES),
    "no_floor": Case({"A": 757.0, "B": 9.47, "alpha": 0.375, "beta": 0.061}, SIZES),
}
