"""For every law: parameters of a realistic size and columns that a study might have."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from scaling.laws.mixtures import MOST
from scaling.runs.schedules import annealing_columns


@dataclass(frozen=True)
class Case:
    """Known parameters (natural units) and a maker of the columns from (rng, count)."""

    params: Mapping[str, float]
    make: Callable[[np.random.Generator, int], Mapping[str, np.ndarray]]


def spread(**ranges):
    """Columns of values log-uniform between low and high."""

    def make(rng, count):
        return {
            name: np.exp(rng.uniform(np.log(low), np.log(high), count))
            for name, (low, high) in ranges.items()
        }

    return make


def choices(**values):
    """Columns of values drawn from a list."""
    return lambda rng, count: {name: rng.choice(v, count) for name, v in values.items()}


def proportions(domains):
    """Columns r1, r2, .. of mixtures drawn evenly from all, but for the last domain."""
    names = [f"r{i}" for i in range(1, domains)]
    return lambda rng, count: dict(zip(names, rng.dirichlet(np.ones(domains), count).T))


def both(*makers):
    """The columns of several makers."""
    return lambda rng, count: {k: v for make in makers for k, v in make(rng, count).items()}


def schedules(rng, count):
    """The columns of three schedules: constant, cosine, and a drop to a tenth."""
    step = np.linspace(1000, 20000, 15)
    part = (step - 1000) / 19000
    rates = {
        "constant": np.full(15, 3e-4),
        "cosine": 3e-5 + 2.7e-4 * (1 + np.cos(np.pi * part)) / 2,
        "drop": np.where(part < 0.5, 3e-4, 3e-5),
        "two": np.where(part < 0.3, 3e-4, np.where(part < 0.6, 1e-4, 2e-5)),
    }
    curves = pd.concat(
        pd.DataFrame({"schedule": name, "step": step, "lr": rate, "loss": 1.0})
        for name, rate in rates.items()
    )
    table = annealing_columns(curves, warmup=500, knots=14)
    wide = ("drop", "after", "rest")
    return {
        **{name: table[name].to_numpy() for name in ("S1", "S2")},
        **{name: np.stack(list(table[name])) for name in wide},
    }


SIZES = spread(N=(1e7, 1e10), D=(1e9, 1e12))
LADDER = spread(N=(1e5, 1e11))
_FULL = {"E": 1.8172, "A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658}

CASES: dict[str, Case] = {
    "power": Case({"A": 40.0, "alpha": 0.13}, LADDER),
    "power_floor": Case({"E": 1.7, "A": 400.0, "alpha": 0.31}, LADDER),
    "chinchilla": Case(_FULL, SIZES),
    "tied": Case({"E": 1.8, "A": 500.0, "B": 1500.0, "alpha": 0.3527}, SIZES),
    "coupled": Case(
        {"E": 1.76, "A": 401.0, "R": 4.3, "alpha": 0.424, "beta": 0.431, "k": 0.774}, SIZES
    ),
    "coupled_no_floor": Case({"A": 10.0, "R": 4e3, "alpha": 0.74, "beta": 0.95, "k": 0.11}, SIZES),
    "kaplan": Case({"Nc": 6.4e13, "Dc": 1.8e13, "alphaN": 0.076, "alphaD": 0.103}, SIZES),
    "no_floor": Case({"A": 757.0, "B": 9.47, "alpha": 0.375, "beta": 0.061}, SIZES),
    "two_plateaus": Case(
        {"E": 0.05, "A": 30.0, "B": 150.0, "alpha": 0.25, "L0": 0.9},
        spread(N=(1e4, 1e9), D=(1e5, 1e10)),
    ),
    "m4": Case({"E": 1.7, "L0": 10.0, "beta": 90.0, "c": 0.35, "alpha": 0.8}, LADDER),
    "bnsl1": Case(
        {"E": 1.5, "b": 20.0, "c0": 0.1, "c1": 0.3, "d1": 3e8, "f1": 0.3},
        LADDER,
    ),
    "bnsl2": Case(
        {
            **{"E": 1.2, "b": 12.0, "c0": 0.05, "c1": 0.35, "c2": -0.25},
            **{"d1": 1e7, "ratio": 100.0, "f1": 0.3, "f2": 0.4},
        },
        LADDER,
    ),
    "annealing": Case({"L0": 2.9, "A": 0.6, "C": 0.35, "alpha": 0.4}, schedules),
    "multi_power": Case(
        {
            **{"L0": 3.0, "A": 0.5, "SW": 0.3, "B": 400.0, "C": 2.0},
            **{"alpha": 0.5, "beta": 0.4, "gamma": 0.6},
        },
        schedules,
    ),
    "data_constrained": Case(
        {**_FULL, "RD": 15.4, "RN": 5.3},
        both(spread(N=(1e7, 1e10), U=(1e8, 1e10)), lambda rng, count: {"D": np.zeros(count)}),
    ),
    "step_lr": Case({"K": 1.79, "a": -0.713, "b": 0.307}, SIZES),
    "step_batch": Case({"K": 0.58, "b": 0.571}, SIZES),
    "lr_batch_surface": Case(
        {
            **{**_FULL, "hr": 0.02, "hb": 0.01, "tilt": -0.4},
            **{"r0": 0.58, "rN": -0.713, "rD": 0.307, "b0": -0.54, "bN": 0.05, "bD": 0.571},
        },
        both(SIZES, spread(lr=(1e-4, 1e-2), batch=(1e5, 1e7))),
    ),
    "critical_batch": Case({"Smin": 5000.0, "Bcrit": 2e6}, spread(batch=(1e4, 1e8))),
    "width_depth": Case(
        {
            **{"E": 1.5, "A": 90.0, "B": 1.2, "G": 300.0, "H": 1500.0},
            **{"alpha": 0.9, "beta": 0.8, "gamma": 0.3, "delta": 0.35},
        },
        both(SIZES, choices(width=[256, 512, 1024, 2048, 4096], depth=[3, 8, 24, 48, 96])),
    ),
    "encoder_decoder": Case(
        {"E": 1.4, "A": 60.0, "pe": 0.18, "pd": 0.31}, spread(N_enc=(1e5, 1e9), N_dec=(1e5, 1e9))
    ),
    **{
        f"mixture{domains}": Case(
            {"E": 1.9, "K": 1.4} | {f"t{i}": 1.0 - 0.8 * i for i in range(1, domains)},
            proportions(domains),
        )
        for domains in range(2, MOST + 1)
    },
    "routed": Case(
        {"a": 0.082, "b": 0.25, "c": 0.009, "d": 2.5, "start": 2.0, "most": 500.0},
        both(LADDER, choices(experts=[1, 2, 4, 8, 16, 32, 64, 128, 256, 512])),
    ),
    "experts": Case(
        {"E": 1.6, "A": 20.0, "alpha": 0.2, "beta": 0.08},
        spread(N=(1e7, 1e9), experts=(1, 512)),
    ),
    "sparsity": Case(
        {
            **{"E": 0.9, "A": 1200.0, "B": 3000.0, "G": 0.3, "H": 40.0, "alpha": 0.5},
            **{"beta": 0.4, "gamma": 0.2, "lam": 0.4, "delta": -0.3},
        },
        both(SIZES, choices(S=[0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98])),
    ),
    "precision": Case(
        {**_FULL, "gamma_w": 2.67, "gamma_a": 2.21, "gamma_kv": 0.96},
        both(SIZES, choices(Pw=[3, 4, 6, 8, 12], Pa=[3, 4, 6, 8, 12], Pkv=[2, 3, 4, 6, 8])),
    ),
    "quantisation": Case(
        {"A": 0.06, "gammaD": 0.5, "gammaN": 0.48, "gamma": 0.58},
        both(SIZES, choices(P=[3, 4, 5, 6])),
    ),
    "loss_to_loss": Case(
        {"K": 0.9, "kappa": 1.1, "E0": 1.6, "E1": 1.9}, spread(source_loss=(2.2, 5.0))
    ),
    "task_error": Case({"top": 0.86, "k": 2.2, "gamma": 0.75}, spread(loss=(2.2, 4.0))),
    "task_accuracy": Case({"low": 0.25, "rise": 0.6, "k": 4.0, "L0": 1.0}, spread(loss=(0.5, 1.9))),
}


def columns_of(name: str, count: int = 60) -> dict[str, np.ndarray]:
    """The columns of a law's case."""
    rng = np.random.default_rng(7)
    columns = dict(CASES[name].make(rng, count))
    if name == "data_constrained":  # up to 60 passes over the unique tokens
        columns["D"] = columns["U"] * np.exp(rng.uniform(0, np.log(60), count))
    return columns
