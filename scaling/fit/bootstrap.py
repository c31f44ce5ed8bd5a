"""Bootstrap refits of a law: by run (pairs) or by residual. Never by checkpoint.

Runs that differ in seed alone are no independent evidence about the law: what the law misses at
their point they share. Where there are such replicates, pairs are drawn in two stages, first points
with all their seeds, then seeds within each point drawn (Davison and Hinkley 1997, Bootstrap
Methods and their Application, on hierarchical data). Rows of one run are drawn all or none.
"""

import numpy as np

from scaling.fit import solve
from scaling.fit.solve import Problem
from scaling.runs.replicates import Clusters
from train.cli import InputError

_MAX_ROUNDS = 100
_CELLS = 2**22  # resamples x runs drawn at once, 32 MB


def draw_counts(clusters: Clusters, count: int, rng: np.random.Generator) -> np.ndarray:
    """How often each row enters each resample [count, n]."""
    point = clusters.point
    points = point.max() + 1
    drawn = rng.multinomial(points, np.full(points, 1 / points), size=count)
    counts = drawn[:, point].astype(np.float64)
    if clusters.whole:
        return counts
    for place in np.flatnonzero(np.bincount(point) > 1):
        rows = np.flatnonzero(point == place)
        each = np.full(len(rows), 1 / len(rows))
        counts[:, rows] = rng.multinomial(drawn[:, place] * len(rows), each)
    return counts


def resample_pairs(
    problem: Problem,
    weight,
    best,
    free,
    count: int,
    seed: int,
    clusters: Clusters | None = None,
):
    """Refits of resampled runs: [count, P] in coordinates, and how many resamples were redrawn."""
    if not count:
        return np.zeros((0, len(best))), 0
    rng = np.random.default_rng([seed, 1])
    runs = problem.runs
    groups = [
        (np.unique(problem.columns[name][:runs], return_inverse=True)[1], needed)
        for name, needed in problem.law.distinct.items()
    ]
    ends, redrawn, rounds = [], 0, 0
    block = max(1, min(count, _CELLS // runs))  # a large table is not drawn all at once
    while (wanted := count - sum(map(len, ends))) > 0:
        if clusters is None:
            counts = rng.multinomial(runs, np.full(runs, 1 / runs), size=block).astype(np.float64)
        else:
            counts = draw_counts(clusters, block, rng)
        good = (counts > 0).sum(axis=1) > free.sum()
        for place, needed in groups:
            good &= [_distinct(place, row) >= needed for row in counts]
        used = np.searchsorted(np.cumsum(good), wanted) + 1 if good.sum() >= wanted else block
        redrawn += int((~good[:used]).sum())
        resamples = counts[:used][good[:used]] * weight
        if len(resamples):
            start = np.repeat(best[None], len(resamples), 0)
            ends.append(solve.solve(problem, resamples, start, free).theta)
        rounds += 1
        if rounds * block > _MAX_ROUNDS * count:
            raise InputError(
                f"--bootstrap: {runs} runs are too few to resample for law {problem.law.name!r}; "
                "use --resample=residual or --bootstrap=0"
            )
    return np.concatenate(ends), redrawn


def _distinct(place: np.ndarray, counts: np.ndarray) -> int:
    """How many values are there in a resample: place [n] numbers each row's, counts [n]."""
    return np.count_nonzero(np.bincount(place, counts))


def resample_residuals(problem: Problem, weight, best, at, free, count: int, seed: int):
    """Refits of prediction + redrawn residuals [count, P], the design (N, D) kept."""
    rng = np.random.default_rng([seed, 1])
    runs = problem.runs
    target = problem.target[:runs]
    scale = np.sqrt(runs / (runs - free.sum()))
    residual = -(at.residual - at.residual.mean()) * scale
    ends, block = [np.zeros((0, len(best)))], max(1, _CELLS // runs)
    for first in range(0, count, block):
        starts = np.repeat(best[None], min(block, count - first), 0)
        drawn = rng.choice(residual, size=(len(starts), runs))
        if problem.objective.logarithmic:
            synthetic = target * np.exp(at.residual + drawn)
        else:
            synthetic = np.maximum(target + at.residual + drawn, 1e-9)
        ends.append(solve.solve(problem, weight, starts, free, target=synthetic).theta)
    return np.concatenate(ends)
