"""Plans a study: which runs, of what size, on how much data, at what cost, before any is trained.

    python -m scaling.plan --config=configs/studies/demo.py --workdir=studies/demo
    python -m scaling.plan --config=... --workdir=... --money=500 --device=h100
    python -m scaling.plan --config=... --workdir=... --topology=v5e:2x4

An IsoFLOP design (Hoffmann et al. 2022, approach 2): for each budget the sizes of the ladder
nearest to the expected optimum, each trained on what the budget then buys, and held-out runs beyond
the largest budget that no law will see. The plan is `plan.json`; the same config gives the same
file, bit for bit. A budget for the whole study (FLOPs, device-hours or money) scales those of its
config. Where the config names a law to expect, studies are simulated from it, and the plan says
how sure the real one will be. With a topology, the steps of the runs are compiled for such TPUs,
which need not be here (scaling.hbm); the exit code is 1 if a run does not fit their memory.
"""

import dataclasses
import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags
from ml_collections import config_flags

from scaling import prices
from train.cli import InputError, config_values, define_path, run_main

if TYPE_CHECKING:
    from scaling.promise import Promise, Target

VERSION = 2
_READ = (1, VERSION)  # version 1 knew no data
ROLES = ("fit", "heldout")


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
    law: str  # what to expect: a published law or a law.json; "" = unknown. It decides no run
    noise: float  # of one run's loss, relative; 0 = that of the law's residuals

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
    version: int = VERSION


def resolve(values: dict[str, Any]) -> Study:
    """Checks and types a study's config. Raises InputError."""
    from train import config

    return config.build(Study, values, "study")


@dataclasses.dataclass(frozen=True)
class Expected:
    """What the runs to fit are expected to say of a target, by simulation."""

    law: str
    noise: float
    noise_source: str
    target: "Target"
    promise: "Promise"


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


def expected(plan: Plan) -> Expected | None:
    """What the runs to fit will say of the dearest run; None where the study names no law.

    The target is the dearest held-out run, or the best run at the largest budget where none is held
    out. The law is taken at the plan's own C / (N D).

    Raises:
      InputError: no such law, or it cannot be fitted to so few runs or used at the target.
    """
    import numpy as np

    from scaling import design
    from scaling.promise import Target, promise, target_at

    study = plan.study
    if not study["law"]:
        return None
    prior = design.ready_made(study["law"], "study.law")
    noise, source = design.noise_or_guess(study["noise"] or None, prior)
    N, D, C = np.array([(r.N["total"], r.D, r.C["forward"]) for r in plan.runs], np.float64).T
    prior = dataclasses.replace(prior, flops_per_nd=float(np.exp(np.log(C / N / D).mean())))
    fitted = np.array([run.role == "fit" for run in plan.runs])
    target = target_at(prior, float(C.max()))
    if not fitted.all():
        dearest = int(np.argmax(C))
        target = Target(float(C[dearest]), float(N[dearest]), float(D[dearest]))
    found = promise(prior, N[fitted], D[fitted], noise, target)
    return Expected(study["law"], noise, source, target, found)


def make(study: Study) -> Plan:
    """Plans a study.

    Raises:
      InputError: a field is wrong, or a run would need more passes over the data than `max_epochs`.
    """
    from scaling.ladder import Ladder

    ladder = Ladder(study.experiment)
    runs = []
    for budget in sorted(study.budgets):
        for size in _sizes(study, ladder, budget, study.sizes_per_budget):
            runs += [_planned(ladder, "fit", size, budget, seed) for seed in study.seeds]
    for multiple in sorted(study.heldout):
        budget = multiple * max(study.budgets)
        (size,) = _sizes(study, ladder, budget, 1)
        runs.append(_planned(ladder, "heldout", size, budget, study.seeds[0]))
    for run in runs:
        if run.epochs is not None and run.epochs > study.max_epochs:
            raise InputError(
                f"study.max_epochs: {study.max_epochs:g}; {run.run} needs {run.epochs:.2f}"
                f" passes over the data (D = {run.D:,.0f} {run.unit}s); lower its budget or"
                " allow them"
            )
    return Plan(dataclasses.asdict(study), tuple(runs))


def save(path: Path, plan: Plan) -> None:
    """Writes plan.json."""
    from train.record import save_json

    save_json(path, dataclasses.asdict(plan))


def load(path: Path) -> Plan:
    """Reads plan.json. Raises InputError naming the file and the field."""
    from train.record import load_json
    from train.strict import check

    values = load_json(path)
    version = values.get("version") if isinstance(values, dict) else None
    if version not in _READ:
        raise InputError(f"{path}: version: {version!r}; a plan's must be one of {_READ}")
    check(f"{path}: ", values, {"study": {"name": str}, "runs": list})
    runs = tuple(_load_run(path, version, run) for run in values["runs"])
    names = Counter(run.run for run in runs)
    for name, count in names.items():
        if count > 1:
            raise InputError(f"{path}: runs: {count} are named {name!r}; names must differ")
    return Plan(values["study"], runs)


def _load_run(path: Path, version: int, run: Any) -> PlannedRun:
    from scaling.records import run_folder
    from train import config
    from train.strict import check

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


def _sizes(study: Study, ladder, budget: float, count: int) -> list[int]:
    """The `count` neighbouring sizes whose geometric mean N is nearest to the expected optimum."""
    target = math.log(study.prior.coefficient * budget**study.prior.exponent)
    sizes = sorted(study.sizes)
    windows = [sizes[i : i + count] for i in range(len(sizes) - count + 1)]

    def distance(window: list[int]) -> float:
        return abs(sum(math.log(ladder.N(size)) for size in window) / count - target)

    return min(windows, key=distance)


def _planned(ladder, role: str, size: int, budget: float, seed: int) -> PlannedRun:
    from train import config as configuration

    config, account = ladder.at_budget(size, budget)
    config = dataclasses.replace(config, seed=seed)
    return PlannedRun(
        run=f"{role}-c{budget:.2e}-n{size}-s{seed}".replace("+", ""),
        role=role,
        size=size,
        budget=budget,
        seed=seed,
        config=configuration.to_dict(config),
        config_sha256=configuration.digest(config),
        data_sha256=ladder.data_sha256(config),
        **account,
    )


def main() -> int:
    """Plans the study of the flags."""
    given = flags.FLAGS
    if given.topology:
        from train import topology

        topology.only_compile()
        topology.devices(given.topology)  # a wrong name is found before anything is written
    values, workdir = config_values("configs/studies/demo.py"), given.workdir
    if not workdir:
        raise InputError("--workdir: missing; give a folder for the study")
    rate = prices.rate_of(given)
    study, flops = resolve(values), prices.budget_of(given, rate)
    if flops is not None:
        study = scaled(study, flops)
    plan = make(study)
    save(Path(workdir) / "plan.json", plan)
    from scaling import plan_print
    from train.compilation import use_cache

    use_cache()
    plan_print.show(plan, rate)
    if flops is not None:
        budgets = ", ".join(f"{budget:g}" for budget in study.budgets)
        print(f"scaling.study makes this plan with --config.budgets='({budgets},)'")
    if not given.topology:
        return 0
    from scaling import hbm

    return 0 if hbm.check(plan, given.topology) else 1


if __name__ == "__main__":
    config_flags.DEFINE_config_file("config", help_string="The study.", lock_config=True)
    define_path("workdir", None, "The study's folder; plan.json is written there.")
    flags.DEFINE_string("topology", None, "TPUs that the runs must fit, e.g. v5e:2x4.")
    prices.define_flags()
    prices.define_budget_flags()
    run_main(main)
