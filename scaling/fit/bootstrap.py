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
    rng = np.random.default_rng([seed, 1])
    runs = problem.runs
    groups = {}
    for name, needed in problem.law.distinct.items():
        place = np.unique(problem.columns[name][:runs], return_inverse=True)[1]
        groups[name] = (np.eye(place.max() + 1)[place], needed)
    kept, redrawn, rounds = [np.zeros((0, runs))], 0, 0
    while sum(map(len, kept)) < count:
        if clusters is None:
            counts = rng.multinomial(runs, np.full(runs, 1 / runs), size=count).astype(np.float64)
        else:
            counts = draw_counts(clusters, count, rng)
        good = (counts > 0).sum(axis=1) > free.sum()
        for member, needed in groups.values():
            good &= ((counts @ member) > 0).sum(axis=1) >= needed
        wanted = count - sum(map(len, kept))
        used = np.searchsorted(np.cumsum(good), wanted) + 1 if good.sum() >= wanted else count
        redrawn += int((~good[:used]).sum())
        kept.append(counts[:used][good[:used]])
        rounds += 1
        if rounds > _MAX_ROUNDS:
            raise InputError(
                f"--bootstrap: {runs} runs are too few to resample for law {problem.law.name!r}; "
                "use --resample=residual or --bootstrap=0"
            )
    resamples = np.concatenate(kept) * weight
    if not count:
        return np.zeros((0, len(best))), 0
    return solve.solve(problem, resamples, np.repeat(best[None], count, 0), free).theta, redrawn


def resample_residuals(problem: Problem, weight, best, at, free, count: int, seed: int):
    """Refits of prediction + redrawn residuals [count, P], the design (N, D) kept."""
    if not count:
        return np.zeros((0, len(best)))
    rng = np.random.default_rng([seed, 1])
    runs = problem.runs
    target = problem.target[:runs]
    scale = np.sqrt(runs / (runs - free.sum()))
    residual = -(at.residual - at.residual.mean()) * scale
    drawn = rng.choice(residual, size=(count, runs))
    if problem.objective.logarithmic:
        synthetic = target * np.exp(at.residual + drawn)
    else:
        synthetic = np.maximum(target + at.residual + drawn, 1e-9)
    starts = np.repeat(best[None], count, 0)
    return solve.solve(problem, weight, starts, free, target=synthetic).theta
