"""Laws that are there before anything is fitted: published ones, and law.json files."""

import numpy as np

from scaling.fit.diagnosis import Diagnostics
from scaling.fit.fitted import Fit, load
from scaling.fit.solve import Objective
from scaling.laws import PUBLISHED
from scaling.laws.at import At
from train.cli import InputError, nearest


def ready_made(name: str, field: str = "--law") -> Fit:
    """A published law by name or a law.json by path. Raises InputError for anything else."""
    if name.endswith(".json"):
        return load(name)
    if name not in PUBLISHED:
        raise InputError(f"{field}: {name!r}; {nearest(name, PUBLISHED)}, or a law.json")
    return published(name)


def published(name: str) -> Fit:
    """A published parameter set as a law with no data. Raises KeyError for an unknown name."""
    entry, at = PUBLISHED[name], At.published(name)
    nothing = np.zeros(0)
    return Fit(
        law=at.law,
        params=dict(entry.params),
        intervals={},
        objective=Objective(),
        value=float("nan"),
        n=0,
        diagnostics=Diagnostics(0.0, 0.0, 0.0, {}, (), (), 0, (entry.source,)),
        residuals=nothing,
        runs=(),
        draws=np.zeros((0, len(at.law.names))),
        centred=dict(entry.params),
        centres=at.centres,
        data_range={},
        level=0.9,
        tail=0.05,
        flops_per_nd=6.0,
        c_convention="C = 6 N D",
    )
