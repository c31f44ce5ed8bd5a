"""Which rows of a table belong together, and which should not be in one table.

Seeds of one point and checkpoints of one run are not independent; runs of several kinds (recipes,
data, schedules) need not follow one law.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from scaling.laws import Law

# What makes two runs differ in kind, and what makes them differ although N and D agree.
KINDS = (
    "family",
    "recipe",
    "data",
    "dataset",
    "tokenizer",
    "schedule",
    "optimizer",
    "unit",
    "kind",
    "decayed",
)
_BLANK = "blank"  # a kind of its own wherever kinds are told apart
_SETTINGS = ("learning_rate", "lr", "batch", "batch_size", "weight_decay", "warmup", "epochs")


@dataclass(frozen=True)
class Clusters:
    """Rows that are drawn together.

    Attributes:
      point: [n] number of each row's point. whole: its rows are of one run, drawn all or none;
        otherwise they are seeds, drawn again within the point.
      words: for people.
    """

    point: np.ndarray
    whole: bool
    words: str


def clusters(runs: pd.DataFrame, law: "Law") -> Clusters | None:
    """The clusters of the rows that a law is fitted to; None where every row is a run of its own.

    Rows with the same `run` (for laws of schedules: the same `schedule`) are one training, whatever
    was logged of it. Rows that agree in all that the law reads, in kind and in settings, with
    different `seed`, are replicates.
    """
    label = "schedule" if law.schedules else "run"
    if label in runs.columns and 1 < runs[label].nunique() < runs[label].count():
        point = pd.factorize(runs[label])[0]
        alone = point < 0  # a blank label: a training of its own
        point[alone] = point.max() + 1 + np.arange(alone.sum())
        words = f"{len(runs)} rows are of {point.max() + 1} {label}s: the bootstrap draws {label}s"
        return Clusters(point, True, words)
    if law.schedules:
        return None
    point = _points(runs, law.columns)
    if point is None:
        return None
    many = int((np.bincount(point) > 1).sum())
    words = (
        f"{many} of {point.max() + 1} points have several seeds: the bootstrap draws points, then "
        "seeds"
    )
    return Clusters(point, False, words)


def mixed(runs: pd.DataFrame) -> list[str]:
    """In words, the columns of kind in which the runs differ."""
    lines = []
    for name in (c for c in runs.columns if c.lower() in KINDS):
        kinds = sorted(set(runs[name].astype(str).where(runs[name].notna(), _BLANK)))
        if len(kinds) > 1:
            shown = ", ".join(kinds[:5]) + ", .." * (len(kinds) > 5)
            lines.append(f"{name}: the runs mix {len(kinds)} kinds ({shown})")
    return lines


def seed_noise(runs: pd.DataFrame, columns: Iterable[str], target: str) -> float | None:
    """Relative standard deviation of the target between runs that differ in seed alone.

    Pooled over all points with two seeds or more; None where there is none.
    """
    point = _points(runs, columns)
    if point is None:
        return None
    log = np.log(runs[target].to_numpy(np.float64))
    # A row that is there twice is one seed.
    each = pd.Series(log).groupby([point, runs["seed"].to_numpy()]).mean().groupby(level=0)
    spare = int((each.count() - 1).sum())
    return float(np.sqrt((each.var(ddof=0) * each.count()).sum() / spare))


def _points(runs: pd.DataFrame, columns: Iterable[str]) -> np.ndarray | None:
    """Number [n] of each row's point; None where no point has two seeds."""
    if "seed" not in runs.columns or runs["seed"].nunique() < 2:
        return None
    settled = [c for c in runs.columns if c.lower() in (*KINDS, *_SETTINGS)]
    keys = list(dict.fromkeys((*(c for c in ("N", "D") if c in runs.columns), *columns, *settled)))
    grouped = runs.groupby(keys, dropna=False, sort=False)
    if not (grouped["seed"].nunique() > 1).any():
        return None
    return grouped.ngroup().to_numpy()
