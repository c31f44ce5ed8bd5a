"""Parts of an evaluation set: how each of them fares, and whether that is more than chance."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import stats

from train.cli import InputError
from train.evaluation import mean_and_error

_MOST = 50  # parts: beyond, a column numbers its rows rather than sorting them


@dataclasses.dataclass(frozen=True)
class Mean:
    """A mean per unit over the rows of a part."""

    value: float
    error: float  # standard error over rows; infinite of one row
    interval: tuple[float, float] | None  # of a share: 95%, Wilson 1927; None of other means
    p: float  # that the rest differs from it by so much by chance, see `by`; NaN: not known


@dataclasses.dataclass(frozen=True)
class Slice:
    """The rows of one value of a column."""

    name: str
    rows: int
    means: dict[str, Mean]  # of each of a task's sums


def by(
    key: str,
    column: np.ndarray,
    facts: Mapping[str, Any],
    sums: Mapping[str, np.ndarray],
    units: np.ndarray,
) -> list[Slice]:
    """Cuts an evaluation set by the values of a column.

    Each part is held against all other rows, two-sided: shares by Fisher's exact test, other means
    by Welch's t. Where many are looked at, some look odd by chance: p is that of Holm (1979, "A
    simple sequentially rejective multiple test procedure") over all parts and means. So at p < .05
    there is a false alarm anywhere in one table of twenty.

    Args:
      key, column: the column's name, and its values [n].
      facts: of the data, which may have names for values: `KEY_names`, or `class_names` of a label.
      sums: [n] by name, summed over a row's units.
      units: [n]; 0 for padding.

    Raises:
      InputError: the column has too many values.
    """
    real = units > 0
    column, units = column[real], units[real]
    sums = {name: x[real] for name, x in sums.items()}
    values = np.unique(column)
    if len(values) > _MOST:
        raise InputError(f"--slices: {key!r} has {len(values)} values; at most {_MOST}")
    names = facts.get(f"{key}_names") or (facts.get("class_names") if key == "label" else None)
    parts = []
    for value in values:
        inside = column == value
        means = {name: _mean(x, units, inside) for name, x in sums.items()}
        parts.append(Slice(_named(value, names), int(inside.sum()), means))
    return _corrected(parts)


def _named(value: Any, names: Any) -> str:
    known = names is not None and float(value).is_integer() and 0 <= value < len(names)
    return f"{value} {names[int(value)]}" if known else f"{value}"


def _mean(x: np.ndarray, units: np.ndarray, inside: np.ndarray) -> Mean:
    value, error = mean_and_error(x[inside], units[inside])
    a, b = x[inside], x[~inside]
    if np.all(units == 1) and np.all((x == 0) | (x == 1)):
        hits, n = round(float(a.sum())), len(a)
        low, high = stats.binomtest(hits, n).proportion_ci(method="wilson")
        others = round(float(b.sum()))
        table = [[hits, n - hits], [others, len(b) - others]]
        p = stats.fisher_exact(table).pvalue if len(b) else math.nan
        return Mean(value, error, (low, high), p)
    rest = mean_and_error(b, units[~inside]) if len(b) else (math.nan, math.inf)
    return Mean(value, error, None, _welch((value, error, len(a)), (*rest, len(b))))


def _welch(one: tuple[float, float, int], other: tuple[float, float, int]) -> float:
    """Two-sided p of two means, given their standard errors and numbers of rows (Welch 1947)."""
    (x, s, n), (y, t, m) = one, other
    both = s**2 + t**2
    if not 0 < both < math.inf:
        return math.nan
    freedom = both**2 / (s**4 / (n - 1) + t**4 / (m - 1))
    return float(2 * stats.t.sf(abs(x - y) / math.sqrt(both), freedom))


def _corrected(parts: list[Slice]) -> list[Slice]:
    """With every p as Holm corrects it for all that are known."""
    found = [(mean.p, i, name) for i, part in enumerate(parts) for name, mean in part.means.items()]
    found = sorted(one for one in found if not math.isnan(one[0]))
    least = 0.0
    for rank, (p, i, name) in enumerate(found):
        least = max(least, min(1.0, p * (len(found) - rank)))
        parts[i].means[name] = dataclasses.replace(parts[i].means[name], p=least)
    return parts
