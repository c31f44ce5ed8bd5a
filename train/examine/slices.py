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
    p: float  # that it is so far from the rest by chance, see `by`; NaN: not known


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

    p is how often as many rows, drawn at random from all, are as far from the rest as a part is,
    two-sided: of shares exactly (Fisher), of other means by Student's t with the variance of all
    rows. (Welch's, with each side's own, sees too much where losses are skewed: .13 of tables of
    ten parts of 40 exponential losses held an alarm at .05, and .05 with this one.) Where many
    parts are looked at some are odd by chance, so p is corrected over all parts and means (Holm
    1979, "A simple sequentially rejective multiple test procedure"): where nothing is there, one
    table in twenty has any p < .05.

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
    if np.all(units == 1) and np.all((x == 0) | (x == 1)):
        hits, n, all_hits = round(float(x[inside].sum())), int(inside.sum()), round(float(x.sum()))
        low, high = stats.binomtest(hits, n).proportion_ci(method="wilson")
        table = [[hits, n - hits], [all_hits - hits, len(x) - n - all_hits + hits]]
        p = math.nan if inside.all() else float(stats.fisher_exact(table).pvalue)
        return Mean(value, error, (low, high), p)
    apart = x - x.sum() / units.sum() * units  # from what the row would have, were all alike
    known = len(x) > 2 and not inside.all() and np.ptp(apart) > 0
    p = float(stats.pearsonr(inside, apart).pvalue) if known else math.nan
    return Mean(value, error, None, p)


def _corrected(parts: list[Slice]) -> list[Slice]:
    """With every p as Holm corrects it for all that are known."""
    found = [(mean.p, i, name) for i, part in enumerate(parts) for name, mean in part.means.items()]
    found = sorted(one for one in found if not math.isnan(one[0]))
    least = 0.0
    for rank, (p, i, name) in enumerate(found):
        least = max(least, min(1.0, p * (len(found) - rank)))
        parts[i].means[name] = dataclasses.replace(parts[i].means[name], p=least)
    return parts
