"""How far off a law would have been about the larger runs, had it known the smaller ones alone.

The law is refitted from origins inside its own runs (see scaling.fit.origins): some roll in compute
(the dearer runs lie beyond), some in size (the largest models are left out).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scaling.fit import origins
from train.cli import InputError

if TYPE_CHECKING:
    import pandas as pd

    from scaling.fit.solve import Objective
    from scaling.laws import Law

KINDS = ("compute", "size")


@dataclass(frozen=True)
class Beyond:
    """Errors beyond the origins of one kind.

    Attributes:
      kind: 'compute' or 'size', what the origins roll in.
      error: median over the origins of the median |log loss - log forecast| beyond each.
      runs: different runs that were forecast. origins: their number.
      decades: how far the farthest run lay beyond its origin.
    """

    kind: str
    error: float
    runs: int
    origins: int
    decades: float


@dataclass(frozen=True)
class Hindsight:
    """A law's back-test: an entry for each kind that the runs allow, and why one is missing."""

    beyond: tuple[Beyond, ...]
    missing: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """One sentence for each kind."""
        made = [
            f"back-test in {b.kind}: median |error| {b.error:.2%} over {b.runs} "
            f"run{'s' * (b.runs > 1)} from {b.origins} origin{'s' * (b.origins > 1)}, furthest "
            f"{b.decades:.2f} decades"
            for b in self.beyond
        ]
        return [*made, *self.missing]


def hindsight(law: "Law", runs: "pd.DataFrame", objective: "Objective", seed: int = 0) -> Hindsight:
    """Back-tests one law on the runs that it was fitted to.

    Every run counts the same. A law of N alone needs no D and C in the table; where they are
    missing its origins are in size only. What cannot be back-tested is said in `missing`.
    """
    if law.target != "loss" or law.wide or "N" not in law.columns:
        return Hindsight((), (f"no back-test: {law.name} is no law of the loss in N",))
    kinds = KINDS
    if not {"D", "C"} <= set(runs.columns):
        runs, kinds = runs.assign(D=1.0, C=runs["N"]), ("size",)
    try:
        found = origins.backtest(runs, (law.name,), seed, objective, resamples=0, lean=0)
    except InputError as error:
        why = str(error).removeprefix("--runs: ")
        return Hindsight((), (f"no back-test: {why}",))
    beyond = [_beyond(found, kind) for kind in kinds]
    missing = tuple(
        f"no back-test in {kind}: no part of the {len(runs)} runs identifies {law.name} and leaves "
        "runs beyond it"
        for kind, one in zip(kinds, beyond)
        if one is None
    )
    return Hindsight(tuple(one for one in beyond if one), missing)


def _beyond(found, kind: str) -> Beyond | None:
    places = [i for i, origin in enumerate(found.origins) if origin.kind == kind]
    if not places:
        return None
    forecast = np.isfinite(found.error[0, places])
    return Beyond(
        kind,
        error=float(np.median(found.misses()[0, places])),
        runs=int(forecast.any(axis=0).sum()),
        origins=len(places),
        decades=float(max(found.origins[i].decades.max() for i in places)),
    )
