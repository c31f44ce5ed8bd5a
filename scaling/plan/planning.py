"""Which runs a study has, of what size, on how much data: made before any is trained, and kept."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scaling.allocate.allocating import by_law
from scaling.fit.ready import ready_made
from scaling.plan.ladder import Ladder
from scaling.runs import plans
from scaling.runs.plans import Plan, PlannedRun
from scaling.runs.table import read_csv, validate
from train import config as configuration
from train import tasks
from train.account import Account, facts
from train.cli import InputError, nearest

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
    target: str  # the metric that laws are fitted to; "" = the task's number of record
    metrics: tuple[str, ...]  # further ones that a forecast is sealed of
    bar: dict[str, float]  # metric -> what the largest run should reach, which the report judges
    # metric -> its best and its worst value, where the task (RANGE, see train.tasks) says none
    best: dict[str, float]
    worst: dict[str, float]

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


_MAY_BE_ABSENT = {"unique": 0.0, "target": "", "metrics": (), "bar": {}, "best": {}, "worst": {}}


def resolve(values: dict[str, Any]) -> Study:
    """Checks and types a study's config. Raises InputError."""
    return configuration.build(Study, _MAY_BE_ABSENT | values, "study")


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
        account = ladder.at_budget(size, budget, study.seeds[0])
        runs.append(_planned(ladder, "heldout", size, budget, account))
    for run in runs:
        if run.epochs is not None and run.epochs > study.max_epochs:
            raise InputError(
                f"study.max_epochs: {study.max_epochs:g}; {run.run} needs {run.epochs:.2f}"
                f" passes over the data (D = {run.D:,.0f} {run.unit}s); lower its budget or"
                " allow them"
            )
    return Plan(dataclasses.asdict(study) | _measured(study, runs[0].config), tuple(runs))


def _ends(task: tasks.Task, before: str) -> tuple[dict[str, float], dict[str, float]]:
    """The best and the worst value of a task's metrics; `before` begins their names."""
    best = {"loss": 0.0, task.OF_RECORD: 0.0} | {k: best for k, (best, _) in task.RANGE.items()}
    worst = {k: worst for k, (_, worst) in task.RANGE.items() if math.isfinite(worst)}
    return tuple({before + k: x for k, x in ends.items()} for ends in (best, worst))


def _measured(study: Study, experiment: dict[str, Any]) -> dict[str, Any]:
    """The study's `target`, `best` and `worst` with what the task of its runs says."""
    name = experiment["task"]["name"]
    task = tasks.load(name)
    best, worst = _ends(task, "")
    for further, on in experiment["evals"].items():
        ends = _ends(tasks.load(on["task"]["name"]), f"{further}/")
        best, worst = best | ends[0], worst | ends[1]
    best, worst = best | study.best, worst | study.worst
    target = study.target or task.OF_RECORD
    for field, asked in (("target", [target]), ("metrics", study.metrics), ("bar", study.bar)):
        for metric in asked:
            if metric not in best:
                raise InputError(
                    f"study.{field}: {metric!r}; {nearest(metric, best)}: task {name!r} (RANGE) "
                    "and study.best say of no other metric what its best value is"
                )
    return {"target": target, "best": best, "worst": worst}


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


def load(path: Path) -> Plan:
    """Reads a plan whose runs are to be trained. Raises InputError naming the file and field."""
    plan = plans.load(path)
    return dataclasses.replace(plan, runs=tuple(_trainable(path, run) for run in plan.runs))


def _trainable(path: Path, run: PlannedRun) -> PlannedRun:
    """The run, its config as this version has it."""
    try:
        resolved = configuration.resolve(run.config)
    except InputError as error:
        raise InputError(f"{path}: {run.run[:60]}: {error}") from None
    return dataclasses.replace(run, config=configuration.to_dict(resolved))


def _isoflop(study: Study, ladder: Ladder) -> list[PlannedRun]:
    """For each budget the sizes around the expected optimum, each on what the budget buys."""
    runs = []
    for budget in sorted(study.budgets):
        best = study.prior.coefficient * budget**study.prior.exponent
        for size in _sizes(study, ladder, best, study.sizes_per_budget):
            accounts = [ladder.at_budget(size, budget, seed) for seed in study.seeds]
            runs += [_planned(ladder, "fit", size, budget, account) for account in accounts]
    return runs


def _at_points(study: Study, ladder: Ladder, points: Sequence[tuple[float, float]]):
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
        budget = ladder.at(size, D).C["forward"]
        alike = sum((r.size, f"{r.budget:.2e}") == (size, f"{budget:.2e}") for r in runs)
        for seed in study.seeds:
            other = seed + alike // len(study.seeds) * (max(study.seeds) + 1)
            runs.append(_planned(ladder, "fit", size, budget, ladder.at(size, D, other)))
    return runs


def _best_size(study: Study, budget: float) -> float:
    """The expected best N; where data repeat, by the expected law."""
    if not (study.unique and study.law):
        return study.prior.coefficient * budget**study.prior.exponent

    return by_law(ready_made(study.law, "study.law"), budget, study.unique).N


def _sizes(study: Study, ladder: Ladder, N: float, count: int) -> list[int]:
    """The `count` neighbouring sizes whose geometric mean is nearest to N."""
    sizes = sorted(study.sizes)
    windows = [sizes[i : i + count] for i in range(len(sizes) - count + 1)]

    def distance(window: list[int]) -> float:
        return abs(sum(math.log(ladder.N(size)) for size in window) / count - math.log(N))

    return min(windows, key=distance)


def _planned(ladder: Ladder, role: str, size: int, budget: float, account: Account) -> PlannedRun:
    return PlannedRun(
        # The letter says what the size is: w64 is a width.
        run=f"{role}-c{budget:.2e}-{ladder.dial[0]}{size}-s{account.seed}".replace("+", ""),
        role=role,
        size=size,
        budget=budget,
        **facts(account),
    )
