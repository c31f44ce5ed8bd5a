"""The best setting of each size and amount of data, where a table holds a whole sweep of settings.

A law of the best learning rate or batch size is about the bottom of the loss, not about whatever
rates were tried. In each cell, all runs of one N and D, log loss is a paraboloid in the logarithms
of the settings near its lowest run; a setting is judged by its regret, how far above that valley
the loss lies there.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from train.cli import InputError

if TYPE_CHECKING:
    from scaling.laws import Law

SETTINGS = ("lr", "batch")
_DEPTH = 0.02  # log loss above the lowest run, up to which runs shape the valley
_SPARE = 2  # runs beyond the paraboloid's coefficients, taken from higher up where fewer lie so low


@dataclass(frozen=True)
class Valleys:
    """The valleys of K cells.

    Attributes:
      table: one row a cell, with the settings at its lowest point.
      steepness: [K] curvature of log loss in the log of the law's setting, the other at its best.
      edge: cells without a lowest point inside their runs: the lowest run stands for it.
    """

    table: pd.DataFrame
    steepness: np.ndarray
    edge: int

    def regret(self, setting: np.ndarray, target: str) -> np.ndarray:
        """Log loss above the valley's lowest point [K] at settings [K]."""
        away = np.log(setting / self.table[target].to_numpy())
        return self.steepness * away**2 / 2


def valleys(runs: pd.DataFrame, law: "Law") -> Valleys | None:
    """The valleys of a table of runs; None where it has one run a cell, or the law no setting.

    Raises:
      InputError: cells with several settings, and no loss that tells which is the best.
    """
    if law.target not in SETTINGS or not {"N", "D"} <= set(runs.columns):
        return None
    cells = [cell for _, cell in runs.groupby(["N", "D"], sort=False)]
    if all(cell[law.target].nunique() == 1 for cell in cells):
        return None
    if "loss" not in runs.columns:
        raise InputError(
            f"--law: {law.name!r} is of the best {law.target} and some N and D have several; a "
            "column --loss tells which is best, or give one row for each N and D"
        )
    rows, steepness, edge = [], [], 0
    for cell in cells:
        lowest = cell.loc[[cell["loss"].idxmin()]]
        found = _bottom(cell, law.target)
        edge += found is None
        settings, steep = found or ({}, np.nan)
        rows.append(lowest.assign(**settings))
        steepness.append(steep)
    table = pd.concat(rows)
    table.attrs = dict(runs.attrs)
    return Valleys(table, np.array(steepness), edge)


def _bottom(cell: pd.DataFrame, target: str) -> tuple[dict[str, float], float] | None:
    """Settings at the lowest point of a cell's paraboloid and its curvature in `target`."""
    names = [target, *(n for n in SETTINGS if n != target and n in cell and cell[n].nunique() > 2)]
    count = len(names)
    terms = (count + 1) * (count + 2) // 2
    height = np.log(cell["loss"].to_numpy() / cell["loss"].min())
    if len(cell) < terms + _SPARE:
        return None
    low = height <= max(_DEPTH, np.sort(height)[terms + _SPARE - 1])
    x = np.log(cell[names].to_numpy(np.float64))[low]
    centre = x.mean(axis=0)
    x = x - centre
    pairs = [(i, j) for i in range(count) for j in range(i, count)]
    design = np.stack([np.ones(len(x)), *x.T, *(x[:, i] * x[:, j] for i, j in pairs)], axis=1)
    fitted, _, rank, _ = np.linalg.lstsq(design, height[low], rcond=None)
    if rank < terms:
        return None
    hessian = np.zeros((count, count))
    for (i, j), value in zip(pairs, fitted[1 + count :]):
        hessian[i, j] += value
        hessian[j, i] += value
    if np.linalg.eigvalsh(hessian).min() <= 0:
        return None
    bottom = np.linalg.solve(hessian, -fitted[1 : 1 + count])
    if not ((x.min(axis=0) <= bottom) & (bottom <= x.max(axis=0))).all():
        return None
    # With the other setting at its best: the Schur complement.
    steep = 1 / np.linalg.inv(hessian)[0, 0]
    return dict(zip(names, map(float, np.exp(bottom + centre)))), float(steep)


def words(found: Valleys, setting: np.ndarray, law: "Law") -> list[str]:
    """How a law's settings [K] do in the valleys, in sentences."""
    regret = found.regret(setting, law.target)
    regret = regret[np.isfinite(regret)]
    lines = [
        f"a sweep: the best {law.target} of {len(found.table)} N and D was read off the loss, and "
        "the law is fitted to those"
    ]
    if found.edge:
        lines.append(
            f"{found.edge} of them have no lowest point inside the {law.target} tried: their "
            "lowest run was taken"
        )
    if len(regret):
        lines.append(
            f"regret, the loss at the law's {law.target} above the lowest: {np.mean(regret):.3%} "
            f"on average, {np.max(regret):.3%} at most"
        )
    return lines
