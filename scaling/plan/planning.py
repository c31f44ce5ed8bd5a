"""Which runs a study has, of what size, on how much data: made before any is trained, and kept."""

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling.allocate.allocating import by_law
from scaling.fit.ready import ready_made
from scaling.plan.ladder import Ladder
from scaling.runs import files
from scaling.runs.records import run_folder
from scaling.runs.table import read_csv, validate
from train import config
from train import config as configuration
from train.cli import InputError
from train.record import save_json
from train.strict import check

if TYPE_CHECKING:
    from scaling.plan.ladder import Planned

ROLES = ("fit", "heldout")
MAX_POINTS = 10_000
NEAR = 1.5  # a size of the ladder stands for a point's N within this factor


@dataclasses.dataclass(frozen=True)
class Prior:
    """The expected optimum, N* = coefficient C^exponent. It only centres the design."""

    coefficient: float
    exponent: float

    def __post_init__(self):
        if self.coefficient <= 0 or not 0 < self.exponent < 2:
            raise ValueError(
                f"coefficient: {self.coefficient}, {self.exponent}; above 0, in (0, 2)"
            )


@dataclasses.dataclass(frozen=True)
class Study:
    """What a study's config holds."""

    name: str
    experiment: str  # path of the experiment's file, whose recipe makes the ladder
    sizes: tuple[int, ...]  # the ladder's dial, all values that may be used
    budgets: tuple[float, ...]  # training FLOPs of the runs to fit ("forward" convention)
    sizes_per_budget: int
    prior: Prior
    heldout: tuple[
        float, ...
    ]  # budgets of the runs to forecast, as multiples of the largest budget
    seeds: tuple[int, ...]  # each run to fit is trained once for each
    max_epochs: float  # most passes over the training data that a run may make
    # What to expect: a published law or a law.json; "" = unknown. It decides no run, but the size
    # of the held-out ones where `unique` is given.
    law: str
    noise: float  # of one run's loss, relative; 0 = that of the law's residuals
    unique: float  # training units that the data will have, if it is not here yet; 0 = it is

    def __post_init__(self):
        for field in ("sizes", "budgets", "seeds"):
            values = getattr(self, field)
            if not values or min(values) < 0 or len(set(values)) < len(values):
                raise ValueError(f"{field}: {values}; must be distinct, positive, at least one")
        if min(self.budgets) <= 0 or min(self.sizes) < 1:
            raise ValueError(f"budgets: {self.budgets}; sizes and budgets must be above 0")
        if not 1 <= self.sizes_per_budget <= len(self.sizes):
            raise ValueError(
                f"sizes_per_budget: {self.sizes_per_budget}; from 1 to {len(self.sizes)} (sizes)"
            )
        if not 0 <= self.noise <= 0.5:
            raise ValueError(f"noise: {self.noise}; from 0 to 0.5 of the loss")
        if not 0 <= self.unique < 1e30:
            raise ValueError(f"unique: {self.unique:g}; at least 0")
        if any(multiple <= 1 for multiple in self.heldout):
            raise ValueError(f"heldout: {self.heldout}; must lie above 1 x the largest budget")


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """One run of a plan; N, D, C as in a record."""

    run: str
    role: str  # "fit" | "heldout"
    size: int
    budget: float  # FLOPs aimed at; C is what whole steps make of it
    seed: int
    config: dict[str, Any]
    config_sha256: str
    N: dict[str, int]
    D: float
    unit: str
    C: dict[str, float]
    epochs: float | None
    data_sha256: str  # of the data it was planned on; "" = unknown


_SHAPE = {
    **dict.fromkeys(("run", "role", "config_sha256", "unit", "data_sha256"), str),
    **dict.fromkeys(("size", "seed"), int),
    **dict.fromkeys(("budget", "D"), float),
    "config": dict,
    "N": {"total": float, str: float},
    "C": {"forward": float, str: float},
    "epochs": (float, None),
}


@dataclasses.dataclass(frozen=True)
class Plan:
    study: dict[str, Any]
    runs: tuple[PlannedRun, ...]
    version: int = files.VERSIONS["plan"][-1]


def resolve(values: dict[str, Any]) -> Study:
    """Checks and types a study's config. Raises InputError."""
    return config.build(Study, {"unique": 0.0} | values, "study")


def scaled(study: Study, flops: float) -> Study:
    """The study with its budgets multiplied so that all its runs together cost `flops`.

    Budgets are rounded down to three digits; what whole steps make of a small one may lie above it.

    Raises:
      InputError: the budgets become equal by rounding.
    """
    runs = study.sizes_per_budget * len(study.seeds)
    whole = sum(study.budgets) * runs + max(study.budgets) * sum(study.heldout)
    budgets = []
    for budget in study.budgets:
        exact = budget * flops / whole
        digit = 10.0 ** (math.floor(math.log10(exact)) - 2)
        budgets.append(float(f"{math.floor(exact / digit) * digit:.2e}"))
    return resolve(dataclasses.asdict(study) | {"budgets": tuple(budgets)})


def make(study: Study, points: Sequence[tuple[float, float]] = ()) -> Plan:
    """Plans a study; with `points`, (N, D) each, the runs to fit are these and no others.

    Raises:
      InputError: a field is wrong, a run would need more passes over the data than `max_epochs`, or
        the ladder has no size near a point's N.
    """
    ladder = Ladder(study.experiment, study.unique)
    runs = _at_points(study, ladder, points) if points else _isoflop(study, ladder)
    largest = max(run.budget for run in runs)
    for multiple in sorted(study.heldout):
        budget = multiple * largest
        (size,) = _sizes(study, ladder, _best_size(study, budget), 1)
        planned = ladder.at_budget(size, budget)
        runs.append(_planned(ladder, "heldout", size, budget, study.seeds[0], planned))
    for run in runs:
        if run.epochs is not None and run.epochs > study.max_epochs:
            raise InputError(
                f"study.max_epochs: {study.max_epochs:g}; {run.run} needs {run.epochs:.2f}"
                f" passes over the data (D = {run.D:,.0f} {run.unit}s); lower its budget or"
                " allow them"
            )
    return Plan(dataclasses.asdict(study), tuple(runs))


def read_points(path: str) -> list[tuple[float, float]]:
    """N and D of each row of a CSV, such as scaling.design writes. Raises InputError."""
    table = validate(read_csv(path), ("N", "D"))
    if len(table) > MAX_POINTS:
        raise InputError(f"--points: {path} has {len(table)} rows; at most {MAX_POINTS}")
    return list(zip(table["N"].tolist(), table["D"].tolist()))


def with_names_of(plan: Plan, there: Plan) -> Plan:
    """The plan, its runs named as in an earlier plan of the same ones; itself if they differ."""
    ours, theirs = ([(r.role, r.size, r.config_sha256) for r in p.runs] for p in (plan, there))
    if ours != theirs:
        return plan
    named = [dataclasses.replace(r, run=t.run) for r, t in zip(plan.runs, there.runs)]
    return dataclasses.replace(plan, runs=tuple(named))


def save(path: Path, plan: Plan) -> None:
    """Writes plan.json."""
    save_json(path, dataclasses.asdict(plan))


def load(path: Path) -> Plan:
    """Reads plan.json. Raises InputError naming the file and the field."""
    values = files.load(path, "plan")
    check(f"{path}: ", values, {"study": {"name": str}, "runs": list})
    runs = tuple(_load_run(path, values["version"], run) for run in values["runs"])
    names = Counter(run.run for run in runs)
    for name, count in names.items():
        if count > 1:
            raise InputError(f"{path}: runs: {count} are named {name!r}; names must differ")
    return Plan(values["study"], runs)


def _load_run(path: Path, version: int, run: Any) -> PlannedRun:
    check(f"{path}: runs", run, {"run": str})
    where = f"{path}: {run['run'][:60]}"
    if version == 1:
        run = {"data_sha256": "", **run}
    if unknown := set(run) - set(_SHAPE):
        raise InputError(f"{where}: {min(unknown)}: no such field")
    check(where, run, _SHAPE)
    try:
        run_folder(path.parent, run["run"])
        resolved = config.resolve(run["config"])
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    if run["role"] not in ROLES:
        raise InputError(f"{where}: role: {run['role']!r}; allowed: {', '.join(ROLES)}")
    if run["config_sha256"] != config.digest(resolved):
        raise InputError(f"{where}: config_sha256 does not fit its config")
    return PlannedRun(**run | {"config": config.to_dict(resolved)})


def _isoflop(study: Study, ladder: "Ladder") -> list[PlannedRun]:
    """For each budget the sizes around the expected optimum, each on what the budget buys."""
    runs = []
    for budget in sorted(study.budgets):
        best = study.prior.coefficient * budget**study.prior.exponent
        for size in _sizes(study, ladder, best, study.sizes_per_budget):
            planned = ladder.at_budget(size, budget)
            runs += [_planned(ladder, "fit", size, budget, s, planned) for s in study.seeds]
    return runs


def _at_points(study: Study, ladder: "Ladder", points: Sequence[tuple[float, float]]):
    """The size nearest to each point's N, on its D; the same run again gets the next seed."""
    runs: list[PlannedRun] = []
    for N, D in points:
        (size,) = _sizes(study, ladder, N, 1)
        off = abs(math.log(ladder.N(size) / N))
        if off > math.log(NEAR):
            raise InputError(
                f"--points: N = {N:.3g}; the nearest of study.sizes is {size}, with N = "
                f"{ladder.N(size):.3g}: more than a factor of {NEAR:g} away"
            )
        planned = ladder.at(size, D)
        budget = planned.account["C"]["forward"]
        alike = sum((r.size, f"{r.budget:.2e}") == (size, f"{budget:.2e}") for r in runs)
        for seed in study.seeds:
            other = seed + alike // len(study.seeds) * (max(study.seeds) + 1)
            runs.append(_planned(ladder, "fit", size, budget, other, planned))
    return runs


def _best_size(study: Study, budget: float) -> float:
    """The expected best N; where data repeat, by the expected law."""
    if not (study.unique and study.law):
        return study.prior.coefficient * budget**study.prior.exponent

    return by_law(ready_made(study.law, "study.law"), budget, study.unique).N


def _sizes(study: Study, ladder: "Ladder", N: float, count: int) -> list[int]:
    """The `count` neighbouring sizes whose geometric mean is nearest to N."""
    sizes = sorted(study.sizes)
    windows = [sizes[i : i + count] for i in range(len(sizes) - count + 1)]

    def distance(window: list[int]) -> float:
        return abs(sum(math.log(ladder.N(size)) for size in window) / count - math.log(N))

    return min(windows, key=distance)


def _planned(
    ladder: "Ladder", role: str, size: int, budget: float, seed: int, planned: "Planned"
) -> PlannedRun:
    config = dataclasses.replace(planned.config, seed=seed)
    return PlannedRun(
        # The letter says what the size is: w64 is a width.
        run=f"{role}-c{budget:.2e}-{ladder.dial[0]}{size}-s{seed}".replace("+", ""),
        role=role,
        size=size,
        budget=budget,
        seed=seed,
        config=configuration.to_dict(config),
        config_sha256=configuration.digest(config),
        data_sha256=planned.data_sha256,
        **planned.account,
    )
